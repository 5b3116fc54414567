"""Losses of the live network.

Shape suffixes: B batch, L locations, R rows (positive locations), P parts, H and W network size, h and w the
size at stride 4.

Source: FCOS (focal, GIoU weighted by centerness, centerness BCE), CondInst (dice on masks), HVISNet eqs. 1-3
(triplet and classification on embeddings); parsing is cross-entropy with the hardest pixels, dice, and
partial labels from pretrained networks where there are none.
"""

from dataclasses import dataclass, field
from itertools import cycle
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from partstream_core.labels import NUM_PARTS, VOID
from partstream_models.data.batches import Batch
from partstream_models.data.photos.partial_labels import allowed_parts
from partstream_models.networks.condinst import mask_logits
from partstream_models.networks.fcos import SamplingConfig, Targets, all_locations, assign, decode_boxes
from partstream_models.networks.live import MASK_STRIDE, DenseOutputs, LiveNetwork
from partstream_models.training.identity_loss import IdentityLoss

MAX_MASK_ROWS = 80
_CORNERS = ((1, 1), (2, 2), (1, 2), (2, 1))
"""Row and column of the pixels around the middle of a cell at stride 4."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LossConfig:
    """Weights of the terms."""

    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    box: float = 1.0
    mask: float = 2.0
    rivals: float = 0.5
    """Cross-entropy where a mask lies on other people inside its own box."""
    parts: float = 2.0
    parts_dice: float = 1.0
    identity: float = 0.3
    triplet: float = 0.3
    teacher: float = 0.5
    background: float = 1.0
    """Factor on the background's class weight; below 1 a missed person costs more than a false one."""
    hard_share: float = 0.3
    """Share of the pixels, hardest first, that the parsing loss looks at (OHEM)."""


@dataclass(frozen=True, slots=True)
class Positives:
    """The positive locations of a batch, flattened."""

    image_R: Tensor
    location_R: Tensor
    person_R: Tensor
    distances_R4: Tensor
    centerness_R: Tensor


