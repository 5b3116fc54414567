"""Garments, shoes, hats and hair from the asset folder, with a part for every triangle.

Shape suffixes: V vertices, T triangles.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from partstream_models.data.people3d.body_parts import LABEL
from partstream_models.data.people3d.meshes import (
    Binding,
    BoolArray,
    Float32Array,
    GarmentMesh,
    Int64Array,
    Surface,
    read_json_garment,
    read_mhclo,
)

_DEFAULT_SCALE: Final = ((5399, 11998, 0.142), (962, 5320, 0.192), (791, 881, 0.226))
"""The head's measures for which garments without measures of their own are taken to be made."""

JSON_PARTS: Final = {
    "Asymmetric_Tunic_and_Sash": "upper-clothes", "Coat": "coat", "F_Beach_Dress_01": "dress",
    "F_Dress_01": "dress", "F_Dress_02": "dress", "F_Dress_03": "dress", "F_Dress_04": "dress",
    "F_One-piece_Swimsuit_01": "upper-clothes", "Fishing_Hat_01": "hat", "JeansSkirt": "skirt",
    "ShortJeans": "pants", "Skirt_Full_Long": "skirt", "Sleeveless": "upper-clothes",
    "Tank_Top_01": "upper-clothes", "Tightjeans": "pants", "TubeDress": "dress", "TubeTop": "upper-clothes",
    "VNeckTop": "upper-clothes", "WinterBoots": "shoes", "female_top_01": "upper-clothes",
    "glasses": "sunglasses", "miniskirt": "skirt", "pith_helmet": "hat",
    "short_tail_camo_tee": "upper-clothes", "spaghetti-top": "upper-clothes",
}  # fmt: skip
HAIR: Final = (
    "afro01", "bob01", "bob02", "braid01", "long01", "ponytail01", "short01", "short02", "short03", "short04",
)  # fmt: skip
SHOES: Final = ("shoes01", "shoes02", "shoes03", "shoes04", "shoes05", "shoes06")
SUITS: Final = (
    "female_casualsuit01", "female_casualsuit02", "female_elegantsuit01", "female_sportsuit01",
    "male_casualsuit01", "male_casualsuit02", "male_casualsuit03", "male_casualsuit04", "male_casualsuit05",
    "male_casualsuit06", "male_elegantsuit01", "male_worksuit01",
)  # fmt: skip


_SHOE_TOP: Final = -0.66
"""Height of the template body above which a shoe has only its sock, metres."""
_SHOE_COVERS: Final = -0.735
"""Height below which a shoe hides the foot."""


@dataclass(frozen=True, slots=True)
class Garment:
    """One thing to wear."""

    name: str
    surface: Surface
    binding: Binding
    label_T: Int64Array
    texture: str
    """Path of its picture; empty where it has none."""

    def fitted(self, rest_V3: Float32Array) -> Float32Array:
        """The vertices on a body at rest."""
        binding = self.binding
        scale = np.ones(3, np.float32)
        for axis, (first, second, length) in enumerate(binding.scale_refs):
            scale[axis] = abs(rest_V3[first, axis] - rest_V3[second, axis]) / length
        base = np.einsum("vr,vrk->vk", binding.weights_VR, rest_V3[binding.refs_VR])
        return np.asarray(base + binding.offsets_V3 * scale, np.float32)

    def skin_weights(self, weights_VB: Float32Array) -> Float32Array:
        """The share of each bone in each vertex."""
        shares = np.clip(self.binding.weights_VR, 0, None)
        shares = shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-6)
        return np.asarray(np.einsum("vr,vrb->vb", shares, weights_VB[self.binding.refs_VR]), np.float32)

    def part(self, keep_T: BoolArray, name: str, deleted: BoolArray) -> "Garment":
        """The garment of some of the triangles, with the base vertices that it covers."""
        surface = Surface(
            self.surface.vertex_N,
            self.surface.uv_N2,
            self.surface.triangles_T3[keep_T],
            self.surface.group_T[keep_T],
        )
        binding = Binding(
            self.binding.refs_VR,
            self.binding.weights_VR,
            self.binding.offsets_V3,
            self.binding.scale_refs,
            deleted,
        )
        return Garment(name, surface, binding, self.label_T[keep_T], self.texture)


