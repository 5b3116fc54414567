"""A dressed person: all vertices, their bones, and the pieces that are drawn.

Shape suffixes: V vertices, B bones, T triangles, N corners, 3 coordinates.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from partstream_models.data.people3d.body import BodyModel, RestBody
from partstream_models.data.people3d.body_parts import LABEL, Fields, measure, skin_labels
from partstream_models.data.people3d.characters import Looks
from partstream_models.data.people3d.garments import Garment
from partstream_models.data.people3d.meshes import NUM_BASE_VERTICES, BoolArray, Float32Array, Int64Array
from partstream_models.data.people3d.pose import Rig, bone_transforms
from partstream_models.data.people3d.scene import (
    KIND_EYE,
    KIND_PLAIN,
    KIND_SKIN,
    Material,
    Piece,
    Vertices,
    make_piece,
)
from partstream_models.data.people3d.shells import Shell, Tailor

_POSED: Final = (
    "root", "spine05", "spine04", "spine03", "spine02", "spine01", "neck01", "head",
    *(
        f"{bone}.{mark}"
        for mark in "LR"
        for bone in (
            "clavicle", "upperarm01", "lowerarm01", "wrist", "upperleg01", "lowerleg01", "foot",
            *(f"finger{finger}-{joint}" for finger in (1, 2, 3, 4, 5) for joint in (1, 2, 3)),
        )
    ),
)  # fmt: skip
"""Bones that poses turn; all others move with the nearest of these above them."""


_COVERED: Final = 0.02
"""How far inside of a shell's hem the body is no longer drawn, metres."""


@dataclass(frozen=True, slots=True)
class Worn:
    """A garment or a shell in a material."""

    item: Garment | Shell
    material: Material
    inflate: float = 0.0
    """Metres by which a garment is pushed out, over what is worn below."""


@dataclass(frozen=True, slots=True)
class Person:
    """One body in its clothes at rest."""

    body: RestBody
    rest: Vertices
    weights_VB: Float32Array
    """Over `Studio.posed`."""
    pieces: tuple[Piece, ...]


class Studio:
    """Dresses bodies and poses them.

    Args:
        model: The body model.
    """

    def __init__(self, model: BodyModel) -> None:
        self.rig = Rig(model.bones, model.parents)
        self.model = model
        self.fields: Fields = measure(model)
        self.tailor = Tailor(self.fields, model.surface)
        self.posed = np.array([self.rig.index(bone) for bone in _POSED])
        merge = np.zeros((len(model.bones), len(_POSED)), np.float32)
        for number in range(len(model.bones)):
            above = number
            while above not in self.posed:
                above = model.parents[above]
            merge[number, int(np.flatnonzero(self.posed == above)[0])] = 1
        self._weights = model.weights_VB @ merge
        surface = model.surface
        in_body = surface.group_T == "body"
        self._body_corners: Int64Array = surface.triangles_T3[in_body]
        self._body_faces: Int64Array = surface.vertex_N[self._body_corners]
        self._body_labels = skin_labels(self.fields, self._body_faces)
        eyes = np.isin(surface.group_T, ("helper-l-eye", "helper-r-eye"))
        self._eye_faces: Int64Array = surface.vertex_N[surface.triangles_T3[eyes]]
        # normals of the shells' groups follow their own faces: the body suit touches the body
        self._normal_faces = surface.vertex_N[
            surface.triangles_T3[
                np.isin(
                    surface.group_T, ("body", "helper-tights", "helper-skirt", "helper-l-eye", "helper-r-eye")
                )
            ]
        ]

    def dress(self, body: RestBody, looks: Looks, worn: Sequence[Worn]) -> Person:
        """A person who wears things, in order from inside to outside."""
        normals = vertex_normals(body.vertices_V3, self._normal_faces)
        positions, all_normals, weights = [body.vertices_V3], [normals], [self._weights]
        pieces: list[Piece] = []
        start = len(body.vertices_V3)
        for one, hidden in zip(worn, _hidden_below(worn), strict=True):
            if isinstance(one.item, Shell):
                vertices = _shell_vertices(one.item, body, normals)
                own_weights = self._weights
                own_normals = vertex_normals(vertices, one.item.triangles_T3)
                cut = np.where(hidden, -1, one.item.cut_V).astype(np.float32)
                faces, labels = one.item.triangles_T3, one.item.label_T
                piece = make_piece(one.material, faces, labels, cut_V=cut, start=start)
            else:
                vertices = one.item.fitted(body.vertices_V3)
                own_weights = one.item.skin_weights(self._weights)
                faces = one.item.surface.vertex_N[one.item.surface.triangles_T3]
                own_normals = vertex_normals(vertices, faces)
                vertices = vertices + own_normals * np.float32(one.inflate)
                piece = _garment_piece(one.item, one.material, start, hidden)
            positions.append(vertices)
            all_normals.append(own_normals)
            weights.append(own_weights)
            pieces.append(piece)
            start += len(vertices)
        rest = Vertices(np.concatenate(positions), np.concatenate(all_normals))
        for one, piece in zip(worn, tuple(pieces), strict=True):
            if piece.label_N[0] == LABEL["hat"]:
                pieces = _hair_below_hat(pieces, piece, rest.positions_V3, is_cap=isinstance(one.item, Shell))
        hidden = np.logical_or.reduce([covered_by(one.item) for one in worn] or [np.zeros(start, bool)])
        bare = self._bare(looks, hidden)
        return Person(body, rest, np.concatenate(weights), (*bare, *pieces))

    def _bare(self, looks: Looks, hidden: BoolArray) -> list[Piece]:
        shown = ~hidden[self._body_faces].all(axis=1)
        labels = self._body_labels.copy()
        scalp = labels == LABEL["hair"]
        skin = Material(KIND_SKIN, looks.skin_texture, looks.skin_tint, gloss=0.16)
        if looks.scalp is None and not looks.is_shaved:
            labels[scalp] = LABEL["face"]
        covered = scalp & shown if looks.scalp is not None else np.zeros(len(labels), bool)
        pieces = [self._body_piece(skin, shown & ~covered, labels)]
        if covered.any() and looks.scalp is not None:
            pieces.append(
                self._body_piece(Material(KIND_PLAIN, tint=looks.scalp, gloss=0.05), covered, labels)
            )
        eye = Material(KIND_EYE, tint=looks.iris, gloss=0.5)
        face = np.full(len(self._eye_faces), LABEL["face"])
        pieces.append(make_piece(eye, self._eye_faces, face))
        return pieces

    def _body_piece(self, material: Material, keep_T: BoolArray, labels_T: npt.NDArray[np.uint8]) -> Piece:
        return make_piece(
            material,
            self._body_faces[keep_T],
            labels_T[keep_T].astype(np.int64),
            corner_T3=self._body_corners[keep_T],
            uv_N2=self.model.surface.uv_N2,
        )

    def pose(self, person: Person, rotations_B33: npt.NDArray[np.float64]) -> Vertices:
        """The person's vertices in a pose."""
        transforms = bone_transforms(self.rig, person.body.heads_B3, rotations_B33)[self.posed]
        blended = (person.weights_VB @ transforms.reshape(len(transforms), 12)).reshape(-1, 3, 4)
        turns = blended[:, :, :3]
        positions = np.einsum("vij,vj->vi", turns, person.rest.positions_V3) + blended[:, :, 3]
        normals = np.einsum("vij,vj->vi", turns, person.rest.normals_V3)
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6)
        return Vertices(positions.astype(np.float32), normals.astype(np.float32))

    def joints(self, posed: Vertices) -> Float32Array:
        """The 17 COCO joints in the world, [17, 3]."""
        base = posed.positions_V3[: self.model.joint_weights_JV.shape[1]]
        return np.asarray(self.model.joint_weights_JV @ base, np.float32)


