"""Trained networks as bundles that the server runs."""

__version__ = "0.1.0"
