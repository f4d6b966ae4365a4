"""Which parts of an image spoke for a class, how is that shown, and how much of it lies on the lesion?

`maps` and `methods` need torch; `overlay`, `panel` and `mask_scores` read arrays and do not.
"""
