"""Losses of HVISNet.

Detection is FCOS's, masks BlendMask's or CondInst's, embeddings HVISNet's eqs. 1-3. The weights are those of
the published parts; the identity branch's weight of one is ours. Masks learn on true boxes, as BlendMask's.

Shape suffixes: B batch, L locations, R positive locations, N people of all images, S mask cells a side, H and
W network size.

Source: FCOS (Tian et al., ICCV 2019), section 3; BlendMask (Chen et al., CVPR 2020), sections 3 and 4;
CondInst (Tian et al., ECCV 2020), section 3.3; HVISNet (Yu et al.), section III.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from partstream_core.labels import VOID
from partstream_models.data.batches import People
from partstream_models.networks.blendmask import BASES_STRIDE, MASK_CELLS, blend
from partstream_models.networks.condinst import mask_logits
from partstream_models.networks.fcos import SamplingConfig, all_locations, assign, decode_boxes
from partstream_models.networks.hvisnet import HVISNetConfig, HVISOutputs, Masks
from partstream_models.networks.layers import ConvNormAct
from partstream_models.networks.roi_align import roi_align
from partstream_models.training.hvis_identity import NOBODY, HVISIdentityLoss
from partstream_models.training.live_losses import focal_loss, giou_loss


@dataclass(frozen=True, kw_only=True, slots=True)
class HVISLossConfig:
    """Sampling and weights."""

    sampling: SamplingConfig = field(default_factory=lambda: SamplingConfig(ambiguous_negative=True))
    segmentation: float = 0.3
    """Of BlendMask's auxiliary segmentation."""
    identity: float = 1.0
    max_rows: int = 64
    """Positive locations of a draw whose masks and embeddings are looked at."""


@dataclass(frozen=True, slots=True, eq=False)
class HVISTruth:
    """Targets of a batch of images."""

    instances_BHW: Tensor
    """uint8; 0 nobody, 255 void."""
    people: tuple[People, ...]
    """Of each image; an identity of -1 is unknown."""

    def to(self, device: str | torch.device) -> "HVISTruth":
        """The same on a device."""
        people = tuple(
            People(
                one.boxes_N4.to(device),
                one.centers_N2.to(device),
                one.identities_N.to(device),
                one.rows_N.to(device),
            )
            for one in self.people
        )
        return HVISTruth(self.instances_BHW.to(device), people)


@dataclass(frozen=True, slots=True, eq=False)
class Everybody:
    """The people of all images in a row."""

    boxes_N4: Tensor
    image_N: Tensor
    rows_N: Tensor
    label_N: Tensor
    """For `HVISIdentityLoss`."""
    first_B: Tensor
    """Where each image's people begin."""

    @classmethod
    def of(cls, truth: HVISTruth) -> "Everybody":
        """In the order of the images."""
        device = truth.instances_BHW.device
        counts = torch.tensor([len(people.rows_N) for people in truth.people], device=device)
        image = torch.arange(len(truth.people), device=device).repeat_interleave(counts)
        identities = torch.cat([people.identities_N for people in truth.people])
        return cls(
            torch.cat([people.boxes_N4 for people in truth.people]),
            image,
            torch.cat([people.rows_N for people in truth.people]),
            torch.where(identities >= 0, identities + 1, -1),
            counts.cumsum(dim=0) - counts,
        )

    def masks(self, truth: HVISTruth) -> Tensor:
        """Each person's pixels, 0 or 1, [N, H, W]."""
        return (truth.instances_BHW[self.image_N] == self.rows_N[:, None, None]).float()


@dataclass(frozen=True, slots=True, eq=False)
class Positives:
    """The positive locations of a batch."""

    image_R: Tensor
    location_R: Tensor
    person_R: Tensor
    """Number of the person among everybody."""
    distances_R4: Tensor
    centerness_R: Tensor

    def some(self, count: int, generator: torch.Generator) -> "Positives":
        """At most so many of them, by chance."""
        pick = torch.randperm(len(self.image_R), generator=generator)[:count].to(self.image_R.device)
        return Positives(
            self.image_R[pick],
            self.location_R[pick],
            self.person_R[pick],
            self.distances_R4[pick],
            self.centerness_R[pick],
        )


