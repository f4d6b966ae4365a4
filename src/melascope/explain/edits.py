"""How is part of a picture hidden, kept, moved to other skin, or covered by a ruler, ink or hair?

Every edit takes and returns pictures (height, width, 3) uint8 and knows no model. What an edit brings in besides what
it takes away (a seam, a flat colour) can move a model too: so each edit has its control, the same edit elsewhere
(`regions.placed_at_random`) or the same pixels covered by skin (`inert_twin`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy import ndimage
from scipy.sparse import csc_array, diags_array
from scipy.sparse.linalg import splu

from melascope.data.sources.phantom.artefacts import (
    Artefact,
    add_colour_patch,
    add_dark_corners,
    add_gel_bubbles,
    add_hair,
    add_ink,
    add_ruler,
)
from melascope.errors import ExplainError
from melascope.explain.overlay import upsample_map

ADDED: dict[str, Artefact] = {
    "ruler": add_ruler,
    "ink": add_ink,
    "dark_corners": add_dark_corners,
    "hair": add_hair,
    "gel_bubbles": add_gel_bubbles,
    "colour_patch": add_colour_patch,
}
"""Artefact -> how it is laid on a picture; the phantom's own brushes."""

MARGIN = 0.02
"""Share of the picture's width by which what is hidden (or kept) is grown: a lesion's edge fades into the skin."""

_COARSE = 96  # cells along the longer side of the grid on which the harmonic fill is solved
_DARK = 45  # brightest channel of what cannot be skin: the black beyond a dermatoscope's field
_FEWEST_SKIN, _ENOUGH_SKIN = 0.002, 0.05  # shares of the picture

Fill = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def skin_of(image: np.ndarray, lesion: np.ndarray) -> np.ndarray:
    """(height, width) bool: what is neither lesion (grown by the margin) nor black frame.

    Raises
    ------
    ExplainError : less than 0.2 % of the picture is left.
    """
    check_mask(image, lesion)
    skin = ~grown(lesion, margin_of(image)) & (image.max(axis=2) > _DARK)
    if skin.mean() < _FEWEST_SKIN:
        raise ExplainError("The lesion leaves no skin in the picture.", expected="at least 0.2 % of the pixels")
    return skin


def skin_colour(image: np.ndarray, lesion: np.ndarray) -> np.ndarray:
    """(3,) float: mean colour of the skin round the lesion, without its lightest and darkest tenth (glints, hair)."""
    pixels = image[skin_of(image, lesion)].astype(np.float64)
    light = pixels.sum(axis=1)
    low, high = np.quantile(light, [0.1, 0.9])
    return pixels[(light >= low) & (light <= high)].mean(axis=0)


