"""Plans of composite clips: where people are in each frame, within the ranges of the clip's level.

Everything follows from the recipe's seed, the clip's number and the attempt. Shape suffixes: T frames.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from partstream_evaluation.composite.motion import Area, FloatArray, Motion, lattice_step, source_map
from partstream_evaluation.composite.paths import CameraConfig, Gait, Waypoint, draw_camera, draw_limbs, walk
from partstream_evaluation.composite.people import Cutout, draw_labels, mirrored, shrunk, upper_body
from partstream_evaluation.composite.recipe import Clip, Format, Level, Recipe

BoolArray = npt.NDArray[np.bool_]

_MEASURE_EVERY: Final = 3
"""What a level bounds is measured in every third frame..."""
_MEASURE_SCALE: Final = 4
"""... and on every fourth pixel of every fourth row."""
_SLACK: Final = 0.01
"""Shares measured so must lie this far inside the range, so that exact ones lie inside it too."""
MAX_ATTEMPTS: Final = 2000
_BELOW: Final = 0.08
"""How far people in the first seated row go on below the frame, against its height."""


@dataclass(frozen=True, slots=True, eq=False)
class Actor:
    """One person of a clip."""

    identity: int
    """From 1."""
    cutout: Cutout
    """At about the size it is drawn."""
    motion: Motion
    heights_T: FloatArray
    """In pixels, before the camera's zoom."""
    row: int = 0
    """Row of tables, 0 in front."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A band across the whole frame before a row of seated people."""

    row: int
    top: float
    """In frame coordinates, before the camera's way."""
    bottom: float


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A clip that is ready to be drawn."""

    clip: Clip
    attempt: int
    camera_T23: FloatArray
    actors: tuple[Actor, ...]
    tables: tuple[Table, ...]

    def order(self, frame: int) -> list[Actor | Table]:
        """What is drawn in a frame, far to near."""

        def nearness(layer: Actor | Table) -> tuple[float, float]:
            if isinstance(layer, Table):
                return (-layer.row, np.inf)
            return (-layer.row, float(layer.heights_T[frame]))

        return sorted([*self.actors, *self.tables], key=nearness)


@dataclass(frozen=True, slots=True)
class Measures:
    """What a level bounds, as it is in a clip."""

    num_people: int
    lowest: float
    highest: float
    """Least and greatest visible height against the frame's."""
    occluded: float
    fewest_frames: int
    """Frames in which the least seen person is in the picture."""


def generator(recipe: Recipe, clip: Clip, attempt: int, purpose: int = 0) -> np.random.Generator:
    """The source of chance of one attempt at a clip; each purpose has its own."""
    return np.random.default_rng((recipe.seed, clip.number, attempt, purpose))


def find_plan(recipe: Recipe, clip: Clip, people: Mapping[str, Cutout]) -> Plan:
    """The first attempt that keeps the ranges of the clip's level.

    Raises:
        ValueError: None does.
    """
    for attempt in range(MAX_ATTEMPTS):
        plan = draw_plan(recipe, clip, people, attempt)
        if fits(plan, measure(plan)):
            return plan
    raise ValueError(f"no attempt of {MAX_ATTEMPTS} keeps the ranges of clip {clip.name}")


def fits(plan: Plan, measures: Measures) -> bool:
    """Whether the clip keeps the ranges of its level."""
    level, num_frames = plan.clip.level, len(plan.camera_T23)
    low, high = level.occluded
    return (
        level.people[0] <= measures.num_people <= level.people[1]
        and level.height[0] <= measures.lowest
        and measures.highest <= level.height[1]
        and (low + _SLACK if low else low) <= measures.occluded <= high - _SLACK
        and measures.fewest_frames >= num_frames // 4
    )


