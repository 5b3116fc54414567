"""Carries out the steps of several streams on one engine, with the runs of a graph shared where they can be.

All graphs but `instances` have a batch dimension and nothing that crosses it; `instances` has rows of one
frame and runs for each frame alone. Shared runs have 1, 2, 4, ... frames, so that an engine of static shapes
compiles few of them.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Generic, TypeVar

import numpy as np

from partstream_server.engine import Engine
from partstream_server.request import EngineOutputs, EngineRequest, Steps

T = TypeVar("T")
SHARED: Final = frozenset({"backbone", "heads", "flow", "propagate", "temporal"})
Tell = Callable[[str, int], None]


class Driven(Generic[T]):
    """Steps on their way to a result or an error."""

    def __init__(self, steps: Steps[T]) -> None:
        self._steps = steps
        self.request: EngineRequest | None = None
        """What has to be run next; None at the end."""
        self.result: T | None = None
        self.error: Exception | None = None
        self.network_s = 0.0
        self.advance(None)

    def advance(self, outputs: EngineOutputs | None) -> None:
        """Go on to the next request, or to the end."""
        try:
            self.request = next(self._steps) if outputs is None else self._steps.send(outputs)
        except StopIteration as end:
            self.request, self.result = None, end.value
        except Exception as error:  # told by whoever reads `error`; it must not harm the other streams
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """End with an error."""
        self.request, self.error = None, error
        self._steps.close()


def drive_together(many: Sequence[Steps[T]], engine: Engine, tell: Tell) -> list[Driven[T]]:
    """Every one of the steps at its end, with its result or its error.

    Args:
        many: Of different streams.
        engine: Runs the graphs.
        tell: Told the graph and the number of frames of each run.
    """
    all_driven = [Driven(steps) for steps in many]
    while waiting := [driven for driven in all_driven if driven.request is not None]:
        for group in _groups(waiting):
            _run(group, engine, tell)
    return all_driven


def _groups(waiting: Sequence[Driven[T]]) -> Iterator[list[Driven[T]]]:
    """Those whose requests can share a run."""
    alike: defaultdict[object, list[Driven[T]]] = defaultdict(list)
    for driven in waiting:
        request = driven.request
        assert request is not None
        shapes = tuple(sorted((name, tensor.shape) for name, tensor in request.inputs.items()))
        alike[(request.graph, shapes) if request.graph in SHARED else id(driven)].append(driven)
    for group in alike.values():
        while group:
            size = 1 << (len(group).bit_length() - 1)
            yield group[:size]
            del group[:size]


def _run(group: Sequence[Driven[T]], engine: Engine, tell: Tell) -> None:
    """One run for all of a group; where it fails, one for each, so that only those at fault fail."""
    requests = [driven.request for driven in group if driven.request is not None]
    graph, started = requests[0].graph, time.perf_counter()
    try:
        outputs = _shared_run(engine, requests)
    except Exception as error:  # whatever a runtime raises
        if len(group) == 1:
            group[0].fail(error)
            return
        for driven in group:
            _run([driven], engine, tell)
        return
    tell(graph, len(group))
    seconds = time.perf_counter() - started
    for driven, own in zip(group, outputs, strict=True):
        driven.network_s += seconds
        driven.advance(own)


def _shared_run(engine: Engine, requests: Sequence[EngineRequest]) -> list[EngineOutputs]:
    """The outputs of each request."""
    graph = requests[0].graph
    if len(requests) == 1:
        return [engine.run(graph, requests[0].inputs)]
    names = requests[0].inputs
    inputs = {name: np.concatenate([request.inputs[name] for request in requests]) for name in names}
    outputs = engine.run(graph, inputs)
    return [{name: batch[i : i + 1] for name, batch in outputs.items()} for i in range(len(requests))]
