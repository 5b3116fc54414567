"""Frames and results as a client reads them: the records of `partstream_core.results`.

Shape suffixes: H height, W width of the source frame, after its rotation.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from partstream_client.draw import Image, draw
from partstream_client.people import Person
from partstream_core.jsonread import Fields
from partstream_core.labels import PARTS
from partstream_core.results import (
    FrameResult,
    ModelInfo,
    Polygons,
    VideoInfo,
    frame_from_json,
)
from partstream_core.rle import Rle


class UnknownSizeError(ValueError):
    """Nothing says how large the frame is: nobody is in it, and it came without its size."""


@dataclass(frozen=True)
class Frame:
    """Result of one frame: its people with their parts."""

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
