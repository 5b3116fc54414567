"""Runs steps: carries out their engine requests, in turn for one caller, or as a caller batches them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeAlias, TypeVar

from partstream_server.engine import Engine
from partstream_server.pipeline.engine_request import EngineOutputs, EngineRequest, Steps
from partstream_server.pipeline.stage_times import StageClock

T = TypeVar("T")
OnRun: TypeAlias = Callable[[EngineRequest, EngineOutputs], None]


class Execution(Generic[T]):
    """Steps that were started, up to their next request, their result or their error."""

    def __init__(self, steps: Steps[T]) -> None:
        self._steps = steps
        self.request: EngineRequest | None = None
        """The next engine request; None at the end."""
        self.result: T | None = None
        self.error: Exception | None = None
        self.network_s = 0.0
        """Seconds of the engine's runs, as the caller counts them."""
        self.advance(None)

    def advance(self, outputs: EngineOutputs | None) -> None:
        """Go on to the next request, or to the end; None starts."""
        try:
            self.request = next(self._steps) if outputs is None else self._steps.send(outputs)
        except StopIteration as end:
            self.request, self.result = None, end.value
        except Exception as error:  # reported by the reader of `error`; other streams must not fail with it
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """End with an error."""
        self.request, self.error = None, error
        self._steps.close()


def drive(
    steps: Steps[T], engine: Engine, *, clock: StageClock | None = None, on_run: OnRun | None = None
) -> T:
    """Carry out steps on an engine, one request after the other, and return their result.

    Args:
        steps: What to compute.
        engine: Runs the graphs.
        clock: Gets the time of each run, by the graph's name.
        on_run: Called after each run.

    Raises:
        EngineError: A graph failed.
    """
    clock = clock or StageClock()
    running = Execution(steps)
    while (request := running.request) is not None:
        with clock.stage(request.graph):
            outputs = engine.run(request.graph, request.inputs)
        if on_run is not None:
            on_run(request, outputs)
        running.advance(outputs)
    if running.error is not None:
        raise running.error
    result: T = running.result  # type: ignore[assignment]  # None where T is
    return result


def timed(steps: Steps[T], clock: StageClock, name: str) -> Steps[T]:
    """The same steps, with the time between requests added to a stage and none of the engine's."""
    outputs: EngineOutputs | None = None
    while True:
        try:
            with clock.stage(name):
                request = next(steps) if outputs is None else steps.send(outputs)
        except StopIteration as end:
            result: T = end.value
            return result
        outputs = yield request
