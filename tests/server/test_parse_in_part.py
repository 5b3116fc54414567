"""Files that are parsed in part: from a time to a time, so many frames a second, some parts, some people."""

import io
import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from pydantic import ValidationError

from partstream_client import Client
from partstream_server.benchmarks.drawn_clip import write_figures
from partstream_server.media import open_video
from partstream_server.pipeline.parse_options import ParseOptions
from tests.server.answers import problem
from tests.server.media_fixtures import clip, image
from tests.server.running_server import Running

RATE = 25
TIMES = [index / RATE for index in range(20)]


def parsed(server: Running, body: bytes, **options: Any) -> list[dict[str, Any]]:
    answer = server.parse(body, "application/x-ndjson", **options)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.iter_lines()]


@pytest.mark.parametrize(
    ("options", "indices"),
    [
        ({"start_s": 0.4}, range(10, 20)),
        ({"end_s": 0.4}, range(10)),
        ({"start_s": 0.2, "end_s": 0.6}, range(5, 15)),
        ({"start_s": 0.2, "end_s": 0.6, "every": 4}, [8, 12]),
        ({"start_s": 0.4, "max_frames": 12}, [10, 11]),
        ({"fps": 5}, [0, 5, 10, 15]),
        ({"fps": 1000}, range(20)),
        ({"start_s": 99}, []),
    ],
)
def test_only_what_is_asked_for_is_parsed(server: Running, options: dict[str, Any], indices: Any) -> None:
    frames = parsed(server, clip(num_frames=20, rate=RATE), **options)
    assert [frame["index"] for frame in frames] == list(indices)
    assert [frame["time_s"] for frame in frames] == pytest.approx([TIMES[index] for index in indices])


@pytest.mark.parametrize("late_s", [0.0, 7.0])
def test_times_count_from_the_first_frame_also_where_rates_vary(tmp_path: Path, late_s: float) -> None:
    times = [late_s + time_s for time_s in (0.0, 0.1, 0.5, 0.6, 2.0, 2.1)]
    (tmp_path / "clip.mkv").write_bytes(clip(num_frames=6, times=times, form="matroska"))
    with open_video(tmp_path / "clip.mkv") as reader:
        reader.read_only(start_s=0.5, end_s=2.05)
        assert [frame.index for frame in reader] == [2, 3, 4]


def test_rendered_videos_begin_and_end_there(server: Running) -> None:
    answer = server.parse(clip(num_frames=20, rate=RATE), "video/mp4", start_s=0.2, end_s=0.6, every=5)
    with av.open(io.BytesIO(answer.content), "r") as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert times == pytest.approx([index / RATE for index in range(10)], abs=1e-3)


@pytest.fixture(scope="module")
def walkers(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("clip") / "walkers.mp4"
    write_figures(path, width=640, height=360, num_frames=3)
    return path.read_bytes()


def test_parts_and_people_that_are_not_wanted_are_left_out(server: Running, walkers: bytes) -> None:
    everything = parsed(server, walkers)
    identities = sorted({person["identity"] for frame in everything for person in frame["people"]})
    assert len(identities) > 1
    wanted = identities[1]
    few = parsed(server, walkers, people=f"{wanted},99", parts="pants,hair")
    for before, after in zip(everything, few, strict=True):
        (expected,) = [person for person in before["people"] if person["identity"] == wanted]
        (person,) = after["people"]
        expected["parts"] = [part for part in expected["parts"] if part["part"] in ("pants", "hair")]
        assert person == expected


def test_jobs_and_the_client_have_them_too(server: Running, walkers: bytes) -> None:
    with Client(server.url) as client:
        job = client.submit(walkers, outputs=("ndjson", "mp4"), start_s=0.04, parts="pants", people="1")
        job.wait(poll_s=0.05)
        frames = list(job.results())
        direct = list(client.iter_frames(walkers, start_s=0.04, parts="pants", people="1"))
        job.cancel()
    assert [frame.index for frame in frames] == [frame.index for frame in direct] == [1, 2]
    for frame, other in zip(frames, direct, strict=True):
        assert {name for person in frame.people for name in person.parts} <= {"pants"}
        assert [person.box for person in frame.people] == [person.box for person in other.people]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"start_s": 1, "end_s": 1}, "after start_s"),
        ({"every": 2, "fps": 5}, "do not go together"),
        ({"parts": "hair,wings"}, "wings"),
        ({"people": "1,zero"}, "zero"),
        ({"people": "0"}, "'0'"),
        ({"start_s": -1}, "start_s"),
        ({"fps": 0}, "fps"),
    ],
)
def test_what_cannot_be_is_refused(server: Running, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError):
        ParseOptions(**options)
    assert words in problem(server.parse(image(), **options), "bad_option")["detail"]


def two_streams() -> bytes:
    """A file with a small video stream of red frames and a large one of grey ones."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        streams = []
        for width, height in ((64, 48), (128, 96)):
            stream = container.add_stream("libx264", rate=RATE)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            streams.append(stream)
        for index in range(4):
            for stream, colour in zip(streams, ((200, 0, 0), (90, 90, 90)), strict=True):
                pixels = np.full((stream.height, stream.width, 3), colour, np.uint8)
                frame = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format="yuv420p")
                frame.pts = index
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    return file.getvalue()


def test_the_stream_of_a_number_is_parsed_and_by_default_the_largest(server: Running) -> None:
    body = two_streams()
    widths = [
        server.parse(body, "application/json", **options).json()["video"]["width"]
        for options in ({}, {"stream": 0}, {"stream": 1})
    ]
    assert widths == [128, 64, 128]
    assert "the file has 2" in problem(server.parse(body, stream=2), "no_such_stream")["detail"]
    answer = server.http.post("/v1/jobs", content=body, params={"stream": 5})
    problem(answer, "no_such_stream")


def test_interlaced_frames_are_left_as_they_are_if_that_is_asked_for(data_dir: Path) -> None:
    path = data_dir / "faulty" / "interlaced_motion.mp4"
    with open_video(path) as progressive, open_video(path, deinterlace=False) as woven:
        one, other = (list(reader) for reader in (progressive, woven))
    assert len(one) == len(other)
    assert (one[2].image[1::2] != other[2].image[1::2]).any()
