"""Does the page open alone, say what the tables say, and let nothing of a hostile table run?"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import shutil
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from melascope.classes import RESEARCH_ONLY
from melascope.errors import DataError, OutputError
from melascope.explain.overlay import draw_outline, render_overlay
from melascope.explain.segment import CLASSICAL
from melascope.gallery.card import Card
from melascope.gallery.facts import PHANTOM, gallery_facts
from melascope.gallery.gathering import build_cases
from melascope.gallery.notes import note_of
from melascope.gallery.outcomes import NOT_HELD_OUT, ORDER, OUTCOMES
from melascope.gallery.pictures import Pictures
from melascope.gallery.render import page_html, write_gallery
from melascope.gallery.selection import select_cases
from melascope.gallery.tags import Tagged
from melascope.tables.results import Estimate, NotApplicable

HEADLINE = (
    ("Sensitivity for melanoma", Estimate(0.871, 0.802, 0.925, 28, 22)),
    ("Sensitivity on the moon", NotApplicable("n=0 <b>moon</b> images")),
)


@dataclass
class Page(HTMLParser):
    """The elements of a page: (tag, attributes), and the text of the title, script and style."""

    source: str
    elements: list = field(default_factory=list)
    inside: dict = field(default_factory=dict)
    scripts: list = field(default_factory=list)

    def __post_init__(self):
        super().__init__()
        self._tag = ""
        self.feed(self.source)

    def handle_starttag(self, tag, attrs):
        self._tag = tag
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        self._tag = ""

    def handle_data(self, data):
        if self._tag in ("title", "style"):
            self.inside[self._tag] = self.inside.get(self._tag, "") + data
        if self._tag == "script":
            self.scripts.append((self.elements[-1][1], data))

    def run(self):
        """The one script that is run."""
        (text,) = [text for attrs, text in self.scripts if "type" not in attrs]
        return text

    def unpacked(self):
        """Facts of all cases and details of each, as the page's script sees them."""
        (facts,) = [text for attrs, text in self.scripts if attrs.get("id") == "facts"]
        blocks = [opened(attrs["type"], text) for attrs, text in self.scripts if attrs.get("class") == "block"]
        return json.loads(facts), [details for block in blocks for details in block]

    def values(self, name):
        return [attrs[name] for _, attrs in self.elements if name in attrs]


def opened(kind, block):
    return json.loads(block if kind == "application/json" else gzip.decompress(base64.b64decode(block)))


def everything(world, ids=(), workers=1):
    """Cases and facts of the world: by default every image of it."""
    ids = ids or list(world.predictions.image_id)
    selections = select_cases(world.predictions, world.point, image_ids=ids)
    cases = build_cases(
        selections, world.predictions, world.point, world.maps, world.table, workers=workers, segmenter=CLASSICAL
    )
    facts = gallery_facts(
        world.predictions, world.point, world.maps, world.table, run="20260220__<i>run", headline=HEADLINE
    )
    return cases, facts


@pytest.fixture(scope="module")
def gallery(world, tmp_path_factory) -> Path:
    cases, facts = everything(world)
    return write_gallery(cases, tmp_path_factory.mktemp("out") / "gallery", facts=facts).parent


