"""Runs engine requests of several streams, batched where graph and shape are the same.

All graphs but `instances` have a batch dimension and nothing that crosses it; `instances` has rows of one
frame and runs for each frame alone. Shared runs have 1, 2, 4, ... frames, so that an engine of static shapes
compiles few of them.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

import numpy as np

from partstream_server.engine import Engine
from partstream_server.pipeline.driver import Execution
from partstream_server.pipeline.engine_request import EngineOutputs, EngineRequest, Steps

T = TypeVar("T")
SHARED: Final = frozenset({"backbone", "heads", "flow", "propagate", "temporal"})
Tell = Callable[[str, int], None]
RECOVERY_RUNS: Final = 256
"""Shared runs of a graph at its limit after which twice as many frames are tried again."""


class BatchLimits:
    """How many frames may share a run of each graph: fewer where larger runs failed, mostly without memory.

    Threads may share it; a lost update costs one more try.
    """

    def __init__(self) -> None:
        self._limits: dict[str, int] = {}
        self._num_runs: dict[str, int] = {}

    def limit(self, graph: str) -> int | None:
        """The most frames of a run; None: no run has failed."""
        return self._limits.get(graph)

    def lower(self, graph: str, size: int) -> None:
        """Remember that more than so many frames failed together and passed in smaller runs."""
        self._limits[graph], self._num_runs[graph] = max(size, 1), 0

    def passed(self, graph: str, size: int) -> None:
        """Count a run; after enough of them at the limit, the limit doubles."""
        limit = self._limits.get(graph)
        if limit is None or size < limit:
            return
        self._num_runs[graph] += 1
        if self._num_runs[graph] >= RECOVERY_RUNS:
            self.lower(graph, 2 * limit)


def drive_together(
    many: Sequence[Steps[T]], engine: Engine, tell: Tell, limits: BatchLimits | None = None
) -> list[Execution[T]]:
    """Every one of the steps at its end, with its result or its error.

    Args:
        many: Of different streams.
        engine: Runs the graphs.
        tell: Told the graph and the number of frames of each run.
        limits: What earlier calls learned of runs that failed; updated.
    """
    limits = limits or BatchLimits()
    executions = [Execution(steps) for steps in many]
    while waiting := [execution for execution in executions if execution.request is not None]:
        for group in _groups(waiting, limits):
            _run(group, engine, tell, limits)
    return executions


def _groups(waiting: Sequence[Execution[T]], limits: BatchLimits) -> Iterator[list[Execution[T]]]:
    """Jobs whose requests can share a run of a graph."""
    alike: defaultdict[object, list[Execution[T]]] = defaultdict(list)
    for execution in waiting:
        request = execution.request
        assert request is not None
        shapes = tuple(sorted((name, tensor.shape) for name, tensor in request.inputs.items()))
        alike[(request.graph, shapes) if request.graph in SHARED else id(execution)].append(execution)
    for group in alike.values():
        request = group[0].request
        limit = None if request is None else limits.limit(request.graph)
        while group:
            size = 1 << (min(len(group), limit or len(group)).bit_length() - 1)
            yield group[:size]
            del group[:size]


def _run(group: Sequence[Execution[T]], engine: Engine, tell: Tell, limits: BatchLimits) -> bool:
    """Run all of a group together; where that fails, its halves, so that only those at fault fail.

    Where no frame was at fault the size of the halves is remembered.

    Returns:
        Whether no frame failed.
    """
    requests = [execution.request for execution in group if execution.request is not None]
    graph, started = requests[0].graph, time.perf_counter()
    try:
        outputs = _shared_run(engine, requests)
    except Exception as error:  # whatever a runtime raises
        if len(group) == 1:
            group[0].fail(error)
            return False
        half = len(group) // 2
        passed = [_run(part, engine, tell, limits) for part in (group[:half], group[half:])]
        all_passed = all(passed)
        if all_passed and half < (limits.limit(graph) or len(group)):
            limits.lower(graph, half)
        return all_passed
    tell(graph, len(group))
    limits.passed(graph, len(group))
    seconds = time.perf_counter() - started
    for execution, own in zip(group, outputs, strict=True):
        execution.network_s += seconds
        execution.advance(own)
    return True


def _shared_run(engine: Engine, requests: Sequence[EngineRequest]) -> list[EngineOutputs]:
    """The outputs of each request, with memory of their own: a stream keeps its feature for many frames."""
    graph = requests[0].graph
    if len(requests) == 1:
        return [engine.run(graph, requests[0].inputs)]
    names = requests[0].inputs
    inputs = {name: np.concatenate([request.inputs[name] for request in requests]) for name in names}
    outputs = engine.run(graph, inputs)
    return [{name: _own(batch[i : i + 1]) for name, batch in outputs.items()} for i in range(len(requests))]


def _own(part: Any) -> Any:
    """A copy of a part of an array; what is on a device stays there."""
    return part.copy() if isinstance(part, np.ndarray) else part
