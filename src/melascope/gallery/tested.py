"""What became of the answer when a part of the picture was hidden, and does that bear out what the map says?"""

from __future__ import annotations

import math
from dataclasses import dataclass

from melascope.explain.interventions import Outcome
from melascope.gallery.wording import code, probability
from melascope.tables.results import NotApplicable

SURE = 0.05
"""Up to this p of a random region, a change is told as one that chance does not explain."""

WORTH = 0.4
"""A change of the log-odds of P(mel) that is worth a sentence: the odds by half as much again, or less by a third."""

TOLD = 4
"""Sentences a note has at most; the others are counted."""


@dataclass(frozen=True)
class Test:
    """One intervention on a case, and the change of P(mel).

    Parameters
    ----------
    name : what was done, e.g. "coloured spot 1 beside it removed"
    fill : what stands in its place, `""` for an added artefact
    before, after : P(mel)
    control_mean : mean change by the same form placed at random; NotApplicable where there was no room
    n_controls : placements
    p_value : share of placements that change it as much, see `explain.interventions`
    predicted : top class before and after
    above : on which side of the frozen threshold, before and after
    """

    __test__ = False  # no test of pytest's

    name: str
    fill: str
    before: float
    after: float
    control_mean: float | NotApplicable
    n_controls: int
    p_value: float | NotApplicable
    predicted: tuple[str, str]
    above: tuple[bool, bool]

    @classmethod
    def of(cls, outcome: Outcome) -> Test:
        """What `explain.interventions.intervene` found, as the gallery keeps it; its asker's target is melanoma."""
        change, above = outcome.of("target"), outcome.positive
        if outcome.target != ("mel",) or isinstance(above, NotApplicable):
            raise ValueError(
                f"an outcome for {outcome.target} with {above}: a gallery is about melanoma at a threshold"
            )
        return cls(
            name=outcome.name,
            fill=outcome.fill,
            before=change.before,
            after=change.after,
            control_mean=change.control_mean,
            n_controls=change.n_controls,
            p_value=change.p_value,
            predicted=outcome.predicted,
            above=above,
        )

    @property
    def flips(self) -> bool:
        """Whether the decision at the frozen threshold changes."""
        return self.above[0] != self.above[1]

    @property
    def beyond_chance(self) -> bool:
        """Whether few random regions of the same form change P(mel) as much, and it is a change worth telling."""
        return not isinstance(self.p_value, NotApplicable) and self.p_value <= SURE and self._is_large

    @property
    def _is_large(self) -> bool:
        before, after = (min(max(value, 1e-9), 1 - 1e-9) for value in (self.before, self.after))
        return abs(math.log(after / (1 - after)) - math.log(before / (1 - before))) >= WORTH


def is_of_map(test: Test, name: str) -> bool:
    """Whether the test hides what the map of a class marks."""
    return f" of the {name} map" in test.name and test.name.endswith("removed")


def told_tests(tests: tuple[Test, ...]) -> list[Test]:
    """The tests that a note tells: those that flip the decision, then the surest; one fill each, in-painting first."""
    first: dict[str, Test] = {}
    for test in tests:
        first.setdefault(test.name, test)
    worth = [test for test in first.values() if test.flips or test.beyond_chance or is_of_map(test, "mel")]
    return sorted(worth, key=lambda test: (not (test.flips and test.beyond_chance), not test.beyond_chance))[:TOLD]


def sentence_of(test: Test) -> str:
    """What was done, what changed, and what chance would have changed."""
    before, after = probability(test.before), probability(test.after)
    moved = f"{'raises' if test.after > test.before else 'lowers'} P(mel) from {before} to {after}"
    moved = f"leaves P(mel) at {before}" if before == after else moved
    crossed = {(False, True): ", above the threshold", (True, False): ", below the threshold"}.get(test.above, "")
    answer = "" if test.predicted[0] == test.predicted[1] else f"; the first answer becomes {code(test.predicted[1])}"
    how = f" ({test.fill})" if test.fill else ""
    done = f"{test.name[:1].upper()}{test.name[1:]}{how}: this {moved}{crossed}{answer}"
    if isinstance(test.p_value, NotApplicable):
        return f"{done}. {test.p_value.reason[:1].upper()}{test.p_value.reason[1:]}, so chance is not excluded."
    chance = "" if test.p_value <= SURE else ": no more than chance would"
    return (
        f"{done}; the same form placed at random changes it by {test.control_mean:+.4f} on average "
        f"(n={test.n_controls}, p={test.p_value:.2f}){chance}."
    )


def flips_of(tests: tuple[Test, ...]) -> tuple[str, ...]:
    """Names of the interventions that flip the decision, beyond chance, whatever the fill."""
    return tuple(dict.fromkeys(test.name for test in tests if test.flips and test.beyond_chance))
