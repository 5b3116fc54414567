"""Region proposals with their suppression inside the graph, in operators that every runtime has.

Greedy suppression goes through the boxes one after the other. Here all are judged at once, again and again:
a box stays if no better box that stays overlaps it. From "all stay", every judgement of an odd number is a
subset of the greedy answer and every even one a superset, and both meet at it as soon as chains of boxes that
decide on one another are no longer than the number of judgements. Such chains are short: their length grows
with the logarithm of the number of boxes (Blelloch et al., SPAA 2012, for independent sets in random order).
What is still open after the last judgement, an odd one, goes: there are never doubles.

ONNX's own NonMaxSuppression returns a number of rows that depends on the values, of all images in one list;
a fixed number a box of an image would have to be scattered from it, and engines of static shapes would not
stay static.

Shape suffixes: B batch, A anchors, N candidates, R proposals, H and W feature size; a last 4 is xyxy in image
pixels, or deltas (x, y, log width, log height).
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from partstream_models.networks.rpn import RPNConfig, RPNOutputs, decode_boxes

JUDGEMENTS = 33
"""Odd; several times what trained networks and random boxes need."""
NEVER = -1e9
"""Below every difference of logits."""


class Proposals(NamedTuple):
    """Of each image, best first."""

    boxes_BR4: Tensor
    real_BR: Tensor
    """Whether the row is a proposal, bool; what follows the last is filling."""


def proposals_of(
    outputs: RPNOutputs, anchors_A4: Tensor, *, height: int, width: int, config: RPNConfig
) -> Proposals:
    """Proposals of each image as `partstream_models.networks.rpn.propose` returns them, with padding rows.

    Args:
        outputs: Of the region proposal network.
        anchors_A4: Of its feature map.
        height: Of the image, pixels.
        width: Of the image, pixels.
        config: How many, and how far apart.
    """
    surer_BA = outputs.logits_BA2[..., 1] - outputs.logits_BA2[..., 0]
    num_candidates = config.num_before_nms
    # fewer anchors than candidates leave rows of filling
    surer_BN, best_BN = F.pad(surer_BA, (0, num_candidates), value=NEVER).topk(num_candidates, dim=1)
    best_BN = best_BN.clamp(max=anchors_A4.shape[0] - 1)
    deltas_BN4 = outputs.deltas_BA4.gather(1, best_BN[..., None].expand(-1, -1, 4))
    boxes_BN4 = clipped(decode_boxes(deltas_BN4, anchors_A4[best_BN]), height=height, width=width)
    real_BN = (surer_BN > NEVER) & at_least_a_pixel(boxes_BN4)
    stays_BN = kept(boxes_BN4, real_BN, iou_threshold=config.nms_iou)
    return _first(boxes_BN4, stays_BN, config.num_proposals)


def kept(boxes_BN4: Tensor, real_BN: Tensor, *, iou_threshold: float) -> Tensor:
    """Mask of the boxes that non-maximum suppression keeps, [B, N] bool.

    Args:
        boxes_BN4: Best first.
        real_BN: Whether each counts at all; bool.
        iou_threshold: A box goes if a better one that stays overlaps it by more.
    """
    rank_N = torch.arange(boxes_BN4.shape[1], device=boxes_BN4.device)
    better_NN = rank_N[None, :] < rank_N[:, None]
    threatens_BNN = ((overlaps(boxes_BN4) > iou_threshold) & better_NN).to(boxes_BN4.dtype)
    real_BN1 = real_BN.to(boxes_BN4.dtype)[..., None]
    stays_BN1 = real_BN1
    for _ in range(JUDGEMENTS):
        stays_BN1 = real_BN1 * (threatens_BNN @ stays_BN1 < 0.5).to(boxes_BN4.dtype)
    return stays_BN1[..., 0] > 0.5


def overlaps(boxes_BN4: Tensor) -> Tensor:
    """Intersection over union of each pair of an image's boxes, [B, N, N]."""
    left, top, right, bottom = boxes_BN4.unbind(dim=-1)
    wide = torch.minimum(right[:, :, None], right[:, None]) - torch.maximum(left[:, :, None], left[:, None])
    high = torch.minimum(bottom[:, :, None], bottom[:, None]) - torch.maximum(top[:, :, None], top[:, None])
    shared = wide.clamp(min=0) * high.clamp(min=0)
    area = (right - left) * (bottom - top)
    return shared / (area[:, :, None] + area[:, None] - shared).clamp(min=1e-6)


def clipped(boxes_BN4: Tensor, *, height: int, width: int) -> Tensor:
    """Boxes cut to the image."""
    x = boxes_BN4[..., 0::2].clamp(min=0).clamp(max=width)
    y = boxes_BN4[..., 1::2].clamp(min=0).clamp(max=height)
    return torch.stack([x[..., 0], y[..., 0], x[..., 1], y[..., 1]], dim=-1)


def at_least_a_pixel(boxes_BN4: Tensor) -> Tensor:
    """Whether each box is a pixel wide and high, [B, N] bool."""
    return (boxes_BN4[..., 2:] - boxes_BN4[..., :2]).amin(dim=-1) >= 1


def _first(boxes_BN4: Tensor, stays_BN: Tensor, count: int) -> Proposals:
    """The first boxes that stay, in order."""
    num_boxes = boxes_BN4.shape[1]
    # whole numbers: bfloat16 does not tell 999 from 1000
    places_N = torch.arange(num_boxes, 0, -1, device=boxes_BN4.device)
    place_BR, rows_BR = (stays_BN.to(torch.int64) * places_N).topk(count, dim=1)
    return Proposals(boxes_BN4.gather(1, rows_BR[..., None].expand(-1, -1, 4)), place_BR > 0)
