"""Bodies of every age, build and origin at rest: anny's vertices, bones and skinning weights.

Coordinates as in `meshes`. The rest pose stands upright and looks along -y.

Shape suffixes: V vertices of the base mesh, B bones, J joints, 3 coordinates.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from partstream_models.data.people3d.meshes import Surface, read_obj
from partstream_models.data.people3d.optional import optional

Float32Array = npt.NDArray[np.float32]

EXPRESSIONS: Final = (
    "jawOpen", "mouthSmileLeft", "mouthSmileRight", "eyeBlinkLeft", "eyeBlinkRight", "mouthFrownLeft",
    "mouthFrownRight", "browInnerUp",
)  # fmt: skip
COCO_JOINTS: Final = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee",
    "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RestBody:
    """One body at rest."""

    vertices_V3: Float32Array
    heads_B3: Float32Array
    """Where each bone starts."""


class BodyModel:
    """Makes bodies; loads anny once.

    Raises:
        ValueError: anny is not installed.
    """

    def __init__(self) -> None:
        anny = optional("anny")
        model = anny.Anny(
            rig="makehuman", topology="makehuman", phenotypes="all", facial_actions=list(EXPRESSIONS)
        ).to(dtype=torch.float32)
        self._model = model
        self.bones: tuple[str, ...] = tuple(model.bone_labels)
        self.parents: tuple[int, ...] = tuple(model.bone_parents)
        num_vertices = len(model.template_vertices)
        weights = np.zeros((num_vertices, len(self.bones)), np.float32)
        rows = np.arange(num_vertices)[:, None]
        np.add.at(weights, (rows, model.vertex_bone_indices.numpy()), model.vertex_bone_weights.numpy())
        self.weights_VB: Float32Array = weights
        regressor = anny.KeypointsRegressor.coco(model, labels=list(COCO_JOINTS))
        self.joint_weights_JV: Float32Array = regressor.regression_weights.numpy().astype(np.float32)
        root = Path(optional("anny.paths").get_anny_root_dir())
        self.surface: Surface = read_obj(root / "data" / "mpfb2" / "3dobjs" / "base.obj")[1]
        self.template: RestBody = self.make({})

    def make(self, phenotype: dict[str, float], expression: dict[str, float] | None = None) -> RestBody:
        """The body of a phenotype (values 0..1, what is left out is .5; `age` -1/3 newborn to 1 old)."""
        with torch.no_grad():
            output = self._model(phenotype_kwargs=phenotype, facial_actions=expression or {})
        return RestBody(
            output["rest_vertices"][0].numpy().astype(np.float32),
            output["rest_bone_heads"][0].numpy().astype(np.float32),
        )
