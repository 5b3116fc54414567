"""Losses of the identity branch: classification of training identities, and a triplet loss.

Shape suffixes: B batch, D embedding channels, R people, I identities, H and W network size, N pixels at
stride 8.

Source: HVISNet, eqs. 1-3.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from partstream_models.data.batches import Batch
from partstream_models.networks.identity import EMBEDDING_CHANNELS, pool_embeddings
from partstream_models.networks.live import LiveNetwork

MIN_CELLS = 4
"""People who own fewer cells of the map teach nothing about looks."""


class IdentityLoss(nn.Module):
    """Both terms, unweighted; holds the classifier, which is no part of the shipped network."""

    def __init__(self, num_identities: int) -> None:
        super().__init__()
        self.identities = nn.Parameter(torch.randn(num_identities, EMBEDDING_CHANNELS) * 0.1)
        self.register_buffer("embedding_mean", torch.zeros(EMBEDDING_CHANNELS))

    def forward(self, identity_map_BDHW: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Classification and triplet loss; people's pixels are those of the truth."""
        weights_RN, picture_R, identity_R = visible_people(batch, identity_map_BDHW.device)
        if len(picture_R) == 0:
            nothing = identity_map_BDHW.sum() * 0.0
            return nothing, nothing
        raw_RD = pool_embeddings(identity_map_BDHW.float(), weights_RN, picture_R)
        embeddings_RD = F.normalize(raw_RD - self._follow_mean(raw_RD), dim=1)
        logits_RI = embeddings_RD @ F.normalize(self.identities, dim=1).T * 16.0
        return (
            F.cross_entropy(logits_RI, identity_R),
            triplet_loss(embeddings_RD, identity_R, picture_R),
        )

    def _follow_mean(self, embeddings_RD: Tensor) -> Tensor:
        """The mean embedding of the batch: what all people share tells nobody apart, and would take over."""
        mean_D = embeddings_RD.mean(dim=0)
        if self.training:
            self.get_buffer("embedding_mean").lerp_(mean_D.detach(), 0.02)
        return mean_D

    @torch.no_grad()
    def center(self, network: LiveNetwork) -> None:
        """Fold the mean embedding into the network, so that its embeddings are centred without this loss."""
        bias = network.heads.identity.embedding.bias
        assert bias is not None
        bias -= self.get_buffer("embedding_mean").to(bias.dtype)


def visible_people(batch: Batch, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Cells (0 or 1, [R, N]), pictures [R] and identities [R] of people with a known identity.

    People who own fewer than `MIN_CELLS` cells are left out.
    """
    small_BN = batch.instances_BHW[:, 4::8, 4::8].flatten(1).to(device)
    picture_R = torch.repeat_interleave(
        torch.arange(len(batch.people)), torch.tensor([len(people.rows_N) for people in batch.people])
    ).to(device)
    rows_R = torch.cat([people.rows_N for people in batch.people]).to(device)
    identity_R = torch.cat([people.identities_N for people in batch.people]).to(device)
    weights_RN = (small_BN[picture_R] == rows_R[:, None]).float()
    enough = (weights_RN.sum(dim=1) >= MIN_CELLS) & (identity_R >= 0)
    return weights_RN[enough], picture_R[enough], identity_R[enough]


def triplet_loss(
    embeddings_RD: Tensor, identity_R: Tensor, image_R: Tensor, *, temperature: float = 0.1
) -> Tensor:
    """Smooth triplet loss on cosine similarity s: log(1 + sum over n of exp((s_an - s_ap) / temperature)).

    HVISNet's eq. 1 with the hinge made smooth and every negative heard: with the hardest alone and a hinge
    the embeddings fell onto one point. Positives come from other images.

    Returns:
        The mean over pairs of anchor and positive; zero where there are none.
    """
    similarity = embeddings_RD @ embeddings_RD.T / temperature
    same = identity_R[:, None] == identity_R[None]
    positive = same & (image_R[:, None] != image_R[None])
    if not positive.any() or same.all():
        return similarity.sum() * 0.0
    negatives = similarity.masked_fill(same, -torch.inf).logsumexp(dim=1, keepdim=True)
    return F.softplus(negatives - similarity)[positive].mean()
