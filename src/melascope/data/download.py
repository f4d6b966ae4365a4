"""How do HAM10000's published files come here: by id, resumed where a line broke, and byte for byte as published?"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pooch
import requests

from melascope.errors import DownloadError, OutputError
from melascope.files import make_folder

DOI = "https://doi.org/10.7910/DVN/DBW86T"
BASE_URL = "https://dataverse.harvard.edu/api/access/datafile"
CHUNK_BYTES = 2**14  # what a broken line may cost
ATTEMPTS = 5
"""Tries in a row without a single new byte, before a download is given up."""
TIMEOUT_S = (10, 60)  # to connect, and to wait for the next bytes

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ReleaseFile:
    """A file of the release as Harvard Dataverse publishes it.

    Parameters
    ----------
    name : under which it is kept
    file_id : id of the Dataverse's data access API, with its query if it needs one
    size : bytes
    md5 : as shown on the release's page
    """

    name: str
    file_id: str
    size: int
    md5: str


HAM10000_FILES: tuple[ReleaseFile, ...] = (
    # `format=original`: the Dataverse else sends its own tab-separated form, which has no published hash
    ReleaseFile(
        "HAM10000_metadata.csv", "4338392?format=original", 690_218, "8f85fb1aa29d80a2797247e434deb79d"
    ),
    ReleaseFile(
        "HAM10000_segmentations_lesion_tschandl.zip", "3838943", 10_808_743, "6e8d252e09cfdb0189199f15985a5b84"
    ),
    ReleaseFile("HAM10000_images_part_1.zip", "3172585", 1_366_522_108, "4639bfa73ab251610530a97c898e6e46"),
    ReleaseFile("HAM10000_images_part_2.zip", "3172584", 1_403_566_547, "da43d6cc50f6613013be07e8986b384b"),
)  # fmt: skip
"""Version 4.0 (doi:10.7910/DVN/DBW86T; CC BY-NC 4.0). Ids, sizes and hashes agree in several independent public
projects that downloaded the release and compared it with its page; docs/formats.md says which figures were seen."""


def fetch_ham10000(
    folder: Path,
    *,
    base_url: str = BASE_URL,
    only: Iterable[str] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Download the release (2.8 GB), smallest files first; what is here already is only checked.

    A broken download goes on where it stopped, in this call or in the next one. Nothing stands under its final name
    before its hash is right, and nothing of that name that is different is overwritten.

    Parameters
    ----------
    folder : where the files go; made if need be
    base_url : of the data access API
    only : names of `HAM10000_FILES`; None for all
    progress : called with (bytes here, bytes in all)

    Returns
    -------
    folder : as given, with all files in it

    Raises
    ------
    DownloadError : no network, or other bytes than were published; says what to do by hand.
    OutputError : the folder cannot be written, or has not enough room.
    """
    files = _chosen(only)
    folder = make_folder(Path(folder))
    _check_room(folder, files)
    total, before = sum(file.size for file in files), 0
    for file in files:
        _fetch(file, folder, base_url, files, _Counter(progress, before, total))
        before += file.size
    return folder


@dataclass(frozen=True)
class _Counter:
    """Tells the caller how many bytes of all files are here, given those of one file."""

    progress: Progress | None
    before: int
    total: int

    def __call__(self, here: int) -> None:
        if self.progress is not None:
            self.progress(self.before + here, self.total)


def _chosen(only: Iterable[str] | None) -> list[ReleaseFile]:
    names = [file.name for file in HAM10000_FILES]
    asked = names if only is None else list(only)
    unknown = [name for name in asked if name not in names]
    if unknown:
        raise DownloadError(f"The release has no file {', '.join(unknown)}.", expected=", ".join(names))
    return [file for file in HAM10000_FILES if file.name in asked]


def _check_room(folder: Path, files: list[ReleaseFile]) -> None:
    here = sum(
        path.stat().st_size for file in files for path in (folder / file.name, _part(folder, file)) if path.exists()
    )
    needed, free = sum(file.size for file in files) - here, shutil.disk_usage(folder).free
    if needed > free:
        raise OutputError(
            f"The disk has {free / 2**30:.1f} GiB free; the download needs {needed / 2**30:.1f} GiB more.",
            where=folder,
            fix="free some space, or choose a folder on another disk",
        )


def _part(folder: Path, file: ReleaseFile) -> Path:
    return folder / f"{file.name}.part"


