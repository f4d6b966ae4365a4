"""Are images of the run's own data found by a table of their ids, and is any other place read as before?"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from melascope.errors import DataError
from melascope.stages.asking import own_images
from melascope.stages.named_images import named_images


@pytest.fixture
def two(finished):
    return list(own_images(finished).image_id[[3, 1]])


@pytest.mark.parametrize("name", ["some.csv", "some.CSV", "some.parquet"])
def test_a_table_names_images_once_each_and_in_its_order(finished, two, tmp_path, name):
    place, ids = tmp_path / name, [*two, two[0]]
    if name.endswith("parquet"):
        pq.write_table(pa.table({"p_mel": [0.1] * 3, "image_id": ids}), place)
    else:
        place.write_text("comment;image_id\n" + "".join(f"x;{one}\n" for one in ids))
    table = named_images(finished, place)
    assert list(table.image_id) == two and all(table.mask_path)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", "id\nx\n", "columns id"),
        ("a.csv", "image_id\n", "no rows"),
        ("a.csv", "image_id\nnowhere\n", "not in the data set"),
        ("a.parquet", "no parquet", "cannot be read"),
    ],
)
def test_a_table_without_such_images_is_refused(finished, tmp_path, name, content, says):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=says):
        named_images(finished, tmp_path / name)


def test_an_image_is_still_an_image(finished, two):
    table = own_images(finished)
    row = int(table.index_of(two[:1])[0])
    found = named_images(finished, table.root / table.path[row])
    assert list(found.image_id) == two[:1] and found.source == "image_folder"
