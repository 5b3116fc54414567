"""Jobs without a transport: interruptions, fairness, downloads, webhooks and the end of their time."""

import base64
import hashlib
import hmac
import json
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from partstream_core.results_io import read_ndjson
from partstream_server.benchmarks.drawn_clip import write_figures
from partstream_server.engine import Engine
from partstream_server.jobs.errors import JobsUnavailableError, JobUnknownError
from partstream_server.jobs.likely_file import LIKELY, likely_line, open_likely, read_likely
from partstream_server.jobs.manager import JobHooks, Jobs, JobsConfig
from partstream_server.jobs.records import Checkpoint, Delivery, Job, JobState, Output
from partstream_server.jobs.store import JobStore
from partstream_server.pipeline.likely_parts import Likely
from partstream_server.security.errors import QuotaExceededError
from partstream_server.service.service import job_problem
from partstream_server.sources.address import Rules
from tests.server.engines import Failing
from tests.server.running_server import eventually

NUM_FRAMES = 24
CHUNK = 8
LOOPBACK = Rules(("127.0.0.1",), private=True)


@pytest.fixture(scope="module")
def walkers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "walkers.mp4"
    write_figures(path, width=640, height=360, num_frames=NUM_FRAMES)
    return path


@contextmanager
def running(
    engine: Engine,
    directory: Path,
    *,
    use_frame: Callable[[str], None] = lambda _: None,
    start: bool = True,
    open_store: Callable[[Path], JobStore] = JobStore,
    **options: Any,
) -> Iterator[Jobs]:
    """Jobs in a directory, as a server has them."""
    config = JobsConfig(directory=directory, chunk_frames=CHUNK, **options)
    hooks = JobHooks(engine=lambda: engine, use_frame=use_frame, yields=lambda: False, problem=job_problem)
    jobs = Jobs(config, hooks, open_store=open_store)
    try:
        if start:
            jobs.start()
        yield jobs
    finally:
        jobs.close()


def submit(jobs: Jobs, source: Path | None, owner: str = "ann", **fields: Any) -> Job:
    job_id, folder = jobs.new_folder()
    if source is not None:
        (folder / "source").write_bytes(source.read_bytes())
    given: dict[str, Any] = {"options": {}, "outputs": (Output.NDJSON,)} | fields
    return jobs.submit(job_id, owner=owner, **given)


def over(jobs: Jobs, job: Job) -> Job:
    eventually(lambda: jobs.get(job.job_id, job.owner).state.is_over, f"job {job.job_id} is over")
    return jobs.get(job.job_id, job.owner)


def lines(jobs: Jobs, job: Job) -> bytes:
    return jobs.result(job.job_id, job.owner, Output.NDJSON).read_bytes()


@pytest.fixture(scope="module")
def undisturbed(engine: Engine, walkers: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    with running(engine, tmp_path_factory.mktemp("undisturbed")) as jobs:
        job = over(jobs, submit(jobs, walkers))
        assert job.state is JobState.DONE, job.problem
        return lines(jobs, job)


class Stop:
    """Lets an owner use a number of frames, then says that the server is to stop."""

    def __init__(self, frames: int) -> None:
        self.left = frames
        self.reached = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, _owner: str) -> None:
        if self.left == 0:
            self.reached.set()
            assert self.go_on.wait(60)
        self.left -= 1


@pytest.mark.parametrize("frames", [[3], [8, 5, 12]])
def test_an_interrupted_job_has_the_results_of_an_undisturbed_one(
    engine: Engine, walkers: Path, undisturbed: bytes, tmp_path: Path, frames: list[int]
) -> None:
    job = None
    for number in frames:
        stop = Stop(number)
        with running(engine, tmp_path, use_frame=stop) as jobs:
            job = job or submit(jobs, walkers)
            assert stop.reached.wait(60)
            closing = threading.Thread(target=jobs.close)
            closing.start()
            stop.go_on.set()
            closing.join()
    assert job is not None
    with running(engine, tmp_path) as jobs:
        job = over(jobs, job)
        assert lines(jobs, job) == undisturbed
        kinds = [event.kind for event in jobs.events(job.job_id, 0)]
    assert [frame.index for frame in read_ndjson(tmp_path / "files" / job.job_id / "results.ndjson")] == list(
        range(NUM_FRAMES)
    )
    assert kinds.count("interrupted") == len(frames)
    assert kinds[-1] == "done"


def test_identities_are_carried_from_chunk_to_chunk(undisturbed: bytes) -> None:
    people = [
        {person["identity"] for person in json.loads(line)["people"]} for line in undisturbed.splitlines()
    ]
    kept = people[CHUNK - 1] & people[CHUNK] & people[2 * CHUNK]
    assert len(kept) >= 2


