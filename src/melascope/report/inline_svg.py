"""How does a plot on disk become part of a page: harmless, light, and with ids that no other plot has?"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from html import escape
from pathlib import Path

from melascope.errors import RunError

LARGEST = 4_000_000
"""Bytes of a plot that is taken in."""

_SVG = "{http://www.w3.org/2000/svg}"
_HREF = ("{http://www.w3.org/1999/xlink}href", "href")
_ELEMENTS = frozenset(
    (
        *("svg", "g", "defs", "use", "path", "rect", "circle", "ellipse", "line", "polyline", "polygon", "clipPath"),
        *("linearGradient", "stop", "pattern", "image"),
    )
)
_PLACE = frozenset(
    (
        *("x", "y", "width", "height", "x1", "y1", "x2", "y2", "cx", "cy", "r", "rx", "ry", "d", "points"),
        *("transform", "offset", "viewBox", "preserveAspectRatio", "clipPathUnits"),
        *("gradientUnits", "gradientTransform", "patternUnits", "patternTransform"),
    )
)
_PAINT = frozenset(
    (
        *("fill", "fill-opacity", "fill-rule", "clip-rule", "clip-path", "opacity", "stop-color", "stop-opacity"),
        *("stroke", "stroke-width", "stroke-opacity", "stroke-linecap", "stroke-linejoin", "stroke-miterlimit"),
        *("stroke-dasharray", "stroke-dashoffset"),
    )
)
_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_ROUNDED = frozenset(("x", "y", "width", "height", "d", "points"))
_REFERENCE = re.compile(r"url\(#([^)\s]+)\)")
_VALUE = re.compile(r"[^<>\"'`\\;:]*|url\(#[^)\s]+\)")


def inline_svg(path: Path, prefix: str) -> str:
    """A plot's markup for a page whose policy allows no inline style and no script.

    Only what draws is kept, from a list of known elements and attributes. Style becomes attributes; a reference leads
    inside the plot alone, to an id that begins with `prefix`; coordinates keep two decimals of a point.

    Raises
    ------
    RunError : no such file, or no SVG.
    """
    path = Path(path)
    try:
        if path.stat().st_size > LARGEST:
            raise RunError("The plot is too large for a page.", where=path, expected=f"at most {LARGEST:,} bytes")
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise RunError(f"The plot cannot be read ({error}).", where=path, fix="melascope evaluate RUN") from error
    if root.tag != f"{_SVG}svg":
        raise RunError("The plot is no SVG file.", where=path, expected="an SVG file that melascope drew")
    names = {old: f"{prefix}{number:x}" for number, old in enumerate(_referred_to(root))}
    width, height = _size(root.get("viewBox", ""), path)
    inner = "".join(_written(child, names) for child in root)
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" stroke-linejoin="round" '
        f'stroke-linecap="butt" aria-hidden="true" focusable="false">{inner}</svg>'
    )


def _size(box: str, path: Path) -> tuple[float, float]:
    try:
        _, _, width, height = map(float, box.split())
        return width, height
    except ValueError:
        raise RunError("The plot has no size.", where=path, expected='viewBox="0 0 WIDTH HEIGHT"') from None


def _referred_to(root: ElementTree.Element) -> list[str]:
    """Ids that something in the plot refers to, in the order of first use."""
    found: dict[str, None] = {}
    for element in root.iter():
        for name, value in element.attrib.items():
            if name in _HREF and value.startswith("#"):
                found.setdefault(value[1:])
            for one in _REFERENCE.findall(value):
                found.setdefault(one)
    return list(found)


def _written(element: ElementTree.Element, names: dict[str, str]) -> str:
    tag = element.tag.removeprefix(_SVG) if isinstance(element.tag, str) else ""
    if tag not in _ELEMENTS:
        return ""
    found = _attributes(element, names)
    text = "".join(f' {name}="{escape(value)}"' for name, value in found.items())
    inner = "".join(_written(child, names) for child in element)
    if tag in ("g", "defs") and not inner:
        return ""
    return f"<{tag}{text}>{inner}</{tag}>" if inner else f"<{tag}{text}/>"


def _attributes(element: ElementTree.Element, names: dict[str, str]) -> dict[str, str]:
    found = {"id": names[element.get("id")]} if element.get("id") in names else {}
    for name, value in element.attrib.items():
        if name in _HREF:
            found |= _reference(value, names)
        elif name in _PLACE:
            found[name] = _short(name, value)
    styled = (map(str.strip, pair.partition(":")[::2]) for pair in element.get("style", "").split(";"))
    for name, value in (*element.attrib.items(), *styled):
        if name in _PAINT and _VALUE.fullmatch(value):
            found[name] = _REFERENCE.sub(lambda one: f"url(#{names[one[1]]})", value)
    return found


def _reference(value: str, names: dict[str, str]) -> dict[str, str]:
    """A link inside the plot, or a picture that stands in it."""
    if value.startswith("#"):
        return {"href": f"#{names[value[1:]]}"}
    picture = re.sub(r"\s+", "", value)
    return {"href": picture} if re.fullmatch(r"data:image/(png|jpeg);base64,[A-Za-z0-9+/=]*", picture) else {}


def _short(name: str, value: str) -> str:
    value = " ".join(value.split())
    if name in _ROUNDED:
        return _NUMBER.sub(lambda one: f"{float(one[0]):.2f}", value)
    if name == "transform":
        return re.sub(r"translate\([^)]*\)", lambda one: _NUMBER.sub(lambda n: f"{float(n[0]):.2f}", one[0]), value)
    return value
