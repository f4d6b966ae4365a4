"""Where is the lesion, by the small network that melascope ships: one pass of ONNX Runtime, without torch?"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from melascope.data.pixels import resize_image
from melascope.errors import ExplainError, ExportError
from melascope.inference.backends import BACKENDS
from melascope.tables.segmenters import KEY, SegmenterCard

SHIPPED = Path(__file__).parents[1] / "weights" / "lesion_segmenter.onnx"
LESION = "lesion"


@dataclass(frozen=True)
class Segmenter:
    """A segmenter's graph, ready to be asked, from any thread.

    Parameters
    ----------
    card : input size, threshold, what it was trained on
    path : the file
    run : (n, input_height, input_width, 3) uint8 -> probabilities (n, input_height, input_width) float32
    """

    card: SegmenterCard
    path: Path
    run: Callable[[np.ndarray], np.ndarray]

    @classmethod
    def open(cls, path: Path = SHIPPED, *, threads: int = 1) -> Segmenter:
        """Load a graph that `melascope segmenter train` wrote; `threads` 0 takes every core.

        Raises
        ------
        ExportError : no such file, a damaged file, or a graph that is no segmenter of ours.
        """
        path = Path(path)
        if not path.is_file():
            raise ExportError("There is no segmenter here.", where=path, fix="melascope segmenter train")
        try:
            loaded = BACKENDS["onnxruntime"].load(path, threads, "float32", key=KEY)
        except MemoryError:
            raise
        except Exception as error:  # ONNX Runtime raises its own family for a broken file
            raise ExportError(
                f"ONNX Runtime cannot read the graph ({str(error).splitlines()[0][:200]}).", where=path
            ) from error
        card, alone = SegmenterCard.from_text(loaded.card_text, where=path), threading.Lock()

        def run(pixels: np.ndarray) -> np.ndarray:
            with alone:
                return loaded.run(np.ascontiguousarray(pixels), [LESION])[0]

        return cls(card, path, run)

    def probabilities(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """(n, input_height, input_width) float32 of pictures (height, width, 3) uint8 of any size."""
        for image in images:
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
                raise ExplainError(f"The picture is {image.dtype} {image.shape}.", expected="uint8 (height, width, 3)")
        width, height = self.card.input_width, self.card.input_height
        return self.run(np.stack([resize_image(image, width, height) for image in images]))

    def lesion(self, image: np.ndarray, *, width: int = 0, height: int = 0) -> np.ndarray:
        """(height, width) bool, the image's own size if left out; all False where nothing looks like a lesion."""
        (probability,) = self.probabilities([image])
        size = (width or image.shape[1], height or image.shape[0])
        return lesion_from(probability, *size, threshold=self.card.threshold)


@lru_cache(maxsize=1)
def shipped_segmenter() -> Segmenter:
    """The segmenter inside the package, loaded once."""
    return Segmenter.open()


def lesion_from(probability: np.ndarray, width: int, height: int, *, threshold: float) -> np.ndarray:
    """One lesion without holes: the weightiest blob above the threshold, enlarged before it is cut.

    Parameters
    ----------
    probability : (h, w) float32 of each coarse pixel; the edge is laid between them by linear interpolation

    Returns
    -------
    lesion : (height, width) bool
    """
    labels, n = ndimage.label(probability > threshold)
    if n == 0:
        return np.zeros((height, width), dtype=bool)
    kept = labels == 1 + int(np.argmax(ndimage.sum_labels(probability, labels, np.arange(1, n + 1))))
    filled = ndimage.binary_fill_holes(kept)
    alone = np.where((labels > 0) & ~kept & ~filled, 0.0, probability)
    alone = np.where(filled & ~kept, 1.0, alone).astype(np.float32)
    enlarged = np.asarray(Image.fromarray(alone).resize((width, height), Image.Resampling.BILINEAR))
    return enlarged > threshold
