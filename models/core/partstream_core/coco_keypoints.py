"""COCO's form of joints: `keypoints` holds x, y and visibility of each joint in turn.

Visibility is 2 where a joint is seen, 1 where its place is known or guessed but it is hidden, 0 where nothing
is known. Beside COCO's own fields, `keypoint_scores` holds the scores, so that a round trip keeps them.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from partstream_core.joints import JOINTS, NUM_JOINTS, SKELETON, SURE
from partstream_core.results import JointResult

_UNKNOWN, _HIDDEN, _SEEN = range(3)
CATEGORY_FIELDS: Final[Mapping[str, Any]] = {
    "keypoints": list(JOINTS),
    "skeleton": [[first + 1, second + 1] for first, second in SKELETON],
}
"""What a COCO category of people with joints says beside its name."""


def keypoint_fields(joints: Sequence[JointResult]) -> dict[str, Any]:
    """Fields of a COCO annotation for a person's joints; none for somebody without joints."""
    if not joints:
        return {}
    visible = [_SEEN if joint.score >= SURE else _HIDDEN for joint in joints]
    triples = [(joint.x, joint.y, seen) for joint, seen in zip(joints, visible, strict=True)]
    return {
        "keypoints": [number for triple in triples for number in triple],
        "num_keypoints": len(joints),
        "keypoint_scores": [joint.score for joint in joints],
    }


def joints_of(annotation: Mapping[str, Any]) -> tuple[JointResult, ...]:
    """The joints of a COCO annotation or result; none where it has no keypoints.

    Without `keypoint_scores` the score of a joint is 1, or 0 where its visibility is 0.

    Raises:
        ValueError: The lists have the wrong length, or hold what is no finite number.
    """
    if "keypoints" not in annotation:
        return ()
    numbers = [float(number) for number in annotation["keypoints"]]
    if len(numbers) != 3 * NUM_JOINTS or not all(map(math.isfinite, numbers)):
        raise ValueError(f"keypoints must be {3 * NUM_JOINTS} finite numbers, got {len(numbers)}")
    given = annotation.get("keypoint_scores", [float(seen > _UNKNOWN) for seen in numbers[2::3]])
    scores = [float(score) for score in given]
    if len(scores) != NUM_JOINTS or not all(0 <= score <= 1 for score in scores):
        raise ValueError(f"keypoint_scores must be {NUM_JOINTS} numbers from 0 to 1, got {scores}")
    return tuple(
        JointResult(*each) for each in zip(JOINTS, numbers[0::3], numbers[1::3], scores, strict=True)
    )
