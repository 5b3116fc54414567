"""What comes out of every kind of media, good and bad, sent to a real server."""

import io
import zipfile
from pathlib import Path
from typing import Any

import av
import cv2
import httpx
import numpy as np
import pytest

from partstream_server.benchmarks.drawn_clip import write_figures
from tests.server import faulty_media as faulty
from tests.server.answers import document, problem
from tests.server.media_fixtures import (
    clip,
    image,
    picture,
    playlist,
    rotated,
    song,
    vast_png,
    vast_video,
    without_frames,
)
from tests.server.running_server import Running

LINES, VIDEO, ARCHIVE = "application/x-ndjson", "video/mp4", "application/zip"


def test_a_video_comes_back_as_a_document_of_its_frames(server: Running) -> None:
    whole = document(server.parse(clip(num_frames=5)))
    assert [frame["index"] for frame in whole["frames"]] == [0, 1, 2, 3, 4]
    assert [round(frame["time_s"], 3) for frame in whole["frames"]] == [0, 0.04, 0.08, 0.12, 0.16]
    video = whole["video"]
    assert (video["width"], video["height"], video["num_frames"], video["num_damaged"]) == (64, 48, 5, 0)
    assert (video["frame_rate"], round(video["duration_s"], 3)) == (25, 0.2)
    ready = server.http.get("/readyz").json()
    model = whole["model"]
    assert [model[name] for name in ("bundle", "version", "provider")] == [
        ready[name] for name in ("bundle", "version", "provider")
    ]
    assert len(model["parts"]) == 19


def test_a_turned_phone_video_is_upright(server: Running) -> None:
    whole = document(server.parse(rotated(clip(num_frames=2))))
    assert (whole["video"]["width"], whole["video"]["height"]) == (48, 64)


def test_a_variable_frame_rate_keeps_its_times(server: Running) -> None:
    times = [0, 0.04, 0.2, 0.21, 0.5]
    whole = document(server.parse(clip(num_frames=5, times=times)))
    assert [round(frame["time_s"], 3) for frame in whole["frames"]] == times


@pytest.mark.parametrize(
    ("body", "size"),
    [
        (clip(width=65, height=49, pix_fmt="yuv444p", num_frames=2), (65, 49)),
        (clip(pix_fmt="gray", codec="ffv1", form="matroska", num_frames=2), (64, 48)),
        (clip(width=1, height=1, codec="png", form="mov", pix_fmt="rgb24", num_frames=2), (1, 1)),
        (image(picture(width=1, height=1)), (1, 1)),
        (image(picture(width=33, height=17), suffix=".jpg"), (33, 17)),
        (image(np.asarray(cv2.cvtColor(picture(), cv2.COLOR_RGB2GRAY), np.uint8)), (64, 48)),
        (image(np.dstack([picture(), np.full((48, 64), 90, np.uint8)])), (64, 48)),
        (image(suffix=".webp"), (64, 48)),
    ],
    ids=["odd sides", "grey video", "1x1 video", "1x1", "odd JPEG", "grey", "alpha", "WebP"],
)
def test_unusual_pictures_are_parsed(server: Running, body: bytes, size: tuple[int, int]) -> None:
    whole = document(server.parse(body))
    assert (whole["video"]["width"], whole["video"]["height"]) == size
    assert whole["video"]["num_frames"] == len(whole["frames"]) >= 1


def test_the_frames_before_the_end_of_a_cut_file_are_parsed_and_the_lost_ones_counted(
    server: Running,
) -> None:
    whole = document(server.parse(clip(form="matroska", num_frames=30)[:-1500]))
    assert len(whole["frames"]) >= 1
    assert whole["video"]["num_damaged"] >= 1
    assert len(whole["frames"]) + whole["video"]["num_damaged"] == 30


@pytest.mark.parametrize("accept", ["*/*", LINES, VIDEO, ARCHIVE])
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"Roses are red, violets are blue\n" * 40, "not_a_video"),
        (np.random.default_rng(1).bytes(5000), "not_a_video"),
        (playlist("/etc/hostname"), "not_a_video"),
        (b"", "empty_upload"),
        (clip()[:-300], "truncated"),
        (song(), "no_video_stream"),
        (without_frames(), "no_frames"),
        (vast_png(), "frame_too_large"),
        (vast_video(16_000), "frame_too_large"),
    ],
    ids=["text", "noise", "playlist", "empty", "cut", "song", "no frames", "vast image", "vast video"],
)
def test_what_cannot_be_parsed_is_explained(server: Running, accept: str, body: bytes, code: str) -> None:
    problem(server.parse(body, accept), code)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (faulty.cut(faulty.saved("WEBP", width=320, height=240), 0.5), "not_a_video"),
        (faulty.text_bomb(before=b"IEND"), "not_a_video"),
        (faulty.without_decoder(), "no_frames"),
        (faulty.encrypted(), "no_frames"),
        (faulty.data_url(), "not_a_video"),
    ],
    ids=["cut WebP", "text bomb", "no decoder", "encrypted", "data URL"],
)
def test_what_decoders_stumble_over_is_refused(server: Running, body: bytes, code: str) -> None:
    problem(server.parse(body), code)


