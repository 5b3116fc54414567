"""How well the match module follows made-up crowds: IDF1 and switches, with a floor under each."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from partstream_core.boxes import iou_matrix
from partstream_core.tracker import Detection, Tracker
from partstream_evaluation.metrics.tracking import FrameOverlaps, VideoOverlaps, identity_scores, mots_scores

Array = NDArray[np.float64]
PEOPLE = 6
FRAMES = 240


@dataclass(frozen=True)
class Crowd:
    """Where everybody is in one frame, and what a mediocre detector says of it."""

    truth_N4: Array
    detections: list[Detection]


def crowd(seed: int, *, looks_noise: float | None, every: int) -> Iterator[Crowd]:
    """People who turn, hurry and stop; one sight in ten is missed, one false one comes in ten frames."""
    rng = np.random.default_rng(seed)
    looks = rng.normal(size=(PEOPLE, 64)) / 8
    place, speed = rng.uniform((100, 200), (1180, 520), (PEOPLE, 2)), rng.normal(0, 4, (PEOPLE, 2))
    height, spread = rng.uniform(120, 260, PEOPLE), rng.uniform(0.3, 0.5, PEOPLE)
    for t in range(FRAMES):
        speed = 0.97 * speed + rng.normal(0, 1, (PEOPLE, 2)) * (1, 0.3)
        speed = np.where((place < (60, 150)) | (place > (1220, 570)), np.sign((640, 360) - place) * 4, speed)
        place = place + speed
        half = np.stack([height * spread * (1 + 0.2 * np.sin(t / 3 + np.arange(PEOPLE))), height], axis=1) / 2
        boxes = np.concatenate([place - half, place + half], axis=1)
        jitter = rng.normal(0, 0.02, (PEOPLE, 4)) * height[:, None]
        found = []
        for person in np.flatnonzero(rng.random(PEOPLE) > 0.1):
            x1, y1, x2, y2 = (boxes + jitter)[person]
            seen = looks[person] + looks_noise * rng.normal(size=64) / 8 if looks_noise else None
            found.append(Detection((x1, y1, x2, y2), rng.uniform(0.45, 0.95), seen))
        if rng.random() < 0.1:
            x, y = rng.uniform((0, 0), (1200, 600))
            stray = rng.normal(size=64) / 8 if looks_noise else None
            found.append(Detection((x, y, x + 50, y + 110), 0.6, stray))
        if t % every == 0:
            yield Crowd(boxes, found)


def follow(frames: Iterator[Crowd], *, every: int) -> VideoOverlaps:
    """The identities that a tracker gives, against the truth."""
    tracker, overlaps, most = Tracker(), [], 0
    for frame in frames:
        identities = tracker.update(frame.detections, elapsed_s=every / 25)
        known = [(each.box_xyxy, i) for each, i in zip(frame.detections, identities, strict=True) if i]
        boxes = np.array([box for box, _ in known]).reshape(-1, 4)
        numbers = np.array([i - 1 for _, i in known], np.int64)
        most = max(most, *numbers.tolist(), 0)
        overlaps.append(
            FrameOverlaps(
                np.arange(PEOPLE), numbers, np.asarray(iou_matrix(frame.truth_N4, boxes), np.float64)
            )
        )
    return VideoOverlaps(tuple(overlaps), PEOPLE, most + 1)


@pytest.mark.parametrize(
    "noise, every, least_idf1, most_switches",
    [(0.8, 1, 0.93, 0.5), (1.6, 1, 0.90, 1), (None, 1, 0.88, 2), (0.8, 3, 0.93, 0.5)],
    ids=["fair looks", "poor looks", "no looks", "every third frame"],
)
def test_a_crowd_is_followed(
    noise: float | None, every: int, least_idf1: float, most_switches: float
) -> None:
    """The detector's misses alone cost five points of IDF1."""
    videos = [follow(crowd(seed, looks_noise=noise, every=every), every=every) for seed in range(4)]
    assert np.mean([identity_scores(video).idf1 for video in videos]) >= least_idf1
    assert np.mean([mots_scores(video).num_switches for video in videos]) <= most_switches
