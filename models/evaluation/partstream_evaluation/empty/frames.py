"""The pictures of the recipe, drawn.

Shape suffixes: H height, W width, C colour channels (RGB).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from partstream_evaluation.ccp import read_label_map, validation_part_maps
from partstream_evaluation.composite.backdrop import draw_texture
from partstream_evaluation.empty.recipe import ClipCrop, EmptyRecipe
from partstream_evaluation.readers.clips import read_frames

UInt8Array = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]

_CELL: Final = 8
"""Crops of photos begin and end on multiples of this."""
_MADE_SIZE: Final = (432, 768)
_BACKDROP_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp"})


@dataclass(frozen=True, kw_only=True, slots=True)
class EmptySources:
    """Where pictures come from."""

    ccp: Path
    videos: Path
    nobody: Path | None = None
    """Clips of things; left out if None."""
    backdrops: Path | None = None
    """Pictures without people, in folders; left out if None."""


@dataclass(frozen=True, slots=True, eq=False)
class EmptyPicture:
    """A picture without people."""

    name: str
    kind: str
    image_HWC: UInt8Array


def draw(recipe: EmptyRecipe, sources: EmptySources) -> Iterator[EmptyPicture]:
    """All pictures of the recipe, one by one, always the same.

    Args:
        recipe: Which ones.
        sources: Folders of clips and photos.

    Raises:
        ValueError: A clip, photo or label map is missing, damaged or another one than the recipe's.
    """
    for crop in recipe.clips:
        yield from _of_clip(crop, sources.videos / crop.file)
    if sources.nobody is not None:
        for crop in recipe.nobody_clips:
            yield from _of_clip(crop, sources.nobody / crop.file)
    if sources.backdrops is not None:
        yield from _backdrops(sources.backdrops, recipe.backdrops_left_out)
    yield from _of_photos(recipe, sources.ccp)
    yield from _made(recipe)


def _of_clip(crop: ClipCrop, path: Path) -> Iterator[EmptyPicture]:
    if not path.is_file():
        raise ValueError(f"there is no clip {path}")
    left, top, right, bottom = crop.box
    waiting = list(crop.frames)
    for number, image_HWC in enumerate(read_frames(path)):
        if number != waiting[0]:
            continue
        if image_HWC.shape[0] < bottom or image_HWC.shape[1] < right:
            size = f"{image_HWC.shape[0]}x{image_HWC.shape[1]}"
            raise ValueError(f"{path} is {size}: too small for the crop {crop.box}")
        name = f"{path.stem}-{left}-{top}-{number:04d}"
        yield EmptyPicture(name, crop.kind, np.ascontiguousarray(image_HWC[top:bottom, left:right]))
        del waiting[0]
        if not waiting:
            return
    raise ValueError(f"{path} ends before frame {waiting[0]}")


def _backdrops(root: Path, left_out: tuple[str, ...]) -> Iterator[EmptyPicture]:
    """The pictures of each folder inside, as wholes; transparent ones are things, not backdrops."""
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in _BACKDROP_SUFFIXES)
    num_pictures = 0
    for path in paths:
        if path.name.startswith(left_out):
            continue
        try:
            with Image.open(path) as picture:
                if picture.mode in {"RGBA", "LA", "PA"}:
                    continue
                image_HWC = np.asarray(picture.convert("RGB"))
        except OSError as error:
            raise ValueError(f"cannot read the backdrop {path}: {error}") from error
        kind = path.parent.name
        num_pictures += 1
        yield EmptyPicture(f"backdrop-{kind}-{path.stem}", kind, image_HWC)
    if num_pictures == 0:
        raise ValueError(f"there is no backdrop in {root}")


def _of_photos(recipe: EmptyRecipe, data_dir: Path) -> Iterator[EmptyPicture]:
    """The largest crop beside the person of each photo."""
    wanted = set(recipe.photos)
    if not wanted:
        return
    for photo_id, parts_HW in validation_part_maps(data_dir):
        if photo_id not in wanted:
            continue
        wanted.discard(photo_id)
        labels_HW = read_label_map(data_dir / "labels" / f"{photo_id}.png")
        taken_HW = (labels_HW > 0) | (parts_HW > 0)
        free_HW = ~ndimage.maximum_filter(taken_HW, size=2 * recipe.photo_margin + 1)
        top, left, bottom, right = largest_rectangle(free_HW, _CELL)
        shorter, longer = sorted((bottom - top, right - left))
        if shorter < recipe.photo_sides[0] or longer < recipe.photo_sides[1]:
            continue
        image_HWC = _read(data_dir / "photos" / f"{photo_id}.jpg", taken_HW.shape)
        yield EmptyPicture(f"photo-{photo_id}", "street", image_HWC[top:bottom, left:right])
    if wanted:
        raise ValueError(f"val.txt is not the published one: it lacks {', '.join(sorted(wanted))}")


def _read(path: Path, size: tuple[int, ...]) -> UInt8Array:
    try:
        with Image.open(path) as picture:
            image = np.array(picture.convert("RGB"))
    except OSError as error:
        raise ValueError(f"cannot read the photo {path}: {error}") from error
    if image.shape[:2] != size:
        raise ValueError(f"{path} is {image.shape[:2]}, its label map {size}")
    return image


def largest_rectangle(free_HW: BoolArray, cell: int = 1) -> tuple[int, int, int, int]:
    """Top, left, bottom, right of the largest rectangle of wholly free cells; empty if there is none."""
    height, width = (side // cell for side in free_HW.shape)
    whole = free_HW[: height * cell, : width * cell].reshape(height, cell, width, cell)
    cells: BoolArray = np.asarray(whole.all(axis=(1, 3)))
    best, found = 0, (0, 0, 0, 0)
    runs = np.zeros(width, np.int64)
    for row in range(height):
        runs = np.where(cells[row], runs + 1, 0)  # free cells upward from this row
        for left in range(width):
            lowest = np.minimum.accumulate(runs[left:])
            areas = lowest * np.arange(1, width - left + 1)
            at = int(areas.argmax())
            if areas[at] > best:
                best = int(areas[at])
                found = (row + 1 - int(lowest[at]), left, row + 1, left + at + 1)
    top, left, bottom, right = (edge * cell for edge in found)
    return top, left, bottom, right


def _made(recipe: EmptyRecipe) -> Iterator[EmptyPicture]:
    """Textures, and gradients that run in any direction."""
    height, width = _MADE_SIZE
    for number in range(recipe.num_textures):
        rng = np.random.default_rng((recipe.seed, 0, number))
        yield EmptyPicture(f"texture-{number:02d}", "texture", draw_texture(rng, height, width))
    rows, columns = np.mgrid[:height, :width]
    for number in range(recipe.num_gradients):
        rng = np.random.default_rng((recipe.seed, 1, number))
        first, last = rng.integers(0, 256, (2, 3))
        across, down = rng.integers(0, 5, 2)
        way = across * columns * height + down * rows * width
        image = first + (last - first) * way[..., None] // max(int(way.max()), 1)
        yield EmptyPicture(f"gradient-{number:02d}", "gradient", image.astype(np.uint8))
