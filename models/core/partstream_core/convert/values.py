"""Inputs and options that the writers of all formats share."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from partstream_core.labels import PARTS
from partstream_core.regions import Region, region_of
from partstream_core.results import FrameResult, PartResult, PersonResult

Image: TypeAlias = npt.NDArray[np.uint8]
"""RGB, [H, W, 3]."""

PERSON = "person"


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What files and images are called in formats that name them."""

    name: str = "video"
    """Of the video."""
    image_name: str = "{index:06d}.png"
    """Of a frame's image, made from its `index`; Label Studio takes it for an address."""

    def __post_init__(self) -> None:
        try:
            names = {self.image_name.format(index=index) for index in (0, 1)}
        except (LookupError, ValueError, AttributeError) as error:
            raise ValueError(f"image name {self.image_name!r} is no pattern for {{index}}: {error}") from None
        if len(names) < 2:
            raise ValueError(f"image name {self.image_name!r} gives every frame one name; it needs {{index}}")

    def image_of(self, frame: FrameResult) -> str:
        """The name of a frame's image."""
        return self.image_name.format(index=frame.index)


class Writer(Protocol):
    """Writes one format: `add` for each frame, then `finish`, and in any case `close`."""

    def add(self, frame: FrameResult, image: Image | None) -> None:
        """Take the next frame, and its picture where the caller has one.

        Raises:
            ValueError: The format cannot hold the frame.
        """

    def finish(self) -> None:
        """Write what is known after the last frame only.

        Raises:
            ValueError: The format needs something that no frame told.
        """

    def close(self) -> None:
        """Give back what is open."""


def category_of(part: str) -> int:
    """The place of a part in `PARTS`, from 1.

    Raises:
        ValueError: There is no such part.
    """
    if part not in PARTS[1:]:
        raise ValueError(f"there is no part {part!r}")
    return PARTS.index(part)


def parts_of(person: PersonResult) -> Iterator[tuple[PartResult, Region]]:
    """The parts of which pixels are in sight.

    Raises:
        NoMaskError: The results hold no masks.
        ValueError: A mask is damaged.
    """
    for part in person.parts:
        region = region_of(part.mask)
        if region is not None:
            yield part, region