@pytest.fixture(scope="module")
def page(gallery) -> Page:
    return Page((gallery / "index.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def figures(gallery) -> str:
    return (gallery / "FIGURES.md").read_text(encoding="utf-8")


def entry(figures: str, image_id: str) -> str:
    """The lines of one image in FIGURES.md."""
    return next(part for part in figures.split("\n- `images/")[1:] if part.startswith(image_id))


@pytest.mark.parametrize("workers", [1, 2])
def test_the_same_input_gives_the_same_bytes_whoever_draws(world, gallery, tmp_path, workers):
    cases, facts = everything(world, workers=workers)
    again = write_gallery(cases, tmp_path / "other name", facts=facts, workers=workers).parent
    files = sorted(path.relative_to(gallery) for path in gallery.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    for file in files:
        assert (gallery / file).read_bytes() == (again / file).read_bytes(), file


def test_nothing_is_fetched_and_every_link_leads_somewhere(gallery, page):
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    for link in [*page.values("href"), *page.values("src")]:
        if link.startswith("#"):
            assert link[1:] in ids, link
        else:
            target = (gallery / link).resolve()
            assert target.is_file() and target.is_relative_to(gallery.resolve()), link
    assert "http" not in page.source.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")


def test_hostile_words_stay_words(gallery, page, figures, hostile_id):
    assert [attrs.get("type", "run") for tag, attrs in page.elements if tag == "script"] == [
        "application/json",
        "application/json",
        "application/json",
        "run",
    ]
    assert not any(name.startswith("on") or name == "style" for _, attrs in page.elements for name in attrs)
    assert not any(tag in ("b", "i") for tag, _ in page.elements)  # of the sex, the headline and the run's name
    outside = page.source
    for _, text in page.scripts:
        outside = outside.replace(text, "")
    assert "evil" not in outside and "<script>alert" not in page.source
    assert hostile_id in page.unpacked()[0]["id"]  # kept as it is, as data
    assert "<script>alert" not in re.sub(r"`[^`\n]*`", "", figures)
    names = [path.name for path in (gallery / "images").iterdir()]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+", name) and not name.startswith(".") for name in names)
    assert sorted(path.name for path in gallery.parent.iterdir()) == ["gallery"]


def test_a_readers_words_cannot_end_the_script_that_holds_them(world):
    cases, facts = everything(world, ["NV_CORRECT"])
    words = {"NV_CORRECT": Tagged(("</script><script>alert(1)</script>", "<!--"), "<b>")}
    picture = Pictures("a.jpg", "b.jpg", (), 4, 3, 4, 3)
    page = Page(page_html([Card(cases[0], note_of(cases[0]), picture, "NV_CORRECT")], facts, words))
    assert sum(tag == "script" for tag, _ in page.elements) == 4
    about = json.loads(next(text for attrs, text in page.scripts if attrs.get("id") == "about"))
    assert about["tags"]["NV_CORRECT"] == [list(words["NV_CORRECT"].tags), "<b>"]


def test_the_policy_allows_this_style_and_this_script_and_nothing_else(page):
    policy = next(a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';")
    for tag, text in (("style", page.inside["style"]), ("script", page.run())):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy and "data:" not in policy


def test_a_training_image_is_flagged_loudly(page, figures):
    facts, details = page.unpacked()
    warning = "**This image was in the training set: it says nothing about unseen lesions.**"
    training = facts["id"].index("MEL_TRAINING")
    assert facts["split"][training] == "train" and details[training]["split_says"] == warning
    assert f"- Split: {warning}" in entry(figures, "MEL_TRAINING")
    assert "training set" not in entry(figures, "MEL_MISSED_A")


def test_melanomas_missed_come_first_and_pictures_of_a_lesion_together(page, figures):
    facts, _ = page.unpacked()
    assert facts["id"][:2] == ["MEL_MISSED_B", "MEL_MISSED_A"] and facts["lesion"][:2] == ["PAIR", "PAIR"]
    assert facts["id"].index("NV_CORRECT_2") - facts["id"].index("NV_CORRECT") in (1, -1)
    keys = [list(OUTCOMES)[place] for place in facts["section"]]
    assert keys == sorted(keys, key=ORDER.__getitem__) and keys[-2:] == [NOT_HELD_OUT] * 2
    assert "**2 pictures of ONE lesion (`PAIR`), not 2 missed melanomas**" in entry(figures, "MEL_MISSED_A")


def test_the_page_knows_of_each_case_what_the_tables_say(world, page):
    facts, details = page.unpacked()
    cases = {case.image_id: case for case in everything(world)[0]}
    assert len(facts["id"]) == len(details) == len(cases)
    for row, image_id in enumerate(facts["id"]):
        case, found = cases[image_id], details[row]
        assert facts["p_mel"][row] == pytest.approx(case.p_mel, rel=1e-9) and facts["above"][row] == case.above
        assert facts["predicted"][row] == case.predicted and facts["dx"][row] == case.dx
        assert [float(p) for p in found["probabilities"]] == pytest.approx(list(case.probabilities), abs=6e-5)
        levels = np.frombuffer(base64.b64decode(found["maps"]), dtype=np.int8).reshape(case.maps.shape)
        assert np.abs(levels / 127 * found["map_top"] - case.maps).max() <= found["map_top"] / 127
        assert found["scale"] == pytest.approx(case.scale, rel=1e-5)
    assert facts["age"][facts["id"].index("MEL_BY_THRESHOLD")] is None
    assert details[facts["id"].index("BCC_SURE_WRONG")]["outline"] == ""
    assert facts["map_place"][facts["id"].index("BCC_SURE_WRONG")] == "not known"
    assert facts["map_place"][facts["id"].index("MEL_MISSED_B")] == "no evidence"
    assert facts["map_place"][facts["id"].index("MEL_MISSED_A")] == "inside"


def test_the_lead_counts_images_and_lesions(page, figures):
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", page.source))
    assert "Of 3 melanoma images in the test split it misses 2 at the frozen threshold" in text
    assert "of their 2 lesions 1 is missed in every picture" in text
    assert "Of 1 melanoma image held out by hand it misses 0" in text
    assert "2 of 3 images missed; of 2 lesions 1 is missed in every picture" in figures


def test_figures_stand_with_n_and_interval_or_with_their_reason(page, figures):
    assert "95 % interval 0.802 to 0.925" in page.source and "n = 28 images of 22 lesions" in page.source
    assert "n=0 &lt;b&gt;moon&lt;/b&gt; images" in page.source
    assert "- Sensitivity for melanoma: 0.871 [0.802, 0.925] (n=28 images of 22 lesions)" in figures


def test_figures_md_has_the_seeds_form(figures):
    assert figures.startswith("# Grad-CAM Gallery Notes\n\nThis file documents Grad-CAM overlays in this folder.\n")
    for heading in ("For each image:", "## Model used for these overlays", "## Images"):
        assert f"\n{heading}\n" in figures
    missed = entry(figures, "MEL_MISSED_A")
    assert missed.startswith("MEL_MISSED_A_overlay_vasc.jpg`, `images/MEL_MISSED_A_overlay_mel.jpg`\n")
    assert "\n  - Truth: `mel` (melanoma)\n" in missed
    assert "\n  - Prediction (top-1): `vasc` (0.5500); `P(mel)=0.0700`, below the frozen threshold `0.2000`\n" in missed
    lines = [re.match(r"  - ([^:]+):", line).group(1) for line in missed.strip().split("\n")[1:]]
    assert [n for n in lines if n in ("Truth", "Prediction (top-1)", "Top-3", "Meaning", "Conclusion")] == [
        "Truth",
        "Prediction (top-1)",
        "Top-3",
        "Meaning",
        "Conclusion",
    ]
    assert "**No positive evidence**" in entry(figures, "MEL_MISSED_B")
    assert "not known: the data set has no lesion mask for this image, and no lesion was found in it" in entry(
        figures, "BCC_SURE_WRONG"
    )
    assert "age unknown; sex unknown" in entry(figures, "MEL_BY_THRESHOLD")


def test_the_notice_stands_on_both_and_real_images_are_no_phantom(page, figures):
    assert RESEARCH_ONLY in page.source and RESEARCH_ONLY in figures
    assert "phantom" not in page.inside["title"] and PHANTOM not in page.source + figures


def test_a_phantom_says_so_everywhere(world, tmp_path):
    cases, facts = everything(replace(world, table=replace(world.table, source="phantom")), ["NV_CORRECT"])
    out = write_gallery(cases, tmp_path / "gallery", facts=facts).parent
    page = Page((out / "index.html").read_text(encoding="utf-8"))
    assert PHANTOM in page.inside["title"]
    assert f'<p class="phantom" role="note"><strong>{PHANTOM}</strong>' in page.source
    figures = (out / "FIGURES.md").read_text(encoding="utf-8")
    assert PHANTOM in figures.split("\n")[0] and figures.count(PHANTOM) >= 2


def test_pictures_are_of_one_size_and_the_overlay_is_where_the_map_is(gallery):
    names = ["image", "overlay_vasc", "overlay_mel"]
    pictures = {name: Image.open(gallery / "images" / f"MEL_MISSED_A_{name}.jpg") for name in names}
    assert {picture.size for picture in pictures.values()} == {(600, 450)}
    assert Image.open(gallery / "images" / "MEL_MISSED_A_small.jpg").size == (300, 225)
    assert all(not picture.getexif() for picture in pictures.values())
    plain, melanoma = (pictures[name].getpixel((300, 225)) for name in ("image", "overlay_mel"))
    assert max(abs(a - b) for a, b in zip(plain, melanoma, strict=True)) > 40  # the centre of the mel map
    plain, melanoma = (pictures[name].getpixel((590, 440)) for name in ("image", "overlay_mel"))
    assert max(abs(a - b) for a, b in zip(plain, melanoma, strict=True)) < 8  # no evidence: as photographed


def test_cases_that_are_only_held_out_stand_on_the_page_but_not_among_the_notes(world, tmp_path):
    selections = select_cases(world.predictions, world.point, every=True, confident_errors=0, near_threshold=0)
    assert {s.image_id for s in selections} == set(world.predictions.of_split("test").image_id) | set(
        world.predictions.of_split("held_out").image_id
    )
    cases = build_cases(selections, world.predictions, world.point, world.maps, world.table)
    only = [case.image_id for case in cases if case.reasons == ("held_out",)]
    assert only and len(only) < len(cases)
    out = write_gallery(cases, tmp_path / "gallery", facts=everything(world)[1]).parent
    figures = (out / "FIGURES.md").read_text(encoding="utf-8")
    assert f"{len(only)} more image" in figures and not any(f"`images/{name}_" in figures for name in only)
    assert not list(out.glob(f"images/{only[0]}_overlay_*")) and (out / "images" / f"{only[0]}_image.jpg").is_file()
    assert Page((out / "index.html").read_text(encoding="utf-8")).unpacked()[0]["id"] == [c.image_id for c in cases]


@pytest.mark.parametrize("index", [0, 1])
def test_both_overlays_are_on_the_one_scale_of_the_image_and_outlined(world, gallery, index):
    case = next(case for case in everything(world)[0] if case.image_id == "MEL_MISSED_A")
    image = np.asarray(Image.fromarray(case.pixels()).resize((600, 450), Image.Resampling.LANCZOS))
    mask = np.asarray(Image.fromarray(case.mask()).resize((600, 450), Image.Resampling.NEAREST))
    name = case.shown[index]
    expected = draw_outline(render_overlay(image, case.cells(name), scale=case.scale), mask)
    found = np.asarray(Image.open(gallery / "images" / f"MEL_MISSED_A_overlay_{name}.jpg"))
    assert np.abs(found.astype(int) - expected).mean() < 1.5
    edge = (draw_outline(np.full_like(image, 128), mask) == 255).all(axis=2)
    assert found[edge].mean() > 200


def test_the_manifest_lists_every_file(gallery, world):
    manifest = json.loads((gallery / "manifest.json").read_text())
    found = {path.relative_to(gallery).as_posix() for path in gallery.rglob("*") if path.is_file()}
    assert set(manifest["files"]) == found - {"manifest.json"}
    assert manifest["operating_point_sha256"] == world.point.sha256


def test_an_older_gallery_is_replaced_as_a_whole(world, tmp_path):
    cases, facts = everything(world, ["NV_CORRECT", "NV_ALARM"])
    out = tmp_path / "gallery"
    write_gallery(cases, out, facts=facts)
    write_gallery(cases[:1], out, facts=facts)
    assert not list(out.glob(f"images/{cases[1].image_id}_*")) and list(out.glob(f"images/{cases[0].image_id}_*"))
    assert [path.name for path in tmp_path.iterdir()] == ["gallery"]


def test_a_broken_image_leaves_the_older_gallery_alone(world, tmp_path):
    cases, facts = everything(world, ["NV_CORRECT", "NV_ALARM"])
    out = tmp_path / "gallery"
    write_gallery(cases, out, facts=facts)
    before = (out / "index.html").read_bytes()
    with pytest.raises(DataError, match="missing"):
        write_gallery([cases[0], replace(cases[1], path="gone.jpg")], out, facts=facts)
    assert (out / "index.html").read_bytes() == before and (out / "images" / "NV_ALARM_image.jpg").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["gallery"]


def test_what_is_no_gallery_is_never_replaced(world, tmp_path):
    cases, facts = everything(world, ["NV_CORRECT"])
    for name, content in (("photos", "mine.txt"), ("run", "manifest.json")):
        (tmp_path / name).mkdir()
        (tmp_path / name / content).write_text("{}")
        with pytest.raises(OutputError, match="not a melascope gallery"):
            write_gallery(cases, tmp_path / name, facts=facts)
        assert (tmp_path / name / content).read_text() == "{}"
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="not a melascope gallery"):
        write_gallery(cases, tmp_path / "file", facts=facts)
    with pytest.raises(OutputError, match="cannot be written"):
        write_gallery(cases, tmp_path / "file" / "gallery", facts=facts)
    shutil.rmtree(tmp_path / "run")
    (tmp_path / "run").mkdir()
    assert write_gallery(cases, tmp_path / "run", facts=facts).is_file()  # an empty folder may be used


def test_without_cases_there_is_no_page(world, tmp_path):
    _, facts = everything(world, ["NV_CORRECT"])
    with pytest.raises(DataError, match="no case"):
        write_gallery([], tmp_path / "gallery", facts=facts)
    assert not (tmp_path / "gallery").exists()


def test_progress_is_told_once_a_case(world, tmp_path):
    cases, facts = everything(world, ["NV_CORRECT", "NV_ALARM"])
    told = []
    write_gallery(cases, tmp_path / "gallery", facts=facts, progress=told.append)
    assert told == [1, 1]


@pytest.mark.parametrize(("threshold", "p_mel"), [(0.0078, 0.0007), (0.0078, 0.5), (0.9, 0.5), (0.2, 0.2), (0.2, 0.0)])
def test_the_threshold_is_the_middle_of_the_scale(make_case, make_vector, threshold, p_mel):
    case = make_case(probabilities=make_vector(mel=p_mel), threshold=threshold)
    place = Card(case, None, None, "").place
    assert 0 <= place <= 1
    assert (place >= 0.5) == (p_mel >= threshold) and (p_mel != threshold or place == pytest.approx(0.5))
    assert (place == 0) == (p_mel == 0)
