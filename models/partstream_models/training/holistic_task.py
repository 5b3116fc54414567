"""Training of the Holistic network: the part module by itself, the Instance CRF on it, or both end to end.

Detections are made from the truth, for the paper takes them from a detector that is trained elsewhere: boxes
whose sides are off, now and then none for a person, now and then one where nobody is.

Shape suffixes: H height, W width, D detections; h, w the grid of the field.

Source: Li, Arnab, Torr, Holistic, Instance-Level Human Parsing (BMVC 2017), section 3.3 and appendix B.2.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from partstream_core.labels import NUM_PARTS, PARTS, VOID
from partstream_models.data.batches import MIN_PIXELS
from partstream_models.data.scenes.scene import Scene
from partstream_models.networks.holistic import Holistic
from partstream_models.networks.instance_crf import hardest_mean
from partstream_models.training.instance_crf_loss import matched_loss

UInt8Array = npt.NDArray[np.uint8]

GROUPS: Final = (
    ("hat", "hair", "sunglasses", "face"),
    ("upper-clothes", "dress", "coat", "torso-skin", "scarf"),
    ("left-arm", "right-arm", "gloves"),
    ("pants", "skirt"),
    ("left-leg", "right-leg", "socks"),
    ("left-shoe", "right-shoe"),
)
"""Six groups of parts, from 1, for networks of seven classes: about as many as Pascal Person-Parts has."""


class Stage(StrEnum):
    """What learns, and by which loss."""

    PARTS = "parts"
    """The part module, by the parts of all people together."""
    INSTANCES = "instances"
    """The Instance CRF by the matched loss; the part module stays (piecewise)."""
    WHOLE = "whole"
    """Both, by the matched loss (end to end)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DetectorNoise:
    """How detections differ from the true boxes."""

    side: float = 0.08
    """Standard deviation of a side, against the box's width or height."""
    missed: float = 0.05
    """Share of people without a detection."""
    false: float = 0.25
    """Share of pictures with a detection where nobody is."""


@dataclass(frozen=True, slots=True, eq=False)
class HolisticDraw:
    """One picture with its truth and its detections."""

    image_1CHW: Tensor
    """RGB in [-1, 1]."""
    parts_HW: Tensor
    """Classes from 0, `VOID` not known, int64."""
    people_HW: Tensor
    """People from 1, 0 nobody, int64."""
    boxes_D4: Tensor
    scores_D: Tensor

    def to(self, device: str) -> "HolisticDraw":
        """The same on a device."""
        tensors = (self.image_1CHW, self.parts_HW, self.people_HW, self.boxes_D4, self.scores_D)
        return HolisticDraw(*(tensor.to(device) for tensor in tensors))


class HolisticSource(Protocol):
    """Where draws come from."""

    def draw(self, number: int) -> HolisticDraw:
        """The draw of that number, which follows from the number alone."""
        ...


def classes_of(num_classes: int) -> UInt8Array:
    """The class of each part, and of void, as a table of 256.

    Raises:
        ValueError: There is no such set of classes.
    """
    table = np.full(256, VOID, np.uint8)
    if num_classes == NUM_PARTS:
        table[:NUM_PARTS] = np.arange(NUM_PARTS)
        return table
    if num_classes != 1 + len(GROUPS):
        raise ValueError(f"num_classes must be {NUM_PARTS} or {1 + len(GROUPS)}, got {num_classes}")
    table[0] = 0
    for number, group in enumerate(GROUPS, start=1):
        table[[PARTS.index(part) for part in group]] = number
    return table


