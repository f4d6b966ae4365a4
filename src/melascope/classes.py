"""Which words does melascope use: the seven classes of HAM10000, in the one order every table keeps."""

CLASSES: tuple[str, ...] = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
"""Class order of every logit vector, map stack and checkpoint (Tschandl et al. 2018, alphabetical)."""

CLASS_NAMES: dict[str, str] = {
    "akiec": "actinic keratosis / Bowen's disease",
    "bcc": "basal cell carcinoma",
    "bkl": "benign keratosis",
    "df": "dermatofibroma",
    "mel": "melanoma",
    "nv": "melanocytic nevus",
    "vasc": "vascular lesion",
}

MEL: int = CLASSES.index("mel")
"""Column of melanoma in a logit vector."""

SPLITS: tuple[str, ...] = ("train", "val", "test", "held_out")
"""`train` fits, `val` chooses, `test` is read once a claim; `held_out` lesions were set aside by hand."""

RESEARCH_ONLY: str = "For research only. melascope is not a medical device; its output is not a diagnosis."
"""Stands beside every result that a person sees."""
