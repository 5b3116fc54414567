"""Training task of HVISNet: people of a few frames of one clip, so that each person occurs more than once.

Shape suffixes: T frames, B batch, H height, W width, N people of one frame.

Source: HVISNet (Yu et al.), section III.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from partstream_models.data.batches import People, people_of
from partstream_models.data.scenes.scene import Scene
from partstream_models.networks.hvisnet import HVISNet
from partstream_models.training.hvis_loss import HVISLoss, HVISTruth

UInt8Array = npt.NDArray[np.uint8]


class Center(StrEnum):
    """Around which point of a person locations are positive (table V)."""

    BOX = "box"
    MASK = "mask"
    """The mask's centroid."""
    INNER = "inner"


@dataclass(frozen=True, slots=True, eq=False)
class HVISDraw:
    """The frames of one draw and what they show."""

    images: Tensor
    """[T, 3, H, W] in [-1, 1]."""
    truth: HVISTruth


class HVISSource(Protocol):
    """Where draws come from."""

    def draw(self, number: int) -> HVISDraw:
        """The draw of that number, which follows from the number alone."""
        ...


def truth_of_frame(scene: Scene, center: Center) -> tuple[People, UInt8Array]:
    """A frame's people with their sampling centers, and its instance map; people of few pixels are void."""
    people, instances = people_of(scene, box_centers=center is Center.BOX)
    if center is Center.MASK and len(people.rows_N):
        middles = [
            np.argwhere(instances == row)[:, ::-1].mean(axis=0) + 0.5 for row in people.rows_N.tolist()
        ]
        people = replace(people, centers_N2=torch.tensor(np.array(middles), dtype=torch.float32))
    return people, instances


def draw_of(scenes: list[Scene], center: Center) -> HVISDraw:
    """Frames of one size with their truth."""
    found = [truth_of_frame(scene, center) for scene in scenes]
    images = torch.from_numpy(np.stack([scene.image_HWC for scene in scenes]))
    truth = HVISTruth(
        torch.from_numpy(np.stack([instances for _, instances in found])),
        tuple(people for people, _ in found),
    )
    return HVISDraw(images.permute(0, 3, 1, 2).float() / 127.5 - 1, truth)


class HVISLearner(nn.Module):
    """The network and what only its training needs, whose parameters are learned together."""

    def __init__(self, network: HVISNet, loss: HVISLoss) -> None:
        super().__init__()
        self.network, self.loss = network, loss

    def forward(self, draw: HVISDraw, generator: torch.Generator) -> dict[str, Tensor]:
        """Terms of the loss of a draw."""
        levels = self.network.backbone(draw.images)
        terms: dict[str, Tensor] = self.loss(levels[0], self.network.heads(levels), draw.truth, generator)
        return terms


@dataclass(frozen=True, slots=True, eq=False)
class HVISTask:
    """HVISNet learning from draws."""

    network: HVISLearner
    source: HVISSource
    seed: int = 1
    device: str = "cpu"

    def losses(self, step: int) -> dict[str, Tensor]:
        """Terms of the draw of that number."""
        draw = self.source.draw(step)
        draw = HVISDraw(draw.images.to(self.device), draw.truth.to(self.device))
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        terms: dict[str, Tensor] = self.network(draw, generator)
        return terms
