"""How cut-out people move in a made clip, and the exact flow that follows from it.

A clip is made by inverse construction: a pixel of a frame asks where on the cut-out it comes from. So parts,
identities and flow between any two frames are exact, and nothing is splatted. A layer (a cut-out or the
backdrop) has a pose in each frame, an affine map, and may have limbs that swing: smooth bumps of displacement
about control points of the cut-out.

Body coordinates: x right and y down in units of the cut-out's height, so a cut-out may be drawn from a copy
of any size. Frame coordinates: x and y in pixels; the first pixel's center is (0.5, 0.5).

Shape suffixes: T frames, K control points, N points, h and w nodes of a lattice; a last 2 is (x, y).
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]

_MAX_SLOPE: Final = 0.32
"""Longest displacement of a control point against its radius: well under what would fold the cut-out."""
_ROUNDS: Final = 12
"""Steps of the fixed-point iteration that turns displacements round; each gains a factor of two or more."""


@dataclass(frozen=True, slots=True)
class Area:
    """A rectangle of a frame, in whole pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, to index an array of the frame with."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


@dataclass(frozen=True, slots=True, eq=False)
class Limbs:
    """Bumps of displacement about control points, in body coordinates."""

    centers_K2: FloatArray
    radii_K: FloatArray
    offsets_TK2: FloatArray
    """Where each frame takes each control point from; `swing` keeps them short enough never to fold."""

    def displacement(self, points_N2: FloatArray, frame: int) -> FloatArray:
        """From places in the moved body back to the cut-out, [N, 2]."""
        apart_NK2 = points_N2[:, None] - self.centers_K2
        weight_NK = np.exp(-(apart_NK2**2).sum(axis=2) / (2 * self.radii_K**2))
        moved: FloatArray = weight_NK @ self.offsets_TK2[frame]
        return moved

    def reach(self, frame: int) -> float:
        """No displacement of the frame is longer than this along either axis."""
        return float(np.abs(self.offsets_TK2[frame]).sum(axis=0).max(initial=0))


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """A layer's way through a clip."""

    pose_T23: FloatArray
    """From (moved) body coordinates to frame coordinates."""
    limbs: Limbs | None = None

    def to_body(self, points_N2: FloatArray, frame: int) -> FloatArray:
        """Where on the cut-out the points of a frame come from, in body coordinates, [N, 2]."""
        pose = self.pose_T23[frame]
        moved_N2 = (points_N2 - pose[:, 2]) @ np.linalg.inv(pose[:, :2]).T
        if self.limbs is None:
            return np.asarray(moved_N2)
        return np.asarray(moved_N2 + self.limbs.displacement(moved_N2, frame))

    def to_frame(self, body_N2: FloatArray, frame: int) -> FloatArray:
        """Where a frame shows points of the cut-out, in frame coordinates, [N, 2]; undoes `to_body`."""
        moved_N2 = body_N2
        if self.limbs is not None:
            for _ in range(_ROUNDS):
                moved_N2 = body_N2 - self.limbs.displacement(moved_N2, frame)
        pose = self.pose_T23[frame]
        return np.asarray(moved_N2 @ pose[:, :2].T + pose[:, 2])

    def area_in(
        self, frame: int, box: tuple[float, float, float, float], size: tuple[int, int]
    ) -> Area | None:
        """The part of a frame where a box of the body shows; None where it does not.

        Args:
            frame: Number of the frame.
            box: Left, top, right and bottom in body coordinates.
            size: Height and width of the frame.
        """
        reach = 0.0 if self.limbs is None else self.limbs.reach(frame)
        left, top, right, bottom = box[0] - reach, box[1] - reach, box[2] + reach, box[3] + reach
        corners = np.array([[left, top], [right, top], [left, bottom], [right, bottom]])
        pose = self.pose_T23[frame]
        shown = corners @ pose[:, :2].T + pose[:, 2]
        low = np.maximum(np.floor(shown.min(axis=0)).astype(int), 0)
        high = np.minimum(np.ceil(shown.max(axis=0)).astype(int), (size[1], size[0]))
        if (high <= low).any():
            return None
        return Area(int(low[1]), int(low[0]), int(high[1] - low[1]), int(high[0] - low[0]))


