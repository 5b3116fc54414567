"""Assembly by the Instance CRF on the host: its mean field, and what it leaves of people."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partstream_core.assembly_config import CrfSettings, Unary
from partstream_core.labels import NUM_PARTS
from partstream_server.pipeline.assembly import assemble, give_away, weigh
from partstream_server.pipeline.crf_assembly import Decision, FormerDecision, decide
from partstream_server.pipeline.mean_field import mean_field
from partstream_server.pipeline.values import Assembly, Inference

FloatArray = npt.NDArray[np.float32]
Picture = npt.NDArray[np.uint8]
WIDTH, HEIGHT = 240, 160
EXACT = CrfSettings(bilateral=0.4, spatial=0.2, theta_beta=30.0, radius=3, band=None)


def by_definition(unary_Lhw: FloatArray, picture_hw3: Picture, config: CrfSettings) -> FloatArray:
    """Mean field, cell by cell and pair by pair."""
    num_labels, height, width = unary_Lhw.shape
    colours = picture_hw3.astype(np.float64)
    q = _normal(unary_Lhw.astype(np.float64))
    for _ in range(config.num_iterations):
        message = np.zeros((num_labels, height, width))
        for y, x, v, u in np.ndindex(height, width, height, width):
            if (y, x) == (v, u) or max(abs(y - v), abs(x - u)) > config.radius:
                continue
            far = (y - v) ** 2 + (x - u) ** 2
            unlike = ((colours[y, x] - colours[v, u]) ** 2).sum()
            alike = np.exp(-far / (2 * config.theta_alpha**2) - unlike / (2 * config.theta_beta**2))
            near = np.exp(-far / (2 * config.theta_gamma**2))
            message[:, y, x] += (config.bilateral * alike + config.spatial * near) * q[:, v, u]
        q = _normal(unary_Lhw + message)
    return q.astype(np.float32)


def _normal(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    raised = np.exp(logits - logits.max(axis=0))
    return np.asarray(raised / raised.sum(axis=0))


def frame(
    seed: int, *, num_people: int, height: int = 20, width: int = 30, parts: int = 4
) -> tuple[Inference, Picture]:
    """People side by side who overlap, over a picture in which each has a colour."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    masks = np.zeros((num_people, height, width), np.float32)
    picture = rng.integers(0, 40, (height, width, 3)).astype(np.uint8)
    for number in range(num_people):
        middle = (number + 0.5) * width / num_people
        distance = ((columns - middle) / (0.7 * width / num_people)) ** 2 + (
            (rows - height / 2) / height
        ) ** 2 * 5
        masks[number] = 1 / (
            1 + np.exp(6 * (np.minimum(distance, 9) - 1) + rng.normal(0, 0.7, (height, width)))
        )
        picture[np.abs(columns - middle) < 0.5 * width / num_people] += np.uint8(20 + 6 * number)
    logits = rng.normal(0, 1, (parts, height, width))
    logits[0] += 3 * (1 - 2 * masks.max(axis=0, initial=0))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=0)
    middles = (np.arange(num_people) + 0.5) * WIDTH / max(num_people, 1)
    half = WIDTH / max(num_people, 1) * 0.7
    boxes = np.stack([middles - half, 0 * middles, middles + half, 0 * middles + HEIGHT], axis=1)
    inference = Inference(
        boxes_N4=np.clip(boxes, 0, WIDTH).astype(np.float32).reshape(-1, 4),
        scores_N=np.linspace(0.95, 0.6, num_people).astype(np.float32),
        embeddings_ND=rng.normal(size=(num_people, 3)).astype(np.float32),
        masks_Nhw=masks,
        part_probabilities_Phw=probabilities.astype(np.float32),
    )
    return inference, picture


def decided(
    inference: Inference,
    picture: Picture,
    config: CrfSettings,
    *,
    threshold: float = 0.5,
    grey: Picture | None = None,
    former: FormerDecision | None = None,
) -> Decision:
    return decide(
        weigh(inference, mask_threshold=threshold),
        picture,
        width=WIDTH,
        height=HEIGHT,
        mask_threshold=threshold,
        settings=config,
        grey_hw=grey,
        former=former,
    )


def given_away(evidence: Inference, *, threshold: float = 0.5) -> Assembly:
    num_parts = len(evidence.part_probabilities_Phw)
    return give_away(
        evidence,
        width=WIDTH,
        height=HEIGHT,
        part_labels=range(num_parts),
        mask_threshold=threshold,
        min_share=0.0,
    )


