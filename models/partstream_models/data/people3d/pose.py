"""Poses: a rotation for every bone, from the directions of the limbs.

A pose is a rotation of each bone against its rest orientation, in the axes of the world (`meshes` names
them). Limbs swing by the smallest rotation from the bone above them; where a knee or an elbow bends, the bone
above is turned about its own axis so that the joint bends the way it can.

Shape suffixes: B bones, V vertices, 3 coordinates, 33 a rotation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]

POINTS: Final = (
    "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "left_toe", "right_toe",
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "chest",
    "neck", "head",
)  # fmt: skip
"""Points that a pose is made from, in metres; `chest` is the base of the neck, `head` the head's centre."""

_FORWARD: Final = np.array([0.0, -1.0, 0.0])
_MAX_TWIST: Final = np.deg2rad(110)


@dataclass(frozen=True, slots=True)
class Rig:
    """The bones of a body model."""

    bones: tuple[str, ...]
    parents: tuple[int, ...]

    def index(self, name: str) -> int:
        """The bone's number."""
        return self.bones.index(name)


def unit(vector: FloatArray) -> FloatArray:
    """The vector at length one."""
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9), np.float64)


def about(axis: FloatArray, angle: float) -> FloatArray:
    """The rotation by an angle about an axis, [3, 3] (Rodrigues)."""
    x, y, z = unit(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)


def swing(start: FloatArray, end: FloatArray) -> FloatArray:
    """The smallest rotation that turns one direction into another, [3, 3]."""
    start, end = unit(start), unit(end)
    axis = np.cross(start, end)
    length = float(np.linalg.norm(axis))
    if length < 1e-6:
        if start @ end > 0:
            return np.eye(3)
        axis, length = np.cross(start, np.array([1.0, 0.3, 0.2])), 0.0
    return about(axis, float(np.arctan2(length, start @ end)))


def frame(side: FloatArray, up: FloatArray) -> FloatArray:
    """The rotation that turns x (the person's left) to `side` and z towards `up`, [3, 3]."""
    x = unit(side)
    z = unit(up - (up @ x) * x)
    return np.stack([x, np.cross(z, x), z], axis=1)


def halfway(first: FloatArray, second: FloatArray, share: float) -> FloatArray:
    """The rotation at a share of the way between two."""
    between = first.T @ second
    angle = float(np.arccos(np.clip((np.trace(between) - 1) / 2, -1, 1)))
    if angle < 1e-6:
        return first
    skew = np.array(
        [between[2, 1] - between[1, 2], between[0, 2] - between[2, 0], between[1, 0] - between[0, 1]]
    )
    if np.linalg.norm(skew) < 1e-9:
        return first if share < 0.5 else second
    return np.asarray(first @ about(skew, angle * share))


def bend_twist(upper: FloatArray, lower: FloatArray, hinge: FloatArray) -> float:
    """The turn of the upper bone about itself that brings its hinge to where the limb bends."""
    wanted = np.cross(upper, lower)
    bend = float(np.arctan2(np.linalg.norm(wanted), upper @ lower))
    share = np.clip((bend - np.deg2rad(12)) / np.deg2rad(35), 0, 1)
    flat = hinge - (hinge @ upper) * upper
    angle = float(np.arctan2(np.cross(flat, wanted) @ upper, flat @ wanted))
    return float(np.clip(angle * share, -_MAX_TWIST, _MAX_TWIST))


