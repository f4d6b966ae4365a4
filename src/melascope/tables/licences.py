"""What may be done with weights, by the data set that they were made from?"""

from __future__ import annotations

LICENCES = {
    "ham10000": "CC BY-NC 4.0 (Tschandl, Rosendahl, Kittler 2018, doi:10.7910/DVN/DBW86T): the weights were made from "
    "these images, so use them for non-commercial work only, and name the data set."
}
"""Of the data that weights were made from, by its source; a source that is not here has none that we know."""
