"""Does the training loop stop, go on, choose and refuse as it says?"""

from __future__ import annotations

import json
import signal
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file

from melascope.errors import DataError, RecipeError, RunError
from melascope.models import train
from melascope.models.order import key
from melascope.models.schedule import image_share
from melascope.models.train import Trainer, learning_rate
from melascope.tables.runs import RunDirectory


def figures_of(labels: np.ndarray, logits: np.ndarray) -> dict[str, float]:
    wrong = float((logits.argmax(1) != labels).mean())
    return {"macro_f1": 1 - wrong, "nll": wrong}


def told(figures: list[dict[str, float]]):
    """Validation figures that come epoch by epoch from a list."""
    left = iter(figures)
    return lambda labels, logits: next(left)


class StopAt:
    """Presses Ctrl-C after a step."""

    def __init__(self, epoch: int, step: int) -> None:
        self.at = (epoch, step)

    def step(self, epoch: int, step: int, n_steps: int, loss: float) -> None:
        if (epoch, step) == self.at:
            signal.raise_signal(signal.SIGINT)

    def epoch(self, row: dict[str, float]) -> None:
        pass


def facts(run: RunDirectory) -> tuple:
    """What an interruption must not change."""
    cards = [run.checkpoint(which)[0] for which in ("best", "last")]
    return run.results.read_text(), *cards


LIVELY = {"sampler": "balanced", "epochs": 3}


@pytest.fixture(scope="module")
def undisturbed(recipe_of, data_of, tmp_path_factory) -> RunDirectory:
    run = RunDirectory(tmp_path_factory.mktemp("undisturbed"))
    Trainer(recipe_of(train=LIVELY), data_of(), run, figures_of, accelerator="cpu").fit()
    return run


@pytest.mark.parametrize("at", [(0, 1), (1, 2), (1, 3), (2, 3)], ids=["first", "middle", "last of epoch", "very last"])
def test_a_training_stopped_after_any_step_ends_like_an_undisturbed_one(recipe_of, data_of, undisturbed, tmp_path, at):
    run, recipe = RunDirectory(tmp_path), recipe_of(train=LIVELY)
    with pytest.raises(KeyboardInterrupt):
        Trainer(recipe, data_of(), run, figures_of, accelerator="cpu").fit(StopAt(*at))
    card, _ = run.checkpoint("last")
    assert (card.epoch, card.step_in_epoch) == at
    Trainer(recipe, data_of(), run, figures_of, accelerator="cpu").fit()
    assert facts(run) == facts(undisturbed)


@pytest.mark.parametrize("epoch", [0, 2])
def test_ctrl_c_in_validation_stops_after_it_even_in_the_last_epoch(recipe_of, data_of, undisturbed, tmp_path, epoch):
    run, recipe, seen = RunDirectory(tmp_path), recipe_of(train=LIVELY), []

    def stopping(labels, logits):
        seen.append(1)
        if len(seen) == epoch + 1:
            signal.raise_signal(signal.SIGINT)
        return figures_of(labels, logits)

    with pytest.raises(KeyboardInterrupt):
        Trainer(recipe, data_of(), run, stopping, accelerator="cpu").fit()
    card, _ = run.checkpoint("last")
    assert (card.epoch, card.step_in_epoch) == (epoch + 1, 0)
    Trainer(recipe, data_of(), run, figures_of, accelerator="cpu").fit()
    assert facts(run) == facts(undisturbed)


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_kill_between_results_and_the_checkpoint_doubles_no_row(recipe_of, data_of, undisturbed, tmp_path, epoch):
    """The first epoch has no checkpoint `last` to go back to, the second has one."""
    run, recipe = RunDirectory(tmp_path), recipe_of(train=LIVELY)
    killed = Trainer(recipe, data_of(), run, figures_of, accelerator="cpu")
    save = killed._save

    def dying(which):
        if which == "last" and killed.state.epoch == epoch:
            raise SystemExit
        save(which)

    killed._save = dying
    with pytest.raises(SystemExit):
        killed.fit()
    assert len(run.results.read_text().splitlines()) == 1 + epoch
    assert (run.checkpoints / "last.json").is_file() == (epoch > 1)
    Trainer(recipe, data_of(), run, figures_of, accelerator="cpu").fit()
    assert facts(run) == facts(undisturbed)


LIVELIEST = {
    "augment": {"crop": 0.2, "hair": 0.5, "mixup": 0.4, "cutmix": 1.0, "blur": 0.5},
    "loss": {"name": "logit_adjusted", "label_smoothing": 0.1},
}


