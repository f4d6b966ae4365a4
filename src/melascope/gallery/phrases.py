"""Which computed phrases may stand in a sentence about a case, as `{name}`?"""

from __future__ import annotations

from melascope.gallery.case import Case, SameLesion
from melascope.gallery.wording import apart, class_name, code, count, listed, percent, probability
from melascope.tables.results import NotApplicable

MANY_TIMES = 1.5
"""From this ratio on, the distance to the threshold is told as a factor."""


def phrases_of(case: Case) -> dict[str, str]:
    """Phrases about the answer and the lesion; the tables of sentences are templates over these names."""
    p_mel, threshold = apart(case.p_mel, case.threshold)
    second, second_value = case.top3[1]
    n_pictures = len(case.same_lesion) + 1
    n_called = sum(other.above for other in case.same_lesion) + case.above
    return {
        "truth": class_name(case.dx),
        "truth_code": code(case.dx),
        "truth_probability": probability(case.truth_probability) if case.dx else "unknown",
        "predicted": code(case.predicted),
        "predicted_name": class_name(case.predicted),
        "confidence": probability(case.confidence),
        "answer": f"{code(case.predicted)} ({probability(case.confidence)})",
        "second": f"{code(second)} ({probability(second_value)})",
        "margin": probability(case.confidence - second_value),
        "p_mel": p_mel,
        "threshold": threshold,
        "below": f"P(mel) {p_mel} lies below the frozen threshold {threshold}{_factor(case)}",
        "reaches": f"P(mel) {p_mel} reaches the frozen threshold {threshold}",
        "price": _price(case),
        "split": code(case.split),
        "shown": f"{code(case.shown[0])} from {code(case.shown[1])}",
        "lesion": code(case.lesion_id),
        "n_pictures": str(n_pictures),
        "pictures": count(n_pictures, "picture"),
        "called": f"{n_called} of {n_pictures} called",
        "others": _others(case.same_lesion),
        "area": area(case),
        "mel_strength": percent(case.strength("mel")),
        "mel_off": _off(case, "mel"),
        "predicted_off": _off(case, case.predicted),
        "untested": "" if case.tests else " Not tested by hiding it.",
    }


def _factor(case: Case) -> str:
    if case.p_mel <= 0 or case.threshold / case.p_mel < MANY_TIMES:
        return ""
    ratio = case.threshold / case.p_mel
    if ratio > 1000:
        return " by a factor of more than 1000"
    return f" by a factor of {ratio:.0f}" if ratio >= 10 else f" by a factor of {ratio:.1f}"


def _price(case: Case) -> str:
    if case.price is None:
        return "What finding it would have cost cannot be counted: no held-out image is known to be something else."
    now, then, others = case.price.called_now, case.price.called_then, case.price.n_others
    return (
        f"To find it, the threshold would have to fall to {apart(case.p_mel, case.threshold)[0]}; of the {others} "
        f"held-out images without melanoma {then} would then be called instead of {now} "
        "(counted afterwards; the frozen threshold stays)."
    )


def _others(others: tuple[SameLesion, ...]) -> str:
    return listed(
        [
            f"{code(other.image_id)} ({other.split or 'split unknown'}, P(mel) {probability(other.p_mel)}, "
            f"{'called' if other.above else 'not called'})"
            for other in others
        ]
    )


def area(case: Case) -> str:
    """Share of the picture that the lesion covers; empty without a mask."""
    score = case.map_scores[0]
    return "" if isinstance(score, NotApplicable) else percent(score.area_share)


def _off(case: Case, name: str) -> str:
    """In which way a map lies beside the lesion, if it does."""
    score = case.score_of(name)
    if not isinstance(score, NotApplicable) and score.peak_share == 0:
        return "peaks beside the lesion"
    return "lies on the lesion no more than an even map would"


def map_phrases(case: Case, name: str) -> dict[str, str]:
    """Phrases about the map of one of the two classes shown; those about its place are empty where it has none."""
    score = case.score_of(name)
    phrases = {
        "map": code(name),
        "class_name": class_name(name),
        "strength": percent(case.strength(name)),
        "area": area(case),
        "reason": "",
        "where": "",
    }
    if isinstance(score, NotApplicable):
        return phrases | {"reason": score.reason}
    if isinstance(score.share_inside, NotApplicable):
        return phrases | {"reason": score.share_inside.reason}
    share, peak = percent(score.share_inside), f"its peak is {peak_place(score.peak_share)}"
    where = f"{share} of it lies inside the lesion, which covers {phrases['area']} of the picture; {peak}"
    return phrases | {"share": share, "where": where}


def peak_place(peak_share: float) -> str:
    """Where the highest pixels of a map lie, of which this share is inside the lesion."""
    return {1: "inside", 0: "outside"}.get(peak_share, "on the outline")


def map_caption(case: Case, name: str) -> str:
    """Where a map lies, in a few words for the caption of its picture."""
    if not case.has_evidence(name):
        return "no positive evidence"
    phrases = map_phrases(case, name)
    if phrases["reason"]:
        return f"not scored: {phrases['reason']}"
    peak = peak_place(case.score_of(name).peak_share)
    faint = "; faint" if case.is_faint(name) else ""
    return f"{phrases['share']} inside the lesion (an even map: {phrases['area']}), peak {peak}{faint}"
