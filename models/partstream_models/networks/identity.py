"""The identity branch: a map whose mean over a person's mask is that person's embedding.

HVISNet reads an embedding at the location that found the person. What such a location sees is a window, in a
crowd mostly other people and background; in our trials its embeddings stayed near chance, while the mean over
the mask told the same people apart four times out of five. The branch reads a fresh stem of the image beside
the feature, because colours tell people apart and the feature keeps few of them.

Shape suffixes: B batch, C channels, D embedding channels, R people, H and W network size, N pixels of a map.

Source: HVISNet, section III-B (embedding branch); pooling over the mask is ours.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from partstream_models.networks.layers import ConvNormAct, SeparableConv

EMBEDDING_CHANNELS = 64


class IdentityHead(nn.Module):
    """The identity map at stride 8 from the feature, the parsing stem (stride 4) and the image itself."""

    def __init__(self, feature_channels: int, stem_channels: int) -> None:
        super().__init__()
        channels = feature_channels
        self.mix = ConvNormAct(feature_channels + stem_channels + 3, channels)
        self.refine = nn.Sequential(SeparableConv(channels, channels), SeparableConv(channels, channels))
        self.embedding = nn.Conv2d(channels, EMBEDDING_CHANNELS, 1)

    def forward(self, feature_BCHW: Tensor, stem_BCHW: Tensor, image_BCHW: Tensor) -> Tensor:
        """Identity map, [B, D, H/8, W/8]; no gradient flows back into the feature."""
        x = [feature_BCHW.detach(), F.avg_pool2d(stem_BCHW, 2), F.avg_pool2d(image_BCHW, 8)]
        identity_map: Tensor = self.embedding(self.refine(self.mix(torch.cat(x, dim=1))))
        return identity_map


def pool_embeddings(identity_map_BDHW: Tensor, weights_RN: Tensor, batch_index_R: Tensor) -> Tensor:
    """Mean of the identity map over each person, not normalised, [R, D].

    Args:
        identity_map_BDHW: From `IdentityHead`, at stride 8.
        weights_RN: How much each pixel of the map is the person's, 0 or more; N = H/8 * W/8, row by row.
        batch_index_R: Which picture each person is in.
    """
    batch, channels = identity_map_BDHW.shape[:2]
    shares_RN = weights_RN / weights_RN.sum(dim=1, keepdim=True).clamp(min=1e-4)
    # every person against every picture: two small products instead of a copy of the map for each person
    columns_NE = identity_map_BDHW.flatten(2).reshape(batch * channels, -1).T
    means_RBD = (shares_RN @ columns_NE).reshape(-1, batch, channels)
    index_R1D = batch_index_R[:, None, None].expand(-1, 1, channels)
    return means_RBD.gather(1, index_R1D)[:, 0]
