"""Backward warping of features along optical flow.

Shape suffixes: B batch, C channels, H height, W width; the 2 of a flow is (x, y).

Source: ATEN, eq. 1: bilinear, zeros outside.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F


def warp(feature_BCHW: Tensor, flow_B2HW: Tensor, *, outside: Literal["zeros", "border"] = "zeros") -> Tensor:
    """Features of the reference frame drawn to the current one: out(p) = feature(p + flow(p)).

    Args:
        feature_BCHW: Features of the reference frame.
        flow_B2HW: Displacement from current to reference, in pixels of the feature map (not of the image).
        outside: What lies beyond the reference: nothing, or its border drawn on.
    """
    height, width = feature_BCHW.shape[-2:]
    rows = torch.arange(height, device=flow_B2HW.device, dtype=flow_B2HW.dtype)
    columns = torch.arange(width, device=flow_B2HW.device, dtype=flow_B2HW.dtype)
    x = (columns[None, None, :] + flow_B2HW[:, 0]) * (2.0 / max(width - 1, 1)) - 1.0
    y = (rows[None, :, None] + flow_B2HW[:, 1]) * (2.0 / max(height - 1, 1)) - 1.0
    grid = torch.stack([x, y], dim=-1)
    return F.grid_sample(feature_BCHW, grid, mode="bilinear", padding_mode=outside, align_corners=True)
