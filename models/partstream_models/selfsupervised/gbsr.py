"""Graph-Based Skeleton Refinement: joints of a frame corrected by those of the frames around it.

Shape suffixes: J joints (17, COCO order), N people, M candidate places, T frames; a last 2 is (x, y), a
last 3 x, y and score.

Source: "A Self-Supervised Framework for Human Instance Segmentation", section 3.2, Fig. 3. The paper says
that matching is done a second time with boxes sized by the first visibility scores and that "the matching
results are used to refine body joint predictions", not how. We read it so:
- left and right change places where both frames around match them crosswise and the ways become shorter;
- a joint moves to, or appears at, the place that minimises the appearance part of Eq. 4 plus `pull` times
  the distance, in sides of its box, from the middle of its places in the frames around. A joint that is
  visible moves only if that is less by a `margin`; one that is not visible appears in the
  middle, and moves from there only to a place that looks as much like it as visible joints look like
  themselves: what hides a joint has another appearance.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from partstream_core.joints import FLIP_PAIRS, FLIPPED, NUM_JOINTS
from partstream_models.selfsupervised.graphs import (
    ALPHA,
    FeatureMap,
    HumanGraph,
    build_graph,
    crop_side,
    describe,
)
from partstream_models.selfsupervised.matching import minimise_distance, visibility_scores

Float32Array = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class GBSRConfig:
    """Settings of the refinement."""

    num_rounds: int = 1
    """N_GBSR."""
    alpha: float = ALPHA
    least_score: float = 0.3
    """Joints below it are not visible."""
    pull: float = 1.25
    """Appearance distance that one side away from the middle of the frames around is worth."""
    margin: float = 0.5
    """Appearance distance by which another place must be better."""
    reach: float = 0.5
    """How far from the middle places are tried, in sides of the box."""
    most_apart: float = 0.5
    """Greatest mean distance of joints, in diagonals of a person's joints, of one person in two frames."""

    def __post_init__(self) -> None:
        if self.num_rounds < 0:
            raise ValueError(f"num_rounds must be at least 0, got {self.num_rounds}")
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must be in 0..1, got {self.alpha}")


@dataclass(frozen=True, slots=True, eq=False)
class PosedFrame:
    """The people of one frame, and the maps that their appearance is read from."""

    people_NJ3: Float32Array
    maps: tuple[FeatureMap, ...]


def refine_clip(frames: Sequence[PosedFrame], config: GBSRConfig | None = None) -> list[Float32Array]:
    """Joints of each frame's people after one refinement, [N, J, 3] a frame; people keep their rows.

    A person is refined where the frames before and after show the same one. Where both show a person whom the
    frame between them lacks, the person is added after the others, at the middle of both.

    Args:
        frames: Frames in a row, each with the maps of its picture.
        config: Settings; `num_rounds` is for the caller, who trains the pose network between rounds.
    """
    config = config or GBSRConfig()
    refined = [frame.people_NJ3 for frame in frames[:1]]
    for before, frame, after in zip(frames, frames[1:], frames[2:], strict=False):
        rows = frame.people_NJ3.copy()
        back = dict(link_people(frame.people_NJ3, before.people_NJ3, config))
        on = dict(link_people(frame.people_NJ3, after.people_NJ3, config))
        for row in back.keys() & on.keys():
            rows[row] = refine_person(
                before.people_NJ3[back[row]],
                frame.people_NJ3[row],
                after.people_NJ3[on[row]],
                (before.maps, frame.maps, after.maps),
                config,
            )
        added = [
            _middle(before.people_NJ3[first], after.people_NJ3[last], config)
            for first, last in link_people(before.people_NJ3, after.people_NJ3, config)
            if first not in back.values() and last not in on.values()
        ]
        refined.append(np.concatenate([rows, np.array(added, np.float32).reshape(-1, NUM_JOINTS, 3)]))
    refined += [frame.people_NJ3 for frame in frames[1:][-1:]]
    return refined


def link_people(
    people_NJ3: Float32Array, others_NJ3: Float32Array, config: GBSRConfig
) -> list[tuple[int, int]]:
    """Rows of the same people in two frames: least mean distance of joints that both see."""
    costs = np.full((len(people_NJ3), len(others_NJ3)), 10.0)
    for row, person in enumerate(people_NJ3):
        for column, other in enumerate(others_NJ3):
            both = np.minimum(person[:, 2], other[:, 2]) >= config.least_score
            if both.sum() >= 3:
                diagonal = max(float(np.linalg.norm(np.ptp(other[both, :2], axis=0))), 1.0)
                away = np.linalg.norm(person[both, :2] - other[both, :2], axis=1)
                costs[row, column] = float(away.mean()) / diagonal
    pairs = zip(*linear_sum_assignment(costs), strict=True)
    return [(int(row), int(column)) for row, column in pairs if costs[row, column] <= config.most_apart]


