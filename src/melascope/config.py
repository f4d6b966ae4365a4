"""What may stand in a recipe, and what does a misspelt key mean?"""

from __future__ import annotations

import difflib
import json
import reprlib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from melascope.classes import CLASSES
from melascope.errors import RecipeError

Model = TypeVar("Model", bound=BaseModel)
ValidationFigure = Literal[
    "accuracy", "balanced_accuracy", "macro_f1", "mel_sensitivity", "mel_specificity", "mel_auroc", "mel_ap", "nll"
]
"""What `stages.training.validation_figures` tells of each epoch."""


PACKAGE = "package:"
"""What `model.init` begins with where a Python package gives the first weights."""


class Strict(BaseModel):
    """A frozen model that refuses unknown keys; `validated` names the nearest known one."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelRecipe(Strict):
    """Which network."""

    backbone: str = "efficientnet_b0"  # a row of BACKBONES, else any timm name
    pretrained: bool = True  # ImageNet weights by timm name, needs a network once; false by default beside an init
    init: str = ""  # a safetensors file to start from, a run's directory (the weights that it kept),
    # or package:NAME, a row of models.packaged_weights.PACKAGED
    dropout: float = Field(0.2, ge=0, lt=1)
    drop_path: float = Field(0.0, ge=0, lt=1)

    @model_validator(mode="before")
    @classmethod
    def _init_in_place_of_imagenet(cls, content: Any) -> Any:
        if isinstance(content, dict) and content.get("init") and "pretrained" not in content:
            return {**content, "pretrained": False}
        return content


class InputRecipe(Strict):
    """What the network sees: the whole image, stretched to width × height pixels."""

    width: int = Field(224, ge=32, le=2048)
    height: int = Field(224, ge=32, le=2048)
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)


class LossRecipe(Strict):
    """What is minimised: a row of `models.losses.LOSSES`."""

    name: str = "weighted_cross_entropy"
    melanoma_factor: float = Field(1.0, gt=0)  # multiplies melanoma's class weight
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    focal_gamma: float = Field(2.0, ge=0, le=10)  # of focal
    logit_adjustment: float = Field(1.0, ge=0, le=5)  # tau of logit_adjusted


class AugmentRecipe(Strict):
    """How training images vary, drawn anew for every image of every epoch."""

    flip: bool = True
    rotate_degrees: float = Field(20.0, ge=0, le=180)
    scale: float = Field(0.1, ge=0, lt=1)
    brightness: float = Field(0.1, ge=0, lt=1)
    contrast: float = Field(0.1, ge=0, lt=1)
    saturation: float = Field(0.1, ge=0, lt=1)
    crop: float = Field(0.0, ge=0, lt=1)  # at most this share of each side is cut away
    gamma: float = Field(0.0, ge=0, lt=1)  # exponent within exp(± gamma)
    white_balance: float = Field(0.0, ge=0, lt=1)  # each channel's gain within 1 ± this
    vignette: float = Field(0.0, ge=0, le=1)  # at most this share of the light is lost in the corners
    blur: float = Field(0.0, ge=0, le=8)  # largest sigma, in pixels of the input
    hair: float = Field(0.0, ge=0, le=1)  # share of the images that get hairs,
    ruler: float = Field(0.0, ge=0, le=1)  # a millimetre scale,
    dark_corners: float = Field(0.0, ge=0, le=1)  # the round field of a contact dermatoscope
    mixup: float = Field(0.0, ge=0, le=10)  # alpha of Beta(alpha, alpha); with cutmix too, each batch draws one of both
    cutmix: float = Field(0.0, ge=0, le=10)


class TrainRecipe(Strict):
    """How it is minimised."""

    epochs: int = Field(10, ge=1)
    batch_size: int = Field(32, ge=2)
    learning_rate: float = Field(3e-4, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_epochs: float = Field(0.0, ge=0)
    sampler: Literal["shuffle", "balanced"] = "shuffle"
    ema_decay: float = Field(0.0, ge=0, lt=1)  # weights averaged over steps are judged and kept; 0 is off
    select_by: ValidationFigure = "macro_f1"  # the epoch that is kept is the best by this figure of validation,
    floor_by: ValidationFigure | Literal[""] = ""  # among those in which this one
    floor: float = Field(0.0, ge=0, le=1)  # is at least this high
    resizing: tuple[Annotated[float, Field(gt=0, le=1)], ...] = (1.0,)  # side of the images, a share of the input's:
    # one for each of as many equal parts of the epochs, e.g. [0.5, 0.75, 1.0]; small ones cost less
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    channels_last: bool = True
    compile: bool = False  # torch.compile; pays on a GPU

    @model_validator(mode="after")
    def _a_floor_that_is_one(self) -> TrainRecipe:
        if bool(self.floor_by) != bool(self.floor):
            raise ValueError("floor_by and floor belong together")
        if self.floor_by in (self.select_by, "nll"):
            raise ValueError(f"floor_by should be another figure than {self.floor_by}")
        return self

    @model_validator(mode="after")
    def _an_epoch_for_each_size(self) -> TrainRecipe:
        if len(self.resizing) > self.epochs:
            raise ValueError(f"resizing names {len(self.resizing)} sizes for {self.epochs} epochs")
        return self

    @field_validator("resizing")
    @classmethod
    def _ends_at_full_size(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        if not shares or shares[-1] != 1:
            raise ValueError("should end with 1.0, the size at which the network is asked")
        return shares


class PredictRecipe(Strict):
    """How the trained network is asked, for validation's threshold and ever after: it travels with the weights."""

    views: Literal["one", "mirrored"] = "one"  # a row of models.views.VIEWS; mirrored: the mean of four mirror images


