"""Sharp distractors on backdrops: pieces of other photos, some with the outline of a person.

A cut-out person is sharp and has an outline; an enlarged backdrop has neither. A network that learns this
finds people in dogs, cushions and signs. So pieces of other photos' backdrops, sharp and with outlines of
their own, lie about; some have the outline of a person, as a poster, a mannequin or a shadow has.

Shape suffixes: H height, W width, C colour channels (RGB).
"""

import cv2
import numpy as np
import numpy.typing as npt

from partstream_core.labels import VOID
from partstream_models.data.photos.cache import PhotoCache
from partstream_models.data.scenes.augment import blend_soft, jitter_colour, random_texture

UInt8Array = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]

_MOST = 8
_SILHOUETTE_SHARE = 0.3
_TEXTURE_SHARE = 0.3


def add_clutter(
    image_HWC: UInt8Array, cache: PhotoCache, rng: np.random.Generator, *, share: float
) -> UInt8Array:
    """The backdrop with some things on it, in that share of cases."""
    if rng.random() >= share:
        return image_HWC
    for _ in range(int(rng.integers(1, _MOST + 1))):
        image_HWC = _put_thing(image_HWC, cache, rng)
    return image_HWC


def _put_thing(image_HWC: UInt8Array, cache: PhotoCache, rng: np.random.Generator) -> UInt8Array:
    frame_height, frame_width = image_HWC.shape[:2]
    height = max(int(frame_height * np.exp(rng.uniform(np.log(0.08), np.log(0.9)))), 12)
    width = max(int(height * np.exp(rng.normal(-0.2, 0.5))), 12)
    shape = _silhouette(cache, rng, height) if rng.random() < _SILHOUETTE_SHARE else None
    if shape is None:
        shape = _outline(rng, height, width)
    height, width = shape.shape
    top = int(rng.integers(-height // 2, frame_height - height // 2))
    left = int(rng.integers(-width // 2, frame_width - width // 2))
    inner = (
        slice(max(-top, 0), min(frame_height - top, height)),
        slice(max(-left, 0), min(frame_width - left, width)),
    )
    outer = (
        slice(max(top, 0), min(top + height, frame_height)),
        slice(max(left, 0), min(left + width, frame_width)),
    )
    mask = np.zeros((frame_height, frame_width), bool)
    mask[outer] = shape[inner]
    if not mask.any():
        return image_HWC
    above = image_HWC.copy()
    above[outer] = _surface(cache, rng, height, width)[inner]
    return blend_soft(image_HWC, above, mask, rng)


def _surface(cache: PhotoCache, rng: np.random.Generator, height: int, width: int) -> UInt8Array:
    """A piece of a photo without people, hardly enlarged, or a texture."""
    if rng.random() < _TEXTURE_SHARE:
        return random_texture(rng, height, width)
    source = cache[int(rng.integers(len(cache)))].backdrop_HWC
    scale = max(height / source.shape[0], width / source.shape[1], float(rng.uniform(0.3, 1.2)))
    rows, columns = min(int(height / scale), source.shape[0]), min(int(width / scale), source.shape[1])
    # people stand in the middle of these photos; the sides show what the backdrop really was
    left = int(rng.choice([0, source.shape[1] - columns]))
    top = int(rng.integers(source.shape[0] - rows + 1))
    piece = source[top : top + max(rows, 1), left : left + max(columns, 1)]
    scaled = cv2.resize(piece, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)
    return jitter_colour(scaled, rng)


def _silhouette(cache: PhotoCache, rng: np.random.Generator, height: int) -> BoolArray | None:
    parts = cache[int(rng.integers(len(cache)))].parts_HW
    person = (parts > 0) & (parts < VOID)
    rows, columns = np.flatnonzero(person.any(axis=1)), np.flatnonzero(person.any(axis=0))
    if len(rows) < 8:
        return None
    cut = person[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.uint8)
    width = max(round(cut.shape[1] * height / cut.shape[0]), 4)
    resized = cv2.resize(cut, (width, height), interpolation=cv2.INTER_AREA)
    silhouette: BoolArray = resized > 0
    return silhouette


def _outline(rng: np.random.Generator, height: int, width: int) -> BoolArray:
    """An ellipse, a rectangle or a crooked polygon that fills its box."""
    shape = np.zeros((height, width), np.uint8)
    kind = rng.random()
    if kind < 0.3:
        shape[:] = 1
    elif kind < 0.6:
        axes = (max(width // 2 - 1, 1), max(height // 2 - 1, 1))
        cv2.ellipse(shape, (width // 2, height // 2), axes, float(rng.uniform(-30, 30)), 0, 360, 1, -1)
    else:
        corners = int(rng.integers(5, 11))
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
        reach = rng.uniform(0.5, 1.0, corners) / 2
        points = np.stack(
            [width * (0.5 + reach * np.cos(angles)), height * (0.5 + reach * np.sin(angles))], axis=1
        )
        cv2.fillPoly(shape, [points.astype(np.int32)], 1)
    outline: BoolArray = shape > 0
    return outline
