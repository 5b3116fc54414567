"""Jobs over HTTP: submitted, followed, read and deleted, by one key or another."""

import io
import json
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import httpx
import pytest

from partstream_server.benchmarks.drawn_clip import write_figures
from partstream_server.engine import Engine
from tests.server.answers import problem
from tests.server.engines import Held
from tests.server.media_fixtures import clip, image, song
from tests.server.running_server import Running, eventually

VIDEO = clip(num_frames=8)


def walkers() -> bytes:
    """A clip of drawn figures, which the network takes for people."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "walkers.mp4"
        write_figures(path, width=640, height=360, num_frames=8)
        return path.read_bytes()


WALKERS = walkers()


def submit(
    server: Running, body: bytes = VIDEO, headers: dict[str, str] | None = None, **query: Any
) -> dict[str, Any]:
    answer = server.http.post("/v1/jobs", content=body, params=query, headers=headers or {})
    assert answer.status_code in (200, 202), answer.text
    job: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    return job


def finished(server: Running, job_id: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
    def over() -> bool:
        state = server.http.get(f"/v1/jobs/{job_id}", headers=headers).json()["state"]
        return state in ("done", "failed")

    eventually(over, f"job {job_id} is over")
    job: dict[str, Any] = server.http.get(f"/v1/jobs/{job_id}", headers=headers).json()
    return job


@pytest.fixture(scope="module")
def done(shared_server: Running) -> dict[str, Any]:
    """A job with all outputs that is over."""
    job = submit(shared_server, WALKERS, outputs="ndjson,json,mp4,zip,webm,mov", every=2)
    names = ["ndjson", "json", "mp4", "zip", "webm", "mov"]
    assert (job["state"], job["outputs"], job["results"]) == ("queued", names, {})
    return finished(shared_server, job["id"])


def result(server: Running, job: dict[str, Any], output: str, **headers: str) -> httpx.Response:
    return server.http.get(job["results"][output], headers=headers)


def test_a_job_has_the_results_of_parse(server: Running, done: dict[str, Any]) -> None:
    assert done["state"] == "done", done["problem"]
    lines = server.parse(WALKERS, "application/x-ndjson", every=2)
    assert result(server, done, "ndjson").content == lines.content
    assert any(json.loads(line)["people"] for line in lines.iter_lines())
    document = server.parse(WALKERS, "application/json", every=2).json()
    assert result(server, done, "json").json() == document
    archives = [
        zipfile.ZipFile(io.BytesIO(content))
        for content in (
            result(server, done, "zip").content,
            server.parse(WALKERS, "application/zip", every=2).content,
        )
    ]
    mine, theirs = ({name: archive.read(name) for name in archive.namelist()} for archive in archives)
    assert json.loads(mine.pop("results.json")) == json.loads(theirs.pop("results.json")) == document
    assert mine == theirs
    overlays = [result(server, done, "mp4").content, server.parse(WALKERS, "video/mp4", every=2).content]
    pictures = [
        [
            frame.to_ndarray(format="rgb24").tobytes()
            for frame in av.open(io.BytesIO(one), "r").decode(video=0)
        ]
        for one in overlays
    ]
    assert pictures[0] == pictures[1]
    assert len(result(server, done, "webm").content) == len(
        server.parse(WALKERS, "video/webm", every=2).content
    )
    assert len(pictures[0]) == 8


def test_a_job_that_is_done_tells_its_source_and_its_progress(done: dict[str, Any]) -> None:
    assert done["progress"] | {"frames_per_second": 0} == {
        "num_frames": 8,
        "num_results": 4,
        "expected_frames": 8,
        "share": 1.0,
        "frames_per_second": 0,
        "left_s": 0.0,
    }
    assert done["video"]["num_frames"] == 8
    assert done["created_at"] <= done["started_at"] <= done["finished_at"]
    assert done["options"]["every"] == 2


def test_results_come_in_ranges_and_not_twice(server: Running, done: dict[str, Any]) -> None:
    whole = result(server, done, "ndjson")
    assert "attachment" in whole.headers["content-disposition"]
    part = result(server, done, "ndjson", Range="bytes=5-9")
    assert (part.status_code, part.content) == (206, whole.content[5:10])
    assert result(server, done, "ndjson", Range=f"bytes={len(whole.content)}-").status_code == 416
    known = result(server, done, "ndjson", **{"If-None-Match": whole.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    head = server.http.head(done["results"]["ndjson"])
    assert head.headers["content-length"] == str(len(whole.content))


def events(answer: httpx.Response) -> list[tuple[int, str, dict[str, Any]]]:
    found = []
    for block in answer.text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


def test_events_tell_the_whole_story_and_go_on_after_any_of_them(
    server: Running, done: dict[str, Any]
) -> None:
    path = f"/v1/jobs/{done['id']}/events"
    whole = events(server.http.get(path))
    assert [kind for _, kind, _ in whole] == ["queued", "started", "progress", "rendering", "done"]
    assert [number for number, _, _ in whole] == [1, 2, 3, 4, 5]
    assert whole[2][2]["num_frames"] == 8
    assert events(server.http.get(path, headers={"Last-Event-ID": "3"})) == whole[3:]
    problem(server.http.get(path, headers={"Last-Event-ID": "soon"}), "bad_option")


def test_an_image_is_a_job_too(server: Running) -> None:
    job = finished(server, submit(server, image(), outputs="json")["id"])
    assert len(result(server, job, "json").json()["frames"]) == 1


def test_pages_of_jobs_hold_each_once(serve: Callable[..., Running]) -> None:
    server = serve()
    ids = [submit(server)["id"] for _ in range(5)]
    first = server.http.get("/v1/jobs", params={"limit": 3}).json()
    second = server.http.get("/v1/jobs", params={"limit": 3, "before": first["next"]}).json()
    assert [job["id"] for job in first["jobs"] + second["jobs"]] == ids[::-1]
    assert second["next"] is None
    problem(server.http.get("/v1/jobs", params={"before": "nothing"}), "not_found")
    for job_id in ids:
        finished(server, job_id)


def test_a_request_sent_again_makes_no_second_job(server: Running) -> None:
    headers = {"Idempotency-Key": "once"}
    job = submit(server, headers=headers, every=3)
    assert submit(server, headers=headers, every=3)["id"] == job["id"]
    other = server.http.post("/v1/jobs", content=VIDEO, headers=headers, params={"every": 4})
    problem(other, "idempotency_conflict")
    finished(server, job["id"])


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"outputs": "gif"}, "bad_option"),
        ({"outputs": ""}, "bad_option"),
        ({"outputs": "mp4", "masks": "polygons"}, "bad_option"),
        ({"skeletons": "true"}, "bad_option"),
        ({"every": "0"}, "bad_option"),
        ({"evry": "2"}, "unknown_option"),
        ({"webhook": "https://example.com/"}, "bad_option"),
    ],
)
def test_options_that_cannot_be_are_refused_at_once(
    server: Running, query: dict[str, str], code: str
) -> None:
    problem(server.http.post("/v1/jobs", content=VIDEO, params=query), code)


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        (b"a poem\n" * 50, {}, "not_a_video"),
        (b"", {}, "empty_upload"),
        (song(), {}, "no_video_stream"),
        (b"{}", {"Content-Type": "application/json"}, "bad_option"),
        (b"[", {"Content-Type": "application/json"}, "bad_option"),
        (b'{"url": "rtsp://example.com/"}', {"Content-Type": "application/json"}, "source_forbidden"),
        (b'{"url": "https://example.com/a.mp4"}', {"Content-Type": "application/json"}, "source_forbidden"),
        (VIDEO, {"Origin": "https://elsewhere.example"}, "foreign_origin"),
        (VIDEO, {"Idempotency-Key": "x" * 256}, "bad_option"),
    ],
)
def test_what_is_no_video_is_refused_at_once_and_leaves_nothing(
    server: Running, done: dict[str, Any], body: bytes, headers: dict[str, str], code: str
) -> None:
    files = server.service.settings.jobs_dir / "files"
    before = sorted(files.iterdir())
    problem(server.http.post("/v1/jobs", content=body, headers=headers), code)
    assert sorted(files.iterdir()) == before


def test_a_job_in_work_has_no_results_and_can_be_deleted(
    serve: Callable[..., Running], engine: Engine
) -> None:
    held = Held(engine)
    server = serve(held)
    job = submit(server)
    path = f"/v1/jobs/{job['id']}"
    eventually(lambda: server.http.get(path).json()["state"] == "parsing", "the job is in work")
    problem(server.http.get(f"{path}/results/ndjson"), "job_unfinished")
    problem(server.http.get(f"{path}/results/zip"), "not_found")
    assert server.http.delete(path).status_code == 204
    problem(server.http.get(path), "not_found")
    problem(server.http.delete(path), "not_found")
    held.gate.set()
    eventually(lambda: not any((server.service.settings.jobs_dir / "files").iterdir()), "its files are gone")


def test_jobs_of_one_key_are_nobody_elses(serve: Callable[..., Running]) -> None:
    server = serve(api_keys="ann:aaaaaaaaaaaaaaaa,bob:bbbbbbbbbbbbbbbb", max_jobs=1)
    ann, bob = ({"Authorization": f"Bearer {letter * 16}"} for letter in "ab")
    key = {"Idempotency-Key": "same"}
    job, other = submit(server, headers=ann | key), submit(server, headers=bob | key)
    assert job["id"] != other["id"]
    done = finished(server, job["id"], ann)
    assert [one["id"] for one in server.http.get("/v1/jobs", headers=bob).json()["jobs"]] == [other["id"]]
    for path in (f"/v1/jobs/{job['id']}", f"/v1/jobs/{job['id']}/events", done["results"]["ndjson"]):
        problem(server.http.get(path, headers=bob), "not_found")
        problem(server.http.get(path), "key_missing")
    problem(server.http.delete(f"/v1/jobs/{job['id']}", headers=bob), "not_found")
    finished(server, other["id"], bob)


def test_room_and_places_end(serve: Callable[..., Running], engine: Engine) -> None:
    held = Held(engine)
    server = serve(held, max_jobs=1, job_quota_mb=1)
    job = submit(server)
    problem(server.http.post("/v1/jobs", content=VIDEO), "busy")
    held.gate.set()
    finished(server, job["id"])
    problem(server.http.post("/v1/jobs", content=bytes(2**20 + 1)), "upload_too_large")
