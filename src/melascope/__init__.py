"""What is melascope? An auditor of skin-lesion classifiers: which melanomas are missed, why, and at what price."""

import os

# Spinning OpenMP threads cost up to five times the time where cores are shared; read once, when torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
