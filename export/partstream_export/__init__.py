"""Trained networks as bundles that the server runs."""

from partstream_core.privacy import keep_runtimes_silent

__version__ = "0.1.0"

keep_runtimes_silent()
