"""The 17 joints of a person: names, the lines of a skeleton, and which joints mirror each other.

Names and order are those of COCO's keypoints. Left and right are the person's own.

Source: COCO keypoint detection task (Lin et al., ECCV 2014).
"""

from typing import Final

JOINTS: Final = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)
"""Names in COCO's order."""

NUM_JOINTS: Final = len(JOINTS)

SKELETON: Final = (
    (0, 1), (0, 2), (1, 3), (2, 4), (5, 6), (5, 7), (7, 9), (6, 8), (8, 10),
    (5, 11), (6, 12), (11, 12), (11, 13), (13, 15), (12, 14), (14, 16),
)  # fmt: skip
"""Pairs of joints that a line of the skeleton connects."""

FLIP_PAIRS: Final = ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16))
"""Pairs of joints that change places when a picture is mirrored."""

FLIPPED: Final = (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)
"""For each joint, the joint that it is in the mirrored picture."""

SURE: Final = 0.3
"""Score from which a joint counts as visible: others are not drawn, and hidden in COCO's files."""
