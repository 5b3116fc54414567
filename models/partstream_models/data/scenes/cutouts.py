"""People and things cut out of their surroundings, ready to be pasted into a scene.

Shape suffixes: H height, W width, C colour channels (RGB).
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from partstream_core.labels import flip_labels
from partstream_models.data.scenes.augment import jitter_colour
from partstream_models.data.scenes.compose import cut_out
from partstream_models.data.scenes.scene import Scene
from partstream_models.data.scenes.sources import SceneSources

UInt8Array = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Layer:
    """Something with opacity."""

    image_HWC: UInt8Array
    alpha_HW: UInt8Array
    """Opacity, 0..255."""
    parts_HW: UInt8Array
    """Parts 1..19 on a person, 0 elsewhere, also on what a person carries."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pose:
    """How a layer is placed in a scene."""

    height: float
    """Of the layer as it was cut out, in pixels of the scene."""
    x: float
    y: float
    """Where its middle goes, in pixels of the scene."""
    angle: float
    """Degrees."""
    stretch: float
    """Factor on its width."""


def person_layer(
    sources: SceneSources, identity: int, rng: np.random.Generator, *, colour_seed: int
) -> Layer:
    """The person of that identity: cut out of a photo, or one of a body's rendered pictures.

    Args:
        sources: Photos and rendered people.
        identity: Photos first, then rendered bodies.
        rng: Mirrors half of all people and picks a rendered body's picture.
        colour_seed: The same seed gives the same person the same colours.
    """
    colours = np.random.default_rng((colour_seed, identity))
    num_photos = len(sources.photos)
    if identity < num_photos:
        cut = cut_out(sources.photos, identity, rng)
        return Layer(jitter_colour(cut.image_HWC, colours), _soft(cut.mask_HW, rng), cut.parts_HW)
    assert sources.rendered is not None
    person = sources.rendered[int(rng.choice(sources.bodies[identity - num_photos]))]
    image, alpha, parts = person.image_HWC, person.alpha_HW, person.parts_HW
    if rng.random() < 0.5:
        image, alpha, parts = image[:, ::-1], alpha[:, ::-1], flip_labels(parts)
    return Layer(jitter_colour(np.ascontiguousarray(image), colours), alpha, parts)


def thing_layer(sources: SceneSources, rng: np.random.Generator) -> Layer:
    """A thing that is nobody; mirrored half of the time.

    Raises:
        ValueError: There are no things.
    """
    if sources.things is None:
        raise ValueError("the sources hold no things")
    picture = sources.things[int(rng.integers(len(sources.things)))]
    if rng.random() < 0.5:
        picture = picture[:, ::-1]
    image = jitter_colour(np.ascontiguousarray(picture[..., :3]), rng)
    alpha = np.ascontiguousarray(picture[..., 3])
    return Layer(image, alpha, np.zeros_like(alpha))


def crop_layer(layer: Layer, rng: np.random.Generator) -> Layer:
    """Part of a layer, as behind a table, a counter or a door post."""
    height, width = layer.alpha_HW.shape
    top, bottom, left, right = 0, height, 0, width
    kind = rng.random()
    if kind < 0.7:
        bottom = max(int(height * rng.uniform(0.3, 0.8)), 4)
    elif kind < 0.8:
        top = int(height * rng.uniform(0.2, 0.6))
    elif kind < 0.9:
        right = max(int(width * rng.uniform(0.4, 0.8)), 4)
    else:
        left = int(width * rng.uniform(0.2, 0.6))
    area = (slice(top, bottom), slice(left, right))
    return Layer(layer.image_HWC[area], layer.alpha_HW[area], layer.parts_HW[area])


def paste(scene: Scene, layer: Layer, pose: Pose, row: int) -> None:
    """Draw a layer over a scene, in place; partial answers are cleared where the layer covers them.

    Args:
        scene: Its arrays are changed.
        layer: What is drawn.
        pose: Where and how.
        row: Value of the person in the instance map; 0 for a thing.
    """
    size = (scene.parts_HW.shape[0], scene.parts_HW.shape[1])
    matrix = _matrix(layer.alpha_HW.shape, pose)
    scale = pose.height / layer.alpha_HW.shape[0]
    source, alpha, parts = layer.image_HWC, layer.alpha_HW, layer.parts_HW
    if scale < 0.5:  # bilinear sampling of a much larger picture would skip pixels
        small = (max(round(source.shape[1] * 2 * scale), 2), max(round(source.shape[0] * 2 * scale), 2))
        shrink = np.array([source.shape[1] / small[0], source.shape[0] / small[1]])
        matrix = np.concatenate(
            [matrix[:, :2] * shrink, (matrix[:, 2] + matrix[:, :2] @ ((shrink - 1) / 2))[:, None]], axis=1
        )
        source = cv2.resize(source, small, interpolation=cv2.INTER_AREA).astype(np.uint8)
        alpha = cv2.resize(alpha, small, interpolation=cv2.INTER_AREA).astype(np.uint8)
        parts = cv2.resize(parts, small, interpolation=cv2.INTER_NEAREST_EXACT).astype(np.uint8)
    area = _area(matrix, parts.shape, size)
    if area is None:
        return
    rows, columns = area
    matrix = matrix - np.array([[0, 0, columns.start], [0, 0, rows.start]])
    frame = (columns.stop - columns.start, rows.stop - rows.start)
    drawn = cv2.warpAffine(source, matrix, frame, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    opacity = cv2.warpAffine(alpha, matrix, frame, flags=cv2.INTER_LINEAR)
    there = opacity >= 128
    if not there.any():
        return
    labels = cv2.warpAffine(parts, matrix, frame, flags=cv2.INTER_NEAREST)
    share = opacity.astype(np.uint16)[..., None]
    image = scene.image_HWC[area]
    image[:] = (image * (255 - share) + drawn * share + 127) // 255
    scene.parts_HW[area][there] = labels[there]
    scene.instances_HW[area][there] = np.where(labels[there] > 0, row, 0)
    if scene.teacher_HW is not None:
        scene.teacher_HW[area][there] = 0


def _area(
    matrix: npt.NDArray[np.float64], source: tuple[int, ...], size: tuple[int, int]
) -> tuple[slice, slice] | None:
    """Rows and columns of a scene that a moved layer can touch; None where it is outside."""
    corners = np.array([[x, y, 1] for x in (-1, source[1]) for y in (-1, source[0])]) @ matrix.T
    left, top = np.maximum(np.floor(corners.min(axis=0)), 0).astype(int)
    right, bottom = np.minimum(np.ceil(corners.max(axis=0)) + 1, (size[1], size[0])).astype(int)
    if left >= right or top >= bottom:
        return None
    return slice(int(top), int(bottom)), slice(int(left), int(right))


def _soft(mask_HW: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    """Opacity of a mask, softened at the edge at random to hide the seam."""
    return np.asarray(cv2.GaussianBlur(mask_HW * 255, (0, 0), float(rng.uniform(0.5, 1.6))), np.uint8)


def _matrix(size: tuple[int, ...], pose: Pose) -> npt.NDArray[np.float64]:
    """Affine map of a layer's pixels to the scene's, pixel centers at whole numbers."""
    height, width = size[0], size[1]
    scale, angle = pose.height / height, np.deg2rad(pose.angle)
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.array([[cosine, sine], [-sine, cosine]]) @ np.diag([scale * pose.stretch, scale])
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    return np.concatenate([turn, (np.array([pose.x, pose.y]) - turn @ middle)[:, None]], axis=1)
