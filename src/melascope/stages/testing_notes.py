"""Cases of a gallery → what hiding parts of each picture changes, so that its note claims nothing untested."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from melascope.classes import CLASSES, MEL
from melascope.errors import ExplainError
from melascope.explain.interventions import intervene
from melascope.explain.segment import SEGMENTER
from melascope.gallery.selection import EVERY, Selection
from melascope.gallery.tested import Test
from melascope.stages.asking import AnswersImages, asker_of, specimens_of
from melascope.stages.reporting import Reporter
from melascope.tables.lesions import LesionTable
from melascope.tables.maps import MapStore
from melascope.tables.runs import RunDirectory

CONTROLS = 39
"""Random placements of a region: p can be 0.025. `melascope intervene` tries 99, every fill, and adds artefacts."""

WORKING_WIDTH = 300
"""Pictures are edited at this width: as wide as a page shows a map, and quick."""

MOST = 30
"""Cases that are tested, the first of the page: missed melanomas. Each takes some seconds."""


def tests_of_cases(
    run: RunDirectory,
    model: AnswersImages,
    selections: Sequence[Selection],
    table: LesionTable,
    maps: MapStore,
    reporter: Reporter,
    *,
    most: int = MOST,
    segmenter: str = SEGMENTER,
) -> dict[str, tuple[Test, ...]]:
    """Hide the lesion, the hottest part of the maps, spots beside the lesion and artefacts, and ask the model again.

    Parameters
    ----------
    model : of the run, however it computes
    selections, table, maps : the cases of the gallery, row by row the same images
    most : cases that are tested; those that are shown for being held out alone never are
    segmenter : row of `explain.segment.SEGMENTERS`, for pictures without a mask

    Returns
    -------
    tests : image id -> what changed; no entry for a picture that cannot be edited (a lesion that fills it)
    """
    ask, load = asker_of(run, model), specimens_of(table, widest=WORKING_WIDTH, segmenter=segmenter)
    rows = [row for row, selection in enumerate(selections) if selection.reasons != (EVERY,)][:most]
    tests: dict[str, tuple[Test, ...]] = {}
    with reporter.bar("hiding parts") as advance:
        for done, row in enumerate(rows, start=1):
            columns = dict.fromkeys((int(np.argmax(maps.logits[row])), MEL))
            shown = {CLASSES[column]: maps.maps[row, column] for column in columns}
            try:
                outcomes = intervene(load(row), ask, shown, controls=CONTROLS, thorough=False, places=maps.places)
            except ExplainError:  # no skin around the lesion to hide it with
                outcomes = []
            if outcomes:
                tests[selections[row].image_id] = tuple(Test.of(outcome) for outcome in outcomes)
            advance(done, len(rows))
    return tests
