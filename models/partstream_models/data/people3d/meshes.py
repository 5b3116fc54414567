"""Meshes as their files hold them: Wavefront OBJ, MakeHuman's .mhclo bindings and JSON garments.

A garment's vertex is bound to three vertices of MakeHuman's base mesh (hm08): weights and an offset, so that
garments follow the shape and the pose of a body. Coordinates are metres, x to the person's left, y to the
back, z up (MakeHuman itself uses decimetres, y up, z to the front).

Shape suffixes: V vertices, R three vertices of the base mesh, N corners (pairs of a vertex and its texture
coordinate), T triangles, 2 and 3 coordinates.
"""

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

NUM_BASE_VERTICES: Final = 19158
_DECIMETRE: Final = 0.1


@dataclass(frozen=True, slots=True)
class Surface:
    """Triangles over corners."""

    vertex_N: Int64Array
    """The vertex of each corner."""
    uv_N2: Float32Array
    triangles_T3: Int64Array
    """Three corners each."""
    group_T: npt.NDArray[np.str_]
    """The name of the OBJ group that the triangle is in; empty where the file has none."""


@dataclass(frozen=True, slots=True)
class Binding:
    """How the vertices of a garment hang on the base mesh."""

    refs_VR: Int64Array
    weights_VR: Float32Array
    offsets_V3: Float32Array
    """Metres on a body whose measures are `scale_refs`' lengths."""
    scale_refs: tuple[tuple[int, int, float], ...]
    """For x, y, z: two base vertices and their distance along the axis in metres; empty for no scaling."""
    deleted: BoolArray
    """Base vertices that the garment covers, [NUM_BASE_VERTICES]."""


@dataclass(frozen=True, slots=True)
class GarmentMesh:
    """One asset: a surface with its binding."""

    surface: Surface
    binding: Binding


def z_up(vectors: Float32Array) -> Float32Array:
    """MakeHuman's axes to ours."""
    return np.stack([vectors[..., 0], -vectors[..., 2], vectors[..., 1]], axis=-1)


def make_surface(
    faces: list[list[tuple[int, int]]], uvs: Float32Array, groups: list[str] | None = None
) -> Surface:
    """A surface of polygons whose corners are (vertex, texture coordinate); -1 for no coordinate."""
    corner_of: dict[tuple[int, int], int] = {}
    triangles, names = [], []
    for number, face in enumerate(faces):
        corners = [corner_of.setdefault(corner, len(corner_of)) for corner in face]
        for second in range(1, len(corners) - 1):
            triangles.append((corners[0], corners[second], corners[second + 1]))
            names.append(groups[number] if groups else "")
    pairs = np.array(list(corner_of), np.int64).reshape(-1, 2)
    uv = uvs[pairs[:, 1]] if len(uvs) else np.zeros((len(pairs), 2), np.float32)
    return Surface(pairs[:, 0], uv, np.array(triangles, np.int64), np.array(names))


def read_obj(path: Path) -> tuple[Float32Array, Surface]:
    """Vertices in the file's own axes and units, and the surface.

    Raises:
        ValueError: The file is missing or is not an OBJ.
    """
    vertices, uvs, faces, groups = [], [], [], []
    group = ""
    try:
        for line in path.read_text(errors="replace").splitlines():
            kind, _, rest = line.partition(" ")
            if kind == "v":
                vertices.append([float(value) for value in rest.split()[:3]])
            elif kind == "vt":
                uvs.append([float(value) for value in rest.split()[:2]])
            elif kind == "g":
                group = rest.strip()
            elif kind == "f":
                faces.append([_corner(text) for text in rest.split()])
                groups.append(group)
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read the mesh {path}: {error}") from error
    uv_array = np.array(uvs, np.float32).reshape(-1, 2)
    return np.array(vertices, np.float32), make_surface(faces, uv_array, groups)


def _corner(text: str) -> tuple[int, int]:
    fields = text.split("/")
    return int(fields[0]) - 1, int(fields[1]) - 1 if len(fields) > 1 and fields[1] else -1


