"""Modules of the optional extra `partstream-models[people3d]`."""

from importlib import import_module
from typing import Any


def optional(name: str) -> Any:
    """The module of a name.

    Raises:
        ValueError: It is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise ValueError(
            f"rendering people needs {name} ({error}): pip install 'partstream-models[people3d]'"
        ) from error
