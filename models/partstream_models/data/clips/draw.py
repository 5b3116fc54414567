"""Video clips of people for training, unlimited: exact parts, instances, identities and flow.

A clip follows from a seed and a number alone. People come from the photo cache, which never holds the
validation photos; they walk or sit, swing their limbs, hide one another, leave and come back, before
backdrops without people, while the camera pans and shakes; now and then the scene is cut.

Shape suffixes: T frames, H height, W width, C colour channels (RGB), N people; a last 2 is (x, y).
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from partstream_evaluation.composite.motion import FloatArray
from partstream_models.data.clips.camera import draw_look, film
from partstream_models.data.clips.director import ClipConfig, Director, Shot
from partstream_models.data.clips.layers import Float32Array, flow_of, new_canvas, put
from partstream_models.data.photos.cache import PhotoCache
from partstream_models.data.scenes.pictures import PictureCache
from partstream_models.data.scenes.scene import Scene

UInt8Array = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """Where the pixels of one frame are in another."""

    flow_HW2: Float32Array
    """Way from a pixel's place to where the other frame shows the same, x and y in pixels."""
    visible_HW: BoolArray
    """Whether the other frame does show it: it is inside and nothing hides it."""


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A clip and everything that is known of it."""

    images_THWC: UInt8Array
    """RGB."""
    parts_THW: UInt8Array
    """Parts 0..19."""
    instances_THW: UInt8Array
    """Row + 1 of the person at each pixel, 0 nobody; the same person has the same row in all frames."""
    identities_N: npt.NDArray[np.int64]
    """Number of each person's photo in the cache: the same number is the same person."""
    shots: tuple[Shot, ...]
    owners_THW: UInt8Array
    """Number + 1 of the shot's layer at each pixel, 0 the backdrop."""

    def shot_at(self, frame: int) -> Shot:
        """The shot that a frame belongs to."""
        return [shot for shot in self.shots if shot.first <= frame][-1]

    def scene(self, frame: int) -> Scene:
        """One frame by itself."""
        return Scene(
            self.images_THWC[frame], self.parts_THW[frame], self.instances_THW[frame], self.identities_N
        )

    def flow(self, frame: int, other: int) -> Flow:
        """Exact optical flow between any two frames; across a cut nothing is visible."""
        height, width = self.parts_THW.shape[1:]
        shot = self.shot_at(frame)
        if self.shot_at(other) is not shot:
            return Flow(np.zeros((height, width, 2), np.float32), np.zeros((height, width), bool))
        owners = self.owners_THW[frame]
        way = flow_of(shot.backdrop, shot.layers, owners, frame - shot.first, other - shot.first)
        y, x = np.indices((height, width), np.float32)
        there = cv2.remap(
            self.owners_THW[other], x + way[..., 0], y + way[..., 1], cv2.INTER_NEAREST, borderValue=(255,)
        )
        return Flow(way, there == owners)


def draw_clip(
    cache: PhotoCache,
    *,
    seed: int,
    number: int,
    height: int,
    width: int,
    config: ClipConfig,
    weights: FloatArray | None = None,
    backdrops: PictureCache | None = None,
) -> Clip:
    """The clip of that number; it depends on the arguments alone.

    Args:
        cache: Where people and backdrops come from.
        seed: Which series of clips.
        number: Which clip of the series.
        height: Height of the frames.
        width: Width of the frames.
        config: What clips look like.
        weights: Chance of each photo to be picked for its person; equal where None.
        backdrops: Sharp pictures without people, used for most shots in place of the photos' own.
    """
    rng = np.random.default_rng((seed, number))
    identities = np.zeros(0, np.int64)
    if rng.random() >= config.empty_share:
        num_people = min(int(rng.integers(1, config.max_people + 1)), len(cache))
        identities = rng.choice(len(cache), size=num_people, replace=False, p=weights).astype(np.int64)
    starts = [0]
    if config.num_frames > 1 and rng.random() < config.cut_share:
        starts.append(int(rng.integers(1, config.num_frames)))
    ends = [*starts[1:], config.num_frames]
    shots = tuple(
        Director(cache, rng, (height, width), end - start, config, backdrops).shot(start, identities)
        for start, end in zip(starts, ends, strict=True)
    )
    return _drawn(shots, ends, identities, (height, width), rng)


def _drawn(
    shots: tuple[Shot, ...],
    ends: list[int],
    identities: npt.NDArray[np.int64],
    size: tuple[int, int],
    rng: np.random.Generator,
) -> Clip:
    look, images, canvases = draw_look(rng), [], []
    for shot, end in zip(shots, ends, strict=True):
        for frame in range(end - shot.first):
            canvas = new_canvas(shot.backdrop, frame, size)
            for number, layer in enumerate(shot.layers):
                put(canvas, layer, number, frame)
            progress = (shot.first + frame) / ends[-1]
            images.append(film(canvas.image_HWC, look, progress, rng))
            canvases.append(canvas)
    return Clip(
        np.stack(images),
        np.stack([canvas.parts_HW for canvas in canvases]),
        np.stack([canvas.instances_HW for canvas in canvases]),
        identities,
        shots,
        np.stack([canvas.owners_HW for canvas in canvases]),
    )
