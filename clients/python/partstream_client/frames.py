"""Results as a client reads them: the records of `partstream_core.results`, with masks as arrays on demand.

Shape suffixes: H height, W width of the source frame, after its rotation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

from partstream_client.draw import Image, draw
from partstream_core import rle
from partstream_core.boxes import Box
from partstream_core.jsonread import Fields
from partstream_core.labels import PARTS
from partstream_core.results import (
    FrameResult,
    JointResult,
    Mask,
    ModelInfo,
    PartResult,
    PersonResult,
    Polygons,
    VideoInfo,
    frame_from_json,
)
from partstream_core.rle import Rle

BoolArray = npt.NDArray[np.bool_]

Joint = JointResult
"""One joint of one person: its name, x and y in pixels of the source frame, and its score in [0, 1]."""


class NoMaskError(ValueError):
    """The results were asked for without masks, so there is none to show."""


class UnknownSizeError(ValueError):
    """Nothing says how large the frame is: nobody is in it, and it came without its size."""


@dataclass(frozen=True)
class Part:
    """One part of one person. `numpy.asarray(part)` is its mask."""

    record: PartResult

    @property
    def name(self) -> str:
        """The part's name, such as ``hair`` or ``left-arm``."""
        return self.record.part

    @property
    def score(self) -> float:
        """In [0, 1]."""
        return self.record.score

    @property
    def area(self) -> int:
        """Pixels of the source frame."""
        return self.record.area

    @cached_property
    def mask(self) -> BoolArray:
        """The part's pixels, bool [H, W]; decoded at the first call and kept.

        Raises:
            NoMaskError: The results came without masks.
            ValueError: The mask is damaged.
        """
        return _array(self.record.mask)

    def __array__(self, dtype: npt.DTypeLike | None = None, *, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.array(self.mask, dtype) if copy else np.asarray(self.mask, dtype)


@dataclass(frozen=True)
class Person:
    """One person in one frame."""

    record: PersonResult

    @property
    def identity(self) -> int:
        """Stays with the person through the stream; from 1."""
        return self.record.identity

    @property
    def score(self) -> float:
        """In [0, 1]."""
        return self.record.score

    @property
    def box(self) -> Box:
        """x1, y1, x2, y2 in pixels of the source frame."""
        return self.record.box

    @property
    def has_mask(self) -> bool:
        """Whether the results were asked for with masks."""
        return self.record.mask is not None

    @cached_property
    def parts(self) -> Mapping[str, Part]:
        """The person's parts by name; only what is in sight."""
        return {part.part: Part(part) for part in self.record.parts}

    @cached_property
    def joints(self) -> Mapping[str, Joint]:
        """The person's 17 joints by COCO's names, such as ``nose`` or ``left_wrist``, in COCO's order.

        Empty where the bundle finds none or they were not asked for.
        """
        return {joint.joint: joint for joint in self.record.joints}

    @cached_property
    def mask(self) -> BoolArray:
        """The person's pixels, bool [H, W]; decoded at the first call and kept.

        Raises:
            NoMaskError: The results came without masks.
            ValueError: The mask is damaged.
        """
        return _array(self.record.mask)


@dataclass(frozen=True)
class Frame:
    """Everything found in one frame."""

    record: FrameResult
    known_size: tuple[int, int] | None = None
    """Height and width, where they are known from elsewhere than the people's masks."""

    @property
    def index(self) -> int:
        """Number of the frame in its source, from 0."""
        return self.record.index

    @property
    def time_s(self) -> float:
        """Presentation time in seconds."""
        return self.record.time_s

    @property
    def key_frame(self) -> bool:
        """Whether the backbone ran on this frame."""
        return self.record.key_frame

    @cached_property
    def people(self) -> tuple[Person, ...]:
        """The people in the frame."""
        return tuple(Person(person) for person in self.record.people)

    @cached_property
    def part_map(self) -> npt.NDArray[np.uint8]:
        """The parts of all people as indices of `partstream_core.labels.PARTS`, [H, W]; 0 is nobody.

        Raises:
            NoMaskError: The results came without masks.
            UnknownSizeError: Nobody is in the frame, and nothing else says how large it is.
        """
        map_HW = np.zeros(self.size, np.uint8)
        for person in self.people:
            for part in person.parts.values():
                map_HW[part.mask] = PARTS.index(part.name)
        return map_HW

    @cached_property
    def identity_map(self) -> npt.NDArray[np.int32]:
        """The identity at each pixel, [H, W]; 0 is nobody.

        Raises:
            NoMaskError: The results came without masks.
            UnknownSizeError: Nobody is in the frame, and nothing else says how large it is.
        """
        map_HW = np.zeros(self.size, np.int32)
        for person in self.people:
            map_HW[person.mask] = person.identity
        return map_HW

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the frame.

        Raises:
            UnknownSizeError: Nobody is in the frame, and nothing else says how large it is.
        """
        if self.known_size is not None:
            return self.known_size
        for person in self.record.people:
            match person.mask:
                case Rle(height, width, _):
                    return height, width
                case Polygons(size, _):
                    return size
        raise UnknownSizeError(f"frame {self.index} came without its size, and nobody with a mask is in it")

    def draw(self, image_HW3: Image, *, opacity: float = 0.55, skeletons: bool = False) -> Image:
        """A copy of an RGB image of the frame, uint8 [H, W, 3], with parts, outlines and identities on it.

        People who came without masks are drawn as boxes. With `skeletons` visible joints are drawn, too.

        Raises:
            ValueError: It is not such an image, or not of the frame's size.
        """
        return draw(image_HW3, self.people, opacity=opacity, skeletons=skeletons)


@dataclass(frozen=True, slots=True)
class ParseResult:
    """A whole video's results."""

    video: VideoInfo
    model: ModelInfo
    frames: tuple[Frame, ...]


def frame_from(value: object, size: tuple[int, int] | None = None) -> Frame:
    """The frame of one NDJSON line, or of a document whose video has that size (height, width).

    Raises:
        ValueError: A field is missing or wrong; the message begins with its path.
    """
    return Frame(frame_from_json(value), size)


def result_from(value: object) -> ParseResult:
    """The results of a whole JSON document.

    Raises:
        ValueError: A field is missing or wrong; the message begins with its path.
    """
    document = Fields(value)
    video, model = document.child("video"), document.child("model")
    size = video.integer("height", minimum=1), video.integer("width", minimum=1)
    return ParseResult(
        video=VideoInfo(
            width=size[1],
            height=size[0],
            num_frames=video.integer("num_frames", minimum=0),
            frame_rate=video.number("frame_rate", minimum=0),
            duration_s=video.number("duration_s", minimum=0),
            num_damaged=video.integer("num_damaged", minimum=0),
        ),
        model=ModelInfo(
            bundle=model.string("bundle"),
            version=model.string("version"),
            provider=model.string("provider"),
            parts=model.strings("parts"),
        ),
        frames=tuple(frame_from(frame, size) for frame in document.items("frames")),
    )


def _array(mask: Mask) -> BoolArray:
    match mask:
        case None:
            raise NoMaskError("the results hold no masks; ask with masks='rle' or masks='polygons'")
        case Rle():
            return rle.decode(mask)
        case Polygons():
            return _fill(mask)


def _fill(polygons: Polygons) -> BoolArray:
    """Pixels inside an odd number of rings, so that a ring inside another one is a hole."""
    height, width = polygons.size
    mask_HW = np.zeros((height, width), np.bool_)
    for ring in polygons.rings:
        if len(ring) >= 6:
            encoded = coco.frPyObjects([list(ring)], height, width)[0]
            mask_HW ^= rle.decode(Rle(height, width, encoded["counts"].decode("ascii")))
    return mask_HW