class LiveLoss(nn.Module):
    """All terms for a batch; holds the identity classifier, which is not part of the shipped network."""

    def __init__(self, *, config: LossConfig, num_identities: int, class_weights: Tensor) -> None:
        super().__init__()
        self._config = config
        self.identity = IdentityLoss(num_identities)
        scaled = class_weights.clone()
        scaled[0] *= config.background
        self.register_buffer("class_weights", scaled, persistent=False)
        self.register_buffer("allowed", torch.from_numpy(allowed_parts()), persistent=False)

    def forward(self, outputs: DenseOutputs, batch: Batch) -> dict[str, Tensor]:
        """Weighted terms by name; their sum is the loss."""
        config = self._config
        height, width = batch.instances_BHW.shape[-2:]
        device = outputs.person_logits.device
        locations_L3, level_L = all_locations(height, width, device=device)
        targets = [
            assign(
                locations_L3, level_L, people.boxes_N4.to(device), people.centers_N2.to(device),
                config=config.sampling,
            )
            for people in batch.people
        ]  # fmt: skip
        positives = _positives(targets)
        cells = cell_labels(batch, device)
        terms = {"score": self._score(outputs, targets, batch, locations_L3)}
        terms["parts"], terms["parts_dice"] = self._parts(outputs.part_logits, cells.parts_Bhw)
        terms["teacher"] = self._teacher(outputs.part_logits, cells.teacher_Bhw)
        if len(positives.image_R):
            terms["box"], terms["center"] = self._boxes(outputs, positives, locations_L3)
            terms["mask"], terms["rivals"] = self._masks(
                outputs, positives, locations_L3, batch, cells.instances_Bhw
            )
            classify, triplet = self.identity(outputs.identity_map, batch)
            terms["identity"], terms["triplet"] = classify * config.identity, triplet * config.triplet
        return terms

    def _score(
        self, outputs: DenseOutputs, targets: list[Targets], batch: Batch, locations_L3: Tensor
    ) -> Tensor:
        truth_BL = torch.stack([target.person_L >= 0 for target in targets]).float()
        columns, rows = locations_L3[:, 0].long(), locations_L3[:, 1].long()
        void_BL = batch.instances_BHW.to(truth_BL.device)[:, rows, columns] == VOID
        keep_BL = (~void_BL | (truth_BL > 0)).float()
        focal = focal_loss(outputs.person_logits.float(), truth_BL) * keep_BL
        return focal.sum() / truth_BL.sum().clamp(min=4)

    def _boxes(
        self, outputs: DenseOutputs, positives: Positives, locations_L3: Tensor
    ) -> tuple[Tensor, Tensor]:
        rows = (positives.image_R, positives.location_R)
        predicted = decode_boxes(locations_L3[positives.location_R], outputs.distances[rows].float())
        truth = decode_boxes(locations_L3[positives.location_R], positives.distances_R4)
        weight = positives.centerness_R.clamp(min=0.05)
        box = (giou_loss(predicted, truth) * weight).sum() / weight.sum()
        center = F.binary_cross_entropy_with_logits(
            outputs.centerness_logits[rows].float(), positives.centerness_R
        )
        return box * self._config.box, center

    def _masks(
        self,
        outputs: DenseOutputs,
        positives: Positives,
        locations_L3: Tensor,
        batch: Batch,
        instances_Bhw: Tensor,
    ) -> tuple[Tensor, Tensor]:
        pick = torch.randperm(len(positives.image_R))[:MAX_MASK_ROWS]
        image, location = positives.image_R[pick], positives.location_R[pick]
        logits = mask_logits(
            outputs.mask_features.float(),
            outputs.mask_parameters[image, location].float(),
            locations_L3[location],
            image,
            stride=MASK_STRIDE,
            doubled=False,
        )
        values = torch.stack(
            [
                batch.people[int(b)].rows_N[int(n)]
                for b, n in zip(image, positives.person_R[pick], strict=True)
            ]
        ).to(logits.device)
        truth = instances_Bhw[image]
        keep = (truth != VOID).float()
        wanted = (truth == values[:, None, None]).float() * keep
        probability = logits.sigmoid() * keep
        overlap = (probability * wanted).sum(dim=(1, 2))
        total = (probability**2).sum(dim=(1, 2)) + (wanted**2).sum(dim=(1, 2))
        dice = 1 - 2 * overlap / total.clamp(min=1e-3)
        boxes_R4 = decode_boxes(locations_L3[location], positives.distances_R4[pick])
        rivals = keep * (truth > 0) * (1 - wanted) * _inside(boxes_R4, truth.shape[-2:])
        leak = (F.softplus(logits) * rivals).sum() / rivals.sum().clamp(min=1)
        return dice.mean() * self._config.mask, leak * self._config.rivals

    def _parts(self, logits_BPHW: Tensor, parts_Bhw: Tensor) -> tuple[Tensor, Tensor]:
        truth = parts_Bhw.long()
        logits = logits_BPHW.float()
        weights: Tensor = self.get_buffer("class_weights")
        per_pixel = F.cross_entropy(
            logits, truth, weight=weights, ignore_index=VOID, reduction="none"
        ).flatten()
        count = max(int(per_pixel.numel() * self._config.hard_share), 1)
        hard = per_pixel.topk(count).values.mean()
        keep = (truth != VOID)[:, None]
        probability = logits.softmax(dim=1) * keep
        wanted = F.one_hot(truth.clamp(max=NUM_PARTS - 1), NUM_PARTS).permute(0, 3, 1, 2) * keep
        overlap = (probability * wanted).sum(dim=(0, 2, 3))
        total = (probability + wanted).sum(dim=(0, 2, 3))
        present = wanted.sum(dim=(0, 2, 3)) > 0
        dice = (1 - 2 * overlap / total.clamp(min=1.0))[present].mean()
        return hard * self._config.parts, dice * self._config.parts_dice

    def _teacher(self, logits_BPHW: Tensor, answers_Bhw: Tensor) -> Tensor:
        """-log of what the allowed parts share, over the void pixels that the teachers are sure of."""
        answers = answers_Bhw.long()
        said = answers > 0
        if not said.any():
            return logits_BPHW.sum() * 0.0
        logits_NP = logits_BPHW.permute(0, 2, 3, 1)[said].float()
        allowed_NP = self.get_buffer("allowed")[answers[said]]
        share_N = (logits_NP.softmax(dim=1) * allowed_NP).sum(dim=1)
        return -share_N.clamp(min=1e-4).log().mean() * self._config.teacher

    def center(self, network: LiveNetwork) -> None:
        """Fold the mean embedding into the network, so that its embeddings are centred without this loss."""
        self.identity.center(network)


