"""Ways through a clip, drawn at random: walks, swinging limbs, and a camera that pans and shakes.

Coordinates as in `motion.py`. Shape suffixes: T frames, K control points, H height, W width of a cut-out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from partstream_core.labels import PARTS, VOID
from partstream_evaluation.composite.motion import FloatArray, Limbs, Motion, swing

_SMOOTHING: Final = 5
"""Frames over which a path's corners are rounded."""


@dataclass(frozen=True, slots=True)
class Waypoint:
    """Where a person stands at some frame."""

    frame: float
    x: float
    """Middle of the feet (or of the lower edge of an upper body), in pixels, before the camera's way."""
    y: float
    height: float
    """Of the whole cut-out, in pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gait:
    """How a person moves on the way."""

    period: float = 20.0
    """Frames for two steps."""
    phase: float = 0.0
    swing: float = 1.0
    """Strength of the limbs' motion; 1 is a brisk walk, 0 is a statue."""
    lean: float = 0.0
    """Largest sway to the side in radians."""
    bob: float = 0.008
    """Rise and fall at each step in body heights."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CameraConfig:
    """How a camera moves; lengths are shares of the frame's longer side."""

    pan: float = 0.06
    """Largest way from the middle over a clip."""
    shake: float = 0.002
    """Standard deviation of what a hand adds."""
    zoom: float = 0.05
    """Largest change of scale over a clip."""
    roll: float = 0.01
    """Largest turn in radians."""


def walk(
    waypoints: Sequence[Waypoint],
    gait: Gait,
    camera_T23: FloatArray,
    *,
    width: float,
    limbs: Limbs | None = None,
) -> Motion:
    """The motion of a person who passes the waypoints.

    Args:
        waypoints: In order of their frames; before the first and after the last the person keeps still.
        gait: What the body does meanwhile.
        camera_T23: The camera's way, see `draw_camera`.
        width: Of the cut-out, in body coordinates.
        limbs: Limbs that swing, see `draw_limbs`.
    """
    num_frames = len(camera_T23)
    x_T, y_T, height_T = (_rounded(waypoints, num_frames, name) for name in ("x", "y", "height"))
    angle_T = gait.phase + 2 * np.pi * np.arange(num_frames) / gait.period
    lean_T = gait.lean * np.sin(angle_T)
    y_T = y_T - gait.bob * height_T * np.abs(np.sin(angle_T))
    cosine, sine = height_T * np.cos(lean_T), height_T * np.sin(lean_T)
    world_T23 = np.stack(
        [
            np.stack([cosine, -sine, x_T - cosine * width / 2 + sine], axis=1),
            np.stack([sine, cosine, y_T - sine * width / 2 - cosine], axis=1),
        ],
        axis=1,
    )
    return Motion(after(camera_T23, world_T23), limbs)


def _rounded(waypoints: Sequence[Waypoint], num_frames: int, name: str) -> FloatArray:
    """A coordinate of a path at each frame, corners rounded."""
    reach = _SMOOTHING // 2
    frames = np.arange(-reach, num_frames + reach)
    places = [getattr(point, name) for point in waypoints]
    values = np.interp(frames, [point.frame for point in waypoints], places)
    return np.asarray(np.convolve(values, np.full(_SMOOTHING, 1 / _SMOOTHING), mode="valid"))


def after(outer_T23: FloatArray, inner_T23: FloatArray) -> FloatArray:
    """The affine maps that apply `inner` first, [T, 2, 3]."""
    turned = outer_T23[:, :, :2] @ inner_T23
    turned[:, :, 2] += outer_T23[:, :, 2]
    return np.asarray(turned)


