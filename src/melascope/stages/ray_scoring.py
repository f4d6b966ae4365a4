"""How do the cores of many machines score one source? Each part is a task of a Ray cluster, made as one core would."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

from melascope.data.inputs import Source
from melascope.errors import MelascopeError, OutputError
from melascope.files import atomic_path, make_folder
from melascope.stages.batch_scoring import (
    PART_ROWS,
    Part,
    Scored,
    Share,
    facts_of,
    make_part,
    parts_of,
    write_share,
)
from melascope.stages.engines import Engine, open_engine
from melascope.stages.reporting import Reporter
from melascope.workers import cores

RETRIES = 3
"""How often a part is begun again whose worker or machine died."""

AHEAD = 2
"""Parts handed out for each core: one that is made, one that waits."""

STORE_BYTES = 100 * 2**20
"""Ray's shared memory on a cluster of one machine; all that lies in it are the paths of parts not yet made."""

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent to Ray's makers
    "RAY_AUTH_MODE": "token",  # whoever reaches a cluster without one can run code on it
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else it warns of a change that is none here
}
"""What Ray reads when it is imported, unless the caller has said otherwise."""


@dataclass(frozen=True)
class Job:
    """What a worker is told besides its part; all paths must mean the same on every machine.

    Parameters
    ----------
    folder : relative inputs are meant from here
    model, out : absolute
    token : file in `out` whose content, `word`, tells a worker that it sees the same disk
    """

    folder: str
    model: Path
    source: Source
    out: Path
    token: Path
    word: str
    facts: dict[str, Any]


def score_inputs_on_ray(
    model: Path,
    source: Source,
    out: Path,
    reporter: Reporter,
    *,
    share: Share = Share(),
    part_rows: int = PART_ROWS,
    address: str = "",
) -> Scored:
    """As `batch_scoring.score_inputs`, with the same parts, made by all cores of a Ray cluster.

    Parameters
    ----------
    model : a run or an exported graph; as `source` and `out`, under the same path on every machine
    address : of a running cluster, `HOST:6379` or `auto`; empty starts one on this machine and ends it afterwards

    Raises
    ------
    MelascopeError : Ray is not installed, or no cluster answers.
    OutputError : see `score_inputs`; a worker sees other files than this process, or died again and again.
    """
    engine = open_engine(model, threads=1, reporter=reporter)
    out, facts = make_folder(Path(out).absolute()), facts_of(engine, source, part_rows)
    job = Job(os.getcwd(), Path(model).absolute(), source, out, *_token(out, share), facts)
    result, places = Scored(), set()
    try:
        with ray_cluster(address) as ray, reporter.counter("predicting") as count:
            for done, place in _results(ray, job, parts_of(source, share, part_rows)):
                result += done
                places.add(place)
                count(done.scored + done.refused)
    finally:
        job.token.unlink(missing_ok=True)
    write_share(out, share, facts, result)
    reporter.say(f"workers: {len(places)}, machines: {len({host for host, _ in places})}")
    return result


@contextmanager
def ray_cluster(address: str = "") -> Iterator[ModuleType]:
    """A connection to the cluster at `address`, or to one on this machine that ends with the block.

    A program that is connected already stays so, whatever the address.
    """
    if "ray" not in sys.modules:  # it reads them once; changed later, its processes would not understand one another
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MelascopeError(
            "Ray is not installed.", where="--engine ray", fix="pip install 'melascope[ray]', on every machine"
        ) from error
    if ray.is_initialized():
        yield ray
        return
    here = {"num_cpus": cores(), "object_store_memory": STORE_BYTES, "include_dashboard": False}
    try:
        _knock(address)
        ray.init(address or "local", **({} if address else here), log_to_driver=False, logging_level="ERROR")
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise MelascopeError(
            f"No Ray cluster can be used ({str(error).strip().splitlines()[0][:200]}).",
            where=address or "this machine",
            expected="the address of a running cluster, its token, and the same versions of Python and Ray",
            fix="ray start --head --port=6379, then --address HOST:6379 (docs/scale.md)",
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raise `OSError` at once where nobody answers: Ray itself would go on trying for minutes."""
    host, _, port = address.rpartition(":")
    if port.isdecimal():
        socket.create_connection((host, int(port)), timeout=5).close()


def _token(out: Path, share: Share) -> tuple[Path, str]:
    path, word = out / f".shared-{share.number}-of-{share.of}", uuid4().hex
    with atomic_path(path) as temporary:
        temporary.write_text(word, encoding="ascii")
    return path, word


def _results(ray: ModuleType, job: Job, parts: Iterator[Part]) -> Iterator[tuple[Scored, tuple[str, int]]]:
    """What came of each part, in any order; the source is read no further than the cluster can follow."""
    make = ray.remote(num_cpus=1, max_retries=RETRIES)(_made)
    shared, waiting = ray.put(job), {}
    for part in parts:
        waiting[make.remote(shared, part)] = part.number
        while len(waiting) >= AHEAD * _cluster_cores(ray):
            yield _next(ray, waiting)
    while waiting:
        yield _next(ray, waiting)


def _cluster_cores(ray: ModuleType) -> int:
    """Cores now: machines may join and leave."""
    found = int(ray.cluster_resources().get("CPU", 0))
    if not found:
        raise MelascopeError("The Ray cluster has no core.", fix="ray start --address=HOST:6379 on a machine with some")
    return found


def _next(ray: ModuleType, waiting: dict[Any, int]) -> tuple[Scored, tuple[str, int]]:
    ready, _ = ray.wait(list(waiting), num_returns=1)
    number = waiting.pop(ready[0])
    try:
        return ray.get(ready[0])
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, MelascopeError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        raise OutputError(
            f"Part {number} was given up: its worker died {RETRIES + 1} times ({type(error).__name__}).",
            where="--engine ray",
            fix="start again: finished parts are kept; if it is this part again, score it without ray to see why",
        ) from error


def _made(job: Job, part: Part) -> tuple[Scored, tuple[str, int]]:
    """In a worker: the part, and which worker of which machine made it."""
    _check_disk(job)
    os.chdir(job.folder)
    engine = _engine(job.model)
    here = facts_of(engine, job.source, job.facts["part_rows"])
    if here != job.facts:
        other = [f"{name} {str(here[name])[:40]}" for name in here if here[name] != job.facts[name]]
        raise OutputError(
            f"Another model answers on {socket.gethostname()}: {', '.join(other)}.",
            where=job.model,
            expected=", ".join(f"{name} {str(job.facts[name])[:40]}" for name in here if here[name] != job.facts[name]),
            fix="the same file, and the same version of melascope, on every machine",
        )
    with ThreadPoolExecutor(1) as decoder:
        done = make_part(part, engine, job.out, job.facts, decoder, lambda _: None)
    return done, (socket.gethostname(), os.getpid())


@lru_cache(maxsize=1)
def _engine(model: Path) -> Engine:
    """Opened once in each worker."""
    return open_engine(model, threads=1)


def _check_disk(job: Job) -> None:
    """Where a machine does not see the disk of the others, its parts would be lost and its inputs refused."""
    source = Path(job.folder, job.source.text)
    missing = [path for path in (job.token, Path(job.folder), job.model, source) if not path.exists()]
    if job.source.kind == "glob" and source in missing:
        missing.remove(source)
    if missing or job.token.read_text(encoding="ascii") != job.word:
        raise OutputError(
            f"The machine {socket.gethostname()} does not see the disk that this command writes to.",
            where=missing[0] if missing else job.out,
            expected="model, source and --out under the same path on every machine",
            fix="mount the shared disk there, or take that machine out of the cluster (ray stop)",
        )
