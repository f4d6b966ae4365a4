"""What does a run directory hold that a report can tell, and which of its parts were never measured?

What lies beside a run (an audit of its data, a comparison, interventions) is believed only if it names this very data
set, or this very model; else the report says why it is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from melascope.config import Recipe, read_recipe
from melascope.errors import CheckpointError, MelascopeError, RecipeError, RunError
from melascope.evaluation.comparison import COMPARISON_FILE, Comparison
from melascope.evaluation.operating_point import OperatingPoint
from melascope.evaluation.record import EVALUATION_FILE, Evaluation
from melascope.files import read_json
from melascope.report.document import Gap
from melascope.report.traces import Traces
from melascope.tables.map_scores import TESTS_FILE, MapTests
from melascope.tables.predictions import Predictions
from melascope.tables.runs import CheckpointCard, RunDirectory, read_card

LIKENESS_FILE = "likeness.json"


@dataclass(frozen=True)
class Beside:
    """Folders whose place is not given by the run directory; None looks below the run.

    Parameters
    ----------
    audit : of `melascope data audit`, else `RUN/audit`.
    comparison : of `melascope compare`, else `RUN/comparison`, or `comparison` beside the run.
    interventions : of `melascope intervene`, else `RUN/interventions`.
    """

    audit: Path | None = None
    comparison: Path | None = None
    interventions: Path | None = None


@dataclass(frozen=True)
class RunRecord:
    """All that a report is made of; a `Gap` stands where something was not measured.

    Parameters
    ----------
    card : of the best checkpoint; None where there is none.
    split_how : `split.json`: how the split came to be.
    audit : `audit.json`.
    effects, cases : facts of an intervention on a split, and on single images.
    likeness : `likeness.json`: how many images the test of likeness refuses.
    elsewhere : folder of each evaluation on another collection, and the evaluation.
    """

    run: RunDirectory
    traces: Traces
    evaluation: Evaluation
    predictions: Predictions
    point: OperatingPoint
    facts: dict[str, Any]
    recipe: Recipe | None
    card: CheckpointCard | None
    split_how: dict[str, Any]
    likeness: dict[str, Any] | Gap
    map_tests: MapTests | Gap
    audit: dict[str, Any] | Gap
    comparison: Comparison | Gap
    effects: dict[str, Any] | Gap
    cases: dict[str, Any] | Gap
    elsewhere: tuple[tuple[str, Evaluation], ...]

    @property
    def source(self) -> str:
        """Kind of the data set; a phantom wherever one table says so."""
        said = (self.evaluation.origin.source, str(self.facts.get("source", "")))
        return "phantom" if "phantom" in said else said[0] or said[1]

    @property
    def is_phantom(self) -> bool:
        return self.source == "phantom"

    @property
    def target(self) -> str:
        """The target's classes as the figures name them, e.g. "mel" or "mel+bcc"."""
        return "+".join(self.evaluation.target)

    def decision_path(self, at: str, unit: str, group: str = "all") -> tuple[str | int, ...]:
        """Where a decision stands in `evaluation.json`."""
        decisions = self.evaluation.groups[group].decisions
        place = next(place for place, one in enumerate(decisions) if (one.at, one.unit) == (at, unit))
        return "groups", group, "decisions", place


def read_run(path: Path, beside: Beside | None = None) -> RunRecord:
    """Read everything that a run's folder holds.

    Raises
    ------
    RunError : no run, an unfinished training, no evaluation, or one of another threshold or version.
    """
    beside = beside or Beside()
    run = RunDirectory.open(Path(path))
    for file in (run.predictions, run.operating_point):
        if not file.is_file():
            raise RunError(
                f"The run has no {file.name}: its training has not finished.",
                where=path,
                fix=f"melascope train --resume {path}",
            )
    evaluation, point = _evaluation(run), OperatingPoint.read(run.operating_point)
    if evaluation.operating_point is None or evaluation.operating_point.sha256 != point.sha256:
        raise RunError(
            "The evaluation was made at another threshold than the run's frozen one.",
            where=run.evaluation,
            expected=f"the operating point {point.sha256[:12]}…",
            fix=f"melascope evaluate {path}",
        )
    predictions = Predictions.read(run.predictions)
    places = _places(run, beside)
    effects, cases = _interventions(places["interventions"], point)
    return RunRecord(
        run=run,
        traces=Traces(run.root, predictions, places),
        evaluation=evaluation,
        predictions=predictions,
        point=point,
        facts=run.read_facts(),
        recipe=_or_none(lambda: read_recipe(run.recipe)),
        card=_or_none(lambda: read_card(run.checkpoints / "best.json")),
        split_how=_json_or_empty(run.root / "split.json"),
        likeness=_likeness(run, point),
        map_tests=_map_tests(run, point),
        audit=_audit(places["audit"], predictions, asked=beside.audit is not None),
        comparison=_comparison(places["comparison"], run, point, asked=beside.comparison is not None),
        effects=effects,
        cases=cases,
        elsewhere=_elsewhere(run, point),
    )


def _evaluation(run: RunDirectory) -> Evaluation:
    if not (run.evaluation / EVALUATION_FILE).is_file():
        raise RunError(
            "The run has not been evaluated.",
            where=run.evaluation,
            expected=EVALUATION_FILE,
            fix=f"melascope evaluate {run.root}",
        )
    try:
        return Evaluation.read(run.evaluation)
    except (KeyError, TypeError, StopIteration) as error:
        raise RunError(
            f"The evaluation is of another version of melascope ({error!r}).",
            where=run.evaluation,
            fix=f"melascope evaluate {run.root}",
        ) from error


