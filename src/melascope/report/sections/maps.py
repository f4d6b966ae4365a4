"""What are the model's maps worth: on the lesion, faithful, and sane?"""

from __future__ import annotations

from melascope.report.document import Block, Code, Gap, Section, Sentence, Strong, Table, Text, told
from melascope.report.map_test_plot import FAITHFULNESS, MEASURES
from melascope.report.run_record import RunRecord
from melascope.report.sections.plots_of import plot

FIGURES = "map_tests/figures.csv"
COMMAND = "melascope explain RUN --test"
SANE = ("map_sanity", "Do the maps change when the network is randomised?")
FAITHFUL = ("map_faithfulness", "Do the maps name what the model needs?")


def section(record: RunRecord) -> Section:
    """The gate first, then maps beside maps that know nothing."""
    title, tests = "What are the maps worth?", record.map_tests
    if isinstance(tests, Gap):
        return Section("maps", title, (tests,))
    headline = Sentence((Strong(tests.headline),), "" if tests.passed else "warning")
    blocks: list[Block] = [headline, _gate(record), _facts(record)]
    blocks += [on_the_lesion(record), _faithfulness(record)]
    if not record.run.has_weights():  # a pack brings the figures and no plots
        return Section("maps", title, tuple(blocks))
    blocks += [
        plot(record, f"map_tests/map_{name}.svg", title, _words(record, name), command=COMMAND)
        for name, (title, _) in MEASURES.items()
    ]
    blocks += [
        plot(record, f"map_tests/{name}.svg", asked, words, command=COMMAND)
        for name, asked, words in ((*FAITHFUL, _faithful_words(record)), (*SANE, _sane_words(record)))
    ]
    return Section("maps", title, tuple(blocks))


def _gate(record: RunRecord) -> Table:
    rows = tuple(
        ((check.name,), (check.found,), (check.expected,), ("passed" if check.passed else "FAILED",))
        for check in record.map_tests.gate
    )
    return Table("Sanity gate (map_tests/map_tests.json: gate)", ("condition", "found", "expected", ""), rows)


def _facts(record: RunRecord) -> Sentence:
    facts, traces, file = record.map_tests.facts, record.traces, "map_tests/map_tests.json"
    return Sentence(
        told(
            "Method {method} at layer {layer}, {cells} cells; {split} split: {n} images of {lesions} lesions, of which "
            "{asked} were asked again for faithfulness.",
            method=Code(str(facts["method"])),
            layer=Code(str(facts["layer"])),
            cells=Code(str(facts["map_cells"])),
            split=Code(str(facts["split"])),
            n=traces.count(file, "facts", "n_images"),
            lesions=traces.count(file, "facts", "n_lesions"),
            asked=traces.count(file, "facts", "n_asked_again"),
        )
    )


def on_the_lesion(record: RunRecord) -> Table:
    """Maps of the predicted class against the lesion's mask, beside two maps that know nothing."""
    rows = []
    for name in (*MEASURES, "no_positive_evidence"):
        against = ("", "area share", "centred Gaussian") if name in MEASURES else ("",)
        cells: list[Text] = [
            (record.traces.figure(FIGURES, "lesion mask", name, "predicted", "all", one, digits=3),) for one in against
        ]
        rows.append(((name.replace("_", " "),), *cells, *[("–",)] * (3 - len(cells))))
    columns = ("map of the predicted class", "map", "random map", "Gaussian in the middle")
    return Table("On the lesion", columns, tuple(rows))


def _faithfulness(record: RunRecord) -> Table:
    rows = []
    for name, (label, sign) in FAITHFULNESS.items():
        better = "higher is better" if sign > 0 else "lower is better"
        cells: list[Text] = [
            (record.traces.figure(FIGURES, "faithfulness", name, "predicted", "all", one, digits=3),)
            for one in ("", "map - random map", "map - centred Gaussian")
        ]
        rows.append(((f"{label.replace(' (turned)', '')} ({better})",), *cells))
    columns = ("figure", "map", "map less random map", "map less Gaussian in the middle")
    return Table("Faithfulness: hide or show what the map marks, and ask again", columns, tuple(rows))


def _words(record: RunRecord, name: str) -> Text:
    row = ("lesion mask", name, "predicted", "all")
    return told(
        "Map {own}, random map {random}, Gaussian in the middle {centred}; n = {n} images of {lesions} lesions.",
        own=record.traces.figure(FIGURES, *row, "", digits=3),
        random=record.traces.figure(FIGURES, *row, "area share", digits=3),
        centred=record.traces.figure(FIGURES, *row, "centred Gaussian", digits=3),
        n=record.traces.cell(FIGURES, *row, "", column="n"),
        lesions=record.traces.cell(FIGURES, *row, "", column="n_lesions"),
    )


def _faithful_words(record: RunRecord) -> Text:
    """How much better than a random map each figure is."""
    parts: list = []
    for name, (label, _) in FAITHFULNESS.items():
        row = ("faithfulness", name, "predicted", "all", "map - random map")
        parts += ["; " if parts else "", f"{label.replace(' (turned)', '')} "]
        parts += [
            record.traces.figure(FIGURES, *row, digits=3),
            " (n = ",
            record.traces.cell(FIGURES, *row, column="n"),
            ")",
        ]
    return ("Map less random map: ", *parts, ". Of deletion, lower is better.")


def _sane_words(record: RunRecord) -> Text:
    """Likeness of the maps to those of a network that is random from its end down to a stage."""
    parts: list = []
    for key in record.traces.rows(FIGURES):
        if key[:2] == ("sanity", "rank_correlation"):
            parts += ["; " if parts else "", Code(key[3]), " ", record.traces.figure(FIGURES, *key, digits=3)]
    if not parts:
        return told("No stage was randomised.")
    return ("Rank correlation with the trained maps, random down to a stage (0: the maps changed): ", *parts, ".")
