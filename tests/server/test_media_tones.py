"""High dynamic range: known light comes out as the shades of a usual display."""

import io
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from partstream_server.media import open_video
from partstream_server.media.tone_mapping import BT2020, HLG, PQ, tone_mapped


def pq_code(nits: float) -> float:
    """The inverse of SMPTE ST 2084, 0..1."""
    m1, m2 = 2610 / 16384, 2523 / 4096 * 128
    c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    powered = (nits / 10_000) ** m1
    return float(((c1 + c2 * powered) / (1 + c3 * powered)) ** m2)


def shade(code: float, transfer: int) -> int:
    """The 8-bit grey of a grey signal."""
    codes = np.full((2, 2, 3), round(code * 65535), np.uint16)
    shown = tone_mapped(codes, transfer=transfer, primaries=BT2020)
    assert np.ptp(shown) <= 1, "grey stays grey"
    return int(shown[0, 0, 0])


@pytest.mark.parametrize(
    ("nits", "expected"),
    [(0, 0), (203 * 0.2140, 127), (203 * 0.0331, 51), (203, 246), (1000, 255), (10_000, 255)],
)
def test_light_of_pq_comes_out_as_srgb_below_the_knee_and_compressed_above(
    nits: float, expected: int
) -> None:
    assert shade(pq_code(nits), PQ) == pytest.approx(expected, abs=2)


@pytest.mark.parametrize(("code", "expected"), [(0.0, 0), (0.75, 246), (1.0, 255)])
def test_hlg_has_its_reference_white_at_three_quarters(code: float, expected: int) -> None:
    assert shade(code, HLG) == pytest.approx(expected, abs=2)


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_brighter_is_never_darker(transfer: int) -> None:
    ramp = np.repeat(np.arange(0, 65536, 64, dtype=np.uint16)[None, :, None], 3, axis=2)
    shown = tone_mapped(ramp, transfer=transfer, primaries=BT2020)[0, :, 1].astype(int)
    assert (np.diff(shown) >= 0).all()
    assert len(np.unique(shown)) > 200


def test_a_real_clip_in_pq_looks_like_the_one_it_was_made_from(data_dir: Path) -> None:
    images: list[Any] = []
    for name in ("base.mp4", "pq.mp4"):
        with open_video(data_dir / "faulty" / name) as reader:
            images.append([frame.image.astype(int) for frame in reader][:5])
    for one, other in zip(*images, strict=True):
        assert np.abs(one - other).mean() < 5


def test_usual_frames_are_as_they_were() -> None:
    file = io.BytesIO()
    pixels = np.random.default_rng(1).integers(0, 255, (48, 64, 3), np.uint8)
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format="yuv420p")))
        container.mux(stream.encode(None))
    with av.open(io.BytesIO(file.getvalue()), "r") as container:
        plain = next(container.decode(video=0)).to_ndarray(format="rgb24")
    with open_video(io.BytesIO(file.getvalue())) as reader:
        np.testing.assert_array_equal(next(iter(reader)).image, plain)
