"""FCOS's head: score, box and centerness at every location of a pyramid, from two towers.

Shape suffixes: B batch, C channels, L locations over all levels, H height, W width.

Source: FCOS (Tian et al., ICCV 2019), section 3. Distances are learned in strides of the level, so there is
no trained scale a level (the paper's s_i).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from partstream_models.networks.fcos import Level

_LARGEST = 5.0
"""Of a distance's logarithm, in strides: a box far larger than any image."""


class FCOSOutputs(NamedTuple):
    """Of every location, level after level, row by row."""

    person_logits: Tensor
    """[B, L]."""
    distances: Tensor
    """To the box sides, network pixels, [B, L, 4]."""
    centerness_logits: Tensor
    """[B, L]."""
    box_features: list[Tensor]
    """The box tower's output of each level, from which further branches read."""


class FCOSHead(nn.Module):
    """Two towers of convolutions with group norm, shared by the levels."""

    def __init__(self, *, channels: int, num_convs: int, num_groups: int, levels: Sequence[Level]) -> None:
        super().__init__()
        self.levels = tuple(levels)
        self.score_tower = _tower(channels, num_convs, num_groups)
        self.box_tower = _tower(channels, num_convs, num_groups)
        self.person = nn.Conv2d(channels, 1, 3, padding=1)
        self.distances = nn.Conv2d(channels, 4, 3, padding=1)
        self.centerness = nn.Conv2d(channels, 1, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        assert self.person.bias is not None
        nn.init.constant_(self.person.bias, -4.6)  # focal loss: start at one per cent
        assert self.distances.bias is not None
        nn.init.constant_(self.distances.bias, 1.0)

    def forward(self, features: Sequence[Tensor]) -> FCOSOutputs:
        """Outputs of a pyramid, finest level first."""
        rows, box_features = [], []
        for feature, level in zip(features, self.levels, strict=True):
            score, box = self.score_tower(feature), self.box_tower(feature)
            box_features.append(box)
            distances = self.distances(box).clamp(max=_LARGEST).exp() * level.stride
            rows.append((self.person(score), distances, self.centerness(box)))
        person, distances, centerness = (flatten_levels(column) for column in zip(*rows, strict=True))
        return FCOSOutputs(person[..., 0], distances, centerness[..., 0], box_features)


def flatten_levels(maps: Sequence[Tensor]) -> Tensor:
    """Maps of all levels, each [B, C, H, W], as rows of locations, [B, L, C]."""
    return torch.cat([level.flatten(2).transpose(1, 2) for level in maps], dim=1)


def _tower(channels: int, num_convs: int, num_groups: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(num_convs):
        layers += [
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GroupNorm(num_groups, channels),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)
