"""Which cases should a person look at, and what can be said of each without guessing?

`selection` chooses them, `case` gathers what is known, `notes` says it, `render` writes the page and `FIGURES.md`.
"""
