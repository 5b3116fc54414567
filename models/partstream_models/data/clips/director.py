"""Layout of a shot of a training clip: people, garments, tables and backdrop.

Shape suffixes: T frames.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from partstream_evaluation.composite.motion import FloatArray, Motion
from partstream_evaluation.composite.paths import (
    CameraConfig,
    Gait,
    Waypoint,
    after,
    draw_camera,
    draw_limbs,
    walk,
)
from partstream_models.data.clips.layers import Backdrop, Layer, Sprite, cut_sprite, garment
from partstream_models.data.photos.cache import PhotoCache
from partstream_models.data.scenes.augment import random_texture
from partstream_models.data.scenes.clutter import add_clutter
from partstream_models.data.scenes.pictures import PictureCache

_PICTURE_SHARE = 0.85
"""Of shots before a sharp picture, where there are any."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipConfig:
    """Distribution of training clips; shares are probabilities."""

    num_frames: int = 8
    max_people: int = 6
    empty_share: float = 0.04
    smallest_person: float = 0.1
    """Height of the smallest people against the frame's."""
    largest_person: float = 1.6
    upper_body_share: float = 0.2
    """Of people of whom only the upper body shows, behind a table."""
    lying_share: float = 0.05
    group_share: float = 0.6
    """Of shots whose people stand close together and hide one another."""
    leaving_share: float = 0.2
    """Of people who leave the frame, and come back if the clip is long enough."""
    garment_share: float = 0.15
    """Of shots with a garment that nobody wears, which is background."""
    clutter_share: float = 0.5
    """Of backdrops with sharp things on them that are nobody."""
    cut_share: float = 0.08
    """Of clips that are cut to another scene in the middle."""
    speed: float = 0.012
    """Typical way of people in a frame, against the frame's longer side."""
    camera: CameraConfig = field(
        default_factory=lambda: CameraConfig(pan=0.06, shake=0.004, zoom=0.08, roll=0.03)
    )

    def __post_init__(self) -> None:
        if self.num_frames < 1:
            raise ValueError(f"num_frames must be at least 1, got {self.num_frames}")
        if not 1 <= self.max_people <= 200:
            raise ValueError(f"max_people must be in 1..200, got {self.max_people}")
        if not 0 < self.smallest_person <= self.largest_person:
            raise ValueError(f"people of {self.smallest_person} to {self.largest_person} cannot be drawn")


@dataclass(frozen=True, slots=True)
class Group:
    """Where people stand who keep together, in pixels."""

    x: float
    ground: float
    spread: float

    def place(self, rng: np.random.Generator, height: float) -> tuple[float, float]:
        """Place of the feet of one of them; smaller people stand farther away, a little higher."""
        farther = 0.3 * max(self.spread * 4 - height, 0)
        return self.x + float(rng.normal(0, self.spread)), self.ground - farther * float(rng.uniform(0.2, 1))


def draw_group(rng: np.random.Generator, size: tuple[int, int], tallest: float) -> Group:
    """A group in a frame of that height and width, its tallest person as high against the frame."""
    height, width = size
    middle = height * float(rng.uniform(0.4, 0.6))
    spread = tallest * height * float(rng.uniform(0.08, 0.3))
    return Group(width * float(rng.uniform(0.2, 0.8)), middle + tallest * height / 2, spread)


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """What is between two cuts."""

    first: int
    """Its first frame's number in the clip."""
    backdrop: Backdrop
    layers: tuple[Layer, ...]
    """Far to near."""


