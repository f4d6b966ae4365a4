"""How does the service answer: which address gives what, and what becomes of a picture that comes in?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Scope

from melascope.classes import CLASSES, RESEARCH_ONLY
from melascope.data.decode import decode_image
from melascope.data.headers import HeaderError
from melascope.data.pixels import resize_image
from melascope.errors import ImageError
from melascope.explain.overlay import encode_overlay
from melascope.service import openapi
from melascope.service.answers import (
    ExplainAnswer,
    Health,
    ModelName,
    PredictAnswer,
    Readiness,
    explain_answer,
    model_name,
    predict_answer,
)
from melascope.service.batching import Batcher, step_back
from melascope.service.card import ModelCard, card_of
from melascope.service.gate import Entry, Gate
from melascope.service.limits import Limits
from melascope.service.metrics import TEXT, Metrics
from melascope.service.refusals import Refusal, busy
from melascope.service.uploads import Places, body_of
from melascope.stages.answering import Answerer, ImageAnswer, Prepared

LONGEST_SIDE = 1600
"""Of a picture that a map is laid over; a larger one is shown reduced."""

PICTURE_PATHS = frozenset({"/v1/predict", "/v1/explain"})
NAME = "the picture"  # what an error calls it: names that clients give are not even read
TAKEN = "Save it as JPEG or PNG, without transparency, and send it again."
Tell = Callable[[ImageAnswer, np.ndarray], Response]


@dataclass(frozen=True)
class Service:
    """A run that answers many clients at once."""

    answerer: Answerer
    model: ModelName
    limits: Limits
    metrics: Metrics
    places: Places
    batcher: Batcher
    threads: ThreadPoolExecutor

    @classmethod
    def of(cls, answerer: Answerer, limits: Limits, metrics: Metrics) -> Service:
        threads = ThreadPoolExecutor(limits.decoders, thread_name_prefix="pictures", initializer=step_back)
        batcher = Batcher(answerer.looker.look, limits, metrics)
        return cls(answerer, model_name(answerer), limits, metrics, Places(limits, metrics), batcher, threads)

    def stop(self) -> None:
        """End the threads."""
        self.batcher.stop()
        self.threads.shutdown(cancel_futures=True)

    def early(self, scope: Scope) -> Refusal | None:
        """Why a picture need not be sent at all: there is no place for it."""
        if scope["method"] != "POST" or scope["path"] not in PICTURE_PATHS:
            return None
        return self.places.refusal_if_full(self.batcher.seconds_a_picture)

    async def answered(self, request: Request, tell: Tell) -> Response:
        """Take the picture in, wait for its turn, and tell what was found; all within the deadline.

        Raises
        ------
        Refusal : there is no result.
        """
        with self.places.account() as account:
            data = await body_of(request, account)
            with self.places.place(self.batcher.seconds_a_picture):
                try:
                    async with asyncio.timeout(self.limits.deadline_s):
                        return await self._worked_on(data, tell)
                except TimeoutError:
                    seconds = max(1, round(self.places.taken * self.batcher.seconds_a_picture))
                    late = f"There was no answer within {self.limits.deadline_s:g} s."
                    raise busy("deadline_passed", late, seconds) from None

    async def _worked_on(self, data: bytes, tell: Tell) -> Response:
        picture, shown = await self._in_thread(self._decoded, data)
        seen, row = await self.batcher.ask(picture.pixels) if picture.is_alike else (None, 0)
        found = self.answerer.told(picture, seen, row, neighbours=0)
        if not found.is_alike:
            self.metrics.unlike.inc()
        return await self._in_thread(tell, found, shown)

    async def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.threads, work, *arguments)

    def _decoded(self, data: bytes) -> tuple[Prepared, np.ndarray]:
        """What the network needs, and the picture as it is shown, reduced where it is large."""
        try:
            rgb = decode_image(data, name=NAME)
        except ImageError as error:  # 415: of no kind that is read; 422: of such a kind, but not to be used
            unread = isinstance(error.__cause__, HeaderError) or not data
            raise Refusal("no_picture" if unread else "unusable_picture", error.found, TAKEN) from None
        except MemoryError:
            raise busy("too_many_bytes", "There is no memory for a picture of this size now.", 1) from None
        return self.answerer.prepared(rgb), _reduced(rgb)

    def overlay(self, found: ImageAnswer, shown: np.ndarray, name: str, form: str) -> Response:
        """A class's map over the picture, on the one scale of all seven."""
        if found.classified is None:
            raise Refusal("unlike", *openapi.EXAMPLES["unlike"])
        seen = found.classified
        drawn = encode_overlay(
            shown, seen.maps[CLASSES.index(name)], scale=seen.scale, places=self.answerer.looker.places, form=form
        )
        headers = {
            "x-melascope-notice": RESEARCH_ONLY,
            "x-melascope-class": name,
            "x-melascope-map-sanity": self.answerer.sanity.in_a_word,
            "x-melascope-scale": f"{seen.scale:.6g}",
            "x-melascope-p-target": f"{seen.p_target:.6g}",
            "x-melascope-called": str(seen.called).lower(),
            "x-melascope-predicted-class": seen.predicted_class,
        }
        return Response(drawn, media_type=f"image/{form.lower()}", headers=headers)


def _reduced(rgb: np.ndarray) -> np.ndarray:
    height, width = rgb.shape[:2]
    share = LONGEST_SIDE / max(width, height)
    return rgb if share >= 1 else resize_image(rgb, max(1, round(share * width)), max(1, round(share * height)))


