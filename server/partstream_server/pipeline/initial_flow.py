"""Optical flow by OpenCV's DIS at half resolution: to warp features, or as the flow network's first estimate.

The networks are trained with flow made the same way (`partstream_models.data.initial_flow`).

Source: DIS (Kroeger et al., ECCV 2016).
"""

from __future__ import annotations

import threading

import cv2
import numpy as np
import numpy.typing as npt

_local = threading.local()


def dis_flow(
    current_hw: npt.NDArray[np.uint8], reference_hw: npt.NDArray[np.uint8], *, stride: int
) -> npt.NDArray[np.float32]:
    """Flow from current to reference in pixels of the feature map, [2, H / stride, W / stride].

    Args:
        current_hw: Grey image at half the network's size.
        reference_hw: Of the same size.
        stride: Of the feature map.
    """
    if not hasattr(_local, "quick"):  # its buffers are no more than one thread's
        _local.quick = _search(finest_scale=1, patch_stride=6, steps=12)
    return _to_cells(_local.quick.calc(current_hw, reference_hw, None), stride, stride)


def dis_guess(
    current_hw: npt.NDArray[np.uint8], reference_hw: npt.NDArray[np.uint8], *, stride: int
) -> npt.NDArray[np.float32]:
    """Initial flow for the flow network: patches at twice the resolution, [2, 2 H / stride, 2 W / stride].

    It is in pixels of the feature map too. Arguments as of `dis_flow`.
    """
    if not hasattr(_local, "fine"):
        _local.fine = _search(finest_scale=0, patch_stride=4, steps=40)
    return _to_cells(_local.fine.calc(current_hw, reference_hw, None), stride // 2, stride)


def _search(*, finest_scale: int, patch_stride: int, steps: int) -> cv2.DISOpticalFlow:
    """A search without smoothing (variational refinement), which costs more than it brings to these maps.

    A patch that has come to rest makes no more steps, so many cost hardly more than a few.
    """
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    search.setFinestScale(finest_scale)
    search.setPatchStride(patch_stride)
    search.setGradientDescentIterations(steps)
    search.setVariationalRefinementIterations(0)
    return search


def _to_cells(flow_hw2: npt.NDArray[np.float32], stride: int, unit: int) -> npt.NDArray[np.float32]:
    """Flow between images of half the network's size, at a stride and in units of network pixels."""
    height, width = flow_hw2.shape[:2]
    cells = (width * 2 // stride, height * 2 // stride)
    small_hw2 = cv2.resize(flow_hw2, cells, interpolation=cv2.INTER_AREA) * (2 / unit)
    return np.ascontiguousarray(small_hw2.transpose(2, 0, 1), np.float32)