class Poser:
    """Turns points of a pose into rotations of a rig's bones."""

    def __init__(self, rig: Rig, rest_heads_B3: Float32Array) -> None:
        self._rig = rig
        self._rest = rest_heads_B3.astype(np.float64)

    def direction(self, start: str, end: str) -> FloatArray:
        """The rest direction from one bone's start to another's."""
        return unit(self._rest[self._rig.index(end)] - self._rest[self._rig.index(start)])

    def rotations(self, points: Mapping[str, FloatArray]) -> FloatArray:
        """The rotation of every bone for points in the world, [B, 3, 3]."""
        hips = points["left_hip"] - points["right_hip"]
        shoulders = points["left_shoulder"] - points["right_shoulder"]
        middle = (points["left_hip"] + points["right_hip"]) / 2
        pelvis = frame(hips, points["chest"] - middle)
        chest = frame(shoulders, points["chest"] - middle)
        found = {"root": pelvis}
        for number, bone in enumerate(("spine05", "spine04", "spine03", "spine02", "spine01")):
            found[bone] = halfway(pelvis, chest, (number + 1) / 5)
        head = swing(chest @ np.array([0.0, -0.15, 1.0]), points["head"] - points["neck"])
        found["neck01"] = halfway(np.eye(3), head, 0.4) @ chest
        found["head"] = head @ chest
        for side, mark in (("left", "L"), ("right", "R")):
            self._arm(found, points, side, mark, chest)
            self._leg(found, points, side, mark, pelvis)
        return self.spread(found)

    def _arm(
        self,
        found: dict[str, FloatArray],
        points: Mapping[str, FloatArray],
        side: str,
        mark: str,
        chest: FloatArray,
    ) -> None:
        upper = unit(points[f"{side}_elbow"] - points[f"{side}_shoulder"])
        lower = unit(points[f"{side}_wrist"] - points[f"{side}_elbow"])
        rest_upper = self.direction(f"upperarm01.{mark}", f"lowerarm01.{mark}")
        rest_lower = self.direction(f"lowerarm01.{mark}", f"wrist.{mark}")
        turned = swing(chest @ rest_upper, upper) @ chest
        hinge = turned @ np.cross(rest_upper, _FORWARD)
        turned = about(upper, bend_twist(upper, lower, hinge)) @ turned
        # the collar bone follows a raised arm
        found[f"clavicle.{mark}"] = halfway(np.eye(3), swing(chest @ rest_upper, upper), 0.18) @ chest
        found[f"upperarm01.{mark}"] = turned
        found[f"lowerarm01.{mark}"] = swing(turned @ rest_lower, lower) @ turned

    def _leg(
        self,
        found: dict[str, FloatArray],
        points: Mapping[str, FloatArray],
        side: str,
        mark: str,
        pelvis: FloatArray,
    ) -> None:
        upper = unit(points[f"{side}_knee"] - points[f"{side}_hip"])
        lower = unit(points[f"{side}_ankle"] - points[f"{side}_knee"])
        rest_upper = self.direction(f"upperleg01.{mark}", f"lowerleg01.{mark}")
        rest_lower = self.direction(f"lowerleg01.{mark}", f"foot.{mark}")
        turned = swing(pelvis @ rest_upper, upper) @ pelvis
        hinge = turned @ np.array([1.0, 0.0, 0.0])
        turned = about(upper, bend_twist(upper, lower, hinge)) @ turned
        shin = swing(turned @ rest_lower, lower) @ turned
        foot = shin
        if f"{side}_toe" in points:
            rest_foot = self.direction(f"foot.{mark}", f"toe1-1.{mark}")
            foot = swing(shin @ rest_foot, points[f"{side}_toe"] - points[f"{side}_ankle"]) @ shin
            foot = halfway(shin, foot, 0.7)
        found[f"upperleg01.{mark}"] = turned
        found[f"lowerleg01.{mark}"] = shin
        found[f"foot.{mark}"] = foot

    def spread(self, found: Mapping[str, FloatArray]) -> FloatArray:
        """All bones' rotations; a bone that is not named turns with its parent."""
        result = np.zeros((len(self._rig.bones), 3, 3))
        for number, (bone, parent) in enumerate(zip(self._rig.bones, self._rig.parents, strict=True)):
            if bone in found:
                result[number] = found[bone]
            else:
                result[number] = result[parent] if parent >= 0 else np.eye(3)
        return result


def bone_transforms(rig: Rig, heads_B3: Float32Array, rotations_B33: FloatArray) -> Float32Array:
    """What moves rest positions of each bone to posed ones, [B, 3, 4]; the root stays in place."""
    heads = heads_B3.astype(np.float64)
    posed = heads.copy()
    for number, parent in enumerate(rig.parents):
        if parent >= 0:
            posed[number] = posed[parent] + rotations_B33[parent] @ (heads[number] - heads[parent])
    moves = posed - np.einsum("bij,bj->bi", rotations_B33, heads)
    return np.concatenate([rotations_B33, moves[:, :, None]], axis=2).astype(np.float32)


def skin(vertices_V3: Float32Array, weights_VB: Float32Array, transforms_B34: Float32Array) -> Float32Array:
    """Posed vertices by linear blend skinning."""
    blended = (weights_VB @ transforms_B34.reshape(len(transforms_B34), 12)).reshape(-1, 3, 4)
    return np.asarray(np.einsum("vij,vj->vi", blended[:, :, :3], vertices_V3) + blended[:, :, 3], np.float32)
