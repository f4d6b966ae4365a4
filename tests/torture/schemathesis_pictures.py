"""Which bodies does schemathesis send where a picture is asked for? Whole pictures of each kind, beside its own."""

from __future__ import annotations

import schemathesis
from hypothesis import strategies as st

from melascope.data.sources.phantom.lesions import images
from melascope.data.sources.phantom.render import render
from served_page import as_bytes

_DRAWN = [render(5, image, lesion)[0] for image, lesion in images(5, 6)]
KINDS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP", "image/bmp": "BMP"}

for kind, form in KINDS.items():
    schemathesis.openapi.media_type(kind, st.sampled_from([as_bytes(rgb, form) for rgb in _DRAWN]))
