"""Motion of made clips: what a frame shows of a body, and back; flow that finds the same place again."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partstream_evaluation.composite.motion import Area, Motion, flow, source_map, swing
from partstream_evaluation.composite.paths import (
    CameraConfig,
    Gait,
    Waypoint,
    draw_camera,
    still_camera,
    walk,
)

NUM_FRAMES = 12
SIZE = (120, 200)


def walker(seed: int, *, strength: float = 1.0) -> Motion:
    """Somebody on the way, with limbs that would fold if nobody shortened their swing."""
    rng = np.random.default_rng(seed)
    centers, radii = rng.uniform(0, 1, (6, 2)), rng.uniform(0.08, 0.2, 6)
    limbs = swing(centers, radii, strength * rng.normal(0, 0.3, (NUM_FRAMES, 6, 2)))
    way = [Waypoint(0, 60, 110, 90), Waypoint(6, 140, 115, 100), Waypoint(11, 20, 110, 80)]
    camera = draw_camera(rng, num_frames=NUM_FRAMES, size=SIZE, config=CameraConfig())
    return walk(way, Gait(lean=0.1), camera, width=0.5, limbs=limbs)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), frame=st.integers(0, NUM_FRAMES - 1))
def test_the_way_to_the_frame_undoes_the_way_to_the_body(seed: int, frame: int) -> None:
    motion = walker(seed)
    body = np.random.default_rng(seed).uniform(-0.2, 1.2, (50, 2))
    assert motion.to_body(motion.to_frame(body, frame), frame) == pytest.approx(body, abs=2e-5)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_limbs_never_fold_the_body(seed: int) -> None:
    motion, near = walker(seed), 1e-4
    points = np.random.default_rng(seed).uniform(0, 120, (80, 2))
    at = motion.to_body(points, 3)
    across = (motion.to_body(points + np.array([near, 0]), 3) - at) / near
    along = (motion.to_body(points + np.array([0, near]), 3) - at) / near
    assert (across[:, 0] * along[:, 1] - across[:, 1] * along[:, 0] > 0).all()


def test_flow_leads_to_the_same_place_of_the_body() -> None:
    motion, area = walker(5), Area(10, 20, 80, 100)
    there = flow(motion, 2, 9, area, 1).reshape(-1, 2)
    y, x = np.mgrid[10:90, 20:120]
    points = np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5
    assert motion.to_body(points + there, 9) == pytest.approx(motion.to_body(points, 2), abs=2e-5)


def test_flow_there_and_back_is_no_flow() -> None:
    motion = walker(6)
    body = np.random.default_rng(0).uniform(0, 1, (40, 2))
    there, back = motion.to_frame(body, 1), motion.to_frame(body, 8)
    assert motion.to_frame(motion.to_body(back, 8), 1) == pytest.approx(there, abs=2e-3)


def test_a_coarse_lattice_stays_within_a_tenth_of_a_pixel() -> None:
    motion, area = walker(7, strength=0.1), Area(7, 13, 90, 111)
    exact, coarse = (source_map(motion, 4, area, step) for step in (1, 2))
    assert coarse.shape == (90, 111, 2)
    assert np.abs(exact - coarse).max() * 100 < 0.1


def test_a_person_without_limbs_or_camera_stands_at_the_waypoints() -> None:
    way = [Waypoint(0, 50, 100, 80), Waypoint(11, 50, 100, 80)]
    motion = walk(way, Gait(bob=0.0), still_camera(NUM_FRAMES), width=0.4)
    feet, head = motion.to_frame(np.array([[0.2, 1.0], [0.2, 0.0]]), 6)
    assert feet == pytest.approx([50, 100])
    assert head == pytest.approx([50, 20])


def test_the_area_holds_every_pixel_that_shows_the_body() -> None:
    motion = walker(8)
    area = motion.area_in(5, (0, 0, 0.5, 1), SIZE)
    assert area is not None
    body = source_map(motion, 5, Area(0, 0, *SIZE), 1)
    shows = ((body >= 0) & (body <= (0.5, 1))).all(axis=-1)
    inside = np.zeros(SIZE, bool)
    inside[area.slices] = True
    assert shows.any() and not (shows & ~inside).any()


def test_who_is_out_of_the_frame_has_no_area() -> None:
    way = [Waypoint(0, -500, 100, 80)]
    motion = walk(way, Gait(), still_camera(NUM_FRAMES), width=0.4)
    assert motion.area_in(0, (0, 0, 0.4, 1), SIZE) is None


def test_limbs_of_shapes_that_do_not_agree_are_refused() -> None:
    with pytest.raises(ValueError, match="do not agree"):
        swing(np.zeros((3, 2)), np.ones(2), np.zeros((4, 3, 2)))
