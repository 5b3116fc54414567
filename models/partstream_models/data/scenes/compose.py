"""Scenes of people: single photos as they are, and composites with exact masks and identities.

A scene is made from a seed alone, so training is reproducible and unlimited. Composites paste cut-out people
over backdrops, far to near: bigger people stand nearer and lower, and occlude the ones behind. Photos of a
scene never come from the validation list, because the cache they are drawn from does not hold it.

Shape suffixes: H height, W width, N people.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from partstream_core.labels import VOID, flip_labels
from partstream_models.data.photos.back_views import BEHIND_SHARE, from_behind
from partstream_models.data.photos.cache import Photo, PhotoCache
from partstream_models.data.photos.partial_labels import CARRIED_SHARE, carried_by, flip_answers
from partstream_models.data.scenes.augment import blend_soft, degrade, jitter_colour, random_texture
from partstream_models.data.scenes.clutter import add_clutter
from partstream_models.data.scenes.scene import Scene

UInt8Array = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class ComposeConfig:
    """Distribution of composed scenes."""

    composite_share: float = 0.7
    """Share of composites; the rest are photos as they are, scaled, cropped and turned."""
    empty_share: float = 0.04
    """Share of scenes without people, so that nobody is seen where nobody is."""
    max_people: int = 6
    smallest_person: float = 0.14
    """Height of the smallest people against the scene's height."""
    largest_person: float = 1.9
    group_share: float = 0.4
    """Share of composites whose people stand close together and hide one another."""
    clutter_share: float = 0.5
    """Share of backdrops with sharp things on them that are nobody."""
    void_as_background: bool = False
    """Take unlabelled bystanders for background; only to measure what marking them void is worth."""

    def __post_init__(self) -> None:
        if not 0 <= self.composite_share <= 1:
            raise ValueError(f"composite_share must be in 0..1, got {self.composite_share}")
        if self.max_people < 1:
            raise ValueError(f"max_people must be at least 1, got {self.max_people}")


@dataclass(frozen=True, slots=True)
class Cutout:
    """A person cut out of a photo, and what the person carries; parts are 0 there and outside."""

    image_HWC: UInt8Array
    parts_HW: UInt8Array
    mask_HW: UInt8Array
    """1 on the person and on what is carried."""
    identity: int


def draw_pair(
    cache: PhotoCache,
    rng: np.random.Generator,
    *,
    height: int,
    width: int,
    config: ComposeConfig,
    weights: npt.NDArray[np.float64] | None = None,
) -> tuple[Scene, Scene]:
    """Two scenes from the generator's state; two composites show the same people (for the triplet loss).

    Args:
        cache: Where people and backdrops come from.
        rng: The only source of chance.
        height: Height of both scenes.
        width: Width of both scenes.
        config: What scenes look like.
        weights: Chance of each photo to be picked for its person; equal where None.
    """
    kind = rng.random()
    if kind < config.empty_share:
        scenes = [_empty_scene(cache, rng, height, width, config) for _ in range(2)]
    elif kind < config.empty_share + config.composite_share:
        num_people = min(int(rng.integers(1, config.max_people + 1)), len(cache))
        numbers = rng.choice(len(cache), size=num_people, replace=False, p=weights)
        colour_seed = int(rng.integers(1 << 31))
        scenes = [
            _composite(cache, rng, height, width, config, rng.permutation(numbers), colour_seed)
            for _ in range(2)
        ]
    else:
        picks = rng.choice(len(cache), size=2, p=weights)
        scenes = [_single(cache, rng, height, width, int(number), config) for number in picks]
    return degrade(scenes[0], rng), degrade(scenes[1], rng)


def _transform(
    source_size: tuple[int, int],
    scale: float,
    angle: float,
    target: tuple[float, float],
    anchor: tuple[float, float],
) -> npt.NDArray[np.float64]:
    """Affine map that scales and turns about `anchor` (relative x, y in the source), put at `target`."""
    height, width = source_size
    center = (anchor[0] * width, anchor[1] * height)
    matrix = np.asarray(cv2.getRotationMatrix2D(center, angle, scale), np.float64)
    matrix[0, 2] += target[0] - center[0]
    matrix[1, 2] += target[1] - center[1]
    return matrix


