"""Pixels that are not square: the network sees pictures as they are shown, results are in stored pixels."""

import io
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest

from partstream_core import rle
from partstream_core.manifest import InputSpec
from partstream_server.engine import Engine
from partstream_server.media import open_video
from partstream_server.offline.parser import parse_media
from partstream_server.pipeline.inference import View
from partstream_server.pipeline.parse_options import ParseOptions
from tests.server.media_fixtures import picture
from tests.server.running_server import Running


def wide(aspect: Fraction, *, width: int = 64, height: int = 96) -> bytes:
    """A clip whose pixels have an aspect."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.sample_aspect_ratio = aspect
        for index in range(3):
            frame = av.VideoFrame.from_ndarray(picture(width=width, height=height), "rgb24")
            frame.pts = index
            container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode(None))
    return file.getvalue()


@pytest.mark.parametrize(
    ("aspect", "expected"),
    [(Fraction(2), 2.0), (Fraction(16, 15), 16 / 15), (Fraction(1, 2), 0.5), (Fraction(1, 200), 1.0)],
)
def test_the_aspect_of_pixels_is_read(aspect: Fraction, expected: float) -> None:
    with open_video(io.BytesIO(wide(aspect))) as reader:
        frames = list(reader)
        assert reader.pixel_aspect == pytest.approx(expected, rel=1e-3)
    assert {round(frame.pixel_aspect, 3) for frame in frames} == {round(expected, 3)}
    assert frames[0].image.shape == (96, 64, 3)


def test_the_network_sees_the_shape_that_is_shown(engine: Engine) -> None:
    manifest = engine.bundle.manifest
    spec: InputSpec = manifest.input
    image = picture(width=640, height=720)
    view = View(image, manifest, pixel_aspect=2.0)
    square = View(picture(width=1280, height=720), manifest)
    assert (view.content_width, view.content_height) == (square.content_width, square.content_height)
    assert view.content_width == spec.longer_side
    assert (view.height, view.width) == (720, 640)


def people(source: Path, engine: Engine, *, width: int, height: int) -> npt.NDArray[np.bool_]:
    """All people of the first frames, at one size, [T, H, W]."""
    found = []
    for result in parse_media(source, engine, ParseOptions(max_frames=6)):
        mask = np.zeros((height, width), np.bool_)
        for person in result.people:
            assert isinstance(person.mask, rle.Rle)
            own = rle.decode(person.mask).view(np.uint8)
            mask |= cv2.resize(own, (width, height), interpolation=cv2.INTER_NEAREST) > 0
        found.append(mask)
    return np.stack(found)


def test_a_squeezed_clip_has_the_masks_of_the_whole_one(engine: Engine, data_dir: Path) -> None:
    size = {"width": 1280, "height": 720}
    whole = people(data_dir / "faulty" / "base.mp4", engine, **size)
    squeezed = people(data_dir / "faulty" / "sar2.mp4", engine, **size)
    assert (whole & squeezed).sum() / (whole | squeezed).sum() > 0.97


@pytest.mark.parametrize(
    ("accept", "width", "aspect"),
    [("video/mp4", 64, 2.0), ("video/webm", 128, 1.0), ("video/quicktime", 128, 1.0)],
)
def test_rendered_videos_are_shown_in_the_same_shape(
    server: Running, accept: str, width: int, aspect: float
) -> None:
    answer = server.parse(wide(Fraction(2)), accept)
    with av.open(io.BytesIO(answer.content), "r") as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (width, 96)
        assert float(stream.sample_aspect_ratio or 1) == pytest.approx(aspect, rel=0.02)
