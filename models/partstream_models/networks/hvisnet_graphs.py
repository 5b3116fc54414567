"""HVISNet's three graphs as plain modules: what a bundle holds, and what `hvisnet_parse` runs in torch.

The pyramid passes between backbone and heads as one tensor at stride 32: the finer levels' cells lie side by
side in its channels, 16 of P3, then 4 of P4, then 1 of P5. Nothing is lost, and height and width are its own.

Shape suffixes: B batch, C channels, K chosen detections, L locations, P mask parameters, D embedding, R rows
(people), H and W network size (multiples of 32).

Source: HVISNet (Yu et al.), section III; order of work ours.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from partstream_models.networks.blendmask import BASES_STRIDE, MASK_CELLS, blend
from partstream_models.networks.condinst import mask_logits
from partstream_models.networks.fcos import Level, decode_boxes, level_locations
from partstream_models.networks.hvisnet import HVISBackbone, HVISHeads, HVISNet, Masks, scores_of
from partstream_models.networks.roi_matrices import gather_regions, spread_regions

FEATURE_STRIDE = 32
_CELLS = (16, 4, 1)
"""Cells of each level under one of the packed feature."""
_SIDES = (4, 2, 1)


def pack(levels: Sequence[Tensor]) -> Tensor:
    """P3, P4 and P5 as one tensor, [B, 21 C, H/32, W/32]."""
    return torch.cat([F.pixel_unshuffle(x, side) for x, side in zip(levels, _SIDES, strict=True)], dim=1)


def unpack(feature_BCHW: Tensor) -> list[Tensor]:
    """The levels that were packed."""
    channels = feature_BCHW.shape[1] // sum(_CELLS)
    parts = torch.split(feature_BCHW, [cells * channels for cells in _CELLS], dim=1)
    return [F.pixel_shuffle(part, side) for part, side in zip(parts, _SIDES, strict=True)]


def packed_channels(channels: int) -> int:
    """Channels of a packed pyramid of levels of that many."""
    return sum(_CELLS) * channels


class BackboneGraph(nn.Module):
    """The `backbone` graph: image to the packed pyramid."""

    def __init__(self, backbone: HVISBackbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """The packed pyramid, [B, 21 C, H/32, W/32]."""
        return pack(self.backbone(image_BCHW))


class HeadsGraph(nn.Module):
    """The `heads` graph: the best K detections of each image, best first, and the mask features."""

    def __init__(self, heads: HVISHeads, *, levels: Sequence[Level], top_k: int) -> None:
        super().__init__()
        self.heads, self.levels, self.top_k = heads, tuple(levels), top_k

    def forward(self, feature_BCHW: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Boxes, scores, locations, mask parameters, embeddings and mask features, in this order.

        Boxes [B, K, 4] end at the image's border; scores are [B, K], locations [B, K, 3], mask parameters
        [B, K, P], embeddings [B, K, D] of length one. Rows past the last location have score 0.
        """
        dense = self.heads(unpack(feature_BCHW))
        height, width = feature_BCHW.shape[-2] * FEATURE_STRIDE, feature_BCHW.shape[-1] * FEATURE_STRIDE
        locations_L3 = _locations(height, width, self.levels, feature_BCHW.device)
        scores_BK, best_BK = F.pad(scores_of(dense), (0, self.top_k)).topk(self.top_k, dim=1)
        best_BK = best_BK.clamp(max=locations_L3.shape[0] - 1)
        boxes_BK4 = _rows(decode_boxes(locations_L3, dense.distances), best_BK).clamp(min=0)
        x, y = boxes_BK4[..., 0::2].clamp(max=width), boxes_BK4[..., 1::2].clamp(max=height)
        return (
            torch.stack([x[..., 0], y[..., 0], x[..., 1], y[..., 1]], dim=-1),
            scores_BK,
            locations_L3[best_BK],
            _rows(dense.mask_parameters, best_BK),
            F.normalize(_rows(dense.embeddings, best_BK), dim=-1),
            dense.mask_features,
        )


class BlendInstancesGraph(nn.Module):
    """The `instances` graph with BlendMask; in a bundle at stride 4, as the authors paste at stride 1."""

    def __init__(self, *, stride: int = BASES_STRIDE) -> None:
        super().__init__()
        self.stride = stride

    def forward(
        self, mask_features_BCHW: Tensor, parameters_RP: Tensor, boxes_R4: Tensor, batch_index_R: Tensor
    ) -> Tensor:
        """Mask probabilities over the whole frame, [R, H/stride, W/stride]; zero outside the box."""
        height, width = (side * BASES_STRIDE // self.stride for side in mask_features_BCHW.shape[-2:])
        bases = gather_regions(mask_features_BCHW, boxes_R4 / BASES_STRIDE, batch_index_R, size=MASK_CELLS)
        masks_RSS = blend(bases, parameters_RP).sigmoid()
        return spread_regions(masks_RSS, boxes_R4 / self.stride, height=height, width=width)


class CondInstancesGraph(nn.Module):
    """The `instances` graph with CondInst."""

    def forward(
        self, mask_features_BCHW: Tensor, parameters_RP: Tensor, locations_R3: Tensor, batch_index_R: Tensor
    ) -> Tensor:
        """Mask probabilities over the whole frame at stride 4, [R, H/4, W/4]."""
        return mask_logits(mask_features_BCHW, parameters_RP, locations_R3, batch_index_R, stride=8).sigmoid()


def instances_graph(network: HVISNet) -> BlendInstancesGraph | CondInstancesGraph:
    """The `instances` graph that goes with a network's masks."""
    return BlendInstancesGraph() if network.config.masks is Masks.BLENDMASK else CondInstancesGraph()


def _locations(height: int, width: int, levels: Sequence[Level], device: torch.device) -> Tensor:
    """x, y and scale of every location, [L, 3]; its number of rows stays open in a trace."""
    rows = []
    for level in levels:
        places = level_locations(height // level.stride, width // level.stride, level.stride, device=device)
        rows.append(torch.cat([places, torch.full_like(places[:, :1], level.scale)], dim=1))
    return torch.cat(rows)


def _rows(table_BLC: Tensor, index_BK: Tensor) -> Tensor:
    """The rows of each image that its indices name, [B, K, C]."""
    return table_BLC.gather(1, index_BK[..., None].expand(-1, -1, table_BLC.shape[-1]))
