"""Layers of training clips: people, garments, tables and backdrops, each with its motion.

`partstream_evaluation.composite.motion` works out where a pixel comes from; here pixels are fetched, fast.

Shape suffixes: T frames, H height, W width, C colour channels (RGB), 4 RGB and opacity; a last 2 is (x, y).
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from partstream_core.labels import VOID, flip_labels
from partstream_evaluation.composite.motion import Area, FloatArray, Motion, flow, lattice_step, source_map
from partstream_models.data.photos.back_views import BEHIND_SHARE, from_behind
from partstream_models.data.photos.cache import Photo
from partstream_models.data.photos.partial_labels import CARRIED_SHARE, carried_by
from partstream_models.data.scenes.augment import jitter_colour

UInt8Array = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]
Float32Array = npt.NDArray[np.float32]

_SMALLEST_PIECE = 0.05
"""Pieces of a person smaller than this, against the largest, are left out."""


@dataclass(frozen=True, slots=True, eq=False)
class Sprite:
    """Something without surroundings."""

    rgba_HW4: UInt8Array
    """Opacity falls off softly at the outline; colours go on beyond it."""
    parts_HW: UInt8Array
    """Parts 1..19 on a person, 0 elsewhere, also on what the person carries."""
    mask_HW: UInt8Array
    """1 on the thing itself and on what is carried, 0 elsewhere."""

    @property
    def width(self) -> float:
        """In body coordinates, where the height is 1."""
        height, width = self.mask_HW.shape
        return float(width / height)


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A sprite and its way through a shot."""

    sprite: Sprite
    motion: Motion
    heights_T: FloatArray
    """In pixels."""
    row: int
    """Row + 1 of the person in the clip; 0 for things."""


@dataclass(frozen=True, slots=True, eq=False)
class Backdrop:
    """The backdrop of a clip."""

    image_HWC: UInt8Array
    motion: Motion
    """Its body coordinates have the backdrop's height as their unit."""


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """A frame while it is drawn; changed in place."""

    image_HWC: UInt8Array
    parts_HW: UInt8Array
    instances_HW: UInt8Array
    owners_HW: UInt8Array
    """Number + 1 of the layer on top, 0 the backdrop."""


def cut_sprite(photo: Photo, rng: np.random.Generator, *, height: int, share: float = 1.0) -> Sprite | None:
    """The person of a photo in colours of another day; None where the photo's map shows nobody.

    Args:
        photo: With its part map.
        rng: Mirrors half of all people, and jitters colours.
        height: At most so many pixels high.
        share: Only so much of the body, from the top.
    """
    person = _large_pieces((photo.parts_HW > 0) & (photo.parts_HW < VOID))
    if not person.any():
        return None
    shown = person.copy()
    if rng.random() < CARRIED_SHARE:
        shown |= carried_by(photo.teacher_HW, person)
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    bottom = rows[0] + max(round((rows[-1] + 1 - rows[0]) * share), 2)
    area = (slice(rows[0], bottom), slice(max(columns[0] - 4, 0), columns[-1] + 5))
    image, parts = photo.image_HWC[area], np.where(person, photo.parts_HW, 0)[area].astype(np.uint8)
    if rng.random() < BEHIND_SHARE:
        image, parts = from_behind(image, parts, rng)
    mask = shown[area].astype(np.uint8)
    if height < image.shape[0]:
        size = (max(round(image.shape[1] * height / image.shape[0]), 2), max(height, 2))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
        parts = cv2.resize(parts, size, interpolation=cv2.INTER_NEAREST).astype(np.uint8)
        mask = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST).astype(np.uint8)
    if rng.random() < 0.5:
        image, parts = np.ascontiguousarray(image[:, ::-1]), np.ascontiguousarray(flip_labels(parts))
        mask = np.ascontiguousarray(mask[:, ::-1])
    return soft_sprite(jitter_colour(image, rng), parts, mask, rng)


def soft_sprite(
    image_HWC: UInt8Array, parts_HW: UInt8Array, mask_HW: UInt8Array, rng: np.random.Generator
) -> Sprite:
    """A sprite with a soft outline, coloured from inside, where labels and photo agree."""
    reach = 5 if image_HWC.shape[0] > 150 else 3
    inside = cv2.erode(mask_HW, np.ones((reach, reach), np.uint8), borderValue=1)
    if not inside.any():
        inside = mask_HW
    _, nearest = cv2.distanceTransformWithLabels(1 - inside, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)
    colours = np.zeros((int(nearest.max()) + 1, 3), np.uint8)
    known = inside > 0
    colours[nearest[known]] = image_HWC[known]
    filled = np.where(known[..., None], image_HWC, colours[nearest])
    opacity = cv2.GaussianBlur(mask_HW * 255, (0, 0), float(rng.uniform(0.4, 1.2)))
    return Sprite(np.dstack([filled, opacity]).astype(np.uint8), parts_HW, mask_HW)


