"""People of a frame and their parts, with masks as arrays on demand.

Shape suffixes: H height, W width of the source frame, after its rotation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from partstream_core import rle
from partstream_core.boxes import Box
from partstream_core.outlines import fill
from partstream_core.regions import NoMaskError
from partstream_core.results import JointResult, Mask, PartResult, PersonResult, Polygons
from partstream_core.rle import Rle

BoolArray = npt.NDArray[np.bool_]

Joint = JointResult
"""One joint of one person: its name, x and y in pixels of the source frame, and its score in [0, 1]."""


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


def _array(mask: Mask) -> BoolArray:
    match mask:
        case None:
            raise NoMaskError
        case Rle():
            return rle.decode(mask)
        case Polygons():
            return fill(mask)
