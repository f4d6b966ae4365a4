"""How is the service described to programs: bodies, answers, refusals and examples in OpenAPI?"""

from __future__ import annotations

from typing import Any

from melascope.classes import CLASS_NAMES, RESEARCH_ONLY
from melascope.service.refusals import STATUS, Problem

TITLE, VERSION = "melascope", "1.0.0"
DESCRIPTION = (
    f"{RESEARCH_ONLY} One dermoscopic picture comes in as the body of a request (JPEG, PNG, WebP or BMP, recognised by "
    "its content); what the run's model says of it goes out. A picture that is unlike those of training is not "
    "classified. Nothing is kept."
)
PICTURE_TYPES = ("image/jpeg", "image/png", "image/webp", "image/bmp")
PICTURE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The bytes of one picture; what the header calls them does not matter.",
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in PICTURE_TYPES},
    }
}
SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}

SHARED = ("foreign_page", "unknown_host", "bug")
OF_PICTURES = (
    *("too_slow", "too_large", "no_picture", "unusable_picture", "bad_parameter"),
    *("too_many_lines", "queue_full", "too_many_bytes", "deadline_passed"),
)
EXAMPLES: dict[str, tuple[str, str]] = {
    "no_key": ("The key is missing or wrong.", "Send the header Authorization: Bearer KEY, or X-API-Key: KEY."),
    "foreign_page": (
        "The request comes from a web page of another origin.",
        "Start the service with --cors-origin ORIGIN if that page may ask.",
    ),
    "too_slow": ("The request came too slowly.", "Send it again on a faster line, or a smaller picture."),
    "too_large": ("The picture is larger than 16 MiB.", "Send a smaller file."),
    "no_picture": ("The image is refused: it is empty (0 bytes).", "Send a JPEG, PNG, WebP or BMP file as the body."),
    "unknown_host": (
        "The service does not answer under this name.",
        "Call it by its address in digits, or start it with --name NAME.",
    ),
    "unusable_picture": (
        "The image is refused: it is truncated or damaged (image file is truncated).",
        "Save it as JPEG or PNG, without transparency, and send it again.",
    ),
    "unlike": (
        "The picture is unlike those that the model learned from: there is no map of it to draw.",
        "Send a dermoscopic picture; format=json tells how far it lies from them.",
    ),
    "bad_parameter": ("class: it is none of akiec, bcc, bkl, df, mel, nv, vasc.", "See /v1/openapi.json."),
    "bug": ("The service failed.", "Tell whoever runs it; its log has the reason."),
    "too_many_lines": ("More than 512 connections are open.", "Send it again in a second."),
    "queue_full": ("32 pictures wait already.", "Send it again in 2 seconds."),
    "too_many_bytes": ("Too many pictures are coming in at once.", "Send it again in a second."),
    "deadline_passed": ("There was no answer within 10 s.", "Send it again in 2 seconds."),
    "stopping": ("The model's thread does not work.", "Send it again in a second."),
}
"""An example of each refusal: what was found, and what to do."""


def refusals(*codes: str, keyed: bool) -> dict[int | str, dict[str, Any]]:
    """FastAPI's `responses` for these codes and those that every route has."""
    told: dict[int | str, dict[str, Any]] = {}
    for code in (*codes, *SHARED, *(("no_key",) if keyed else ())):
        error, fix = EXAMPLES[code]
        entry = told.setdefault(STATUS[code], {"model": Problem, "description": "", "content": {}})
        entry["description"] = " or ".join(filter(None, (entry["description"], code.replace("_", " "))))
        examples = entry["content"].setdefault("application/json", {}).setdefault("examples", {})
        examples[code] = {"value": {"code": code, "error": error, "fix": fix}}
    if 503 in told:
        told[503]["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}}
    return told


def example(model: str, **more: Any) -> dict[str, Any]:
    """An answer 200 with its example of `EXAMPLE_ANSWERS`."""
    return {"content": {"application/json": {"example": EXAMPLE_ANSWERS[model]}}, **more}


_MODEL = {
    "run": "20261123_083146__demo-resnet10t-s1",
    "source": "phantom",
    "engine": "model.onnx",
    "checkpoint_sha256": "5a" * 32,
    "operating_point_sha256": "0b" * 32,
    "likeness_sha256": "c7" * 32,
}
_ALIKE = {"is_alike": True, "strangeness": 1.02, "limit": 1.71, "stranger_share": 0.41}
_CLASSIFIED = {
    "target": ["mel"],
    "p_target": 0.62,
    "threshold": 0.27,
    "called": True,
    "predicted_class": "mel",
    "probabilities": {"akiec": 0.02, "bcc": 0.03, "bkl": 0.11, "df": 0.02, "mel": 0.62, "nv": 0.19, "vasc": 0.01},
}
_PREDICT = {
    "schema_version": 1,
    "notice": RESEARCH_ONLY,
    "model": _MODEL,
    "image": {"width": 600, "height": 450},
    "likeness": _ALIKE,
    "classified": _CLASSIFIED,
}
_MAPS = {
    "method": "gradcam",
    "layer": "layer4",
    "unit": "logits",
    "sanity": "The sanity gate was not asked about these maps.",
    "scale": 1.5,
    "contrasted_class": "nv",
    "cells": {"offset_y_x": [-0.5, -0.5], "pitch_y_x": [1.0, 1.0], "source": "middle of the receptive field"},
    "values": {name: [[0.0, 0.1], [-0.2, 0.3]] for name in ("akiec", "bcc", "bkl", "df", "nv", "vasc")}
    | {"mel": [[1.5, 0.4], [-0.1, 0.2]]},
}
_CARD = {
    "schema_version": 1,
    "notice": RESEARCH_ONLY,
    "model": _MODEL,
    "classes": CLASS_NAMES,
    "input": {
        "width": 128,
        "height": 96,
        "resize": "stretch",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    },
    "temperature": 1.14,
    "operating_point": {"target": ["mel"], "threshold": 0.27, "rule": "guaranteed", "target_sensitivity": 0.9},
    "promise": "At least 90 % of new melanoma lesions like those of validation are called, with 95 % confidence.",
    "likeness": {
        "limit": 1.71,
        "kept": 0.96,
        "n_training_images": 960,
        "n_training_lesions": 700,
        "n_target_images": 20,
        "n_target_images_refused": 1,
    },
    "maps": {name: _MAPS[name] for name in ("method", "layer", "unit", "sanity")},
    "card": [{"title": "Intended use", "text": "Research on what a classifier misses."}],
    "not_described": "",
}
EXAMPLE_ANSWERS: dict[str, Any] = {
    "predict": _PREDICT,
    "explain": {**_PREDICT, "maps": _MAPS},
    "model-card": _CARD,
    "health": {"status": "alive"},
    "ready": {"status": "ready"},
}
"""The form of the answers; the numbers are no measurement."""

EXAMPLE_METRICS = 'melascope_requests_total{route="/v1/predict",status="200"} 42.0\nmelascope_places_taken 3.0\n'