def draw_plan(recipe: Recipe, clip: Clip, people: Mapping[str, Cutout], attempt: int) -> Plan:
    """One attempt at a clip, whether or not it keeps the ranges."""
    rng = generator(recipe, clip, attempt)
    shape, level, num_frames = clip.format, clip.level, recipe.num_frames
    camera = draw_camera(
        rng, num_frames=num_frames, size=(shape.height, shape.width), config=CameraConfig(zoom=0.02)
    )
    num_people = int(rng.integers(level.people[0], level.people[1] + 1))
    chosen = rng.choice(sorted(people), size=num_people, replace=False)
    stage = _draw_stage(rng, level, shape)
    actors = tuple(
        _draw_actor(rng, stage, people[str(name)], identity, camera)
        for identity, name in enumerate(chosen, start=1)
    )
    rows = sorted({actor.row for actor in actors}) if shape.seated else []
    tables = tuple(
        Table(row, stage.row_feet[row] - 0.02 * shape.height, stage.row_feet[row] + 0.12 * shape.height)
        for row in rows
        if row > 0
    )
    return Plan(clip, attempt, camera, actors, tables)


@dataclass(frozen=True, slots=True)
class _Stage:
    """Where people of a clip can be."""

    level: Level
    shape: Format
    horizon: float
    """Row of the frame where a person of no height would stand."""
    eye: float
    """Feet stand this many body heights under the horizon."""
    gather: tuple[float, float]
    """Middle and half width of where people keep to, against the frame's width."""
    row_heights: tuple[float, ...]
    """Heights of seated rows against the frame's, front first."""
    row_feet: tuple[float, ...]
    """Lower edges of seated rows in pixels."""


def _draw_stage(rng: np.random.Generator, level: Level, shape: Format) -> _Stage:
    low, high = level.height
    eye = float(rng.uniform(1.0, 1.35))
    horizon = shape.height * (float(rng.uniform(0.94, 0.99)) - high * eye)
    nearest, widest = (0.3, 0.5) if not level.occluded[0] else (0.06, 0.3) if level.leaving else (0.12, 0.5)
    spread = float(rng.uniform(nearest, widest))
    middle = float(rng.uniform(spread, 1 - spread))
    num_rows = {"easy": 1, "medium": 2}.get(level.name, 3)
    heights = np.sort(np.exp(rng.uniform(np.log(low * 1.1), np.log(high * 0.93), num_rows)))[::-1]
    feet = [shape.height * (1 + _BELOW)]
    for row in range(1, num_rows):
        gap = heights[row - 1] * float(rng.uniform(0.45, 0.7)) + _BELOW / row
        feet.append(feet[-1] - shape.height * gap)
    return _Stage(level, shape, horizon, eye, (middle, spread), tuple(heights.tolist()), tuple(feet))


def _draw_actor(
    rng: np.random.Generator, stage: _Stage, cutout: Cutout, identity: int, camera_T23: FloatArray
) -> Actor:
    level, shape, num_frames = stage.level, stage.shape, len(camera_T23)
    if rng.random() < 0.5:
        cutout = mirrored(cutout)
    row = 0
    if shape.seated:
        cutout = upper_body(cutout, float(rng.uniform(0.38, 0.52)))
        row = int(rng.integers(len(stage.row_heights)))
        heights = np.full(2, stage.row_heights[row] * float(rng.uniform(0.94, 1.06)))
    else:
        first = np.exp(rng.uniform(np.log(level.height[0]), np.log(level.height[1])))
        heights = np.array([first, first * np.exp(rng.normal(0, 0.15))])
    heights = np.clip(heights, level.height[0] * 1.04, level.height[1] * 0.96) * shape.height
    if shape.seated and row == 0:
        heights += _BELOW * shape.height
    gait = _draw_gait(rng, seated=shape.seated)
    waypoints = _draw_way(rng, stage, heights, cutout.width, row, num_frames)
    small = shrunk(cutout, round(max(point.height for point in waypoints)))
    limbs = draw_limbs(rng, small.parts_HW, num_frames=num_frames, gait=gait)
    motion = walk(waypoints, gait, camera_T23, width=small.width, limbs=limbs)
    frames = np.arange(num_frames)
    heights_T = np.interp(frames, [each.frame for each in waypoints], [each.height for each in waypoints])
    return Actor(identity, small, motion, heights_T, row)


def _draw_gait(rng: np.random.Generator, *, seated: bool) -> Gait:
    period, phase, lean = rng.uniform(16, 30), rng.uniform(0, 2 * np.pi), rng.uniform(0.01, 0.05)
    if seated:
        return Gait(period=2 * float(period), phase=float(phase), swing=0.8, lean=float(lean), bob=0.0)
    swing = float(rng.uniform(0.3, 1.1))
    return Gait(period=float(period), phase=float(phase), swing=swing, lean=float(lean))


