"""Do the plots and the terminal say what the tests of maps found, in red where the gate fails?"""

import io

import numpy as np
import pytest
from rich.console import Console

from melascope.classes import CLASSES
from melascope.explain.map_figures import (
    BASELINES,
    MEASURES,
    Images,
    MaskScores,
    faithfulness_figures,
    faithfulness_rows,
    mask_figures,
    sanity_figures,
    score_all,
    score_rows,
)
from melascope.explain.sanity import Likeness
from melascope.report.map_test_plot import save_map_tests
from melascope.report.map_test_text import print_map_tests
from melascope.tables.cell_places import CellPlaces
from melascope.tables.map_scores import GateCheck, MapTests
from melascope.tables.results import Estimate, NotApplicable

N = 420
RNG = np.random.default_rng(0)
DX = np.repeat(np.array(CLASSES, dtype=object), N // 7)
KEYS = np.array([str(row // 2) for row in range(N)], dtype=object)
MISSED = (DX == "mel") & (np.arange(N) % 4 < 2)
IMAGES = Images(KEYS, DX, RNG.integers(0, 7, N), MISSED, (DX == "mel") & ~MISSED, "mel")


def _scores() -> MaskScores:
    of_map = {
        name: (RNG.random((N, 7)) > 0.4).astype(float) if name == "peak_inside" else RNG.beta(5, 3, (N, 7))
        for name in MEASURES
    }
    nothing = RNG.random((N, 7)) < 0.1
    for values in of_map.values():
        values[nothing] = np.nan
    baseline = {name: {measure: RNG.beta(2, 4, N) for measure in MEASURES} for name in BASELINES}
    return MaskScores(of_map, baseline, nothing, np.zeros(N, bool))


@pytest.fixture(scope="module")
def tests() -> MapTests:
    faithful = {
        name: np.stack([RNG.beta(a, 3, 60) for a in (4, 3, 3.5)], axis=1)
        for name in ("deletion_blur", "deletion_skin", "insertion_blur", "insertion_skin", "road")
    }
    stages = ["classifier", "bn2", "conv_head", *(f"blocks.{k}" for k in range(6, -1, -1)), "conv_stem"]
    likenesses = [
        Likeness(stage, draw, np.clip(RNG.normal(0.8 - 0.08 * index, 0.3, (40, 7)), -1, 1))
        for index, stage in enumerate([*stages, "true labels", "permuted labels", "another picture"])
        for draw in range(3)
    ]
    figures = [
        *mask_figures(_scores(), IMAGES, draws=200, seed=0),
        *faithfulness_figures(faithful, IMAGES.subset(np.arange(60)), map_of="predicted", draws=200, seed=0),
        *sanity_figures(likenesses, KEYS[:40]),
    ]
    facts = {
        "run": "20260101_000000__tiny-s1",
        "source": "phantom",
        "method": "gradcam",
        "layer": "bn2",
        "map_cells": "4x3",
        "split": "test",
        "n_images": N,
        "n_lesions": N // 2,
        "masks": {"data set": N},
        "n_asked_again": 60,
        "sanity_images": 40,
        "randomisations": 3,
        "limit": 0.2,
    }
    return MapTests(facts, tuple(figures), (GateCheck("whole network random", "+0.412", "within 0.2", False),))


def test_plots_are_the_same_bytes_each_time(tests, tmp_path):
    one, two = (save_map_tests(tests, tmp_path / name) for name in ("a", "b"))
    assert len(one) == 10 and {path.suffix for path in one} == {".png", ".svg"}
    assert all(path.read_bytes() == other.read_bytes() for path, other in zip(one, two, strict=True))


def test_a_failed_gate_is_red(tests):
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    print_map_tests(tests, console)
    text = console.file.getvalue()
    assert "\x1b[1;31mSANITY GATE FAILED" in text and "+0.412" in text


def test_baselines_stand_on_the_same_images(tests):
    for measure in MEASURES:
        for name in BASELINES:
            own, theirs, difference = (
                tests.of("lesion mask", measure, against=against) for against in ("", name, f"map - {name}")
            )
            assert own.n == theirs.n == difference.n
            assert difference.value == pytest.approx(own.value - theirs.value)


def test_no_positive_evidence_is_counted_and_not_scored(tests):
    empty, scored = (tests.of("lesion mask", name) for name in ("no_positive_evidence", "share_inside"))
    assert empty.n == N and scored.n == N - round(empty.value * N) < N


def test_missed_and_caught_are_compared(tests):
    missed, caught, difference = (
        tests.of("lesion mask", "share_inside", map_of="mel", group=group)
        for group in ("mel missed", "mel caught", "mel missed - caught")
    )
    assert difference.value == pytest.approx(missed.value - caught.value) and difference.n == missed.n + caught.n
    assert difference.low < difference.value < difference.high
    nobody = Images(KEYS, DX, IMAGES.predicted, MISSED & False, MISSED & False, "mel")
    figures = {one.key: one.figure for one in mask_figures(_scores(), nobody, draws=50, seed=0)}
    assert figures["lesion mask", "share_inside", "mel", "mel missed", ""] == NotApplicable("n=0 images")


def test_maps_that_are_drawn_too_far_down_and_right_are_noticed():
    """Lesions anywhere, maps that know them but whose cells are drawn half a cell off."""
    rows, columns = np.mgrid[:96, :128]
    masks, maps = [], np.zeros((N, 7, 6, 8), np.float32)
    for index in range(N):
        y, x = 40 + index % 5 * 4, 50 + index % 7 * 4
        masks.append((rows - y) ** 2 + (columns - x) ** 2 < 200)
        seen = (np.mgrid[:6, :8] * 16 - np.array([y, x])[:, None, None]) / 16  # cell k looks at pixel 16 k
        maps[index] = np.exp(-(seen**2).sum(axis=0))
    figures = {one.key: one.figure for one in mask_figures(score_all(maps, masks), IMAGES, draws=100, seed=0)}
    right, below = (
        figures["lesion mask", name, "predicted", "all", ""] for name in ("right_of_lesion", "below_lesion")
    )
    assert right.value * 128 == pytest.approx(7.5, abs=0.6) and below.value * 96 == pytest.approx(7.5, abs=0.6)
    assert right.low > 0 and below.low > 0


def test_scores_of_known_maps():
    mask = np.zeros((30, 40), bool)
    mask[:15] = True
    maps = -np.ones((2, 7, 2, 2), np.float32)
    maps[0, 3] = [[1, 1], [-1, -1]]
    scores = score_all(maps, [mask, mask & False])
    assert scores.of_map["peak_inside"][0, 3] == 1 and scores.nothing[0].sum() == 6
    assert np.isnan(scores.of_map["share_inside"][1]).all() and scores.unusable.tolist() == [False, True]
    assert scores.of_baseline["area share"]["matched_iou"][0] == pytest.approx(0.5 / 1.5)
    one = Images(KEYS[:2], DX[:2], np.array([3, 3]), *np.zeros((2, 2), bool), "mel")
    assert scores.of_map["below_lesion"][0, 3] == pytest.approx(0) == scores.of_map["right_of_lesion"][0, 3]
    assert scores.of_baseline["area share"]["below_lesion"][0] == pytest.approx(0.25)
    moved = score_all(maps[:1], [mask], CellPlaces((-0.25, 0.5))).of_map  # cells are 15 px high and 20 px wide
    assert moved["below_lesion"][0, 3] == pytest.approx(-0.125)
    assert moved["right_of_lesion"][0, 3] == pytest.approx(0.25)
    rows = score_rows(scores, one, [{"image_id": "a"}, {"image_id": "b"}])
    assert [row["state"] for row in rows[:4]] == ["no positive evidence"] * 3 + ["scored"] and len(rows) == 14
    rows = faithfulness_rows({"road": np.array([[0.3, 0.2, 0.1]])}, [{"image_id": "a"}, {"image_id": "b"}])
    assert rows == [{"image_id": "a", "road_map": 0.3, "road_random_map": 0.2, "road_centred_gaussian": 0.1}]


def test_the_interval_of_a_likeness_is_over_the_draws():
    drawn = [Likeness("head", number, np.full((5, 7), value)) for number, value in enumerate((0.1, 0.2, 0.3))]
    figure = sanity_figures(drawn, KEYS[:5])[0].figure
    half = 4.302653 * 0.1 / 3**0.5
    assert isinstance(figure, Estimate) and figure.value == pytest.approx(0.2)
    assert (figure.low, figure.high) == pytest.approx((0.2 - half, 0.2 + half))
