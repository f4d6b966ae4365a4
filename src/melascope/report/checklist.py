"""How does a run answer the 25 points of the CLEAR Derm checklist for reports on AI that reads skin images?

Daneshjou R, Barata C, Betz-Stablein B, et al. Checklist for evaluation of image-based artificial intelligence reports
in dermatology: CLEAR Derm consensus guidelines from the International Skin Imaging Collaboration Artificial
Intelligence Working Group. JAMA Dermatology 2022;158(1):90-96 (online 1 December 2021). The points stand here in our
own words; the paper's wording counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from melascope.classes import CLASSES
from melascope.evaluation.record import Group
from melascope.report.document import NOT_DESCRIBED, NOT_MEASURED, Code, Gap, Section, Sentence, Table, Text, told
from melascope.report.published import published
from melascope.report.run_record import LIKENESS_FILE, RunRecord
from melascope.report.sections.answer import FIGURES, JSON
from melascope.report.sections.found import at_threshold
from melascope.report.wording import source_name, values_of

Answer = Callable[[RunRecord], Text]

CITATION = "Daneshjou et al. 2021, JAMA Dermatology (CLEAR Derm), points in our own words"


@dataclass(frozen=True)
class Point:
    """One point: its group, a short name, what it asks, and how a run answers it."""

    group: str
    name: str
    asks: str
    answer: Answer


def _published(field: str) -> Answer:
    return lambda record: told("{said}", said=getattr(published(record.source), field))


def _preprocessing(record: RunRecord) -> Text:
    card = record.card
    if card is None:
        return told(NOT_DESCRIBED)
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (card.mean, card.std))
    return told(
        f"whole image, {card.resize} to {card.input_width} × {card.input_height} pixels, bilinear with antialias; "
        f"normalised by mean ({mean}) and standard deviation ({std}); no hair removal, no colour constancy"
    )


def _synthetic(record: RunRecord) -> Text:
    if record.is_phantom:
        return told(
            "all images are synthetic; the same program and seed draw them again: {command}",
            command=Code("melascope data phantom"),
        )
    return told("none used")


def _bias_of_metadata(record: RunRecord) -> Text:
    said = published(record.source).bias
    used = "age, sex and site are no inputs of the model; they part the subgroups of this report"
    return told("{said}; {used}", said=said, used=used) if said != NOT_DESCRIBED else told(f"{NOT_DESCRIBED}; {used}")


def _people(record: RunRecord) -> Text:
    known = [name for name in ("sex", "localization", "dx_type") if values_of(record.predictions, name)]
    has_age = bool((record.predictions.age == record.predictions.age).any())
    columns = ", ".join([*(["age"] if has_age else []), *known]) or "none"
    return told(
        "{said}. Columns with values here: {columns}.", said=published(record.source).people, columns=Code(columns)
    )


def _partitions(record: RunRecord) -> Text:
    return told(
        "{sides}: no lesion stands in two of them; the same person on two sides cannot be excluded where persons are "
        "not named",
        sides=Code(", ".join(values_of(record.predictions, "split")) or "no splits"),
    )


def _sizes(record: RunRecord) -> Text:
    parts: list = []
    for side in values_of(record.predictions, "split"):
        parts += ["; " if parts else "", Code(side), " ", record.traces.counted("images", split=side), " images of "]
        parts += [record.traces.counted("lesions", split=side), " lesions"]
    return tuple(parts) or told(NOT_DESCRIBED)


def _external(record: RunRecord) -> Text:
    if not record.elsewhere:
        return told(NOT_MEASURED + ": {command}", command=Code("melascope evaluate RUN --external PREDICTIONS.parquet"))
    names = ", ".join(evaluation.origin.source or folder for folder, evaluation in record.elsewhere)
    return told("judged at the frozen threshold on {names}; figures under “elsewhere”", names=Code(names))


def _balance(record: RunRecord) -> Text:
    where = {"split": record.evaluation.split} if record.evaluation.split else {}
    parts: list = []
    for name in CLASSES:
        parts += ["; " if parts else "", f"{name} ", record.traces.counted("images", **where, dx=name)]
    return ("judged images: ", *parts)


def _unlike(record: RunRecord) -> Text:
    if isinstance(record.likeness, Gap):
        why = f" ({record.likeness.why})" if record.likeness.why else ""
        return told(
            NOT_MEASURED + why + ": {command} fits a test of likeness; without it the model, which has seven classes, "
            "answers whatever it is shown",
            command=Code(record.likeness.command),
        )
    count = partial(record.traces.count, LIKENESS_FILE)
    return told(
        "the local page refuses to classify them. Its limit was chosen on validation images, of which it refuses "
        "{refused} of {n} ({lost} of {targets} {name} images); on images that are no dermoscopy, and on other "
        "collections: " + NOT_MEASURED + " by this report",
        refused=count("n_images_refused"),
        n=count("n_images"),
        lost=count("n_target_images_refused"),
        targets=count("n_target_images"),
        name=record.evaluation.target_name,
    )


def _labels(record: RunRecord) -> Text:
    return told("the seven classes of HAM10000: {names}", names=", ".join(CLASSES))


def _histology(record: RunRecord) -> Text:
    split = record.evaluation.split
    where = {"split": split} if split else {}
    parts: list = []
    for name in record.evaluation.target:
        parts += ["; " if parts else "", record.traces.counted("images", **where, dx=name, dx_type="histo"), " of "]
        parts += [
            record.traces.counted("images", **where, dx=name),
            f" judged images of {name} are confirmed by histology",
        ]
    return ("as its program says: ", *parts) if record.is_phantom else tuple(parts)


def _algorithm(record: RunRecord) -> Text:
    if record.recipe is None:
        return told(NOT_DESCRIBED)
    train = record.recipe.train
    return told(
        "{backbone}, loss {loss}, {epochs} epochs; resolved recipe in {file}, code {commit}, random numbers keyed by "
        "seed {seed}",
        backbone=Code(record.recipe.model.backbone),
        loss=Code(record.recipe.loss.name),
        epochs=str(train.epochs),
        file=Code("recipe.toml"),
        commit=Code(str(record.facts.get("git_commit", "unknown"))),
        seed=str(record.recipe.seed),
    )


def _public(record: RunRecord) -> Text:
    return told(
        "the code is open, and judges anybody's table ({command}); the weights (SHA-256 {sha}) stand in the run; where "
        "they are published: " + NOT_DESCRIBED,
        command=Code("melascope evaluate TABLE.csv"),
        sha=Code(record.evaluation.origin.checkpoint_sha256[:12] or "unknown"),
    )


def _performance(record: RunRecord) -> Text:
    row = ("auroc", record.target, "P(target)", "image")
    return told(
        "at the threshold frozen on validation, per image: {figures}; AUROC {auroc}; 95 % intervals by lesion",
        figures=at_threshold(record, "sensitivity", "specificity"),
        auroc=record.traces.figure(FIGURES, "all", *row),
    )


def _benchmark(record: RunRecord) -> Text:
    if isinstance(record.comparison, Gap):
        return told(
            NOT_MEASURED + ": {command}; comparison with physicians: " + NOT_MEASURED,
            command=Code(record.comparison.command),
        )
    others = ", ".join(one.name for one in record.comparison.contenders)
    return told(
        "compared on the same images: {others}; comparison with physicians: " + NOT_MEASURED, others=Code(others)
    )


def _bias(record: RunRecord) -> Text:
    factors = dict.fromkeys(part.factor for part in record.evaluation.subgroups)
    if not factors:
        return told(NOT_MEASURED + ": the table knows nothing that parts the images; skin tone: " + NOT_MEASURED)
    return told(
        "sensitivity and specificity by {factors}; skin tone: " + NOT_MEASURED, factors=Code(", ".join(factors))
    )


def _use(record: RunRecord) -> Text:
    return told(
        "research on missed {name}s in dermoscopic images like the training data; other images, and lesions of none of "
        "the seven classes, lie outside",
        name=record.evaluation.target_name,
    )


def _impact(record: RunRecord) -> Text:
    group = record.evaluation.whole
    if not isinstance(group, Group):
        return told(NOT_MEASURED)
    path = record.decision_path(record.evaluation.at, "lesion")
    price = ("all", "false_alarms_per_found", record.target, record.evaluation.at, "lesion")
    return told(
        "{name} lesions missed among those judged: {missed}; false alarms for each found: {price}; effect on "
        "physicians and patients: " + NOT_MEASURED,
        missed=record.traces.count(JSON, *path, "fn"),
        name=record.evaluation.target_name,
        price=record.traces.figure(FIGURES, *price, digits=1),
    )


_DATA, _TECHNIQUE, _ASSESSMENT, _APPLICATION = "Data", "Technique", "Technical assessment", "Application"

POINTS: tuple[Point, ...] = (
    Point(_DATA, "Image types", "Which kinds of images are used?", _published("image_types")),
    Point(_DATA, "Artefacts", "Which artefacts do the images hold?", _published("artefacts")),
    Point(_DATA, "Acquisition", "With which devices and how were they taken?", _published("acquisition")),
    Point(_DATA, "Preprocessing", "What is done to an image before the model sees it?", _preprocessing),
    Point(_DATA, "Synthetic images", "Were synthetic images used, and can others have them?", _synthetic),
    Point(_DATA, "Public images", "Are public images referenced?", _published("reference")),
    Point(_DATA, "Patient metadata", "What is known of the people: age, sex, place?", _people),
    Point(_DATA, "Skin tone", "Which skin tones, and how were they assessed?", _published("skin_tone")),
    Point(_DATA, "Bias from metadata", "Which biases may come from using such facts?", _bias_of_metadata),
    Point(_DATA, "Partitions", "How are training, validation and test kept apart?", _partitions),
    Point(_DATA, "Sample sizes", "How many in each part?", _sizes),
    Point(_DATA, "External test", "Was another collection judged?", _external),
    Point(_DATA, "Vendors", "Are several makes of device in the images?", _published("vendors")),
    Point(_DATA, "Class balance", "How are the classes distributed?", _balance),
    Point(
        *(_DATA, "Unlike images", "What does the model do with images unlike its training data?"),
        _unlike,
    ),
    Point(_TECHNIQUE, "Labelling", "How was the truth found, and by whom?", _published("labelling")),
    Point(_TECHNIQUE, "Label words", "Are the labels those of an accepted list?", _labels),
    Point(_TECHNIQUE, "Histology", "Is malignancy confirmed by histology?", _histology),
    Point(_TECHNIQUE, "Algorithm", "Is the development described so that it can be repeated?", _algorithm),
    Point(_ASSESSMENT, "Public evaluation", "How can others evaluate the algorithm?", _public),
    Point(_ASSESSMENT, "Performance", "Which measures, at which threshold, how sure?", _performance),
    Point(_ASSESSMENT, "Benchmark", "How does it compare with others, and what is new?", _benchmark),
    Point(_ASSESSMENT, "Bias", "Was it assessed for whom it works worse?", _bias),
    Point(_APPLICATION, "Use", "For which use and conditions is it meant?", _use),
    Point(_APPLICATION, "Impact", "What may it do to the health care team and to patients?", _impact),
)
"""The 25 points in the paper's four groups."""


def section(record: RunRecord) -> Section:
    """A row a point, with what it asks and what the run answers."""
    rows = tuple(
        ((f"{number}. {point.name}",), (point.group,), (point.asks,), point.answer(record))
        for number, point in enumerate(POINTS, start=1)
    )
    table = Table("The 25 points", ("point", "group", "asks", "this run"), rows, wordy=True)
    intro = told(
        CITATION
        + ". What nobody told the run reads “"
        + NOT_DESCRIBED
        + "”, what was not computed “"
        + NOT_MEASURED
        + "”. "
        "Data set: {source}.",
        source=source_name(record.source),
    )
    return Section("clear-derm", "Answers to the CLEAR Derm checklist", (Sentence(intro, "notice"), table))