def _draw_way(
    rng: np.random.Generator, stage: _Stage, heights: FloatArray, width: float, row: int, num_frames: int
) -> Sequence[Waypoint]:
    shape = stage.shape
    middle, spread = stage.gather
    x = shape.width * np.clip(middle + spread * rng.uniform(-1, 1, 2), 0.02, 0.98)
    if shape.seated:
        x[1] = x[0] + shape.width * float(rng.normal(0, 0.03))

    def stand(frame: float, place: float, height: float) -> Waypoint:
        feet = stage.row_feet[row] if shape.seated else stage.horizon + stage.eye * height
        return Waypoint(frame, place, feet, height)

    first, last = float(heights[0]), float(heights[1])
    leaves = stage.level.leaving and rng.random() < 0.5
    if not leaves:
        return [stand(0, x[0], first), stand(num_frames - 1, x[1], last)]
    out = (-0.7 * width * first) if rng.random() < 0.5 else (shape.width + 0.7 * width * first)
    times = np.sort(rng.uniform(0.2, 0.8, 2)) * num_frames
    return [
        stand(0, x[0], first),
        stand(float(times[0]), out, first),
        stand(float(times[1]), out, last),
        stand(num_frames - 1, x[1], last),
    ]


def measure(plan: Plan) -> Measures:
    """What the plan's level bounds, on a coarse grid of pixels and frames."""
    shape = plan.clip.format
    size = (shape.height // _MEASURE_SCALE, shape.width // _MEASURE_SCALE)
    visible = inside = 0
    heights: list[float] = []
    seen = dict.fromkeys((actor.identity for actor in plan.actors), 0)
    for frame in range(0, len(plan.camera_T23), _MEASURE_EVERY):
        owner = np.zeros(size, np.int64)
        for layer in plan.order(frame):
            if isinstance(layer, Table):
                owner[table_mask(plan, layer, frame, scale=_MEASURE_SCALE)] = 0
                continue
            mask = _coarse_mask(layer, frame, size)
            if mask.any():
                owner[mask] = layer.identity
                inside += int(np.count_nonzero(mask))
                heights.append(_visible_height(layer.motion, frame, shape))
                seen[layer.identity] += _MEASURE_EVERY
        visible += int(np.count_nonzero(owner))
    return Measures(
        num_people=len(plan.actors),
        lowest=min(heights, default=0),
        highest=max(heights, default=0),
        occluded=1 - visible / max(inside, 1),
        fewest_frames=min(seen.values(), default=0),
    )


def _coarse_mask(actor: Actor, frame: int, size: tuple[int, int]) -> BoolArray:
    """Where a person is in a frame, nothing before them, on the coarse grid."""
    small = Motion(actor.motion.pose_T23 / _MEASURE_SCALE, actor.motion.limbs)
    mask = np.zeros(size, bool)
    area = small.area_in(frame, (0, 0, actor.cutout.width, 1), size)
    if area is not None:
        step = max(lattice_step(float(actor.heights_T[frame])) // 2, 1)
        mask[area.slices] = draw_labels(actor.cutout, source_map(small, frame, area, step)) > 0
    return mask


def _visible_height(motion: Motion, frame: int, shape: Format) -> float:
    """Height of the person, cut off at the frame's edges, against the frame's height."""
    pose = motion.pose_T23[frame]
    top, bottom = float(pose[1, 2]), float(pose[1, 2] + pose[1, 1])
    return (min(bottom, shape.height) - max(top, 0.0)) / shape.height


def table_mask(plan: Plan, table: Table, frame: int, *, scale: int = 1) -> BoolArray:
    """Where a table shows in a frame, bool [H, W]; on every so many-th pixel of every so many-th row."""
    shape = plan.clip.format
    camera = Motion(plan.camera_T23 / scale)
    area = Area(0, 0, shape.height // scale, shape.width // scale)
    rows_HW = source_map(camera, frame, area, 8)[..., 1]
    mask: BoolArray = (rows_HW >= table.top) & (rows_HW < table.bottom)
    return mask
