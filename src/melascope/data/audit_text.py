"""How does an audit of a data set read, as Markdown that is also plain text for a terminal?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from melascope.data.audit import Audit, NamedPair, Share
from melascope.data.leakage import RandomSplitLeak
from melascope.data.quality import QUALITY_SIDE
from melascope.tables.results import NotApplicable

SHOWN_PAIRS = 20
SHOWN_CONFLICTS = 10
SHOWN_WORST = 5
MEASURES: dict[str, str] = {
    "sharpness": "sharpness (variance of the Laplacian)",
    "luminance": "luminance in the middle, 0 … 1",
    "clipped_black": "clipped to black, share",
    "clipped_white": "clipped to white, share",
    "dark_corners": "dark corners, share of the area outside the ellipse",
}
COLUMNS: dict[str, str] = {
    "dx": "class",
    "dx_type": "how the truth is known",
    "sex": "sex",
    "age": "age (years)",
    "localization": "localization",
    "dataset": "source",
    "split": "split",
}


def audit_markdown(audit: Audit) -> str:
    """The whole audit: what leaks first, then conflicts, balance, quality."""
    parts = [
        [f"# Audit of {audit.n_images:,} images of {audit.n_lesions:,} lesions ({audit.source or 'unknown source'})"],
        ["## Twice in the collection", *_duplicates(audit)],
        ["## What a random split of images would leak", _leak(audit.random_split)],
        ["## Lesions that contradict themselves", *_conflicts(audit)],
        ["## Balance", *_balance(audit)],
        [f"## Image quality, measured at {QUALITY_SIDE} pixels on the longer side", *_quality(audit)],
    ]
    return "\n\n".join(text for part in parts for text in part) + "\n"


def _duplicates(audit: Audit) -> list[str]:
    found = audit.duplicates
    lines = [
        f"Pairs of *different* lesions that show the same skin: {len(found.across_lesions):,}; "
        f"labelled differently: {len(found.across_labels):,}; "
        + (f"on two sides of the split: {len(found.across_splits):,}." if audit.split_sha256 else "no split given."),
        f"Pairs within a lesion, as expected: {_kinds(found.within_lesions)}.",
    ]
    if not found.across_lesions:
        return lines
    shown = sorted(found.across_lesions, key=lambda pair: (pair not in found.across_splits, -pair.agreement))
    rows = [_pair_row(pair) for pair in shown[:SHOWN_PAIRS]]
    lines.append(_table(("images", "lesions", "class", "split", "how", "agreement", "turn"), rows))
    if len(shown) > SHOWN_PAIRS:
        lines.append(f"… and {len(shown) - SHOWN_PAIRS:,} more, all in the JSON file.")
    lines.append("Near-duplicates are found by a computer: look at both images before you change a label or a split.")
    return lines


def _kinds(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in counts.items()) or "none"


def _pair_row(pair: NamedPair) -> tuple[str, ...]:
    turn = f"{pair.angle:+.0f}°, ×{pair.scale:.2f}{', mirrored' if pair.mirrored else ''}"
    sides = " / ".join(pair.split) if all(pair.split) else "–"
    labels = " / ".join(label or "unknown" for label in pair.dx)
    lesions = " / ".join(lesion or "unknown" for lesion in pair.lesion_id)
    return " / ".join(pair.image_id), lesions, labels, sides, pair.kind, f"{pair.agreement:.2f}", turn


def _leak(leak: RandomSplitLeak | NotApplicable) -> str:
    if isinstance(leak, NotApplicable):
        return f"{str(leak).capitalize()}."
    melanoma = (
        str(leak.melanoma_share)
        if isinstance(leak.melanoma_share, NotApplicable)
        else f"{leak.melanoma_share:.1%} ({leak.n_melanoma:,} images of {leak.n_melanoma_lesions:,} lesions)"
    )
    return (
        f"With {leak.n_train:,} training and {leak.n_test:,} test images of {leak.n_images:,}, drawn without regard to "
        f"lesions, the test images whose lesion is in training too are {leak.share:.1%} on average; "
        f"of melanoma test images: {melanoma}. Exact expectation, no draws."
    )


def _conflicts(audit: Audit) -> list[str]:
    if not audit.conflicts:
        return ["None: all images of a lesion agree in class, kind of truth, sex and localization."]
    lines = [
        f"- {one.lesion_id}: {one.column} is " + ", ".join(f"{value} ({image})" for value, image in one.values)
        for one in audit.conflicts[:SHOWN_CONFLICTS]
    ]
    if len(audit.conflicts) > SHOWN_CONFLICTS:
        lines.append(f"- … and {len(audit.conflicts) - SHOWN_CONFLICTS:,} more")
    return [f"{len(audit.conflicts):,} found.", "\n".join(lines)]


def _balance(audit: Audit) -> list[str]:
    header = ("images", "of all", "lesions", "melanoma images", "melanoma lesions")
    return [
        _table((COLUMNS[column], *header), (_share_row(share, audit.n_images) for share in audit.balance[column]))
        for column in COLUMNS
        if column in audit.balance
    ]


def _share_row(share: Share, n_images: int) -> tuple[str, ...]:
    counts = (share.n_lesions, share.n_melanoma, share.n_melanoma_lesions)
    return share.value, f"{share.n_images:,}", f"{share.n_images / n_images:.1%}", *(f"{count:,}" for count in counts)


def _quality(audit: Audit) -> list[str]:
    rows = []
    for measure in audit.quality:
        worst = ", ".join(f"{image} ({value:.3g})" for image, value in measure.worst[:SHOWN_WORST]) or "all alike"
        rows.append((MEASURES[measure.name], *(f"{v:.3g}" for v in (measure.p1, measure.median, measure.p99)), worst))
    return [_table(("measure", "1 %", "median", "99 %", "worst"), rows)]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
