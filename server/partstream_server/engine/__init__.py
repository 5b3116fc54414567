"""Engines: one interface over the runtimes that carry a bundle's graphs."""

from partstream_core.privacy import keep_runtimes_silent
from partstream_server.engine.base import DeviceOptions, Engine, Tensors, default_bundle_directory
from partstream_server.engine.create import PRECISIONS, PROVIDERS, create_engine

__all__ = [
    "PRECISIONS",
    "PROVIDERS",
    "DeviceOptions",
    "Engine",
    "Tensors",
    "create_engine",
    "default_bundle_directory",
]

keep_runtimes_silent()  # here, as the runtimes are imported when the first engine is made, and not before
