"""Does any hostile name, wherever a file of somebody's can hold one, lead out of the folder that it belongs to?"""

from __future__ import annotations

import ast
import io
import os
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import numpy as np
from small_release import encoded, picture

from melascope.data.archive import list_files, outer_file, read_member
from melascope.data.sources.ham10000 import read_ham10000
from melascope.data.sources.image_folder import Labels, read_image_folder
from melascope.errors import MelascopeError
from melascope.stages.explaining import explain_images
from melascope.stages.reporting import Reporter
from melascope.stages.scoring import load_image
from melascope.tables.lesions import LesionTable
from melascope.tables.runs import RunDirectory
from run_folder import objects, write_run
from torture.service_words import hostile_names, opened_files

SECRET = "secret.png"
REPOSITORY = Path(__file__).parents[2]
OUR_OWN = tuple(str(Path(place).resolve()) for place in (sys.prefix, sys.base_prefix, REPOSITORY / "src"))
MACHINE = ("/proc/", "/sys/", "/dev/", "/usr/share", "/usr/lib", "/lib", str(Path.home() / ".cache"))


def names(n: int) -> list[str]:
    """`n` names that want out, some to a picture that lies just outside."""
    nearer = [f"{'../' * up}{SECRET}" for up in range(1, 6)] + ["link.png", "images/link.png", f"images/../../{SECRET}"]
    return [*nearer, *hostile_names(n)][:n]


def laid_out(folder: Path) -> Path:
    """A data set in `folder/a/root`, a picture outside of it, and a link from one to the other."""
    root = folder / "a/root"
    (root / "images").mkdir(parents=True)
    for place in (folder / SECRET, folder / "a" / SECRET, root / "images/good.png"):
        place.write_bytes(encoded(picture(1)))
    os.symlink("../../" + SECRET, root / "images/link.png")
    return root


def table(root: Path, ids: list[str], paths: list[str]) -> LesionTable:
    n = len(ids)
    text = {name: objects([""] * n) for name in ("lesion_id", "dx", "dx_type", "sex", "localization", "sha256")}
    zero = np.zeros(n, dtype=np.int64)
    return LesionTable(
        root=root, source="image_folder", image_id=objects(ids), path=objects(paths), mask_path=objects([""] * n),
        age=np.full(n, np.nan), width=zero, height=zero, **text,
    )  # fmt: skip


def metadata(root: Path, found: list[str]) -> int:
    """Hostile ids of images in a release's metadata, one table each; how many were let in."""
    let_in = 0
    for name in found:
        rows = f'lesion_id,image_id,dx\n"{name}","{name}",mel\n'
        (root / "HAM10000_metadata.csv").write_text(rows, errors="replace")
        with suppress(MelascopeError):
            let_in += len(read_ham10000(root))
    (root / "HAM10000_metadata.csv").unlink()
    return let_in


def labels(root: Path, found: list[str]) -> int:
    """Hostile ids in a table of truth."""
    let_in, file = 0, root / "labels.csv"
    for name in found:
        file.write_text(f'image_id,dx\n"{name}",mel\n', errors="replace")
        with suppress(MelascopeError):
            rows = read_image_folder(root / "images", Labels(file))
            for row in np.flatnonzero(rows.dx != ""):  # a link among the images is named, but not read
                load_image(rows, row)
                let_in += 1
    return let_in


def members(root: Path, found: list[str]) -> int:
    """Hostile paths in a dataset table: the image, and where it lies."""
    let_in = 0
    rows = table(root, found, found)
    for row, name in enumerate(found):
        for read in (lambda row=row: load_image(rows, row), lambda name=name: outer_file(root, name)):
            with suppress(MelascopeError):
                read()
                let_in += 1
        with suppress(MelascopeError):
            let_in += len(list_files(root, name)) if name not in ("", ".") else 0
    return let_in