def read_mhclo(path: Path) -> GarmentMesh:
    """The garment of a .mhclo file and the OBJ it names.

    Raises:
        ValueError: A file is missing or damaged.
    """
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError as error:
        raise ValueError(f"cannot read the garment {path}: {error}") from error
    try:
        return _parse_mhclo(path, lines)
    except (ValueError, IndexError, KeyError) as error:
        raise ValueError(f"the garment {path} is damaged: {error}") from error


def _parse_mhclo(path: Path, lines: list[str]) -> GarmentMesh:
    header: dict[str, str] = {}
    scale: dict[str, tuple[int, int, float]] = {}
    rows: list[list[float]] = []
    deleted = np.zeros(NUM_BASE_VERTICES, bool)
    section = ""
    for line in lines:
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] in ("verts", "delete_verts", "weights"):
            section = words[0]
        elif words[0] in ("x_scale", "y_scale", "z_scale"):
            scale[words[0][0]] = (int(words[1]), int(words[2]), float(words[3]) * _DECIMETRE)
        elif words[0][0].isalpha():
            header[words[0]] = " ".join(words[1:])
        elif section == "verts":
            values = [float(word) for word in words]
            rows.append(values if len(values) == 9 else [values[0]] * 3 + [1, 0, 0, 0, 0, 0])
        elif section == "delete_verts":
            _mark(deleted, words)
    table = np.array(rows, np.float32)
    # MakeHuman's axes are x, y up, z front: ours are x, z, y
    refs = (scale["x"], scale["z"], scale["y"]) if len(scale) == 3 else ()
    vertices, surface = read_obj(path.with_name(header["obj_file"]))
    if len(vertices) != len(table):
        raise ValueError(f"{len(vertices)} vertices, {len(table)} bindings")
    binding = Binding(
        table[:, :3].astype(np.int64),
        table[:, 3:6],
        z_up(table[:, 6:9]) * np.float32(_DECIMETRE),
        refs,
        deleted,
    )
    return GarmentMesh(surface, binding)


def _mark(deleted: BoolArray, words: list[str]) -> None:
    position = 0
    while position < len(words):
        first = last = int(words[position])
        if position + 2 < len(words) and words[position + 1] == "-":
            last = int(words[position + 2])
            position += 2
        deleted[first : last + 1] = True
        position += 1


def read_json_garment(path: Path) -> GarmentMesh:
    """The garment of a gzipped three.js mesh (format 3.1) with MakeHuman's binding beside it.

    Raises:
        ValueError: The file is missing or damaged.
    """
    try:
        with gzip.open(path, "rt") as file:
            data = json.load(file)
        proxy = data["metadata"].get("proxymesh", {})
        uvs = np.array(data["uvs"][0], np.float32).reshape(-1, 2)
        surface = make_surface(_three_js_faces(data["faces"]), uvs)
        deleted = np.zeros(NUM_BASE_VERTICES, bool)
        marks = data.get("deleteVerts") or proxy.get("deleteVerts") or []
        deleted[: len(marks)] = np.array(marks, bool)
        offsets = z_up(np.array(data["offsets"], np.float32)) * np.float32(_DECIMETRE)
        weights = np.array(data["weights"], np.float32)
        binding = Binding(np.array(data["ref_vIdxs"], np.int64), weights, offsets, (), deleted)
    except (OSError, EOFError, ValueError, KeyError, IndexError, TypeError) as error:
        raise ValueError(f"cannot read the garment {path}: {error}") from error
    return GarmentMesh(surface, binding)


def _three_js_faces(numbers: list[int]) -> list[list[tuple[int, int]]]:
    """Faces of three.js' JSON model format 3: a mask of bits, then what the bits announce."""
    faces, position = [], 0
    while position < len(numbers):
        mask = numbers[position]
        size = 4 if mask & 1 else 3
        vertices = numbers[position + 1 : position + 1 + size]
        position += 1 + size + (1 if mask & 2 else 0)
        if not mask & 8:
            raise ValueError(f"a face without texture coordinates (mask {mask})")
        uvs = numbers[position : position + size]
        position += size
        position += (1 if mask & 16 else 0) + (size if mask & 32 else 0)
        position += (1 if mask & 64 else 0) + (size if mask & 128 else 0)
        faces.append(list(zip(vertices, uvs, strict=True)))
    return faces
