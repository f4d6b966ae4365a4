"""Are random numbers keyed, and does each epoch see the images that it should?"""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from melascope.models.order import batches, epoch_order, key, keyed_generator


def test_a_key_is_the_first_63_bits_of_a_hash_of_its_parts():
    digest = hashlib.sha256(b"('augment', 1, 2, 3)").hexdigest()
    assert key("augment", 1, 2, 3) == int(digest[:16], 16) // 2
    assert key("order", 1, 12) != key("order", 11, 2)
    assert key("a", "bc") != key("ab", "c")


def test_the_same_key_gives_the_same_numbers_whatever_the_global_generator_did():
    first = torch.rand(5, generator=keyed_generator("augment", 1, 0, 0))
    torch.manual_seed(99)
    before = torch.get_rng_state()
    again = torch.rand(5, generator=keyed_generator("augment", 1, 0, 0))
    assert torch.equal(first, again)
    assert torch.equal(before, torch.get_rng_state())
    others = [("augment", 2, 0, 0), ("augment", 1, 1, 0), ("augment", 1, 0, 1), ("dropout", 1, 0, 0)]
    for parts in others:
        assert not torch.equal(first, torch.rand(5, generator=keyed_generator(*parts)))


@pytest.mark.parametrize("sampler", ["shuffle", "balanced"])
def test_the_order_follows_seed_and_epoch(sampler):
    labels = np.arange(60) % 7

    def order(seed, epoch):
        return epoch_order(labels, sampler=sampler, seed=seed, epoch=epoch)

    np.testing.assert_array_equal(order(1, 0), order(1, 0))
    assert (order(1, 0) != order(1, 1)).any()
    assert (order(1, 0) != order(2, 0)).any()


@given(n=st.integers(2, 200), batch_size=st.integers(2, 40), epoch=st.integers(0, 5))
def test_shuffled_batches_hold_every_image_once_and_never_one_image_alone(n, batch_size, epoch):
    pieces = batches(epoch_order(np.zeros(n, dtype=int), sampler="shuffle", seed=1, epoch=epoch), batch_size)
    assert sorted(np.concatenate(pieces)) == list(range(n))
    assert all(len(piece) == batch_size for piece in pieces[:-1])
    assert 2 <= len(pieces[-1]) <= batch_size + 1


def test_the_balanced_sampler_draws_each_class_that_occurs_equally_often_and_its_images_evenly():
    labels = np.repeat([0, 1, 2, 5], [1000, 100, 20, 2])
    drawn = np.concatenate([epoch_order(labels, sampler="balanced", seed=1, epoch=epoch) for epoch in range(20)])
    n = len(drawn)
    assert n == 20 * len(labels)
    shares = np.bincount(labels[drawn], minlength=7) / n
    five_sigma = 5 * np.sqrt(0.25 * 0.75 / n)
    np.testing.assert_allclose(shares, [0.25, 0.25, 0.25, 0, 0, 0.25, 0], atol=five_sigma)
    of_two = np.bincount(drawn)[-2:] / n
    np.testing.assert_allclose(of_two, 0.125, atol=5 * np.sqrt(0.125 * 0.875 / n))