def zips(root: Path, found: list[str]) -> int:
    """Hostile names of an archive's members."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in sorted({name for name in found if name and "\0" not in name and len(name) < 1000}):
            archive.writestr(zipfile.ZipInfo(name), encoded(picture(2)))
    (root / "images.zip").write_bytes(stream.getvalue())
    for name in list_files(root, "images.zip"):
        with suppress(MelascopeError):
            read_member(root, name)  # inside the archive any name is only a name
    (root / "images.zip").unlink()
    return 0


def outputs(root: Path, found: list[str], run: RunDirectory) -> int:
    """Hostile ids of images that are explained: how many pictures lie elsewhere than in the folder asked for."""
    ids = list(dict.fromkeys(found))
    out = root / "maps"
    explain_images(run, table(root, ids, ["images/good.png"] * len(ids)), out, Reporter())
    drawn = list(out.glob("*_maps.*"))
    return len(ids) - len(drawn)


def galleries(root: Path, found: list[str]) -> int:
    """Hostile ids in a gallery and a run."""
    from run_folder import hostile

    write_run(
        root / "gallery run", gallery=True, change=lambda rows: hostile(rows, [n.replace("\0", "0") for n in found])
    )
    return 0


def pages(root: Path, found: list[str], run: RunDirectory) -> int:
    """Hostile addresses of the local page: how many get something."""
    from melascope.stages.answering import Answerer
    from served_page import serving

    (run.gallery).mkdir(exist_ok=True)
    (run.gallery / "index.html").write_text("<title>g</title>")
    os.symlink(root.parent / SECRET, run.gallery / "link.png")
    got = 0
    with serving(Answerer.open(run, Reporter())) as served:
        for name in found:
            for place in ("gallery", "report", "examples", "validation"):
                for address in (quote(name, safe=""), quote(name)):
                    reply = served.ask("GET", f"/{place}/{address}")
                    served_it = reply.status == 200 and reply.body != b"<title>g</title>"
                    got += served_it or b"root:" in reply.body or reply.status >= 500
    return got


def ways(run: RunDirectory) -> dict[str, Callable[[Path, list[str]], int]]:
    return {
        "metadata": metadata,
        "labels": labels,
        "paths of a table": members,
        "members of an archive": zips,
        "galleries": galleries,
        "pages": lambda root, found: pages(root, found, run),
        "explained images": lambda root, found: outputs(root, found, run),
    }


def outside(seen: list[str], *folders: Path) -> list[str]:
    """What was opened that is neither in `folders` nor a part of the program or the machine."""
    found = set()
    for line in seen:
        named = line.partition(" ")[2].rpartition(" in ")[0]
        with suppress(ValueError, SyntaxError):
            path = os.path.realpath(os.fsdecode(ast.literal_eval(named)).replace("\0", ""))
            if not path.startswith((*map(str, folders), *OUR_OWN, *MACHINE)):
                found.add(line)
    return sorted(found)


def hostile_paths(folder: Path, n: int, run: RunDirectory) -> tuple[str, list[str]]:
    """Every way with `n` names; what was said, and every file outside that was touched."""
    folder = folder.resolve()
    failures = []
    for way, go in ways(run).items():
        place = folder / way.replace(" ", "_")
        root = laid_out(place)
        secrets = {path: path.stat().st_mtime_ns for path in (place / SECRET, place / "a" / SECRET)}
        with opened_files() as seen:
            let_in = go(root, names(n))
        failures += [f"{way}: {let_in} names got something"] if let_in else []
        inside = (str(root), str(run.root.resolve()))
        failures += [f"{way}: {line}" for line in outside(seen, folder, run.root.resolve())]
        failures += [
            f"{way}: {line}"
            for line in seen
            if SECRET in line and str(root) not in line and not line.startswith("os.symlink")
        ][:3]
        there = {path for path in place.rglob("*") if not str(path).startswith(inside)}
        failures += [f"{way}: left {path}" for path in there - {*secrets, place / "a"}]
        failures += [f"{way}: {path} was changed" for path, then in secrets.items() if path.stat().st_mtime_ns != then]
    return f"{n} names in {len(ways(run))} places", failures
