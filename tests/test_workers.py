"""Do several processes give what one gives, in its order and with its errors?"""

from __future__ import annotations

import os

import pytest

from melascope.errors import DataError, OutputError
from melascope.workers import cores, in_order


def doubled_unless_seven(number: int) -> int:
    if number == 7:
        raise DataError("There is no double of 7.", where="row 7", expected="another number")
    return 2 * number


def died_at_seven(number: int) -> int:
    if number == 7:
        os._exit(9)
    return number


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_items(workers):
    items = list(range(8, 60))
    assert list(in_order(doubled_unless_seven, items, workers=workers)) == [2 * item for item in items]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_is_raised_here_whole(workers):
    with pytest.raises(DataError) as caught:
        list(in_order(doubled_unless_seven, range(60), workers=workers))
    assert caught.value.found == "There is no double of 7." and caught.value.where == "row 7"
    assert str(caught.value).count("row 7") == 1


def test_a_process_that_dies_is_told():
    with pytest.raises(OutputError, match="worker process ended"):
        list(in_order(died_at_seven, range(60), workers=2))


def test_there_is_at_least_one_core():
    assert cores() >= 1
