"""Colours: patches in each matrix and range leave the reader, and rendered videos, as they went in.

FFmpeg's fast conversion of 8-bit YUV is up to 3 levels off; the exact one (1 level) takes 15 times as long.
"""

import io
from pathlib import Path
from typing import Final

import av
import numpy as np
import numpy.typing as npt
import pytest

from partstream_server.media import open_video
from partstream_server.media.cutout_writer import MOV, CutoutWriter
from partstream_server.media.video_spec import VideoSpec
from partstream_server.media.video_writer import VideoWriter

SIDE: Final = 32
READ: Final = 3
"""Levels."""
WRITTEN: Final = 4
"""Levels, after a second conversion and lossy encoding."""
COLOURS: Final = np.array(
    [
        (255, 255, 255), (0, 0, 0), (128, 128, 128), (200, 30, 40), (30, 180, 60), (40, 50, 210),
        (230, 180, 150), (120, 80, 60), (240, 220, 20), (20, 200, 220), (190, 40, 190), (60, 60, 70),
    ],
    np.float64,
)  # fmt: skip
"""RGB; among them skin, and none that chroma of limited range cannot hold."""
MATRICES: Final = {
    "BT.601": (6, 0.299, 0.114),
    "BT.709": (1, 0.2126, 0.0722),
    "BT.2020": (9, 0.2627, 0.0593),
}
"""Number in the stream, and the weights of red and blue (ITU-R BT.601-7, BT.709-6, BT.2020-2, table 4)."""


def planes(matrix: str, *, full: bool) -> list[npt.NDArray[np.uint8]]:
    """Y, Cb and Cr of the patches side by side, 8 bits, by the definition of their standard."""
    _, red, blue = MATRICES[matrix]
    r, g, b = COLOURS.T / 255
    y = red * r + (1 - red - blue) * g + blue * b
    cb, cr = (b - y) / (2 * (1 - blue)), (r - y) / (2 * (1 - red))
    codes = (
        (255 * y, 128 + 255 * cb, 128 + 255 * cr) if full else (16 + 219 * y, 128 + 224 * cb, 128 + 224 * cr)
    )
    return [
        np.repeat(np.repeat(np.clip(np.round(one), 0, 255).astype(np.uint8)[None], side, 0), side, 1)
        for one, side in zip(codes, (SIDE, SIDE // 2, SIDE // 2), strict=True)
    ]


def patches(matrix: str, *, full: bool, said: str | None = None) -> bytes:
    """A lossless video of the patches that says in which range it is, and in which matrix, or in another."""
    file = io.BytesIO()
    y, cb, cr = planes(matrix, full=full)
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = y.shape[1], y.shape[0], "yuv420p"
        context = stream.codec_context
        context.colorspace, context.color_range = MATRICES[said or matrix][0], 2 if full else 1
        stacked = np.concatenate([y.ravel(), cb.ravel(), cr.ravel()]).reshape(SIDE * 3 // 2, -1)
        for index in range(3):
            frame = av.VideoFrame.from_ndarray(stacked, "yuv420p")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def off(image: npt.NDArray[np.uint8]) -> float:
    """How far the middles of the patches are from their colours at most, in levels."""
    seen = np.stack([image[8:24, at + 8 : at + 24] for at in range(0, SIDE * len(COLOURS), SIDE)])
    return float(np.abs(seen - COLOURS[:, None, None]).max())


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", MATRICES)
def test_colours_are_kept_by_the_reader_and_by_rendered_videos(
    tmp_path: Path, matrix: str, full: bool
) -> None:
    rendered, cut = tmp_path / "rendered.mp4", tmp_path / "cut.mov"
    with open_video(io.BytesIO(patches(matrix, full=full))) as reader:
        spec = VideoSpec.of(reader.info, pixel_aspect=1.0, sound=None)
        with VideoWriter(rendered, spec) as writer, CutoutWriter(cut, spec, MOV) as cutter:
            for frame in reader:
                assert off(frame.image) <= READ
                writer.write(frame.image, time_s=frame.time_s)
                cutter.write(frame.image, np.full(frame.image.shape[:2], 255, np.uint8), time_s=frame.time_s)
    for path in (rendered, cut):
        with open_video(path) as again:
            assert max(off(frame.image) for frame in again) <= WRITTEN


@pytest.mark.parametrize(
    ("matrix", "said"), [("BT.601", "BT.709"), ("BT.709", "BT.2020"), ("BT.2020", "BT.601")]
)
def test_the_bounds_tell_matrices_apart(matrix: str, said: str) -> None:
    with open_video(io.BytesIO(patches(matrix, full=False, said=said))) as reader:
        assert off(next(iter(reader)).image) > 2 * WRITTEN
