"""What can be shown and tested without any real image? A procedural dermoscopy release: the phantom.

`write_phantom` writes it; the artefact functions put hair, rulers and the like on any picture.
"""

from melascope.data.sources.phantom.artefacts import (
    ARTEFACTS,
    add_colour_patch,
    add_dark_corners,
    add_gel_bubbles,
    add_hair,
    add_ink,
    add_ruler,
)
from melascope.data.sources.phantom.release import GENERATOR_VERSION, MARKER, write_phantom

__all__ = [
    "ARTEFACTS",
    "GENERATOR_VERSION",
    "MARKER",
    "add_colour_patch",
    "add_dark_corners",
    "add_gel_bubbles",
    "add_hair",
    "add_ink",
    "add_ruler",
    "write_phantom",
]
