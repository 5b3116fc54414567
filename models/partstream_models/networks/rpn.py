"""Region proposals: anchors, their targets, and the boxes that are proposed.

Shape suffixes: B batch, C channels, H height, W width, A anchors of the whole map, N people, R proposals; a
last 4 of deltas is (x, y, log width, log height) against the anchor.

Source: Faster R-CNN (Ren et al., NeurIPS 2015), section 3.1; ATEN (Zhou et al., MM 2018), section 4.5: five
scales and three aspect ratios at stride 4. The scales are not in the paper; they are those of common use.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from partstream_core.nms import non_maximum_suppression

DELTA_SCALE = (0.1, 0.1, 0.2, 0.2)
_MAX_LOG_GROWTH = math.log(1000 / 16)


@dataclass(frozen=True, kw_only=True, slots=True)
class RPNConfig:
    """Anchors, matching and proposals."""

    stride: int = 4
    scales: tuple[float, ...] = (32, 64, 128, 256, 512)
    """Square roots of anchor areas, image pixels."""
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    """Width against height."""
    channels: int = 512
    positive_iou: float = 0.7
    negative_iou: float = 0.3
    num_sampled: int = 256
    """Anchors an image in the loss, at most half of them positive."""
    nms_iou: float = 0.7
    num_before_nms: int = 1000
    num_proposals: int = 300

    def __post_init__(self) -> None:
        if not 0 <= self.negative_iou <= self.positive_iou <= 1:
            raise ValueError(f"negative below {self.negative_iou} and positive from {self.positive_iou}?")

    @property
    def num_anchors(self) -> int:
        """Anchors of a cell."""
        return len(self.scales) * len(self.ratios)


class RPNOutputs(NamedTuple):
    """Of every anchor."""

    logits_BA2: Tensor
    """Background, person."""
    deltas_BA4: Tensor


class AnchorTargets(NamedTuple):
    """Targets of the anchors of one image."""

    label_A: Tensor
    """1 person, 0 background, -1 not asked; int64."""
    person_A: Tensor
    """Row of the person with the largest overlap; meaningless where the label is not 1."""


class RegionProposalNetwork(nn.Module):
    """A 3x3 convolution, then class and box of every anchor."""

    def __init__(self, *, in_channels: int, config: RPNConfig) -> None:
        super().__init__()
        self.config = config
        self.shared = nn.Conv2d(in_channels, config.channels, 3, padding=1)
        self.person = nn.Conv2d(config.channels, 2 * config.num_anchors, 1)
        self.box = nn.Conv2d(config.channels, 4 * config.num_anchors, 1)
        for layer in (self.person, self.box):
            nn.init.normal_(layer.weight, std=0.01)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(self, feature_BCHW: Tensor) -> RPNOutputs:
        """Logits and deltas in the order of `make_anchors`."""
        x = self.shared(feature_BCHW).relu()
        batch = x.shape[0]  # not len(): a trace would keep the number it had
        person = self.person(x).permute(0, 2, 3, 1).reshape(batch, -1, 2)
        return RPNOutputs(person, self.box(x).permute(0, 2, 3, 1).reshape(batch, -1, 4))


def make_anchors(height: int, width: int, config: RPNConfig, *, device: torch.device | None = None) -> Tensor:
    """Anchors of a feature map, row by row, cell by cell, [A, 4], xyxy in image pixels."""
    scales = torch.tensor(config.scales, device=device).repeat_interleave(len(config.ratios))
    ratios = torch.tensor(config.ratios, device=device).repeat(len(config.scales))
    half_w, half_h = scales * ratios.sqrt() / 2, scales / ratios.sqrt() / 2
    shapes = torch.stack([-half_w, -half_h, half_w, half_h], dim=1)
    y = (torch.arange(height, device=device) + 0.5) * config.stride
    x = (torch.arange(width, device=device) + 0.5) * config.stride
    grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
    centers = torch.stack([grid_x, grid_y, grid_x, grid_y], dim=-1).reshape(-1, 1, 4)
    return (centers + shapes).reshape(-1, 4)


def iou(a_A4: Tensor, b_N4: Tensor) -> Tensor:
    """Intersection over union of each pair, [A, N]."""
    shared = torch.minimum(a_A4[:, None, 2:], b_N4[:, 2:]) - torch.maximum(a_A4[:, None, :2], b_N4[:, :2])
    inter = shared.clamp(min=0).prod(dim=2)
    area_a = (a_A4[:, 2:] - a_A4[:, :2]).prod(dim=1)[:, None]
    area_b = (b_N4[:, 2:] - b_N4[:, :2]).prod(dim=1)
    return inter / (area_a + area_b - inter).clamp(min=1e-6)


def assign_anchors(anchors_A4: Tensor, boxes_N4: Tensor, config: RPNConfig) -> AnchorTargets:
    """Which anchors are people's: overlap of .7 or more, or the best one of a person; background below .3.

    The best anchor of a person counts however little it overlaps, or small people would have none.
    """
    if len(boxes_N4) == 0:
        nobody = torch.zeros(len(anchors_A4), dtype=torch.int64, device=anchors_A4.device)
        return AnchorTargets(nobody, nobody)
    overlap_AN = iou(anchors_A4, boxes_N4)
    best, person = overlap_AN.max(dim=1)
    label = torch.full_like(person, -1)
    label[best < config.negative_iou] = 0
    best_anchor = overlap_AN.argmax(dim=0)
    touched = overlap_AN.amax(dim=0) > 0
    label[best_anchor[touched]] = 1
    person[best_anchor[touched]] = touched.nonzero()[:, 0]
    label[best >= config.positive_iou] = 1
    return AnchorTargets(label, person)


def sample_anchors(label_A: Tensor, num_sampled: int, generator: torch.Generator | None = None) -> Tensor:
    """Indices of anchors for the loss: half positive where there are enough, the rest background."""
    positive = _some((label_A == 1).nonzero()[:, 0], num_sampled // 2, generator)
    negative = _some((label_A == 0).nonzero()[:, 0], num_sampled - len(positive), generator)
    return torch.cat([positive, negative])


def encode_boxes(boxes_R4: Tensor, anchors_R4: Tensor) -> Tensor:
    """Deltas that take each anchor to its box, over `DELTA_SCALE`, [R, 4]."""
    size, center = _size_and_center(boxes_R4)
    anchor_size, anchor_center = _size_and_center(anchors_R4)
    shift = (center - anchor_center) / anchor_size
    growth = (size.clamp(min=1e-3) / anchor_size.clamp(min=1e-3)).log()
    return torch.cat([shift, growth], dim=-1) / shift.new_tensor(DELTA_SCALE)


def decode_boxes(deltas_R4: Tensor, anchors_R4: Tensor) -> Tensor:
    """Boxes, xyxy in image pixels, from deltas; the inverse of `encode_boxes`."""
    deltas = deltas_R4 * deltas_R4.new_tensor(DELTA_SCALE)
    anchor_size, anchor_center = _size_and_center(anchors_R4)
    center = anchor_center + deltas[..., :2] * anchor_size
    half = anchor_size * deltas[..., 2:].clamp(max=_MAX_LOG_GROWTH).exp() / 2
    return torch.cat([center - half, center + half], dim=-1)


def clip_boxes(boxes_R4: Tensor, height: int, width: int) -> Tensor:
    """Boxes cut to the image."""
    limit = boxes_R4.new_tensor([width, height, width, height])
    return torch.minimum(boxes_R4.clamp(min=0), limit)


@torch.no_grad()
def propose(
    logits_A2: Tensor, deltas_A4: Tensor, anchors_A4: Tensor, *, size: tuple[int, int], config: RPNConfig
) -> Tensor:
    """Proposals of one image, best first, [R, 4], xyxy in image pixels.

    Args:
        logits_A2: Of its anchors.
        deltas_A4: Of its anchors.
        anchors_A4: From `make_anchors`.
        size: Height and width of the image.
        config: How many, and how far apart.
    """
    # in the order of the softmax, which rounds scores that lie close together to the same number
    scores = logits_A2[:, 1].float() - logits_A2[:, 0].float()
    best = scores.topk(min(config.num_before_nms, len(scores))).indices
    boxes = clip_boxes(decode_boxes(deltas_A4[best].float(), anchors_A4[best]), *size)
    real = (boxes[:, 2:] - boxes[:, :2]).amin(dim=1) >= 1
    boxes, kept_scores = boxes[real], scores[best][real]
    return boxes[kept_by_nms(boxes, kept_scores, iou_threshold=config.nms_iou, max_kept=config.num_proposals)]


def kept_by_nms(boxes_R4: Tensor, scores_R: Tensor, *, iou_threshold: float, max_kept: int) -> Tensor:
    """Indices that non-maximum suppression keeps, best first; it runs on the host."""
    kept = non_maximum_suppression(
        boxes_R4.detach().cpu().numpy(),
        scores_R.detach().cpu().numpy(),
        iou_threshold=iou_threshold,
        max_kept=max_kept,
    )
    return torch.from_numpy(kept).to(boxes_R4.device)


def _some(indices: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    order = torch.randperm(len(indices), generator=generator).to(indices.device)
    return indices[order[:count]]


def _size_and_center(boxes_R4: Tensor) -> tuple[Tensor, Tensor]:
    return boxes_R4[..., 2:] - boxes_R4[..., :2], (boxes_R4[..., 2:] + boxes_R4[..., :2]) / 2
