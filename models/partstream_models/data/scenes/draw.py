"""Training scenes of people in any position, in sharp surroundings, with things that are nobody.

A scene begins as a backdrop without people, as a street photo, or as a picture that teachers labelled,
turned by any angle; cut-out people (photos and rendered ones) and things are pasted over it. Surroundings
must be as sharp as people are: composites over blurred or painted backdrops teach "sharp is a person".

Shape suffixes: H height, W width, N people.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from partstream_core.labels import VOID, flip_labels
from partstream_models.data.photos.partial_labels import flip_answers
from partstream_models.data.scenes.augment import degrade, jitter_colour
from partstream_models.data.scenes.cutouts import Pose, crop_layer, paste, person_layer, thing_layer
from partstream_models.data.scenes.scene import Scene
from partstream_models.data.scenes.sources import SceneSources

UInt8Array = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneConfig:
    """Distribution of composed scenes; shares are probabilities."""

    empty_share: float = 0.05
    """Of scenes without people."""
    photo_share: float = 0.22
    """Of scenes that are a street photo, with nothing pasted over it."""
    labelled_share: float = 0.25
    """Of scenes that are a picture labelled by teachers, with nothing pasted over it, where there are any."""
    photo_backdrop_share: float = 0.25
    """Of composites over a street photo whose person counts."""
    labelled_backdrop_share: float = 0.2
    """Of composites over a picture labelled by teachers, where there are any."""
    rendered_share: float = 0.5
    """Of pasted people who are rendered, where there are any."""
    turned_share: float = 0.5
    """Of pasted people, and of whole pictures, turned by any angle."""
    max_people: int = 6
    smallest_person: float = 0.14
    """Height of the smallest people against the scene's height."""
    largest_person: float = 1.9
    group_share: float = 0.4
    """Of composites whose people keep close together."""
    cropped_share: float = 0.25
    """Of pasted people of whom only a part is shown."""
    max_things: int = 3
    """Most things behind the people."""
    occluder_share: float = 0.3
    """Of composites with a thing in front of the people."""

    def __post_init__(self) -> None:
        whole = self.empty_share + self.photo_share + self.labelled_share
        if not 0 <= whole <= 1:
            raise ValueError(f"shares of scenes without pasted people must add up to 0..1, got {whole}")
        if self.max_people < 1 or not 0 < self.smallest_person <= self.largest_person:
            raise ValueError(f"people cannot be drawn as {self} says")


def draw_scenes(
    sources: SceneSources,
    rng: np.random.Generator,
    *,
    height: int,
    width: int,
    config: SceneConfig,
    weights: FloatArray | None = None,
) -> tuple[Scene, Scene]:
    """Draw two scenes; two composites show the same people (for the triplet loss).

    Args:
        sources: Where people, backdrops and things come from.
        rng: The only source of chance.
        height: Height of both scenes.
        width: Width of both scenes.
        config: What scenes look like.
        weights: Chance of each photo to be picked for its person; equal where None.
    """
    size, kind = (height, width), rng.random()
    if kind < config.empty_share:
        scenes = [_empty(sources, rng, size, config) for _ in range(2)]
    elif kind < config.empty_share + config.photo_share:
        picks = rng.choice(len(sources.photos), size=2, p=weights)
        scenes = [_photo(sources, rng, size, config, int(number)) for number in picks]
    elif kind < config.empty_share + config.photo_share + config.labelled_share and sources.labelled:
        picks = rng.integers(len(sources.labelled), size=2)
        scenes = [_labelled(sources, rng, size, config, int(number)) for number in picks]
    else:
        identities = _pick_people(sources, rng, config, weights)
        colour_seed = int(rng.integers(1 << 31))
        scenes = [
            _composite(sources, rng, size, config, rng.permutation(identities), colour_seed) for _ in range(2)
        ]
    return degrade(scenes[0], rng), degrade(scenes[1], rng)


def _pick_people(
    sources: SceneSources, rng: np.random.Generator, config: SceneConfig, weights: FloatArray | None
) -> npt.NDArray[np.int64]:
    """Identities of one to `max_people` different people."""
    num_people, num_photos = int(rng.integers(1, config.max_people + 1)), len(sources.photos)
    num_rendered = int(rng.binomial(num_people, config.rendered_share)) if sources.bodies else 0
    num_rendered = min(num_rendered, len(sources.bodies))
    photos = rng.choice(num_photos, size=min(num_people - num_rendered, num_photos), replace=False, p=weights)
    bodies = rng.permutation(len(sources.bodies))[:num_rendered]
    return np.concatenate([photos, num_photos + bodies]).astype(np.int64)


def _empty(
    sources: SceneSources, rng: np.random.Generator, size: tuple[int, int], config: SceneConfig
) -> Scene:
    scene = _backdrop(sources, rng, size)
    _add_things(scene, sources, rng, int(rng.integers(config.max_things + 1)))
    return _coloured(scene, rng)


