"""Label maps from results whose masks are run lengths."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from partstream_core import rle
from partstream_core.labels import PARTS
from partstream_core.results import FrameResult
from partstream_server.pipeline.values import LabelMaps

_PART_NUMBERS: Final = {name: number for number, name in enumerate(PARTS)}


def maps_of(result: FrameResult, height: int, width: int) -> LabelMaps:
    """The label maps that a result's masks were encoded from.

    Raises:
        ValueError: A mask is not in run lengths.
    """
    person_HW = np.zeros((width, height), np.uint8).T
    part_HW = np.zeros((width, height), np.uint8).T
    for number, person in enumerate(result.people, start=1):
        person_HW[_mask(person.mask)] = number
        for part in person.parts:
            part_HW[_mask(part.mask)] = _PART_NUMBERS[part.part]
    return LabelMaps(person_HW, part_HW)


def _mask(mask: object) -> np.ndarray[Any, np.dtype[np.bool_]]:
    if not isinstance(mask, rle.Rle):
        raise ValueError("a mask is not in run lengths")
    return rle.decode(mask).astype(np.bool_, copy=False)
