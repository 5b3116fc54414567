"""One training picture with its parts, people and identities.

Shape suffixes: H height, W width, C colour channels (RGB), N people.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture with everything that is known of it."""

    image_HWC: UInt8Array
    parts_HW: UInt8Array
    """Parts 0..19, 255 void."""
    instances_HW: UInt8Array
    """Row + 1 of the person at each pixel, 0 nobody, 255 void."""
    identities_N: npt.NDArray[np.int64]
    """Number of each person's photo in the cache: the same number is the same person."""
    teacher_HW: UInt8Array | None = None
    """What pretrained networks say where the parts are void (`data.photos.partial_labels`); None: nothing."""
