"""Graphs of people, one node a joint, and the distance between two of them.

Shape suffixes: J joints (17, COCO order), K joints of the other graph, C values of a descriptor, M joints
that are described, G cells of a crop, H height, W width; a last 2 is (x, y).

Source: "A Self-Supervised Framework for Human Instance Segmentation", section 3.2, Eqs. 1-3. The published
text differs between the equations and what they say, and we read it so:
- Eq. 3 writes d() of one difference, Eq. 2 of two arguments: both are the 1-norm of the difference;
- "f(l_n)" after Eq. 2 is f(l_m) of Eq. 2: the crop around joint m on the feature maps and on the picture;
- the neck is no joint of COCO's: it is the middle of the shoulders.

A 1-norm grows with the number of channels, so each map's crop is divided by its channels: the picture and
its features then weigh the same. Neither is divided by the crop's 25 places, which makes appearance weigh as
much as structure: crops that differ by a tenth everywhere are 2.5 apart, a missing connection costs 2.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from partstream_core.joints import NUM_JOINTS, SKELETON

Float32Array = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]

ALPHA: Final = 0.5
"""Weight of the structure in Eq. 1."""
_CROP_CELLS = 5
_NOSE, _SHOULDERS = 0, (5, 6)
_SMALLEST_SIDE = 6.0


@dataclass(frozen=True, slots=True, eq=False)
class FeatureMap:
    """One map of a picture that appearance is read from."""

    values_HWC: Float32Array
    """At most 512 channels."""
    stride: float
    """Pixels of the picture between two cells; the first cell is on pixel 0."""


@dataclass(frozen=True, slots=True, eq=False)
class HumanGraph:
    """One person in one frame: joints, their appearance and their connections."""

    joints_J3: Float32Array
    """x, y in pixels, and score, 0..1."""
    appearance_JC: Float32Array
    connections_JJ: Float32Array
    """1 where two visible joints are connected (Fig. 4)."""
    sides_J: Float32Array
    """Side of each joint's box, in pixels."""


def skeleton_connections(visible_J: npt.NDArray[np.bool_]) -> Float32Array:
    """C of Eq. 3, [J, J]: 1 where the skeleton connects two joints that are both visible."""
    connected = np.zeros((NUM_JOINTS, NUM_JOINTS), np.float32)
    for first, second in SKELETON:
        if visible_J[first] and visible_J[second]:
            connected[first, second] = connected[second, first] = 1
    return connected


def crop_side(joints_J3: Float32Array, *, least_score: float) -> float:
    """Side of the box around a joint, in pixels: twice the distance between neck and nose.

    Where nose or shoulders are not visible it is a quarter of the longer side of the visible joints' box,
    which is about the same on a standing person of whom most joints are visible.
    """
    visible_J = joints_J3[:, 2] >= least_score
    if visible_J[[_NOSE, *_SHOULDERS]].all():
        neck_2 = joints_J3[list(_SHOULDERS), :2].mean(axis=0)
        return max(2 * float(np.linalg.norm(neck_2 - joints_J3[_NOSE, :2])), _SMALLEST_SIDE)
    if not visible_J.any():
        return _SMALLEST_SIDE
    extent = np.ptp(joints_J3[visible_J, :2], axis=0)
    return max(float(extent.max()) / 4, _SMALLEST_SIDE)


def describe(maps: tuple[FeatureMap, ...], places_M2: Float32Array, sides_M: Float32Array) -> Float32Array:
    """Appearance around each place, [M, C]: its crop on every map, read at 5x5 places.

    Beyond the border a map goes on with its last value.

    Args:
        maps: Maps of the picture, low level to high level.
        places_M2: In pixels of the picture.
        sides_M: Side of each box, in pixels of the picture.
    """
    steps = (np.arange(_CROP_CELLS, dtype=np.float32) + 0.5) / _CROP_CELLS - 0.5
    x_G, y_G = (axis.ravel() for axis in np.meshgrid(steps, steps))
    rows = []
    for each in maps:
        x_MG = (places_M2[:, :1] + sides_M[:, None] * x_G) / each.stride
        y_MG = (places_M2[:, 1:] + sides_M[:, None] * y_G) / each.stride
        values = _sample(each.values_HWC, x_MG.astype(np.float32), y_MG.astype(np.float32))
        rows.append(values.reshape(len(places_M2), -1) / values.shape[2])
    return np.concatenate(rows, axis=1).astype(np.float32)


