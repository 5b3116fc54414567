"""Optical flow computed by OpenCV instead of the bundle's network, and features warped along it.

Shape suffixes: C channels; h, w the feature map. Flow leads from a frame to its key frame, in its pixels.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from partstream_core.schedule import FlowSource
from partstream_server.media import BlockMotion
from partstream_server.pipeline.flow_fields import Flow, between_sizes, places
from partstream_server.pipeline.inference import View
from partstream_server.pipeline.initial_flow import dis_flow

Tensor = npt.NDArray[Any]


def host_flow(
    source: FlowSource,
    current: View,
    reference: View,
    *,
    stride: int,
    since_key: BlockMotion | None = None,
) -> Flow:
    """The flow between two frames, [2, h, w], as a source other than the network tells it.

    Args:
        source: dis, codec or none. Codec motion that is not known is searched for as dis does.
        current: The frame.
        reference: The key frame.
        stride: Of the feature map.
        since_key: For codec: the source's motion from the frame to the reference, where it is known.
    """
    height, width = (side // stride for side in current.tensor_BCHW.shape[-2:])
    if source is FlowSource.NONE:
        return np.zeros((2, height, width), np.float32)
    motion = since_key if source is FlowSource.CODEC else None
    if motion is None:
        return dis_flow(current.half_grey_hw, reference.half_grey_hw, stride=stride)
    rows, columns = motion.vectors_2hw.shape[1:]
    cells_2 = np.array([columns / motion.width, rows / motion.height], np.float32)
    height, width = current.content_height // stride, current.content_width // stride
    flow_2hw = between_sizes(motion.vectors_2hw * cells_2[:, None, None], height=height, width=width)
    return current.over_padding(flow_2hw)


def accumulated_motion(
    since_key: BlockMotion | None, motion: BlockMotion | None, *, first: bool
) -> BlockMotion | None:
    """Motion to the key frame, one frame further; None where it was or is not known.

    Args:
        since_key: Of the frame before.
        motion: Of this frame since the one before.
        first: The frame before is the key frame itself.
    """
    if motion is None or first:
        return motion
    if since_key is None or (since_key.height, since_key.width) != (motion.height, motion.width):
        return None
    return motion.after(since_key)


def warp_on_host(feature_1Chw: Tensor, flow_2hw: Flow) -> Tensor:
    """A feature drawn along a flow, bilinear with zeros outside (ATEN, eq. 6, without the scale map).

    OpenCV rounds places to 1/32 of a pixel of the map. Many times faster on a CPU than a graph's GridSample.
    """
    x_hw, y_hw = places(flow_2hw)
    _, channels, height, width = feature_1Chw.shape
    rows = np.ascontiguousarray(feature_1Chw, np.float32).reshape(channels, -1)
    # OpenCV turns a matrix in a quarter of the time that NumPy takes to copy a turned view.
    feature_hwC = cv2.transpose(rows).reshape(height, width, channels)
    warped_hwC = cv2.remap(feature_hwC, x_hw, y_hw, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return cv2.transpose(warped_hwC.reshape(-1, channels)).reshape(feature_1Chw.shape)
