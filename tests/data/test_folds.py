"""Does every image outside of testing validate once, with its lesion whole?"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from melascope.data.folds import deal_folds
from melascope.data.sources import read_dataset
from melascope.data.sources.phantom import write_phantom
from melascope.data.split import make_split, read_split
from melascope.errors import SplitError


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    place = tmp_path_factory.mktemp("folds") / "phantom"
    write_phantom(place, n_images=90, seed=4, workers=1)
    return read_dataset(place)


def test_every_image_validates_once_and_no_lesion_or_test_image_moves(table, tmp_path):
    split = make_split(table, seed=1)
    folds = deal_folds(table, split, 4)
    sides = np.stack([fold.of(table) for fold in folds])
    dealt = np.isin(split.of(table).astype(str), ("train", "val"))
    assert ((sides == "val").sum(0) == dealt).all()
    assert (sides[:, ~dealt] == split.of(table)[~dealt]).all()
    for number, fold in enumerate(folds):
        file = fold.write(tmp_path / f"{number}.csv")
        assert read_split(file, table).sha256 == fold.sha256  # which refuses a lesion on two sides
    largest = max(Counter(table.lesion_key[dealt]).values())
    for label in set(table.labels[dealt]):
        counts = [((side == "val") & (table.labels == label)).sum() for side in sides]
        assert max(counts) - min(counts) <= largest


def test_folds_follow_their_seed_and_impossible_ones_are_refused(table):
    split = make_split(table, seed=1)
    one, same, other = (deal_folds(table, split, 3, seed=seed)[0].sha256 for seed in (1, 1, 2))
    assert one == same != other
    with pytest.raises(SplitError, match="cannot be dealt"):
        deal_folds(table, split, 1)
    with pytest.raises(SplitError, match="cannot be dealt"):
        deal_folds(table, split, 1000)
