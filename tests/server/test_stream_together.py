"""Runs shared by streams: too large ones are halved and remembered, and nobody keeps a batch alive."""

from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from partstream_core.errors import EngineError
from partstream_server.engine import Engine
from partstream_server.pipeline.engine_request import EngineRequest, Steps
from partstream_server.streams.shared_runs import RECOVERY_RUNS, BatchLimits, drive_together


class Doubling:
    """An engine whose graph doubles its input, and which has memory for so many frames at once."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.sizes: list[int] = []

    def run(self, graph: str, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        size = len(inputs["image"])
        self.sizes.append(size)
        if size > self.room:
            raise EngineError(f"{graph}: no memory for {size} frames")
        if (inputs["image"] < 0).any():
            raise EngineError("a frame that nothing can be done with")
        return {"feature": inputs["image"] * 2}


def steps(value: float) -> Steps[NDArray[Any]]:
    outputs = yield EngineRequest("backbone", {"image": np.full((1, 3), value)})
    return np.asarray(outputs["feature"])


def features(engine: Doubling, values: list[float], limits: BatchLimits) -> list[float | None]:
    """What each stream gets, None where its frame failed."""
    driven = drive_together([steps(value) for value in values], cast(Engine, engine), lambda *_: None, limits)
    return [None if one.result is None else float(one.result[0, 0]) for one in driven]


def test_a_run_without_memory_is_halved_and_the_size_that_passed_is_remembered() -> None:
    engine, limits = Doubling(room=2), BatchLimits()
    values = [float(n) for n in range(8)]
    for _ in range(3):
        assert features(engine, values, limits) == [2 * value for value in values]
    first = engine.sizes[: len(engine.sizes) - 8]
    assert first == [8, 4, 2, 2, 4, 2, 2]
    assert engine.sizes[-8:] == [2] * 8


def test_a_bad_frame_fails_alone_and_lowers_no_limit() -> None:
    engine, limits = Doubling(room=8), BatchLimits()
    assert features(engine, [1.0, 2.0, -1.0, 4.0], limits) == [2.0, 4.0, None, 8.0]
    engine.sizes.clear()
    assert features(engine, [1.0, 2.0, 3.0, 4.0], limits) == [2.0, 4.0, 6.0, 8.0]
    assert engine.sizes == [4]


def test_larger_runs_are_tried_again_after_a_while() -> None:
    engine, limits = Doubling(room=1), BatchLimits()
    assert features(engine, [1.0, 2.0], limits) == [2.0, 4.0]
    assert limits.limit("backbone") == 1
    engine.room = 2
    for _ in range(RECOVERY_RUNS // 2):
        features(engine, [1.0, 2.0], limits)
    assert limits.limit("backbone") == 2
    engine.sizes.clear()
    features(engine, [1.0, 2.0], limits)
    assert engine.sizes == [2]


@pytest.mark.parametrize("num_streams", [2, 3, 4, 7])
def test_what_a_stream_gets_of_a_shared_run_is_its_own(num_streams: int) -> None:
    driven = drive_together(
        [steps(float(n)) for n in range(num_streams)], cast(Engine, Doubling(room=8)), lambda *_: None
    )
    for one in driven:
        assert one.result is not None
        assert one.result.base is None or one.result.base.nbytes == one.result.nbytes
