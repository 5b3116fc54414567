"""FCOS targets against loops over locations and people."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from partstream_models.networks.fcos import (
    LEVELS,
    SamplingConfig,
    Targets,
    all_locations,
    assign,
    centerness,
    decode_boxes,
)

HEIGHT, WIDTH = 128, 192

across = st.integers(0, 2 * WIDTH).map(lambda value: value / 2)  # halves are exact in single precision
down = st.integers(0, 2 * HEIGHT).map(lambda value: value / 2)
eighths = st.integers(0, 8).map(lambda value: value / 8)


@st.composite
def people(draw: st.DrawFn) -> tuple[list[list[float]], list[list[float]]]:
    """Boxes with a sampling center inside each."""
    boxes, centers = [], []
    for _ in range(draw(st.integers(0, 4))):
        left, right = sorted((draw(across), draw(across)))
        top, bottom = sorted((draw(down), draw(down)))
        width, height = right + 1 - left, bottom + 1 - top
        boxes.append([left, top, left + width, top + height])
        centers.append([left + width * draw(eighths), top + height * draw(eighths)])
    return boxes, centers


def tensors(boxes: list[list[float]], centers: list[list[float]]) -> tuple[Tensor, Tensor]:
    return torch.tensor(boxes).reshape(-1, 4), torch.tensor(centers).reshape(-1, 2)


def targets(boxes: list[list[float]], centers: list[list[float]], config: SamplingConfig) -> Targets:
    return assign(*all_locations(HEIGHT, WIDTH), *tensors(boxes, centers), config=config)


def test_locations_are_the_middles_of_the_cells_of_every_level() -> None:
    locations, level = all_locations(HEIGHT, WIDTH)
    expected = [
        ((column + 0.5) * stride, (row + 0.5) * stride, scale, number)
        for number, (stride, scale) in enumerate(((8, 64), (16, 128), (32, 256)))
        for row in range(HEIGHT // stride)
        for column in range(WIDTH // stride)
    ]
    assert torch.cat([locations, level[:, None].float()], dim=1).tolist() == [list(row) for row in expected]


@settings(max_examples=60, deadline=None)
@given(scene=people(), radius=st.sampled_from([0.5, 1.5]), ambiguous=st.booleans())
def test_assignment_agrees_with_loops(
    scene: tuple[list[list[float]], list[list[float]]], radius: float, ambiguous: bool
) -> None:
    boxes, centers = scene
    found = targets(boxes, centers, SamplingConfig(radius=radius, ambiguous_negative=ambiguous))
    locations, level = all_locations(HEIGHT, WIDTH)
    for place in range(len(locations)):
        x, y = locations[place, :2].tolist()
        at = LEVELS[int(level[place])]
        candidates = {}
        for number, ((left, top, right, bottom), (cx, cy)) in enumerate(zip(boxes, centers, strict=True)):
            sides = (x - left, y - top, right - x, bottom - y)
            near = max(abs(x - cx), abs(y - cy)) <= radius * at.stride
            if not near or min(sides) <= 0:
                continue
            if at.low <= max(sides) < at.high:
                candidates[number] = (right - left) * (bottom - top)
        chosen = int(found.person_L[place])
        if not candidates or (ambiguous and len(candidates) > 1):
            assert chosen == -1
        else:
            assert candidates[chosen] == min(candidates.values())


@settings(max_examples=40, deadline=None)
@given(scene=people())
def test_decoding_the_targets_gives_the_boxes_back(
    scene: tuple[list[list[float]], list[list[float]]],
) -> None:
    found = targets(*scene, SamplingConfig())
    locations, _ = all_locations(HEIGHT, WIDTH)
    positive = found.person_L >= 0
    decoded = decode_boxes(locations, found.distances_L4[None])[0]
    boxes, _ = tensors(*scene)
    assert torch.equal(decoded[positive], boxes[found.person_L[positive]])
    assert (found.distances_L4[positive] > 0).all()
    assert ((found.centerness_L >= 0) & (found.centerness_L <= 1)).all()


def test_nobody_makes_background_everywhere() -> None:
    found = targets([], [], SamplingConfig())
    assert (found.person_L == -1).all()
    assert found.distances_L4.shape == (len(found.person_L), 4)


NEAR, FAR = [40.0, 40.0, 72.0, 88.0], [36.0, 36.0, 92.0, 96.0]
TWO_CENTERS = [[52.0, 60.0], [60.0, 60.0]]


def test_a_place_in_two_regions_goes_to_the_smaller_person() -> None:
    found = targets([FAR, NEAR], TWO_CENTERS, SamplingConfig())
    locations, level = all_locations(HEIGHT, WIDTH)
    between = (locations[:, 0] == 52) & (locations[:, 1] == 60) & (level == 0)
    assert found.person_L[between].tolist() == [1]


def test_by_the_ambiguity_rule_it_goes_to_nobody_and_others_keep_theirs() -> None:
    plain = targets([FAR, NEAR], TWO_CENTERS, SamplingConfig()).person_L
    strict = targets([FAR, NEAR], TWO_CENTERS, SamplingConfig(ambiguous_negative=True)).person_L
    changed = plain != strict
    assert changed.any()
    assert (strict[changed] == -1).all()
    assert (strict == 0).any()  # the far person keeps places of its own
    alone = targets([FAR], TWO_CENTERS[:1], SamplingConfig(ambiguous_negative=True)).person_L
    assert torch.equal(alone, targets([FAR], TWO_CENTERS[:1], SamplingConfig()).person_L)


def test_centerness_is_one_in_the_middle_and_falls_to_the_rim() -> None:
    rows = [(4.0, 4.0, 4.0, 4.0), (1.0, 2.0, 3.0, 8.0), (0.0, 5.0, 9.0, 5.0), (-1.0, 5.0, 9.0, 5.0)]
    expected = [
        math.sqrt(max(min(left, right), 0) / max(left, right) * max(min(top, bottom), 0) / max(top, bottom))
        for left, top, right, bottom in rows
    ]
    assert torch.allclose(centerness(torch.tensor(rows)), torch.tensor(expected))
    assert expected[0] == 1
    assert expected[2] == expected[3] == 0


@pytest.mark.parametrize("radius", [0.0, -1.5])
def test_a_radius_that_reaches_nothing_is_refused(radius: float) -> None:
    with pytest.raises(ValueError, match=f"got {radius}"):
        SamplingConfig(radius=radius)