class Recipe(Strict):
    """A training from start to end; the resolved recipe is written into the run directory."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")
    seed: int = Field(1, ge=0)
    target: tuple[str, ...] = ("mel",)  # class or group of classes to find, e.g. ["mel", "bcc", "akiec"]
    target_sensitivity: float = Field(0.90, gt=0, lt=1)  # of the operating point frozen from validation
    operating_point_rule: Literal["guaranteed", "empirical"] = "guaranteed"  # a row of evaluation.rules.RULES
    model: ModelRecipe = ModelRecipe()
    input: InputRecipe = InputRecipe()
    loss: LossRecipe = LossRecipe()
    augment: AugmentRecipe = AugmentRecipe()
    train: TrainRecipe = TrainRecipe()
    predict: PredictRecipe = PredictRecipe()

    @field_validator("target")
    @classmethod
    def _some_classes(cls, target: tuple[str, ...]) -> tuple[str, ...]:
        if not target or len(set(target)) < len(target) or not set(target) < set(CLASSES):
            raise ValueError(f"should be some, not all, of {', '.join(CLASSES)}, each once")
        return target


class Experiment(Strict):
    """A list of recipes to train and compare."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")
    recipes: tuple[str, ...] = Field(min_length=1)  # files, from the list's own folder; the first is compared with
    seeds: tuple[int, ...] = Field((1,), min_length=1)
    folds: int = Field(0, ge=0, le=20)  # at least two: train and val are dealt anew, test stays as the split has it
    ensembles: bool = True  # several seeds or folds of a recipe also answer together
    after: dict[str, str] = {}  # recipe → the recipe, earlier in the list, from whose run (same seed, fold) it starts

    @field_validator("seeds", "recipes")
    @classmethod
    def _each_once(cls, values: tuple) -> tuple:
        if len(set(values)) < len(values):
            raise ValueError("should name each once")
        return values

    @field_validator("folds")
    @classmethod
    def _none_or_several(cls, folds: int) -> int:
        if folds == 1:
            raise ValueError("should be 0 or at least 2")
        return folds


class SegmenterNetworkRecipe(Strict):
    """Which segmentation network, of segmentation_models_pytorch; its weights start from random numbers."""

    decoder: Literal["fpn", "unet"] = "fpn"  # a row of models.segmenter.DECODERS
    encoder: str = "mobilenetv3_small_100"  # a timm name
    width: int = Field(64, ge=64, le=512, multiple_of=64)  # channels of the decoder, whose norm has 32 groups
    dropout: float = Field(0.2, ge=0, lt=1)


class SegmenterTrainRecipe(Strict):
    """How dice and cross-entropy loss are minimised; the epoch with the best mean Dice on validation is kept."""

    epochs: int = Field(8, ge=1)
    batch_size: int = Field(16, ge=2)
    learning_rate: float = Field(1.5e-3, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    schedule: Literal["constant", "cosine"] = "cosine"
    warmup_epochs: float = Field(0.5, ge=0)
    ema_decay: float = Field(0.998, gt=0, lt=1)


class SegmenterRecipe(Strict):
    """A training of a lesion segmenter from start to end."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")
    seed: int = Field(1, ge=0)
    network: SegmenterNetworkRecipe = SegmenterNetworkRecipe()
    input: InputRecipe = InputRecipe(width=128, height=96)
    augment: AugmentRecipe = AugmentRecipe()
    train: SegmenterTrainRecipe = SegmenterTrainRecipe()


def read_segmenter_recipe(path: Path, **changes: Any) -> SegmenterRecipe:
    """Read a segmenter's TOML recipe; `changes` and errors as in `read_recipe`."""
    content = _toml(path) | {key: value for key, value in changes.items() if value is not None}
    return validated(SegmenterRecipe, content, where=path)


def read_experiment(path: Path) -> tuple[Experiment, list[Recipe]]:
    """A list in TOML and the recipes that it names; errors as in `read_recipe`."""
    listed = validated(Experiment, _toml(path), where=path)
    recipes = [read_recipe(Path(path).parent / file) for file in listed.recipes]
    names = [recipe.name for recipe in recipes]
    if len(set(names)) < len(names):
        raise RecipeError("Two recipes of the list have one name.", where=path, expected="each `name` once")
    own = {recipe.name: recipe.model.init for recipe in recipes}
    for later, earlier in listed.after.items():
        if own.get(later):
            raise RecipeError(
                f"{later} has first weights of its own, {own[later]}, and shall start from {earlier} as well.",
                where=f"{path}: after",
                expected="one of both",
                fix=f"drop model.init of {later}, or its row under [after]",
            )
        if not (later in names and earlier in names[: names.index(later)]):
            raise RecipeError(
                f"{later} cannot start from {earlier}.",
                where=f"{path}: after",
                expected=f"names of two recipes of the list, the first one trained earlier; it has {', '.join(names)}",
            )
    return listed, recipes


def read_recipe(path: Path, *, init: Path | None = None, **changes: Any) -> Recipe:
    """Read a TOML recipe; `changes` (e.g. `seed=2`) replace top-level keys whose value is not None.

    `init` names a file of first weights, or a run's directory, in place of the recipe's.

    Raises
    ------
    RecipeError : no file, broken TOML, unknown keys (with the nearest known one) or impossible values.
    """
    content = _toml(path)
    content |= {key: value for key, value in changes.items() if value is not None}
    if init is not None and isinstance(content.get("model", {}), dict):
        content["model"] = {**content.get("model", {}), "init": str(init), "pretrained": False}
    return validated(Recipe, content, where=path)


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise RecipeError(
            f"The file cannot be read ({error.strerror}).",
            where=path,
            fix="give a TOML file, e.g. recipes/baseline.toml",
        ) from error
    except RecursionError as error:
        raise RecipeError("The file is not valid TOML (nested too deeply).", where=path) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"The file is not valid TOML ({error}).", where=path) from error


