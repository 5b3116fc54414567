"""The client and the real service, over a socket."""

import functools
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Unpack

import av
import pytest

from partstream_client import (
    Client,
    Frame,
    NoMaskError,
    Options,
    RejectedError,
    RetryPolicy,
    UnreachableError,
)
from partstream_client.people import BoolArray
from partstream_core.labels import PARTS
from partstream_server.engine import create_engine
from tests.server.media_fixtures import clip, image, song
from tests.server.running_server import Running, eventually, serving

NUM_FRAMES = 6


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    chosen = os.environ.get("PARTSTREAM_BUNDLE")
    engine = create_engine(Path(chosen) if chosen else None)
    with serving(engine, tmp_path_factory.mktemp("work")) as running:
        yield running
        running.check_unharmed()
    engine.close()


@pytest.fixture
def client(server: Running) -> Iterator[Client]:
    with Client(server.url, retry=RetryPolicy(retries=0)) as made:
        yield made


@pytest.fixture(scope="module")
def video() -> bytes:
    return clip(num_frames=NUM_FRAMES)


@pytest.mark.parametrize("every", [1, 2])
def test_a_line_without_people_knows_how_large_its_frame_is(client: Client, video: bytes, every: int) -> None:
    frames = list(client.iter_frames(video, every=every))
    assert len(frames) == -(-NUM_FRAMES // every)
    assert {frame.part_map.shape for frame in frames} == {(48, 64)}
    assert not any(frame.people for frame in frames)


def test_a_clip_comes_back_with_every_frame(client: Client, video: bytes, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(video)

    result = client.parse(path)

    assert [frame.index for frame in result.frames] == list(range(NUM_FRAMES))
    assert (result.video.width, result.video.height, result.video.num_frames) == (64, 48, NUM_FRAMES)
    assert result.model.provider in {"openvino", "onnxruntime"}
    assert set(result.model.parts) <= set(PARTS)


def test_frames_streamed_are_the_frames_of_the_document(client: Client, video: bytes) -> None:
    document = client.parse(video, every=2)
    streamed = list(client.iter_frames(video, every=2))
    assert [frame.index for frame in streamed] == [0, 2, 4]
    assert [frame.record for frame in streamed] == [frame.record for frame in document.frames]


def test_an_image_is_one_frame(client: Client) -> None:
    assert len(client.parse(image()).frames) == 1


def test_frames_may_be_limited(client: Client, video: bytes) -> None:
    assert len(client.parse(video, max_frames=2, masks="none").frames) == 2


def test_an_overlay_plays_as_long_as_its_source(client: Client, video: bytes, tmp_path: Path) -> None:
    path = client.overlay(video, tmp_path / "overlay.mp4")
    with av.open(path) as container:
        shapes = {frame.to_ndarray(format="rgb24").shape for frame in container.decode(video=0)}
        assert container.streams.video[0].frames == NUM_FRAMES
    assert shapes == {(48, 64, 3)}


def test_media_behind_an_address_is_parsed(client: Client, video: bytes, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(video)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as files:
        thread = threading.Thread(target=files.serve_forever)
        thread.start()
        try:
            result = client.parse(f"http://127.0.0.1:{files.server_port}/clip.mp4")
        finally:
            files.shutdown()
            thread.join()
    assert len(result.frames) == NUM_FRAMES


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"no video at all", "not_a_video"), (b"", "empty_upload"), (song(), "no_video_stream")],
)
def test_the_servers_code_reaches_the_caller(client: Client, body: bytes, code: str) -> None:
    with pytest.raises(RejectedError) as caught:
        client.parse(body)
    assert caught.value.code == code
    with pytest.raises(RejectedError) as caught:
        next(client.iter_frames(body))
    assert caught.value.code == code


def test_a_value_that_an_option_cannot_have_is_rejected(client: Client, video: bytes) -> None:
    with pytest.raises(RejectedError) as caught:
        client.parse(video, score_threshold=2.0)
    assert caught.value.code == "bad_option"
    assert "score_threshold" in caught.value.detail


def test_a_caller_that_stops_reading_lets_the_server_go_on(client: Client, server: Running) -> None:
    frames = client.iter_frames(clip(num_frames=200))
    assert next(frames).index == 0
    frames.close()
    eventually(lambda: server.service.gate.num_inside == 0, "the server has let go of the request")
    assert len(client.parse(image()).frames) == 1


def test_ready_says_so_and_a_closed_port_does_not(client: Client) -> None:
    assert client.is_ready()
    with Client("http://127.0.0.1:9", retry=RetryPolicy(retries=0)) as nobody:
        assert not nobody.is_ready()
        with pytest.raises(UnreachableError):
            nobody.parse(b"media")


@pytest.fixture
def footage(data_dir: Path) -> Path:
    return data_dir / "videos" / "05_default_juggle.mp4"


def test_every_form_of_mask_shows_the_same_pixels(client: Client, footage: Path) -> None:
    with_runs = one_frame(client, footage, max_frames=1)
    with_rings = one_frame(client, footage, max_frames=1, masks="polygons")
    without = one_frame(client, footage, max_frames=1, masks="none")

    assert with_runs.people
    for run, ring, bare in zip(with_runs.people, with_rings.people, without.people, strict=True):
        assert overlap(run.mask, ring.mask) > 0.97
        assert run.parts.keys() == ring.parts.keys() == bare.parts.keys()
        for name, part in run.parts.items():
            assert part.mask.sum() == part.area
            assert not (part.mask & ~run.mask).any()
            if part.area > 2000:
                assert overlap(part.mask, ring.parts[name].mask) > 0.8
        with pytest.raises(NoMaskError):
            _ = bare.mask


def one_frame(client: Client, path: Path, **options: Unpack[Options]) -> Frame:
    (frame,) = client.iter_frames(path, **options)
    return frame


def overlap(first: BoolArray, second: BoolArray) -> float:
    """Intersection over union."""
    return float((first & second).sum() / (first | second).sum())
