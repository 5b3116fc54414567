"""Losses of HVISNet's identity branch: triplets and classification at positive locations.

The paper prints no margin, no weights and no way to choose triplets; all of these are ours. Embeddings are of
length one, as the match module compares them. Eq. 2's "binary classifier" has labels 0 (no person) and the
person's number, so it is read as a classifier of identities + 1 classes.

Shape suffixes: R locations, D embedding channels, I identities.

Source: HVISNet (Yu et al.), section III-A, eqs. 1-3; the mean over triplets that still cost something is that
of Hermans et al., "In Defense of the Triplet Loss", 2017.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NOBODY = 0
"""Label of a location that is no person's."""
UNKNOWN = -1
"""Label of a person without a number."""
MARGIN = 0.3
_SHARPNESS = 16.0
"""Length of embeddings before they are classified; of length one they could not be told apart for sure."""


class IdentityTerms(NamedTuple):
    """The terms of eq. 3."""

    triplet: Tensor
    classification: Tensor


class HVISIdentityLoss(nn.Module):
    """Both terms; holds the classifier, which is no part of the network that ships."""

    def __init__(self, *, channels: int, num_identities: int, margin: float = MARGIN) -> None:
        super().__init__()
        if num_identities < 0:
            raise ValueError(f"num_identities must not be negative, got {num_identities}")
        self.margin = margin
        self.classify = nn.Linear(channels, num_identities + 1)

    def forward(self, embeddings_RD: Tensor, label_R: Tensor) -> IdentityTerms:
        """Terms of embeddings, of any length, at locations with labels.

        Args:
            embeddings_RD: What the branch says there.
            label_R: 0 nobody, 1.. the person's number, -1 a person whom nobody numbered; int64.
        """
        unit_RD = F.normalize(embeddings_RD.float(), dim=1)
        person = label_R > NOBODY
        triplet = triplet_loss(unit_RD[person], label_R[person], margin=self.margin)
        known = label_R != UNKNOWN
        logits_RI = self.classify(unit_RD[known] * _SHARPNESS)
        total = F.cross_entropy(logits_RI, label_R[known], reduction="sum")
        return IdentityTerms(triplet, total / known.sum().clamp(min=1))


def triplet_loss(embeddings_RD: Tensor, label_R: Tensor, *, margin: float) -> Tensor:
    """Eq. 1 over all triplets of two locations of one person and one of another.

    Returns:
        The mean over the triplets that cost something; zero where none does.
    """
    squared_RR = (embeddings_RD[:, None] - embeddings_RD).square().sum(dim=2)
    same = label_R[:, None] == label_R
    positive = same & ~torch.eye(len(label_R), dtype=torch.bool, device=label_R.device)
    cost_RRR = (squared_RR[:, :, None] - squared_RR[:, None, :] + margin).clamp(min=0)
    cost_RRR = cost_RRR * (positive[:, :, None] & ~same[:, None, :])
    return cost_RRR.sum() / (cost_RRR > 0).sum().clamp(min=1)