def test_mixtures_and_all_that_is_drawn_go_on_exactly_too(recipe_of, data_of, tmp_path):
    recipe = recipe_of(**LIVELIEST)
    whole, stopped = RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "stopped")
    Trainer(recipe, data_of(), whole, figures_of, accelerator="cpu").fit()
    with pytest.raises(KeyboardInterrupt):
        Trainer(recipe, data_of(), stopped, figures_of, accelerator="cpu").fit(StopAt(1, 1))
    Trainer(recipe, data_of(), stopped, figures_of, accelerator="cpu").fit()
    assert facts(stopped) == facts(whole)


def test_a_run_of_an_older_version_goes_on_under_its_own_header(recipe_of, data_of, undisturbed, tmp_path):
    """Its cards know no best_figures, its results.csv not all figures of today."""
    run, recipe = RunDirectory(tmp_path), recipe_of(train=LIVELY)
    with pytest.raises(KeyboardInterrupt):
        Trainer(recipe, data_of(), run, figures_of, accelerator="cpu").fit(StopAt(1, 3))
    for which in ("best", "last"):
        path = run.checkpoints / f"{which}.json"
        card = json.loads(path.read_text())
        del card["best_figures"], card["recipe"]["predict"], card["recipe"]["augment"]["hair"]
        path.write_text(json.dumps(card))
    lines = run.results.read_text().splitlines()
    run.results.write_text("".join(f"{line.rsplit(',', 1)[0]}\n" for line in lines))
    Trainer(recipe, data_of(), run, figures_of, accelerator="cpu").fit()
    expected = [line.rsplit(",", 1)[0] for line in undisturbed.results.read_text().splitlines()]
    assert run.results.read_text().splitlines() == expected
    found, whole = run.checkpoint("last")[0], undisturbed.checkpoint("last")[0]
    assert (found.weights_sha256, found.best_figure) == (whole.weights_sha256, whole.best_figure)


def test_results_have_a_row_an_epoch_with_the_rate_of_its_last_step(undisturbed, recipe_of):
    header, *rows = [line.split(",") for line in undisturbed.results.read_text().splitlines()]
    assert header == ["epoch", "step", "learning_rate", "train_loss", "val_macro_f1", "val_nll"]
    assert [(row[0], row[1]) for row in rows] == [("1", "3"), ("2", "6"), ("3", "9")]
    rates = [learning_rate(recipe_of(train=LIVELY), step, 3) for step in (2, 5, 8)]
    assert [float(row[2]) for row in rows] == rates


@pytest.mark.parametrize(
    ("select_by", "values", "best"),
    [("macro_f1", (0.2, 0.5, 0.4), 2), ("nll", (3.0, 1.0, 2.0), 2), ("macro_f1", (0.5, 0.5, 0.1), 1)],
    ids=["higher", "lower", "the first of equals"],
)
def test_best_is_the_epoch_that_the_recipes_figure_prefers(recipe_of, data_of, tmp_path, select_by, values, best):
    run = RunDirectory(tmp_path)
    figures = told([{select_by: value} for value in values])
    recipe = recipe_of(train={"epochs": 3, "select_by": select_by})
    Trainer(recipe, data_of(), run, figures, accelerator="cpu").fit()
    card, last = run.checkpoint("best")[0], run.checkpoint("last")[0]
    assert card.epoch == best
    assert card.best_figure == last.best_figure == values[best - 1]
    assert card.weights_sha256 != last.weights_sha256
    assert last.epoch == 3


@pytest.mark.parametrize(
    ("changes", "data", "says"),
    [
        ({"seed": 2}, {}, "another recipe"),
        ({}, {"dataset_fingerprint": "0" * 64}, "another data set"),
        ({"train": {"epochs": 4}}, {"split_sha256": "0" * 64}, "another recipe and another split"),
    ],
    ids=["recipe", "data", "recipe and split"],
)
def test_a_training_goes_on_with_what_it_began_with_or_not_at_all(recipe_of, data_of, undisturbed, changes, data, says):
    before = facts(undisturbed)
    recipe = recipe_of(**{"train": LIVELY, **changes})
    with pytest.raises(RunError, match=says):
        Trainer(recipe, replace(data_of(), **data), undisturbed, figures_of, accelerator="cpu")
    assert facts(undisturbed) == before


