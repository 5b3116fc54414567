"""Part labels of the body's surface, and the position of each vertex along its limb.

Fields are measured once on the template body, so that the same vertex is the same place on every body.

Shape suffixes: V vertices of the base mesh, T triangles.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from partstream_core.labels import PARTS
from partstream_models.data.people3d.body import BodyModel
from partstream_models.data.people3d.meshes import Float32Array, Int64Array

BoolArray = npt.NDArray[np.bool_]

LABEL: Final = {name: number for number, name in enumerate(PARTS)}
_HEAD_CENTRE_TO_EYES: Final = np.array([0.0, 0.075, 0.015])


@dataclass(frozen=True, slots=True)
class Fields:
    """Places on the template body."""

    position_V3: Float32Array
    side_V: Float32Array
    """1 on the person's left, -1 on the right."""
    arm_V: Float32Array
    """0 shoulder, 1 elbow, 2 wrist, above on the hand; below 0 on the body."""
    arm_weight_V: Float32Array
    """Share of arm and hand bones."""
    leg_V: Float32Array
    """0 hip, 1 knee, 2 ankle, above on the foot."""
    leg_weight_V: Float32Array
    head_weight_V: Float32Array
    scalp_V: Float32Array
    """Positive where hair grows."""


def measure(model: BodyModel) -> Fields:
    """The fields of a model's template."""
    position = model.template.vertices_V3
    bones = model.bones
    heads = {bone: model.template.heads_B3[number] for number, bone in enumerate(bones)}
    below = {"head": _subtree(model, "head")}
    arms = _subtree(model, "upperarm01.L") | _subtree(model, "upperarm01.R")
    legs = _subtree(model, "upperleg01.L") | _subtree(model, "upperleg01.R")
    share = {
        name: model.weights_VB[:, sorted(members)].sum(axis=1)
        for name, members in (
            ("arm", arms),
            ("leg", legs),
            ("head", below["head"]),
        )
    }
    left = position * np.array([1, 1, 1], np.float32)
    left[:, 0] = np.abs(left[:, 0])
    arm = _along(left, heads["upperarm01.L"], heads["lowerarm01.L"], heads["wrist.L"])
    leg = _along(left, heads["upperleg01.L"], heads["lowerleg01.L"], heads["foot.L"])
    eyes = (heads["eye.L"] + heads["eye.R"]) / 2
    outward = position - (eyes + _HEAD_CENTRE_TO_EYES)
    outward = outward / np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-6)
    scalp = outward @ np.array([0.0, 0.62, 0.78], np.float32) - 0.12
    side = np.sign(position[:, 0]).astype(np.float32)
    return Fields(
        position, side, arm, share["arm"], leg, share["leg"], share["head"],
        np.where(share["head"] > 0.5, scalp, -1).astype(np.float32),
    )  # fmt: skip


def _subtree(model: BodyModel, root: str) -> set[int]:
    members = {model.bones.index(root)}
    for number, parent in enumerate(model.parents):
        if parent in members:
            members.add(number)
    return members


def _along(points_V3: Float32Array, *chain: Float32Array) -> Float32Array:
    total = np.zeros(len(points_V3), np.float32)
    for number, (start, end) in enumerate(pairwise(chain)):
        step = end - start
        share = (points_V3 - start) @ step / float(step @ step)
        low = -1.0 if number == 0 else 0.0
        high = 1.0 if number < len(chain) - 2 else 3.0
        total += np.clip(share, low, high).astype(np.float32)
    return total


def skin_labels(fields: Fields, triangles_T3: Int64Array) -> npt.NDArray[np.uint8]:
    """The part of each triangle of the bare body, [T]; the scalp is `hair`."""

    def mean(values: Float32Array) -> Float32Array:
        return np.asarray(values[triangles_T3].mean(axis=1), np.float32)

    side = mean(fields.side_V)
    labels = np.full(len(triangles_T3), LABEL["torso-skin"], np.uint8)
    arm = (mean(fields.arm_weight_V) > 0.5) & (mean(fields.arm_V) > 0.0)
    leg = mean(fields.leg_weight_V) > 0.5
    labels[arm & (side > 0)] = LABEL["left-arm"]
    labels[arm & (side <= 0)] = LABEL["right-arm"]
    labels[leg & (side > 0)] = LABEL["left-leg"]
    labels[leg & (side <= 0)] = LABEL["right-leg"]
    head = mean(fields.head_weight_V) > 0.5
    labels[head] = LABEL["face"]
    labels[head & (mean(fields.scalp_V) > 0)] = LABEL["hair"]
    return labels
