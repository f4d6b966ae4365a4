"""How does the local page answer: which address gives what, and what becomes of a picture that comes in?"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from melascope.app.examples import example_jpeg, examples
from melascope.app.folders import Folder
from melascope.app.guards import Guards, refusal
from melascope.app.outlining import outlined
from melascope.app.pages import page_html, report_of, script, style
from melascope.data.decode import MAX_BYTES, decode_image
from melascope.data.headers import HeaderError
from melascope.errors import ImageError, OutputError
from melascope.explain.overlay import encode_image
from melascope.files import make_folder, sha256_bytes, write_bytes, write_json
from melascope.stages.answering import Answerer

YOURS = "your picture"
TAKEN = "Save it as JPEG or PNG, without transparency, and choose it again."


class TooLarge(Exception):
    """More bytes came than are taken."""


def create_app(
    answerer: Answerer, *, names: Collection[str] = (), keep: Path | None = None, max_bytes: int = MAX_BYTES
) -> FastAPI:
    """The page, its pictures, and `POST /answer`.

    Parameters
    ----------
    names : host names besides localhost and digits
    keep : folder in which each picture and its answer are kept; None keeps nothing
    max_bytes : largest picture file, counted as it comes in
    """
    server = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, title="melascope app")
    if keep is not None:
        make_folder(keep)
    texts = {"/app.js": (script(), "text/javascript"), "/app.css": (style(), "text/css")}

    @server.get("/")
    def page() -> HTMLResponse:
        return HTMLResponse(page_html(answerer, max_bytes=max_bytes, keeps=keep is not None))

    @server.get("/favicon.ico")
    def icon() -> Response:
        return Response(status_code=204)

    @server.get("/app.js")
    @server.get("/app.css")
    def text(request: Request) -> Response:
        content, media_type = texts[request.url.path]
        return Response(content, media_type=media_type)

    @server.get("/examples/{number}.jpg")
    def example(number: int) -> Response:
        return _jpeg(example_jpeg(number) if 0 <= number < len(examples()) else None)

    @server.get("/validation/{row}.jpg")
    def validation(row: int) -> Response:
        return _jpeg(answerer.store.thumbnail(row) or None if 0 <= row < len(answerer.store) else None)

    @server.post("/answer")
    async def answer(request: Request) -> Response:
        try:
            data = await _body(request, max_bytes)
        except TooLarge:
            return _too_large(max_bytes)
        except ClientDisconnect:
            return Response(status_code=400)
        return await run_in_threadpool(_answered, answerer, data, keep)

    gallery, report = Folder(answerer.run.gallery), Folder(report_of(answerer.run).parent)

    @server.get("/gallery/{path:path}")
    def gallery_file(path: str) -> Response:
        return gallery.response(path or "index.html")

    @server.get("/report/{path:path}")
    def report_file(path: str) -> Response:
        return report.response(path or report_of(answerer.run).name)

    @server.exception_handler(HTTPException)
    async def plain(_request: Request, error: HTTPException) -> JSONResponse:
        return refusal(error.status_code, str(error.detail), "Go back to the page: /")

    server.add_middleware(Guards, names=names)
    return server


async def _body(request: Request, max_bytes: int) -> bytes:
    """The picture's bytes, counted as they come: in memory, never in a temporary file as a form's would be."""
    announced = request.headers.get("content-length", "0")
    if not announced.isdigit() or int(announced) > max_bytes:
        raise TooLarge
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > max_bytes:
            raise TooLarge
    return bytes(data)


def _too_large(max_bytes: int) -> JSONResponse:
    answer = refusal(413, f"The file is larger than {max_bytes / 2**20:g} MiB.", "Choose a smaller file.")
    answer.headers["connection"] = "close"
    return answer


def _answered(answerer: Answerer, data: bytes, keep: Path | None) -> JSONResponse:
    try:
        rgb = decode_image(data, name=YOURS)
    except ImageError as error:  # 415: of no kind that is read; 422: of such a kind, but not to be used
        status = 415 if isinstance(error.__cause__, HeaderError) or not data else 422
        return refusal(status, error.found, TAKEN)
    answer = answerer.as_json(answerer.answer(rgb))
    answer["lesion"] = outlined(rgb) if answer["classified"] else None  # of an unlike picture nothing is told
    if keep is not None:
        picture = encode_image(rgb, "PNG")  # pixels alone: no name, no EXIF
        stem = sha256_bytes(picture)[:16]
        try:
            write_bytes(keep / f"{stem}.png", picture)
            write_json(keep / f"{stem}.json", answer)
        except OutputError as error:
            return refusal(507, error.found, error.fix or "Free some space.")
    return JSONResponse(answer)


def _jpeg(data: bytes | None) -> Response:
    if data is None:
        raise HTTPException(404, "There is no such picture.")
    return Response(data, media_type="image/jpeg")