def _hair_below_hat(pieces: list[Piece], hat: Piece, rest_V3: Float32Array, *, is_cap: bool) -> list[Piece]:
    """The pieces with hair cut away where a hat holds it: above the brim, or above a cap's slanting edge."""
    up = np.array([0.0, 0.62, 0.78], np.float32) if is_cap else np.array([0.0, 0.0, 1.0], np.float32)
    height_V = rest_V3 @ up
    limit = height_V[hat.vertex_N[hat.cut_N >= 0]].min() + (0.012 if is_cap else 0.022)
    return [
        replace(piece, cut_N=(limit - height_V[piece.vertex_N]).astype(np.float32))
        if piece.label_N[0] == LABEL["hair"]
        else piece
        for piece in pieces
    ]


def covered_by(item: Garment | Shell) -> BoolArray:
    """The base vertices that a thing hides."""
    if isinstance(item, Garment):
        return item.binding.deleted
    return item.cut_V > _COVERED if item.is_tight else np.zeros(len(item.cut_V), bool)


def _hidden_below(worn: Sequence[Worn]) -> list[BoolArray]:
    """For each thing the base vertices that what is worn over it hides; hair is never hidden."""
    above = np.zeros(NUM_BASE_VERTICES, bool)
    result = []
    for one in reversed(worn):
        is_hair = isinstance(one.item, Garment) and one.item.label_T[0] == LABEL["hair"]
        result.append(np.zeros_like(above) if is_hair else above.copy())
        above |= covered_by(one.item)
    return result[::-1]


def _shell_vertices(shell: Shell, body: RestBody, normals_V3: Float32Array) -> Float32Array:
    vertices = body.vertices_V3 + normals_V3 * shell.offset_V[:, None]
    if shell.spread_V2 is not None:
        axis = vertices[np.unique(shell.triangles_T3), :2].mean(axis=0)
        vertices[:, :2] = axis + (vertices[:, :2] - axis) * shell.spread_V2
    return np.asarray(vertices, np.float32)


def _garment_piece(garment: Garment, material: Material, start: int, hidden: BoolArray) -> Piece:
    surface = garment.surface
    return make_piece(
        material,
        surface.vertex_N[surface.triangles_T3],
        garment.label_T,
        corner_T3=surface.triangles_T3,
        uv_N2=surface.uv_N2,
        cut_V=np.where(hidden[garment.binding.refs_VR].all(axis=1), -1, 1).astype(np.float32),
        start=start,
    )


def vertex_normals(vertices_V3: Float32Array, triangles_T3: Int64Array) -> Float32Array:
    """Normals averaged over the faces about each vertex."""
    corners = vertices_V3[triangles_T3]
    faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    index = triangles_T3.ravel()
    sums = [np.bincount(index, np.repeat(faces[:, axis], 3), len(vertices_V3)) for axis in range(3)]
    normals = np.stack(sums, axis=1)
    return np.asarray(normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12), np.float32)
