"""Joints of a frame's people: decoded from its key frame's maps, and moved along the flow.

Only key frames have joint maps. A person of another frame is looked up in the key frame by the flow, whose
place in the key frame is known for each of the person's cells; joints that were found there move back as the
person's cells nearest to them moved.

Shape suffixes: R people, J joints (17), N cells of a person; h, w the joint maps, H, W another map. Places
are in cells of the joint maps from the frame's left and top edge; flow leads from the frame to the key frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from partstream_core.joints import (
    JOINT_OUTPUTS,
    Float32Array,
    JointMaps,
    center_cells,
    decode_joints,
    joints_at,
)
from partstream_server.pipeline.flow_fields import Flow, between_sizes, places
from partstream_server.pipeline.values import Assembly, BoolArray, JointSource

_MOST_CELLS = 400
"""Cells of a person whose motion is looked at; of larger people every second, third, ... is."""
_NEAR = np.float32(2.0)
"""Cells around a joint whose motion counts: the deviation of a Gaussian."""


def joint_maps(outputs: Mapping[str, npt.NDArray[Any]]) -> JointMaps:
    """The joint maps among a backbone's outputs for one frame; they hold on to no other frame's memory."""
    centers_1hw, *others = (_unshared(np.asarray(outputs[name])[0]) for name in JOINT_OUTPUTS)
    return JointMaps(centers_1hw[0], *others)


def _unshared(map_Chw: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The map, copied where it is a slice of something larger, such as the output of a shared run."""
    base = map_Chw.base
    if isinstance(base, np.ndarray) and base.nbytes == map_Chw.nbytes:
        return map_Chw
    return map_Chw.copy()


def with_joints(assembly: Assembly, source: JointSource, *, width: int, height: int) -> Assembly:
    """The same people with their joints, in pixels of the source frame.

    Args:
        assembly: The people of a frame.
        source: What their joints are decoded from.
        width: Of the source frame.
        height: Of the source frame.
    """
    if not assembly.people:
        return assembly
    map_height, map_width = source.maps.centers_hw.shape
    own_Rhw = np.stack([_resized(one.own_hw, map_height, map_width) for one in assembly.people])
    if source.flow_2HW is None:
        joints_RJ3 = decode_joints(source.maps, own_Rhw)
    else:
        joints_RJ3 = carried_joints(source.maps, source.flow_2HW, own_Rhw)
    joints_RJ3 *= np.array([width / map_width, height / map_height, 1], np.float32)
    people = zip(assembly.people, joints_RJ3, strict=True)
    return replace(assembly, people=tuple(replace(one, joints_J3=joints_J3) for one, joints_J3 in people))


def carried_joints(maps: JointMaps, flow_2HW: Flow, own_Rhw: BoolArray) -> Float32Array:
    """The joints of people in a frame that borrows from a key frame: x, y and score, [R, J, 3].

    Args:
        maps: Of the key frame.
        flow_2HW: From the frame to the key frame, in pixels of its own grid, which covers the frame.
        own_Rhw: The cells of each person in the frame; each has one at least.
    """
    height, width = maps.centers_hw.shape
    flow_2hw = between_sizes(np.asarray(flow_2HW, np.float32), height=height, width=width)
    x_hw, y_hw = places(flow_2hw)
    key_centers_hw = np.ascontiguousarray(maps.centers_hw, np.float32)
    # outside of the key frame there is no center
    centers_hw = cv2.remap(key_centers_hw, x_hw, y_hw, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
    row_R, column_R = center_cells(np.asarray(centers_hw, np.float32), own_Rhw).T
    key_cells_R2 = np.stack(
        [
            np.clip(np.rint(y_hw[row_R, column_R]), 0, height - 1),
            np.clip(np.rint(x_hw[row_R, column_R]), 0, width - 1),
        ],
        axis=1,
    ).astype(np.int64)
    joints_RJ3 = joints_at(maps, key_cells_R2)
    for joints_J3, own_hw in zip(joints_RJ3, own_Rhw, strict=True):
        joints_J3[:, :2] -= _motion_at(joints_J3[:, :2], flow_2hw, own_hw)
    return joints_RJ3


def _motion_at(key_places_J2: Float32Array, flow_2hw: Flow, own_hw: BoolArray) -> Float32Array:
    """The flow of a person's cells that came from places in the key frame, (x, y) each, [J, 2].

    It is the mean over the person's cells, weighted by how near to the place they came from; so the motion of
    a joint that is hidden or outside the person's pixels is that of the nearest ones.
    """
    index_N = np.flatnonzero(own_hw)
    index_N = index_N[:: 1 + len(index_N) // _MOST_CELLS]
    row_N, column_N = np.divmod(index_N, own_hw.shape[1])
    flow_2N = flow_2hw.reshape(2, -1)[:, index_N]
    came_from_2N = flow_2N + np.stack([column_N, row_N]).astype(np.float32) + np.float32(0.5)
    squared_JN = np.square(key_places_J2[:, :1] - came_from_2N[0])
    squared_JN += np.square(key_places_J2[:, 1:] - came_from_2N[1])
    squared_JN -= squared_JN.min(axis=1, keepdims=True)
    weight_JN = np.exp(squared_JN * (-0.5 / np.square(_NEAR)))
    motion_J2: Float32Array = weight_JN @ flow_2N.T / weight_JN.sum(axis=1, keepdims=True)
    return motion_J2


def _resized(own_HW: BoolArray, height: int, width: int) -> BoolArray:
    """The cells that a person has any of, on a grid of another size."""
    if own_HW.shape == (height, width):
        return own_HW
    smaller = own_HW.shape[0] >= height and own_HW.shape[1] >= width
    how = cv2.INTER_AREA if smaller else cv2.INTER_NEAREST
    share_hw = cv2.resize(own_HW.astype(np.float32), (width, height), interpolation=how)
    return np.asarray(share_hw > 0, np.bool_)
