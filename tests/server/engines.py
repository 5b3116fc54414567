"""Engines that misbehave on purpose; all of them compute with a real one."""

import threading
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from partstream_server.engine import Engine, Tensors
from partstream_server.engine.base import LoadedBundle


class PassOn:
    """An engine that passes everything on to another one, which stays its owner's to close."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def provider(self) -> str:
        return self._engine.provider

    @property
    def precision(self) -> str:
        return self._engine.precision

    @property
    def device(self) -> str:
        return self._engine.device

    @property
    def num_threads(self) -> int:
        return self._engine.num_threads

    @property
    def bundle(self) -> LoadedBundle:
        return self._engine.bundle

    def run(self, graph: str, inputs: Mapping[str, npt.NDArray[Any]]) -> Tensors:
        return self._engine.run(graph, inputs)

    def close(self) -> None:
        pass


class Held(PassOn):
    """Computes only while its gate is open."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.gate = threading.Event()
        self.entered = threading.Event()
        """Set once somebody stands before the gate."""

    def run(self, graph: str, inputs: Mapping[str, npt.NDArray[Any]]) -> Tensors:
        self.entered.set()
        assert self.gate.wait(60), "nobody opened the gate"
        return super().run(graph, inputs)


class Failing(PassOn):
    """Raises an error once some frames were computed."""

    def __init__(self, engine: Engine, error: Exception, *, after_frames: int) -> None:
        super().__init__(engine)
        self._error = error
        self._frames_left = after_frames

    def run(self, graph: str, inputs: Mapping[str, npt.NDArray[Any]]) -> Tensors:
        if graph == "heads":
            if self._frames_left == 0:
                self._frames_left = -1
                raise self._error
            self._frames_left -= 1
        return super().run(graph, inputs)
