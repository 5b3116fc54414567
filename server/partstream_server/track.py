"""From people of a frame to identities; those who are nobody yet leave the frame."""

from __future__ import annotations

import cv2
import numpy as np

from partstream_core.tracker import Detection, Tracker
from partstream_server.values import Assembly, LabelMaps


def track(tracker: Tracker, assembly: Assembly, *, period: float) -> tuple[Assembly, tuple[int, ...]]:
    """The people of a frame who have an identity, and their identities.

    Args:
        tracker: Of the stream; it is advanced.
        assembly: Everybody in the frame.
        period: Frames since the tracker saw the last one.
    """
    detections = [Detection(one.box_xyxy, one.score, one.embedding_D) for one in assembly.people]
    identities = tracker.update(detections, period=period)
    known = [
        (person, identity) for person, identity in zip(assembly.people, identities, strict=True) if identity
    ]
    if len(known) == len(identities):
        return assembly, tuple(identity for _, identity in known)
    number = np.zeros(256, np.uint8)
    number[1 : len(identities) + 1] = np.cumsum([identity is not None for identity in identities])
    number[1 : len(identities) + 1][[identity is None for identity in identities]] = 0
    person_WH = np.asarray(cv2.LUT(assembly.maps.person_HW.T, number), np.uint8)
    part_WH = assembly.maps.part_HW.T * (person_WH > 0)
    left = Assembly(tuple(person for person, _ in known), LabelMaps(person_WH.T, part_WH.T))
    return left, tuple(identity for _, identity in known)
