"""Fusion against pixel by pixel loops, and the promises it makes."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from partstream_core.fusion import NOBODY, Assembly, Instances, assemble, assemble_paper

Array = NDArray[np.float64]
seeds = st.integers(0, 2**32 - 1)


def scene(seed: int, *, people: int = 4, size: int = 8) -> tuple[Instances, Array]:
    """People on blobs of probability, and part probabilities."""
    rng = np.random.default_rng(seed)
    masks = rng.uniform(0, 1, (rng.integers(0, people + 1), size, size))
    parts = rng.dirichlet(np.ones(5), (size, size)).transpose(2, 0, 1)
    return Instances(masks, rng.uniform(0.1, 1, len(masks))), parts


def paper_score(probabilities: Array, score: float) -> float:
    return float(probabilities.mean() * score)


def our_score(probabilities: Array, _: float) -> float:
    return float(probabilities.sum() / (len(probabilities) + 10))


def check_promises(
    found: Assembly, instances: Instances, parts: Array, part_score: Callable[[Array, float], float]
) -> None:
    """What holds whatever the rule of fusion is."""
    assert set(np.unique(found.owner_HW)) - {NOBODY} == set(found.kept)
    assert (found.part_map_HW[found.owner_HW == NOBODY] == 0).all()
    assert list(instances.scores_N[found.kept]) == sorted(instances.scores_N[found.kept], reverse=True)
    for row, score in enumerate(instances.scores_N):
        for part in range(1, len(parts)):
            here = (found.owner_HW == row) & (found.part_map_HW == part)
            expected = part_score(parts[part][here], score) if here.any() else 0
            assert found.part_scores_NP[row, part] == pytest.approx(expected, abs=1e-6)
    owned = found.owner_HW != NOBODY
    assert (found.part_map_HW[owned] == parts.argmax(axis=0)[owned]).all()


@given(seeds)
def test_each_pixel_goes_to_its_likeliest_kept_person(seed: int) -> None:
    instances, parts = scene(seed)
    found = assemble(instances, parts, min_share=0)
    check_promises(found, instances, parts, our_score)
    _, height, width = instances.masks_NHW.shape
    order = np.argsort(-instances.scores_N, kind="stable")
    covered = np.zeros((height, width), bool)
    alive = []
    for row in order:
        if (instances.masks_NHW[row] > 0.5)[~covered].any():
            alive.append(row)
            covered |= instances.masks_NHW[row] > 0.5
    for y in range(height):
        for x in range(width):
            best = max(alive, key=lambda row: instances.masks_NHW[row, y, x], default=NOBODY)
            expected = best if best != NOBODY and instances.masks_NHW[best, y, x] > 0.5 else NOBODY
            assert found.owner_HW[y, x] == expected


@given(seeds, st.sampled_from([0.0, 0.3, 0.7]))
def test_the_papers_rule_takes_pixels_in_score_order(seed: int, min_share: float) -> None:
    instances, parts = scene(seed)
    found = assemble_paper(instances, parts, min_share=min_share)
    check_promises(found, instances, parts, paper_score)
    free = np.ones(instances.masks_NHW.shape[1:], bool)
    for row in np.argsort(-instances.scores_N, kind="stable"):
        mask = instances.masks_NHW[row] > 0.5
        if (mask & free).sum() > min_share * mask.sum():
            assert ((found.owner_HW == row) == (mask & free)).all()
            free &= ~mask
        else:
            assert row not in found.kept


def test_of_two_sights_of_one_person_the_better_stays() -> None:
    mask = np.zeros((2, 20, 20))
    mask[0, 2:18, 5:15] = 0.8
    mask[1, 3:18, 5:15] = 0.9
    found = assemble(Instances(mask, np.array([0.9, 0.6])), np.full((3, 20, 20), 1 / 3))
    assert found.kept.tolist() == [0]
    assert np.array_equal(found.owner_HW == 0, mask[0] > 0.5)


def test_people_who_overlap_share_by_their_masks() -> None:
    mask = np.zeros((2, 10, 20))
    mask[0, :, :14] = np.linspace(1, 0.55, 14)
    mask[1, :, 6:] = np.linspace(0.55, 1, 14)
    found = assemble(Instances(mask, np.array([0.95, 0.5])), np.full((3, 10, 20), 1 / 3))
    assert (found.owner_HW[:, :10] == 0).all()
    assert (found.owner_HW[:, 10:] == 1).all()
    assert assemble_paper(
        Instances(mask, np.array([0.95, 0.5])), np.full((3, 10, 20), 1 / 3)
    ).kept.tolist() == [0]


def test_an_empty_frame_is_an_empty_assembly() -> None:
    found = assemble(Instances(np.zeros((0, 6, 4)), np.zeros(0)), np.full((20, 6, 4), 0.05))
    assert found.kept.size == 0
    assert (found.owner_HW == NOBODY).all()
    assert not found.part_map_HW.any()
    assert found.part_scores_NP.shape == (0, 20)


def test_sizes_that_disagree_are_refused() -> None:
    with pytest.raises(ValueError, match="part probabilities"):
        assemble(Instances(np.zeros((1, 6, 4)), np.ones(1)), np.zeros((20, 3, 2)))
    with pytest.raises(ValueError, match="scores"):
        Instances(np.zeros((2, 6, 4)), np.ones(3))