def draw_camera(
    rng: np.random.Generator, *, num_frames: int, size: tuple[int, int], config: CameraConfig
) -> FloatArray:
    """A camera's way, [T, 2, 3]: from frame coordinates without it to those with it.

    Args:
        rng: The only source of chance.
        num_frames: Length of the clip.
        size: Height and width of the frames.
        config: How far it moves.
    """
    longer, center = max(size), np.array([size[1] / 2, size[0] / 2])
    time = np.linspace(-1, 1, num_frames)
    ends = rng.uniform(-1, 1, 4) * (config.pan * longer, config.pan * longer / 2, config.zoom, config.roll)
    bend = rng.uniform(0.5, 1.5)
    way = np.sign(time) * np.abs(time) ** bend
    shake_T2 = np.zeros((num_frames, 2))
    for frame in range(1, num_frames):  # pulled back to the middle, so that it never wanders off
        shake_T2[frame] = 0.75 * shake_T2[frame - 1] + 0.66 * rng.normal(0, config.shake * longer, 2)
    scale, angle = np.exp(way * ends[2]), way * ends[3]
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    turn = np.stack([np.stack([cosine, -sine], axis=1), np.stack([sine, cosine], axis=1)], axis=1)
    move = center + way[:, None] * ends[:2] + shake_T2 - turn @ center
    return np.concatenate([turn, move[:, :, None]], axis=2)


def still_camera(num_frames: int) -> FloatArray:
    """A camera that does not move, [T, 2, 3]."""
    return np.tile(np.eye(2, 3), (num_frames, 1, 1))


def draw_limbs(
    rng: np.random.Generator, parts_HW: npt.NDArray[np.uint8], *, num_frames: int, gait: Gait
) -> Limbs:
    """Limbs of a cut-out that swing with the gait: feet, knees, arms, head, and two places at random.

    Args:
        rng: The only source of chance.
        parts_HW: The cut-out's parts, 0 outside the person.
        num_frames: Length of the clip.
        gait: Its rhythm and strength.
    """
    angle_T = gait.phase + 2 * np.pi * np.arange(num_frames) / gait.period
    centers, radii, offsets = [], [], []
    for place, radius, reach, shift in _places(rng, parts_HW):
        centers.append(place)
        radii.append(radius)
        across = reach * np.sin(angle_T + shift) * rng.uniform(0.6, 1.2)
        along = 0.5 * reach * np.sin(2 * angle_T + shift) * rng.uniform(-1, 1)
        offsets.append(gait.swing * np.stack([across, along], axis=1))
    return swing(np.array(centers).reshape(-1, 2), np.array(radii), np.stack(offsets, axis=1))


def _places(
    rng: np.random.Generator, parts_HW: npt.NDArray[np.uint8]
) -> list[tuple[tuple[float, float], float, float, float]]:
    """Place, radius, reach and phase of each control point, in body coordinates."""
    height, width = parts_HW.shape
    found = []
    opposite = np.pi
    for shoe, leg, arm, phase in (
        ("left-shoe", "left-leg", "left-arm", 0.0),
        ("right-shoe", "right-leg", "right-arm", opposite),
    ):
        foot = _middle(parts_HW, (shoe,)) or _middle(parts_HW, (leg,))
        if foot is not None and foot[1] > 0.75:
            knee = ((foot[0] + width / height / 2) / 2, (foot[1] + 0.5) / 2)
            found += [(foot, 0.13, 0.05, phase), (knee, 0.11, 0.02, phase)]
        hand = _middle(parts_HW, (arm,))
        if hand is not None:
            found.append((hand, 0.1, 0.04, phase + opposite))
    head = _middle(parts_HW, ("hair", "face", "hat"))
    if head is not None:
        found.append((head, 0.11, 0.012, float(rng.uniform(0, 6))))
    rows, columns = np.nonzero((parts_HW > 0) & (parts_HW < VOID))
    for _ in range(2):
        pick = int(rng.integers(max(len(rows), 1)))
        place = (columns[pick] / height, rows[pick] / height) if len(rows) else (width / height / 2, 0.5)
        found.append((place, 0.16, 0.015, float(rng.uniform(0, 6))))
    return found


def _middle(parts_HW: npt.NDArray[np.uint8], names: Sequence[str]) -> tuple[float, float] | None:
    """Mean place of some parts in body coordinates; None where they are not, or hardly, there."""
    rows, columns = np.nonzero(np.isin(parts_HW, [PARTS.index(name) for name in names]))
    height = parts_HW.shape[0]
    if len(rows) <= height * height // 2000:
        return None
    return float(columns.mean() / height), float(rows.mean() / height)
