"""People of a picture by MoveNet at several scales, each with BlazePose's mask and landmarks.

Shape suffixes: H height, W width, C colour channels (RGB), N people, J joints (17, COCO order).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import torch

from partstream_models.networks.movenet import JointMaps, MoveNet
from partstream_models.networks.movenet_decode import MoveNetPeople, decode_people
from partstream_models.networks.precision import half_precision
from partstream_models.teachers.blazepose import BlazePose, PosedPerson, crop_of, quarter_turns

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]

MOVENET_FILE = "movenet_multipose.npz"
BLAZEPOSE_FILE = "teachers/pose_landmark_heavy.tflite"
MOST_PEOPLE = 40
_WHOLE_SIDE = 512
_FINE_SIDES = (896, 1280)
"""Longer sides at which pictures of groups are searched again."""
_GROUPS = (3, 8)
"""People found so far from which on each of these is worth it."""
_MARGINS = ((224, 320), (128, 224))
"""Longer side of a picture in the middle of a square: a face that fills a picture is too near for MoveNet."""
_LEAST_CENTER = 0.15
_SAME_REGION = 0.75
_SAME_PERSON, _SAME_BOX = 0.5, 0.6
_SEEN = 0.25
_UPPER_BODY: Final = [0, 1, 2, 5, 6]
"""Joints that a portrait shows."""
_SPREAD: Final = np.array(
    [0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087,
     0.089, 0.089], np.float32,
)  # fmt: skip
"""Per-joint constants of COCO's object keypoint similarity."""


@dataclass(frozen=True, slots=True)
class FoundPerson:
    """One person as both networks see it."""

    score: float
    """MoveNet's, 0..1."""
    box_4: Float32Array
    """x1, y1, x2, y2 in pixels of the picture, by MoveNet."""
    joints_J3: Float32Array
    """x, y and score, by MoveNet."""
    posed: PosedPerson


@dataclass(frozen=True, slots=True)
class _Row:
    score: float
    box_4: Float32Array
    joints_J3: Float32Array


