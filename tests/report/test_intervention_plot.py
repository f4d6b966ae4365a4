"""Do the plots of interventions show every row, its control and the notice, also where there is none?"""

from melascope.classes import RESEARCH_ONLY
from melascope.report.intervention_plot import save_case, save_effects
from melascope.tables.interventions import NAN, CaseRow, EffectRow


def case(name, n_controls=9):
    control = (0.01, -0.02, 0.03) if n_controls else (NAN, NAN, NAN)
    p_value = 0.1 if n_controls else NAN
    return CaseRow(
        *("I1", name, "in-painted", "target", 0.1, 0.4, 0.3, "elsewhere", *control, n_controls, p_value),
        *("nv", "mel", "yes", "no", "data set"),
    )


def test_a_case_names_every_intervention_and_says_where_no_control_fits(tmp_path):
    rows = [case("lesion removed"), case("hair removed", 0)]
    png, svg = save_case(rows, tmp_path, class_name="target", name="case", source="phantom")
    text = svg.read_text()
    assert png.stat().st_size > 10_000
    for words in ("lesion removed, in-painted", "hair removed, in-painted", "no room for a control", "PHANTOM"):
        assert words in text
    assert RESEARCH_ONLY in text


def effect(edit, figure, value, verdict="found", note=""):
    ends = (value - 0.1, value + 0.1)
    return EffectRow("artefacts", edit, figure, value, *ends, 0.99, 100, 80, verdict, note)


QUIET = "none above the floor"


def test_effects_show_change_control_verdict_and_flips(tmp_path):
    rows = [effect("dark_corners", figure, 0.2) for figure in ("change", "control", "flipped", "control_flipped")]
    rows += [
        effect("ruler", "change", 0.0, QUIET),
        effect("ruler", "flipped", NAN, QUIET, "no operating point"),
    ]
    _, svg = save_effects(rows, tmp_path, floor=0.69, name="artefacts")
    text = svg.read_text()
    for words in (
        "dark corners",
        "decisions flipped 20.0%",
        "control 20.0%",
        QUIET,
        "no operating point",
    ):
        assert words in text
    assert RESEARCH_ONLY in text and "PHANTOM" not in text