class CellLabels(NamedTuple):
    """Labels at the cells of a map at stride 4."""

    parts_Bhw: Tensor
    instances_Bhw: Tensor
    teacher_Bhw: Tensor


def cell_labels(batch: Batch, device: torch.device) -> CellLabels:
    """Take one of the four pixels around the middle of each cell.

    A cell's middle lies on the corner of four pixels. To take always the same one of them moves every mask by
    half a pixel; the images of a batch take turns, so that the mean is the middle.
    """

    def sampled(labels_BHW: Tensor) -> Tensor:
        rows = [
            labels_HW[row::4, column::4]
            for labels_HW, (row, column) in zip(labels_BHW, cycle(_CORNERS), strict=False)
        ]
        return torch.stack(rows).to(device)

    return CellLabels(sampled(batch.parts_BHW), sampled(batch.instances_BHW), sampled(batch.teacher_BHW))


def _inside(boxes_R4: Tensor, size: tuple[int, ...]) -> Tensor:
    """Whether the middle of each pixel of a map at stride 4 is in each box, 0 or 1, [R, H, W]."""
    y = (torch.arange(size[0], device=boxes_R4.device) * 4 + 2).reshape(1, -1, 1)
    x = (torch.arange(size[1], device=boxes_R4.device) * 4 + 2).reshape(1, 1, -1)
    left, top, right, bottom = (side.reshape(-1, 1, 1) for side in boxes_R4.unbind(dim=1))
    return ((x >= left) & (x < right) & (y >= top) & (y < bottom)).float()


def _positives(targets: list[Targets]) -> Positives:
    person_BL = torch.stack([target.person_L for target in targets])
    image, location = (person_BL >= 0).nonzero(as_tuple=True)
    return Positives(
        image,
        location,
        person_BL[image, location],
        torch.stack([target.distances_L4 for target in targets])[image, location],
        torch.stack([target.centerness_L for target in targets])[image, location],
    )


def focal_loss(logits: Tensor, truth: Tensor, *, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Focal loss of each element (Lin et al., ICCV 2017, eq. 5)."""
    cross_entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    probability = logits.sigmoid()
    miss = torch.where(truth > 0, 1 - probability, probability)
    balance = torch.where(truth > 0, alpha, 1 - alpha)
    return balance * miss**gamma * cross_entropy


def giou_loss(boxes_R4: Tensor, truth_R4: Tensor) -> Tensor:
    """1 - generalised IoU of each pair of boxes (Rezatofighi et al., CVPR 2019)."""
    low = torch.maximum(boxes_R4[:, :2], truth_R4[:, :2])
    high = torch.minimum(boxes_R4[:, 2:], truth_R4[:, 2:])
    overlap = (high - low).clamp(min=0).prod(dim=1)
    union = _area(boxes_R4) + _area(truth_R4) - overlap
    outer_low = torch.minimum(boxes_R4[:, :2], truth_R4[:, :2])
    outer_high = torch.maximum(boxes_R4[:, 2:], truth_R4[:, 2:])
    outer = (outer_high - outer_low).prod(dim=1).clamp(min=1e-6)
    return 1 - (overlap / union.clamp(min=1e-6) - (outer - union) / outer)


def _area(boxes_R4: Tensor) -> Tensor:
    return (boxes_R4[:, 2:] - boxes_R4[:, :2]).clamp(min=0).prod(dim=1)
