"""HVISNet inference in torch, with the same steps as the graphs of its bundle.

Shape suffixes: B batch, C channels, N people of an image, D embedding, H and W network size.

Source: HVISNet (Yu et al.), section III; FCOS (Tian et al., ICCV 2019) for scores and suppression.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from partstream_core.nms import non_maximum_suppression
from partstream_models.networks.hvisnet import HVISNet, Masks
from partstream_models.networks.hvisnet_graphs import (
    BackboneGraph,
    BlendInstancesGraph,
    CondInstancesGraph,
    HeadsGraph,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ParseConfig:
    """Thresholds of detections."""

    score_threshold: float = 0.4
    nms_threshold: float = 0.6
    top_k: int = 100


class HVISPeople(NamedTuple):
    """People found in one image, best first."""

    boxes_N4: Tensor
    """xyxy in network pixels."""
    scores_N: Tensor
    embeddings_ND: Tensor
    """Of length one."""
    masks_NHW: Tensor
    """Probabilities at stride 1 (BlendMask) or 4 (CondInst)."""


@torch.no_grad()
def parse_images(network: HVISNet, image_BCHW: Tensor, config: ParseConfig | None = None) -> list[HVISPeople]:
    """The people of each image; the network is put into inference mode."""
    config = config or ParseConfig()
    network.eval()
    feature = BackboneGraph(network.backbone)(image_BCHW)
    heads = HeadsGraph(network.heads, levels=network.config.levels, top_k=config.top_k)
    boxes, scores, locations, parameters, embeddings, mask_features = heads(feature)
    blended = network.config.masks is Masks.BLENDMASK
    instances = BlendInstancesGraph(stride=1) if blended else CondInstancesGraph()
    found = []
    for image in range(len(image_BCHW)):
        kept = _kept(boxes[image], scores[image], config)
        where = boxes if blended else locations
        index = torch.full_like(kept, image)
        masks = instances(mask_features, parameters[image, kept], where[image, kept], index)
        rows = (boxes[image, kept], scores[image, kept], embeddings[image, kept])
        found.append(HVISPeople(*rows, masks))
    return found


def _kept(boxes_K4: Tensor, scores_K: Tensor, config: ParseConfig) -> Tensor:
    good = (scores_K >= config.score_threshold).nonzero()[:, 0]
    kept = non_maximum_suppression(
        boxes_K4[good].float().cpu().numpy(),
        scores_K[good].float().cpu().numpy(),
        iou_threshold=config.nms_threshold,
        max_kept=config.top_k,
    )
    return good[torch.from_numpy(kept).to(good.device)]
