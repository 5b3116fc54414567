"""Values of the renderer of 3D people: materials, meshes, lights, cameras, and the rendered image.

Shape suffixes: H height, W width, C channels, T triangles, N corners, V vertices.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]
Int64Array = npt.NDArray[np.int64]

MAX_SIDE: Final = 408
"""Longest side of a picture in pixels."""
SAMPLES: Final = 2
"""Samples across a pixel."""

KIND_TEXTURE: Final = 0
KIND_CLOTH: Final = 1
KIND_HAIR: Final = 2
KIND_SKIN: Final = 3
KIND_PLAIN: Final = 4
KIND_EYE: Final = 5


@dataclass(frozen=True, slots=True)
class Material:
    """Shading of a piece: kind of shader, texture, tint, gloss."""

    kind: int
    texture: str = ""
    """Name of a picture of the renderer's picture source; empty for none."""
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Linear RGB that the texture is multiplied by."""
    scale: float = 3.0
    gloss: float = 0.1
    folds: float = 0.0
    lift: float = 0.0
    """Metres by which the depth test treats the piece as nearer to the camera."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A mesh of one material; each of its N corners is a vertex with a texture coordinate and a label."""

    material: Material
    triangles_T3: Int64Array
    """Three corners each."""
    vertex_N: Int64Array
    """The vertex of each corner, in the person's arrays."""
    uv_N2: Float32Array
    label_N: Float32Array
    cut_N: Float32Array
    """Drawn where this is not negative, interpolated over the triangle."""


def make_piece(
    material: Material,
    vertex_T3: Int64Array,
    label_T: npt.NDArray[np.integer[Any]],
    *,
    corner_T3: Int64Array | None = None,
    uv_N2: Float32Array | None = None,
    cut_V: Float32Array | None = None,
    start: int = 0,
) -> Piece:
    """A piece of triangles with a label each.

    Args:
        material: Material of all triangles.
        vertex_T3: Vertices of the triangles.
        label_T: Their labels.
        corner_T3: Rows of `uv_N2`; None where the material needs no texture coordinates.
        uv_N2: Texture coordinates.
        cut_V: Value of `Piece.cut_N` at each vertex; None draws all triangles.
        start: Offset added to vertex numbers.
    """
    corners = corner_T3 if corner_T3 is not None else vertex_T3
    # labels belong to triangles: a vertex becomes one corner for each label
    keys = corners.astype(np.int64) * 32 + label_T[:, None]
    _, first, inverse = np.unique(keys.ravel(), return_index=True, return_inverse=True)
    vertex = vertex_T3.ravel()[first]
    uv = np.zeros((len(first), 2), np.float32) if uv_N2 is None else uv_N2[corners.ravel()[first]]
    cut = np.ones(len(first), np.float32) if cut_V is None else cut_V[vertex]
    labels = np.repeat(label_T, 3)[first].astype(np.float32)
    return Piece(material, inverse.reshape(-1, 3), vertex + start, uv, labels, cut)


@dataclass(frozen=True, slots=True)
class Light:
    """The light of a picture; colours are linear RGB, directions point to the light."""

    key_to: tuple[float, float, float]
    key: tuple[float, float, float]
    fill_to: tuple[float, float, float]
    fill: tuple[float, float, float]
    sky: tuple[float, float, float]
    ground: tuple[float, float, float]
    side_to: tuple[float, float, float]
    side: tuple[float, float, float]
    exposure: float
    shadow: float
    """0 no shadow to 1 a full one."""


@dataclass(frozen=True, slots=True)
class Camera:
    """A perspective camera."""

    eye: npt.NDArray[np.float64]
    matrix: npt.NDArray[np.float64]
    """World to clip space, [4, 4]."""
    width: int
    height: int
    near: float
    far: float
    matrix_scale: float
    """Pixels that one metre covers at a distance of one metre."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A rendered image with its alpha, part labels and depth."""

    image_HWC: UInt8Array
    alpha_HW: UInt8Array
    parts_HW: UInt8Array
    depth_HW: Float32Array
    """Depth in clip space at twice the image's size, 1 for background; row 0 on top."""


@dataclass(frozen=True, slots=True)
class Vertices:
    """Positions and normals of all vertices of a person."""

    positions_V3: Float32Array
    normals_V3: Float32Array
