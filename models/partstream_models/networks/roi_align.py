"""ROIAlign: features of boxes on a grid of fixed size, without rounding.

Shape suffixes: B batch, C channels, H height, W width, R regions, S cells a side.

Source: Mask R-CNN (He et al., ICCV 2017), section 3; sampled at two points a side and cell, with the
half-pixel correction (feature pixel i lies at (i + .5) * stride).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

_POINTS = 2
"""Samples a side of each cell."""


def roi_align(
    feature_BCHW: Tensor, boxes_R4: Tensor, batch_index_R: Tensor, *, size: int, stride: int
) -> Tensor:
    """Features of each box, [R, C, S, S]; past the border the border's values go on.

    Args:
        feature_BCHW: Features.
        boxes_R4: xyxy in image pixels.
        batch_index_R: Which image each box is in, int64.
        size: Cells a side.
        stride: Image pixels between two features.
    """
    num_regions, channels = len(boxes_R4), feature_BCHW.shape[1]
    if num_regions == 0:
        return feature_BCHW.new_zeros(0, channels, size, size)
    out = feature_BCHW.new_zeros(num_regions, channels, size, size)
    for image in range(len(feature_BCHW)):
        rows = (batch_index_R == image).nonzero()[:, 0]
        if len(rows):
            regions = _sample(feature_BCHW[image : image + 1], boxes_R4[rows] / stride, size)
            out = out.index_copy(0, rows, regions.to(out.dtype))
    return out


def _sample(feature_1CHW: Tensor, boxes_R4: Tensor, size: int) -> Tensor:
    """Features of boxes in pixels of the feature map of one image."""
    height, width = feature_1CHW.shape[-2:]
    num_points = size * _POINTS
    share = (torch.arange(num_points, device=boxes_R4.device, dtype=boxes_R4.dtype) + 0.5) / num_points
    x_RP = boxes_R4[:, 0:1] + share * (boxes_R4[:, 2:3] - boxes_R4[:, 0:1])
    y_RP = boxes_R4[:, 1:2] + share * (boxes_R4[:, 3:4] - boxes_R4[:, 1:2])
    shape = (len(boxes_R4), num_points, num_points)
    # without aligned corners -1 and 1 are the map's outer edges, so the half pixel is accounted for
    grid = torch.stack(
        [
            (x_RP * (2 / width) - 1)[:, None, :].expand(shape),
            (y_RP * (2 / height) - 1)[:, :, None].expand(shape),
        ],
        dim=-1,
    ).reshape(1, len(boxes_R4) * num_points, num_points, 2)
    precise = torch.promote_types(feature_1CHW.dtype, torch.float32)
    sampled = F.grid_sample(
        feature_1CHW.to(precise), grid.to(precise), padding_mode="border", align_corners=False
    )
    regions = sampled[0].reshape(-1, len(boxes_R4), num_points, num_points).transpose(0, 1)
    return F.avg_pool2d(regions, _POINTS)
