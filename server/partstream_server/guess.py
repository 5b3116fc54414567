"""A cheap guess of optical flow, which the flow network weighs: OpenCV's DIS at half resolution.

The networks are trained with guesses made the same way (`partstream_models.data.guess`).

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
    """Flow as `dis_guess` gives it, found one octave finer on fewer patches and not smoothed.

    Where no network weighs it, this is the better one: nearer on still backgrounds, in no more time.
    """
    if not hasattr(_local, "fine"):
        fine = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        fine.setFinestScale(1)
        fine.setPatchStride(6)
        fine.setGradientDescentIterations(12)
        fine.setVariationalRefinementIterations(0)
        _local.fine = fine
    return _to_cells(_local.fine.calc(current_hw, reference_hw, None), stride)


def dis_guess(
    current_hw: npt.NDArray[np.uint8], reference_hw: npt.NDArray[np.uint8], *, stride: int
) -> npt.NDArray[np.float32]:
    """Flow from current to reference in pixels of the feature map, [2, H / stride, W / stride].

    Args:
        current_hw: Grey image at half the network's size.
        reference_hw: Of the same size.
        stride: Of the feature map.
    """
    if not hasattr(_local, "dis"):  # its buffers are no more than one thread's
        _local.dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    return _to_cells(_local.dis.calc(current_hw, reference_hw, None), stride)


def _to_cells(flow_hw2: npt.NDArray[np.float32], stride: int) -> npt.NDArray[np.float32]:
    """Flow between images of half the network's size as a feature map has it."""
    height, width = flow_hw2.shape[:2]
    cells = (width * 2 // stride, height * 2 // stride)
    small_hw2 = cv2.resize(flow_hw2, cells, interpolation=cv2.INTER_AREA) * (2 / stride)
    return np.ascontiguousarray(small_hw2.transpose(2, 0, 1), np.float32)
