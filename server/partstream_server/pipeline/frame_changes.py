"""Measures of change between a frame and its key frame: warp error and scene change.

Shape suffixes: see the package. All images are small: a quarter of the network's input is enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from partstream_server.pipeline.flow_fields import Flow, between_sizes, check_flow, places

Image = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]

_BLUR: Final = (3, 3)
_BINS: Final = 8
"""Of each colour in the histogram."""
_LAYOUT: Final = (16, 16)
"""Columns and rows of the grey picture that layouts are compared by."""


@dataclass(frozen=True, slots=True)
class Service:
    """How well a key frame serves another frame's people."""

    warp_error: float
    """Mean absolute photometric error of the warped key frame inside people, 0 to 1; 0 without people."""
    outside: float
    """Share of people's pixels whose flow leads out of the key frame; 0 without people."""


def service(current_HW3: Image, reference_HW3: Image, flow_2hw: Flow, people_hw: BoolArray) -> Service:
    """How well a key frame's pixels explain the people of the current frame.

    Both images are blurred a little first, so that noise and edges half a pixel off count for little. Pixels
    whose flow leads out of the reference count as outside and not as errors.

    Args:
        current_HW3: The frame, RGB, small.
        reference_HW3: Its key frame at the same size.
        flow_2hw: From current to reference, in its own pixels; of any size.
        people_hw: Where people are or were last seen, of any size.

    Raises:
        ValueError: The images differ in size, or flow or mask have no pixels.
    """
    _check_pair(current_HW3, reference_HW3)
    check_flow(flow_2hw)
    if people_hw.ndim != 2 or people_hw.size == 0:
        raise ValueError(f"a mask of people must be [H, W], got {people_hw.shape}")
    height, width = current_HW3.shape[:2]
    people_HW = cv2.resize(people_hw.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    at_HW = people_HW > 0
    num_people = int(np.count_nonzero(at_HW))
    if not num_people:
        return Service(0.0, 0.0)
    x_HW, y_HW = places(between_sizes(flow_2hw, height=height, width=width))
    inside_HW = (x_HW > -0.5) & (x_HW < width - 0.5) & (y_HW > -0.5) & (y_HW < height - 0.5)
    warped_HW3 = cv2.remap(
        cv2.blur(reference_HW3, _BLUR), x_HW, y_HW, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    error_HW3 = cv2.absdiff(cv2.blur(current_HW3, _BLUR), warped_HW3)
    counted_HW = at_HW & inside_HW
    means = cv2.mean(error_HW3, counted_HW.astype(np.uint8))[:3]
    outside = 1 - int(np.count_nonzero(counted_HW)) / num_people
    return Service(sum(means) / 3 / 255, outside)


@dataclass(frozen=True, slots=True)
class SceneView:
    """Description of a frame for scene-cut detection: colour histogram and layout of brightness."""

    colours: npt.NDArray[np.float32]
    """Square roots of the shares of pixels of each colour."""
    layout_HW: npt.NDArray[np.float32]
    """Small grey picture, standardised; zeros where the frame is flat."""


def scene_view(image_HW3: Image) -> SceneView:
    """Description of a frame for scene-cut detection; computed once and kept for a key frame.

    Raises:
        ValueError: The image is no RGB picture.
    """
    _check_image(image_HW3)
    small_HW3 = cv2.resize(image_HW3, (_LAYOUT[0] * 2, _LAYOUT[1] * 2), interpolation=cv2.INTER_AREA)
    counts = cv2.calcHist([small_HW3], [0, 1, 2], None, [_BINS] * 3, [0, 256] * 3)
    grey_HW = cv2.cvtColor(cv2.resize(small_HW3, _LAYOUT, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    layout_HW = grey_HW.astype(np.float32) - np.float32(grey_HW.mean())
    length = float(np.linalg.norm(layout_HW))
    if length > 0:
        layout_HW /= np.float32(length)
    return SceneView(np.sqrt(counts.ravel() / counts.sum()).astype(np.float32), layout_HW)


def scene_change(current: SceneView, reference: SceneView) -> float:
    """How far two frames differ as scenes, 0 to 1: the smaller one of two distances.

    A camera that moves keeps the colours, a light that changes keeps the layout; a cut keeps neither. The
    layouts are compared wherever the one lies best over the other, by up to a quarter of the frame; a flat
    frame has none, and only its colours count.
    """
    overlap = float(current.colours @ reference.colours)
    colours = float(np.sqrt(max(0.0, 1 - overlap)))
    if not (current.layout_HW.any() and reference.layout_HW.any()):
        return colours
    rows, columns = (side // 4 for side in reference.layout_HW.shape)
    padded_HW = cv2.copyMakeBorder(reference.layout_HW, rows, rows, columns, columns, cv2.BORDER_REPLICATE)
    alike_HW = cv2.matchTemplate(padded_HW, current.layout_HW, cv2.TM_CCOEFF_NORMED)
    layout = 1 - float(np.nan_to_num(alike_HW).max(initial=0.0))
    return min(colours, max(layout, 0.0), 1.0)


def _check_pair(current_HW3: Image, reference_HW3: Image) -> None:
    _check_image(current_HW3)
    if current_HW3.shape != reference_HW3.shape:
        raise ValueError(f"images must have one size, got {current_HW3.shape} and {reference_HW3.shape}")


def _check_image(image_HW3: Image) -> None:
    if image_HW3.ndim != 3 or image_HW3.shape[2] != 3 or 0 in image_HW3.shape or image_HW3.dtype != np.uint8:
        raise ValueError(f"an image must be uint8 [H, W, 3], got {image_HW3.dtype} {image_HW3.shape}")
