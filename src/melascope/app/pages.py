"""What does the local page say before a picture is chosen: whose model, at which threshold, and what that buys?"""

from __future__ import annotations

import base64
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment
from markupsafe import Markup

from melascope.app.examples import examples
from melascope.classes import CLASS_NAMES, CLASSES
from melascope.errors import MelascopeError
from melascope.evaluation.decisions import Decision
from melascope.evaluation.evaluate import Evaluation
from melascope.evaluation.operating_point import OperatingPoint
from melascope.gallery.card import place_of
from melascope.gallery.facts import PHANTOM
from melascope.gallery.outlines import HEIGHT, WIDTH
from melascope.gallery.page_data import MAP_LEVELS, as_script_text
from melascope.gallery.pictures import page_palettes, ramp
from melascope.gallery.wording import DX_TYPES, probability
from melascope.stages.answering import Answerer
from melascope.stages.reference import is_reference, reference_words
from melascope.tables.licences import LICENCES
from melascope.tables.results import Estimate, NotApplicable
from melascope.tables.runs import RunDirectory
from melascope.templating import environment

SCRIPTS = ("gallery_1_data.js", "gallery_2_draw.js", "gallery_3_dom.js", "app.js")
STYLES = ("gallery.css", "app.css")
"""Files of `templates/` that make up the page's one script and one style, in this order."""

TICKS = (0.001, 0.01, 0.05, 0.1, 0.2, 0.5, 0.8)
_ROOM = 0.07  # of the scale's length, between two numbers below it


@lru_cache(maxsize=1)
def _templates() -> Environment:
    return environment({"probability": probability}, PHANTOM=PHANTOM)


def script() -> str:
    """The page's JavaScript."""
    return "".join(_templates().get_template(name).render() for name in SCRIPTS)


def style() -> str:
    """The page's CSS."""
    return "".join(_templates().get_template(name).render() for name in STYLES)


def page_html(answerer: Answerer, *, max_bytes: int, keeps: bool) -> str:
    """The page before any picture is chosen.

    Parameters
    ----------
    max_bytes : largest file that is taken
    keeps : whether pictures are kept in a folder
    """
    run, point = answerer.run, answerer.point
    p_name = f"P({' or '.join(point.target)})"
    about = {
        "classes": list(CLASSES),
        "class_names": CLASS_NAMES,
        "dx_types": DX_TYPES,
        "map_levels": MAP_LEVELS,
        "palettes": {name: base64.b64encode(colours).decode() for name, colours in page_palettes().items()},
        "max_bytes": max_bytes,
        "outline_size": [WIDTH, HEIGHT],
        "p_name": p_name,
        "threshold": point.threshold,
        "ticks": _ticks(point.threshold),
        "validation_pictures": answerer.store.has_thumbnails,
        "map_doubt": answerer.sanity.warning,
    }
    return (
        _templates()
        .get_template("app.html")
        .render(
            run=run.name,
            licence=LICENCES.get(answerer.source, ""),
            reference=reference_words(run) if is_reference(run) else "",
            is_phantom=answerer.source == "phantom",
            source=answerer.source,
            card=answerer.looker.card,
            looker=answerer.looker,
            sanity=answerer.sanity,
            point=point,
            p_name=p_name,
            store=answerer.store,
            bought=what_it_buys(run, point),
            examples=examples(),
            about=Markup(as_script_text(about)),
            ramp=ramp(),
            gallery=(run.gallery / "index.html").is_file(),
            report=report_of(run).is_file(),
            max_mib=max_bytes / 2**20,
            keeps=keeps,
        )
    )


def report_of(run: RunDirectory) -> Path:
    """The run's report, where one was written."""
    return run.root / "report" / "report.html"


def _ticks(threshold: float) -> list[tuple[float, str]]:
    """Where round probabilities stand on the stretched scale, as far as there is room for them."""
    kept: list[tuple[float, str]] = []
    for value in TICKS:
        place = place_of(value, threshold, value >= threshold)
        taken = (0.0, 0.5, 1.0, *(other for other, _ in kept))
        if all(abs(place - other) >= _ROOM for other in taken):
            kept.append((round(place, 4), f"{value:g}"))
    return kept


def what_it_buys(run: RunDirectory, point: OperatingPoint) -> tuple[str, ...]:
    """What the frozen threshold finds, misses and costs, in sentences, from the run's own figures."""
    try:
        evaluation = Evaluation.read(run.evaluation)
    except MelascopeError:
        evaluation = None
    except (KeyError, TypeError, AttributeError):  # of another version, or still being written
        evaluation = None
    if evaluation is None or evaluation.operating_point is None or evaluation.operating_point.sha256 != point.sha256:
        found = round(point.lesion_sensitivity * point.n_target_lesions)
        return (
            f"It was never judged on other images (melascope evaluate {run.root}).",
            f"On the validation images that chose it, so a little too well, it finds {found} of "
            f"{point.n_target_lesions} {point.target_name} lesions.",
        )
    whole = evaluation.whole
    if isinstance(whole, NotApplicable) or (lesion := whole.decision("operating_point", "lesion")) is None:
        return ("Its evaluation holds no figures at this threshold.",)
    where, sentences = f"the {evaluation.split or 'judged'} split", []
    sentences.append(_found(lesion, point.target_name, where))
    sentences.append(_alarms(lesion))
    if image := whole.decision("operating_point", "image"):
        sentences.append(_by_picture(image, point.target_name))
    return tuple(sentences)


def _found(decision: Decision, target: str, where: str) -> str:
    figure = decision.figures["sensitivity"]
    if not isinstance(figure, Estimate):
        return f"What it finds in {where} cannot be said: {figure.reason}."
    return (
        f"In {where} it finds {decision.tp} of {decision.tp + decision.fn} {target} lesions and misses {decision.fn}: "
        f"about {_of_ten(figure.value)} of 10{_interval(figure, 100, ' %', 0)}."
    )


def _alarms(decision: Decision) -> str:
    figure = decision.figures["false_alarms_per_found"]
    if not isinstance(figure, Estimate):
        return f"Its false alarms for each one found cannot be counted: {figure.reason}."
    about = f"about {figure.value:.1f} false alarms{_interval(figure, 1, '', 1)}"
    return f"For each one found it raises {about}, {decision.fp} in all."


def _by_picture(decision: Decision, target: str) -> str:
    """A lesion is judged by the mean of its pictures, a single picture by itself: a little worse."""
    figure = decision.figures["sensitivity"]
    if not isinstance(figure, Estimate):
        return f"Picture by picture, as here, it cannot be said: {figure.reason}."
    n = decision.tp + decision.fn
    return f"Picture by picture, as here: {decision.tp} of {n} {target} images{_interval(figure, 100, ' %', 0)}."


def _of_ten(share: float) -> str:
    """A share in tenths; the half is kept, as 9 and 10 of 10 are far apart."""
    return f"{round(20 * share) / 2:g}"


def _interval(figure: Estimate, factor: float, unit: str, decimals: int) -> str:
    if figure.low is None or figure.high is None:
        return " (no interval)"
    value = f"{factor * figure.value:.{decimals}f}{unit}, " if unit else ""
    ends = " to ".join(f"{factor * end:.{decimals}f}" for end in (figure.low, figure.high))
    return f" ({value}95 % interval {ends}{unit})"
