"""Geometry of DyeNet: boxes of masks, states and masks that move along flow, masks of boxes drawn to frames.

Cell (r, c) of a box covers its own share of the box; its middle is at (c + .5) / m of the box's width.

Shape suffixes: R regions, D channels of the hidden state, H and W image size, m cells a side; boxes are xyxy
in image pixels, a flow's 2 is (x, y).

Source: Li and Loy (ECCV 2018), section 2.2.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from partstream_models.networks.warp import warp

MARGIN = 0.15
"""Share of a box's sides that is added on each side: limbs move faster than their person. Ours."""
SMALLEST_SIDE = 8.0
"""Image pixels: one feature."""
FLOW_UNIT = 20.0
"""Image pixels of flow that a flow image shows as 1."""


def box_of_mask(mask_HW: Tensor, *, margin: float = MARGIN) -> Tensor | None:
    """The box around pixels above .5, with a margin, inside the picture, [4]; None where there are none."""
    rows, columns = (mask_HW > 0.5).nonzero(as_tuple=True)
    if not len(rows):
        return None
    height, width = mask_HW.shape
    low = torch.stack([columns.min(), rows.min()]).float()
    high = torch.stack([columns.max(), rows.max()]).float() + 1
    middle, half = (low + high) / 2, (high - low).clamp(min=SMALLEST_SIDE) * (0.5 + margin)
    limits = half.new_tensor([width, height])
    return torch.cat([(middle - half).clamp(min=0), torch.minimum(middle + half, limits)])


def cell_middles(boxes_R4: Tensor, cells: int) -> Tensor:
    """Middles of the cells of boxes, x and y in image pixels, [R, m, m, 2]."""
    share = (torch.arange(cells, device=boxes_R4.device, dtype=boxes_R4.dtype) + 0.5) / cells
    size = boxes_R4[:, 2:] - boxes_R4[:, :2]
    x_Rm = boxes_R4[:, :1] + size[:, :1] * share
    y_Rm = boxes_R4[:, 1:2] + size[:, 1:] * share
    shape = (len(boxes_R4), cells, cells)
    return torch.stack([x_Rm[:, None, :].expand(shape), y_Rm[:, :, None].expand(shape)], dim=-1)


def warp_state(state_RDmm: Tensor, former_R4: Tensor, current_R4: Tensor, flow_2HW: Tensor) -> Tensor:
    """Hidden states of the former frame drawn into boxes of the current one, [R, D, m, m]; zeros outside.

    Args:
        state_RDmm: Hidden states in the former frame's boxes.
        former_R4: These boxes.
        current_R4: Boxes of the same targets in the current frame.
        flow_2HW: Way from the current frame to the former one, in image pixels.
    """
    cells = state_RDmm.shape[-1]
    middles = cell_middles(current_R4, cells)
    height, width = flow_2HW.shape[-2:]
    limits = middles.new_tensor([width, height])
    there = _sample(flow_2HW[None].expand(len(middles), -1, -1, -1), middles / limits * 2 - 1, "border")
    places = middles + there.permute(0, 2, 3, 1)
    size = (former_R4[:, 2:] - former_R4[:, :2])[:, None, None]
    inside = (places - former_R4[:, None, None, :2]) / size
    return _sample(state_RDmm, inside * 2 - 1, "zeros")


def warp_mask(mask_HW: Tensor, flow_2HW: Tensor) -> Tensor:
    """The former frame's mask in the current frame, 0..1, [H, W]; flow as in `warp_state`."""
    return warp(mask_HW[None, None].float(), flow_2HW[None].float())[0, 0]


def crop_masks(masks_RHW: Tensor, boxes_R4: Tensor, cells: int) -> Tensor:
    """Values of masks at the cells of boxes, averaged over four points a cell, [R, m, m]."""
    height, width = masks_RHW.shape[-2:]
    middles = cell_middles(boxes_R4, 2 * cells)
    limits = middles.new_tensor([width, height])
    fine = _sample(masks_RHW[:, None].float(), middles / limits * 2 - 1, "zeros")
    return F.avg_pool2d(fine, 2)[:, 0]


def draw_mask(mask_mm: Tensor, box_4: Tensor, size: tuple[int, int]) -> Tensor:
    """A box's mask in a frame of that height and width, bilinear, zeros outside of the box, [H, W]."""
    height, width = size
    x = torch.arange(width, device=box_4.device, dtype=box_4.dtype) + 0.5
    y = torch.arange(height, device=box_4.device, dtype=box_4.dtype) + 0.5
    left, top, right, bottom = box_4.unbind()
    inside = ((x >= left) & (x < right))[None] & ((y >= top) & (y < bottom))[:, None]
    grid_x, grid_y = (x - left) / (right - left) * 2 - 1, (y - top) / (bottom - top) * 2 - 1
    grid = torch.stack([grid_x[None].expand(height, width), grid_y[:, None].expand(height, width)], dim=-1)
    return _sample(mask_mm[None, None].float(), grid[None], "border")[0, 0] * inside


def flow_image(flow_B2HW: Tensor) -> Tensor:
    """Flow as an image for the second stream: x, y and length in units of 20 pixels, [B, 3, H, W]."""
    flow = flow_B2HW / FLOW_UNIT
    return torch.cat([flow, flow.square().sum(dim=1, keepdim=True).sqrt()], dim=1)


def normalised_patch(image_BCHW: Tensor, box_4: Tensor, *, side: int) -> Tensor:
    """The square around a box as a patch, [B, C, side, side] (the challenge's input, section 3).

    Beyond the picture its border's values go on. Boxes of the patch are those of the picture, moved by the
    square's corner and scaled by `side` over its width.
    """
    height, width = image_BCHW.shape[-2:]
    middle = (box_4[:2] + box_4[2:]) / 2
    half = (box_4[2:] - box_4[:2]).max() / 2
    square = torch.cat([middle - half, middle + half])[None]
    places = cell_middles(square, side) / square.new_tensor([width, height]) * 2 - 1
    return _sample(image_BCHW, places.expand(len(image_BCHW), -1, -1, -1), "border")


def _sample(values_RCHW: Tensor, grid_RHW2: Tensor, outside: str) -> Tensor:
    """Bilinear values at places from -1 (left, upper edge) to 1; places are computed in float32 at least."""
    precise = torch.promote_types(values_RCHW.dtype, torch.float32)
    return F.grid_sample(
        values_RCHW.to(precise), grid_RHW2.to(precise), padding_mode=outside, align_corners=False
    ).to(values_RCHW.dtype)