def in_painted(image: np.ndarray, hidden: np.ndarray, lesion: np.ndarray) -> np.ndarray:
    """Continue the surroundings into `hidden`: the smoothest surface through them, with their grain on it.

    Laplace's equation with the surroundings as boundary values ("harmonic inpainting": Chan & Shen 2001, SIAM J. Appl.
    Math. 62, 1019, eq. 1.1 without noise), solved on a coarse grid, since its solution has no detail, then enlarged.

    Parameters
    ----------
    hidden : (height, width) bool
    lesion : (height, width) bool; what is hidden mostly beside it is continued from skin alone, not from the lesion

    Raises
    ------
    ExplainError : nothing is left to continue.
    """
    beside = ~hidden & ~grown(lesion, margin_of(image))
    source = beside if (hidden & lesion).sum() < hidden.sum() / 2 and beside.any() else ~hidden
    if not source.any():
        raise ExplainError("The whole picture is hidden: nothing is left to continue.")
    factor = max(1, -(-max(hidden.shape) // _COARSE))
    known, colour = _coarse(image, source, factor)
    surface = _harmonic(colour, known)
    height, width = hidden.shape
    padded = (known.shape[1] * factor, known.shape[0] * factor)
    smooth = np.stack([upsample_map(channel, *padded)[:height, :width] for channel in surface.transpose(2, 0, 1)], -1)
    return smooth + _grain(image, hidden)[..., None]


def flat_skin(image: np.ndarray, hidden: np.ndarray, lesion: np.ndarray) -> np.ndarray:
    """Everywhere the mean colour of the skin: of what is not hidden, unless next to none of it is left."""
    rest = lesion | hidden
    enough = (~grown(rest, margin_of(image))).mean() > _ENOUGH_SKIN
    return np.broadcast_to(skin_colour(image, rest if enough else lesion), image.shape).astype(np.float32)


def blurred(image: np.ndarray, hidden: np.ndarray, lesion: np.ndarray) -> np.ndarray:
    """The picture through a Gaussian of a twentieth of its width: colours stay, structures go."""
    sigma = image.shape[1] / 20
    return ndimage.gaussian_filter(image.astype(np.float32), (sigma, sigma, 0), mode="nearest")


FILLS: dict[str, Fill] = {"in-painted": in_painted, "mean skin": flat_skin, "blurred": blurred}
"""Fill -> (image, hidden, lesion) -> what is put there, (height, width, 3) float."""


def hide(
    image: np.ndarray, region: np.ndarray, *, fill: str = "in-painted", lesion: np.ndarray | None = None
) -> np.ndarray:
    """Hide a region (height, width) bool, and its margin, behind a fill with a soft edge.

    Parameters
    ----------
    fill : row of `FILLS`
    lesion : (height, width) bool, what is not skin; the region itself if left out
    """
    check_mask(image, region)
    hidden = grown(region, margin_of(image))
    share = np.maximum(soft(hidden), region)
    return _filled(image, hidden, share, fill, region if lesion is None else lesion)


def keep(
    image: np.ndarray, region: np.ndarray, *, fill: str = "mean skin", lesion: np.ndarray | None = None
) -> np.ndarray:
    """Keep a region and its margin, and hide everything else; `lesion` (default: the region) is what is not skin."""
    check_mask(image, region)
    hidden = ~grown(region, margin_of(image))
    share = np.minimum(soft(hidden), ~region)
    return _filled(image, hidden, share, fill, region if lesion is None else lesion)


def _filled(image: np.ndarray, hidden: np.ndarray, share: np.ndarray, fill: str, lesion: np.ndarray) -> np.ndarray:
    if fill not in FILLS:
        raise ExplainError(f"There is no fill {fill!r}.", expected=f"one of {', '.join(FILLS)}")
    if not hidden.any():
        return image.copy()
    return blend(image, FILLS[fill](image, hidden, lesion), share)


def on_other_skin(image: np.ndarray, lesion: np.ndarray, skin: np.ndarray, *, same_tone: bool = False) -> np.ndarray:
    """The lesion and its margin on another picture's skin.

    Parameters
    ----------
    skin : (any height, any width, 3) uint8, bare: its own lesion hidden (`hide`)
    same_tone : shift the new skin's mean colour to that of the old one, so that only its pattern and light change
    """
    check_mask(image, lesion)
    height, width = lesion.shape
    ground = np.asarray(Image.fromarray(skin).resize((width, height), Image.Resampling.BILINEAR), dtype=np.float32)
    if same_tone:
        nothing = np.zeros(lesion.shape, dtype=bool)
        ground = ground + (skin_colour(image, lesion) - skin_colour(ground.astype(np.uint8), nothing))
    hidden = ~grown(lesion, margin_of(image))
    return blend(image, ground, np.minimum(soft(hidden), ~lesion))


def opacity(name: str, shape: tuple[int, int], key: list[int]) -> np.ndarray:
    """(height, width) float32 in [0, 1]: how much of each pixel the artefact covers, drawn with this random key.

    Painting is linear in what lies below: on black and on white it shows how much of that still shines through.
    """
    black, white = (np.full((*shape, 3), level, dtype=np.uint8) for level in (0, 255))
    on_black, on_white = (
        ADDED[name](ground, np.random.default_rng(key)).astype(np.float32) for ground in (black, white)
    )
    return np.clip(1 - (on_white - on_black).mean(axis=2) / 255, 0, 1)


def with_artefact(image: np.ndarray, name: str, key: list[int]) -> np.ndarray:
    """The picture with an artefact of `ADDED` laid on by the generator of `key`."""
    if name not in ADDED:
        raise ExplainError(f"There is no artefact {name!r} to add.", expected=f"one of {', '.join(ADDED)}")
    return ADDED[name](image, np.random.default_rng(key))


def inert_twin(image: np.ndarray, name: str, key: list[int], skin: np.ndarray) -> np.ndarray:
    """The control of `with_artefact`: the pixels that it covers, as opaquely, covered by the colour `skin` (3,)."""
    return blend(image, skin, opacity(name, image.shape[:2], key))


def blend(image: np.ndarray, over: np.ndarray, share: np.ndarray) -> np.ndarray:
    """`share` (height, width) of `over` (a picture or one colour), the rest of `image`; (height, width, 3) uint8."""
    share = np.asarray(share, dtype=np.float32)[..., None]
    mixed = image.astype(np.float32) * (1 - share) + np.asarray(over, dtype=np.float32) * share
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)


def margin_of(image: np.ndarray) -> int:
    """The margin in pixels of this picture, at least 1."""
    return max(1, round(MARGIN * image.shape[1]))


def grown(mask: np.ndarray, pixels: int) -> np.ndarray:
    """All that lies within so many pixels of the mask."""
    if not mask.any():
        return mask.copy()
    return ndimage.distance_transform_edt(~mask) <= pixels


def soft(mask: np.ndarray) -> np.ndarray:
    """(height, width) float32: the mask with a soft edge, half of the margin wide."""
    sigma = max(0.5, MARGIN * mask.shape[1] / 2)
    return ndimage.gaussian_filter(mask.astype(np.float32), sigma, mode="nearest")


def check_mask(image: np.ndarray, mask: np.ndarray) -> None:
    """Refuse a picture or a mask of another form, and a mask that does not fit."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ExplainError(f"The picture is {image.dtype} {image.shape}.", expected="uint8 (height, width, 3)")
    if mask.dtype != bool or mask.shape != image.shape[:2]:
        raise ExplainError(
            f"The region is {mask.dtype} {mask.shape}, the picture {image.shape}.", expected="bool (height, width)"
        )


def _coarse(image: np.ndarray, known: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean colour of the known pixels of each block of factor × factor: known (h, w) bool, colour (h, w, 3) float."""
    rows, columns = (-side % factor for side in known.shape)
    weight = np.pad(known.astype(np.float64), ((0, rows), (0, columns)))
    colours = np.pad(image * known[..., None].astype(np.float64), ((0, rows), (0, columns), (0, 0)))
    height, width = weight.shape[0] // factor, weight.shape[1] // factor
    count = weight.reshape(height, factor, width, factor).sum(axis=(1, 3))
    total = colours.reshape(height, factor, width, factor, 3).sum(axis=(1, 3))
    near = ndimage.gaussian_filter(count, 1.0, mode="nearest")  # a hair on the edge must not draw a streak across
    blurred_total = ndimage.gaussian_filter(total, (1.0, 1.0, 0), mode="nearest")
    colour = blurred_total / np.maximum(near, 1e-9)[..., None]
    return count > 0, colour


def _harmonic(colour: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Fill the unknown cells so that each is the mean of its neighbours; (h, w, 3) float."""
    filled = np.where(known[..., None], colour, 0.0)
    unknown = np.flatnonzero(~known)
    if len(unknown) == 0:
        return filled
    place = np.full(known.size, -1)
    place[unknown] = np.arange(len(unknown))
    flat, (height, width) = filled.reshape(-1, 3), known.shape
    row, column = np.divmod(unknown, width)
    right_side, n_neighbours, links = np.zeros((len(unknown), 3)), np.zeros(len(unknown)), []
    for down, across in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        inside = (row + down >= 0) & (row + down < height) & (column + across >= 0) & (column + across < width)
        here = np.flatnonzero(inside)
        beside = unknown[here] + down * width + across
        n_neighbours[here] += 1
        is_known = place[beside] < 0
        right_side[here[is_known]] += flat[beside[is_known]]
        links.append(np.stack([here[~is_known], place[beside[~is_known]]]))
    links = np.concatenate(links, axis=1)
    adjacency = csc_array((np.ones(links.shape[1]), (links[0], links[1])), shape=(len(unknown), len(unknown)))
    flat[unknown] = splu((diags_array(n_neighbours) - adjacency).tocsc(), permc_spec="MMD_AT_PLUS_A").solve(right_side)
    return filled


def _grain(image: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """(height, width) float32: fine noise as strong as that of the pixels that are not hidden; the same each time."""
    light = image.mean(axis=2, dtype=np.float32)
    fine = (light - ndimage.gaussian_filter(light, 1.5, mode="nearest"))[~hidden]
    strength = 1.4826 * float(np.median(np.abs(fine)))  # of a normal distribution; edges and hair do not count
    noise = np.random.default_rng([hidden.shape[0], hidden.shape[1]]).standard_normal(hidden.shape, dtype=np.float32)
    return strength * noise
