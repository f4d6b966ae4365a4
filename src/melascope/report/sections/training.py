"""How did the training go, and which epoch was kept?"""

from __future__ import annotations

from melascope.report.document import NOT_DESCRIBED, Block, Code, FactList, Gap, Section, Text, told
from melascope.report.run_record import RunRecord
from melascope.report.sections.plots_of import plot

RESULTS = "results.csv"
LOSSES = {"train_loss": "training loss", "val_nll": "validation NLL"}
FIGURES = {
    "val_mel_auroc": "melanoma AUROC",
    "val_mel_sensitivity": "melanoma sensitivity of the top class",
    "val_accuracy": "accuracy",
    "val_balanced_accuracy": "balanced accuracy",
    "val_macro_f1": "macro-F1",
}


def section(record: RunRecord) -> Section:
    """The recipe in short, and the curves with their last and kept values."""
    title = "How did the training go?"
    if not record.traces.rows(RESULTS):
        return Section(
            "training", title, (_facts(record), Gap("The curves of the training", why="there is no results.csv"))
        )
    redraw = "melascope train --resume RUN"
    blocks: list[Block] = [_facts(record)]
    blocks.append(
        plot(record, "training_loss.svg", "Does the loss still fall?", _words(record, LOSSES), command=redraw)
    )
    title_of_figures = "Does the model still improve on validation images?"
    blocks.append(plot(record, "training_figures.svg", title_of_figures, _words(record, FIGURES), command=redraw))
    return Section("training", title, tuple(blocks))


def _words(record: RunRecord, columns: dict[str, str]) -> Text:
    """Value of each curve after the last epoch, and at the kept one; a single training has no interval."""
    rows = record.traces.rows(RESULTS)
    epochs = sorted((key[0] for key in rows), key=float)
    kept = str(record.card.epoch) if record.card is not None else ""
    parts: list = []
    for column, label in columns.items():
        if column not in rows[(epochs[-1],)]:
            continue
        parts += ["; " if parts else "", f"{label} ", record.traces.cell(RESULTS, epochs[-1], column=column, digits=3)]
        if kept in epochs and kept != epochs[-1]:
            parts += [" (kept epoch: ", record.traces.cell(RESULTS, kept, column=column, digits=3), ")"]
    start = f"After epoch {epochs[-1]}" + (f"; kept was epoch {kept}" if kept in epochs else "")
    return (f"{start}: ", *parts, ". One training, on validation images: no interval.")


def _facts(record: RunRecord) -> FactList:
    recipe = record.recipe
    if recipe is None:
        return FactList((("recipe", told(NOT_DESCRIBED)),))
    facts = [
        ("recipe", told("{name}, seed {seed}", name=Code(recipe.name), seed=str(recipe.seed))),
        ("network", told("{name}", name=Code(recipe.model.backbone))),
        ("first weights", first_weights(record)),
        ("input", told(f"whole image, stretched to {recipe.input.width} × {recipe.input.height} pixels")),
        ("loss", told("{name}", name=Code(recipe.loss.name))),
        ("training", told(optimiser(record))),
        ("kept epoch", told("best by {figure} of validation", figure=Code(recipe.train.select_by))),
    ]
    return FactList(tuple(facts))


def first_weights(record: RunRecord) -> Text:
    """Where a training began; names of files, runs and packages as they are."""
    recipe = record.recipe
    if recipe is None:
        return told(NOT_DESCRIBED)
    facts = record.facts.get("first_weights")
    if not isinstance(facts, dict):  # a run of melascope before it wrote them down
        return told("a file of weights" if recipe.model.init else "ImageNet" if recipe.model.pretrained else "random")
    kind, name, sha256 = (str(facts.get(key, "")) for key in ("kind", "name", "sha256"))
    words = told(_FIRST_WEIGHTS.get(kind, "{name}"), name=Code(name))
    return (*words, *told(" (SHA-256 {sha256})", sha256=Code(f"{sha256[:12]}…"))) if sha256 else words


_FIRST_WEIGHTS = {
    "random": "random",
    "imagenet": "ImageNet, by timm's {name}",
    "package": "ImageNet, from the Python package {name}",
    "run": "those of run {name}",
    "file": "the file {name}",
}


def optimiser(record: RunRecord) -> str:
    """How the loss was minimised."""
    if record.recipe is None:
        return NOT_DESCRIBED
    train = record.recipe.train
    return (
        f"{train.epochs} epochs, batches of {train.batch_size}, learning rate {train.learning_rate:g} "
        f"({train.schedule}), weight decay {train.weight_decay:g}, {train.sampler} order, precision {train.precision}"
    )