@given(seed=st.integers(0, 1000), num_labels=st.integers(2, 5))
@settings(max_examples=8, deadline=None)
def test_mean_field_is_what_its_definition_says(seed: int, num_labels: int) -> None:
    rng = np.random.default_rng(seed)
    unary = rng.normal(0, 2, (num_labels, 5, 6)).astype(np.float32)
    picture = rng.integers(0, 60, (5, 6, 3)).astype(np.uint8)
    np.testing.assert_allclose(
        mean_field(unary, picture, EXACT), by_definition(unary, picture, EXACT), atol=1e-5
    )


def test_deciding_only_near_borders_changes_few_cells() -> None:
    differing = []
    for seed in range(10):
        inference, picture = frame(seed, num_people=4, height=72, width=128)
        owners = [
            decided(inference, picture, replace(EXACT, band=band)).evidence.masks_Nhw.argmax(axis=0)
            for band in (None, 2)
        ]
        differing.append(np.mean(owners[0] != owners[1]))
    assert np.mean(differing) < 0.02


@pytest.mark.parametrize("threshold", [0.5, 0.35])
def test_without_neighbours_it_is_the_greedy_assembly(threshold: float) -> None:
    inference, picture = frame(3, num_people=4)
    alone = CrfSettings(bilateral=0.0, spatial=0.0, anywhere=0.0)
    found = given_away(decided(inference, picture, alone, threshold=threshold).evidence, threshold=threshold)
    greedy = assemble(inference, width=WIDTH, height=HEIGHT, part_labels=range(4), mask_threshold=threshold)
    agree = found.maps.person_HW == greedy.maps.person_HW
    assert len(found.people) == len(greedy.people)
    assert agree.mean() > 0.98  # between cells, other numbers are interpolated


@pytest.mark.parametrize("unary", list(Unary))
@pytest.mark.parametrize("joint", [False, True])
def test_the_order_of_people_does_not_matter(unary: Unary, joint: bool) -> None:
    inference, picture = frame(5, num_people=3)
    config = replace(EXACT, unary=unary, joint=joint, anywhere=0.5)
    order = np.array([2, 0, 1])
    shuffled = Inference(
        inference.boxes_N4[order],
        inference.scores_N[order],
        None if inference.embeddings_ND is None else inference.embeddings_ND[order],
        inference.masks_Nhw[order],
        inference.part_probabilities_Phw,
    )
    one, other = (decided(each, picture, config).evidence for each in (inference, shuffled))
    np.testing.assert_allclose(other.masks_Nhw, one.masks_Nhw[order], atol=1e-4)
    np.testing.assert_allclose(other.part_probabilities_Phw, one.part_probabilities_Phw, atol=1e-4)
    assert other.embeddings_ND is not None and one.embeddings_ND is not None
    np.testing.assert_array_equal(other.embeddings_ND, one.embeddings_ND[order])


@pytest.mark.parametrize("num_people", [0, 1, 30])
@pytest.mark.parametrize("unary", list(Unary))
@pytest.mark.parametrize("joint", [False, True])
def test_any_number_of_people_will_do(num_people: int, unary: Unary, joint: bool) -> None:
    inference, picture = frame(1, num_people=num_people, height=40, width=160)
    config = CrfSettings(unary=unary, joint=joint, anywhere=0.3)
    evidence = decided(inference, picture, config).evidence
    assert evidence.masks_Nhw.shape[1:] == (40, 160)
    assert np.isfinite(evidence.masks_Nhw).all() and len(evidence.masks_Nhw) <= num_people
    np.testing.assert_allclose(evidence.part_probabilities_Phw.sum(axis=0), 1, atol=1e-4)
    found = given_away(evidence)
    assert bool(found.people) == (num_people > 0)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1)])
@pytest.mark.parametrize("num_people", [0, 2])
def test_maps_of_one_cell_or_row_will_do(size: tuple[int, int], num_people: int) -> None:
    inference, picture = frame(2, num_people=num_people, height=size[0], width=size[1])
    evidence = decided(inference, picture, CrfSettings(radius=8, band=3)).evidence
    assert evidence.masks_Nhw.shape[1:] == size
    given_away(evidence)


def test_parts_need_not_be_known() -> None:
    inference, picture = frame(4, num_people=2, parts=1)
    inference = replace(inference, part_probabilities_Phw=np.ones_like(inference.part_probabilities_Phw))
    assert len(given_away(decided(inference, picture, CrfSettings(joint=True)).evidence).people) == 2


