"""Does each kind of block read in Markdown and in HTML as it was reviewed?"""

from __future__ import annotations

from types import SimpleNamespace

from melascope.report.build import Report
from melascope.report.document import (
    Bullets,
    CaseCard,
    Cases,
    Code,
    FactList,
    Gap,
    Picture,
    Plot,
    Section,
    Sentence,
    Strong,
    Table,
    Traced,
    told,
    where_from,
)
from melascope.report.pages import report_html, report_markdown

SENSITIVITY = Traced("0.83 [0.75, 0.90]", "evaluation/figures.csv", ("all", "sensitivity", "mel", "argmax", "image"))
SPECIFICITY = Traced("0.61", "evaluation/figures.csv", ("all", "specificity", "mel", "argmax", "image"))
MISSED = Traced("3", "evaluation/evaluation.json", ("groups", "all", "decisions", "3", "fn"))

TINY = Report(
    "20260220__drawn-s1",
    True,
    (
        Section(
            "one",
            "What is *found*?",
            (
                Sentence(told("Of {n} lesions, {word} says <b>.", n=Strong(MISSED), word=Code("a`b|c"))),
                Bullets((told("one"), told("two_three"))),
                Table(
                    "Figures", ("at", "found"), ((("top | class",), (SENSITIVITY,)), (("rest",), (SPECIFICITY,))), (0,)
                ),
                FactList((("name", told("{x}", x=Code("<i>"))),)),
                Plot("p", "A plot", "evaluation/roc.svg", "<svg></svg>", told("It shows {x}.", x=SENSITIVITY)),
            ),
        ),
        Section(
            "two", "What is not?", (Gap("The maps", "melascope explain RUN --test", "nobody asked"), Gap("The rest"))
        ),
        Section(
            "three",
            "Which?",
            (
                Cases(
                    (
                        CaseCard(
                            "ISIC_1",
                            (("truth", told("mel")),),
                            (told("Missed."),),
                            (Picture("AAAA", 4, 3, "The image"),),
                        ),
                    )
                ),
            ),
        ),
    ),
)

GOLDEN = """\
# Report — phantom (synthetic images)

Run `20260220__drawn-s1`. **For research only. melascope is not a medical device; its output is not a diagnosis.**

**phantom (synthetic images)**: a program drew every image. Nothing here says anything about real lesions.

## What is \\*found\\*?

Of **3** lesions, `a'b|c` says \\<b\\>.

<sub>Where from: `evaluation/evaluation.json: groups | all | decisions | 3 | fn`</sub>

- one
- two\\_three

**Figures**

| at | found |
|---|---|
| top \\| class | 0.83 [0.75, 0.90] |
| rest | 0.61 |

<sub>Where from: `evaluation/figures.csv: all | sensitivity, specificity | mel | argmax | image`</sub>

- name: `<i>`

![A plot](../evaluation/roc.png)

It shows 0.83 [0.75, 0.90].

<sub>Where from: `evaluation/roc.svg`; `evaluation/figures.csv: all | sensitivity | mel | argmax | image`</sub>

## What is not?

*The maps: not measured* (nobody asked). Command: `melascope explain RUN --test`

*The rest: not measured*.

## Which?

- `ISIC_1` Missed.

Their pictures stand in `report.html` alone.

For research only. melascope is not a medical device; its output is not a diagnosis.
"""


def test_markdown_reads_as_reviewed(tmp_path):
    record = SimpleNamespace(traces=SimpleNamespace(path=lambda file: tmp_path / "run" / file))
    assert report_markdown(TINY, record, tmp_path / "run" / "report") == GOLDEN


def test_html_escapes_words_and_keeps_where_a_number_is_from():
    page = report_html(TINY)
    where = "evaluation/figures.csv: all | sensitivity | mel | argmax | image"
    assert f'<span class="number" title="{where}">0.83 [0.75,\u00a00.90]</span>' in page
    assert "<code>a`b|c</code> says &lt;b&gt;." in page and "<code>&lt;i&gt;</code>" in page
    assert '<strong><span class="number"' in page and "<svg></svg>" in page
    assert '<tr class="bold"><th scope="row">top | class</th>' in page
    assert 'src="data:image/jpeg;base64,AAAA" width="4" height="3" alt="The image (ISIC_1)"' in page
    assert page.count('<span class="tag">not measured</span>') == 1  # of three sections one has nothing else


def test_rows_that_differ_are_listed_while_they_are_few():
    cells = [Traced("1", "f.csv", ("all", str(number))) for number in range(6)]
    few, many = (Sentence(tuple(cells[:n])) for n in (4, 6))
    assert where_from(few) == ("f.csv: all | 0, 1, 2, 3",)
    assert where_from(many) == ("f.csv: all | 0, 1, 2, …",)
    assert where_from(Sentence(told("words"))) == () and where_from(Gap("x")) == ()
