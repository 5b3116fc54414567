"""Engine requests: the graph and the inputs that a stage asks to be run.

A stage that needs the network is a generator: it yields an `EngineRequest`, is sent the outputs, and returns
its result. Whoever drives it decides where and with what else the graph runs.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy.typing as npt

T = TypeVar("T")

EngineOutputs: TypeAlias = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """One run of one graph."""

    graph: str
    inputs: Mapping[str, npt.NDArray[Any]]


Steps: TypeAlias = Generator[EngineRequest, EngineOutputs, T]
"""A computation that needs an engine and returns a T."""
