"""The photos that the composite benchmark is made of: the validation list's, and no others."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from partstream_core.labels import VOID
from partstream_evaluation.ccp import read_label_map, validation_part_maps
from partstream_evaluation.composite.backdrop import draw_texture, paint_out
from partstream_evaluation.composite.people import Cutout, cut_out
from partstream_evaluation.composite.plan import generator
from partstream_evaluation.composite.recipe import Clip, Recipe

UInt8Array = npt.NDArray[np.uint8]

_TEXTURED = 6
"""Every so many-th clip has a texture for a backdrop."""


@dataclass(frozen=True, slots=True)
class Source:
    """People and backdrops, by the names of their photos."""

    people: dict[str, Cutout]
    data_dir: Path
    backdrops: dict[str, UInt8Array]
    """Part maps of the photos that may be backdrops."""


def read_source(data_dir: Path, recipe: Recipe) -> Source:
    """Everything the benchmark draws from.

    Raises:
        ValueError: A photo or label map is missing, damaged or of another size.
    """
    people, maps = {}, {}
    for photo_id, parts_HW in validation_part_maps(data_dir):
        if photo_id in recipe.backdrops:
            maps[photo_id] = parts_HW
        if photo_id not in recipe.excluded:
            people[photo_id] = cut_out(photo_id, _read(data_dir, photo_id, parts_HW.shape), parts_HW)
    missing = sorted(set(recipe.backdrops) - set(maps))
    if missing:
        raise ValueError(f"val.txt is not the published one: it lacks {', '.join(missing)}")
    return Source(people, data_dir, maps)


def _read(data_dir: Path, photo_id: str, size: tuple[int, ...]) -> UInt8Array:
    path = data_dir / "photos" / f"{photo_id}.jpg"
    try:
        with Image.open(path) as picture:
            image = np.array(picture.convert("RGB"))
    except OSError as error:
        raise ValueError(f"cannot read the photo {path}: {error}") from error
    if image.shape[:2] != size:
        raise ValueError(f"{path} is {image.shape[:2]}, its label map {size}")
    return image


def backdrop_of(source: Source, recipe: Recipe, clip: Clip) -> UInt8Array:
    """The backdrop of a clip: a photo with its people painted out, or a texture."""
    rng = generator(recipe, clip, 0, purpose=1)
    if clip.number % _TEXTURED == _TEXTURED - 1:
        return draw_texture(rng, 900, 900)
    order = np.random.default_rng(recipe.seed).permutation(sorted(recipe.backdrops))
    photo_id = str(order[clip.number % len(order)])
    parts_HW = source.backdrops[photo_id]
    labels_HW = read_label_map(source.data_dir / "labels" / f"{photo_id}.png")  # bags are to vanish too
    image = _read(source.data_dir, photo_id, parts_HW.shape)
    return paint_out(image, (labels_HW > 0) | (parts_HW == VOID))
