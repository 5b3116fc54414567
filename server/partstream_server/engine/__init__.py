"""Engines: one interface over the runtimes that carry a bundle's graphs."""

from partstream_server.engine.base import Engine, Tensors, default_bundle_directory
from partstream_server.engine.create import PRECISIONS, PROVIDERS, create_engine

__all__ = ["PRECISIONS", "PROVIDERS", "Engine", "Tensors", "create_engine", "default_bundle_directory"]