def swing(
    centers_K2: FloatArray, radii_K: FloatArray, offsets_TK2: FloatArray, *, max_slope: float = _MAX_SLOPE
) -> Limbs:
    """Limbs whose offsets are shortened where they would fold the cut-out.

    Raises:
        ValueError: The shapes do not fit together.
    """
    if offsets_TK2.shape[1:] != centers_K2.shape or radii_K.shape != centers_K2.shape[:1]:
        raise ValueError(
            f"centers {centers_K2.shape}, radii {radii_K.shape} and offsets {offsets_TK2.shape} do not agree"
        )
    apart_KK = np.linalg.norm(centers_K2[:, None] - centers_K2, axis=2)
    crowd_K = (apart_KK < 2 * np.maximum(radii_K, radii_K[:, None])).sum(axis=1)  # neighbours' slopes add up
    longest_K = max_slope * radii_K * 2 / (1 + crowd_K)
    length_TK = np.linalg.norm(offsets_TK2, axis=2)
    shorten_K = np.minimum(1, longest_K / np.maximum(length_TK.max(axis=0), 1e-12))
    return Limbs(centers_K2, radii_K, offsets_TK2 * shorten_K[:, None])


def source_map(motion: Motion, frame: int, area: Area, step: int) -> FloatArray:
    """Where the pixels of an area come from in body coordinates, [H, W, 2].

    Exact at a lattice of nodes, `step` pixels apart, and bilinear between them.
    """
    points, shape = _nodes(area, step)
    return _densify(motion.to_body(points, frame).reshape(shape), area, step)


def flow(motion: Motion, frame: int, other: int, area: Area, step: int) -> FloatArray:
    """How far from its place in `frame` each pixel is seen in `other`, [H, W, 2]: x and y in pixels.

    Exact at a lattice of nodes, `step` pixels apart, and bilinear between them.
    """
    points, shape = _nodes(area, step)
    there = motion.to_frame(motion.to_body(points, frame), other)
    return _densify((there - points).reshape(shape), area, step)


def _nodes(area: Area, step: int) -> tuple[FloatArray, tuple[int, int, int]]:
    """Frame coordinates of an area's lattice, [h * w, 2], and the shape [h, w, 2]."""
    rows = area.top + 0.5 + step * np.arange(-(-(area.height - 1) // step) + 1)
    columns = area.left + 0.5 + step * np.arange(-(-(area.width - 1) // step) + 1)
    grid = np.stack(np.meshgrid(columns, rows), axis=-1)
    return grid.reshape(-1, 2), (len(rows), len(columns), 2)


def _densify(lattice_hw2: FloatArray, area: Area, step: int) -> FloatArray:
    """Bilinear values at each pixel of the area, [H, W, 2]."""
    if step == 1:
        return lattice_hw2
    rows_Hh = _weights(area.height, lattice_hw2.shape[0], step)
    columns_wW = _weights(area.width, lattice_hw2.shape[1], step).T
    return np.stack([rows_Hh @ lattice_hw2[..., axis] @ columns_wW for axis in range(2)], axis=-1)


def _weights(length: int, num_nodes: int, step: int) -> FloatArray:
    """Weight of each node at each pixel along one axis, [length, num_nodes]."""
    place = np.arange(length) / step
    return np.asarray(np.maximum(1 - np.abs(place[:, None] - np.arange(num_nodes)), 0))


def lattice_step(height_px: float) -> int:
    """Distance of lattice nodes that keeps a person of that height within about a tenth of a pixel."""
    return int(np.clip(height_px // 40, 2, 8))
