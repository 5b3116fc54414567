"""Parsing R-CNN: Mask R-CNN's people and a global parsing of parts, from one feature map.

Shape suffixes: B batch, C channels, H and W feature size, R regions, N people, P parts, S cells a side; 2 is
(background, person).

Source: ATEN (Zhou et al., MM 2018), sections 4.3 and 4.5; Mask R-CNN (He et al., ICCV 2017). Width and depth
of the heads, which the paper leaves out, are Mask R-CNN's.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from partstream_core.labels import NUM_PARTS
from partstream_models.networks.roi_align import roi_align
from partstream_models.networks.rpn import (
    RegionProposalNetwork,
    RPNConfig,
    RPNOutputs,
    clip_boxes,
    decode_boxes,
    encode_boxes,
    iou,
    kept_by_nms,
    make_anchors,
    propose,
)

BOX_CELLS, MASK_CELLS = 7, 14


@dataclass(frozen=True, kw_only=True, slots=True)
class ParsingRCNNConfig:
    """Widths, thresholds and the sampling of regions."""

    channels: int = 256
    box_channels: int = 1024
    num_classes: int = NUM_PARTS
    rates: tuple[int, ...] = (6, 12, 18)
    rpn: RPNConfig = field(default_factory=RPNConfig)
    num_regions: int = 128
    """Regions an image in training."""
    positive_share: float = 1 / 3
    positive_iou: float = 0.5
    min_score: float = 0.7
    nms_iou: float = 0.3
    max_people: int = 100


class RegionTargets(NamedTuple):
    """Regions of one image drawn for training, people's first."""

    boxes_R4: Tensor
    person_R: Tensor
    """Row of the person that the region stands for, -1 for background; int64."""


class BoxOutputs(NamedTuple):
    """Of every region."""

    logits_R2: Tensor
    deltas_R24: Tensor
    """Of either class, [R, 2, 4]; the background's mean nothing."""


class People(NamedTuple):
    """People found in one image, best first."""

    boxes_R4: Tensor
    """xyxy in image pixels."""
    scores_R: Tensor
    masks_RSS: Tensor
    """Probabilities on a grid of 28 x 28 over each box."""


class BoxHead(nn.Sequential):
    """Two fully connected layers (the first as a 7x7 convolution) on a region's features."""

    def __init__(self, *, in_channels: int, channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, channels, BOX_CELLS),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 1),
            nn.ReLU(inplace=True),
            nn.Flatten(),
        )


class MaskHead(nn.Module):
    """Four convolutions, a deconvolution to twice the size, and one logit of each class."""

    def __init__(self, *, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(4):
            layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(inplace=True)]
        self.tower = nn.Sequential(*layers)
        self.up = nn.ConvTranspose2d(channels, channels, 2, 2)
        self.classify = nn.Conv2d(channels, 2, 1)

    def forward(self, regions_RCSS: Tensor) -> Tensor:
        """Logits of the class person, [R, 2S, 2S]."""
        logits: Tensor = self.classify(self.up(self.tower(regions_RCSS)).relu())
        return logits[:, 1]


class GlobalParsing(nn.Module):
    """The sum of atrous convolutions at several rates, each straight to the classes."""

    def __init__(self, *, in_channels: int, num_classes: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Conv2d(in_channels, num_classes, 3, padding=rate, dilation=rate) for rate in rates
        )

    def forward(self, feature_BCHW: Tensor) -> Tensor:
        """Logits, [B, P, H, W]."""
        return torch.stack([branch(feature_BCHW) for branch in self.branches]).sum(dim=0)


