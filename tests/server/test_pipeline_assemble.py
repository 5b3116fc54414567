"""Assembly at the source's resolution, against making every full map and comparing them all."""

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partstream_core import fusion
from partstream_core.labels import NUM_PARTS
from partstream_core.tracker import Tracker, TrackerConfig
from partstream_server.pipeline.assembly import BACKGROUND_SHARE, assemble, with_parsing
from partstream_server.pipeline.tracking import track
from partstream_server.pipeline.values import Assembly, Inference

FloatArray = npt.NDArray[np.float32]


def floats(values: object) -> FloatArray:
    return np.asarray(values, np.float32)


def assembled(inference: Inference, *, min_parts: float = 0.0) -> Assembly:
    return assemble(
        inference,
        width=300,
        height=200,
        part_labels=range(NUM_PARTS),
        mask_threshold=0.5,
        min_parts=min_parts,
    )


def smooth(rng: np.random.Generator, shape: tuple[int, ...]) -> FloatArray:
    """Random maps that change slowly, as a network's do."""
    maps = [
        cv2.GaussianBlur(rng.random(shape[-2:], np.float32), (0, 0), 2.5)
        for _ in range(int(np.prod(shape[:-2])))
    ]
    stacked = np.stack(maps).reshape(shape)
    low, high = stacked.min(axis=(-1, -2), keepdims=True), stacked.max(axis=(-1, -2), keepdims=True)
    return np.asarray((stacked - low) / (high - low), np.float32)