def _composite(
    sources: SceneSources,
    rng: np.random.Generator,
    size: tuple[int, int],
    config: SceneConfig,
    identities: npt.NDArray[np.int64],
    colour_seed: int,
) -> Scene:
    """People over a backdrop, or among the people of a picture, far to near."""
    height, width = size
    kind = rng.random()
    if kind < config.photo_backdrop_share:
        scene = _photo(sources, rng, size, config, int(rng.integers(len(sources.photos))))
    elif kind < config.photo_backdrop_share + config.labelled_backdrop_share and sources.labelled:
        scene = _labelled(sources, rng, size, config, int(rng.integers(len(sources.labelled))))
    else:
        scene = _backdrop(sources, rng, size)
    _add_things(scene, sources, rng, int(rng.integers(config.max_things + 1)))
    first = len(scene.identities_N)
    tallest = float(np.exp(rng.uniform(np.log(0.4), np.log(config.largest_person))))
    heights = np.sort(tallest * rng.uniform(0.45, 1.0, len(identities))) * height
    low, high = 0.0, 1.0
    if rng.random() < config.group_share:
        reach = tallest * height / width * float(rng.uniform(0.15, 0.5))
        middle = float(rng.uniform(0.25, 0.75))
        low, high = middle - reach, middle + reach
    for row, (identity, person_height) in enumerate(zip(identities.tolist(), heights, strict=True), first):
        layer = person_layer(sources, identity, rng, colour_seed=colour_seed)
        if rng.random() < config.cropped_share:
            layer = crop_layer(layer, rng)
        pose = Pose(
            height=max(float(person_height), config.smallest_person * height),
            x=width * float(rng.uniform(low, high)),
            y=height * float(rng.uniform(0.3, 0.75)),
            angle=_angle(rng, config),
            stretch=float(np.exp(rng.normal(0, 0.15))),
        )
        paste(scene, layer, pose, row + 1)
    if rng.random() < config.occluder_share:
        _add_things(scene, sources, rng, 1)
    everybody = np.concatenate([scene.identities_N, identities])
    image = jitter_colour(scene.image_HWC, rng, strength=0.5)
    return Scene(image, scene.parts_HW, scene.instances_HW, everybody, scene.teacher_HW)


def _add_things(scene: Scene, sources: SceneSources, rng: np.random.Generator, number: int) -> None:
    height, width = scene.parts_HW.shape
    for _ in range(number if sources.things is not None else 0):
        pose = Pose(
            height=height * float(np.exp(rng.uniform(np.log(0.12), np.log(0.9)))),
            x=width * float(rng.uniform(0, 1)),
            y=height * float(rng.uniform(0.1, 1)),
            angle=float(rng.normal(0, 25)),
            stretch=float(np.exp(rng.normal(0, 0.15))),
        )
        paste(scene, thing_layer(sources, rng), pose, 0)


def _backdrop(sources: SceneSources, rng: np.random.Generator, size: tuple[int, int]) -> Scene:
    """A crop of a picture without people, at a scale that keeps it sharp, sometimes turned."""
    height, width = size
    backdrops = sources.backdrops
    picture = (
        sources.photos[int(rng.integers(len(sources.photos)))].backdrop_HWC
        if backdrops is None
        else backdrops[int(rng.integers(len(backdrops)))]
    )
    angle = float(rng.uniform(-180, 180)) if rng.random() < 0.3 else float(rng.normal(0, 6))
    least = max(height / picture.shape[0], width / picture.shape[1])
    scale = least * float(np.exp(rng.uniform(0, max(np.log(1.3 / least), 0.1))))
    matrix = _about(picture.shape, size, scale, angle, rng.uniform(0.3, 0.7, 2))
    image = _warp(picture, matrix, size)
    if rng.random() < 0.5:
        image = np.ascontiguousarray(image[:, ::-1])
    blank = np.zeros(size, np.uint8)
    return Scene(image, blank, blank.copy(), np.zeros(0, np.int64), blank.copy())


def _photo(
    sources: SceneSources, rng: np.random.Generator, size: tuple[int, int], config: SceneConfig, number: int
) -> Scene:
    """A whole street photo, scaled, cropped and turned; beyond its edges nothing is known."""
    photo = sources.photos[number]
    person = (photo.parts_HW > 0) & (photo.parts_HW < VOID)
    people = np.where(photo.parts_HW == VOID, VOID, person).astype(np.uint8)
    planes = (photo.image_HWC, photo.parts_HW, people, photo.teacher_HW)
    scene = _whole(planes, rng, size, config, near=person)
    return Scene(scene.image_HWC, scene.parts_HW, scene.instances_HW, np.array([number]), scene.teacher_HW)