def doubts_about(recipe: Recipe) -> list[str]:
    """What may stand in a recipe, but hardly ever should."""
    train, found = recipe.train, []
    if train.select_by in _ONE_SIDED and not train.floor_by:
        found.append(
            f'train.select_by = "{train.select_by}" alone prefers an epoch that calls {_ONE_SIDED[train.select_by]} '
            'a melanoma; give it a floor, e.g. floor_by = "balanced_accuracy" and floor = 0.6'
        )
    if train.sampler == "balanced" and recipe.loss.name != "cross_entropy":
        found.append(f'the balanced sampler and loss.name = "{recipe.loss.name}" both make up for rare classes')
    if train.select_by == "nll" and recipe.loss.name != "cross_entropy":
        found.append('train.select_by = "nll" looks at probabilities that the loss has shifted towards rare classes')
    if recipe.model.init.startswith(PACKAGE) and {*recipe.input.mean, *recipe.input.std} != {0.5}:
        found.append(
            "the weights of EfficientNet-Lite were trained on pixels of input.mean = input.std = [0.5, 0.5, 0.5]"
        )
    return found


_ONE_SIDED = {"mel_sensitivity": "everything", "mel_specificity": "nothing"}


_SHOWN = reprlib.Repr()  # a message shows the beginning of what may be very long
_SHOWN.maxstring = _SHOWN.maxother = _SHOWN.maxlong = 200
_SHOWN.maxlist = _SHOWN.maxtuple = _SHOWN.maxdict = _SHOWN.maxset = 20


def validated(model: type[Model], content: dict[str, Any], *, where: Path | str) -> Model:
    """Check `content` against `model`; all problems are told at once."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        lines = [_explain(model, problem) for problem in error.errors()]
        raise RecipeError(
            f"{len(lines)} problem{'s' if len(lines) != 1 else ''}:\n  - " + "\n  - ".join(lines), where=where
        ) from error


def _explain(model: type[BaseModel], problem: Any) -> str:
    path = [str(part) for part in problem["loc"]]
    name = ".".join(path)
    if problem["type"] != "extra_forbidden":
        return f"{name}: {problem['msg']} (found {_SHOWN.repr(problem['input'])})"
    known = _keys_beside(model, path)
    nearest = difflib.get_close_matches(path[-1], known, n=1, cutoff=0.5)
    hint = f"did you mean {nearest[0]}?" if nearest else f"known here: {', '.join(known)}"
    return f"{name}: unknown key; {hint}"


def _keys_beside(model: type[BaseModel], path: list[str]) -> list[str]:
    for part in path[:-1]:
        kind = model.model_fields[part].annotation
        model = next(one for one in (kind, *get_args(kind)) if hasattr(one, "model_fields"))  # also of `Model | None`
    return list(model.model_fields)


def recipe_toml(recipe: Recipe | SegmenterRecipe) -> str:
    """The resolved recipe as TOML text that `read_recipe` or `read_segmenter_recipe` reads back."""
    lines: list[str] = []
    for key, value in recipe.model_dump().items():
        if not isinstance(value, dict):
            lines.append(f"{key} = {_toml_value(value)}")
    for key, value in recipe.model_dump().items():
        if isinstance(value, dict):
            lines += ["", f"[{key}]", *(f"{name} = {_toml_value(item)}" for name, item in value.items())]
    return "\n".join(lines) + "\n"


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # else JSON's strings are TOML's
    return repr(value)
