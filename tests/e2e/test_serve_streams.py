"""Live streams against server processes that are stopped, killed and started again."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import psutil
import pytest

from partstream.v1 import service_pb2, service_pb2_grpc
from partstream_server.media import open_video
from tests.e2e.test_serve_command import Serving, serving
from tests.server.running_grpc import BLOCK, Call
from tests.server.running_server import eventually
from tests.server.stream_fixtures import jpeg, walk

SECRET = {"PARTSTREAM_RESUME_SECRET": "the servers of this test share it"}
PICTURES = [jpeg(image) for image in walk(12)]


@contextmanager
def stub_of(server: Serving) -> Iterator[Any]:
    with grpc.insecure_channel(server.grpc_target) as channel:
        yield service_pb2_grpc.ParsingServiceStub(channel)  # type: ignore[no-untyped-call]


def resumed(token: bytes) -> service_pb2.StreamConfig:
    return service_pb2.StreamConfig(policy=service_pb2.POLICY_BLOCK, resume_token=token)


def identities(answer: service_pb2.FrameAnswer) -> list[int]:
    assert answer.HasField("result"), answer
    return [person.identity for person in answer.result.people]


def stream_until_killed(server: Serving, pictures: Sequence[bytes]) -> tuple[bytes, list[int]]:
    """The newest token of a stream whose server is killed under it, and its last identities."""
    token, last = b"", []
    with stub_of(server) as stub:
        call = Call(stub)
        for index, picture in enumerate(pictures):
            answer = call.answer(index, picture)
            token, last = answer.resume_token or token, identities(answer)
        server.process.kill()
        with pytest.raises(grpc.RpcError) as caught:
            call.read()
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    return token, last


def go_on(server: Serving, token: bytes, pictures: Sequence[bytes], *, first: int) -> list[int]:
    """Identities of the first frame after a resume."""
    with stub_of(server) as stub:
        call = Call(stub, resumed(token))
        assert call.opened is not None
        assert call.opened.resumed
        found = identities(call.answer(first, pictures[first]))
        assert call.rest() == []
        return found


def test_identities_outlive_a_killed_server(tmp_path: Path) -> None:
    with serving(tmp_path, **SECRET) as server:
        token, before = stream_until_killed(server, PICTURES[:6])
    assert before
    with serving(tmp_path, **SECRET) as server:
        after = go_on(server, token, PICTURES, first=6)
        assert set(before) & set(after)
        assert set(after) <= set(before)


@pytest.mark.slow
def test_the_juggling_man_keeps_his_identity_over_a_killed_server(tmp_path: Path, data_dir: Path) -> None:
    (clip,) = sorted(data_dir.glob("**/*juggl*.mp4"))[:1]
    with open_video(clip) as video:
        pictures = [jpeg(frame.image) for frame, _ in zip(video, range(20), strict=False)]
    with serving(tmp_path, **SECRET) as server:
        token, before = stream_until_killed(server, pictures[:10])
    with serving(tmp_path, **SECRET) as server:
        assert go_on(server, token, pictures, first=15) == before == [1]


def test_a_drain_hands_the_stream_over_with_its_identities(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with serving(tmp_path, **SECRET) as server, serving(tmp_path / "other", **SECRET) as other:
        with stub_of(server) as stub:
            call = Call(stub)
            before = identities(call.answer(0, PICTURES[0]))
            server.process.send_signal(signal.SIGTERM)
            away = call.read().going_away
            assert away.reason
            assert away.grace_ms > 0
            answer = httpx.get(f"{server.url}/readyz")
            assert (answer.status_code, answer.json()["code"]) == (503, "going_away")
            late = call.answer(1, PICTURES[1])
            assert late.skipped.reason == service_pb2.SKIP_REASON_GOING_AWAY
            assert call.rest() == []
        assert server.process.wait(60) == 0
        assert "Traceback" not in server.log.read_text()
        assert sorted(go_on(other, away.resume_token, PICTURES, first=1)) == sorted(before)


def test_a_client_that_does_not_leave_is_cut_off_when_the_grace_ends(tmp_path: Path) -> None:
    with serving(tmp_path, PARTSTREAM_SHUTDOWN_TIMEOUT_S="1") as server, stub_of(server) as stub:
        call = Call(stub)
        server.process.send_signal(signal.SIGTERM)
        assert call.read().HasField("going_away")
        with pytest.raises(grpc.RpcError) as caught:
            call.read()
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert server.process.wait(60) == 0
        assert "Traceback" not in server.log.read_text()


CLIENT = """
import sys, threading, grpc
from partstream.v1 import service_pb2 as pb, service_pb2_grpc
def requests():
    yield pb.StreamParseRequest(config=pb.StreamConfig(policy=pb.POLICY_BLOCK))
    for index in range(10**6):
        yield pb.StreamParseRequest(frame=pb.StreamFrame(index=index, encoded=PICTURE))