def halted(engine: Engine, walkers: Path, directory: Path, **fields: Any) -> Job:
    """A job that was interrupted after its first chunk."""
    stop = Stop(CHUNK + 2)
    with running(engine, directory, use_frame=stop) as jobs:
        job = submit(jobs, walkers, **fields)
        assert stop.reached.wait(60)
        closing = threading.Thread(target=jobs.close)
        closing.start()
        stop.go_on.set()
        closing.join()
    return job


def test_results_beyond_the_checkpoint_are_dropped(
    engine: Engine, walkers: Path, undisturbed: bytes, tmp_path: Path
) -> None:
    job = halted(engine, walkers, tmp_path)
    with (tmp_path / "files" / job.job_id / "results.ndjson").open("ab") as file:
        file.write(b'{"index": 8, "half a li')
    with running(engine, tmp_path) as jobs:
        assert lines(jobs, over(jobs, job)) == undisturbed


def test_results_shorter_than_the_checkpoint_are_parsed_anew(
    engine: Engine, walkers: Path, undisturbed: bytes, tmp_path: Path
) -> None:
    job = halted(engine, walkers, tmp_path)
    results = tmp_path / "files" / job.job_id / "results.ndjson"
    results.write_bytes(results.read_bytes()[:100])
    with running(engine, tmp_path) as jobs:
        assert lines(jobs, over(jobs, job)) == undisturbed
        assert "restarted" in [event.kind for event in jobs.events(job.job_id, 0)]


PRIVACY: Any = {"options": {"render": "privacy"}, "outputs": (Output.NDJSON, Output.MP4)}