def refine_person(
    before_J3: Float32Array,
    joints_J3: Float32Array,
    after_J3: Float32Array,
    maps: tuple[tuple[FeatureMap, ...], tuple[FeatureMap, ...], tuple[FeatureMap, ...]],
    config: GBSRConfig,
) -> Float32Array:
    """Joints of one person in the middle of three frames, refined, [J, 3].

    Args:
        before_J3: The person's joints in the frame before.
        joints_J3: In the frame itself.
        after_J3: In the frame after.
        maps: Maps of the three frames.
        config: Settings.
    """
    around = (before_J3, after_J3)
    least = config.least_score
    graph = build_graph(joints_J3, maps[1], least_score=least)
    others = [build_graph(each, of, least_score=least) for each, of in zip(around, maps[::2], strict=True)]
    first = [minimise_distance(graph, other, least_score=least, alpha=config.alpha) for other in others]
    visibility = [visibility_scores(graph, *each) for each in zip(others, first, strict=True)]
    sized = np.mean(visibility, axis=0).astype(np.float32)
    graph = build_graph(joints_J3, maps[1], least_score=least, visibility_J=sized)
    others = [
        build_graph(
            other.joints_J3,
            of,
            least_score=least,
            visibility_J=visibility_scores(other, graph, v.T).astype(np.float32),
        )
        for other, v, of in zip(others, first, maps[::2], strict=True)
    ]
    second = [minimise_distance(graph, other, least_score=least, alpha=config.alpha) for other in others]
    joints = swap_sides(joints_J3, around, second, least_score=least)
    return _place_joints(joints, others, maps[1], config)


def swap_sides(
    joints_J3: Float32Array,
    around: tuple[Float32Array, Float32Array],
    matchings: Sequence[FloatArray],
    *,
    least_score: float,
) -> Float32Array:
    """Joints with left and right exchanged where both matchings cross and the ways become shorter, [J, 3]."""
    swapped = joints_J3.copy()
    for left, right in FLIP_PAIRS:
        pair = [left, right]
        if min(each[pair, 2].min() for each in (joints_J3, *around)) < least_score:
            continue
        if not all(v[left, right] > 0.5 and v[right, left] > 0.5 for v in matchings):
            continue
        straight = sum(float(np.linalg.norm(joints_J3[pair, :2] - each[pair, :2])) for each in around)
        crossed = sum(float(np.linalg.norm(joints_J3[pair[::-1], :2] - each[pair, :2])) for each in around)
        if crossed < straight:
            swapped[pair] = joints_J3[[FLIPPED[left], FLIPPED[right]]]
    return swapped


def _place_joints(
    joints_J3: Float32Array,
    others: Sequence[HumanGraph],
    maps: tuple[FeatureMap, ...],
    config: GBSRConfig,
) -> Float32Array:
    """Joints moved or recovered where the frames around see them, [J, 3]."""
    placed = joints_J3.copy()
    around = [other.joints_J3 for other in others]
    middle = _middle(around[0], around[1], config)
    side = float(np.mean([crop_side(each, least_score=config.least_score) for each in around]))
    steps = np.linspace(-config.reach, config.reach, 7, dtype=np.float32) * side
    grid_M2 = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    known = np.minimum(around[0][:, 2], around[1][:, 2]) >= config.least_score
    visible = joints_J3[:, 2] >= config.least_score
    own = np.where(visible[:, None], joints_J3[:, :2], middle[:, :2])
    likely = np.inf
    if (known & visible).any():
        usual = [
            _unlikeness(maps, own[joint : joint + 1], others, joint)[0]
            for joint in np.flatnonzero(known & visible).tolist()
        ]
        likely = float(np.median(usual))
    for joint in np.flatnonzero(known).tolist():
        places_M2 = np.concatenate([own[joint : joint + 1], middle[joint, :2] + grid_M2])
        apart = _unlikeness(maps, places_M2, others, joint)
        costs = apart + config.pull * np.linalg.norm(places_M2 - middle[joint, :2], axis=1) / side
        best = int(costs.argmin())
        moved = costs[best] < costs[0] - config.margin and (visible[joint] or apart[best] <= likely)
        placed[joint, :2] = places_M2[best] if moved else own[joint]
        placed[joint, 2] = max(joints_J3[joint, 2], middle[joint, 2])
    return placed


def _unlikeness(
    maps: tuple[FeatureMap, ...], places_M2: Float32Array, others: Sequence[HumanGraph], joint: int
) -> Float32Array:
    """Mean over the frames around of d() between each place and the joint, [M]."""
    apart = []
    for other in others:
        sides_M = np.full(len(places_M2), other.sides_J[joint], np.float32)
        apart.append(np.abs(describe(maps, places_M2, sides_M) - other.appearance_JC[joint]).sum(axis=1))
    mean: Float32Array = np.mean(apart, axis=0, dtype=np.float32)
    return mean


def _middle(before_J3: Float32Array, after_J3: Float32Array, config: GBSRConfig) -> Float32Array:
    """Places half way between two frames; scores are the lower ones, 0 where one does not see the joint."""
    middle = (before_J3 + after_J3) / 2
    lower = np.minimum(before_J3[:, 2], after_J3[:, 2])
    middle[:, 2] = np.where(lower >= config.least_score, lower, 0)
    return middle.astype(np.float32)
