"""Optical flow corrected by segmentation: vectors that lead to another label are searched anew.

Shape suffixes: H height, W width, C colour channels (RGB), M pixels, K pixels of a patch; a last 2 is (x,
y).

Source: "A Self-Supervised Framework for Human Instance Segmentation", section 3.3: vectors that are
"inconsistent with the predicted masks are regarded as unreliable" and a search over the surrounding region
"minimizes pixel-level matching error". Region and error are not given; ours are a square of `radius` pixels
around the vector and the mean absolute difference of colours over a patch. Of places with equal errors the
nearest to the old vector is taken.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchConfig:
    """The search around an unreliable vector, in pixels."""

    radius: int = 4
    patch_radius: int = 2

    def __post_init__(self) -> None:
        if self.radius < 0 or self.patch_radius < 0:
            raise ValueError(f"radii must be at least 0, got {self.radius} and {self.patch_radius}")


def estimate_flow(image_HWC: UInt8Array, other_HWC: UInt8Array) -> Float32Array:
    """Initial flow, [H, W, 2]: where the other picture shows what a pixel shows (DIS, medium preset)."""
    gray = [cv2.cvtColor(each, cv2.COLOR_RGB2GRAY) for each in (image_HWC, other_HWC)]
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return np.asarray(dis.calc(gray[0], gray[1], np.zeros((*gray[0].shape, 2), np.float32)), np.float32)


def unreliable(flow_HW2: Float32Array, labels_HW: UInt8Array, other_HW: UInt8Array) -> BoolArray:
    """Pixels whose vector leads to another label, or out of the other picture, [H, W].

    Raises:
        ValueError: Shapes differ.
    """
    if labels_HW.shape != other_HW.shape or flow_HW2.shape != (*labels_HW.shape, 2):
        raise ValueError(f"shapes differ: {flow_HW2.shape}, {labels_HW.shape}, {other_HW.shape}")
    height, width = labels_HW.shape
    y_HW, x_HW = np.indices((height, width))
    x = np.rint(x_HW + flow_HW2[..., 0]).astype(np.int64)
    y = np.rint(y_HW + flow_HW2[..., 1]).astype(np.int64)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    reached = other_HW[y.clip(0, height - 1), x.clip(0, width - 1)]
    bad: BoolArray = ~inside | (reached != labels_HW)
    return bad


def refine_flow(
    flow_HW2: Float32Array,
    images: tuple[UInt8Array, UInt8Array],
    labels: tuple[UInt8Array, UInt8Array],
    config: SearchConfig | None = None,
) -> Float32Array:
    """The flow with its unreliable vectors searched anew, [H, W, 2].

    Args:
        flow_HW2: From the first picture to the second.
        images: The two pictures, RGB, [H, W, C] each.
        labels: Their label maps.
        config: The search.

    Raises:
        ValueError: Shapes differ.
    """
    config = config or SearchConfig()
    bad = unreliable(flow_HW2, *labels)
    refined = flow_HW2.copy()
    y_M, x_M = np.nonzero(bad)
    if not len(y_M):
        return refined
    height, width = bad.shape
    reach = np.arange(-config.patch_radius, config.patch_radius + 1)
    dy_K, dx_K = (axis.ravel() for axis in np.meshgrid(reach, reach, indexing="ij"))
    # beyond the border the picture goes on with its last pixel, in both
    rows, columns = (y_M[:, None] + dy_K).clip(0, height - 1), (x_M[:, None] + dx_K).clip(0, width - 1)
    patch_MKC = images[0][rows, columns].astype(np.float32)
    start_M2 = flow_HW2[y_M, x_M]
    best_M = np.full(len(y_M), np.inf, np.float32)
    for dx, dy in _around(config.radius):
        x_MK = (columns + start_M2[:, :1] + dx).astype(np.float32)
        y_MK = (rows + start_M2[:, 1:] + dy).astype(np.float32)
        error_M = np.abs(patch_MKC - _read(images[1], x_MK, y_MK)).mean(axis=(1, 2))
        centre_x, centre_y = x_M + start_M2[:, 0] + dx, y_M + start_M2[:, 1] + dy
        inside = (centre_x >= 0) & (centre_x <= width - 1) & (centre_y >= 0) & (centre_y <= height - 1)
        better = inside & (error_M < best_M - 1e-4)
        best_M[better] = error_M[better]
        refined[y_M[better], x_M[better]] = start_M2[better] + (dx, dy)
    return refined


def _around(radius: int) -> list[tuple[int, int]]:
    """Steps (x, y) of the square, nearest first."""
    steps = [(dx, dy) for dy in range(-radius, radius + 1) for dx in range(-radius, radius + 1)]
    return sorted(steps, key=lambda step: (step[0] ** 2 + step[1] ** 2, step))


def _read(image_HWC: UInt8Array, x_MK: Float32Array, y_MK: Float32Array) -> Float32Array:
    """Colours between pixels, [M, K, C]; `remap` takes at most 32,767 rows."""
    most = 30_000
    parts = [
        cv2.remap(
            image_HWC.astype(np.float32),
            x_MK[start : start + most],
            y_MK[start : start + most],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        for start in range(0, len(x_MK), most)
    ]
    return np.concatenate(parts).astype(np.float32)
