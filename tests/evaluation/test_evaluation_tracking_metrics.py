"""MOTS, IDF1 and HOTA against TrackEval's figures, and against brute force."""

from collections.abc import Sequence
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from partstream_core.rle import Rle, encode, iou_matrix
from partstream_evaluation.metrics.hota import hota_scores
from partstream_evaluation.metrics.tracking import TrackedFrame, identity_scores, mots_scores, overlaps

BoolArray = NDArray[np.bool_]
Rect = tuple[int, int, int, int]


def frame(objects: dict[int, Rect], *, height: int = 64, width: int = 96) -> TrackedFrame:
    """Rectangles (y, x, height, width) by identity; where they overlap, the first has the pixel."""
    free = np.ones((height, width), bool)
    masks = []
    for y, x, h, w in objects.values():
        mask = np.zeros_like(free)
        mask[max(y, 0) : y + h, max(x, 0) : x + w] = True
        masks.append(encode(mask & free))
        free &= ~mask
    return TrackedFrame(tuple(objects), tuple(masks))


def golden() -> tuple[list[TrackedFrame], list[TrackedFrame]]:
    """Truth and tracker of nine frames, for which TrackEval and mots_tools were run."""
    truth: list[dict[int, Rect]] = [
        {1: (10, 5 + 3 * t, 40, 14), 2: (15, 70 - 2 * t, 36, 12)} if t < 8 else {} for t in range(9)
    ]
    found: list[dict[int, Rect]] = []
    for t in range(8):
        objects: dict[int, Rect] = {1 if t < 5 else 7: (11, 6 + 3 * t, 40, 14)}
        if t != 4:
            objects[2] = (15, 70 - 2 * t, 36, 13)
        if t == 2:
            objects[3] = (0, 0, 6, 6)
        found.append(objects)
    found.append({7: (11, 30, 40, 14)})
    return [frame(objects) for objects in truth], [frame(objects) for objects in found]


def random_video(seed: int, *, num_frames: int = 6) -> list[TrackedFrame]:
    """Up to three rectangles a frame, whose identities come and go."""
    rng = np.random.default_rng(seed)
    places: Sequence[tuple[int, int]] = ((0, 0), (0, 12), (12, 0))
    frames = []
    for _ in range(num_frames):
        identities = rng.permutation(3)[: rng.integers(0, 4)]
        objects: dict[int, Rect] = {}
        for place, identity in zip(places, identities.tolist(), strict=False):
            y, x = rng.integers(0, 3, 2) + place
            objects[identity] = (int(y), int(x), 8, 8)
        frames.append(frame(objects, height=24, width=24))
    return frames


def test_mots_scores_are_those_of_mots_tools() -> None:
    scores = mots_scores(overlaps(*golden()))
    assert scores.smotsa == pytest.approx(0.629886, abs=1e-6)
    assert scores.motsa == pytest.approx(0.75)
    assert scores.motsp == pytest.approx(0.871879, abs=1e-6)
    counts = (scores.num_true_positives, scores.num_false_positives, scores.num_false_negatives)
    assert (*counts, scores.num_switches) == (15, 2, 1, 1)


def test_hota_and_idf1_are_those_of_trackeval() -> None:
    video = overlaps(*golden())
    hota = hota_scores(video)
    assert hota.hota == pytest.approx(0.686556, abs=1e-6)
    assert hota.detection == pytest.approx(0.730094, abs=1e-6)
    assert hota.association == pytest.approx(0.667544, abs=1e-6)
    assert identity_scores(video).idf1 == pytest.approx(0.727273, abs=1e-6)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_tracker_that_repeats_the_truth_is_perfect_under_any_names(seed: int) -> None:
    truth = random_video(seed)
    renamed = [TrackedFrame(tuple(7 - i for i in each.identities), each.masks) for each in truth]
    video = overlaps(truth, renamed)
    if any(each.identities for each in truth):
        assert mots_scores(video).smotsa == pytest.approx(1)
        assert hota_scores(video).hota == pytest.approx(1)
        assert identity_scores(video).idf1 == pytest.approx(1)
    else:
        assert np.isnan(
            [mots_scores(video).smotsa, hota_scores(video).hota, identity_scores(video).idf1]
        ).all()


@settings(deadline=None)
@given(st.integers(0, 2**31))
def test_idf1_agrees_with_trying_every_naming(seed: int) -> None:
    truth, found = random_video(seed), random_video(seed + 1)
    best = 0
    for naming in permutations(range(3)):
        right = 0
        for true, each in zip(truth, found, strict=True):
            names = [naming[identity] for identity in each.identities]
            iou = iou_matrix(true.masks, each.masks)
            right += sum(
                names[column] == identity and iou[row, column] >= 0.5
                for row, identity in enumerate(true.identities)
                for column in range(len(names))
            )
        best = max(best, right)
    total = sum(len(each.identities) for each in (*truth, *found))
    found_idf1 = identity_scores(overlaps(truth, found)).idf1
    assert found_idf1 == pytest.approx(2 * best / total if total else np.nan, nan_ok=True)


def test_an_identity_that_pauses_and_comes_back_is_no_switch_and_a_new_one_is() -> None:
    here: dict[int, Rect] = {1: (2, 2, 10, 10)}
    truth = [frame(here)] * 4
    same = [frame(here), frame({}), frame({}), frame(here)]
    other = [frame(here), frame({}), frame({}), frame({5: here[1]})]
    assert mots_scores(overlaps(truth, same)).num_switches == 0
    assert mots_scores(overlaps(truth, other)).num_switches == 1


def test_mask_overlap_agrees_with_counting_pixels() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 4, 9, 7)) > 0.5
    expected = [[(x & y).sum() / (x | y).sum() for y in b] for x in a]
    np.testing.assert_allclose(iou_matrix([encode(x) for x in a], [encode(y) for y in b]), expected)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="1 frames, the tracker 2"):
        overlaps([frame({})], [frame({})] * 2)
    with pytest.raises(ValueError, match="one size"):
        overlaps([frame({1: (0, 0, 2, 2)})], [frame({1: (0, 0, 2, 2)}, height=32)])
    with pytest.raises(ValueError, match="twice"):
        TrackedFrame((1, 1), (Rle(1, 1, "1"),) * 2)
    with pytest.raises(ValueError, match="2 identities and 1 masks"):
        TrackedFrame((1, 2), (Rle(1, 1, "1"),))
