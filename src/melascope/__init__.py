"""What is melascope? An auditor of skin-lesion classifiers: which melanomas are missed, why, and at what price."""

__version__ = "0.1.0"
