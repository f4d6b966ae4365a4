"""What does the service tell of its model before any picture is sent: the model card of the run's own files?"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from melascope.classes import CLASS_NAMES
from melascope.config import Strict
from melascope.errors import MelascopeError
from melascope.report import model_card
from melascope.report.document import FactList, plain
from melascope.report.run_record import read_run
from melascope.service.answers import NOTICE, ModelName
from melascope.stages.answering import Answerer


class CardPart(Strict):
    """A part of the card after Mitchell et al. 2019, in sentences."""

    title: str
    text: str


class InputCard(Strict):
    """What becomes of a picture before the network sees it: the whole of it is resized to this."""

    width: int
    height: int
    resize: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class LikenessCard(Strict):
    """The test that decides whether a picture is classified at all."""

    limit: float
    kept: float = Field(description="Share of validation images that the limit was chosen to keep.")
    n_training_images: int
    n_training_lesions: int
    n_target_images: int = Field(description="Of the target, in validation.")
    n_target_images_refused: int


class ModelCard(Strict):
    """Whose model this is, what it was trained and judged on, and at which threshold it calls."""

    schema_version: int = 1
    notice: str = NOTICE
    model: ModelName
    classes: dict[str, str] = Field(description="The seven classes in the order of every table, and their names.")
    input: InputCard
    temperature: float = Field(description="Logits are divided by it before they become probabilities.")
    operating_point: dict[str, Any] = Field(description="Chosen on validation images, then frozen.")
    promise: str = Field(description="What validation lets us expect of new lesions like its own.")
    likeness: LikenessCard
    maps: dict[str, str] = Field(description="Of the maps: method, layer, unit, and what the sanity gate said.")
    card: list[CardPart] = Field(description="Empty where the run was not evaluated; `not_described` says why.")
    not_described: str = ""


def card_of(answerer: Answerer, model: ModelName) -> ModelCard:
    """The card; the parts that need an evaluation are left out, with the reason, where there is none."""
    checkpoint, point, store, looker = answerer.looker.card, answerer.point, answerer.store, answerer.looker
    parts, why = _parts(answerer)
    return ModelCard(
        model=model,
        classes=CLASS_NAMES,
        input=InputCard(
            width=checkpoint.input_width,
            height=checkpoint.input_height,
            resize=checkpoint.resize,
            mean=checkpoint.mean,
            std=checkpoint.std,
        ),
        temperature=checkpoint.temperature,
        operating_point=point.as_json(),
        promise=point.promise,
        likeness=LikenessCard(
            limit=store.limit,
            kept=store.kept,
            n_training_images=store.n_train,
            n_training_lesions=store.n_train_lesions,
            n_target_images=store.n_target,
            n_target_images_refused=store.n_target_refused,
        ),
        maps={"method": looker.method, "layer": looker.layer, "unit": looker.unit, "sanity": answerer.sanity.words},
        card=parts,
        not_described=why,
    )


def _parts(answerer: Answerer) -> tuple[list[CardPart], str]:
    try:
        section = model_card.section(read_run(answerer.run.root))
    except MelascopeError as error:
        return [], error.found  # without its path: that is nobody's business
    facts = [fact for block in section.blocks if isinstance(block, FactList) for fact in block.facts]
    return [CardPart(title=title, text=plain(text)) for title, text in facts], ""
