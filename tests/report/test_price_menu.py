"""Can the menu of prices be read on a narrow terminal, with what is promised and what is out of reach?"""

import io

import pytest
from rich.console import Console

from melascope.evaluation.operating_point import choose_operating_point
from melascope.evaluation.price import price_menu
from melascope.report.terminal import print_price_menu


@pytest.mark.parametrize("rule", ["guaranteed", "empirical"])
def test_each_row_fits_and_says_what_it_costs(rule, validation):
    point = choose_operating_point(validation, target_sensitivity=0.80, rule=rule)
    menu, stream = price_menu(validation, rule=rule), io.StringIO()
    print_price_menu(menu, point, Console(file=stream, width=80))
    text = stream.getvalue()
    words = " ".join(text.split())
    assert max(len(line) for line in text.splitlines()) <= 80 and "…" not in text
    assert point.promise in words and "5.0% prevalence" in words
    for row in menu:
        (line,) = [line for line in text.splitlines() if line.split()[:1] == [f"{row.target_sensitivity:.2f}"]]
        if isinstance(row.threshold, float):
            assert f"{row.threshold:.4f}" in line and f"{row.biopsies_per_found:.1f}" in line
        else:
            assert "–" in line and f"{row.target_sensitivity:.2f}: {row.threshold}" in words
    assert ("needed" in words) == (rule == "guaranteed")  # 20 melanomas cannot show 0.90
    assert "nan" not in words
