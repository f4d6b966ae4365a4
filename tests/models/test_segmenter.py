"""Does a segmenter learn, see mask and picture turned alike, resume exactly, and export to what it computed?"""

import json

import numpy as np
import pytest
import torch

from melascope.config import AugmentRecipe, SegmenterRecipe
from melascope.errors import CheckpointError, RecipeError, RunError
from melascope.inference.segmenter import Segmenter
from melascope.models.order import keyed_generator
from melascope.models.segmenter import (
    DECODERS,
    PixelsToLesion,
    build_segmenter,
    dice_and_cross_entropy,
    vary_pair,
)
from melascope.models.segmenter_export import halve_weights, restamp, write_segmenter
from melascope.models.segmenter_training import SegmenterData, SegmenterTrainer, best_segmenter
from melascope.tables.segmenters import SegmenterCard

FACTS = {"source": "phantom", "dataset_fingerprint": "f", "split_sha256": "s"}
CARD = SegmenterCard(
    melascope="0", recipe={}, input_width=64, input_height=64, threshold=0.5, epoch=1, epochs=1, weights_sha256="",
    source="phantom", licence="", dataset_fingerprint="", split_sha256="", n_train=8,
)  # fmt: skip


def recipe(**train) -> SegmenterRecipe:
    return SegmenterRecipe(
        name="tiny",
        network={"encoder": "test_resnet", "dropout": 0.1},
        input={"width": 64, "height": 64},
        augment={"rotate_degrees": 180, "dark_corners": 0.5},
        train={"epochs": 2, "batch_size": 4, "learning_rate": 5e-3, **train},
    )


def discs(n: int = 14, seed: int = 0) -> SegmenterData:
    """Dark discs on light skin, with their true masks."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:64, :64]
    masks = np.stack([(rows - y) ** 2 + (columns - x) ** 2 < 14**2 for y, x in rng.integers(22, 42, (n, 2))])
    pixels = np.where(masks[..., None], (110, 70, 60), (220, 180, 160)).astype(np.float64)
    pixels = np.clip(pixels + rng.normal(0, 6, pixels.shape), 0, 255).astype(np.uint8)
    return SegmenterData(pixels, masks.astype(np.uint8) * 255, np.arange(n - 4), np.arange(n - 4, n), FACTS)


@pytest.mark.parametrize("decoder", DECODERS)
def test_every_decoder_answers_at_the_size_of_the_picture(decoder):
    network_recipe = recipe().network.model_copy(update={"decoder": decoder})
    made = recipe().model_copy(update={"network": network_recipe})
    network = build_segmenter(made).eval()
    with torch.no_grad():
        assert network(torch.zeros(2, 3, 64, 96)).shape == (2, 1, 64, 96)


def test_weights_are_keyed_by_the_seed_and_the_global_generator_is_left_alone():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    one, again = build_segmenter(recipe()), build_segmenter(recipe())
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), again.parameters(), strict=True))


def test_an_unknown_encoder_is_refused():
    made = recipe().model_copy(update={"network": recipe().network.model_copy(update={"encoder": "no_such_net"})})
    with pytest.raises(RecipeError, match="no_such_net"):
        build_segmenter(made)


def test_mask_and_picture_turn_alike_and_only_the_picture_changes_light():
    mask = torch.zeros(6, 48, 64, dtype=torch.uint8)
    mask[:, 8:30, 20:50] = 255
    pixels = mask[..., None].expand(-1, -1, -1, 3).contiguous()  # the picture is its own mask
    plain = AugmentRecipe(rotate_degrees=180, scale=0.2, brightness=0, contrast=0, saturation=0)
    batch, truth = vary_pair(pixels, mask, plain, keyed_generator("test", 1))
    assert not torch.equal(truth[0], truth[1])
    assert torch.allclose(batch, truth.expand(-1, 3, -1, -1), atol=1e-6)
    lit, same = vary_pair(pixels, mask, plain.model_copy(update={"brightness": 0.5}), keyed_generator("test", 1))
    assert torch.equal(same, truth) and not torch.allclose(lit, batch)


def test_the_loss_of_known_answers():
    truth = torch.zeros(2, 1, 8, 8)
    truth[:, :, :4] = 1
    sure = (truth * 2 - 1) * 50
    assert float(dice_and_cross_entropy(sure, truth)) == pytest.approx(0, abs=1e-6)
    unsure = torch.zeros_like(truth)  # everywhere 0.5: Dice (2 * 16 + 1) / (32 + 32 + 1), cross-entropy log 2
    assert float(dice_and_cross_entropy(unsure, truth)) == pytest.approx(1 - 33 / 65 + np.log(2), abs=1e-6)


def test_training_learns_discs_and_a_resume_ends_with_the_same_weights(tmp_path):
    data, whole, parted = discs(), tmp_path / "whole", tmp_path / "parted"
    made = recipe(epochs=3)
    SegmenterTrainer(made, data, whole).fit()

    class Stop(Exception):
        pass

    class StopsInSecondEpoch:
        def step(self, epoch, step, n_steps, loss):
            if (epoch, step) == (1, 2):
                trainer._save("last")
                raise Stop

        def epoch(self, row): ...

    trainer = SegmenterTrainer(made, data, parted)
    with pytest.raises(Stop):
        trainer.fit(StopsInSecondEpoch())
    SegmenterTrainer(made, data, parted).fit()
    for name in ("best.json", "last.json", "results.csv"):
        assert (parted / name).read_bytes() == (whole / name).read_bytes()
    losses = [float(line.split(",")[2]) for line in (whole / "results.csv").read_text().splitlines()[1:]]
    assert losses[-1] < losses[0] - 0.05


def test_until_stops_after_an_epoch_and_the_rest_follows(tmp_path):
    trainer = SegmenterTrainer(recipe(), discs(), tmp_path)
    trainer.fit(until=1)
    assert len((tmp_path / "results.csv").read_text().splitlines()) == 2
    SegmenterTrainer(recipe(), discs(), tmp_path).fit()
    assert json.loads((tmp_path / "last.json").read_text())["epoch"] == 2


def test_other_data_and_damaged_weights_are_refused(tmp_path):
    data = discs()
    SegmenterTrainer(recipe(epochs=1), data, tmp_path).fit()
    other = SegmenterData(data.pixels, data.masks, data.train, data.val, FACTS | {"split_sha256": "x"})
    with pytest.raises(RunError, match="split_sha256"):
        SegmenterTrainer(recipe(epochs=1), other, tmp_path)
    (file,) = tmp_path.glob("best-*.safetensors")
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    with pytest.raises(CheckpointError):
        best_segmenter(tmp_path, recipe(epochs=1))


def test_the_graph_says_what_the_network_says(tmp_path):
    made = recipe()
    graph = PixelsToLesion(build_segmenter(made), made.input.mean, made.input.std)
    path = write_segmenter(graph, CARD, tmp_path / "graph.onnx")
    pixels = discs().pixels[:3]
    with torch.no_grad():
        wanted = graph(torch.from_numpy(pixels)).numpy()
    exact, size = Segmenter.open(path), path.stat().st_size
    assert np.abs(exact.run(pixels) - wanted).max() < 1e-5 and exact.card == CARD
    halve_weights(path)
    halved = Segmenter.open(path)
    assert path.stat().st_size < 0.7 * size and 0 < np.abs(halved.run(pixels) - wanted).max() < 5e-3
    restamp(path, CARD.model_copy(update={"threshold": 0.4}))
    again = Segmenter.open(path)
    assert again.card.threshold == 0.4 and np.array_equal(again.run(pixels), halved.run(pixels))