@pytest.mark.parametrize(
    ("body", "size", "num_frames"),
    [
        (faulty.cut(faulty.turned_jpeg(width=320, height=240), 0.8), (240, 320), 1),
        (faulty.motion_jpeg([faulty.turned_jpeg()] * 3), (48, 64), 3),
        (faulty.png_with(faulty.chunk(b"eXIf", b"garbage")), (64, 48), 1),
        (image(suffix=".jpg") * 4, (64, 48), 4),
        (image(suffix=".jpg") + b"trailer", (64, 48), 1),
        (clip(form="matroska", times=[7200 + number / 25 for number in range(6)]), (64, 48), 6),
    ],
    ids=["cut JPEG with EXIF", "MJPEG with EXIF", "bad eXIf", "raw MJPEG", "JPEG with a trailer", "2 h late"],
)
def test_faults_that_leave_the_pictures_whole_cost_nothing(
    server: Running, body: bytes, size: tuple[int, int], num_frames: int
) -> None:
    whole = document(server.parse(body))
    assert (whole["video"]["width"], whole["video"]["height"]) == size
    assert len(whole["frames"]) == num_frames


def test_a_video_larger_than_any_decoder_takes_is_refused(server: Running) -> None:
    answer = server.parse(vast_video(20_000))
    assert answer.json()["code"] in ("frame_too_large", "no_frames")
    assert answer.status_code == 422


def test_a_playlist_cannot_make_the_server_read_another_file(server: Running, tmp_path: Any) -> None:
    other = tmp_path / "other.mp4"
    other.write_bytes(clip())
    problem(server.parse(playlist(str(other))), "not_a_video")


def test_lines_are_the_frames_of_the_document(server: Running) -> None:
    body = clip(num_frames=4)
    answer = server.parse(body, LINES)
    assert answer.headers["content-type"] == LINES
    lines = [httpx.Response(200, content=line).json() for line in answer.text.splitlines()]
    assert lines == document(server.parse(body))["frames"]


def test_the_overlay_has_the_frames_times_and_size_of_the_source(server: Running) -> None:
    times = [0, 0.04, 0.2, 0.21, 0.5]
    answer = server.parse(rotated(clip(width=66, num_frames=5, times=times)), VIDEO)
    assert (answer.status_code, answer.headers["content-type"]) == (200, VIDEO)
    assert int(answer.headers["content-length"]) == len(answer.content)
    with av.open(io.BytesIO(answer.content), "r") as container:
        frames = list(container.decode(video=0))
    assert [round(float(frame.time or 0), 3) for frame in frames] == times
    assert {(frame.width, frame.height) for frame in frames} == {(48, 66)}


def test_the_archive_holds_the_maps_of_every_frame_and_the_document(server: Running) -> None:
    body = clip(num_frames=3)
    answer = server.parse(body, ARCHIVE)
    assert (answer.status_code, answer.headers["content-type"]) == (200, ARCHIVE)
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        names = [f"{folder}/{index:06}.png" for index in range(3) for folder in ("parts", "identities")]
        assert sorted(archive.namelist()) == sorted([*names, "results.json"])
        results = httpx.Response(200, content=archive.read("results.json")).json()
        assert results == document(server.parse(body))
        for name in names:
            pixels = cv2.imdecode(np.frombuffer(archive.read(name), np.uint8), cv2.IMREAD_UNCHANGED)
            assert pixels is not None and pixels.shape[:2] == (48, 64)


@pytest.mark.parametrize("accept", ["*/*", LINES, VIDEO, ARCHIVE])
def test_an_image_is_a_video_of_one_frame(server: Running, accept: str) -> None:
    assert server.parse(image(), accept).status_code == 200


def test_every_other_frame_is_parsed_up_to_a_number_of_the_source(server: Running) -> None:
    whole = document(server.parse(clip(num_frames=9), every=2, max_frames=3))
    assert [frame["index"] for frame in whole["frames"]] == [0, 2]


@pytest.mark.parametrize("masks", ["rle", "polygons", "none"])
def test_masks_come_in_the_form_that_is_asked_for(server: Running, masks: str, tmp_path: Path) -> None:
    write_figures(tmp_path / "walkers.mp4", width=320, height=192, num_frames=3)
    body = (tmp_path / "walkers.mp4").read_bytes()
    whole = server.parse(body, masks=masks, score_threshold=0.1).json()
    kind = {"rle": "counts", "polygons": "polygons", "none": None}[masks]
    assert any(frame["people"] for frame in whole["frames"])
    for person in (person for frame in whole["frames"] for person in frame["people"]):
        for mask in (person["mask"], *(part["mask"] for part in person["parts"])):
            assert (mask is None) if kind is None else (set(mask) == {"size", kind})


def test_a_higher_threshold_lets_nobody_in_who_was_not(server: Running) -> None:
    body = clip(num_frames=2)
    some = server.parse(body, score_threshold=0.2).json()
    none = server.parse(body, score_threshold=1).json()
    assert all(person["score"] >= 0.2 for frame in some["frames"] for person in frame["people"])
    assert [frame["people"] for frame in none["frames"]] == [[], []]
