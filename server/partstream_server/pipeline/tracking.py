"""Assigns identities to a frame's people and drops detections of unconfirmed tracks."""

from __future__ import annotations

import cv2
import numpy as np

from partstream_core.tracker import Detection, Tracker
from partstream_server.pipeline.values import Assembly, LabelMaps


def track(
    tracker: Tracker, assembly: Assembly, *, elapsed_s: float, scene_cut: bool = False
) -> tuple[Assembly, tuple[int, ...]]:
    """Match people with tracks; return those who have an identity, and their identities.

    Args:
        tracker: Of the stream; it is advanced.
        assembly: Everybody in the frame.
        elapsed_s: Time since the last frame that was tracked.
        scene_cut: Whether the scene was cut in between.
    """
    detections = [Detection(one.box_xyxy, one.score, one.embedding_D) for one in assembly.people]
    identities = tracker.update(detections, elapsed_s=elapsed_s, scene_cut=scene_cut)
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