@pytest.fixture(scope="module")
def private(engine: Engine, walkers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a job that covers heads."""
    directory = tmp_path_factory.mktemp("private")
    with running(engine, directory) as jobs:
        job = over(jobs, submit(jobs, walkers, **PRIVACY))
        assert job.state is JobState.DONE, job.problem
        return directory / "files" / job.job_id


@pytest.mark.parametrize("damage", [lambda lines: lines + b'{"size": [9', lambda lines: lines[:100]])
def test_likely_heads_are_kept_over_an_interruption(
    engine: Engine, walkers: Path, private: Path, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    maps = list(read_likely(private / LIKELY))
    assert len(maps) == NUM_FRAMES
    assert all((one >= Likely.HEAD).any() for one in maps)
    job = halted(engine, walkers, tmp_path, **PRIVACY)
    likely = tmp_path / "files" / job.job_id / LIKELY
    likely.write_bytes(damage(likely.read_bytes()))
    with running(engine, tmp_path) as jobs:
        job = over(jobs, job)
        assert job.state is JobState.DONE, job.problem
    for name in (LIKELY, "results.ndjson", "overlay.mp4"):
        assert (likely.parent / name).read_bytes() == (private / name).read_bytes(), name


@given(
    cells=arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 3)),
    others=st.integers(0, 3),
)
def test_likely_parts_come_back_from_their_file(cells: npt.NDArray[np.uint8], others: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / LIKELY
        path.write_bytes(likely_line(cells) * (others + 1))
        for found in read_likely(path):
            np.testing.assert_array_equal(found, cells)
        file = open_likely(path, others)
        assert file is not None
        with file:
            assert file.tell() == path.stat().st_size == len(likely_line(cells)) * others
        assert open_likely(path, others + 1) is None


def test_a_job_does_not_go_on_with_another_bundle(engine: Engine, walkers: Path, tmp_path: Path) -> None:
    job = halted(engine, walkers, tmp_path)
    with running(engine, tmp_path, start=False) as jobs:
        assert jobs.get(job.job_id, "ann").checkpoint.next_index == CHUNK
        jobs.store.update(job.job_id, bundle=b"another")
        jobs.start()
        job = over(jobs, job)
        assert job.problem is not None
        assert job.problem["code"] == "bundle_changed"


def test_a_source_that_was_damaged_meanwhile_ends_the_job(
    engine: Engine, walkers: Path, tmp_path: Path
) -> None:
    job = halted(engine, walkers, tmp_path)
    (tmp_path / "files" / job.job_id / "source").write_bytes(b"no video")
    with running(engine, tmp_path) as jobs:
        job = over(jobs, job)
        assert (job.state, (job.problem or {})["code"]) == (JobState.FAILED, "not_a_video")


def test_a_fault_inside_is_told_without_its_details(engine: Engine, walkers: Path, tmp_path: Path) -> None:
    failing = Failing(engine, RuntimeError("secret"), after_frames=3)
    with running(failing, tmp_path) as jobs:
        first, second = submit(jobs, walkers), submit(jobs, walkers)
        problem = over(jobs, first).problem or {}
        assert problem["code"] == "internal_error"
        assert "secret" not in problem["detail"]
        assert over(jobs, second).state is JobState.DONE


def test_owners_take_turns(engine: Engine, tmp_path: Path) -> None:
    with running(engine, tmp_path, start=False) as jobs:
        nothing = tmp_path / "nothing"
        nothing.write_bytes(b"no video")
        names = ["ann"] * 4 + ["bob"] * 2 + ["eve"]
        order = {submit(jobs, nothing, name).job_id: name for name in names}
        jobs.start()
        for job_id, name in order.items():
            over(jobs, jobs.get(job_id, name))
        started = sorted(order, key=lambda job_id: jobs.events(job_id, 0)[1].time_s)
    assert [order[job_id] for job_id in started] == ["ann", "bob", "eve", "ann", "bob", "ann", "ann"]


def test_a_key_without_frames_waits_and_keeps_nobody_else_waiting(
    engine: Engine, walkers: Path, undisturbed: bytes, tmp_path: Path
) -> None:
    left = {"ann": CHUNK + 3, "bob": 10**6}

    def use_frame(owner: str) -> None:
        if left[owner] == 0:
            raise QuotaExceededError("the day's frames are used up", retry_after_s=0.3)
        left[owner] -= 1

    with running(engine, tmp_path, use_frame=use_frame) as jobs:
        poor, rich = submit(jobs, walkers), submit(jobs, walkers, "bob")
        assert over(jobs, rich).state is JobState.DONE
        assert jobs.get(poor.job_id, "ann").state is not JobState.FAILED
        left["ann"] = 10**6
        assert lines(jobs, over(jobs, poor)) == undisturbed
        assert "waiting" in [event.kind for event in jobs.events(poor.job_id, 0)]


def test_a_full_disk_and_a_full_quota_end_a_job(engine: Engine, walkers: Path, tmp_path: Path) -> None:
    with running(engine, tmp_path, quota_bytes=walkers.stat().st_size + 100) as jobs:
        problem = over(jobs, submit(jobs, walkers)).problem or {}
        assert problem["code"] == "disk_quota_exceeded"


class FullStore(JobStore):
    """Cannot store the second checkpoint, as on a full disk, until there is room again."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.checkpoints = 0
        self.refused = threading.Event()
        self.has_room = threading.Event()

    def advance(self, job_id: str, kind: str, data: dict[str, Any] | None = None, **fields: Any) -> Job:
        self.checkpoints += kind == "progress"
        self._refuse_if_full()
        return super().advance(job_id, kind, data, **fields)

    def finish(self, job_id: str, kind: str, deliveries: Sequence[Delivery], **fields: Any) -> Job:
        self._refuse_if_full()
        return super().finish(job_id, kind, deliveries, **fields)

    def _refuse_if_full(self) -> None:
        if self.checkpoints == 2 and not self.has_room.is_set():
            self.refused.set()
            raise sqlite3.OperationalError("database or disk is full")


def test_a_job_goes_on_when_the_database_can_be_written_again(
    engine: Engine, walkers: Path, undisturbed: bytes, tmp_path: Path
) -> None:
    with running(engine, tmp_path, open_store=FullStore, pause_s=0.2) as jobs:
        store = jobs.store
        assert isinstance(store, FullStore)
        job = submit(jobs, walkers)
        assert store.refused.wait(60)
        store.has_room.set()
        assert lines(jobs, over(jobs, job)) == undisturbed


def test_one_server_at_a_time_keeps_jobs_in_a_directory(engine: Engine, tmp_path: Path) -> None:
    with (
        running(engine, tmp_path),
        running(engine, tmp_path, start=False) as second,
        pytest.raises(JobsUnavailableError, match="another server"),
    ):
        second.start()
    with running(engine, tmp_path) as third:
        assert third.page("ann", limit=5, before=None) == []


@pytest.mark.parametrize("content", [b"no database at all, but long enough to be taken for one" * 40, b""])
def test_a_damaged_database_is_named(engine: Engine, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "jobs.sqlite").write_bytes(content)
    with running(engine, tmp_path, start=False) as jobs:
        if content:
            with pytest.raises(JobsUnavailableError, match=r"jobs\.sqlite"):
                jobs.start()
        else:
            jobs.start()


def test_a_directory_that_cannot_be_made_is_named(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with running(engine, tmp_path / "file" / "jobs", start=False) as jobs:
        assert not jobs.has_store
        with pytest.raises(JobsUnavailableError, match="file/jobs"):
            jobs.start()


def test_jobs_go_when_their_time_is_over(engine: Engine, walkers: Path, tmp_path: Path) -> None:
    with running(engine, tmp_path) as jobs:
        job = over(jobs, submit(jobs, walkers))
    with running(engine, tmp_path, lifetime_s=0.001) as jobs:

        def is_gone() -> bool:
            try:
                jobs.get(job.job_id, "ann")
            except JobUnknownError:
                return not (tmp_path / "files" / job.job_id).exists()
            return False

        eventually(is_gone, "the job is deleted")


def test_what_an_upload_left_behind_is_removed(engine: Engine, tmp_path: Path) -> None:
    orphan = tmp_path / "files" / "abc"
    orphan.mkdir(parents=True)
    with running(engine, tmp_path):
        assert not orphan.exists()


class Site(ThreadingHTTPServer):
    """Serves a file and takes messages; refuses the first so many of them."""

    def __init__(self, body: bytes, *, declared: int | None = None, refusals: int = 0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.body, self.declared, self.refusals = body, declared or len(body), refusals
        self.messages: list[tuple[dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/file.mp4"


class _Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(self.server.declared))
        self.end_headers()
        self.wfile.write(self.server.body)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.messages.append(({name.lower(): value for name, value in self.headers.items()}, body))
        self.server.refusals -= 1
        self.send_response(503 if self.server.refusals >= 0 else 204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def site(body: bytes, **options: int) -> Iterator[Site]:
    with Site(body, **options) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def test_a_job_downloads_its_file(engine: Engine, walkers: Path, undisturbed: bytes, tmp_path: Path) -> None:
    with site(walkers.read_bytes()) as server, running(engine, tmp_path, sources=LOOPBACK) as jobs:
        job = over(jobs, submit(jobs, None, url=server.url))
        assert lines(jobs, job) == undisturbed


@pytest.mark.parametrize(
    ("body", "declared", "code"),
    [(b"half", 100, "source_failed"), (bytes(2000), 2000, "upload_too_large"), (b"", 0, "empty_upload")],
)
def test_a_download_that_cannot_be_ends_the_job(
    engine: Engine, tmp_path: Path, body: bytes, declared: int, code: str
) -> None:
    with (
        site(body, declared=declared) as server,
        running(engine, tmp_path, sources=LOOPBACK, max_bytes=1000) as jobs,
    ):
        assert (over(jobs, submit(jobs, None, url=server.url)).problem or {})["code"] == code


def test_a_download_stays_where_it_is_allowed(engine: Engine, tmp_path: Path) -> None:
    with site(b"x") as server, running(engine, tmp_path, sources=replace(LOOPBACK, private=False)) as jobs:
        problem = over(jobs, submit(jobs, None, url=server.url)).problem or {}
        assert problem["code"] == "source_forbidden"


def test_the_end_of_a_job_is_told_until_it_is_heard(engine: Engine, walkers: Path, tmp_path: Path) -> None:
    key = b"0123456789abcdef"
    options: dict[str, Any] = {"webhook_hosts": LOOPBACK, "webhook_key": key, "webhook_pauses_s": (0.1, 0.1)}
    with site(b"", refusals=2) as server:
        with running(engine, tmp_path, **options) as jobs:
            job = over(jobs, submit(jobs, walkers, webhook=server.url))
            eventually(lambda: len(server.messages) == 3, "the message was sent three times")
            eventually(lambda: jobs.store.num_deliveries() == 0, "it is not sent again")
        assert len({headers["webhook-id"] for headers, _ in server.messages}) == 1
        headers, body = server.messages[-1]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    right = "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    assert headers["webhook-signature"] == right
    told = json.loads(body)
    assert (told["type"], told["data"]["id"], told["data"]["state"]) == ("job.done", job.job_id, "done")
    assert told["data"]["results"] == {"ndjson": f"/v1/jobs/{job.job_id}/results/ndjson"}


def test_a_message_is_given_up_and_never_sent_where_it_may_not_go(
    engine: Engine, walkers: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"webhook_key": bytes(16), "webhook_pauses_s": (0.05,)}
    with (
        site(b"") as server,
        running(engine, tmp_path, webhook_hosts=Rules(("127.0.0.1",)), **options) as jobs,
    ):
        over(jobs, submit(jobs, walkers, webhook=server.url))
        eventually(lambda: jobs.store.num_deliveries() == 0, "the message is given up")
        assert server.messages == []


def test_checkpoints_are_stored_whole(engine: Engine, tmp_path: Path) -> None:
    with running(engine, tmp_path, start=False) as jobs:
        job = submit(jobs, None, url="file:///nowhere")
        jobs.store.update(job.job_id, checkpoint=Checkpoint(7, 6, 5, None, 1.5))
        assert jobs.get(job.job_id, "ann").checkpoint == Checkpoint(7, 6, 5, None, 1.5)