def create_service(answerer: Answerer, limits: Limits, metrics: Metrics, entry: Entry) -> ASGIApp:
    """The whole service as an ASGI application."""
    service, keyed = Service.of(answerer, limits, metrics), bool(entry.keys)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.stop()

    server = FastAPI(
        title=openapi.TITLE,
        version=openapi.VERSION,
        description=openapi.DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        redirect_slashes=False,
        lifespan=lifespan,
    )
    _add_questions(server, service, keyed)
    _add_states(server, service, keyed)
    _add_refusals(server, metrics)
    if keyed:
        _tell_of_keys(server)
    routes = {getattr(route, "path", "") for route in server.routes}
    gate = Gate(server, entry=entry, metrics=metrics, routes=routes, early=service.early)
    if not entry.origins:
        return gate
    return CORSMiddleware(
        gate,
        allow_origins=list(entry.origins),
        allow_methods=["GET", "POST"],
        allow_headers=["authorization", "content-type", "x-api-key"],
        expose_headers=["retry-after", "x-melascope-*"],
    )


def _add_questions(server: FastAPI, service: Service, keyed: bool) -> None:
    """What is asked with a picture."""
    told = openapi.refusals(*openapi.OF_PICTURES, keyed=keyed)
    told_of_maps = openapi.refusals(*openapi.OF_PICTURES, "unlike", keyed=keyed)
    pictures = {f"image/{kind}": {"schema": {"type": "string", "format": "binary"}} for kind in ("png", "jpeg")}
    maps = openapi.example("explain")
    maps["content"] |= pictures

    @server.post(
        "/v1/predict",
        summary="What does the model say of this picture?",
        response_model=PredictAnswer,
        responses={200: openapi.example("predict"), **told},
        openapi_extra=openapi.PICTURE_BODY,
    )
    async def predict(request: Request) -> Response:
        return await service.answered(
            request, lambda found, _: _json(predict_answer(service.answerer, service.model, found))
        )

    @server.post(
        "/v1/explain",
        summary="Which parts of this picture spoke for and against each class?",
        response_model=ExplainAnswer,
        responses={200: maps, **told_of_maps},
        openapi_extra=openapi.PICTURE_BODY,
    )
    async def explain(
        request: Request,
        form: Annotated[
            Literal["json", "png", "jpeg"],
            Query(alias="format", description="json: all seven maps as arrays; else one map over the picture."),
        ] = "json",
        name: Annotated[
            Literal[CLASSES], Query(alias="class", description="Whose map is drawn; json holds all.")
        ] = "mel",
    ) -> Response:
        def tell(found: ImageAnswer, shown: np.ndarray) -> Response:
            if form == "json":
                return _json(explain_answer(service.answerer, service.model, found))
            return service.overlay(found, shown, name, form.upper())

        return await service.answered(request, tell)


def _add_states(server: FastAPI, service: Service, keyed: bool) -> None:
    """What is asked without a picture."""
    card = _json(card_of(service.answerer, service.model)).body
    told = openapi.refusals("too_many_lines", keyed=keyed)

    @server.get(
        "/v1/model-card",
        summary="Whose model is this?",
        response_model=ModelCard,
        responses={200: openapi.example("model-card"), **told},
    )
    async def model_card() -> Response:
        return Response(card, media_type="application/json")

    @server.get(
        "/health",
        summary="Does the process answer?",
        response_model=Health,
        responses={200: openapi.example("health"), **openapi.refusals(keyed=False)},
    )
    async def health() -> Response:
        return _json(Health())

    @server.get(
        "/ready",
        summary="May pictures be sent?",
        response_model=Readiness,
        responses={200: openapi.example("ready"), **openapi.refusals("stopping", keyed=False)},
    )
    async def ready() -> Response:
        if not service.batcher.works:
            raise busy("stopping", "The model's thread does not work.", 1)
        return _json(Readiness())

    @server.get(
        "/metrics",
        summary="What was counted? In Prometheus' text format.",
        response_class=Response,
        responses={
            200: {"content": {"text/plain": {"schema": {"type": "string"}, "example": openapi.EXAMPLE_METRICS}}},
            **told,
        },
    )
    async def counted() -> Response:
        return Response(service.metrics.text(), headers={"content-type": TEXT})


def _add_refusals(server: FastAPI, metrics: Metrics) -> None:
    def told(refusal: Refusal) -> Response:
        metrics.refused.labels(refusal.code).inc()
        return refusal.response()

    @server.exception_handler(Refusal)
    async def refused(_: Request, refusal: Refusal) -> Response:
        return told(refusal)

    @server.exception_handler(HTTPException)
    async def of_the_framework(_: Request, error: HTTPException) -> Response:
        code = "method_not_allowed" if error.status_code == 405 else "not_found"
        found = "This address takes another method." if error.status_code == 405 else "There is no such address."
        return told(Refusal(code, found, "See /v1/openapi.json.", error.headers or {}))

    @server.exception_handler(RequestValidationError)
    async def parameters(_: Request, error: RequestValidationError) -> Response:
        names = sorted({str(one["loc"][-1]) for one in error.errors()})
        return told(Refusal("bad_parameter", f"Not understood: {', '.join(names)}.", "See /v1/openapi.json."))

    @server.exception_handler(Exception)
    async def bug(_: Request, __: Exception) -> Response:
        return told(Refusal("bug", *openapi.EXAMPLES["bug"]))


def _tell_of_keys(server: FastAPI) -> None:
    """Let the description say that a key is needed, and how it is sent."""
    made = server.openapi()
    made.setdefault("components", {})["securitySchemes"] = openapi.SCHEMES
    for path, methods in made["paths"].items():
        if path not in ("/health", "/ready"):
            for operation in methods.values():
                operation["security"] = [{name: []} for name in openapi.SCHEMES]


def _json(answer: Any) -> Response:
    return Response(answer.model_dump_json(), media_type="application/json")
