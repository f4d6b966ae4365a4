"""Can a comparison be read on a narrow terminal: which model is which, every figure, every note?"""

import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from melascope.classes import RESEARCH_ONLY
from melascope.config import Recipe
from melascope.evaluation.compare import Entry, compare
from melascope.evaluation.compared import COMPARED
from melascope.evaluation.comparison import signed
from melascope.evaluation.record import with_interval
from melascope.report.comparison_text import print_comparison
from melascope.tables.predictions import PredictionsOrigin
from melascope.tables.results import Estimate


@pytest.fixture
def comparison(judge):
    """Two seeds of one recipe, and three tables beside them."""
    _, table = judge(with_point=False)
    known = PredictionsOrigin(source="phantom", split_sha256="d" * 64, dataset_fingerprint="f" * 64)
    rng = np.random.default_rng(0)
    tables = [
        replace(table, logits=table.logits + rng.normal(0, 1, table.logits.shape), origin=known) for _ in range(5)
    ]
    recipes = [Recipe(name="small", seed=1), Recipe(name="small", seed=2), None, None, None]
    names = ("20261122_214032__small-effnetb0-s1", "small-s2", "first.csv", "second.csv", "third.csv")
    return compare([Entry(*one) for one in zip(names, tables, [None] * 5, recipes, strict=True)], draws=50)


def headlines(figures):
    return [figure for name, figure in figures.items() if COMPARED[name].headline]


def shown(comparison, width):
    stream = io.StringIO()
    print_comparison(comparison, Console(file=stream, width=width))
    return stream.getvalue()


@pytest.mark.parametrize("width", [60, 80, 140])
def test_every_line_fits_and_nothing_is_cut(comparison, width):
    text = shown(comparison, width)
    assert max(len(line) for line in text.splitlines()) <= width and "…" not in text
    words = " ".join(text.split())
    assert words.startswith(f"PHANTOM (synthetic images): {comparison.sizes}")
    assert words.endswith(RESEARCH_ONLY)
    for note in comparison.notes:
        assert note in words


@pytest.mark.parametrize("width", [60, 80, 140])
def test_every_figure_and_difference_stands_in_one_piece(comparison, width):
    text = shown(comparison, width)
    for contender in comparison.contenders:
        assert f"{contender.letter} {contender.name}: {contender.rule}" in " ".join(text.split())
        for figure in (*contender.figures.values(), *headlines(contender.histology)):
            assert (with_interval(figure, 3) if isinstance(figure, Estimate) else str(figure)) in text
    for pair in comparison.pairs:
        assert pair.name in text
        told = (*pair.differences.values(), *headlines(pair.histology))
        assert all(signed(difference) in text for difference in told)
    without = [one.label for one in COMPARED.values() if one.at != "operating_point"]
    assert all(label in text for label in without)
    assert "not applicable (no threshold)\n" not in text  # nobody has one: the notes say what is missing, no row does
    assert all(one.label in " ".join(text.split()) for one in COMPARED.values())


def test_who_finds_which_lesions_is_told(comparison):
    words = " ".join(shown(comparison, 100).split())
    for pair in comparison.pairs:
        for unit, found in pair.found.items():
            assert (
                f"Melanoma {unit}s found (top class) by both A and {pair.other}: {found.both}, "
                f"by neither: {found.neither}, by A alone: {len(found.only_first)}, "
                f"by {pair.other} alone: {len(found.only_other)}."
            ) in words
        lesions = pair.found["lesion"].only_first
        assert not lesions or f"Lesions that A alone finds: {lesions[0]}" in words
    assert any(pair.found["lesion"].only_first for pair in comparison.pairs)


def test_seeds_are_told_once_each(comparison):
    words = " ".join(shown(comparison, 100).split())
    spread = comparison.contenders[0].seed_spread["auroc"]
    assert f"AUROC {spread}." in words and "Seed spread of A: sensitivity not applicable (no threshold)" in words
    assert "(spread of 2 seeds)" in words
    assert words.count("not applicable (n=1 seed)") == 3


def test_seeds_alone_and_what_is_undefined_can_be_read(judge):
    _, table = judge(classes=("nv", "bkl"), with_point=False)
    words = " ".join(shown(compare([Entry("a", table), Entry("b", table)], draws=20), 80).split())
    assert "not applicable (n=0 images of melanoma)" in words and "nan" not in words