class Director:
    """Places people and things in one shot."""

    def __init__(
        self,
        cache: PhotoCache,
        rng: np.random.Generator,
        size: tuple[int, int],
        num_frames: int,
        config: ClipConfig,
        backdrops: PictureCache | None = None,
    ) -> None:
        self._backdrops = backdrops
        self._cache, self._rng, self._size, self._config = cache, rng, size, config
        self._num_frames = num_frames
        self._group: Group | None = None
        self._camera = draw_camera(rng, num_frames=num_frames, size=size, config=self._camera_config())

    def _camera_config(self) -> CameraConfig:
        """A short shot pans less far; some cameras stand still."""
        camera, part = self._config.camera, min(1.0, self._num_frames / 16)
        if self._rng.random() < 0.3:
            return CameraConfig(pan=0, shake=0, zoom=0, roll=0)
        shake = camera.shake * float(self._rng.uniform(0, 2))
        return CameraConfig(
            pan=camera.pan * part, shake=shake, zoom=camera.zoom * part, roll=camera.roll * part
        )

    def shot(self, first: int, identities: npt.NDArray[np.int64]) -> Shot:
        """A shot with these people, or most of them."""
        rng, config = self._rng, self._config
        tallest = float(np.exp(rng.uniform(np.log(0.35), np.log(config.largest_person))))
        least = 0.35
        if rng.random() < config.group_share:
            least = 0.7
            self._group = draw_group(rng, self._size, tallest)
        heights = np.maximum(tallest * rng.uniform(least, 1.0, len(identities)), config.smallest_person)
        layers = [
            layer
            for row, (number, height) in enumerate(zip(identities.tolist(), heights.tolist(), strict=True))
            for layer in self._person(row, number, height * self._size[0])
        ]
        if rng.random() < config.garment_share:
            layers += self._garment()
        layers.sort(key=lambda layer: float(layer.heights_T.mean()))
        return Shot(first, self._backdrop(), tuple(layers))

    def _person(self, row: int, number: int, height: float) -> list[Layer]:
        rng, config = self._rng, self._config
        is_upper = rng.random() < config.upper_body_share
        share = float(rng.uniform(0.3, 0.7)) if is_upper else 1.0
        growth = float(np.exp(rng.normal(0, 0.02 * min(self._num_frames, 12))))
        sprite = cut_sprite(self._cache[number], rng, height=round(height * max(1, growth)), share=share)
        if sprite is None:
            return []
        gait = Gait(
            period=float(rng.uniform(10, 28)),
            phase=float(rng.uniform(0, 2 * np.pi)),
            swing=float(rng.uniform(0, 0.6 if is_upper else 1.3)),
            lean=float(rng.uniform(0, 0.06)),
        )
        way = self._way(height, growth, sprite.width, is_upper=is_upper)
        limbs = draw_limbs(rng, sprite.parts_HW, num_frames=self._num_frames, gait=gait)
        motion = walk(way, gait, self._camera, width=sprite.width, limbs=limbs)
        person = Layer(sprite, self._turned(motion, sprite.width), self._heights(way), row + 1)
        return [person, self._table(way, gait)] if is_upper and rng.random() < 0.6 else [person]

    def _way(self, height: float, growth: float, width: float, *, is_upper: bool) -> list[Waypoint]:
        """From anywhere, feet in the lower part of the frame or under it, at a person's pace."""
        rng, last = self._rng, max(self._num_frames - 1, 1)
        frame_height, frame_width = self._size
        x = frame_width * float(rng.uniform(0.0, 1.0))
        y = frame_height * float(rng.uniform(0.35, 0.75)) + height / 2
        if self._group is not None:
            x, y = self._group.place(rng, height)
        pace = 0.2 if is_upper else 1.0
        step = rng.normal(0, pace * self._config.speed * max(self._size), 2) * (last, last / 4)
        start = Waypoint(0, x, y, height)
        if rng.random() < self._config.leaving_share:
            turn = float(rng.uniform(0.3, 0.9)) * last
            run = max(turn, 1) * 4 * self._config.speed * max(self._size)  # nobody is faster, out or not
            out = max(-width * height, x - run)
            if x > frame_width / 2:
                out = min(frame_width + width * height, x + run)
            back = out + float(rng.uniform(0, 1.5)) * (x - out)
            return [start, Waypoint(turn, out, y, height), Waypoint(last, back, y, height * growth)]
        end = Waypoint(last, x + float(step[0]), y + float(step[1]), height * growth)
        return [start, end]

    def _heights(self, way: list[Waypoint]) -> FloatArray:
        frames = np.arange(self._num_frames)
        heights = np.interp(frames, [each.frame for each in way], [each.height for each in way])
        return np.asarray(heights, np.float64)

    def _turned(self, motion: Motion, width: float) -> Motion:
        """Upright, or a little aslant, or now and then lying."""
        rng = self._rng
        angle = float(rng.normal(0, 0.08))
        if rng.random() < self._config.lying_share:
            angle = float(rng.uniform(-1.9, 1.9))
        cosine, sine = np.cos(angle), np.sin(angle)
        turn = np.array([[cosine, -sine], [sine, cosine]])
        middle = np.array([width / 2, 0.5])
        pose = np.concatenate([turn, (middle - turn @ middle)[:, None]], axis=1)
        turns = np.tile(pose, (self._num_frames, 1, 1))
        return Motion(after(motion.pose_T23, turns), motion.limbs)

    def _table(self, way: list[Waypoint], gait: Gait) -> Layer:
        """Something before a seated person that hides where the body ends."""
        rng = self._rng
        texture = random_texture(rng, 24, int(rng.integers(36, 120)))
        mask = np.ones(texture.shape[:2], np.uint8)
        sprite = Sprite(np.dstack([texture, mask * 255]), np.zeros_like(mask), mask)
        size = float(rng.uniform(0.25, 0.6))
        places = [
            Waypoint(each.frame, each.x, each.y + each.height * (size - 0.06), each.height * size)
            for each in way
        ]
        still = Gait(period=gait.period, bob=0.0)
        motion = walk(places, still, self._camera, width=sprite.width)
        return Layer(sprite, motion, self._heights(way) + 1e-3, 0)

    def _garment(self) -> list[Layer]:
        rng = self._rng
        height = self._size[0] * float(rng.uniform(0.3, 1.2))
        worn = cut_sprite(self._cache[int(rng.integers(len(self._cache)))], rng, height=round(height))
        sprite = None if worn is None else garment(worn, rng)
        if sprite is None:
            return []
        way = self._way(height, 1.0, sprite.width, is_upper=True)
        motion = walk(way, Gait(bob=0.0), self._camera, width=sprite.width)
        return [Layer(sprite, motion, self._heights(way), 0)]

    def _backdrop(self) -> Backdrop:
        """A photo's backdrop or a texture, larger than the frame, that moves with the camera."""
        rng, (height, width) = self._rng, self._size
        image = random_texture(rng, height, width)
        if rng.random() > 0.15:
            image = self._cache[int(rng.integers(len(self._cache)))].backdrop_HWC
        if self._backdrops is not None and rng.random() < _PICTURE_SHARE:
            image = self._backdrops[int(rng.integers(len(self._backdrops)))]
        if rng.random() < 0.5:
            image = np.ascontiguousarray(image[:, ::-1])
        scale = max(height / image.shape[0], width / image.shape[1]) * float(rng.uniform(1.1, 2.2))
        if scale < 0.5 or scale > 1:  # much finer than the frames, or so coarse that things on it would blur
            room = 1.5 if scale < 0.5 else 1.0
            other = (round(image.shape[1] * scale * room), round(image.shape[0] * scale * room))
            method = cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR
            image, scale = cv2.resize(image, other, interpolation=method).astype(np.uint8), 1 / room
        image = add_clutter(image, self._cache, rng, share=self._config.clutter_share)
        spare = np.array([image.shape[1] * scale - width, image.shape[0] * scale - height])
        corner = -spare * rng.uniform(0.1, 0.9, 2)
        size = scale * image.shape[0]
        pose = np.array([[size, 0, corner[0]], [0, size, corner[1]]])
        poses = after(self._camera, np.tile(pose, (self._num_frames, 1, 1)))
        return Backdrop(image, Motion(poses))
