"""Losses of Parsing R-CNN.

Shape suffixes: B batch, C channels, H and W image size, A anchors, N people, R regions, P parts.

Source: ATEN (Zhou et al., MM 2018), eq. 7, whose class and box terms stand for proposals' and regions', each
with weight one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from partstream_core.labels import VOID
from partstream_models.networks.parsing_rcnn import (
    ParsingRCNN,
    RegionTargets,
    region_deltas,
    region_masks,
    sample_regions,
)
from partstream_models.networks.rpn import RPNOutputs, assign_anchors, encode_boxes, sample_anchors


@dataclass(frozen=True, slots=True, eq=False)
class FrameTruth:
    """Target of one frame."""

    parts_HW: Tensor
    """int64; 255 void."""
    boxes_N4: Tensor
    """xyxy in image pixels."""
    masks_NHW: Tensor
    """0 or 1."""

    def __post_init__(self) -> None:
        if self.masks_NHW.shape != (len(self.boxes_N4), *self.parts_HW.shape):
            raise ValueError(
                f"masks are {tuple(self.masks_NHW.shape)} for {len(self.boxes_N4)} people on "
                f"{tuple(self.parts_HW.shape)}"
            )

    def to(self, device: str) -> "FrameTruth":
        """The same on a device."""
        return FrameTruth(self.parts_HW.to(device), self.boxes_N4.to(device), self.masks_NHW.to(device))


class _RegionBatch(NamedTuple):
    targets: Sequence[RegionTargets]
    boxes_R4: Tensor
    batch_index_R: Tensor
    person_R: Tensor


def parsing_loss(logits_BPHW: Tensor, parts_BHW: Tensor) -> Tensor:
    """Cross-entropy at the image's size over pixels that are not void; zero where all are."""
    size = (parts_BHW.shape[-2], parts_BHW.shape[-1])
    logits = F.interpolate(logits_BPHW.float(), size=size, mode="bilinear", align_corners=False)
    total = F.cross_entropy(logits, parts_BHW, ignore_index=VOID, reduction="sum")
    return total / (parts_BHW != VOID).sum().clamp(min=1)


def parsing_rcnn_losses(
    heads: ParsingRCNN, feature_BCHW: Tensor, truths: Sequence[FrameTruth], generator: torch.Generator
) -> dict[str, Tensor]:
    """The terms of eq. 7; those without anybody to learn from are zero."""
    parts = torch.stack([truth.parts_HW for truth in truths])
    anchors = heads.anchors(feature_BCHW)
    outputs = heads.rpn(feature_BCHW)
    height, width = parts.shape[-2:]
    proposals = heads.proposals(outputs, anchors, (height, width))
    targets = [
        sample_regions(boxes, truth.boxes_N4, heads.config, generator)
        for boxes, truth in zip(proposals, truths, strict=True)
    ]
    return {
        "parsing": parsing_loss(heads.parsing(feature_BCHW), parts),
        **_proposal_losses(outputs, anchors, truths, heads, generator),
        **_region_losses(heads, feature_BCHW, _together(targets), truths),
    }


def _proposal_losses(
    outputs: RPNOutputs,
    anchors_A4: Tensor,
    truths: Sequence[FrameTruth],
    heads: ParsingRCNN,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    config = heads.config.rpn
    person_loss, box_loss = [], []
    for logits, deltas, truth in zip(*outputs, truths, strict=True):
        targets = assign_anchors(anchors_A4, truth.boxes_N4, config)
        chosen = sample_anchors(targets.label_A, config.num_sampled, generator)
        person_loss.append(F.cross_entropy(logits[chosen].float(), targets.label_A[chosen]))
        mine = chosen[targets.label_A[chosen] == 1]
        wanted = encode_boxes(truth.boxes_N4[targets.person_A[mine]], anchors_A4[mine])
        box_loss.append(_smooth_l1(deltas[mine].float(), wanted))
    return {"rpn_class": torch.stack(person_loss).mean(), "rpn_box": torch.stack(box_loss).mean()}


def _region_losses(
    heads: ParsingRCNN, feature_BCHW: Tensor, batch: _RegionBatch, truths: Sequence[FrameTruth]
) -> dict[str, Tensor]:
    outputs = heads.boxes(feature_BCHW, batch.boxes_R4, batch.batch_index_R)
    positive = batch.person_R >= 0
    pairs = list(zip(batch.targets, truths, strict=True))
    deltas = torch.cat([region_deltas(targets, truth.boxes_N4) for targets, truth in pairs])
    masks = torch.cat([region_masks(targets, truth.masks_NHW) for targets, truth in pairs])
    logits = heads.masks(feature_BCHW, batch.boxes_R4[positive], batch.batch_index_R[positive]).float()
    mask_loss = F.binary_cross_entropy_with_logits(logits, masks, reduction="sum") / max(masks.numel(), 1)
    return {
        "class": F.cross_entropy(outputs.logits_R2.float(), positive.long()),
        "box": _smooth_l1(outputs.deltas_R24[positive, 1].float(), deltas),
        "mask": mask_loss,
    }


def _together(targets: Sequence[RegionTargets]) -> _RegionBatch:
    boxes = torch.cat([target.boxes_R4 for target in targets])
    counts = torch.tensor([len(target.boxes_R4) for target in targets], device=boxes.device)
    index = torch.arange(len(targets), device=boxes.device).repeat_interleave(counts)
    return _RegionBatch(targets, boxes, index, torch.cat([target.person_R for target in targets]))


def _smooth_l1(given: Tensor, wanted: Tensor) -> Tensor:
    return F.smooth_l1_loss(given, wanted, reduction="sum") / max(given.numel(), 1)
