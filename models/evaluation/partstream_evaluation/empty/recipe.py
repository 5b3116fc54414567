"""Which pictures without people are measured: crops of clips and photos, textures and gradients.

Two sources are optional: clips of things, and backdrops. Every crop of a clip was looked at in each of its
frames.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Final

from partstream_evaluation.composite.recipe import BACKDROPS


@dataclass(frozen=True, slots=True)
class ClipCrop:
    """The same part of some frames of a clip."""

    kind: str
    """Groups pictures in reports."""
    file: str
    box: tuple[int, int, int, int]
    """Left, top, right, bottom in pixels."""
    frames: tuple[int, ...]
    """Numbers of the frames, from 0, in order."""


def _every(step: int, start: int, stop: int) -> tuple[int, ...]:
    return tuple(range(start, stop, step))


_DOG, _BALL = "01_dog.mp4", "05_default_juggle.mp4"
_TABLE, _STORE = "one-by-one-person-detection.mp4", "store-aisle-detection.gif"
_WORKS, _HALL = "worker-zone-detection.gif", "face-demographics-walking.gif"
_ALONE: Final = (0, 12, 24, 36, 48, 210, 220, 460, 480, 495, 710, 735, 880, 910, 1212, 1228, 1370, 1385)

CLIP_CROPS: Final = (
    ClipCrop("dog", _DOG, (640, 0, 1280, 720), _every(12, 0, 289)),
    ClipCrop("park", _BALL, (0, 0, 500, 720), _every(30, 5, 247)),
    ClipCrop("park", _BALL, (940, 0, 1280, 720), (0, 40, 80, 120, 160)),
    ClipCrop("bedroom", "bedroom.mp4", (640, 0, 960, 540), _every(20, 0, 200)),
    ClipCrop("store", _STORE, (0, 0, 210, 270), _every(12, 0, 67)),
    ClipCrop("works", _WORKS, (250, 0, 480, 130), (0, 28, 56)),
    ClipCrop("works", _WORKS, (370, 0, 480, 270), (5, 21, 37, 53)),
    ClipCrop("works", _WORKS, (0, 0, 110, 270), (5, 21)),
    ClipCrop("wall", _HALL, (0, 0, 180, 270), (0, 9)),
    ClipCrop("room", _TABLE, (0, 0, 768, 432), _ALONE),
    ClipCrop("wall", _TABLE, (0, 0, 330, 432), (250, 610, 970, 1330)),
)


NOBODY_CLIPS: Final = (
    ClipCrop("bolts", "bolt-multi-size-detection.mp4", (0, 0, 480, 270), _every(2, 0, 37)),
    ClipCrop("bottles", "bottle-detection.mp4", (0, 0, 480, 270), (0, 1, 2, *_every(1, 35, 45))),
    ClipCrop("cars", "car-detection.mp4", (0, 0, 480, 270), _every(2, 0, 62)),
    ClipCrop("fruit", "fruit-and-vegetable-detection.mp4", (0, 0, 480, 270), _every(2, 0, 101)),
)
"""Clips of things only. Hands reach into frames 3 to 34 of the bottles', so these are left out."""

BACKDROPS_LEFT_OUT: Final = ("pm_city_", "pm_sunset_")
"""Beginnings of names of views in which somebody may be seen far away."""


_DOUBTFUL: Final = frozenset({"0020", "0160", "0400", "0410", "0650"})
"""Their crops hold blurs far away, or windows of cars, that may be somebody."""
PHOTOS: Final = tuple(photo for photo in BACKDROPS if photo not in _DOUBTFUL)


@dataclass(frozen=True, kw_only=True, slots=True)
class EmptyRecipe:
    """Everything that decides which pictures there are."""

    clips: tuple[ClipCrop, ...] = CLIP_CROPS
    photos: tuple[str, ...] = PHOTOS
    """Validation photos in which nobody but the labelled person is to be seen."""
    photo_margin: int = 16
    """Crops keep so many pixels away from the person."""
    photo_sides: tuple[int, int] = (120, 160)
    """Photos whose crop would have a shorter or longer side below these are left out."""
    nobody_clips: tuple[ClipCrop, ...] = NOBODY_CLIPS
    """Used where their folder is given."""
    backdrops_left_out: tuple[str, ...] = BACKDROPS_LEFT_OUT
    """Used where the folder of backdrops is given, which else is used whole."""
    num_textures: int = 12
    num_gradients: int = 6
    seed: int = 7

    def sha256(self) -> str:
        """SHA-256 of the recipe's JSON, keys sorted."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()