class PeopleFinder:
    """Both networks.

    Args:
        weights: Folder of `movenet_multipose.npz` and `teachers/`.
        least_score: People to whom MoveNet gives less are left out, unless face and shoulders are clear.

    Raises:
        ValueError: A file is missing or damaged, or OpenVINO is not installed.
    """

    def __init__(self, weights: Path, *, least_score: float = 0.2) -> None:
        self._movenet = MoveNet().eval()
        self._movenet.load_pretrained(weights / MOVENET_FILE)
        self._blazepose = BlazePose(weights / BLAZEPOSE_FILE)
        self._least_score = least_score

    def __call__(self, image_HWC: UInt8Array) -> tuple[FoundPerson, ...]:
        """People of an RGB picture, best first."""
        rows = self._at_scale(image_HWC, _WHOLE_SIDE, None)
        for longer_side, frame in _MARGINS:
            rows += self._at_scale(image_HWC, longer_side, frame)
        kept = _distinct(rows)
        for longer_side, least in zip(_FINE_SIDES, _GROUPS, strict=True):
            if len(kept) >= least:
                kept = _distinct(kept + self._at_scale(image_HWC, longer_side, None))
        return tuple(
            FoundPerson(row.score, row.box_4, row.joints_J3, self._pose(image_HWC, row.box_4, row.joints_J3))
            for row in kept[:MOST_PEOPLE]
        )

    def in_region(self, image_HWC: UInt8Array, region_HW: npt.NDArray[np.bool_]) -> FoundPerson | None:
        """The person of a region that other networks take for one, without MoveNet.

        Joints are BlazePose's; None where its mask is not that region.
        """
        rows, columns = np.flatnonzero(region_HW.any(axis=1)), np.flatnonzero(region_HW.any(axis=0))
        if len(rows) == 0:
            return None
        box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)
        posed = self._pose(image_HWC, box, None)
        mask = posed.mask_HW > 0.5
        overlap = int((mask & region_HW).sum()) / max(int((mask | region_HW).sum()), 1)
        if overlap < _SAME_REGION:
            return None
        return FoundPerson(overlap * posed.presence, box, posed.joints_J3, posed)

    def _pose(
        self, image_HWC: UInt8Array, box_4: Float32Array, joints_J3: Float32Array | None
    ) -> PosedPerson:
        """Mean of a picture's answer and its mirror image's; of four turns where up is not known."""
        crop = crop_of(box_4, joints_J3)
        if crop.known_up:
            return self._blazepose.both_ways(image_HWC, crop)
        turned = [self._blazepose(image_HWC, each) for each in quarter_turns(crop)]
        best = int(np.argmax([_agreement(each, box_4, joints_J3) for each in turned]))
        return self._blazepose.both_ways(image_HWC, quarter_turns(crop)[best])

    def _at_scale(self, image_HWC: UInt8Array, longer_side: int, frame: int | None) -> list[_Row]:
        """People in the picture's pixels, searched at that size, in the middle of a square or without one."""
        height, width = image_HWC.shape[:2]
        scale = longer_side / float(max(height, width))
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        resized = cv2.resize(image_HWC, size, interpolation=method)
        rows, columns = (frame, frame) if frame else (-(-size[1] // 32) * 32, -(-size[0] // 32) * 32)
        top, left = ((rows - size[1]) // 2, (columns - size[0]) // 2) if frame else (0, 0)
        canvas = np.full((rows, columns, 3), 128, np.uint8)
        canvas[top : top + size[1], left : left + size[0]] = resized
        people = self._decode(canvas)
        back = np.array([width / size[0], height / size[1]], np.float32)
        limits = np.array([width, height], np.float32)
        found = []
        for score, box, joints in zip(people.scores_N, people.boxes_N4, people.joints_NJ3, strict=True):
            if score < self._least_score and joints[_UPPER_BODY, 2].mean() < 2 * self._least_score:
                continue
            box_4 = np.clip((box.reshape(2, 2) - [left, top]) * back, 0, limits).reshape(4).astype(np.float32)
            places = (joints[:, :2] - [left, top]) * back
            found.append(
                _Row(float(score), box_4, np.concatenate([places, joints[:, 2:]], axis=1, dtype=np.float32))
            )
        return found

    @torch.inference_mode()
    def _decode(self, canvas_HWC: UInt8Array) -> MoveNetPeople:
        """People of a picture whose sides are multiples of 32; the network runs in bfloat16."""
        image = torch.from_numpy(canvas_HWC).permute(2, 0, 1)[None].float() / 127.5 - 1
        with half_precision("cpu"):
            maps, scale, offset = self._movenet(image.contiguous(memory_format=torch.channels_last))
        return decode_people(
            JointMaps(*(each.float() for each in maps)),
            scale.float(),
            offset.float(),
            max_people=MOST_PEOPLE,
            threshold=_LEAST_CENTER,
        )


def _distinct(rows: list[_Row]) -> list[_Row]:
    """Rows of different people, best first."""
    kept: list[_Row] = []
    for row in sorted(rows, key=lambda each: -each.score):
        if not any(_same(row, each) for each in kept):
            kept.append(row)
    return kept


def _same(row: _Row, better: _Row) -> bool:
    """Whether two rows are one person: joints in the same places, or one box."""
    x1, y1 = np.maximum(row.box_4[:2], better.box_4[:2])
    x2, y2 = np.minimum(row.box_4[2:], better.box_4[2:])
    shared = max(float(x2 - x1), 0) * max(float(y2 - y1), 0)
    if shared > _SAME_BOX * (_area(row.box_4) + _area(better.box_4) - shared):
        return True
    seen = np.minimum(row.joints_J3[:, 2], better.joints_J3[:, 2]) > _SEEN
    if not seen.any():
        return False
    distance = ((row.joints_J3[:, :2] - better.joints_J3[:, :2]) ** 2).sum(axis=1)
    area = max(_area(row.box_4), _area(better.box_4), 1.0)
    similarity = np.exp(-distance / (2 * area * (2 * _SPREAD) ** 2))
    return bool(similarity[seen].mean() > _SAME_PERSON)


def _area(box_4: Float32Array) -> float:
    return float((box_4[2] - box_4[0]) * (box_4[3] - box_4[1]))


def _agreement(posed: PosedPerson, box_4: Float32Array, joints_J3: Float32Array | None) -> float:
    """How well an answer agrees with the joints that are seen; its presence where there are none."""
    if joints_J3 is None or not (joints_J3[:, 2] > _SEEN).any():
        return posed.presence
    side = max(float((box_4[2:] - box_4[:2]).max()), 1.0)
    away = np.linalg.norm(posed.joints_J3[:, :2] - joints_J3[:, :2], axis=1)[joints_J3[:, 2] > _SEEN]
    return posed.presence * float(np.exp(-away / (0.2 * side)).mean())