def _warp(
    image: UInt8Array,
    matrix: npt.NDArray[np.float64],
    height: int,
    width: int,
    *,
    labels: bool,
    fill: int = 0,
) -> UInt8Array:
    flags = cv2.INTER_NEAREST if labels else cv2.INTER_LINEAR
    mode = cv2.BORDER_CONSTANT if labels else cv2.BORDER_REFLECT_101
    warped = cv2.warpAffine(
        image, matrix, (width, height), flags=flags, borderMode=mode, borderValue=(fill,) * 3
    )
    return warped.astype(np.uint8, copy=False)


def _single(
    cache: PhotoCache, rng: np.random.Generator, height: int, width: int, number: int, config: ComposeConfig
) -> Scene:
    """A photo, scaled to between three quarters of and twice the scene's height, cropped and turned."""
    photo = _maybe_flip(cache[number], rng)
    if config.void_as_background:
        known = np.where(photo.parts_HW == VOID, 0, photo.parts_HW).astype(np.uint8)
        photo = replace(photo, parts_HW=known, teacher_HW=np.zeros_like(known))
    source = photo.parts_HW.shape
    zoom = rng.uniform(0.75, 2.0) if rng.random() < 0.6 else rng.uniform(0.9, 1.1)
    scale = height / source[0] * float(zoom)
    rows, columns = np.nonzero((photo.parts_HW > 0) & (photo.parts_HW < VOID))
    anchor = (0.5, 0.5)
    if len(rows):
        pick = int(rng.integers(len(rows)))
        anchor = (columns[pick] / source[1], rows[pick] / source[0])
    if scale < 1.15 * height / source[0]:
        anchor = (anchor[0], 0.5)
    target = (width * float(rng.uniform(0.35, 0.65)), height * float(rng.uniform(0.4, 0.6)))
    matrix = _transform((source[0], source[1]), scale, float(rng.normal(0, 6)), target, anchor)
    image = _warp(photo.image_HWC, matrix, height, width, labels=False)
    parts = _warp(photo.parts_HW, matrix, height, width, labels=True, fill=VOID)
    instances = np.where(parts == VOID, VOID, (parts > 0).astype(np.uint8)).astype(np.uint8)
    teacher = _warp(photo.teacher_HW, matrix, height, width, labels=True)
    return Scene(jitter_colour(image, rng), parts, instances, np.array([number]), teacher)


def _maybe_flip(photo: Photo, rng: np.random.Generator) -> Photo:
    if rng.random() < 0.5:
        return photo
    return Photo(
        photo.photo_id,
        np.ascontiguousarray(photo.image_HWC[:, ::-1]),
        np.ascontiguousarray(flip_labels(photo.parts_HW)),
        np.ascontiguousarray(photo.backdrop_HWC[:, ::-1]),
        flip_answers(photo.teacher_HW),
    )


def _backdrop(
    cache: PhotoCache, rng: np.random.Generator, height: int, width: int, config: ComposeConfig
) -> UInt8Array:
    return add_clutter(_bare_backdrop(cache, rng, height, width), cache, rng, share=config.clutter_share)


def _bare_backdrop(cache: PhotoCache, rng: np.random.Generator, height: int, width: int) -> UInt8Array:
    if rng.random() < 0.15:
        return random_texture(rng, height, width)
    photo = cache[int(rng.integers(len(cache)))]
    source = photo.backdrop_HWC
    scale = max(height / source.shape[0], width / source.shape[1]) * float(rng.uniform(1.0, 1.8))
    target = (width * float(rng.uniform(0.3, 0.7)), height * float(rng.uniform(0.3, 0.7)))
    anchor = (float(rng.uniform(0.2, 0.8)), float(rng.uniform(0.2, 0.8)))
    matrix = _transform((source.shape[0], source.shape[1]), scale, float(rng.normal(0, 5)), target, anchor)
    drawn = _warp(source, matrix, height, width, labels=False)
    return np.ascontiguousarray(drawn[:, ::-1]) if rng.random() < 0.5 else drawn


def _empty_scene(
    cache: PhotoCache, rng: np.random.Generator, height: int, width: int, config: ComposeConfig
) -> Scene:
    blank = np.zeros((height, width), np.uint8)
    image = jitter_colour(_backdrop(cache, rng, height, width, config), rng)
    return Scene(image, blank, blank.copy(), np.zeros(0, np.int64))


