"""What does an exported graph say of an image: logits, all seven maps and features, in one pass and without torch?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from melascope.classes import CLASSES
from melascope.errors import ExportError
from melascope.inference.backends import BACKENDS, Loaded, Run
from melascope.tables.cell_places import CellPlaces
from melascope.tables.exports import ExportCard
from melascope.tables.maps import MapStore

LOGITS, FEATURES, MAPS = "logits", "features", "maps"
MAX_BYTES = 2**30
"""Largest graph that is loaded; those of our largest backbones are a third of it."""


@dataclass(frozen=True)
class Answer:
    """What a graph says of a batch.

    Parameters
    ----------
    logits : (n, 7) float32, raw
    features : (n, c) float32, what the last linear layer reads
    maps : (n, 7, h, w) float32, signed; None where the graph makes none
    """

    logits: np.ndarray
    features: np.ndarray
    maps: np.ndarray | None


@dataclass(frozen=True)
class Session:
    """An exported graph, ready to be asked; not by several threads at once."""

    card: ExportCard
    path: Path
    precision: str
    _run: Run

    @classmethod
    def open(cls, path: Path, *, threads: int = 0, precision: str = "") -> Session:
        """Load a graph that `melascope export` wrote.

        Parameters
        ----------
        path : `.onnx` for ONNX Runtime, `.xml` for OpenVINO
        threads : 0 takes every core
        precision : to compute in; empty takes the backend's first, which is float32

        Raises
        ------
        ExportError : no such file, an ending that nobody reads, a damaged file, or a graph that is none of ours.
        """
        path = Path(path)
        name = next((name for name, backend in BACKENDS.items() if path.suffix in backend.endings), None)
        endings = ", ".join(ending for backend in BACKENDS.values() for ending in backend.endings)
        if name is None or not path.is_file():
            raise ExportError(
                "There is no exported graph here.", where=path, expected=f"a file {endings}", fix="melascope export RUN"
            )
        if path.stat().st_size > MAX_BYTES:
            raise ExportError(f"The graph is larger than {MAX_BYTES >> 30} GiB.", where=path, fix="export it anew")
        precision = precision or BACKENDS[name].precisions[0]
        if precision not in BACKENDS[name].precisions:
            raise ExportError(
                f"{name} does not compute in {precision}.", expected=", ".join(BACKENDS[name].precisions), where=path
            )
        loaded = _loaded(name, path, threads, precision)
        return cls(ExportCard.from_text(loaded.card_text, where=path), path, precision, loaded.run)

    def __call__(self, pixels: np.ndarray) -> Answer:
        """Ask for everything.

        Parameters
        ----------
        pixels : (n, input_height, input_width, 3) uint8, RGB, already resized
        """
        outputs = [LOGITS, FEATURES, *([MAPS] if self.card.maps else [])]
        logits, features, *maps = self._asked(pixels, outputs)
        return Answer(logits, features, maps[0] if maps else None)

    def maps(self, pixels: np.ndarray, image_ids: Sequence[str], *, batch_size: int = 16) -> MapStore:
        """Raw maps of all seven classes, as `explain.maps.make_maps` gives them through torch.

        Parameters
        ----------
        pixels : as for a call, at least one image
        image_ids : an id for each

        Raises
        ------
        ExportError : the graph makes no maps.
        """
        about, card = self.card.maps, self.card.checkpoint
        if about is None:
            raise ExportError(
                "The graph makes no maps.",
                where=self.path,
                fix="export it without --without-maps, or use --engine torch",
            )
        answers = [self(batch) for _, batch in _batches(pixels, batch_size)]
        return MapStore(
            image_id=np.array(image_ids, dtype=object),
            logits=np.concatenate([one.logits for one in answers]),
            maps=np.concatenate([one.maps for one in answers]),
            method=about.method,
            layer=about.layer,
            input_width=card.input_width,
            input_height=card.input_height,
            checkpoint_sha256=card.weights_sha256,
            unit=about.unit,
            resolution=about.resolution,
            precision=self.card.precision if self.precision == "float32" else self.precision,
            places=CellPlaces.from_json(about.places),
        )

    def logits(
        self, pixels: np.ndarray, *, batch_size: int = 16, progress: Callable[[int, int], None] | None = None
    ) -> np.ndarray:
        """(n, 7) float32 raw logits of stored pixels, a batch in memory at a time."""
        pieces = [np.zeros((0, len(CLASSES)), np.float32)]
        for done, batch in _batches(pixels, batch_size):
            pieces += self._asked(batch, [LOGITS])
            if progress:
                progress(done, len(pixels))
        return np.concatenate(pieces)

    def _asked(self, pixels: np.ndarray, outputs: list[str]) -> list[np.ndarray]:
        """The outputs, if they are what the card promises: a graph of somebody's may be anything under our card."""
        pixels = self._checked(pixels)
        try:
            found = self._run(pixels, outputs)
        except MemoryError:
            raise
        except Exception as error:  # each library raises its own family for what it cannot compute
            said = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise ExportError(f"The graph cannot be asked ({said}).", where=self.path, fix="export it anew") from error
        for name, one in zip(outputs, found, strict=True):
            n_axes, classes = {LOGITS: (2, True), FEATURES: (2, False), MAPS: (4, True)}[name]
            fits = getattr(one, "dtype", None) == np.float32 and one.ndim == n_axes and len(one) == len(pixels)
            if not fits or (classes and one.shape[1] != len(CLASSES)):
                raise ExportError(
                    f"The graph gives {name} of shape {getattr(one, 'shape', '?')}, {getattr(one, 'dtype', '?')}.",
                    where=self.path,
                    expected=f"float32, {n_axes} axes: {len(pixels)} images" + f" × {len(CLASSES)} classes" * classes,
                    fix="export it anew",
                )
        return found

    def _checked(self, pixels: np.ndarray) -> np.ndarray:
        size = (self.card.checkpoint.input_height, self.card.checkpoint.input_width, 3)
        if pixels.dtype != np.uint8 or pixels.shape[1:] != size:
            raise ExportError(
                f"The pixels are {pixels.dtype} of shape {pixels.shape}.",
                where=self.path,
                expected=f"uint8 of shape (n, {', '.join(map(str, size))})",
                fix="resize with melascope.data.pixels.resize_image",
            )
        return np.ascontiguousarray(pixels)


def _loaded(name: str, path: Path, threads: int, precision: str) -> Loaded:
    try:
        return BACKENDS[name].load(path, threads, precision)
    except (ExportError, MemoryError):
        raise
    except Exception as error:  # each library raises its own family for a broken file
        raise ExportError(
            f"{name} cannot read the graph ({str(error).splitlines()[0][:200]}).",
            where=path,
            expected="a file that `melascope export` wrote",
            fix="export it anew",
        ) from error


def _batches(pixels: np.ndarray, batch_size: int) -> Iterator[tuple[int, np.ndarray]]:
    for start in range(0, len(pixels), batch_size):
        batch = np.asarray(pixels[start : start + batch_size])
        yield start + len(batch), batch
