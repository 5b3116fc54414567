"""FCOS: locations, training targets and box decoding of a one-stage, anchor-free detector.

Positives lie around each person's sampling center. HVISNet's inner center lies on the person's mask, so that
what a location sees is the person it stands for; FCOS itself takes the center of the box.

Shape suffixes: B batch, L locations over all levels, N people, H height, W width; 4 is left, top, right,
bottom.

Source: FCOS (Tian et al., ICCV 2019), section 3; HVISNet, section III-C.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Level:
    """A pyramid level: its stride, and the largest box side distances it answers for, in network pixels."""

    stride: int
    low: float
    high: float
    scale: float
    """Divides relative coordinates (CondInst's size of interest)."""


LEVELS = (Level(8, 0, 80, 64), Level(16, 80, 224, 128), Level(32, 224, float("inf"), 256))
"""Finer than FCOS's for a size: people are three times as high as wide, and stand side by side."""


@dataclass(frozen=True, slots=True)
class SamplingConfig:
    """Positive locations of an image."""

    radius: float = 1.5
    """Reach around the sampling center, in strides (FCOS 1.5; HVISNet's text says one half)."""
    ambiguous_negative: bool = False
    """HVISNet: a location that would be positive for two people is background; else it goes to the smaller.

    People whose sizes are of different levels are told apart by these and make nothing ambiguous.
    """

    def __post_init__(self) -> None:
        if self.radius <= 0:
            raise ValueError(f"radius must be positive, got {self.radius}")


@dataclass(frozen=True, slots=True)
class Targets:
    """Training targets of one image."""

    person_L: Tensor
    """Row of the person each location stands for, -1 for background; int64."""
    distances_L4: Tensor
    """Distances to that person's box sides in network pixels; meaningless at background."""
    centerness_L: Tensor


def level_locations(height: int, width: int, stride: int, *, device: torch.device | None = None) -> Tensor:
    """Centers (x, y) of the cells of a level in network pixels, row by row, [H * W, 2]."""
    y = (torch.arange(height, device=device, dtype=torch.float32) + 0.5) * stride
    x = (torch.arange(width, device=device, dtype=torch.float32) + 0.5) * stride
    grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([grid_x.reshape(-1), grid_y.reshape(-1)], dim=1)


def all_locations(
    height: int, width: int, *, levels: Sequence[Level] = LEVELS, device: torch.device | None = None
) -> tuple[Tensor, Tensor]:
    """x, y and scale of every location of a network image, [L, 3], and each location's level, [L]."""
    rows, numbers = [], []
    for number, level in enumerate(levels):
        places = level_locations(height // level.stride, width // level.stride, level.stride, device=device)
        rows.append(torch.cat([places, places.new_full((len(places), 1), level.scale)], dim=1))
        numbers.append(torch.full((len(places),), number, dtype=torch.int64, device=device))
    return torch.cat(rows), torch.cat(numbers)


def assign(
    locations_L3: Tensor,
    level_L: Tensor,
    boxes_N4: Tensor,
    centers_N2: Tensor,
    *,
    config: SamplingConfig,
    levels: Sequence[Level] = LEVELS,
) -> Targets:
    """Targets of one image: which person each location stands for.

    A location is a person's if it lies within the sampling region (`radius` strides of the center, and inside
    the box) and the longest distance to a side is in its level's range.

    Args:
        locations_L3: From `all_locations`.
        level_L: From `all_locations`.
        boxes_N4: People's boxes, xyxy in network pixels; N may be 0.
        centers_N2: Sampling centers, x and y in network pixels.
        config: The sampling rule.
        levels: The pyramid.
    """
    num_locations = len(locations_L3)
    if len(boxes_N4) == 0:
        nobody = torch.full((num_locations,), -1, dtype=torch.int64, device=locations_L3.device)
        return Targets(
            nobody, locations_L3.new_zeros(num_locations, 4), locations_L3.new_zeros(num_locations)
        )
    x, y = locations_L3[:, 0:1], locations_L3[:, 1:2]
    left_top = torch.stack([x - boxes_N4[:, 0], y - boxes_N4[:, 1]], dim=2)
    right_bottom = torch.stack([boxes_N4[:, 2] - x, boxes_N4[:, 3] - y], dim=2)
    distances_LN4 = torch.cat([left_top, right_bottom], dim=2)
    strides = torch.tensor([level.stride for level in levels], device=x.device)[level_L].float()[:, None]
    low = torch.tensor([level.low for level in levels], device=x.device)[level_L][:, None]
    high = torch.tensor([level.high for level in levels], device=x.device)[level_L][:, None]
    reach = config.radius * strides
    near = ((x - centers_N2[:, 0]).abs() <= reach) & ((y - centers_N2[:, 1]).abs() <= reach)
    region = near & (distances_LN4.amin(dim=2) > 0)
    longest = distances_LN4.amax(dim=2)
    candidate = region & (longest >= low) & (longest < high)
    area_N = (boxes_N4[:, 2] - boxes_N4[:, 0]) * (boxes_N4[:, 3] - boxes_N4[:, 1])
    area_LN = torch.where(candidate, area_N[None], torch.inf)
    smallest, person = area_LN.min(dim=1)
    person = torch.where(smallest.isinf(), -1, person)
    if config.ambiguous_negative:
        person = torch.where(candidate.sum(dim=1) > 1, -1, person)
    distances = distances_LN4[torch.arange(num_locations, device=x.device), person.clamp(min=0)]
    return Targets(person, distances, centerness(distances))


def centerness(distances_L4: Tensor) -> Tensor:
    """How central a location lies in its box, 0..1 (FCOS, eq. 3)."""
    left, top, right, bottom = distances_L4.clamp(min=0).unbind(dim=-1)
    horizontal = torch.minimum(left, right) / torch.maximum(left, right).clamp(min=1e-6)
    vertical = torch.minimum(top, bottom) / torch.maximum(top, bottom).clamp(min=1e-6)
    return (horizontal * vertical).sqrt()


def decode_boxes(locations_L3: Tensor, distances_BL4: Tensor) -> Tensor:
    """Boxes, xyxy in network pixels, from distances to the four sides, [B, L, 4]."""
    x, y = locations_L3[:, 0], locations_L3[:, 1]
    left, top, right, bottom = distances_BL4.unbind(dim=-1)
    return torch.stack([x - left, y - top, x + right, y + bottom], dim=-1)
