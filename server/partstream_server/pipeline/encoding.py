"""From label maps to results: masks in the form that was asked for, boxes and areas in source pixels.

Run lengths of both maps are found in one pass each; no mask is ever made on its own at full size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
import numpy.typing as npt

from partstream_core import rle
from partstream_core.joints import JOINTS
from partstream_core.labels import NUM_PARTS, PARTS
from partstream_core.outlines import as_ring, outlines
from partstream_core.results import JointResult, Mask, PartResult, PersonResult, Polygons
from partstream_core.rle import Counted
from partstream_server.pipeline.values import Crop, FloatArray, FoundPerson, LabelMaps, MapArray

_CODES = 32
"""Codes that a person takes in the map of people and parts."""
_DIGITS = 4
_PLACE_DIGITS = 2
_EXACT_IN_FLOAT32 = 1 << 24
"""Whole numbers below this are exact in the type that OpenCV counts in; it counts twice as fast as NumPy."""


class MaskForm(StrEnum):
    """How masks are written."""

    RLE = "rle"
    POLYGONS = "polygons"
    NONE = "none"


def encode_people(
    people: Sequence[FoundPerson], identities: Sequence[int], maps: LabelMaps, form: MaskForm
) -> tuple[PersonResult, ...]:
    """A result for each person of the maps, in their order."""
    runs = _encode_runs(len(people), maps) if form is MaskForm.RLE else None
    return tuple(
        _encode_person(number, person, identity, maps, form, runs)
        for number, (person, identity) in enumerate(zip(people, identities, strict=True), start=1)
    )


@dataclass(frozen=True, slots=True)
class _Runs:
    """Every mask of a frame."""

    people: Mapping[int, Counted]
    """By number."""
    parts: Mapping[int, Counted]
    """By number * `_CODES` + part."""


def _encode_runs(num_people: int, maps: LabelMaps) -> _Runs:
    # A code fits a byte as long as there are few people, and bytes are compared faster.
    small = (num_people + 1) * _CODES <= 256
    code_HW = np.multiply(maps.person_HW, _CODES, dtype=np.uint8 if small else np.uint16) + maps.part_HW
    runs = rle.Runs.of(code_HW)
    people = runs.relabelled(runs.labels_R // _CODES)
    return _Runs(people.masks(background=0), runs.masks(background=0))


def _encode_person(
    number: int, person: FoundPerson, identity: int, maps: LabelMaps, form: MaskForm, runs: _Runs | None
) -> PersonResult:
    crop = person.crop
    masks: dict[int, Mask] = {}
    whole: Mask = None
    if runs is not None:
        own = {part: runs.parts.get(number * _CODES + part) for part in range(1, NUM_PARTS)}
        areas = {part: mask.area for part, mask in own.items() if mask is not None}
        whole = runs.people[number].rle
        masks = {part: mask.rle for part, mask in own.items() if mask is not None}
    else:
        person_hw = crop.of(maps.person_HW) == number
        part_hw = crop.of(maps.part_HW) * person_hw
        areas = {part: area for part, area in enumerate(_areas(part_hw).tolist()) if part and area}
        if form is MaskForm.POLYGONS:
            whole = polygons(person_hw, crop, maps)
            masks = {part: polygons(part_hw == part, crop, maps) for part in areas}
    parts = (
        PartResult(PARTS[part], _score(person.part_scores[part]), area, masks.get(part))
        for part, area in areas.items()
    )
    box = (float(crop.left), float(crop.top), float(crop.right), float(crop.bottom))
    return PersonResult(identity, _score(person.score), box, whole, tuple(parts), _joints(person.joints_J3))


def _joints(joints_J3: FloatArray | None) -> tuple[JointResult, ...]:
    """Joints with their names; none where none were decoded."""
    if joints_J3 is None:
        return ()
    return tuple(
        JointResult(name, round(x, _PLACE_DIGITS), round(y, _PLACE_DIGITS), _score(score))
        for name, (x, y, score) in zip(JOINTS, joints_J3.tolist(), strict=True)
    )


def _areas(part_hw: MapArray) -> npt.NDArray[np.int64]:
    """Pixels of each part."""
    if part_hw.size >= _EXACT_IN_FLOAT32:
        return np.bincount(part_hw.ravel(order="K"), minlength=NUM_PARTS)
    counts = cv2.calcHist([part_hw.T], [0], None, [NUM_PARTS], [0, NUM_PARTS])
    return np.asarray(counts, np.int64).ravel()


def polygons(mask_hw: npt.NDArray[np.bool_], crop: Crop, maps: LabelMaps) -> Polygons:
    """Outlines of a mask that lies in a crop of the frame.

    They run along the edges of pixels, and a hole is a ring of its own: filled by the even-odd or by the
    non-zero rule, they give the mask exactly.
    """
    offset = np.array([crop.left, crop.top])
    rings = tuple(as_ring(ring_N2 + offset) for ring_N2 in outlines(mask_hw))
    return Polygons(size=(maps.person_HW.shape[0], maps.person_HW.shape[1]), rings=rings)


def _score(score: float) -> float:
    return round(float(min(1.0, max(0.0, score))), _DIGITS)
