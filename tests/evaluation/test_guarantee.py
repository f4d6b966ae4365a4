"""Does the rule `guaranteed` keep its promise, and does `empirical` show that it takes a rule to keep one?

The scores are drawn from a distribution whose true lesion-level sensitivity is known at every threshold: lesions with
1–4 images, Gaussian scores that share a part by lesion. So the mean of a lesion's m images is Gaussian with variance
BETWEEN² + WITHIN² / m, and sensitivity at t is the mixture over m of P(N(CENTRE, that variance) >= t).
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom, binomtest, norm

from melascope.errors import OperatingPointError
from melascope.evaluation.lesion_level import lesion_scores
from melascope.evaluation.operating_point import choose_operating_point
from melascope.evaluation.rules import (
    Candidates,
    check_enough_lesions,
    empirical_threshold,
    guaranteed_lesions_needed,
    guaranteed_rank,
    guaranteed_threshold,
    lower_bound,
)

TARGET, CONFIDENCE, DRAWS = 0.90, 0.95, 10_000
ALLOWANCE = 3 * np.sqrt(CONFIDENCE * (1 - CONFIDENCE) / DRAWS)  # three Monte-Carlo standard errors: 0.0065
CENTRE, BETWEEN, WITHIN = 0.6, 0.12, 0.08
IMAGES = np.array([1, 2, 3, 4])
SHARE = np.array([0.45, 0.35, 0.12, 0.08])  # of lesions with so many images: 1.8 on average, as HAM10000's melanomas


def draw_lesions(n: int, seed: int) -> np.ndarray:
    """Image scores of `n` target lesions in each of DRAWS validation sets: (DRAWS, n, 4), NaN where there is none."""
    rng = np.random.default_rng([seed, n])
    images = rng.choice(IMAGES, size=(DRAWS, n, 1), p=SHARE)
    scores = rng.normal(CENTRE, BETWEEN, (DRAWS, n, 1)) + rng.normal(0, WITHIN, (DRAWS, n, 4))
    return np.where(np.arange(4) < images, scores, np.nan)


def true_sensitivity(thresholds: np.ndarray) -> np.ndarray:
    """Share of all lesions of that distribution whose mean score reaches each threshold (DRAWS,)."""
    spread = np.sqrt(BETWEEN**2 + WITHIN**2 / IMAGES)
    return (SHARE * norm.sf(thresholds[:, None], CENTRE, spread)).sum(axis=1)


def candidates_of(images: np.ndarray) -> Candidates:
    """One validation set (n, 4) as the rules see it, with one other lesion."""
    lesion, _ = np.nonzero(~np.isnan(images))
    scores = np.append(images[~np.isnan(images)], 0.1)
    lesion, truth = np.append(lesion, len(images)), np.append(np.ones(len(lesion), dtype=bool), False)
    by_lesion = lesion_scores(np.repeat(scores[:, None], 7, axis=1), truth, lesion)
    return Candidates(("mel",), scores, truth, by_lesion.probabilities[:, 0], by_lesion.truth)


def check_against_the_rule(thresholds: np.ndarray, rule, drawn: np.ndarray) -> None:
    """All draws are worked out at once; that this is what the rule itself chooses is shown on the first hundred."""
    for images, threshold in zip(drawn[:100], thresholds[:100], strict=True):
        assert rule(candidates_of(images), TARGET) == pytest.approx(threshold, abs=1e-12)


@pytest.mark.parametrize("n", [40, 72, 200])
def test_guaranteed_reaches_its_target_in_95_percent_of_10_000_validation_sets(n):
    drawn = draw_lesions(n, seed=1)
    rank = guaranteed_rank(n, TARGET)
    thresholds = np.sort(np.nanmean(drawn, axis=2), axis=1)[:, n - rank]
    check_against_the_rule(thresholds, guaranteed_threshold, drawn)
    kept = (true_sensitivity(thresholds) >= TARGET).mean()
    theory = beta.sf(TARGET, rank, n - rank + 1)  # Wilks 1941: what the share must be, exactly
    print(f"guaranteed, n={n}: {rank} must be found; {kept:.4f} of draws reach {TARGET}, theory {theory:.4f}")
    assert kept >= CONFIDENCE - ALLOWANCE
    assert theory >= CONFIDENCE
    assert abs(kept - theory) < 4 * np.sqrt(theory * (1 - theory) / DRAWS)
    assert guaranteed_rank(n, TARGET) - 1 == 0 or beta.sf(TARGET, rank - 1, n - rank + 2) < CONFIDENCE  # none is wasted


def empirical_thresholds(drawn: np.ndarray) -> np.ndarray:
    """(DRAWS,): the image score that finds 90 % of each validation set's images."""
    falling = -np.sort(-np.where(np.isnan(drawn), -np.inf, drawn).reshape(DRAWS, -1), axis=1)
    found = np.ceil(TARGET * (~np.isnan(drawn)).sum(axis=(1, 2)) - 1e-9).astype(int)
    return falling[np.arange(DRAWS), found - 1]