def test_going_on_needs_neither_the_network_nor_the_init_file(recipe_of, data_of, tmp_path, monkeypatch):
    run, recipe, create = RunDirectory(tmp_path), recipe_of(model={"pretrained": True}), timm.create_model
    with monkeypatch.context() as online:
        online.setattr(timm, "create_model", lambda name, pretrained, **rest: create(name, pretrained=False, **rest))
        with pytest.raises(KeyboardInterrupt):
            Trainer(recipe, data_of(), run, figures_of, accelerator="cpu").fit(StopAt(0, 1))
    with monkeypatch.context() as offline:
        offline.setattr("timm.models._builder.load_pretrained", lambda *_, **__: pytest.fail("weights were asked for"))
        trainer = Trainer(recipe, data_of(), run, figures_of, accelerator="cpu")
    assert trainer.state.step == 1


@pytest.mark.parametrize("n_train", [2, 9, 17])
def test_no_batch_has_one_image_and_absent_classes_do_no_harm(recipe_of, data_of, tmp_path, n_train):
    data = data_of(n_train, 4, classes=3)
    trainer = Trainer(recipe_of(train={"epochs": 1}), data, RunDirectory(tmp_path), figures_of, accelerator="cpu")
    trainer.fit()
    assert trainer.state.step == trainer.steps_per_epoch == max(1, n_train // 8)
    assert all(torch.isfinite(value).all() for value in trainer.network.state_dict().values())


def test_a_split_of_fewer_than_two_images_is_refused(data_of):
    with pytest.raises(DataError, match="'train' has 1 labelled"):
        data_of(1, 4)
    with pytest.raises(DataError, match="'val' has 0 labelled"):
        data_of(4, 0)


def test_the_global_generator_is_left_as_it_was(recipe_of, data_of, tmp_path):
    before = torch.get_rng_state()
    Trainer(recipe_of(train={"epochs": 1}), data_of(), RunDirectory(tmp_path), figures_of, accelerator="cpu").fit()
    assert torch.equal(before, torch.get_rng_state())


def test_dropout_is_keyed_by_seed_epoch_and_step(recipe_of, data_of, tmp_path):
    recipe = recipe_of(seed=3)
    trainer = Trainer(recipe, data_of(), RunDirectory(tmp_path), figures_of, accelerator="cpu")
    seeds = []
    trainer.network.module.register_forward_pre_hook(
        lambda module, _: seeds.append(torch.initial_seed()) if module.training else None
    )
    trainer.fit()
    assert seeds == [key("dropout", 3, epoch, step) for epoch in range(2) for step in range(3)]


def test_half_precision_trains_and_is_as_exact_to_resume(recipe_of, data_of, tmp_path):
    recipe = recipe_of(train={"precision": "bf16-mixed", "epochs": 1})
    runs = [RunDirectory(tmp_path / name) for name in ("whole", "stopped")]
    Trainer(recipe, data_of(), runs[0], figures_of, accelerator="cpu").fit()
    with pytest.raises(KeyboardInterrupt):
        Trainer(recipe, data_of(), runs[1], figures_of, accelerator="cpu").fit(StopAt(0, 1))
    Trainer(recipe, data_of(), runs[1], figures_of, accelerator="cpu").fit()
    assert facts(runs[0]) == facts(runs[1])


@pytest.mark.parametrize(
    ("accelerator", "precision", "says"),
    [("banana", "32-true", "banana"), ("tpu", "32-true", "tpu"), ("cpu", "16-mixed", "16-mixed")],
)
@pytest.mark.filterwarnings("ignore:You passed")
def test_a_device_or_precision_that_is_not_there_is_refused_not_replaced(
    recipe_of, data_of, tmp_path, accelerator, precision, says
):
    recipe = recipe_of(train={"precision": precision})
    with pytest.raises(RecipeError, match=says):
        Trainer(recipe, data_of(), RunDirectory(tmp_path), figures_of, accelerator=accelerator)
    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_is_not_finite_stops_the_training_before_it_is_saved(recipe_of, data_of, tmp_path):
    run = RunDirectory(tmp_path)
    trainer = Trainer(recipe_of(), data_of(), run, figures_of, accelerator="cpu")
    loss, nan = trainer.loss, float("nan")
    trainer.loss = lambda logits, truth: [
        part * (nan if trainer.state.step == 4 else 1) for part in loss(logits, truth)
    ]
    with pytest.raises(RecipeError, match="nan at step 2 of epoch 2"):
        trainer.fit()
    card, _ = run.checkpoint("last")
    assert (card.epoch, card.step) == (1, 3)


def test_weights_that_break_in_validation_are_not_kept_as_the_best(recipe_of, data_of, tmp_path):
    run = RunDirectory(tmp_path)
    trainer = Trainer(recipe_of(), data_of(), run, figures_of, accelerator="cpu")
    trainer.network.module.bn2.running_var.fill_(float("inf"))  # used in evaluation only
    trainer.network.module.bn2.momentum = 0.0
    trainer.network.module.bn2.running_mean.fill_(float("inf"))
    with pytest.raises(RecipeError, match="logits that are not finite"):
        trainer.fit()
    assert not (run.checkpoints / "best.json").exists()


RATES = {
    "constant": ({"schedule": "constant"}, {0: 1, 5: 1, 39: 1}),
    "constant after warm-up": ({"schedule": "constant", "warmup_epochs": 0.5}, {0: 0.2, 1: 0.4, 4: 1, 5: 1, 39: 1}),
    "cosine": ({"schedule": "cosine"}, {0: 1, 10: (2 + 2**0.5) / 4, 20: 0.5, 30: (2 - 2**0.5) / 4, 40: 0}),
    "cosine after warm-up": ({"schedule": "cosine", "warmup_epochs": 2}, {0: 0.05, 19: 1, 20: 1, 30: 0.5, 40: 0}),
    "warm-up ends within a step": ({"schedule": "constant", "warmup_epochs": 0.15}, {0: 2 / 3, 1: 1, 2: 1}),
    "warm-up longer than the training": ({"schedule": "cosine", "warmup_epochs": 8}, {0: 1 / 80, 39: 0.5}),
}


def test_images_grow_with_the_epochs(recipe_of, data_of, tmp_path, monkeypatch):
    """Four epochs in three sizes, and what they see is the mean of the pixels that one of theirs covers."""
    recipe = recipe_of(
        train={"epochs": 4, "resizing": [0.5, 0.75, 1.0]},
        augment=dict.fromkeys(("rotate_degrees", "scale", "brightness", "contrast", "saturation"), 0) | {"flip": False},
    )
    assert [image_share(recipe, epoch) for epoch in range(4)] == [0.5, 0.5, 0.75, 1.0]
    sides, seen = [], []
    real = train.training_batch

    def watched(pixels, labels, rows, *others, **more):
        batch, truth = real(pixels, labels, rows, *others, **more)
        sides.append(batch.shape[-1])
        seen.append((rows, batch))
        return batch, truth

    monkeypatch.setattr(train, "training_batch", watched)
    data = data_of()
    Trainer(recipe, data, RunDirectory(tmp_path), figures_of, accelerator="cpu").fit()
    assert sorted(sides) == sides and set(sides) == {16, 24, 32}
    rows, batch = seen[0]
    blocks = data.pixels[rows].reshape(len(rows), 16, 2, 16, 2, 3).mean((2, 4)) / 255
    expected = (blocks - recipe.input.mean) / recipe.input.std
    np.testing.assert_allclose(batch.permute(0, 2, 3, 1).numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("name", RATES)
def test_the_learning_rate_is_the_schedules(recipe_of, name):
    """Four epochs of ten steps; the highest rate is 1."""
    train, expected = RATES[name]
    recipe = recipe_of(train={"epochs": 4, "learning_rate": 1.0, "warmup_epochs": 0, **train})
    assert {step: learning_rate(recipe, step, 10) for step in expected} == pytest.approx(expected, abs=1e-12)
    rates = [learning_rate(recipe, step, 10) for step in range(40)]
    assert max(rates) <= 1
    assert min(rates) > 0


def test_a_compiled_network_trains_alike_and_is_kept_under_its_own_names(recipe_of, data_of, tmp_path, monkeypatch):
    """Traced by torch.compile, without generating code, which takes minutes on a CPU."""
    real, compiled = torch.compile, []

    def traced(network):
        compiled.append(real(network, backend="eager"))
        return compiled[-1]

    monkeypatch.setattr(torch, "compile", traced)
    ends = []
    for wanted in (False, True):
        run = RunDirectory(tmp_path / str(wanted))
        recipe = recipe_of(model={"dropout": 0.0}, train={"epochs": 1, "compile": wanted})
        Trainer(recipe, data_of(), run, figures_of, accelerator="cpu").fit()
        ends.append(load_file(run.checkpoint("best")[1]))
    assert len(compiled) == 1 and ends[0].keys() == ends[1].keys()
    for name, value in ends[0].items():
        torch.testing.assert_close(value, ends[1][name], atol=1e-4, rtol=1e-3)