def garment(sprite: Sprite, rng: np.random.Generator) -> Sprite | None:
    """One piece of a person's clothing, worn by nobody: a garment that is no part of anyone."""
    wearable = [part for part in np.unique(sprite.parts_HW).tolist() if 5 <= part <= 12 and part != 10]
    if not wearable:
        return None
    mask = (sprite.parts_HW == int(rng.choice(wearable))).astype(np.uint8)
    return soft_sprite(sprite.rgba_HW4[..., :3], np.zeros_like(mask), mask, rng)


def _large_pieces(person_HW: BoolArray) -> BoolArray:
    _, pieces, statistics, _ = cv2.connectedComponentsWithStats(person_HW.astype(np.uint8))
    areas = np.asarray(statistics)[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    large = (areas >= _SMALLEST_PIECE * areas.max(initial=0)) & (areas > 0)
    return np.asarray(large[np.asarray(pieces)])


def new_canvas(backdrop: Backdrop, frame: int, size: tuple[int, int]) -> Canvas:
    """A frame that shows the backdrop alone; beyond its edges it goes on in a mirror."""
    pose, scale = backdrop.motion.pose_T23[frame], backdrop.image_HWC.shape[0]
    back = np.linalg.inv(pose[:, :2]) * scale
    move = back @ (0.5 - pose[:, 2]) - 0.5
    matrix = np.concatenate([back, move[:, None]], axis=1)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    image = cv2.warpAffine(
        backdrop.image_HWC, matrix, (size[1], size[0]), flags=flags, borderMode=cv2.BORDER_REFLECT_101
    )
    blank = np.zeros(size, np.uint8)
    return Canvas(image.astype(np.uint8), blank, blank.copy(), blank.copy())


def put(canvas: Canvas, layer: Layer, number: int, frame: int) -> None:
    """Draw a layer over the canvas, in place."""
    area = _area(layer, frame, canvas.parts_HW.shape)
    if area is None:
        return
    sprite = layer.sprite
    body = source_map(layer.motion, frame, area, lattice_step(float(layer.heights_T[frame])))
    place = (body * sprite.mask_HW.shape[0] - 0.5).astype(np.float32)
    drawn = cv2.remap(sprite.rgba_HW4, place[..., 0], place[..., 1], cv2.INTER_LINEAR).astype(np.uint16)
    image = canvas.image_HWC[area.slices]
    opacity = drawn[..., 3:]
    image[:] = (image * (255 - opacity) + drawn[..., :3] * opacity + 127) // 255
    there = cv2.remap(sprite.mask_HW, place[..., 0], place[..., 1], cv2.INTER_NEAREST) > 0
    parts = cv2.remap(sprite.parts_HW, place[..., 0], place[..., 1], cv2.INTER_NEAREST)
    canvas.parts_HW[area.slices][there] = parts[there]
    canvas.instances_HW[area.slices][there] = np.where(parts[there] > 0, layer.row, 0)
    canvas.owners_HW[area.slices][there] = number + 1


def _area(layer: Layer, frame: int, size: tuple[int, ...]) -> Area | None:
    return layer.motion.area_in(frame, (0, 0, layer.sprite.width, 1), (size[0], size[1]))


def flow_of(
    backdrop: Backdrop, layers: tuple[Layer, ...], owners_HW: UInt8Array, frame: int, other: int
) -> Float32Array:
    """How far from its place in `frame` each pixel is (or would be, if nothing hid it) seen in `other`."""
    height, width = owners_HW.shape
    found = flow(backdrop.motion, frame, other, Area(0, 0, height, width), 16).astype(np.float32)
    for number, layer in enumerate(layers):
        area = _area(layer, frame, owners_HW.shape)
        if area is None:
            continue
        there = owners_HW[area.slices] == number + 1
        if there.any():
            step = lattice_step(float(layer.heights_T[frame]))
            found[area.slices][there] = flow(layer.motion, frame, other, area, step)[there]
    return found