PICTURE = open(sys.argv[2], "rb").read()
NARROW = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65536)]
channel = grpc.insecure_channel(sys.argv[1], options=NARROW)
call = service_pb2_grpc.ParsingServiceStub(channel).StreamParse(requests())
for response in call:
    print(response.WhichOneof("response"), flush=True)
    if sys.argv[3] == "deaf" and response.WhichOneof("response") == "answer":
        threading.Event().wait()
"""


@contextmanager
def client(server: Serving, directory: Path, kind: str) -> Iterator[subprocess.Popen[str]]:
    picture = directory / "picture.jpg"
    picture.write_bytes(PICTURES[0])
    arguments = [sys.executable, "-c", CLIENT, server.grpc_target, str(picture), kind]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def streams_open(server: Serving) -> float:
    for line in httpx.get(f"{server.url}/metrics").text.splitlines():
        if line.startswith('partstream_streams_open{transport="grpc"}'):
            return float(line.split()[-1])
    return 0.0


def test_a_client_that_is_killed_leaves_nothing_behind(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        threads = psutil.Process(server.process.pid).num_threads
        for round_ in range(3):
            with client(server, tmp_path, "normal") as process:
                assert process.stdout is not None
                for _ in range(3):
                    assert process.stdout.readline()
                assert streams_open(server) == 1
                process.kill()
            eventually(lambda: streams_open(server) == 0, "the stream is closed")
            if round_ == 0:
                num_threads = threads()
        assert threads() <= num_threads + 1


def test_a_client_that_never_reads_is_let_go_and_costs_no_memory(tmp_path: Path) -> None:
    variables = {"PARTSTREAM_SEND_TIMEOUT_S": "3"}
    with serving(tmp_path, **variables) as server, client(server, tmp_path, "deaf") as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "opened"
        memory = psutil.Process(server.process.pid).memory_info
        assert process.stdout.readline().strip() == "answer"
        before = memory().rss
        eventually(lambda: streams_open(server) == 0, "the stream is closed")
        assert memory().rss - before < 100_000_000
        assert "slow_reader" in server.log.read_text()


def test_two_hundred_streams_at_once_fill_the_places_and_the_rest_is_told_so(tmp_path: Path) -> None:
    with serving(tmp_path) as server, stub_of(server) as stub:
        process = psutil.Process(server.process.pid)
        first = Call(stub)
        assert first.answer(0, PICTURES[0]).HasField("result")
        assert first.rest() == []
        threads_before, memory_before = process.num_threads(), process.memory_info().rss
        calls: list[Call] = []
        codes: list[str] = []
        lock = threading.Lock()

        def open_one() -> None:
            try:
                call = Call(stub)
            except grpc.RpcError as error:
                with lock:
                    codes.append(error.code().name)
            else:
                with lock:
                    calls.append(call)

        threads = [threading.Thread(target=open_one) for _ in range(200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(calls) == 32
        assert codes == ["RESOURCE_EXHAUSTED"] * 168
        assert calls[0].answer(0, PICTURES[0]).HasField("result")
        for call in calls:
            call.close()
        eventually(lambda: streams_open(server) == 0, "the streams are closed")
        assert process.num_threads() <= threads_before + 2
        assert process.memory_info().rss - memory_before < 50_000_000
        after = Call(stub, BLOCK)
        assert after.answer(0, PICTURES[0]).HasField("result")
        assert after.rest() == []