def cut_out(
    cache: PhotoCache, number: int, rng: np.random.Generator, *, behind_share: float = BEHIND_SHARE
) -> Cutout:
    """The person of a photo, mostly with the bag, cropped to their box; void pixels are left out.

    Args:
        cache: Photos to take the person from.
        number: Number of the photo.
        rng: Draws the orientation, the bag and the back view.
        behind_share: Probability of a back view, 0 to 1.
    """
    photo = _maybe_flip(cache[number], rng)
    person = (photo.parts_HW > 0) & (photo.parts_HW < VOID)
    shown = person | carried_by(photo.teacher_HW, person) if rng.random() < CARRIED_SHARE else person
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    if len(rows) == 0:
        empty = np.zeros((8, 8), np.uint8)
        return Cutout(np.zeros((8, 8, 3), np.uint8), empty, empty, number)
    pad = 6
    top, bottom = max(rows[0] - pad, 0), rows[-1] + 1 + pad
    left, right = max(columns[0] - pad, 0), columns[-1] + 1 + pad
    area = (slice(top, bottom), slice(left, right))
    image, parts = photo.image_HWC[area], np.ascontiguousarray(np.where(person, photo.parts_HW, 0)[area])
    if rng.random() < behind_share:
        image, parts = from_behind(image, parts, rng)
    return Cutout(image, parts, shown[area].astype(np.uint8), number)


def _crop_body(cutout: Cutout, rng: np.random.Generator) -> Cutout:
    """Now and then only the upper body, as behind a table, a counter or a car."""
    if rng.random() > 0.2:
        return cutout
    keep = max(int(cutout.parts_HW.shape[0] * float(rng.uniform(0.3, 0.8))), 4)
    return Cutout(cutout.image_HWC[:keep], cutout.parts_HW[:keep], cutout.mask_HW[:keep], cutout.identity)


def _composite(
    cache: PhotoCache,
    rng: np.random.Generator,
    height: int,
    width: int,
    config: ComposeConfig,
    numbers: npt.NDArray[np.int64],
    colour_seed: int,
) -> Scene:
    """People over a backdrop; the same seed gives a person the same colours, as in two frames of one clip."""
    image = _backdrop(cache, rng, height, width, config)
    parts = np.zeros((height, width), np.uint8)
    instances = np.zeros((height, width), np.uint8)
    tallest = float(np.exp(rng.uniform(np.log(0.4), np.log(config.largest_person))))
    heights = np.sort(tallest * rng.uniform(0.45, 1.0, len(numbers))) * height
    low, high = 0.0, 1.0
    if rng.random() < config.group_share:
        reach = tallest * height / width * float(rng.uniform(0.15, 0.5))
        middle = float(rng.uniform(0.25, 0.75))
        low, high = middle - reach, middle + reach
    for row, (number, person_height) in enumerate(zip(numbers, heights, strict=True)):
        cutout = _crop_body(cut_out(cache, int(number), rng), rng)
        size = max(person_height, config.smallest_person * height)
        scale = size / max(cutout.parts_HW.shape[0], 1)
        target = (width * float(rng.uniform(low, high)), height * float(rng.uniform(0.35, 0.75)))
        angle = float(rng.normal(0, 8)) if rng.random() < 0.9 else float(rng.uniform(-100, 100))
        source = cutout.parts_HW.shape
        matrix = _transform((source[0], source[1]), scale, angle, target, (0.5, 0.5))
        stretch = float(np.exp(rng.normal(0, 0.08)))
        matrix[0] = matrix[0] * stretch + np.array([0, 0, target[0] * (1 - stretch)])
        pasted = _warp(cutout.parts_HW, matrix, height, width, labels=True)
        colours = cv2.warpAffine(
            jitter_colour(cutout.image_HWC, np.random.default_rng((colour_seed, int(number)))),
            matrix,
            (width, height),
            flags=cv2.INTER_LINEAR,
        ).astype(np.uint8)
        covered = _warp(cutout.mask_HW, matrix, height, width, labels=True) > 0
        image = blend_soft(image, colours, covered, rng)
        parts[covered] = pasted[covered]
        instances[covered] = np.where(pasted[covered] > 0, row + 1, 0)
    return Scene(jitter_colour(image, rng, strength=0.5), parts, instances, numbers.astype(np.int64))
