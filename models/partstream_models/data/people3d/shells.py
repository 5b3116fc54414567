"""Garments made from the body's own surface: regions of it, pushed out along the normals and cut.

The base mesh holds a smooth body suit (`helper-tights`) and a skirt (`helper-skirt`) beside the body; a
shell is some of their faces with an offset and a cut: a number on every vertex, interpolated over the faces,
that is negative where the cloth ends. So hems are straight whatever the mesh, and the labels are exact.

Heights are on the template body in metres: crotch -.05, waist .16, base of the neck .55.

Shape suffixes: V vertices of the base mesh, T triangles.
"""

from dataclasses import dataclass

import numpy as np

from partstream_models.data.people3d.body_parts import LABEL, Fields
from partstream_models.data.people3d.meshes import BoolArray, Float32Array, Int64Array, Surface


@dataclass(frozen=True, slots=True)
class Shell:
    """Cloth over some faces of the base mesh."""

    name: str
    triangles_T3: Int64Array
    """Vertices of the base mesh."""
    label_T: Int64Array
    offset_V: Float32Array
    """Metres along the normal."""
    cut_V: Float32Array
    spread_V2: Float32Array | None = None
    """Factors on x and y about the body's axis (a flared skirt)."""
    is_tight: bool = True
    """The body below it needs no drawing."""


@dataclass(frozen=True, slots=True)
class Tailor:
    """Cuts shells from a base mesh."""

    fields: Fields
    surface: Surface

    def _faces(self, group: str) -> Int64Array:
        chosen = self.surface.triangles_T3[self.surface.group_T == group]
        return np.asarray(self.surface.vertex_N[chosen], np.int64)

    def _shell(
        self,
        name: str,
        group: str,
        part: str,
        offset: float,
        cut: Float32Array,
        spread: Float32Array | None = None,
    ) -> Shell:
        faces = self._faces(group)
        faces = faces[(cut[faces] >= 0).any(axis=1)]
        labels = np.full(len(faces), LABEL[part], np.int64)
        offsets = np.full(len(cut), offset, np.float32)
        return Shell(
            name, faces, labels, offsets, cut.astype(np.float32), spread, is_tight=group != "helper-skirt"
        )

    @property
    def _z(self) -> Float32Array:
        return self.fields.position_V3[:, 2]

    def _is_arm(self) -> BoolArray:
        return (self.fields.arm_weight_V > 0.4) & (self.fields.arm_V > 0.0)

    def _arm(self) -> Float32Array:
        """The place along the arm; less where the trunk's bones take over, so that sleeves end on the arm."""
        f = self.fields
        shifted: Float32Array = f.arm_V - 0.7 * np.clip(0.5 - f.arm_weight_V, 0, 1)
        return shifted.astype(np.float32)

    def _no_arm(self, cut: Float32Array, value: float) -> Float32Array:
        return np.where(self._is_arm(), value, cut).astype(np.float32)

    def top(
        self, *, hem: float, sleeve: float, neck: float, width: float, offset: float = 0.006,
        part: str = "upper-clothes", opening: float = -1.0,
    ) -> Shell:  # fmt: skip
        """A shirt down to `hem`; sleeves to a place on the arm (1 elbow, 2 wrist); open in front if asked."""
        f = self.fields
        body = self._no_arm(self._z - hem, 1.0)
        arm = (sleeve - self._arm()) * 0.3
        front = f.position_V3[:, 1] < -0.02
        # the neckline is as deep as `neck` in front, shallower behind, `width` wide on the shoulders
        depth = neck - self._z + 0.05 * np.clip((f.position_V3[:, 1] + 0.07) / 0.08, 0, 1)
        collar = np.maximum(depth, np.hypot(f.position_V3[:, 0], f.position_V3[:, 1]) - width)
        cut = np.where(f.head_weight_V > 0.02, -1.0, np.minimum(np.minimum(body, arm), collar))
        if opening >= 0:
            gap = np.abs(f.position_V3[:, 0]) - opening - 0.10 * np.clip(self._z - 0.30, 0, None)
            cut = np.where(front & ~self._is_arm(), np.minimum(cut, gap), cut)
        return self._shell("top", "helper-tights", part, offset, cut.astype(np.float32))

    def pants(self, *, waist: float, length: float, offset: float = 0.006, part: str = "pants") -> Shell:
        """Trousers to a length along the leg (0 hip, 1 knee, 2 ankle)."""
        leg = np.where(self._z < 0.0, (length - self.fields.leg_V) * 0.45, 1.0)
        cut = self._no_arm(np.minimum(waist - self._z, leg), -1.0)
        cut = np.where(self._z > 0.35, -1.0, cut)
        return self._shell("pants", "helper-tights", part, offset, cut.astype(np.float32))

    def socks(self, *, top: float) -> Shell:
        """Socks or stockings up to a place on the leg."""
        cut = self._no_arm((self.fields.leg_V - top) * 0.45, -1.0)
        cut = np.where(self._z > 0.2, -1.0, cut)
        return self._shell("socks", "helper-tights", "socks", 0.002, cut.astype(np.float32))

    def skirt(
        self, *, waist: float, hem: float, flare: float, folds: float, num_folds: int, part: str = "skirt",
        offset: float = 0.006, opening: float = -1.0,
    ) -> Shell:  # fmt: skip
        """A skirt from `waist` down to `hem`, wider below by `flare` a metre."""
        position = self.fields.position_V3
        down = np.clip(0.16 - self._z, 0, None)
        angle = np.arctan2(position[:, 1], position[:, 0])
        wave = folds * np.sin(num_folds * angle) * np.clip(down / 0.3, 0, 1)
        spread = np.repeat((1 + flare * down + wave)[:, None], 2, axis=1).astype(np.float32)
        cut = np.minimum(waist - self._z, self._z - hem)
        if opening >= 0:
            cut = np.where(position[:, 1] < 0, np.minimum(cut, np.abs(position[:, 0]) - opening), cut)
        return self._shell("skirt", "helper-skirt", part, offset, cut.astype(np.float32), spread)

    def gloves(self, *, start: float) -> Shell:
        """Gloves from a place on the arm (1 elbow, 2 wrist) to the finger tips."""
        f = self.fields
        cut = np.where(self._is_arm(), (f.arm_V - start) * 0.3, -1.0)
        return self._shell("gloves", "body", "gloves", 0.003, cut.astype(np.float32))

    def cap(self, *, height: float, offset: float) -> Shell:
        """A knitted cap over the scalp; `height` above 0 leaves more of the head free."""
        cut = np.where(self.fields.scalp_V > -0.9, self.fields.scalp_V - height, -1.0)
        return self._shell("cap", "body", "hat", offset, cut.astype(np.float32))

    def scarf(self, *, top: float, bottom: float, offset: float, tail: float, tail_at: float) -> Shell:
        """A scarf: a ring about the neck, and an end that hangs down the chest to `tail`."""
        position = self.fields.position_V3
        x, y, z = position.T
        radius = np.hypot(x, (y + 0.0) * 0.8)
        ring = np.minimum(np.minimum(z - bottom, top - z), 0.13 - radius)
        end = np.minimum(np.minimum(0.035 - np.abs(x - tail_at), z - tail), np.minimum(0.52 - z, -y - 0.02))
        cut = self._no_arm(np.maximum(ring, end), -1.0)
        shell = self._shell("scarf", "body", "scarf", offset, cut)
        thick = offset * (0.35 + 0.65 * np.clip((z - 0.50) / 0.05, 0, 1))
        return Shell(
            "scarf", shell.triangles_T3, shell.label_T, thick.astype(np.float32), cut, is_tight=False
        )
