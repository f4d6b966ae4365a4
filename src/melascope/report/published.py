"""What is published about a data set that no table says: where its images come from, and what is known of its people?

Only what its authors published; a data set that is not listed is "not described".
"""

from __future__ import annotations

from dataclasses import dataclass

from melascope.report.document import NOT_DESCRIBED


@dataclass(frozen=True)
class Published:
    """What a checklist asks of a data set, in a sentence each; `NOT_DESCRIBED` where nobody says."""

    image_types: str = NOT_DESCRIBED
    artefacts: str = NOT_DESCRIBED
    acquisition: str = NOT_DESCRIBED
    reference: str = NOT_DESCRIBED
    people: str = NOT_DESCRIBED
    skin_tone: str = NOT_DESCRIBED
    bias: str = NOT_DESCRIBED
    vendors: str = NOT_DESCRIBED
    labelling: str = NOT_DESCRIBED
    licence: str = NOT_DESCRIBED


PUBLISHED: dict[str, Published] = {
    "ham10000": Published(
        image_types="dermoscopic images of pigmented lesions, 600 × 450 pixels",
        artefacts="hair, rulers, ink, gel bubbles and dark corners occur and are not marked in the tables",
        acquisition="collected over 20 years in Vienna (Austria) and Queensland (Australia): scanned film slides and "
        "digital dermatoscopes, cropped and centred, in part corrected in colour by hand (Tschandl et al. 2018)",
        reference="Tschandl, Rosendahl & Kittler 2018, Scientific Data 5, 180161; doi 10.7910/DVN/DBW86T",
        people="age, sex and body site where known; no ids of persons, no ethnicity",
        skin_tone="not recorded; the sites treat mostly light skin",
        bias="mostly light skin; excised lesions have histology, easy nevi have follow-up instead, so that the way to "
        "the truth goes with the difficulty of the lesion",
        vendors="several devices at two sites; which one took an image is not in the tables",
        labelling="histopathology for more than half of the lesions, else follow-up, expert consensus or confocal "
        "microscopy (column dx_type)",
        licence="CC BY-NC 4.0",
    ),
    "phantom": Published(
        image_types="synthetic: a program drew every image in the likeness of dermoscopy",
        artefacts="drawn: hair, rulers, dark corners, bubbles",
        acquisition="no camera",
        reference="made by melascope (data/sources/phantom)",
        people="no people; age, sex and site are made up",
        skin_tone="no skin",
        bias="whatever its program draws; it says nothing about patients",
        vendors="no device",
        labelling="the program knows what it drew",
        licence="made here",
    ),
    "isic": Published(
        image_types="dermoscopic images of the ISIC archive",
        reference="the challenge of its year (isic-archive.com)",
        skin_tone="not recorded in the challenge's tables",
    ),
}
"""What is published, by the source's name."""


def published(source: str) -> Published:
    """What is published of a source; nothing of one that is not listed."""
    return PUBLISHED.get(source, Published())
