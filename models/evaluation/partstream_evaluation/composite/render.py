"""Frames of a planned clip, with their truth.

Shape suffixes: T frames, H height, W width, C colour channels (RGB).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from partstream_evaluation.composite.motion import Area, FloatArray, Motion, flow, lattice_step, source_map
from partstream_evaluation.composite.people import blend, draw
from partstream_evaluation.composite.plan import Actor, Plan, Table, table_mask

UInt8Array = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """How the camera that films a clip sees."""

    blur: float
    """Radius in pixels."""
    noise: int
    """Largest change of a value."""
    gain: float
    light: tuple[float, float, float]
    """Gain of each colour channel for people, so that not all wear the light of their own photo."""


def draw_look(rng: np.random.Generator) -> Look:
    """A camera that is a little soft, noisy or dark, or none of it."""
    light = 1 + rng.uniform(-0.08, 0.08, 3)
    return Look(
        blur=float(rng.uniform(0.3, 0.9)) if rng.random() < 0.4 else 0.0,
        noise=int(rng.integers(0, 9)),
        gain=float(rng.uniform(0.55, 1.1)),
        light=(float(light[0]), float(light[1]), float(light[2])),
    )


@dataclass(frozen=True, slots=True, eq=False)
class RenderedFrame:
    """One frame and its truth."""

    image_HWC: UInt8Array
    parts_HW: UInt8Array
    """Parts 0..19."""
    instances_HW: UInt8Array
    """The identity at each pixel, 0 nobody."""


def render(
    plan: Plan, backdrop_HWC: UInt8Array, look: Look, rng: np.random.Generator
) -> Iterator[RenderedFrame]:
    """The frames of a clip, in order.

    Args:
        plan: Who is where.
        backdrop_HWC: What is behind them; scaled to cover the frame with room for the camera's way.
        look: How the camera sees.
        rng: For noise, and where the backdrop is cut.
    """
    shape = plan.clip.format
    place = _place_backdrop(backdrop_HWC, (shape.height, shape.width), rng)
    wood = int(rng.integers(50, 190)) + rng.integers(-25, 26, 3)
    for frame in range(len(plan.camera_T23)):
        image = _draw_backdrop(backdrop_HWC, place, plan.camera_T23[frame], (shape.height, shape.width))
        parts = np.zeros((shape.height, shape.width), np.uint8)
        instances = np.zeros_like(parts)
        for layer in plan.order(frame):
            if isinstance(layer, Table):
                mask = table_mask(plan, layer, frame)
                image[mask] = wood
                parts[mask] = instances[mask] = 0
            else:
                _draw_actor(layer, frame, look, image, parts, instances)
        yield RenderedFrame(_film(image, look, rng), parts, instances)


def _draw_actor(
    actor: Actor, frame: int, look: Look, image: UInt8Array, parts: UInt8Array, instances: UInt8Array
) -> None:
    """Put a person into the frame, in place."""
    area = actor.motion.area_in(frame, (0, 0, actor.cutout.width, 1), parts.shape)
    if area is None:
        return
    step = lattice_step(float(actor.heights_T[frame]))
    drawn = draw(actor.cutout, source_map(actor.motion, frame, area, step))
    lit = np.clip(drawn.rgba_HW4 * np.array([*look.light, 1.0]), 0, 255).astype(np.uint8)
    image[area.slices] = blend(image[area.slices], lit)
    there = drawn.parts_HW > 0
    parts[area.slices][there] = drawn.parts_HW[there]
    instances[area.slices][there] = actor.identity


def _place_backdrop(backdrop_HWC: UInt8Array, size: tuple[int, int], rng: np.random.Generator) -> FloatArray:
    """The affine map from the frame (before the camera's way) to the backdrop, [2, 3]."""
    height, width = backdrop_HWC.shape[:2]
    scale = max(size[0] / height, size[1] / width) * float(rng.uniform(1.2, 1.5))
    room = np.array([width - size[1] / scale, height - size[0] / scale])
    corner = room * rng.uniform(0.3, 0.7, 2)
    return np.array([[1 / scale, 0, corner[0]], [0, 1 / scale, corner[1]]])


def _draw_backdrop(
    backdrop_HWC: UInt8Array, place: FloatArray, camera: FloatArray, size: tuple[int, int]
) -> UInt8Array:
    back = np.linalg.inv(np.vstack([camera, [0, 0, 1]]))
    matrix = (np.vstack([place, [0, 0, 1]]) @ back)[:2]
    margin = 120  # mirrored beyond the edges, in case the camera looks there
    padded = np.pad(backdrop_HWC, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    matrix[:, 2] += margin
    picture = Image.fromarray(padded).transform(
        (size[1], size[0]), Image.Transform.AFFINE, tuple(matrix.ravel()), Image.Resampling.BILINEAR
    )
    return np.array(picture)


def _film(image_HWC: UInt8Array, look: Look, rng: np.random.Generator) -> UInt8Array:
    picture = Image.fromarray(image_HWC)
    if look.blur:
        picture = picture.filter(ImageFilter.GaussianBlur(look.blur))
    grain = rng.integers(-look.noise, look.noise + 1, (*image_HWC.shape[:2], 1))
    lit = (np.asarray(picture).astype(np.int64) * round(look.gain * 256)) // 256 + grain
    filmed: UInt8Array = np.clip(lit, 0, 255).astype(np.uint8)
    return filmed


def render_flow(plan: Plan, frame: int, other: int) -> npt.NDArray[np.float32]:
    """How far from its place in `frame` each pixel is seen in `other`, [H, W, 2], x and y in pixels.

    Where the pixel is hidden in the other frame, this is where it would be seen.
    """
    shape = plan.clip.format
    whole = Area(0, 0, shape.height, shape.width)
    found = flow(Motion(plan.camera_T23), frame, other, whole, 8)
    behind = found.copy()
    for layer in plan.order(frame):
        if isinstance(layer, Table):
            mask = table_mask(plan, layer, frame)
            found[mask] = behind[mask]
            continue
        area = layer.motion.area_in(frame, (0, 0, layer.cutout.width, 1), (shape.height, shape.width))
        if area is None:
            continue
        step = lattice_step(float(layer.heights_T[frame]))
        there = draw(layer.cutout, source_map(layer.motion, frame, area, step)).parts_HW > 0
        found[area.slices][there] = flow(layer.motion, frame, other, area, step)[there]
    return found.astype(np.float32)