@pytest.mark.parametrize("n", [40, 72, 200])
def test_empirical_does_not(n):
    drawn = draw_lesions(n, seed=1)
    thresholds = empirical_thresholds(drawn)
    check_against_the_rule(thresholds, empirical_threshold, drawn)
    kept = (true_sensitivity(thresholds) >= TARGET).mean()
    alone = draw_lesions(n, seed=2)[:, :, 0]
    single = -np.sort(-alone, axis=1)[:, int(np.ceil(TARGET * n - 1e-9)) - 1]
    kept_single = (norm.sf(single, CENTRE, np.hypot(BETWEEN, WITHIN)) >= TARGET).mean()
    print(f"empirical, n={n}: {kept:.4f} of draws reach {TARGET}; with one image a lesion {kept_single:.4f}")
    assert kept < 0.80
    assert 0.35 < kept_single < 0.65


@pytest.mark.parametrize("n", [40, 72, 200])
def test_the_bound_beside_an_empirical_point_is_honest(n):
    """No theorem says so, since image scores chose the threshold; here it holds, far below the target as it lies."""
    drawn = draw_lesions(n, seed=1)
    thresholds = empirical_thresholds(drawn)
    found = (np.nanmean(drawn, axis=2) >= thresholds[:, None]).sum(axis=1)
    bounds = np.array([lower_bound(count, n) for count in range(n + 1)])[found]
    held = (true_sensitivity(thresholds) >= bounds).mean()
    print(f"empirical, n={n}: the bound, {bounds.mean():.3f} on average, holds in {held:.4f} of draws")
    assert held >= CONFIDENCE - ALLOWANCE
    assert (bounds < TARGET).mean() > 0.9


@pytest.mark.parametrize("n", [40, 200])
def test_equal_scores_only_add_sensitivity(n):
    """A table with probabilities rounded to 0.05: many lesions share the threshold's score."""
    steps = np.round(np.nanmean(draw_lesions(n, seed=3), axis=2) / 0.05)
    thresholds = np.sort(steps, axis=1)[:, n - guaranteed_rank(n, TARGET)]
    kept = (true_sensitivity((thresholds - 0.5) * 0.05) >= TARGET).mean()
    assert kept >= CONFIDENCE - ALLOWANCE


@settings(max_examples=200, deadline=None)
@given(n=st.integers(1, 400), share=st.floats(0, 1))
def test_the_bound_is_clopper_pearsons(n, share):
    found = round(share * n)
    theirs = binomtest(found, n, alternative="greater").proportion_ci(CONFIDENCE, method="exact").low
    assert lower_bound(found, n) == pytest.approx(theirs, abs=1e-9)


@settings(max_examples=200, deadline=None)
@given(n=st.integers(1, 400), target=st.floats(0.05, 0.99))
def test_the_bound_is_the_tolerance_limit(n, target):
    """Wilks's count, from the binomial alone: with the r-th smallest score, P(Bin(n, 1 - target) >= r) >= 0.95."""
    left_out = [r for r in range(1, n + 1) if binom.sf(r - 1, n, 1 - target) >= CONFIDENCE]
    if n < guaranteed_lesions_needed(target):
        assert not left_out
    else:
        assert guaranteed_rank(n, target) == n - max(left_out) + 1


@pytest.mark.parametrize(("target", "needed"), [(0.80, 14), (0.85, 19), (0.90, 29), (0.95, 59), (0.99, 299), (0.01, 1)])
def test_so_many_lesions_are_needed(target, needed):
    assert guaranteed_lesions_needed(target) == needed
    assert guaranteed_rank(needed, target) == needed  # all of them must be found
    check_enough_lesions("guaranteed", target, needed, ("mel",))


@given(target=st.floats(1e-6, 0.999))
def test_with_as_many_as_needed_there_is_a_threshold_and_with_one_less_there_is_none(target):
    needed = guaranteed_lesions_needed(target)
    assert lower_bound(needed, needed) >= target
    assert needed == 1 or lower_bound(needed - 1, needed - 1) < target


def test_too_few_lesions_are_refused_with_the_ways_on(draw_table):
    few = draw_table(split="val", dx=["mel"] * 20 + ["nv"] * 60)
    with pytest.raises(OperatingPointError) as caught:
        choose_operating_point(few)
    told = str(caught.value)
    for part in ("20 lesions of melanoma", "0.9", "at least 29", "0.86 at most", "empirical", "promises nothing"):
        assert part in told
    assert choose_operating_point(few, target_sensitivity=0.86).lesion_sensitivity_lower_bound >= 0.86
    assert choose_operating_point(few, rule="empirical").lesion_sensitivity_lower_bound < 0.9
    with pytest.raises(OperatingPointError, match="1 lesion of melanoma"):
        choose_operating_point(draw_table(split="val", dx=["mel", "nv", "nv"]))


def test_no_number_of_lesions_promises_everything(draw_table):
    with pytest.raises(OperatingPointError, match="no number of lesions"):
        choose_operating_point(draw_table(600, split="val"), target_sensitivity=1.0)
