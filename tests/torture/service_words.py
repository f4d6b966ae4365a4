"""Does anything of what clients write (hidden in pictures, as names, against the description) do what it must not?

Canaries in pictures must turn up nowhere, hostile names must open no file, and answers must be those described.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin

from served_page import Served

CANARY = "CANARY"
GPS_IFD, EXIF_IFD = 0x8825, 0x8769


def canary(number: int) -> str:
    """A word that stands nowhere else."""
    return f"{CANARY}{number:05d}x"


def with_canaries(rgb: np.ndarray, number: int) -> bytes:
    """A picture file with `canary(number)` in everything that a picture can carry beside its pixels."""
    word, stream = canary(number), io.BytesIO()
    exif = Image.Exif()
    exif[0x010E], exif[0x013B], exif[0x8298] = word, word, word  # description, artist, copyright
    exif.get_ifd(EXIF_IFD)[0x9286] = b"ASCII\0\0\0" + word.encode()  # user comment
    exif.get_ifd(GPS_IFD).update({1: "N", 2: (48.0, 12.0, 34.5), 3: "E", 4: (16.0, 21.0, 50.25), 27: word.encode()})
    xmp = f"<x:xmpmeta xmlns:x='adobe:ns:meta/'><dc:creator>{word}</dc:creator></x:xmpmeta>".encode()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + word.encode()
    picture, form = Image.fromarray(rgb), ("JPEG", "PNG", "WEBP")[number % 3]
    common = {"exif": exif.tobytes(), "icc_profile": profile}
    if form == "JPEG":
        picture.save(stream, form, comment=word.encode(), xmp=xmp, **common)
    elif form == "PNG":
        words = PngImagePlugin.PngInfo()
        words.add_text("Comment", word)
        words.add_text("Author", word, zip=True)
        words.add_itxt("XML:com.adobe.xmp", xmp.decode())
        picture.save(stream, form, pnginfo=words, **common)
    else:
        picture.save(stream, form, xmp=xmp, **common)
    data = stream.getvalue() + (word.encode() if number % 2 else b"")  # also behind the end of the picture
    assert word.encode() in data, "the canary is not in the file"
    return data


def privacy(served: Served, drawn: Sequence[np.ndarray], places: Sequence[Path], *, n: int) -> list[str]:
    """Send `n` pictures with canaries to every question, whole and cut; where does one turn up?

    Parameters
    ----------
    places : files and folders that the service could write to: its log, its temporary folder, its run
    """
    found, answers = [], 0
    for number in range(n):
        word, data = canary(number), with_canaries(drawn[number % len(drawn)], number)
        asked = [
            (path, body)
            for path in ("/v1/predict", "/v1/explain", "/v1/explain?format=png", "/v1/explain?format=jpeg&class=nv")
            for body in (data, data[: len(data) * 2 // 3], word.encode())
        ]
        for path, body in [*asked, (f"/v1/predict?name={word}", data), (f"/v1/{word}", data)]:
            named = {"Content_Disposition": f'attachment; filename="{word}.jpg"', "User_Agent": word}
            reply = served.ask("POST", path, body, **named)
            answers += 1
            if CANARY.encode() in reply.body or CANARY in str(reply.headers):
                found.append(f"{path}: answer {reply.status} holds {word}")
            if reply.status >= 500:
                found.append(f"{path}: answer {reply.status}")
    return found + [f"{path} holds a canary" for path in _files(places) if CANARY.encode() in path.read_bytes()]


def _files(places: Sequence[Path]) -> Iterator[Path]:
    for place in places:
        yield from (path for path in ([place] if place.is_file() else place.rglob("*")) if path.is_file())


_HOSTILE = (
    *("../../../../etc/passwd", "..\\..\\windows\\win.ini", "/etc/passwd", "//etc/passwd", "C:\\boot.ini"),
    *("~/.ssh/id_rsa", "file:///etc/passwd", "\0", "a\0.jpg", "run.json", "../run.json", "checkpoints/best.json"),
    *(".", "..", "", "%00", "%2e%2e%2fetc%2fpasswd", "..%c0%af..%c0%afetc/passwd", "....//....//etc/passwd"),
    *("CON", "nul.jpg", "a" * 3000, "/proc/self/environ", "/dev/zero", "|id", "$(id)", "`id`", "; rm -rf /"),
    *("\u202egpj.exe", "\uff41\uff0f\uff0e\uff0e\uff0fetc/passwd"),
)


def hostile_names(n: int) -> list[str]:
    """`n` names that want out of a folder, deeper and deeper."""
    return [("../" * (turn // len(_HOSTILE))) + _HOSTILE[turn % len(_HOSTILE)] for turn in range(n)]


@contextmanager
def opened_files() -> Iterator[list[str]]:
    """The files that this process opens, lists, links, renames or removes meanwhile, in any thread."""
    seen: list[str] = []
    _WATCHERS.append(seen)
    if not _HOOKED:
        _HOOKED.append(True)
        sys.addaudithook(_note)  # stays for good; it only looks while somebody watches
    try:
        yield seen
    finally:
        _WATCHERS.remove(seen)


_WATCHERS: list[list[str]] = []
_HOOKED: list[bool] = []
_EVENTS = (
    "open",
    "os.listdir",
    "os.scandir",
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.link",
    "os.symlink",
    "os.rmdir",
)


def _note(event: str, arguments: tuple) -> None:
    if _WATCHERS and event in _EVENTS and arguments and isinstance(arguments[0], (str, bytes)):
        for seen in _WATCHERS:
            seen.append(f"{event} {arguments[0]!r} in {threading.current_thread().name}")


def hostile_paths(served: Served, picture: bytes, *, n: int) -> list[str]:
    """Send hostile names wherever a name can stand, to a service in this process; which files are opened for it?"""
    found = []
    for path in ("/v1/predict", "/v1/explain?format=png"):  # what is loaded once is loaded now
        served.ask("POST", path, picture)
    with opened_files() as seen:
        for name in hostile_names(n):
            for ask in _ways(served, picture, name):
                status, body = ask()
                if status not in (200, 400, 404, 405, 422):
                    found.append(f"{name!r}: {status}")
                if b"root:" in body or (b"schema_version" in body and status == 404):
                    found.append(f"{name!r}: the answer holds a file")
    return found + sorted(set(seen))


def _ways(served: Served, picture: bytes, name: str) -> Iterator[Callable[[], tuple[int, bytes]]]:
    """The places at which a name can stand in a request."""
    quoted, header = quote(name, safe=""), name.encode("ascii", "ignore").decode().replace("\0", "")

    def asked(method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        reply = served.ask(method, path, body, **headers)
        return reply.status, reply.body

    yield lambda: asked("GET", f"/{quoted}")
    yield lambda: asked("GET", f"/v1/{quoted}")
    yield lambda: asked("POST", f"/v1/predict/{quoted}", picture)
    yield lambda: asked("POST", f"/v1/predict?name={quoted}&path={quoted}&image_id={quoted}", picture)
    yield lambda: asked("POST", f"/v1/explain?format=png&class={quoted}", picture)
    yield lambda: asked("POST", "/v1/predict", picture, Content_Disposition=f'form-data; filename="{header}"')
    yield lambda: asked("POST", "/v1/predict", picture, X_File_Name=header, X_Request_Id=header)


def against_openapi(port: int, *, examples: int, key: str = "", seed: int = 1) -> tuple[int, str]:
    """Run schemathesis, all checks, on the service's own description; exit code and what it said."""
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"http://127.0.0.1:{port}/v1/openapi.json"]
    command += ["--checks", "all", "--max-examples", str(examples), "--seed", str(seed), "--no-color"]
    command += ["--header", f"Authorization: Bearer {key}"] if key else []
    here = Path(__file__).parents[1]
    hooks = {"SCHEMATHESIS_HOOKS": "torture.schemathesis_pictures", "PYTHONPATH": str(here)}
    done = subprocess.run(
        command, cwd=os.environ.get("TMPDIR", "/tmp"), env={**os.environ, **hooks}, capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr
