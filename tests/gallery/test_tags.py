"""Do a reader's tags come back as they were written, and are wrong ones all told at once?"""

from __future__ import annotations

import pytest

from melascope.errors import DataError, TableError
from melascope.gallery.tags import MOST, Tagged, read_tags

KNOWN = ("A", "B", "C", "=1+1")


def written(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "tags.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_tags_and_comments_come_back(tmp_path):
    path = written(
        tmp_path,
        "image_id,tags,comment\r\n"
        'A,look again;label doubtful;look again,"two lines\r\nand a ""quote"", and a comma"\r\n'
        "B,,\r\n"
        "C,,'=HYPERLINK(1)\r\n"
        "'=1+1, artefact ; ,\r\n",
    )
    assert read_tags(path, KNOWN) == {
        "A": Tagged(("look again", "label doubtful"), 'two lines\r\nand a "quote", and a comma'),
        "C": Tagged((), "=HYPERLINK(1)"),
        "=1+1": Tagged(("artefact",), ""),
    }


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path, encoding):
    path = written(tmp_path, "comment,image_id,tags,more\nschön,A,x,1\n", encoding)
    assert read_tags(path, KNOWN) == {"A": Tagged(("x",), "schön")}


def test_all_wrong_rows_are_told_at_once(tmp_path):
    path = written(tmp_path, f"image_id,tags,comment\nZ,x,\nA,x,\nA,y,\nB,,{'m' * (MOST + 1)}\n")
    with pytest.raises(TableError) as error:
        read_tags(path, KNOWN)
    assert [problem.row for problem in error.value.problems] == [2, 4, 5]
    assert "'Z' is not in the predictions" in str(error.value) and "twice" in str(error.value)


def test_a_table_without_the_columns_is_refused(tmp_path):
    with pytest.raises(DataError, match="no column tags, comment; found image_id, tag"):
        read_tags(written(tmp_path, "image_id,tag\nA,x\n"), KNOWN)
    with pytest.raises(DataError, match="missing"):
        read_tags(tmp_path / "none.csv", KNOWN)