def ovals(rng: np.random.Generator, num_people: int, height: int, width: int) -> FloatArray:
    """Soft ovals side by side, each overlapping its neighbours, with ragged edges."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    masks = np.zeros((num_people, height, width), np.float32)
    for number, mask in enumerate(masks):
        centre = (number + 0.5 + rng.uniform(-0.2, 0.2)) * width / num_people
        across, along = width / num_people * 0.6, height * rng.uniform(0.3, 0.5)
        distance = ((columns - centre) / across) ** 2 + ((rows - height / 2) / along) ** 2
        distance = np.minimum(distance, 5)
        mask[:] = 1 / (1 + np.exp(4 * (distance - 1) + 3 * smooth(rng, (height, width)) - 1.5))
    return masks


def random_inference(seed: int, *, num_people: int, height: int, width: int) -> Inference:
    rng = np.random.default_rng(seed)
    parts = np.exp(6 * smooth(rng, (NUM_PARTS, height, width)))
    return Inference(
        boxes_N4=np.tile(floats([0, 0, 10, 10]), (num_people, 1)),
        scores_N=np.sort(rng.random(num_people, np.float32))[::-1].copy(),
        embeddings_ND=None,
        masks_Nhw=ovals(rng, num_people, height, width),
        part_probabilities_Phw=np.asarray(parts / parts.sum(axis=0), np.float32),
    )


def enlarged(maps_Nhw: FloatArray, width: int, height: int) -> FloatArray:
    return np.stack([cv2.resize(one, (width, height), interpolation=cv2.INTER_LINEAR) for one in maps_Nhw])


@pytest.mark.parametrize(("width", "height"), [(240, 160), (250, 171), (30, 20), (45, 31)])
@pytest.mark.parametrize("seed", range(4))
def test_pixels_go_to_whom_and_what_is_likeliest_there(seed: int, width: int, height: int) -> None:
    inference = random_inference(seed, num_people=3, height=20, width=30)
    assembly = assemble(
        inference, width=width, height=height, part_labels=range(NUM_PARTS), mask_threshold=0.5
    )
    masks_Nhw = with_parsing(inference.masks_Nhw, inference.part_probabilities_Phw)
    scored = fusion.Instances(masks_Nhw, inference.scores_N)
    kept = fusion.assemble(scored, inference.part_probabilities_Phw).kept
    masks_NHW = enlarged(masks_Nhw[kept], width, height)
    parts_PHW = enlarged(inference.part_probabilities_Phw, width, height)
    owner_HW = np.where(masks_NHW.max(axis=0) > 0.5, 1 + masks_NHW.argmax(axis=0), 0)
    parts_PHW[0] *= BACKGROUND_SHARE
    part_HW = np.where(owner_HW > 0, parts_PHW.argmax(axis=0), 0)
    # Probabilities are compared in steps of 1/1024, and a crop's edge may be off by a pixel of the source.
    agree = 0.99 if width % 30 == 0 else 0.93
    assert (assembly.maps.person_HW == owner_HW).mean() >= agree
    assert (assembly.maps.part_HW == part_HW).mean() >= agree


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    num_people=st.integers(0, 9),
    width=st.integers(1, 200),
    height=st.integers(1, 200),
)
def test_every_person_has_pixels_and_every_part_has_a_person(
    seed: int, num_people: int, width: int, height: int
) -> None:
    inference = random_inference(seed, num_people=num_people, height=8, width=12)
    assembly = assemble(
        inference, width=width, height=height, part_labels=range(NUM_PARTS), mask_threshold=0.6
    )
    maps = assembly.maps
    assert maps.person_HW.shape == maps.part_HW.shape == (height, width)
    assert set(np.unique(maps.person_HW)) - {0} == set(range(1, len(assembly.people) + 1))
    assert not maps.part_HW[maps.person_HW == 0].any()
    for number, person in enumerate(assembly.people, start=1):
        rows, columns = np.nonzero(maps.person_HW == number)
        crop = person.crop
        assert (crop.top, crop.left) == (rows.min(), columns.min())
        assert (crop.bottom, crop.right) == (rows.max() + 1, columns.max() + 1)
        for part in np.unique(maps.part_HW[maps.person_HW == number]):
            assert part == 0 or person.part_scores[int(part)] > 0
    scores = [person.score for person in assembly.people]
    assert scores == sorted(scores, reverse=True)


def test_borders_run_between_cells_and_not_along_them() -> None:
    """A slanted edge keeps its slant: its columns move with the rows inside a cell."""
    rows, columns = np.mgrid[0:20, 0:30].astype(np.float32)
    mask_hw = 1 / (1 + np.exp(-(columns - 15 + 0.5 * (rows - 10))))
    undecided = np.zeros((NUM_PARTS, 20, 30), np.float32)
    undecided[0], undecided[5] = 0.49, 0.51
    box, score = floats([[0, 0, 10, 10]]), floats([0.9])
    inference = Inference(box, score, None, np.asarray(mask_hw[None], np.float32), undecided)
    maps = assemble(inference, width=300, height=200, part_labels=range(NUM_PARTS), mask_threshold=0.5).maps
    first = maps.person_HW.argmax(axis=1)[10:190]
    expected = (15 - 0.5 * ((np.arange(10, 190) + 0.5) / 10 - 0.5 - 10) + 0.5) * 10
    assert np.abs(first - expected).max() <= 2
    assert (maps.part_HW[maps.person_HW == 1] == 5).all()


def test_channels_of_a_bundle_with_fewer_parts_keep_their_names() -> None:
    inference = random_inference(0, num_people=2, height=20, width=30)
    few = Inference(
        inference.boxes_N4,
        inference.scores_N,
        None,
        inference.masks_Nhw,
        np.asarray(
            inference.part_probabilities_Phw[:3] / inference.part_probabilities_Phw[:3].sum(axis=0),
            np.float32,
        ),
    )
    maps = assemble(few, width=60, height=40, part_labels=[0, 13, 2], mask_threshold=0.5).maps
    assert set(np.unique(maps.part_HW)) == {0, 2, 13}


def test_whoever_has_no_identity_leaves_the_frame_with_all_their_pixels() -> None:
    tracker = Tracker(TrackerConfig(new_track_score=0.5))
    inference = random_inference(3, num_people=3, height=20, width=30)
    boxes = floats([[0, 0, 40, 100], [100, 0, 140, 100], [200, 0, 240, 100]])
    scores = floats([0.9, 0.8, 0.2])
    inference = Inference(boxes, scores, None, inference.masks_Nhw, inference.part_probabilities_Phw)
    everybody = assemble(inference, width=300, height=200, part_labels=range(NUM_PARTS), mask_threshold=0.5)
    assert [person.score for person in everybody.people] == pytest.approx([0.9, 0.8, 0.2])
    known, identities = track(tracker, everybody, elapsed_s=1 / 25)
    assert identities == (1, 2)
    gone = everybody.maps.person_HW == 3
    assert gone.any()
    assert not known.maps.person_HW[gone].any()
    assert not known.maps.part_HW[gone].any()
    assert np.array_equal(known.maps.person_HW[~gone], everybody.maps.person_HW[~gone])
    assert np.array_equal(known.maps.part_HW[~gone], everybody.maps.part_HW[~gone])


def test_the_best_may_be_the_one_who_leaves() -> None:
    """Numbers close up when somebody in front of others has no identity."""
    tracker = Tracker()
    inference = random_inference(3, num_people=3, height=20, width=30)
    boxes = floats([[0, 0, 40, 100], [100, 0, 140, 100], [200, 0, 240, 100]])
    seen_before = Inference(
        boxes[1:], floats([0.8, 0.7]), None, inference.masks_Nhw[1:], inference.part_probabilities_Phw
    )
    track(tracker, assembled(seen_before), elapsed_s=1 / 25)
    newcomer_first = Inference(
        boxes, floats([0.9, 0.8, 0.7]), None, inference.masks_Nhw, inference.part_probabilities_Phw
    )
    everybody = assembled(newcomer_first)
    known, identities = track(tracker, everybody, elapsed_s=1 / 25)
    assert identities == (1, 2)
    for number in (1, 2):
        assert np.array_equal(known.maps.person_HW == number, everybody.maps.person_HW == number + 1)


def test_masks_and_parsing_that_disagree_meet_half_way() -> None:
    """Odds of 9 and 1/9 make even odds; two that agree keep their odds; a mask alone is left as it is."""
    masks = floats([[[0.9, 0.9, 0.5, 1.0, 0.0]]])
    nothing = floats([[[0.9, 0.1, 0.5, 0.0, 1.0]]])
    parts = np.concatenate([nothing, 1 - nothing])
    assert with_parsing(masks, parts)[0, 0] == pytest.approx([0.5, 0.9, 0.5, 1.0, 0.0], abs=1e-6)
    assert with_parsing(masks, np.ones_like(nothing)) is masks


def test_a_certain_part_is_not_given_to_somebody_whose_mask_is_far_away() -> None:
    parts = floats([[[0.0, 0.0]], [[1.0, 1.0]]])
    far, near = with_parsing(floats([[[0.04, 0.06]]]), parts)[0, 0]
    assert far < 0.5 < near


def test_a_candidate_without_parts_is_nobody_even_if_scraps_of_its_mask_have_some() -> None:
    """A dog: a sure mask, a third of which the parsing takes for clothes."""
    masks = np.zeros((2, 20, 30), np.float32)
    masks[0, 2:18, 2:14] = masks[1, 2:18, 16:28] = 0.9
    parts = np.zeros((NUM_PARTS, 20, 30), np.float32)
    parts[0] = 0.98
    parts[5] = 1 - parts[0]
    for columns in (slice(2, 14), slice(16, 20)):
        parts[0, 2:18, columns], parts[5, 2:18, columns] = 0.02, 0.98
    boxes, scores = floats([[0, 0, 10, 10]] * 2), floats([0.8, 0.9])
    inference = Inference(boxes, scores, None, masks, parts)
    assert [person.score for person in assembled(inference).people] == pytest.approx([0.9, 0.8])
    strict = assembled(inference, min_parts=0.4)
    assert [person.score for person in strict.people] == pytest.approx([0.8])
    assert not strict.maps.person_HW[:, 150:].any()
