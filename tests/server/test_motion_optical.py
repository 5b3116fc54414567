"""Flow without a network: units proven by shifts, use proven on real clips."""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from partstream_server.decode import open_video
from partstream_server.motion import DisFlow, DisPreset, HostFlow, ZeroFlow, service

Image = npt.NDArray[np.uint8]

HEIGHT, WIDTH = 144, 256
MAP = {"height": HEIGHT // 8, "width": WIDTH // 8}


def scene() -> Image:
    """A textured picture, larger than a frame on all sides."""
    noise = np.random.default_rng(3).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(noise, None, fx=5, fy=5, interpolation=cv2.INTER_CUBIC), np.uint8)


def window(right: int, down: int) -> Image:
    """What a camera that stands so far right and down sees of it."""
    return scene()[64 + down : 64 + down + HEIGHT, 64 + right : 64 + right + WIDTH]


@pytest.mark.parametrize("preset", DisPreset)
@pytest.mark.parametrize("x, y", [(8, 0), (-8, 4), (0, -8)])
def test_a_shift_of_eight_pixels_is_one_pixel_of_the_feature_map(preset: DisPreset, x: int, y: int) -> None:
    # what the frame shows at p stands at p + (x, y) of the reference
    flow = DisFlow(preset).flow(window(0, 0), window(-x, -y), **MAP)
    assert flow.shape == (2, MAP["height"], MAP["width"])
    assert flow.dtype == np.float32
    inner = flow[:, 3:-3, 3:-3].reshape(2, -1)
    assert np.median(inner, axis=1) == pytest.approx([x / 8, y / 8], abs=0.05)


def test_nothing_moves_between_a_picture_and_itself() -> None:
    flow = DisFlow().flow(window(0, 0), window(0, 0), **MAP)
    assert np.abs(flow).max() < 0.01
    assert not ZeroFlow().flow(window(0, 0), window(5, 5), **MAP).any()


@pytest.mark.parametrize("flow", [DisFlow(), ZeroFlow()])
def test_pictures_of_two_sizes_are_refused(flow: HostFlow) -> None:
    with pytest.raises(ValueError, match="one size"):
        flow.flow(window(0, 0), window(0, 0)[:-2], **MAP)


def test_pictures_without_room_for_a_patch_are_refused() -> None:
    with pytest.raises(ValueError, match="32 pixels"):
        DisFlow().flow(window(0, 0)[:31], window(0, 0)[:31], **MAP)


@pytest.mark.parametrize("name", ["05_default_juggle.mp4", "bedroom.mp4"])
def test_on_real_clips_the_flow_explains_more_than_standing_still(data_dir: Path, name: str) -> None:
    frames: list[Image] = []
    with open_video(data_dir / "videos" / name) as reader:
        for frame in reader:
            frames.append(np.asarray(cv2.resize(frame.image, (512, 288)), np.uint8))
            if len(frames) == 16:
                break
    still = total_error(ZeroFlow(), frames)
    assert total_error(DisFlow(DisPreset.ULTRAFAST), frames) < 0.85 * still


def total_error(source: HostFlow, frames: list[Image]) -> float:
    """Photometric error of each frame against the third one before it, summed."""
    everywhere = np.ones((36, 64), np.bool_)
    small = [
        np.asarray(cv2.resize(frame, (128, 72), interpolation=cv2.INTER_AREA), np.uint8) for frame in frames
    ]
    total = 0.0
    for at in range(3, len(frames)):
        flow = source.flow(frames[at], frames[at - 3], height=36, width=64)
        total += service(small[at], small[at - 3], flow, everywhere).warp_error
    return total
