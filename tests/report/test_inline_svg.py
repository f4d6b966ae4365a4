"""Does a plot come into a page with nothing but what draws, and with ids of its own?"""

from __future__ import annotations

import re

import pytest

from melascope.errors import RunError
from melascope.report.inline_svg import LARGEST, inline_svg

PLOT = """<?xml version="1.0"?>
<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 20 10">
 <metadata>who drew it</metadata>
 <defs><style>*{stroke-linejoin: round}</style>
 <clipPath id="c.1"><rect x="0" y="0" width="9.123456" height="4"/></clipPath>
 </defs>
 <g id="figure_1"><path id="m1" d="M 1.23456 2
 L 3 4" style="fill: none; stroke: #0072B2; stroke-width: 0.8" clip-path="url(#c.1)"/>
 <use xlink:href="#m1" transform="translate(1.23456 2) scale(0.015625)"/>%s</g>
</svg>
"""


@pytest.fixture
def plot(tmp_path):
    def write(inner: str = "", text: str = PLOT):
        path = tmp_path / "plot.svg"
        path.write_text(text % inner if "%s" in text else text, encoding="utf-8")
        return path

    return write


def test_what_draws_is_kept_and_style_becomes_attributes(plot):
    text = inline_svg(plot(), "a.")
    assert text.startswith('<svg viewBox="0 0 20 10" width="20" height="10"')
    assert 'd="M 1.23 2 L 3 4"' in text and 'width="9.12"' in text
    assert 'fill="none" stroke="#0072B2" stroke-width="0.8"' in text and "style" not in text
    assert 'transform="translate(1.23 2) scale(0.015625)"' in text  # a glyph's scale is not rounded
    assert "metadata" not in text and "who drew it" not in text and "figure_1" not in text


def test_ids_are_those_of_the_plot_and_every_reference_finds_its_own(plot):
    for prefix in ("a.", "b."):
        text = inline_svg(plot(), prefix)
        ids = re.findall(r'id="([^"]*)"', text)
        referred = re.findall(r'(?:href="#|url\(#)([^")]*)', text)
        assert len(ids) == len(set(ids)) == 2 and set(referred) == set(ids)
        assert all(one.startswith(prefix) for one in ids)


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        '<foreignObject><img src="x" onerror="alert(1)"/></foreignObject>',
        '<path d="M 0 0" onload="alert(1)" onclick="alert(1)"/>',
        '<use xlink:href="javascript:alert(1)"/>',
        '<use xlink:href="https://example.org/x.svg#a"/>',
        '<image href="https://example.org/x.png"/>',
        '<image href="data:image/svg+xml;base64,PHN2Zz4="/>',
        '<path d="M 0 0" style="fill: url(https://example.org/x)"/>',
        '<path d="M 0 0" fill="url(https://example.org/x)"/>',
        '<path d="M 0 0" style="background: red; fill: red\\9;"/>',
        '<a href="https://example.org"><path d="M 0 0"/></a>',
        '<animate attributeName="href" values="javascript:alert(1)"/>',
        '<set attributeName="onload" to="alert(1)"/>',
        "<text>words</text>",
        '<h:script xmlns:h="http://www.w3.org/1999/xhtml">alert(1)</h:script>',
        '<path d="&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;"/>',
    ],
)
def test_nothing_else_gets_through(plot, hostile):
    text = inline_svg(plot(hostile), "a.")
    assert not re.search(
        r"<script|foreignObject|\son\w+=|javascript|https?:|<a |animate|<set|<text|svg\+xml|background", text
    )
    assert set(re.findall(r"<(\w+)", text)) <= {"svg", "g", "defs", "clipPath", "rect", "path", "use", "image"}


def test_a_picture_inside_stays_if_it_is_one(plot):
    assert 'href="data:image/png;base64,AAAA"' in inline_svg(plot('<image href="data:image/png;base64,AA\nAA"/>'), "a.")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("not XML", "cannot be read"),
        ("<html xmlns='http://www.w3.org/1999/xhtml'/>", "no SVG file"),
        ('<svg xmlns="http://www.w3.org/2000/svg"/>', "no size"),
        ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="a b c d"/>', "no size"),
        ("<!--" + "x" * LARGEST + "-->", "too large"),
    ],
)
def test_what_is_no_plot_is_refused(plot, text, found):
    with pytest.raises(RunError, match=found):
        inline_svg(plot(text=text), "a.")


def test_a_file_that_blows_up_is_refused(plot):
    entities = "".join(f'<!ENTITY e{k} "{10 * f"&e{k - 1};"}">' for k in range(1, 12))
    drawing = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"><g>&e11;</g></svg>'
    bomb = f"<!DOCTYPE svg [<!ENTITY e0 'ha'>{entities}]>{drawing}"
    with pytest.raises(RunError, match="cannot be read"):
        inline_svg(plot(text=bomb), "a.")
