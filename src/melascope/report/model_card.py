"""What must a reader know of the model before using it for anything: its model card (Mitchell et al. 2019)?

Mitchell M, Wu S, Zaldivar A, et al. Model cards for model reporting. FAT* 2019, 220-229.
"""

from __future__ import annotations

from melascope.classes import CLASSES, RESEARCH_ONLY
from melascope.report.document import NOT_DESCRIBED, NOT_MEASURED, Code, FactList, Section, Sentence, Text, told
from melascope.report.published import published
from melascope.report.run_record import RunRecord
from melascope.report.sections.answer import headline, histology_line
from melascope.report.sections.training import first_weights, optimiser
from melascope.report.wording import listed, source_name
from melascope.tables.licences import LICENCES


def section(record: RunRecord) -> Section:
    """The nine parts of a card, each filled from the run."""
    citation = Sentence(("Parts after Mitchell et al. 2019, “Model cards for model reporting”.",), "notice")
    facts = (
        ("Model details", _details(record)),
        ("Intended use", _use(record)),
        ("Factors", _factors(record)),
        ("Metrics", _metrics(record)),
        ("Evaluation data", _evaluation_data(record)),
        ("Training data", _training_data(record)),
        ("Quantitative analyses", (*headline(record), " ", *histology_line(record))),
        ("Ethical considerations", _ethics(record)),
        ("Caveats and recommendations", _caveats(record)),
    )
    return Section("model-card", "Model card", (citation, FactList(facts)))


def _details(record: RunRecord) -> Text:
    recipe, facts = record.recipe, record.facts
    versions = facts.get("versions") if isinstance(facts.get("versions"), dict) else {}
    return told(
        "Run {run}, made by melascope {version} (code {commit}) on {device}. Network {backbone}, first weights: {init};"
        " seven classes ({classes}). {training}. Weights {sha}. Packages: {packages}. "
        "Licence of the weights: {licence}",
        run=Code(record.run.name),
        version=Code(str(facts.get("melascope", "unknown"))),
        commit=Code(str(facts.get("git_commit", "unknown"))),
        device=Code(str(facts.get("device", "unknown"))),
        backbone=Code(recipe.model.backbone if recipe else NOT_DESCRIBED),
        init=first_weights(record),
        classes=", ".join(CLASSES),
        training=optimiser(record).capitalize(),
        sha=Code(record.evaluation.origin.checkpoint_sha256 or "unknown"),
        licence=LICENCES.get(record.source, NOT_DESCRIBED + "."),
        packages=Code(", ".join(f"{name} {version}" for name, version in versions.items()) or "unknown"),
    )


def _use(record: RunRecord) -> Text:
    return told(
        "Research on which {name}s a classifier misses, and why. Not for diagnosis, triage or any decision on a person."
        " " + RESEARCH_ONLY,
        name=record.evaluation.target_name,
    )


def _factors(record: RunRecord) -> Text:
    factors = list(dict.fromkeys(part.factor for part in record.evaluation.subgroups))
    told_of = listed(factors) or "none (the table knows no such fact)"
    return told("Judged by: {factors}. Skin tone, device and operator: " + NOT_MEASURED + ".", factors=Code(told_of))


def _metrics(record: RunRecord) -> Text:
    point = record.point
    return told(
        "Sensitivity and specificity at P({target}) ≥ {threshold}, chosen by the rule {rule} on {n} {name} lesions of "
        "validation for a sensitivity of {asked}. 95 % intervals by lesion, {draws} bootstrap draws.",
        target=record.target,
        threshold=record.traces.number("operating_point.json", "threshold", digits=4),
        rule=Code(point.rule),
        n=record.traces.count("operating_point.json", "n_target_lesions"),
        name=point.target_name,
        asked=record.traces.number("operating_point.json", "target_sensitivity"),
        draws=record.traces.count("evaluation/evaluation.json", "interval", "draws"),
    )


def _evaluation_data(record: RunRecord) -> Text:
    return told(
        "{source}, split {split}: {images} images of {lesions} lesions. Licence of the images: {licence}.",
        source=source_name(record.source),
        split=Code(record.evaluation.split or "all rows"),
        images=record.traces.count("evaluation/evaluation.json", "groups", "all", "n_images"),
        lesions=record.traces.count("evaluation/evaluation.json", "groups", "all", "n_lesions"),
        licence=published(record.source).licence,
    )


def _training_data(record: RunRecord) -> Text:
    if not (record.predictions.split == "train").any():
        return told(NOT_DESCRIBED + ": the predictions hold no training rows")
    return told(
        "{source}, split train: {images} images of {lesions} lesions; none of its lesions is judged.{size}",
        source=source_name(record.source),
        size=_size(record),
        images=record.traces.counted("images", split="train"),
        lesions=record.traces.counted("lesions", split="train"),
    )


def _size(record: RunRecord) -> str:
    """At which size the images came, where the run tells it, and what the network sees of them."""
    given, card = record.facts.get("image_size"), record.card
    if not given or card is None:
        return ""
    return f" Images came at {given[0]}×{given[1]} pixels; the network sees {card.input_width}×{card.input_height}."


def _ethics(record: RunRecord) -> Text:
    return told(
        "A missed melanoma can cost a life, a false alarm an operation: both are counted at the top. Consent and "
        "origin of the images: {reference}. Bias: {bias}.",
        reference=published(record.source).reference,
        bias=published(record.source).bias,
    )


def _caveats(record: RunRecord) -> Text:
    parts: list = []
    for caveat in record.evaluation.caveats:
        parts += [" " if parts else "", caveat]
    return tuple(parts) or told("none")
