"""Flow without a network: units proven by shifts, use proven on real clips."""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from partstream_server.media import open_video
from partstream_server.pipeline.frame_changes import service
from partstream_server.pipeline.initial_flow import dis_flow, dis_guess

Image = npt.NDArray[np.uint8]

HEIGHT, WIDTH = 144, 256


def scene() -> Image:
    """A textured picture, larger than a frame on all sides."""
    noise = np.random.default_rng(3).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(noise, None, fx=5, fy=5, interpolation=cv2.INTER_CUBIC), np.uint8)


def window(right: int, down: int) -> Image:
    """What a camera that stands so far right and down sees of it."""
    return scene()[64 + down : 64 + down + HEIGHT, 64 + right : 64 + right + WIDTH]


@pytest.mark.parametrize("x, y", [(8, 0), (-8, 4), (0, -8)])
def test_a_shift_of_eight_pixels_is_one_pixel_of_the_feature_map(x: int, y: int) -> None:
    # what the frame shows at p stands at p + (x, y) of the reference
    current, reference = half_grey(window(0, 0)), half_grey(window(-x, -y))
    coarse = dis_flow(current, reference, stride=8)
    assert coarse.shape == (2, HEIGHT // 8, WIDTH // 8)
    fine = dis_guess(current, reference, stride=8)
    assert fine.shape == (2, HEIGHT // 4, WIDTH // 4)
    for flow in (coarse, fine):
        assert flow.dtype == np.float32
        inner = flow[:, 3:-3, 3:-3].reshape(2, -1)
        assert np.median(inner, axis=1) == pytest.approx([x / 8, y / 8], abs=0.05)


def test_nothing_moves_between_a_picture_and_itself() -> None:
    grey = half_grey(window(0, 0))
    assert np.abs(dis_flow(grey, grey, stride=8)).max() < 0.01


@pytest.mark.parametrize("name", ["05_default_juggle.mp4", "bedroom.mp4"])
def test_on_real_clips_the_flow_explains_more_than_standing_still(data_dir: Path, name: str) -> None:
    frames: list[Image] = []
    with open_video(data_dir / "videos" / name) as reader:
        for frame in reader:
            frames.append(np.asarray(cv2.resize(frame.image, (512, 288)), np.uint8))
            if len(frames) == 16:
                break
    found = still = 0.0
    for current, reference in zip(frames[3:], frames, strict=False):
        flow = dis_flow(half_grey(current), half_grey(reference), stride=8)
        found += warp_error(current, reference, flow)
        still += warp_error(current, reference, np.zeros_like(flow))
    assert found < 0.85 * still


def half_grey(image_HW3: Image) -> Image:
    height, width = image_HW3.shape[:2]
    half = cv2.resize(image_HW3, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(half, cv2.COLOR_RGB2GRAY), np.uint8)


def warp_error(frame: Image, reference: Image, flow: npt.NDArray[np.float32]) -> float:
    """Photometric error of a frame against another one along a flow."""
    current, other = (
        np.asarray(cv2.resize(each, (128, 72), interpolation=cv2.INTER_AREA), np.uint8)
        for each in (frame, reference)
    )
    return service(current, other, flow, np.ones(flow.shape[1:], np.bool_)).warp_error
