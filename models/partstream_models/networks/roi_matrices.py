"""ROIAlign and its way back as matrix products, for graphs.

Both are bilinear in x and in y by themselves, so a matrix of each box's rows and one of its columns do the
work of a sampler, whatever the number of boxes and images; runtimes multiply matrices faster than they
sample.

Shape suffixes: R regions, S cells a side of a region, N cells of a side of a map, B batch, C channels, H and
W size of the map.

Source: Mask R-CNN (He et al., ICCV 2017), section 3.
"""

import torch
from torch import Tensor

_POINTS = 2
"""Samples a side of each cell, as in `roi_align`."""


def gather_matrix(low_R: Tensor, high_R: Tensor, *, num_cells: int, size: int) -> Tensor:
    """How much of each cell of a map's side each cell of a region takes, [R, S, N].

    Args:
        low_R: Where regions begin on that side, in cells of the map.
        high_R: Where they end.
        num_cells: N.
        size: S.
    """
    num_points = size * _POINTS
    share = (torch.arange(num_points, device=low_R.device, dtype=low_R.dtype) + 0.5) / num_points
    at_RP = low_R[:, None] + share * (high_R - low_R)[:, None] - 0.5
    # past the border the border's values go on
    weights = _tents(at_RP.clamp(min=0).clamp(max=num_cells - 1), num_cells)
    return weights.reshape(-1, size, _POINTS, num_cells).mean(dim=2)


def spread_matrix(low_R: Tensor, high_R: Tensor, *, num_cells: int, size: int) -> Tensor:
    """How much of each cell of a region each cell of a map's side shows, [R, N, S]; zero past the region.

    Args:
        low_R: Where regions begin on that side, in cells of the map.
        high_R: Where they end.
        num_cells: N.
        size: S.
    """
    middle = torch.arange(num_cells, device=low_R.device, dtype=low_R.dtype) + 0.5
    length_R = (high_R - low_R).clamp(min=1e-3)
    share_RN = (middle - low_R[:, None]) / length_R[:, None]
    inside_RN = ((share_RN >= 0) & (share_RN <= 1)).to(low_R.dtype)
    return _tents((share_RN * size - 0.5).clamp(0, size - 1), size) * inside_RN[..., None]


def gather_regions(map_BCHW: Tensor, boxes_R4: Tensor, batch_index_R: Tensor, *, size: int) -> Tensor:
    """What `roi_align` returns, [R, C, S, S], for boxes in cells of the map."""
    height, width = map_BCHW.shape[-2:]
    left, top, right, bottom = boxes_R4.unbind(dim=1)
    rows_RSH = gather_matrix(top, bottom, num_cells=height, size=size)
    columns_RSW = gather_matrix(left, right, num_cells=width, size=size)
    return rows_RSH[:, None] @ map_BCHW[batch_index_R] @ columns_RSW[:, None].transpose(2, 3)


def spread_regions(values_RSS: Tensor, boxes_R4: Tensor, *, height: int, width: int) -> Tensor:
    """Each region's values where its box (in cells of the map) lies, [R, H, W]; zero elsewhere."""
    left, top, right, bottom = boxes_R4.unbind(dim=1)
    size = values_RSS.shape[-1]
    rows_RHS = spread_matrix(top, bottom, num_cells=height, size=size)
    columns_RWS = spread_matrix(left, right, num_cells=width, size=size)
    return rows_RHS @ values_RSS @ columns_RWS.transpose(1, 2)


def _tents(at_RP: Tensor, num_cells: int) -> Tensor:
    """Bilinear weights of the cells around each place, [R, P, cells]."""
    cells = torch.arange(num_cells, device=at_RP.device, dtype=at_RP.dtype)
    return (1 - (at_RP[..., None] - cells).abs()).clamp(min=0)