def test_a_person_reaches_beyond_the_box_only_by_the_global_term() -> None:
    inference, picture = frame(6, num_people=1)
    boxes = inference.boxes_N4.copy()
    boxes[0] = 0, 0, WIDTH / 2, HEIGHT
    inference = replace(inference, boxes_N4=boxes)
    reached, stayed = [], []
    for anywhere in (0.0, 1.0):
        config = CrfSettings(unary=Unary.BOXES, anywhere=anywhere, bilateral=0.0)
        mask_hw = decided(inference, picture, config).evidence.masks_Nhw[0]
        reached.append(np.count_nonzero(mask_hw[:, 16:] > 0.5))
        stayed.append(np.count_nonzero(mask_hw[:, :14] < 0.5))
    assert reached[0] == 0 < reached[1]
    assert min(stayed) > 0, "background is a label in boxes, too"


def test_a_border_moves_to_the_edge_of_the_picture() -> None:
    masks = np.zeros((2, 12, 24), np.float32)
    masks[0, :, :10], masks[0, :, 10:14] = 0.95, 0.6
    masks[1, :, 14:], masks[1, :, 10:14] = 0.95, 0.5
    picture = np.full((12, 24, 3), 30, np.uint8)
    picture[:, 11:] = 200  # the person on the left ends at column 11, and their mask does not
    nothing = np.zeros((2, 12, 24), np.float32)
    nothing[1] = 1
    inference = Inference(
        np.zeros((2, 4), np.float32), np.array([0.9, 0.8], np.float32), None, masks, nothing
    )
    config = CrfSettings(bilateral=1.0, radius=3, num_iterations=5)
    masks_Nhw = decided(inference, picture, config).evidence.masks_Nhw
    owner = masks_Nhw.argmax(axis=0)
    np.testing.assert_array_equal(owner[:, :11], 0)
    np.testing.assert_array_equal(owner[:, 11:], 1)


def test_the_former_frame_decides_where_masks_do_not() -> None:
    inference, picture = frame(7, num_people=2)
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 255, (40, 60)).astype(np.uint8)
    config = CrfSettings(temporal=2.0, bilateral=0.0)
    clear = decided(inference, picture, config, grey=grey)
    assert clear.former is not None
    even_masks = inference.masks_Nhw.copy()
    even_masks[:, :, 11:19] = 0.6  # where the two overlap
    even = replace(inference, masks_Nhw=even_masks)
    alone = decided(even, picture, config, grey=grey).evidence
    carried = decided(even, picture, config, grey=grey, former=clear.former).evidence
    sure = clear.evidence.masks_Nhw.max(axis=0) > 0.6
    truth = clear.evidence.masks_Nhw.argmax(axis=0)[sure]
    right_alone, right = ((each.masks_Nhw.argmax(axis=0)[sure] == truth).mean() for each in (alone, carried))
    assert right > 0.98 > right_alone


def test_the_former_frame_has_no_say_on_who_is_new() -> None:
    first, picture = frame(8, num_people=1)
    grey = np.random.default_rng(0).integers(0, 255, (40, 60)).astype(np.uint8)
    config = CrfSettings(temporal=5.0, bilateral=0.0)
    empty, _ = frame(8, num_people=0)
    nobody = decided(empty, picture, config, grey=grey).former
    found = decided(first, picture, config, grey=grey, former=nobody).evidence
    alone = decided(first, picture, config, grey=grey).evidence
    sure = first.masks_Nhw[0] > 0.9
    assert ((found.masks_Nhw > 0.5) == (alone.masks_Nhw > 0.5))[0][sure].all()


def test_a_former_frame_of_another_size_is_left_out() -> None:
    inference, picture = frame(9, num_people=2)
    grey = np.zeros((40, 60), np.uint8)
    config = CrfSettings(temporal=2.0)
    other = FormerDecision(np.zeros((3, 10, 10), np.float32), np.zeros((20, 20), np.uint8))
    one = decided(inference, picture, config, grey=grey, former=other).evidence
    np.testing.assert_array_equal(
        one.masks_Nhw, decided(inference, picture, config, grey=grey).evidence.masks_Nhw
    )


def test_a_picture_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the map is \(4, 5\), the picture \(4, 6, 3\)"):
        mean_field(np.zeros((2, 4, 5), np.float32), np.zeros((4, 6, 3), np.uint8), CrfSettings())


def test_joint_labels_keep_the_background_of_the_parsing() -> None:
    inference, picture = frame(10, num_people=2, parts=NUM_PARTS)
    evidence = decided(inference, picture, CrfSettings(joint=True)).evidence
    np.testing.assert_array_equal(evidence.part_probabilities_Phw[0], inference.part_probabilities_Phw[0])
