"""How does a file come to be: whole or not at all, hashed, and named in a manifest written last?"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from melascope.errors import OutputError, RunError

MANIFEST = "manifest.json"
MAX_JSON_BYTES = 64 * 2**20
"""The largest that we write are below 1 MiB, a manifest of 100,000 files is about 15."""


def sha256_bytes(data: bytes) -> str:
    """SHA-256 of `data` as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes as 64 hex digits, read in pieces."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no NaN: the form that is hashed and compared."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def make_folder(path: Path) -> Path:
    """Create a folder (and its parents); raise `OutputError` where that, or writing in it, is not allowed."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".probe.tmp-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(
            f"The output folder cannot be written ({error.strerror}).",
            where=path,
            expected="a folder that you may create and write in",
            fix="choose another folder, or change its permissions",
        ) from error
    return path


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success flush it to disk and rename it, on failure remove it.

    A reader therefore sees the old file or the whole new one, never a half.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}-{threading.get_ident()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if isinstance(error.filename, (str, bytes)) and os.fsdecode(error.filename) not in (
            str(temporary),
            str(path.parent),
        ):
            raise  # an input could not be read: not this function's story
        raise OutputError(
            f"The file could not be written ({error.strerror or error}).",
            where=path,
            expected="a writable folder with room on its disk",
            fix="free some space or choose another output, then run the same command again",
        ) from error
    finally:
        with suppress(OSError):  # the first error is the one to tell
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> Path:
    """Write `data` to `path`, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
    return Path(path)


def write_in_draft(path: Path, data: bytes) -> Path:
    """Write a file of a folder that is not in its place yet: not flushed and not renamed, as the folder will be."""
    try:
        Path(path).write_bytes(data)
    except OSError as error:
        raise OutputError(
            f"The file could not be written ({error.strerror or error}).",
            where=path,
            expected="a writable folder with room on its disk",
            fix="free some space or choose another output, then run the same command again",
        ) from error
    return Path(path)


def write_text(path: Path, text: str) -> Path:
    """Write `text` as UTF-8 with `\\n` line ends, whole or not at all."""
    return write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> Path:
    """Write `value` as readable JSON (no NaN), whole or not at all."""
    return write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def parsed_json(text: str | bytes) -> Any:
    """The value of JSON text from anywhere; a `ValueError` also for a key that stands twice and for endless nesting."""
    try:
        return json.loads(text, object_pairs_hook=_each_key_once)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; of two values under one key nobody knows which is meant, and readers differ."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for place, (key, _) in enumerate(pairs) if key in dict(pairs[:place]))
        raise ValueError(f"the key {twice[:60]!r} stands twice")
    return found


def read_json(path: Path) -> Any:
    """Read a JSON file; a missing, broken or far too large one is a `RunError` that names it."""
    try:
        if os.path.getsize(path) > MAX_JSON_BYTES:
            raise ValueError(f"it is larger than {MAX_JSON_BYTES >> 20} MiB")
        if os.path.exists(path) and not os.path.isfile(path):  # a device gives bytes for ever, a pipe none
            raise ValueError("it is no regular file")
        return parsed_json(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError("A file is missing.", where=path, expected="a JSON file written by melascope") from error
    except (ValueError, OSError) as error:
        raise RunError(f"The file cannot be read as JSON ({error}).", where=path) from error


def write_manifest(folder: Path, **facts: Any) -> Path:
    """List every file under `folder` with size and SHA-256, beside `facts`; written last, so it marks completion."""
    folder = Path(folder)
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
        for place, _, names in os.walk(folder)
        for path in (Path(place, name) for name in names if name != MANIFEST and ".tmp-" not in name)
        if path.is_file()
    }
    return write_json(folder / MANIFEST, {**facts, "files": dict(sorted(files.items()))})


@contextmanager
def atomic_folder(out: Path, kind: str) -> Iterator[Path]:
    """Yield a draft folder beside `out`; on success it takes the place of `out` as a whole, on failure it is removed.

    Parameters
    ----------
    out : absent, empty, or a finished folder of the same kind, which is replaced
    kind : what the folder's manifest says that it is; the block ends with `write_manifest(draft, kind=kind, …)`

    Raises
    ------
    OutputError : the folder holds something else, which is left alone, or cannot be written.
    """
    out = Path(out)
    _refuse_foreign(out, kind)
    make_folder(out.parent)
    draft = out.with_name(f".{out.name}.tmp-{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)  # of a process of this number that was killed
    try:
        yield make_folder(draft)
        _put_in_place(draft, out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _refuse_foreign(out: Path, kind: str) -> None:
    if out.is_dir() and any(out.iterdir()):
        manifest = read_json(out / MANIFEST) if (out / MANIFEST).is_file() else None
        if isinstance(manifest, dict) and manifest.get("kind") == kind:
            return
    elif out.is_dir() or not out.exists():
        return
    raise OutputError(
        f"The output is something that is not a {kind}.",
        where=out,
        expected=f"an empty or absent folder, or a {kind} to replace",
        fix="choose another folder",
    )


def _put_in_place(draft: Path, out: Path) -> None:
    """Rename the finished folder; an older one is moved away first, and back if that fails."""
    old = out.with_name(f".{out.name}.old.tmp-{os.getpid()}")
    try:
        if out.exists():
            os.replace(out, old)
        os.replace(draft, out)
    except OSError as error:
        if old.exists() and not out.exists():
            os.replace(old, out)
        raise OutputError(
            f"The folder could not be put in place ({error.strerror}).", where=out, fix="choose another folder"
        ) from error
    shutil.rmtree(old, ignore_errors=True)