class ParsingRCNN(nn.Module):
    """Region proposals, boxes, masks and the global parsing."""

    def __init__(self, config: ParsingRCNNConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ParsingRCNNConfig()
        self.rpn = RegionProposalNetwork(in_channels=config.channels, config=config.rpn)
        self.parsing = GlobalParsing(
            in_channels=config.channels, num_classes=config.num_classes, rates=config.rates
        )
        self.box_head = BoxHead(in_channels=config.channels, channels=config.box_channels)
        self.classify = nn.Linear(config.box_channels, 2)
        self.refine = nn.Linear(config.box_channels, 8)
        self.mask_head = MaskHead(channels=config.channels)

    def boxes(self, feature_BCHW: Tensor, boxes_R4: Tensor, batch_index_R: Tensor) -> BoxOutputs:
        """Class and refinement of each region."""
        regions = self.regions(feature_BCHW, boxes_R4, batch_index_R, BOX_CELLS)
        x = self.box_head(regions)
        return BoxOutputs(self.classify(x), self.refine(x).reshape(-1, 2, 4))

    def masks(self, feature_BCHW: Tensor, boxes_R4: Tensor, batch_index_R: Tensor) -> Tensor:
        """Mask logits of each region, [R, 28, 28]."""
        logits: Tensor = self.mask_head(self.regions(feature_BCHW, boxes_R4, batch_index_R, MASK_CELLS))
        return logits

    def regions(self, feature_BCHW: Tensor, boxes_R4: Tensor, batch_index_R: Tensor, size: int) -> Tensor:
        """Features of each region on a grid, [R, C, size, size]."""
        stride = self.config.rpn.stride
        return roi_align(feature_BCHW, boxes_R4, batch_index_R, size=size, stride=stride)

    def anchors(self, feature_BCHW: Tensor) -> Tensor:
        """All anchors of a feature map, [A, 4]."""
        height, width = feature_BCHW.shape[-2:]
        return make_anchors(height, width, self.config.rpn, device=feature_BCHW.device)

    def proposals(self, outputs: RPNOutputs, anchors_A4: Tensor, size: tuple[int, int]) -> list[Tensor]:
        """Proposals of each image, best first."""
        return [
            propose(logits, deltas, anchors_A4, size=size, config=self.config.rpn)
            for logits, deltas in zip(*outputs, strict=True)
        ]

    @torch.no_grad()
    def detect(self, feature_BCHW: Tensor) -> list[People]:
        """People of each image."""
        stride = self.config.rpn.stride
        size = (feature_BCHW.shape[-2] * stride, feature_BCHW.shape[-1] * stride)
        proposals = self.proposals(self.rpn(feature_BCHW), self.anchors(feature_BCHW), size)
        return [
            self._detect_in(feature_BCHW[image : image + 1], boxes, size)
            for image, boxes in enumerate(proposals)
        ]

    def _detect_in(self, feature_1CHW: Tensor, proposals_R4: Tensor, size: tuple[int, int]) -> People:
        outputs = self.boxes(feature_1CHW, proposals_R4, _zeros(proposals_R4))
        scores = outputs.logits_R2.float().softmax(dim=1)[:, 1]
        boxes = clip_boxes(decode_boxes(outputs.deltas_R24[:, 1].float(), proposals_R4), *size)
        sure = (scores >= self.config.min_score) & ((boxes[:, 2:] - boxes[:, :2]).amin(dim=1) >= 1)
        boxes, scores = boxes[sure], scores[sure]
        kept = kept_by_nms(boxes, scores, iou_threshold=self.config.nms_iou, max_kept=self.config.max_people)
        boxes, scores = boxes[kept], scores[kept]
        masks = self.masks(feature_1CHW, boxes, _zeros(boxes)).float().sigmoid()
        return People(boxes, scores, masks)


def sample_regions(
    proposals_R4: Tensor,
    boxes_N4: Tensor,
    config: ParsingRCNNConfig,
    generator: torch.Generator | None = None,
) -> RegionTargets:
    """Regions of one image for training: a third people (IoU of .5 or more), the rest background.

    The true boxes are among the candidates, so that a person is there before proposals are any good.
    """
    candidates = torch.cat([boxes_N4, proposals_R4])
    if len(boxes_N4) == 0:
        person = torch.full((len(candidates),), -1, dtype=torch.int64, device=candidates.device)
    else:
        best, person = iou(candidates, boxes_N4).max(dim=1)
        person = torch.where(best >= config.positive_iou, person, -1)
    order = torch.randperm(len(candidates), generator=generator).to(candidates.device)
    shuffled = person[order]
    positive = order[shuffled >= 0][: int(config.num_regions * config.positive_share)]
    negative = order[shuffled < 0][: config.num_regions - len(positive)]
    chosen = torch.cat([positive, negative])
    return RegionTargets(candidates[chosen], person[chosen])


def region_deltas(targets: RegionTargets, boxes_N4: Tensor) -> Tensor:
    """Deltas that take each of people's regions to its person's box, [people's regions, 4]."""
    positive = targets.person_R >= 0
    return encode_boxes(boxes_N4[targets.person_R[positive]], targets.boxes_R4[positive])


def region_masks(targets: RegionTargets, masks_NHW: Tensor) -> Tensor:
    """The person's mask on the 28 x 28 grid of each of people's regions, 0 or 1."""
    positive = targets.person_R >= 0
    masks = masks_NHW[targets.person_R[positive]][:, None].float()
    rows = torch.arange(len(masks), device=masks.device)
    aligned = roi_align(masks, targets.boxes_R4[positive], rows, size=2 * MASK_CELLS, stride=1)
    return (aligned[:, 0] >= 0.5).float()


def paste_masks(people: People, height: int, width: int) -> Tensor:
    """Mask probabilities of each person over the whole image, [R, height, width]; zero outside the box."""
    boxes = people.boxes_R4
    if len(boxes) == 0:
        return boxes.new_zeros(0, height, width)
    sizes = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-3)
    x = (torch.arange(width, device=boxes.device) + 0.5 - boxes[:, 0:1]) / sizes[:, 0:1] * 2 - 1
    y = (torch.arange(height, device=boxes.device) + 0.5 - boxes[:, 1:2]) / sizes[:, 1:2] * 2 - 1
    shape = (len(boxes), height, width)
    grid = torch.stack([x[:, None, :].expand(shape), y[:, :, None].expand(shape)], dim=-1)
    inside = (grid.abs() <= 1).all(dim=-1)
    pasted = F.grid_sample(people.masks_RSS[:, None], grid, padding_mode="border", align_corners=False)
    return pasted[:, 0] * inside


def _zeros(boxes_R4: Tensor) -> Tensor:
    return torch.zeros(len(boxes_R4), dtype=torch.int64, device=boxes_R4.device)