def _sample(values_HWC: Float32Array, x_MG: Float32Array, y_MG: Float32Array) -> Float32Array:
    if not len(x_MG):
        return np.zeros((*x_MG.shape, values_HWC.shape[2]), np.float32)
    channels = [
        cv2.remap(
            np.ascontiguousarray(values_HWC[..., start : start + 4]),
            x_MG,
            y_MG,
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        ).reshape(*x_MG.shape, -1)
        for start in range(0, values_HWC.shape[2], 4)
    ]
    return np.concatenate(channels, axis=2).astype(np.float32)


def build_graph(
    joints_J3: Float32Array,
    maps: tuple[FeatureMap, ...],
    *,
    least_score: float,
    visibility_J: Float32Array | None = None,
) -> HumanGraph:
    """The graph of a person in a frame.

    Args:
        joints_J3: x, y in pixels, and score.
        maps: The frame's maps.
        least_score: Joints below it are not visible and have no connections.
        visibility_J: Scores of the first matching; a box shrinks to half as its joint's falls to 0.

    Raises:
        ValueError: There are not 17 joints.
    """
    if joints_J3.shape != (NUM_JOINTS, 3):
        raise ValueError(f"expected {NUM_JOINTS} joints of x, y and score, got {joints_J3.shape}")
    sides = np.full(NUM_JOINTS, crop_side(joints_J3, least_score=least_score), np.float32)
    if visibility_J is not None:
        sides *= 0.5 + 0.5 * np.clip(visibility_J, 0, 1)
    return HumanGraph(
        joints_J3,
        describe(maps, joints_J3[:, :2], sides),
        skeleton_connections(joints_J3[:, 2] >= least_score),
        sides,
    )


def appearance_costs(graph: HumanGraph, other: HumanGraph) -> FloatArray:
    """d(f_i(l_m), f_i+1(l_o)) of Eq. 2 for all pairs of joints, [J, K]."""
    difference = graph.appearance_JC[:, None].astype(np.float64) - other.appearance_JC[None]
    costs: FloatArray = np.abs(difference).sum(axis=2)
    return costs


def structure_costs(connections_JJ: Float32Array, other_KK: Float32Array, v_JK: FloatArray) -> FloatArray:
    """The inner sum of Eq. 3 for all pairs (m, o), [J, K]: v_n,p |C_i(m, n) - C_i+1(o, p)| over n and p.

    As C is 0 or 1, |a - b| is a + b - 2ab, so the sum is three matrix products.
    """
    first, second = connections_JJ.astype(np.float64), other_KK.astype(np.float64)
    costs: FloatArray = (
        (first @ v_JK.sum(axis=1))[:, None] + (second @ v_JK.sum(axis=0))[None] - 2 * first @ v_JK @ second.T
    )
    return costs


def graph_distance(graph: HumanGraph, other: HumanGraph, v_JK: FloatArray, *, alpha: float = ALPHA) -> float:
    """D of Eq. 1: (1 - alpha) L_1 (Eq. 2) + alpha L_2 (Eq. 3).

    Args:
        graph: The person in one frame.
        other: The person in the next frame.
        v_JK: Visibility scores v_m,o of pairs of joints, 0..1.
        alpha: Weight of the structure.

    Raises:
        ValueError: A score is outside 0..1.
    """
    if v_JK.min(initial=0) < 0 or v_JK.max(initial=0) > 1:
        raise ValueError(f"visibility scores are in 0..1, got {v_JK.min()} to {v_JK.max()}")
    appearance = float((v_JK * appearance_costs(graph, other)).sum())
    structure = float((v_JK * structure_costs(graph.connections_JJ, other.connections_JJ, v_JK)).sum())
    return (1 - alpha) * appearance + alpha * structure