def _places(run: RunDirectory, beside: Beside) -> dict[str, Path]:
    comparison = beside.comparison or run.root / "comparison"
    if beside.comparison is None and not comparison.is_dir():
        comparison = run.root.parent / "comparison"
    return {
        "audit": Path(beside.audit or run.root / "audit"),
        "comparison": Path(comparison),
        "interventions": Path(beside.interventions or run.root / "interventions"),
    }


def _likeness(run: RunDirectory, point: OperatingPoint) -> dict[str, Any] | Gap:
    gap = Gap("What the model does with images unlike its training data", "melascope app RUN")
    found = _json_or_empty(run.root / LIKENESS_FILE)
    if not found:
        return gap
    other = _other_model(found, point)
    return Gap(gap.what, gap.command, other) if other else found


def _map_tests(run: RunDirectory, point: OperatingPoint) -> MapTests | Gap:
    gap = Gap("What the maps are worth", "melascope explain RUN --test")
    if not (run.map_tests / TESTS_FILE).is_file():
        return gap
    try:
        tests = MapTests.read(run.map_tests)
    except RunError as error:
        return Gap(gap.what, gap.command, error.found)
    other = _other_model(tests.facts, point)
    return Gap(gap.what, gap.command, other) if other else tests


def _audit(folder: Path, predictions: Predictions, *, asked: bool) -> dict[str, Any] | Gap:
    gap = Gap(
        "Copies under other names (near-duplicates)", "melascope data audit DATA --split RUN/split.csv --out RUN/audit"
    )
    if not (folder / "audit.json").is_file():
        return _refused_if(asked, folder, "audit.json", gap)
    audit = _json_or_empty(folder / "audit.json")
    if audit.get("fingerprint") != predictions.origin.dataset_fingerprint:
        return Gap(gap.what, gap.command, "an audit lies there, but of another data set")
    return audit


def _comparison(folder: Path, run: RunDirectory, point: OperatingPoint, *, asked: bool) -> Comparison | Gap:
    gap = Gap("How other runs do on the same images", "melascope compare RUN OTHER --out RUN/comparison")
    if not (folder / COMPARISON_FILE).is_file():
        return _refused_if(asked, folder, COMPARISON_FILE, gap)
    try:
        comparison = Comparison.read(folder)
    except RunError as error:
        if asked:
            raise
        return Gap(gap.what, gap.command, error.found)
    members = [member for contender in comparison.contenders for member in contender.members]
    if any(_is_this_run(member, run, point) for member in members):
        return comparison
    if asked:
        raise RunError(
            f"The comparison does not speak of the run {run.name}.",
            where=folder,
            fix=f"melascope compare {run.root} OTHER",
        )
    return Gap(gap.what, gap.command, "a comparison lies there, but of other runs")


def _is_this_run(member: Any, run: RunDirectory, point: OperatingPoint) -> bool:
    if point.checkpoint_sha256 and member.origin.checkpoint_sha256:
        return member.origin.checkpoint_sha256 == point.checkpoint_sha256
    return Path(member.name).name == run.name


def _interventions(folder: Path, point: OperatingPoint) -> tuple[dict[str, Any] | Gap, dict[str, Any] | Gap]:
    found: list[dict[str, Any] | Gap] = []
    for name, what, flag in (
        ("effects", "What artefacts and backgrounds change, over the test split", "--dataset"),
        ("interventions", "What single answers hang on", "--cases ID,ID"),
    ):
        gap = Gap(what, f"melascope intervene RUN {flag} --out RUN/interventions")
        facts = _json_or_empty(folder / f"{name}.json")
        other = _other_model(facts, point) if facts else ""
        found.append(facts if facts and not other else Gap(gap.what, gap.command, other))
    return found[0], found[1]


def _other_model(facts: dict[str, Any], point: OperatingPoint) -> str:
    """Why facts do not speak of this run's model; "" if they do."""
    said = str(facts.get("checkpoint_sha256", ""))
    if said and point.checkpoint_sha256 and said != point.checkpoint_sha256:
        return "it was measured on other weights than this run's"
    return ""


def _elsewhere(run: RunDirectory, point: OperatingPoint) -> tuple[tuple[str, Evaluation], ...]:
    """Evaluations on other collections at this run's frozen point, by the folder's name."""
    found = []
    for path in sorted(run.root.glob(f"evaluation-*/{EVALUATION_FILE}")):
        try:
            evaluation = Evaluation.read(path.parent)
        except (MelascopeError, KeyError, TypeError):
            continue  # of another version: it is no part of this report
        same = evaluation.operating_point is not None and evaluation.operating_point.sha256 == point.sha256
        if evaluation.split == "external" and same:
            found.append((path.parent.name, evaluation))
    return tuple(found)


def _refused_if(asked: bool, folder: Path, file: str, gap: Gap) -> Gap:
    if asked:
        raise RunError(f"The folder has no {file}.", where=folder, fix=gap.command)
    return gap


def _json_or_empty(path: Path) -> dict[str, Any]:
    content = read_json(path) if path.is_file() else {}
    return content if isinstance(content, dict) else {}


def _or_none(read: Any) -> Any:
    try:
        return read()
    except (CheckpointError, RecipeError, RunError, OSError):
        return None