class Catalogue:
    """Loads garments by name and keeps them.

    Args:
        assets: The folder `people3d` of the data folder.
        template_V3: The template body's vertices.
    """

    def __init__(self, assets: Path, template_V3: Float32Array) -> None:
        if not (assets / "clothes").is_dir():
            raise ValueError(f"no assets of MakeHuman in {assets} (clothes, hair, skins, garments_json)")
        self._assets = assets
        self._template = template_V3
        self._kept: dict[str, Garment] = {}

    def garment(self, name: str) -> Garment:
        """The garment of a name, or a part of one: `suit/top`, `suit/bottom`, `shoes/shoe`, `shoes/sock`."""
        if name not in self._kept:
            self._kept[name] = self._load(name)
        return self._kept[name]

    def _load(self, name: str) -> Garment:
        base, _, half = name.partition("/")
        if half:
            return self._half(base, half)
        if base in JSON_PARTS:
            return self._json(base)
        if base in HAIR:
            folder = self._assets / "hair" / base
            label = LABEL["hair"]
        else:
            folder = self._assets / "clothes" / base.partition("_cocked")[0]
            label = LABEL["hat"]
        mesh = _scaled(read_mhclo(folder / f"{'fedora' if base == 'fedora01' else base}.mhclo"))
        textures = sorted(folder.glob("textures/*_diffuse.png"))
        texture = str(textures[0]) if textures else ""
        labels = np.full(len(mesh.surface.triangles_T3), label, np.int64)
        if base in SHOES:
            labels = self._shoe_labels(mesh, with_socks=True)
        elif base in SUITS:
            labels = self._suit_labels(base, mesh)
        return Garment(base, mesh.surface, mesh.binding, labels, texture)

    def _json(self, name: str) -> Garment:
        folder = self._assets / "garments_json" / name
        mesh = _scaled(read_json_garment(folder / f"{name}.json.gz"))
        pictures = [path for path in sorted(folder.iterdir()) if path.suffix in (".png", ".jpg")]
        diffuse = [path for path in pictures if not path.stem.lower().endswith(("_nrm", "_nrml"))]
        part = JSON_PARTS[name]
        if part == "shoes":
            labels = self._shoe_labels(mesh, with_socks=False)
        else:
            labels = np.full(len(mesh.surface.triangles_T3), LABEL[part], np.int64)
        return Garment(name, mesh.surface, mesh.binding, labels, str(diffuse[0]) if diffuse else "")

    def _centres(self, mesh: GarmentMesh) -> Float32Array:
        garment = Garment("", mesh.surface, mesh.binding, np.zeros(0, np.int64), "")
        corners = garment.fitted(self._template)[mesh.surface.vertex_N]
        return np.asarray(corners[mesh.surface.triangles_T3].mean(axis=1), np.float32)

    def _shoe_labels(self, mesh: GarmentMesh, *, with_socks: bool) -> Int64Array:
        centres = self._centres(mesh)
        labels = np.where(centres[:, 0] > 0, LABEL["left-shoe"], LABEL["right-shoe"]).astype(np.int64)
        if with_socks:  # a tube that reaches higher than the shoe
            component = components(mesh.surface)
            for number in np.unique(component):
                if centres[component == number, 2].max() > _SHOE_TOP:
                    labels[component == number] = LABEL["socks"]
        return labels

    def _suit_labels(self, name: str, mesh: GarmentMesh) -> Int64Array:
        centres = self._centres(mesh)
        component = components(mesh.surface)
        labels = np.full(len(centres), LABEL["upper-clothes"], np.int64)
        bottom = LABEL["skirt"] if name == "female_elegantsuit01" else LABEL["pants"]
        for number in np.unique(component):
            members = component == number
            low, high = centres[members, 2].min(), centres[members, 2].max()
            if high < 0.2 or (name == "male_worksuit01" and low < 0.13):
                labels[members] = bottom
            elif name == "male_elegantsuit01" or (
                name == "male_casualsuit05" and (low < 0.0 or (members.sum() < 700 and high > 0.595))
            ):
                labels[members] = LABEL["coat"]
            elif name == "male_casualsuit01":
                labels[members] = np.where(centres[members, 2] < 0.125, bottom, LABEL["upper-clothes"])
        return labels

    def _half(self, base: str, half: str) -> Garment:
        whole = self.garment(base)
        if half in ("shoe", "sock"):
            is_sock = whole.label_T == LABEL["socks"]
            inside = self._template[:, 2] < _SHOE_COVERS
            covers = whole.binding.deleted & (inside if half == "shoe" else ~inside)
            return whole.part(is_sock if half == "sock" else ~is_sock, f"{base}/{half}", covers)
        lower = np.isin(whole.label_T, (LABEL["pants"], LABEL["skirt"]))
        below = self._template[:, 2] < 0.12
        keep, covers = (lower, below) if half == "bottom" else (~lower, ~below)
        if not keep.any():
            raise ValueError(f"the suit {base} has no {half}")
        return whole.part(keep, f"{base}/{half}", whole.binding.deleted & covers)


def _scaled(mesh: GarmentMesh) -> GarmentMesh:
    if mesh.binding.scale_refs:
        return mesh
    binding = mesh.binding
    return GarmentMesh(
        mesh.surface,
        Binding(binding.refs_VR, binding.weights_VR, binding.offsets_V3, _DEFAULT_SCALE, binding.deleted),
    )


def components(surface: Surface) -> Int64Array:
    """A number for each triangle: the same where triangles hang together by vertices, [T]."""
    triangles = surface.vertex_N[surface.triangles_T3]
    parent = np.arange(int(surface.vertex_N.max()) + 1)
    find = _finder(parent)
    for first, second, third in triangles.tolist():
        root = find(first)
        parent[find(second)] = root
        parent[find(third)] = root
    return np.array([find(vertex) for vertex in triangles[:, 0].tolist()], np.int64)


def _finder(parent: Int64Array) -> Callable[[int], int]:
    def find(vertex: int) -> int:
        while parent[vertex] != vertex:
            parent[vertex] = parent[parent[vertex]]
            vertex = int(parent[vertex])
        return vertex

    return find