def _labelled(
    sources: SceneSources, rng: np.random.Generator, size: tuple[int, int], config: SceneConfig, number: int
) -> Scene:
    """A whole picture that teachers labelled; its people have no identity that is known (-1)."""
    assert sources.labelled is not None
    picture = sources.labelled[number]
    planes = (picture.image_HWC, picture.parts_HW, picture.people_HW, picture.teacher_HW)
    known = (picture.people_HW > 0) & (picture.people_HW < VOID)
    scene = _whole(planes, rng, size, config, near=known)
    num_people = int(picture.people_HW[known].max(initial=0))
    unknown = np.full(num_people, -1, np.int64)
    return Scene(scene.image_HWC, scene.parts_HW, scene.instances_HW, unknown, scene.teacher_HW)


def _whole(
    planes: tuple[UInt8Array, UInt8Array, UInt8Array, UInt8Array],
    rng: np.random.Generator,
    size: tuple[int, int],
    config: SceneConfig,
    *,
    near: npt.NDArray[np.bool_],
) -> Scene:
    """A picture with its parts, people and answers, placed so that a pixel of `near` is about the middle."""
    height, width = size
    source = near.shape
    angle = _angle(rng, config)
    if rng.random() < 0.3 and abs(angle) > 25:
        angle = 90.0 * round(angle / 90)
    fit = min(height / source[0], width / source[1])
    scale = fit * float(np.exp(rng.uniform(np.log(0.9), np.log(3.0))))
    anchor = np.array([0.5, 0.5])
    if near.any() and scale > 1.15 * fit:
        rows, columns = np.nonzero(near)
        pick = int(rng.integers(len(rows)))
        anchor = np.array([columns[pick] / source[1], rows[pick] / source[0]])
    matrix = _about(source, size, scale, angle, anchor, target=rng.uniform(0.35, 0.65, 2))
    image, parts, people, answers = planes
    drawn = Scene(
        jitter_colour(_warp(image, matrix, size), rng),
        _warp(parts, matrix, size, fill=VOID),
        _warp(people, matrix, size, fill=VOID),
        np.zeros(0, np.int64),
        _warp(answers, matrix, size, fill=0),
    )
    return _mirrored(drawn) if rng.random() < 0.5 else drawn


def _mirrored(scene: Scene) -> Scene:
    assert scene.teacher_HW is not None
    return Scene(
        np.ascontiguousarray(scene.image_HWC[:, ::-1]),
        np.ascontiguousarray(flip_labels(scene.parts_HW)),
        np.ascontiguousarray(scene.instances_HW[:, ::-1]),
        scene.identities_N,
        flip_answers(scene.teacher_HW),
    )


def _coloured(scene: Scene, rng: np.random.Generator) -> Scene:
    image = jitter_colour(scene.image_HWC, rng)
    return Scene(image, scene.parts_HW, scene.instances_HW, scene.identities_N, scene.teacher_HW)


def _angle(rng: np.random.Generator, config: SceneConfig) -> float:
    """Degrees: any, or nearly upright."""
    return float(rng.uniform(-180, 180) if rng.random() < config.turned_share else rng.normal(0, 8))


def _about(
    source: tuple[int, ...],
    size: tuple[int, int],
    scale: float,
    angle: float,
    anchor: FloatArray,
    *,
    target: FloatArray | None = None,
) -> FloatArray:
    """Affine map that scales and turns about `anchor` (x, y relative to the source), put at `target`."""
    center = (anchor[0] * source[1] - 0.5, anchor[1] * source[0] - 0.5)
    matrix = np.asarray(cv2.getRotationMatrix2D(center, angle, scale), np.float64)
    place = np.array([0.5, 0.5]) if target is None else target
    matrix[:, 2] += place * [size[1], size[0]] - 0.5 - np.array(center)
    return matrix


def _warp(
    plane: UInt8Array, matrix: FloatArray, size: tuple[int, int], *, fill: int | None = None
) -> UInt8Array:
    """A picture (beyond its edges mirrored) or, with `fill`, labels."""
    frame = (size[1], size[0])
    if fill is not None:
        return np.asarray(
            cv2.warpAffine(plane, matrix, frame, flags=cv2.INTER_NEAREST, borderValue=(fill,)), np.uint8
        )
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if scale < 0.5:
        small = (max(round(plane.shape[1] * 2 * scale), 2), max(round(plane.shape[0] * 2 * scale), 2))
        shrink = np.array([plane.shape[1] / small[0], plane.shape[0] / small[1]])
        offset = matrix[:, 2] + matrix[:, :2] @ ((shrink - 1) / 2)
        matrix = np.concatenate([matrix[:, :2] * shrink, offset[:, None]], axis=1)
        plane = cv2.resize(plane, small, interpolation=cv2.INTER_AREA).astype(np.uint8)
    drawn = cv2.warpAffine(plane, matrix, frame, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(drawn, np.uint8)
