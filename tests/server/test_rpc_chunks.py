"""However frames arrive, at once, one by one or in chunks, a lossless stream gives equal results."""

import itertools
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partstream.v1 import service_pb2
from partstream_server.engine import create_engine
from tests.server.running_grpc import Call, RunningGrpc, serving_grpc
from tests.server.stream_fixtures import walk

NUM_FRAMES = 8
SCHEDULES = {
    "every frame": service_pb2.StreamConfig(schedule=service_pb2.SCHEDULE_EVERY_FRAME),
    "causal": service_pb2.StreamConfig(schedule=service_pb2.SCHEDULE_CAUSAL, interval=3),
    "adaptive": service_pb2.StreamConfig(schedule=service_pb2.SCHEDULE_ADAPTIVE, interval=4),
}
for each in SCHEDULES.values():
    each.policy = service_pb2.POLICY_BLOCK
    each.credits = NUM_FRAMES


def png(image: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    done, data = cv2.imencode(".png", image[:, :, ::-1])
    assert done
    return np.asarray(data).tobytes()


PICTURES = [png(image) for image in walk(NUM_FRAMES)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGrpc]:
    engine = create_engine(precision="f32", num_threads=1)
    with serving_grpc(engine, tmp_path_factory.mktemp("work")) as running:
        yield running
    engine.close()


def results(server: RunningGrpc, config: service_pb2.StreamConfig, chunks: Sequence[int]) -> list[bytes]:
    """What was found in each frame, the frames sent in chunks and each chunk answered before the next."""
    found = []
    with server.stub() as stub:
        call = Call(stub, config)
        sent = 0
        for size in chunks:
            for _ in range(size):
                call.frame(sent, PICTURES[sent])
                sent += 1
            for _ in range(size):
                answer = call.read().answer
                assert answer.HasField("result"), answer
                found.append(answer.result.SerializeToString(deterministic=True))
        assert call.rest() == []
    assert sent == len(found) == NUM_FRAMES
    return found


@pytest.fixture(scope="module")
def one_by_one(server: RunningGrpc) -> dict[str, list[bytes]]:
    return {name: results(server, config, [1] * NUM_FRAMES) for name, config in SCHEDULES.items()}


def test_the_people_are_seen_at_all(one_by_one: dict[str, list[bytes]]) -> None:
    assert len(set(one_by_one["every frame"])) > 1
    assert all(len(found) > 100 for many in one_by_one.values() for found in many)


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_frames_sent_at_once_are_answered_as_frames_sent_one_by_one(
    server: RunningGrpc, one_by_one: dict[str, list[bytes]], name: str
) -> None:
    assert results(server, SCHEDULES[name], [NUM_FRAMES]) == one_by_one[name]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(sorted(SCHEDULES)),
    cuts=st.sets(st.integers(1, NUM_FRAMES - 1)),
)
def test_frames_sent_in_chunks_are_answered_as_frames_sent_one_by_one(
    server: RunningGrpc, one_by_one: dict[str, list[bytes]], name: str, cuts: set[int]
) -> None:
    edges = [0, *sorted(cuts), NUM_FRAMES]
    chunks = [end - start for start, end in itertools.pairwise(edges)]
    assert results(server, SCHEDULES[name], chunks) == one_by_one[name]
