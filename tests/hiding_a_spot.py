"""What hiding the spot of the seed's pair might have changed: drawn, not measured."""

from __future__ import annotations

from melascope.gallery.tested import Test

SPOT = Test(
    name="coloured spot 1 beside it removed",
    fill="in-painted",
    before=0.07,
    after=0.31,
    control_mean=0.01,
    n_controls=99,
    p_value=0.01,
    predicted=("vasc", "mel"),
    above=(False, True),
)
