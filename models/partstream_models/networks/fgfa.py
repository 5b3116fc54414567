"""Weights of Flow-Guided Feature Aggregation: how much each warped neighbour tells of the current frame.

Shape suffixes: B batch, C channels, H height, W width, N frames.

Source: FGFA (Zhu et al., ICCV 2017), section 3.3: cosine similarity of embeddings, softmax over frames. The
embedding's widths against the feature's are theirs: a half, a half and twice.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class FeatureAggregation(nn.Module):
    """The weighted mean of warped features."""

    def __init__(self, *, channels: int) -> None:
        super().__init__()
        self.embed = nn.Sequential(
            nn.Conv2d(channels, channels // 2, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels // 2, channels // 2, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels // 2, channels * 2, 1),
        )

    def forward(self, current_BCHW: Tensor, warped: Sequence[Tensor]) -> Tensor:
        """The aggregate, [B, C, H, W].

        Args:
            current_BCHW: The current frame's own feature.
            warped: Features drawn to the current frame, its own among them if it is to count.
        """
        own = self.embed(current_BCHW)
        similar = [F.cosine_similarity(self.embed(feature), own, dim=1) for feature in warped]
        weights_NBHW = torch.stack(similar).softmax(dim=0)
        return (weights_NBHW[:, :, None] * torch.stack(tuple(warped))).sum(dim=0)
