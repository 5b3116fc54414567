"""Captured sources: the size limit holds before decoding, and turned frames are not kept alive."""

import gc
from pathlib import Path

import pytest

from partstream_core.errors import FrameTooLargeError
from partstream_server.media import MediaLimits
from partstream_server.sources.address import Rules
from partstream_server.sources.capture import Capture
from tests.server.media_fixtures import clip, rotated


def test_a_source_with_too_large_pictures_is_refused_before_one_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "large.mp4"
    path.write_bytes(clip(width=640, height=480))
    with pytest.raises(FrameTooLargeError, match="640x480"):
        Capture(f"file://{path}", Rules(folder=tmp_path), MediaLimits(max_pixels=100_000))


def test_frames_of_a_turned_source_are_freed_as_they_go(tmp_path: Path) -> None:
    path = tmp_path / "turned.mp4"
    path.write_bytes(rotated(clip(num_frames=40)))
    gc.collect()
    gc.disable()  # what only the collector would free counts as kept
    try:
        num_frames = 0
        with Capture(f"file://{path}", Rules(folder=tmp_path), MediaLimits()) as capture:
            for _, image in capture.frames():
                assert image.shape == (64, 48, 3)
                num_frames += 1
        num_frames_alive = sum(type(each).__name__ == "VideoFrame" for each in gc.get_objects())
    finally:
        gc.enable()
    assert num_frames == 40
    assert num_frames_alive <= 4
