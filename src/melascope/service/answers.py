"""What does the service answer, field by field: the contract of version 1, from which its OpenAPI is made?"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from melascope.classes import CLASSES, RESEARCH_ONLY
from melascope.config import Strict
from melascope.stages.answering import Answerer, Classified, ImageAnswer

NOTICE = Field(RESEARCH_ONLY, description="Show it beside every result.")
SIX_DIGITS = "{:.6g}"


class ModelName(Strict):
    """Which very model, threshold and test of likeness answered."""

    run: str
    source: str = Field(description="What the model learned from; `phantom` means synthetic pictures.")
    engine: str = Field(description="`model.onnx` or `torch`.")
    checkpoint_sha256: str
    operating_point_sha256: str
    likeness_sha256: str


class ImageSize(Strict):
    """Of the picture, upright, in pixels."""

    width: int
    height: int


class LikenessAnswer(Strict):
    """Whether the picture is like those that the model learned from; if not, it is not classified."""

    is_alike: bool
    strangeness: float = Field(description="Distance from the training pictures; above `limit` a picture is unlike.")
    limit: float
    stranger_share: float = Field(description="Share of validation images that lie as far or further.")


class ClassifiedAnswer(Strict):
    """What the model says."""

    target: list[str] = Field(description="Classes whose probabilities make up `p_target`.")
    p_target: float = Field(description="Calibrated.")
    threshold: float = Field(description="The run's frozen operating point.")
    called: bool = Field(description="Whether `p_target` reaches the threshold.")
    predicted_class: str
    probabilities: dict[str, float] = Field(description="Of all seven classes, calibrated.")


class PredictAnswer(Strict):
    """The answer to one picture; `classified` is null where the picture is unlike those of training."""

    schema_version: int = 1
    notice: str = NOTICE
    model: ModelName
    image: ImageSize
    likeness: LikenessAnswer
    classified: ClassifiedAnswer | None


class MapsAnswer(Strict):
    """Maps of all seven classes, raw and signed; `scale` is the one top of their colours."""

    method: str
    layer: str
    unit: str
    sanity: str = Field(description="What the sanity gate said of maps like these.")
    scale: float = Field(description="Largest positive value of the seven maps; 0 where there is none.")
    contrasted_class: str = Field(description="Beside which melanoma is looked at: the first answer that is another.")
    cells: dict[str, Any] = Field(description="Where the middle of each cell lies on the picture, in even cells.")
    values: dict[str, list[list[float]]] = Field(description="Rows of cells of each class, top to bottom.")


class ExplainAnswer(PredictAnswer):
    """The answer to one picture and its maps; both are null where the picture is unlike those of training."""

    maps: MapsAnswer | None


class Health(Strict):
    """The process answers."""

    status: str = "alive"


class Readiness(Strict):
    """The model is loaded, and its thread works."""

    status: str = "ready"


def predict_answer(answerer: Answerer, model: ModelName, found: ImageAnswer) -> PredictAnswer:
    return PredictAnswer(**_fields(answerer, model, found))


def explain_answer(answerer: Answerer, model: ModelName, found: ImageAnswer) -> ExplainAnswer:
    maps = None if found.classified is None else _maps(answerer, found.classified)
    return ExplainAnswer(**_fields(answerer, model, found), maps=maps)


def model_name(answerer: Answerer) -> ModelName:
    """Worked out once: the digests go over megabytes."""
    return ModelName(
        run=answerer.run.name,
        source=answerer.source,
        engine=answerer.looker.engine,
        checkpoint_sha256=answerer.looker.card.weights_sha256,
        operating_point_sha256=answerer.point.sha256,
        likeness_sha256=answerer.store.sha256,
    )


def likeness_answer(found: ImageAnswer) -> LikenessAnswer:
    return LikenessAnswer(
        is_alike=found.is_alike,
        strangeness=found.strangeness,
        limit=found.limit,
        stranger_share=found.stranger_share,
    )


def _fields(answerer: Answerer, model: ModelName, found: ImageAnswer) -> dict[str, Any]:
    return {
        "model": model,
        "image": ImageSize(width=found.width, height=found.height),
        "likeness": likeness_answer(found),
        "classified": None if found.classified is None else _classified(answerer, found.classified),
    }


def _classified(answerer: Answerer, found: Classified) -> ClassifiedAnswer:
    return ClassifiedAnswer(
        target=list(answerer.point.target),
        p_target=found.p_target,
        threshold=answerer.point.threshold,
        called=found.called,
        predicted_class=found.predicted_class,
        probabilities={name: float(value) for name, value in zip(CLASSES, found.probabilities, strict=True)},
    )


def _maps(answerer: Answerer, found: Classified) -> MapsAnswer:
    looker = answerer.looker
    return MapsAnswer(
        method=looker.method,
        layer=looker.layer,
        unit=looker.unit,
        sanity=answerer.sanity.words,
        scale=found.scale,
        contrasted_class=found.contrasted_class,
        cells=looker.places.as_json(),
        values={
            name: [[float(SIX_DIGITS.format(cell)) for cell in row] for row in values]
            for name, values in zip(CLASSES, found.maps, strict=True)
        },
    )
