"""Are seeds of one recipe pooled, and only they, and is what the seed alone moves told apart?"""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t as student
from sklearn import metrics as sk

from melascope.config import LossRecipe, Recipe
from melascope.evaluation.compare import Entry, by_recipe, compare
from melascope.evaluation.compared import COMPARED
from melascope.evaluation.comparison import SeedSpread
from melascope.evaluation.intervals import lesion_draws
from melascope.evaluation.operating_point import choose_operating_point
from melascope.tables.results import NotApplicable
from retrained_models import DRAWS, ORIGIN, retrained, runs


@pytest.fixture(scope="module")
def table(draw_table):
    return draw_table(n_lesions=300, seed=2, origin=ORIGIN)


@pytest.fixture(scope="module")
def point(draw_table):
    return choose_operating_point(draw_table(n_lesions=300, seed=1, split="val", origin=ORIGIN), rule="empirical")


def test_seeds_of_one_recipe_are_pooled_and_their_spread_is_told(table, point):
    entries = [Entry("old", table, point), *runs(table, point, 3)]
    told = compare(entries, draws=DRAWS)
    single = [compare([entries[0], entry], draws=DRAWS) for entry in entries[1:]]
    old, pooled = told.contenders
    assert pooled.name == "small, 3 seeds" and [member.seed for member in pooled.members] == [1, 2, 3]
    for name in COMPARED:
        values = [one.contenders[1].figures[name].value for one in single]
        spread = pooled.seed_spread[name]
        assert pooled.figures[name].value == pytest.approx(np.mean(values))
        assert (spread.n_seeds, spread.mean) == (3, pytest.approx(np.mean(values)))
        assert spread.sd == pytest.approx(np.std(values, ddof=1))
        assert (spread.low, spread.high) == (min(values), max(values))
        assert told.pairs[0].differences[name].value == pytest.approx(
            np.mean([one.pairs[0].differences[name].value for one in single])
        )
        assert old.seed_spread[name] == NotApplicable("n=1 seed")
    assert "spread of 3 seeds" in str(pooled.seed_spread["auroc"])
    for said in ("B is the mean of 3 seeds", "A: one seed or table each"):
        assert any(said in note for note in told.notes)


def test_the_intervals_of_a_pool_come_from_the_mean_in_each_draw(table, point):
    entries = runs(table, point, 2)
    _, lesion = np.unique(table.lesion_id.astype(str), return_inverse=True)
    truth = table.dx == "mel"
    mean = [
        np.mean(
            [sk.roc_auc_score(truth, one.predictions.probabilities[:, 4], sample_weight=w[lesion]) for one in entries]
        )
        - sk.roc_auc_score(truth, table.probabilities[:, 4], sample_weight=w[lesion])
        for w in np.concatenate(list(lesion_draws(lesion.max() + 1, DRAWS, seed=0)))
    ]
    n = len(set(table.lesion_id[truth]))
    half = student.ppf(0.975, n - 1) * np.std(mean) * np.sqrt(n / (n - 1))
    difference = compare([Entry("old", table, point), *entries], draws=DRAWS).pairs[0].differences["auroc"]
    assert difference.high - difference.value == pytest.approx(half, abs=1e-9)


def test_a_pool_finds_what_more_than_half_of_its_seeds_find(table, point):
    entries = runs(table, point, 3)
    found = compare([Entry("old", table, point), *entries], draws=0).pairs[0].found["image"]
    votes = sum(point.is_positive(entry.predictions.probabilities).astype(int) for entry in entries)
    truth, old = table.dx == "mel", point.is_positive(table.probabilities)
    assert set(found.only_other) == set(table.image_id[truth & ~old & (votes >= 2)])
    assert set(found.only_first) == set(table.image_id[truth & old & (votes <= 1)])


def test_a_tie_of_two_seeds_counts_as_missed(table, point):
    entries = runs(table, point, 2)
    found = compare([Entry("old", table, point), *entries], draws=0).pairs[0].found["image"]
    both = np.all([point.is_positive(entry.predictions.probabilities) for entry in entries], axis=0)
    truth, old = table.dx == "mel", point.is_positive(table.probabilities)
    assert set(found.only_first) == set(table.image_id[truth & old & ~both])


def test_seeds_alone_are_told_without_a_pair(table, point):
    told = compare(runs(table, point, 2), draws=0)
    assert len(told.contenders) == 1 and told.pairs == ()
    assert isinstance(told.contenders[0].seed_spread["auroc"], SeedSpread)
    assert not any("by chance" in note for note in told.notes)


def test_only_true_seeds_are_pooled(table, point):
    first, second = runs(table, point, 2)

    def kinds(entry):
        return len(by_recipe([first, entry]))

    def elsewhere(**origin):
        return replace(second, predictions=retrained(table, 2, **origin))

    assert kinds(second) == 1
    assert kinds(replace(second, recipe=Recipe(name="small", seed=2, loss=LossRecipe(melanoma_factor=2)))) == 2
    assert kinds(elsewhere(dataset_fingerprint="e" * 64)) == kinds(elsewhere(split_sha256="e" * 64)) == 2
    assert kinds(elsewhere(split_sha256="")) == 2
    assert kinds(replace(second, recipe=None)) == kinds(replace(second, operating_point=None)) == 2
    again = replace(second, name="again", recipe=first.recipe)
    assert [len(same) for same in by_recipe([first, again])] == [1, 1]
    told = compare([first, again], draws=0)
    assert any("small-s1 and again have the same recipe and seed" in note for note in told.notes)


def test_pools_of_the_same_name_are_told_apart(table, point):
    others = [replace(one, name=f"new-{one.name}") for one in runs(table, point, 2, loss=LossRecipe(melanoma_factor=2))]
    names = [contender.name for contender in compare([*runs(table, point, 2), *others], draws=0).contenders]
    assert names == ["small-s1 + small-s2", "new-small-s1 + new-small-s2"]
