"""How well a key frame serves, and where scenes are cut: shifts with known answers, and real clips."""

from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from partstream_core.schedule import Triggers
from partstream_server.media import open_video
from partstream_server.pipeline.flow_fields import between_sizes
from partstream_server.pipeline.frame_changes import scene_change, scene_view, service

Image = npt.NDArray[np.uint8]

HEIGHT, WIDTH = 72, 128


def texture(seed: int = 0, *, height: int = HEIGHT, width: int = 2 * WIDTH) -> Image:
    """A smooth picture without a repeat."""
    noise = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def shifted(right: int) -> tuple[Image, Image]:
    """A frame, and its reference in which everything stands so many pixels further right."""
    wide = texture()
    return wide[:, 64 : 64 + WIDTH], wide[:, 64 - right : 64 - right + WIDTH]


def constant(x: float, y: float, *, height: int = 9, width: int = 16) -> npt.NDArray[np.float32]:
    """A flow that is the same everywhere."""
    return np.stack([np.full((height, width), x, np.float32), np.full((height, width), y, np.float32)])


EVERYWHERE = np.ones((9, 16), np.bool_)


def test_the_right_flow_explains_a_shift_and_its_units_are_those_of_its_own_map() -> None:
    current, reference = shifted(8)
    right = service(current, reference, constant(1.0, 0.0), EVERYWHERE)  # 8 pixels of 128 are 1 of 16
    fine = service(current, reference, constant(8.0, 0.0, height=HEIGHT, width=WIDTH), EVERYWHERE)
    wrong = [constant(0, 0), constant(-1, 0), constant(0, 1), constant(8, 0)]
    assert right.warp_error < 0.005
    assert fine == right
    assert min(service(current, reference, flow, EVERYWHERE).warp_error for flow in wrong) > 0.08


def test_what_flows_out_of_the_key_frame_is_outside_and_no_error() -> None:
    current, reference = shifted(32)
    found = service(current, reference, constant(4.0, 0.0), EVERYWHERE)
    assert found.outside == pytest.approx(32 / WIDTH, abs=0.01)
    assert found.warp_error < 0.005
    assert service(current, reference, constant(0, -100), EVERYWHERE).outside == 1.0


def test_only_people_count() -> None:
    current, reference = shifted(0)
    spoilt = current.copy()
    spoilt[:, WIDTH // 2 :] = 255 - spoilt[:, WIDTH // 2 :]
    left = EVERYWHERE.copy()
    left[:, 7:] = False
    assert service(spoilt, reference, constant(0, 0), left).warp_error == 0.0
    assert service(spoilt, reference, constant(0, 0), ~left).warp_error > 0.1
    nobody = service(spoilt, reference, constant(9, 9), np.zeros((9, 16), np.bool_))
    assert (nobody.warp_error, nobody.outside) == (0.0, 0.0)


def test_the_error_of_black_against_white_is_one() -> None:
    black = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    assert service(black, 255 - black, constant(0, 0), EVERYWHERE).warp_error == 1.0
    assert scene_change(scene_view(black), scene_view(255 - black)) == 1.0


def test_a_flow_keeps_its_meaning_at_another_size() -> None:
    flow = between_sizes(constant(2.0, -3.0, height=10, width=20), height=20, width=30)
    assert flow.shape == (2, 20, 30)
    assert np.allclose(flow[0], 3.0)
    assert np.allclose(flow[1], -6.0)


def test_a_cut_between_pictures_fires_and_the_same_picture_under_other_light_does_not() -> None:
    fires = Triggers().scene_change
    first, second = texture(1)[:, :WIDTH], texture(2)[:, :WIDTH] // 2
    assert scene_change(scene_view(first), scene_view(second)) > fires
    assert scene_change(scene_view(first), scene_view(first)) == pytest.approx(0, abs=1e-3)
    assert scene_change(scene_view(first // 2), scene_view(first)) < fires
    for pan in (8, 16, 24):
        assert scene_change(scene_view(texture(1)[:, pan : pan + WIDTH]), scene_view(first)) < fires


def first_frames(clip: Path, most: int) -> list[Image]:
    """The first frames of a clip, small."""
    frames: list[Image] = []
    with open_video(clip) as reader:
        for frame in reader:
            small = cv2.resize(frame.image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
            frames.append(np.asarray(small, np.uint8))
            if len(frames) == most:
                break
    return frames


def test_real_clips_have_cuts_between_them_and_none_inside(data_dir: Path) -> None:
    clips = sorted((data_dir / "videos").glob("*.mp4"))
    assert len(clips) > 1
    fires = Triggers().scene_change
    views = [[scene_view(frame) for frame in first_frames(clip, 41)[::10]] for clip in clips]
    for inside in views:
        assert max(scene_change(*pair) for pair in zip(inside[1:], inside, strict=False)) < fires
    for one, other in combinations(views, 2):
        assert min(scene_change(a, b) for a in one for b in other) > fires


def test_bad_pictures_flows_and_masks_are_named() -> None:
    current, reference = shifted(0)
    with pytest.raises(ValueError, match="one size"):
        service(current, reference[1:], constant(0, 0), EVERYWHERE)
    with pytest.raises(ValueError, match="flow"):
        service(current, reference, constant(0, 0)[:1], EVERYWHERE)
    with pytest.raises(ValueError, match="mask"):
        service(current, reference, constant(0, 0), np.ones((0, 4), np.bool_))
    with pytest.raises(ValueError, match="uint8"):
        scene_view(np.zeros((4, 4), np.uint8))
