"""Backdrops without people: photos with their people painted out, and textures.

Shape suffixes: H height, W width, C colour channels (RGB).
"""

from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter
from scipy import ndimage

UInt8Array = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]

_FEATHER: Final = 10
"""Pixels over which a painted area fades into the photo."""
_PATCHES: Final = 6
"""At most so many shifted copies of the photo are used to paint one photo."""


def paint_out(image_HWC: UInt8Array, people_HW: BoolArray, *, margin: int = 12) -> UInt8Array:
    """The photo with what stood in the mask covered by pieces from beside it.

    Boxes around what is to vanish are painted, not its outline, which would go on showing a person. The
    photo is laid over them shifted sideways, by the shift that fits best at their rim; what is still open is
    covered by the next best shift, and the rest smoothly.

    Args:
        image_HWC: The photo.
        people_HW: What is to vanish.
        margin: How far boxes reach beyond it, in pixels, for its soft edges.
    """
    hole_HW = _boxes(people_HW, margin)
    if not hole_HW.any():
        return image_HWC.copy()
    canvas, open_HW = _smooth_fill(image_HWC, hole_HW), hole_HW.copy()
    for _ in range(_PATCHES):
        shift = _best_shift(image_HWC, hole_HW, open_HW)
        if shift is None:
            break
        free_HW = ~np.roll(hole_HW, shift, axis=1) & _inside(shift, hole_HW.shape)
        usable_HW = open_HW & free_HW
        weight = _soften(usable_HW, _FEATHER) * (hole_HW & free_HW)[..., None]
        canvas = canvas * (1 - weight) + np.roll(image_HWC, shift, axis=1) * weight
        open_HW &= ~usable_HW
    rim = _soften(hole_HW, _FEATHER // 2)
    painted: UInt8Array = (image_HWC * (1 - rim) + canvas * rim).round().astype(np.uint8)
    return np.where(hole_HW[..., None], painted, image_HWC)


def _boxes(people_HW: BoolArray, margin: int) -> BoolArray:
    """Boxes around the connected pieces of a mask; the mask grown where boxes would fill the photo."""
    grown = ndimage.maximum_filter(people_HW, size=2 * margin + 1)
    boxes = np.zeros_like(grown)
    for area in ndimage.find_objects(ndimage.label(grown)[0]):
        boxes[area] = True
    found: BoolArray = boxes if boxes.mean() < 0.7 else grown
    if found.all():
        raise ValueError("the mask covers the whole photo: nothing is left to paint with")
    return found


def _soften(mask_HW: BoolArray, reach: int) -> FloatArray:
    """1 inside the mask, falling to 0 over `reach` pixels outside, [H, W, 1]."""
    size = 2 * reach + 1
    grown = ndimage.maximum_filter(mask_HW, size=size).astype(np.float64)
    soft: FloatArray = ndimage.uniform_filter(grown, size=size)[..., None]
    return soft


def _inside(shift: int, shape: tuple[int, ...]) -> BoolArray:
    """Where a copy shifted by so many columns has pixels, [1, W]."""
    columns = np.arange(shape[1]) - shift
    inside: BoolArray = ((columns >= 0) & (columns < shape[1]))[None]
    return inside


def _best_shift(image_HWC: UInt8Array, hole_HW: BoolArray, open_HW: BoolArray) -> int | None:
    """The shift whose copy covers most of what is open and fits its rim; None where all cover too little."""
    step = 6  # every sixth pixel is enough to compare by
    image = image_HWC[::step, ::step].astype(np.int64)
    hole, still_open = hole_HW[::step, ::step], open_HW[::step, ::step]
    rim = ndimage.binary_dilation(still_open, iterations=3) & ~hole
    best: tuple[float, int] | None = None
    for shift in range(-hole.shape[1] + 6, hole.shape[1] - 5):
        valid = ~np.roll(hole, shift, axis=1) & _inside(shift, hole.shape)
        covered = float((still_open & valid).sum() / max(int(still_open.sum()), 1))
        fit = rim & valid
        if covered < 0.05 or np.count_nonzero(fit) < 8:
            continue
        error = float(np.abs(np.roll(image, shift, axis=1)[fit] - image[fit]).mean())
        cost = error + 60 * (1 - covered)
        if best is None or cost < best[0]:
            best = (cost, shift * step)
    return None if best is None else best[1]


def _smooth_fill(image_HWC: UInt8Array, hole_HW: BoolArray) -> FloatArray:
    """The photo with the surroundings' colours, blurred, over the hole; made from every eighth pixel."""
    height, width = hole_HW.shape
    small, known = image_HWC[::8, ::8].astype(np.float64), (~hole_HW[::8, ::8]).astype(np.float64)
    filled, total = np.zeros_like(small), np.full(known.shape, 1e-9)
    for sigma, weight in ((1.0, 1.0), (4.0, 1e-3), (12.0, 1e-6)):
        total += weight * ndimage.gaussian_filter(known, sigma)
        filled += weight * ndimage.gaussian_filter(small * known[..., None], (sigma, sigma, 0))
    picture = Image.fromarray(np.clip(filled / total[..., None], 0, 255).astype(np.uint8))
    spread = np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC)).astype(np.float64)
    return np.where(hole_HW[..., None], spread, image_HWC)


def draw_texture(rng: np.random.Generator, height: int, width: int) -> UInt8Array:
    """A wall or floor that no photo shows: soft colour fields, grain, and now and then tiles or planks."""
    canvas = np.zeros((height, width, 3))
    base = int(rng.integers(50, 206)) + rng.integers(-30, 31, 3)
    for cells, strength in ((3, 36), (9, 18), (40, 9)):
        noise = rng.integers(-strength, strength + 1, (cells, cells)).astype(np.float32)
        canvas += np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC))[
            ..., None
        ]
    canvas += base + rng.integers(-5, 6, (height, width, 1))
    if rng.random() < 0.7:
        rows, columns = int(rng.integers(24, 120)), int(rng.integers(24, 200))
        offset = np.where((np.arange(height) // rows) % 2, columns // 2, 0)[:, None]
        is_joint = (np.arange(height)[:, None] % rows < 3) | ((np.arange(width) + offset) % columns < 3)
        canvas[is_joint] += float(rng.integers(-50, 30))
    picture = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))
    return np.asarray(picture.filter(ImageFilter.BoxBlur(1)))
