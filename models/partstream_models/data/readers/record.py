"""The common form of all data sets: recordings of frames with their labels.

Shape suffixes: H height, W width, C colour channels (RGB), N people; a last 2 is (x, y).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from partstream_core.labels import VOID

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]
MAX_ROWS = VOID - 1
"""People of one frame that an instance map can hold; further ones are void."""


def nobody() -> npt.NDArray[np.int64]:
    """No identities."""
    return np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One frame and what is known of it."""

    image_HWC: UInt8Array
    parts_HW: UInt8Array | None = None
    """Parts 0..19, 255 void; None where the data set has none, or not of this frame."""
    instances_HW: UInt8Array | None = None
    """Row + 1 of the person at each pixel, 0 nobody, 255 void; None where nothing is known."""
    identities_N: npt.NDArray[np.int64] = field(default_factory=nobody)
    """Who each row is: the same number is the same person in all frames of the recording."""
    flow_HW2: Float32Array | None = None
    """Way of each pixel to the next frame, in pixels."""

    def __post_init__(self) -> None:
        height, width = self.image_HWC.shape[:2]
        if self.image_HWC.shape[2:] != (3,):
            raise ValueError(f"an image must be [H, W, 3], got {self.image_HWC.shape}")
        for what, known in (("part map", self.parts_HW), ("instance map", self.instances_HW)):
            if known is not None and known.shape != (height, width):
                raise ValueError(f"the {what} is {known.shape}, the image {(height, width)}")
        if self.flow_HW2 is not None and self.flow_HW2.shape != (height, width, 2):
            raise ValueError(f"the flow is {self.flow_HW2.shape}, the image {(height, width)}")
        if self.instances_HW is not None:
            rows = self.instances_HW[self.instances_HW != VOID].max(initial=0)
            if rows > len(self.identities_N):
                raise ValueError(f"row {rows} of the instance map has no identity")


@dataclass(frozen=True, slots=True)
class Recording:
    """A clip of a data set, read frame by frame; a photo is a clip of one."""

    name: str
    num_frames: int
    labelled: tuple[int, ...]
    """Numbers of the frames with truth, rising."""
    load: Callable[[int], Frame]
    """A frame by its number, from 0; ValueError names the file that is missing or damaged."""
    num_people: int = 0
    """How many people its identities tell apart, numbered from 1; 0 where nobody counted them."""

    def frame(self, number: int) -> Frame:
        """The frame of that number.

        Raises:
            ValueError: There is none, or its files are missing or damaged.
        """
        if not 0 <= number < self.num_frames:
            raise ValueError(f"{self.name} has frames 0..{self.num_frames - 1}, not {number}")
        return self.load(number)


def rows_of(owners_HW: npt.NDArray[np.integer]) -> tuple[UInt8Array, npt.NDArray[np.int64]]:
    """An instance map with rows in a row, and the identity of each, from a map of identities.

    Args:
        owners_HW: Identities from 1, 0 nobody, 255 void.
    """
    identities = np.unique(owners_HW)
    identities = identities[(identities > 0) & (identities != VOID)]
    lookup = np.zeros(int(owners_HW.max(initial=0)) + 1, np.uint8)
    if len(lookup) > VOID:
        lookup[VOID] = VOID
    kept = identities[:MAX_ROWS]
    lookup[identities] = VOID
    lookup[kept] = np.arange(1, len(kept) + 1)
    return lookup[owners_HW], kept.astype(np.int64)
