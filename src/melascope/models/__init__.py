"""How is a classifier built, trained, saved, loaded and asked? The torch half of melascope (`melascope[train]`)."""

import os

# Spinning OpenMP threads steal the cores that other stages need; must be set before torch starts its pool.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
