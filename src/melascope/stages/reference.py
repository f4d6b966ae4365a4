"""Which model answers where no run is named: the reference model inside the package?"""

from __future__ import annotations

from pathlib import Path

from melascope.errors import RunError
from melascope.tables.runs import RunDirectory

WEIGHTS = Path(__file__).parents[1] / "weights"
PREFIX = "melascope-reference-"
"""The one folder of `WEIGHTS` that begins so is a packed run (`stages.packing`); its version follows."""


def reference_run() -> RunDirectory:
    """The run that melascope ships.

    Raises
    ------
    RunError : the package holds none, or several.
    """
    found = sorted(path for path in WEIGHTS.glob(f"{PREFIX}*") if path.is_dir())
    if len(found) != 1:
        raise RunError(
            f"The package holds {len(found)} reference models.",
            where=WEIGHTS,
            expected=f"one folder {PREFIX}VERSION",
            fix="install melascope again, or name a run of your own",
        )
    return RunDirectory.open(found[0])


def is_reference(run: RunDirectory) -> bool:
    """Whether a run is the one that melascope ships, so that nothing is written into it."""
    return run.root.parent == WEIGHTS and run.name.startswith(PREFIX)


def reference_words(run: RunDirectory) -> str:
    """Which model answers, in words."""
    return f"the reference model that melascope ships ({run.name}), for research only"