def draw_of(scene: Scene, num_classes: int, noise: DetectorNoise, rng: np.random.Generator) -> HolisticDraw:
    """A scene as a draw; people of few pixels are void."""
    parts = classes_of(num_classes)[scene.parts_HW]
    people = np.where(scene.instances_HW == VOID, 0, scene.instances_HW)
    parts[scene.instances_HW == VOID] = VOID
    boxes: list[list[float]] = []
    for number in np.unique(people[people > 0]).tolist():
        own = people == number
        if np.count_nonzero(own) < MIN_PIXELS:
            parts[own], people[own] = VOID, 0
        elif rng.random() >= noise.missed:
            boxes.append(_detected(own, noise, rng))
    scores = rng.uniform(0.6, 0.98, len(boxes)).tolist()
    if rng.random() < noise.false:
        height, width = people.shape
        corners = np.sort(rng.uniform(0, 1, (2, 2)), axis=0) * (width, height)
        boxes.append(corners.ravel().tolist())
        scores.append(float(rng.uniform(0.3, 0.6)))
    image = torch.from_numpy(np.ascontiguousarray(scene.image_HWC)).permute(2, 0, 1)[None]
    return HolisticDraw(
        image.float() / 127.5 - 1,
        torch.from_numpy(parts.astype(np.int64)),
        torch.from_numpy(people.astype(np.int64)),
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(scores, dtype=torch.float32),
    )


def _detected(own_HW: npt.NDArray[np.bool_], noise: DetectorNoise, rng: np.random.Generator) -> list[float]:
    rows, columns = np.flatnonzero(own_HW.any(axis=1)), np.flatnonzero(own_HW.any(axis=0))
    left, right, top, bottom = columns[0], columns[-1] + 1, rows[0], rows[-1] + 1
    across, along = noise.side * (right - left), noise.side * (bottom - top)
    off = rng.normal(0, (across, along, across, along))
    return [float(value) for value in np.array([left, top, right, bottom]) + off]


@dataclass(frozen=True, slots=True, eq=False)
class HolisticTask:
    """The network learning from draws."""

    network: Holistic
    source: HolisticSource
    stage: Stage
    hardest: int | None = None
    """Pixels of a picture that the loss looks at, those with the largest loss; None: all."""
    device: str = "cpu"

    def __post_init__(self) -> None:
        self.network.parts.requires_grad_(self.stage is not Stage.INSTANCES)
        self.network.crf.requires_grad_(self.stage is not Stage.PARTS)
        for module in self.network.parts.modules():  # the batch norms of the trunk never learn
            if isinstance(module, torch.nn.BatchNorm2d):
                module.requires_grad_(False)

    def losses(self, step: int) -> dict[str, Tensor]:
        """The loss of the draw of that number."""
        draw = self.source.draw(step).to(self.device)
        if self.stage is Stage.PARTS:
            logits_1CHW = self.network.parts(draw.image_1CHW)
            return {"parts": part_loss(logits_1CHW[0], draw.parts_HW, self.hardest)}
        output = self.network(draw.image_1CHW, draw.boxes_D4, draw.scores_D)
        stride = self.network.config.crf_stride
        parts_hw, people_hw = (coarse(each, stride) for each in (draw.parts_HW, draw.people_HW))
        most = parts_hw.numel() if self.hardest is None else max(1, self.hardest // stride**2)
        num_parts = self.network.config.parts.num_classes - 1
        return {"instances": matched_loss(output.log_q_Lhw, people_hw, parts_hw, num_parts, hardest=most)}


def coarse(map_HW: Tensor, stride: int) -> Tensor:
    """A label map on the grid of the field: the pixel in the middle of each cell."""
    height, width = map_HW.shape
    rows = (torch.arange(0, height, stride) + stride // 2).clamp(max=height - 1)
    columns = (torch.arange(0, width, stride) + stride // 2).clamp(max=width - 1)
    return map_HW[rows][:, columns]


def part_loss(logits_CHW: Tensor, parts_HW: Tensor, hardest: int | None) -> Tensor:
    """Cross-entropy of the hardest pixels (or of all) whose part is known."""
    keep_HW = parts_HW != VOID
    truth_1HW = torch.where(keep_HW, parts_HW, 0)[None]
    loss_HW = F.cross_entropy(logits_CHW[None].float(), truth_1HW, reduction="none")[0]
    return hardest_mean(loss_HW, keep_HW, loss_HW.numel() if hardest is None else hardest)
