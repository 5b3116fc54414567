"""Flow between two frames with its scale map, and propagation of features along it.

Shape suffixes: B batch, C channels, H and W feature size, h and w image size; the 2 of a flow is (x, y).

Source: ATEN (Zhou et al., MM 2018), section 4.2, eqs. 2 and 6; Deep Feature Flow (Zhu et al., CVPR 2017).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from partstream_models.networks.warp import warp


class FlowField(NamedTuple):
    """Where each feature of the current frame lies in the reference frame."""

    flow_B2HW: Tensor
    """In pixels of the feature map, which is what `warp` takes."""
    scale_BCHW: Tensor | None
    """Factor of each warped value; nothing to refine where None."""
    pyramid: tuple[Tensor, ...]
    """Raw flows, finest first, in the network's own unit: what is trained against flow truth."""


class ScaleMap(nn.Module):
    """A 1x1 convolution whose weights start at zero and whose bias is one and stays so."""

    bias: Tensor

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(out_channels, in_channels, 1, 1))
        self.register_buffer("bias", torch.ones(out_channels))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Factors, one everywhere before training."""
        return nn.functional.conv2d(x_BCHW, self.weight, self.bias)


def propagate(feature_BCHW: Tensor, field: FlowField) -> Tensor:
    """The reference frame's feature as the current frame would have it (eq. 6).

    Places are computed in float32 at least: bfloat16 does not tell pixel 257 from 256.
    """
    precise = torch.promote_types(feature_BCHW.dtype, torch.float32)
    warped = warp(feature_BCHW.to(precise), field.flow_B2HW.to(precise)).to(feature_BCHW.dtype)
    return warped if field.scale_BCHW is None else warped * field.scale_BCHW


def endpoint_loss(
    field: FlowField, flow_B2hw: Tensor, visible_Bhw: Tensor, *, unit: float, weights: tuple[float, ...]
) -> Tensor:
    """Weighted endpoint error of all levels, over visible pixels.

    Args:
        field: From a flow network.
        flow_B2hw: Truth in image pixels.
        visible_Bhw: Where the truth is meant, bool.
        unit: Image pixels of one unit of the raw flows.
        weights: Of each level, finest first (FlowNet: .005, .01, .02, .08, .32).

    Raises:
        ValueError: Weights and levels are not equally many.
    """
    if len(weights) != len(field.pyramid):
        raise ValueError(f"got {len(weights)} weights for {len(field.pyramid)} levels")
    pool = nn.functional.adaptive_avg_pool2d
    visible = visible_Bhw[:, None].to(flow_B2hw.dtype)
    total = flow_B2hw.new_zeros(())
    for raw, weight in zip(field.pyramid, weights, strict=True):
        size = (raw.shape[-2], raw.shape[-1])
        share = pool(visible, size)
        truth = pool(flow_B2hw * visible, size) / share.clamp(min=1e-6) / unit
        error = (raw - truth).square().sum(dim=1, keepdim=True).clamp(min=1e-12).sqrt()
        total = total + weight * (error * share).sum() / share.sum().clamp(min=1)
    return total