class HVISLoss(nn.Module):
    """All terms; holds what only training needs: the auxiliary segmentation and the classifier."""

    def __init__(self, *, config: HVISLossConfig, network: HVISNetConfig, num_identities: int) -> None:
        super().__init__()
        self.config, self.masks, self.levels = config, network.masks, network.levels
        channels = network.mask_channels
        self.segmentation = nn.Sequential(
            ConvNormAct(network.channels, channels, kernel_size=3),
            ConvNormAct(channels, channels, kernel_size=3),
            nn.Conv2d(channels, 1, 1),
        )
        self.identity = HVISIdentityLoss(channels=network.channels, num_identities=num_identities)

    def forward(
        self, finest_BCHW: Tensor, outputs: HVISOutputs, truth: HVISTruth, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Weighted terms by name; those without anybody to learn from are zero.

        Args:
            finest_BCHW: The pyramid's finest level.
            outputs: What the heads say.
            truth: What the images show.
            generator: Chooses locations where there are too many.
        """
        height, width = truth.instances_BHW.shape[-2:]
        locations_L3, level_L = all_locations(
            height, width, levels=self.levels, device=truth.instances_BHW.device
        )
        everybody = Everybody.of(truth)
        person_BL, positives = self._positives(locations_L3, level_L, truth, everybody)
        void_BL = _at(truth.instances_BHW, locations_L3) == VOID
        some = positives.some(self.config.max_rows, generator)
        triplet, classification = self._identity(outputs, person_BL, void_BL, some, everybody, generator)
        box, center = _boxes(outputs, positives, locations_L3)
        mask = self._blended if self.masks is Masks.BLENDMASK else self._conditional
        return {
            "score": _score(outputs, person_BL, void_BL),
            "box": box,
            "center": center,
            "mask": mask(outputs, some, everybody, truth, locations_L3),
            "segmentation": self._segmentation(finest_BCHW, truth) * self.config.segmentation,
            "triplet": triplet * self.config.identity,
            "identity": classification * self.config.identity,
        }

    def _positives(
        self, locations_L3: Tensor, level_L: Tensor, truth: HVISTruth, everybody: Everybody
    ) -> tuple[Tensor, Positives]:
        targets = [
            assign(
                locations_L3,
                level_L,
                people.boxes_N4,
                people.centers_N2,
                config=self.config.sampling,
                levels=self.levels,
            )
            for people in truth.people
        ]
        person_BL = torch.stack([target.person_L for target in targets])
        image, location = (person_BL >= 0).nonzero(as_tuple=True)
        return person_BL, Positives(
            image,
            location,
            person_BL[image, location] + everybody.first_B[image],
            torch.stack([target.distances_L4 for target in targets])[image, location],
            torch.stack([target.centerness_L for target in targets])[image, location],
        )

    def _blended(
        self, outputs: HVISOutputs, rows: Positives, everybody: Everybody, truth: HVISTruth, _: Tensor
    ) -> Tensor:
        """BCE on the grid of 56 x 56 over each person's box, weighted by centerness."""
        boxes_N4 = everybody.boxes_N4
        bases = roi_align(
            outputs.mask_features.float(), boxes_N4, everybody.image_N, size=MASK_CELLS, stride=BASES_STRIDE
        )
        wanted_NSS = grid_truth(everybody.masks(truth), boxes_N4)
        attention = outputs.mask_parameters[rows.image_R, rows.location_R].float()
        logits = blend(bases[rows.person_R], attention)
        cost_R = F.binary_cross_entropy_with_logits(logits, wanted_NSS[rows.person_R], reduction="none").mean(
            dim=(1, 2)
        )
        return (cost_R * rows.centerness_R).sum() / rows.centerness_R.sum().clamp(min=1e-3)

    def _conditional(
        self,
        outputs: HVISOutputs,
        rows: Positives,
        everybody: Everybody,
        truth: HVISTruth,
        locations_L3: Tensor,
    ) -> Tensor:
        """Dice at stride 4 over the frame."""
        logits = mask_logits(
            outputs.mask_features.float(),
            outputs.mask_parameters[rows.image_R, rows.location_R].float(),
            locations_L3[rows.location_R],
            rows.image_R,
            stride=8,
        )
        keep = (truth.instances_BHW[:, 2::4, 2::4] != VOID).float()[rows.image_R]
        wanted = everybody.masks(truth)[:, 2::4, 2::4][rows.person_R] * keep
        found = logits.sigmoid() * keep
        overlap = (found * wanted).sum(dim=(1, 2))
        total = (found.square() + wanted).sum(dim=(1, 2))
        return (1 - 2 * overlap / total.clamp(min=1e-3)).sum() / max(len(rows.image_R), 1)

    def _segmentation(self, finest_BCHW: Tensor, truth: HVISTruth) -> Tensor:
        """BCE of people against the rest at stride 8."""
        small = truth.instances_BHW[:, 4::8, 4::8]
        keep = (small != VOID).float()
        logits = self.segmentation(finest_BCHW)[:, 0].float()
        cost = F.binary_cross_entropy_with_logits(logits, (small > 0).float(), reduction="none")
        return (cost * keep).sum() / keep.sum().clamp(min=1)

    def _identity(
        self,
        outputs: HVISOutputs,
        person_BL: Tensor,
        void_BL: Tensor,
        rows: Positives,
        everybody: Everybody,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Eq. 3 over people's locations and as many of background, which is drawn by chance."""
        empty = ((person_BL < 0) & ~void_BL).nonzero()
        pick = torch.randperm(len(empty), generator=generator)[: max(len(rows.image_R), 1)].to(empty.device)
        image = torch.cat([rows.image_R, empty[pick, 0]])
        location = torch.cat([rows.location_R, empty[pick, 1]])
        label = torch.cat(
            [everybody.label_N[rows.person_R], torch.full_like(image[len(rows.image_R) :], NOBODY)]
        )
        terms = self.identity(outputs.embeddings[image, location], label)
        return terms.triplet, terms.classification


def grid_truth(masks_NHW: Tensor, boxes_N4: Tensor) -> Tensor:
    """Masks on the grid of 56 x 56 over their boxes, 0 or 1, [N, S, S]."""
    index = torch.arange(len(masks_NHW), device=masks_NHW.device)
    aligned = roi_align(masks_NHW[:, None], boxes_N4, index, size=MASK_CELLS, stride=1)
    return (aligned[:, 0] >= 0.5).float()


def _score(outputs: HVISOutputs, person_BL: Tensor, void_BL: Tensor) -> Tensor:
    truth_BL = (person_BL >= 0).float()
    cost_BL = focal_loss(outputs.person_logits.float(), truth_BL) * (~void_BL | (truth_BL > 0))
    return cost_BL.sum() / truth_BL.sum().clamp(min=1)


def _boxes(outputs: HVISOutputs, rows: Positives, locations_L3: Tensor) -> tuple[Tensor, Tensor]:
    """GIoU weighted by centerness, and centerness; that is BCE less what the truth itself would cost."""
    at = (rows.image_R, rows.location_R)
    places = locations_L3[rows.location_R]
    found = decode_boxes(places, outputs.distances[at].float())
    weight = rows.centerness_R.clamp(min=0.05)
    box = (giou_loss(found, decode_boxes(places, rows.distances_R4)) * weight).sum()
    logits = outputs.centerness_logits[at].float()
    center = F.binary_cross_entropy_with_logits(logits, rows.centerness_R, reduction="sum")
    least = (torch.special.entr(rows.centerness_R) + torch.special.entr(1 - rows.centerness_R)).sum()
    return box / weight.sum().clamp(min=1e-3), (center - least) / max(len(weight), 1)


def _at(map_BHW: Tensor, locations_L3: Tensor) -> Tensor:
    """Values of a map at network size under each location, [B, L]."""
    return map_BHW[:, locations_L3[:, 1].long(), locations_L3[:, 0].long()]
