"""Streams for minutes: memory, threads and files stay, and every frame is accounted for.

Set SOAK_MINUTES to run it; 10 is the usual length.
"""

import os
import random
import re
import threading
import time
from pathlib import Path

import httpx
import psutil
import pytest

from partstream.v1 import service_pb2
from tests.e2e.test_serve_command import Serving, serving
from tests.e2e.test_serve_streams import stub_of
from tests.server.running_grpc import Call
from tests.server.running_server import eventually
from tests.server.stream_fixtures import jpeg, walk

MINUTES = float(os.environ.get("SOAK_MINUTES", "0"))
GROWTH = 1.05
PICTURES = [jpeg(image) for image in walk(40)]
LATEST = service_pb2.StreamConfig(policy=service_pb2.POLICY_LATEST, max_age_ms=1000)


class Cameras:
    """Clients that send until they are told to stop, and count what they sent and what was answered."""

    def __init__(self, server: Serving) -> None:
        self._server = server
        self._lock = threading.Lock()
        self.stopped = threading.Event()
        self.num_sent = self.num_answered = self.num_cancelled = 0
        self.failures: list[BaseException] = []

    def steady(self) -> None:
        """One stream for all of the time, a bad frame now and then."""
        with stub_of(self._server) as stub:
            call = Call(stub, LATEST, timeout=None)
            index = 0
            while not self.stopped.wait(0.02):
                index += 1
                picture = b"broken" if index % 97 == 0 else PICTURES[index % len(PICTURES)]
                assert call.answer(index, picture).WhichOneof("outcome")
                self._count(1, 1)
            assert call.rest() == []

    def fleeting(self) -> None:
        """Streams of a few frames, some of which are cancelled with a frame in flight."""
        chance = random.Random(7)
        with stub_of(self._server) as stub:
            while not self.stopped.wait(0.05):
                call = Call(stub, LATEST)
                num_frames = chance.randrange(4)
                for index in range(num_frames):
                    call.answer(index, PICTURES[index])
                self._count(num_frames, num_frames)
                if chance.random() < 0.3:
                    call.frame(num_frames, PICTURES[0])
                    call.close()
                    with self._lock:
                        self.num_cancelled += 1
                else:
                    assert call.rest() == []

    def run(self, work: str) -> None:
        """Do one of the above, and keep what goes wrong."""
        try:
            getattr(self, work)()
        except BaseException as error:
            self.failures.append(error)

    def _count(self, sent: int, answered: int) -> None:
        with self._lock:
            self.num_sent += sent
            self.num_answered += answered


def frames_counted(server: Serving) -> dict[str, float]:
    """What the server says about its frames, by outcome."""
    found: dict[str, float] = {}
    pattern = r'partstream_stream_frames_total\{outcome="(\w+)",reason="\w*"\} (\S+)'
    for outcome, count in re.findall(pattern, httpx.get(f"{server.url}/metrics").text):
        found[outcome] = found.get(outcome, 0) + float(count)
    return found


@pytest.mark.slow
@pytest.mark.timeout(MINUTES * 60 + 300)
@pytest.mark.skipif(MINUTES == 0, reason="set SOAK_MINUTES=10 to stream for so long")
def test_minutes_of_streams_leave_memory_threads_and_files_as_they_were(tmp_path: Path) -> None:
    with serving(tmp_path, PARTSTREAM_LOG_LEVEL="warning") as server:
        process, cameras = psutil.Process(server.process.pid), Cameras(server)
        names = ("steady", "steady", "fleeting")
        threads = [threading.Thread(target=cameras.run, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        start = time.monotonic()
        cameras.stopped.wait(MINUTES * 60 * 0.2)
        before = (process.memory_info().rss, process.num_threads(), process.num_fds())
        peaks = [before]
        while time.monotonic() - start < MINUTES * 60 and not cameras.failures:
            cameras.stopped.wait(1)
            peaks.append((process.memory_info().rss, process.num_threads(), process.num_fds()))
        cameras.stopped.set()
        for thread in threads:
            thread.join(60)
        assert cameras.failures == []
        last = peaks[-1]
        print(f"\n{before=} {last=} sent={cameras.num_sent} cancelled={cameras.num_cancelled}")  # noqa: T201
        assert last[0] <= before[0] * GROWTH
        assert last[1] <= before[1] + 2
        assert last[2] <= before[2] + 8
        eventually(
            lambda: 'streams_open{transport="grpc"} 0.0' in httpx.get(f"{server.url}/metrics").text, ""
        )
        counted = frames_counted(server)
        assert cameras.num_sent == cameras.num_answered
        answered = counted["result"] + counted.get("failure", 0) + counted.get("skipped", 0)
        # A frame in flight when its call was cancelled may have been answered, dropped or never read.
        assert cameras.num_sent <= answered <= cameras.num_sent + cameras.num_cancelled
        assert counted.get("unanswered", 0) <= cameras.num_cancelled