def _fetch(file: ReleaseFile, folder: Path, base_url: str, files: list[ReleaseFile], count: _Counter) -> None:
    path = folder / file.name
    if path.exists():
        if path.stat().st_size != file.size or pooch.file_hash(str(path), alg="md5") != file.md5:
            raise DownloadError(
                "A file of this name is here already, but it is not the published one.",
                where=path,
                expected=f"{file.size:,} bytes with MD5 {file.md5}",
                fix="move it away, then run the same command again",
            )
        count(file.size)
        return
    pooch.get_logger().setLevel(logging.WARNING)  # our caller shows the progress
    try:
        pooch.retrieve(
            f"{base_url}/{file.file_id}", f"md5:{file.md5}", file.name, folder,
            downloader=_Resuming(file, _part(folder, file), count),
        )  # fmt: skip
    except requests.RequestException as error:
        raise DownloadError(
            f"{file.name} could not be downloaded ({_reason(error)}).",
            where=f"{base_url}/{file.file_id}",
            fix=by_hand(folder, files),
        ) from error
    except ValueError as error:  # pooch's word for another hash; it has removed the file
        raise _not_as_published(file, folder, files, "its MD5 differs") from error
    except OSError as error:
        raise OutputError(
            f"{file.name} could not be written ({error.strerror or error}).",
            where=folder,
            fix="free some space or choose another folder, then run the same command again",
        ) from error


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.HTTPError):
        return f"the server says {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return "the server does not answer"
    return "there is no connection, or it broke again and again"


def _not_as_published(file: ReleaseFile, folder: Path, files: list[ReleaseFile], why: str) -> DownloadError:
    return DownloadError(
        f"What the server sent is not the published {file.name}: {why}.",
        where=folder,
        expected=f"{file.size:,} bytes with MD5 {file.md5}",
        fix="run the same command again; if it stays so, " + by_hand(folder, files),
    )


def by_hand(folder: Path, files: Iterable[ReleaseFile] = HAM10000_FILES) -> str:
    """What a person does where there is no network: which files, from where, to where, and what next."""
    missing = [file for file in files if not (folder / file.name).exists()]
    lines = [f"on a computer with a network, open {DOI} and download"]
    lines += [f"          {file.name}  ({file.size / 1e6:,.0f} MB, {BASE_URL}/{file.file_id})" for file in missing]
    lines += [f"        put them into {folder} as they are, zipped", f"        then: melascope data validate {folder}"]
    return "\n".join(lines)


@dataclass(frozen=True)
class _Resuming:
    """A downloader for pooch that goes on with the `.part` file of an earlier, broken download."""

    file: ReleaseFile
    part: Path
    count: _Counter

    def __call__(self, url: str, output_file: str, _pooch: None) -> None:
        attempts, here = 0, self._here()
        while here < self.file.size:
            try:
                self._go_on(url, here)
            except requests.RequestException as error:
                gained = self._here() > here
                attempts = 0 if gained else attempts + 1
                if attempts >= ATTEMPTS or not _passing(error):
                    raise
                time.sleep(min(0.5 * 2**attempts, 30))
            here = self._here()
        os.replace(self.part, output_file)

    def _here(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _go_on(self, url: str, here: int) -> None:
        """Append what the server sends from byte `here` on; begin anew if it cannot send a part."""
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={here}-"} if here else {})
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
            response.raise_for_status()
            resumed = response.status_code == 206 and response.headers.get("Content-Range", "").startswith(
                f"bytes {here}-"
            )
            here = here if resumed else 0
            length = response.headers.get("Content-Length")
            if length is not None and here + int(length) != self.file.size:
                raise self._wrong_size(f"it has {here + int(length):,} bytes")
            with open(self.part, "ab" if resumed else "wb") as stream:
                for chunk in response.iter_content(CHUNK_BYTES):
                    here += len(chunk)
                    if here > self.file.size:
                        raise self._wrong_size("it has more bytes")
                    stream.write(chunk)
                    self.count(here)
        if here < self.file.size:
            raise requests.ConnectionError("the answer ended early")

    def _wrong_size(self, why: str) -> DownloadError:
        self.part.unlink(missing_ok=True)
        return _not_as_published(self.file, self.part.parent, [self.file], why)


def _passing(error: requests.RequestException) -> bool:
    """True where trying again may help: a broken line, a busy server; not a "no" of the server's."""
    if isinstance(error, requests.HTTPError):
        return error.response.status_code in (429, 500, 502, 503, 504)
    return isinstance(error, (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError))
