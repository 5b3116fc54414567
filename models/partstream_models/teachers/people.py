"""People of a picture by MoveNet at several scales, each with BlazePose's mask and landmarks.

Shape suffixes: H height, W width, C colour channels (RGB), N people, J joints (17, COCO order).
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from partstream_core.boxes import iou_matrix
from partstream_models.networks.movenet import MoveNet
from partstream_models.networks.movenet_decode import find_people
from partstream_models.teachers.blazepose import BlazePose, PosedPerson, crop_of

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]

MOVENET_FILE = "movenet_multipose.npz"
BLAZEPOSE_FILE = "teachers/pose_landmark_heavy.tflite"
_FINE_SIDE = 896
"""Longer side at which pictures of groups are searched again."""
_GROUP = 3
_MARGIN_SIDE = 288
"""Longer side of the picture inside a 512-pixel frame: faces that fill a picture are too near for MoveNet."""
_FRAME = 512
_MOST_PEOPLE = 24
_SAME_REGION = 0.75
_LEAST_CENTER = 0.15
_OVERLAP = 0.5
_UPPER_BODY = [0, 1, 2, 5, 6]
"""Joints that a portrait shows."""


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


class PeopleFinder:
    """Both networks.

    Args:
        weights: Folder of `movenet_multipose.npz` and `teachers/`.
        least_score: People whom MoveNet gives less are left out, unless face and shoulders are clear.

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
        rows = self._at_scale(image_HWC, _FRAME, framed=False)
        rows += self._at_scale(image_HWC, _MARGIN_SIDE, framed=True)
        if len(rows) >= _GROUP:
            rows += self._at_scale(image_HWC, _FINE_SIDE, framed=False)
        rows.sort(key=lambda row: -row[0])
        kept: list[FoundPerson] = []
        boxes: list[Float32Array] = []
        for score, box, joints in rows:
            if boxes and iou_matrix(box[None], np.stack(boxes)).max() > _OVERLAP:
                continue
            boxes.append(box)
            posed = self._blazepose(image_HWC, crop_of(box, joints))
            kept.append(FoundPerson(score, box, joints, posed))
        return tuple(kept[:_MOST_PEOPLE])

    def in_region(self, image_HWC: UInt8Array, region_HW: npt.NDArray[np.bool_]) -> FoundPerson | None:
        """The person of a region that other networks take for one, without MoveNet.

        Joints are BlazePose's; None where its mask is not that region.
        """
        rows, columns = np.flatnonzero(region_HW.any(axis=1)), np.flatnonzero(region_HW.any(axis=0))
        if len(rows) == 0:
            return None
        box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)
        posed = self._blazepose(image_HWC, crop_of(box, None))
        mask = posed.mask_HW > 0.5
        overlap = int((mask & region_HW).sum()) / max(int((mask | region_HW).sum()), 1)
        if overlap < _SAME_REGION:
            return None
        return FoundPerson(overlap * posed.presence, box, posed.joints_J3, posed)

    def _at_scale(
        self, image_HWC: UInt8Array, longer_side: int, *, framed: bool
    ) -> list[tuple[float, Float32Array, Float32Array]]:
        """Scores, boxes and joints in the picture's pixels."""
        height, width = image_HWC.shape[:2]
        scale = longer_side / float(max(height, width))
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        resized = cv2.resize(image_HWC, size, interpolation=method)
        frame = (_FRAME, _FRAME) if framed else (-(-size[1] // 32) * 32, -(-size[0] // 32) * 32)
        top, left = ((frame[0] - size[1]) // 2, (frame[1] - size[0]) // 2) if framed else (0, 0)
        canvas = np.full((*frame, 3), 128, np.uint8)
        canvas[top : top + size[1], left : left + size[0]] = resized
        people = find_people(self._movenet, canvas, max_people=_MOST_PEOPLE, threshold=_LEAST_CENTER)
        back = np.array([width / size[0], height / size[1]], np.float32)
        rows = []
        for score, box, joints in zip(people.scores_N, people.boxes_N4, people.joints_NJ3, strict=True):
            if score < self._least_score and joints[_UPPER_BODY, 2].mean() < 2 * self._least_score:
                continue
            corners = (box.reshape(2, 2) - [left, top]) * back
            places = (joints[:, :2] - [left, top]) * back
            limits = np.array([width, height], np.float32)
            box_4 = np.clip(corners, 0, limits).reshape(4).astype(np.float32)
            rows.append(
                (float(score), box_4, np.concatenate([places, joints[:, 2:]], axis=1, dtype=np.float32))
            )
        return rows
