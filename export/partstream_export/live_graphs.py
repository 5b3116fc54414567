"""The live network's graphs of one frame, arranged for speed; those over time are in `live_temporal`.

What they compute is what `partstream_models.networks.live` computes; the order of work differs where that
saves time on a CPU. Mask parameters are read at the chosen locations only, because there are K of them and
thousands of locations. Embeddings are means of the identity map over the masks that are made anyway. Masks
at stride 8 are doubled by two matrix products, which OpenVINO runs ten times faster than a resize of
one-channel maps; masks at stride 4 are pooled to stride 8 for the embeddings.

Shape suffixes: B batch, C channels, H and W network size (multiples of 32), L locations over all levels,
K chosen detections, R rows (people), N pixels of a map, P parts.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from partstream_core.labels import NUM_PARTS
from partstream_export.folding import folded
from partstream_export.graphs import GraphDefinition, floats, indices
from partstream_export.live_temporal import temporal_graphs
from partstream_models.networks.condinst import LAYERS, MASK_CHANNELS, NUM_MASK_PARAMETERS
from partstream_models.networks.fcos import LEVELS, decode_boxes, level_locations
from partstream_models.networks.identity import EMBEDDING_CHANNELS, pool_embeddings
from partstream_models.networks.live import FEATURE_CHANNELS, FEATURE_STRIDE, Heads, LiveNetwork
from partstream_models.networks.movenet import NUM_JOINTS

IMAGE = floats("image", "batch", 3, "height", "width")
FEATURE = floats("feature", "batch", FEATURE_CHANNELS, "height/8", "width/8")
JOINT_MAPS = (
    floats("joint_centers", "batch", 1, "height/4", "width/4"),
    floats("joint_heatmaps", "batch", NUM_JOINTS, "height/4", "width/4"),
    floats("joint_regression", "batch", 2 * NUM_JOINTS, "height/4", "width/4"),
    floats("joint_offsets", "batch", 2 * NUM_JOINTS, "height/4", "width/4"),
)
"""As `partstream_models.networks.movenet.JointMaps` has them."""
IDENTITY_MAP = floats("identity_map", "batch", EMBEDDING_CHANNELS, "height/8", "width/8")
PROBES = (
    floats("person_logits", "batch", "locations"),
    floats("distances", "batch", "locations", 4),
    floats("centerness_logits", "batch", "locations"),
    floats("dense_mask_parameters", "batch", "locations", NUM_MASK_PARAMETERS),
    floats("part_logits", "batch", NUM_PARTS, "height/4", "width/4"),
)
"""Head outputs before any selection; the mask features are an output already."""


def live_graphs(network: LiveNetwork, *, top_k: int) -> tuple[GraphDefinition, ...]:
    """The definitions of `backbone`, `heads` and `instances` of a network, and of those over time, if any."""
    lean = folded(network)
    stride = network.mask_stride
    mask_features = floats("mask_features", "batch", MASK_CHANNELS, f"height/{stride}", f"width/{stride}")
    joint_maps = () if network.joints is None else JOINT_MAPS
    over_time = () if lean.temporal is None else temporal_graphs(lean.temporal)
    image = torch.zeros(2, 3, 96, 64)
    feature = torch.zeros(2, FEATURE_CHANNELS, 12, 8)
    rows = (torch.zeros(5, NUM_MASK_PARAMETERS), torch.ones(5, 3), torch.zeros(5, dtype=torch.int64))
    return (
        GraphDefinition(
            name="backbone",
            module=lean.backbone if network.joints is None else BackboneGraph(lean),
            inputs=(IMAGE,),
            outputs=(FEATURE, *joint_maps),
            example=(image,),
        ),
        GraphDefinition(
            name="heads",
            module=HeadsGraph(lean.heads, top_k=top_k),
            inputs=(FEATURE, IMAGE),
            outputs=(
                floats("boxes", "batch", top_k, 4),
                floats("scores", "batch", top_k),
                floats("locations", "batch", top_k, 3),
                floats("mask_parameters", "batch", top_k, NUM_MASK_PARAMETERS),
                IDENTITY_MAP,
                mask_features,
                floats("part_probabilities", "batch", NUM_PARTS, "height/4", "width/4"),
            ),
            probes=PROBES,
            example=(feature, image),
        ),
        GraphDefinition(
            name="instances",
            module=InstancesGraph(mask_stride=stride),
            inputs=(
                mask_features,
                IDENTITY_MAP,
                floats("mask_parameters", "rows", NUM_MASK_PARAMETERS),
                floats("locations", "rows", 3),
                indices("batch_index", "rows"),
            ),
            outputs=(
                floats("masks", "rows", "height/4", "width/4"),
                floats("embeddings", "rows", EMBEDDING_CHANNELS),
            ),
            example=(
                torch.zeros(2, MASK_CHANNELS, 96 // stride, 64 // stride),
                torch.zeros(2, EMBEDDING_CHANNELS, 12, 8),
                *rows,
            ),
        ),
        *over_time,
    )


class BackboneGraph(nn.Module):
    """The `backbone` graph: F and the joint maps."""

    def __init__(self, network: LiveNetwork) -> None:
        super().__init__()
        self.backbone, self.joints = network.backbone, network.joints

    def forward(self, image_BCHW: Tensor) -> tuple[Tensor, ...]:
        """F, then the joint maps in the order of the definition."""
        assert self.joints is not None
        features = self.backbone.trunk(image_BCHW)
        return (self.backbone.merge(features), *self.joints(features.pyramid))


class HeadsGraph(nn.Module):
    """The `heads` graph: the best K detections and the maps, then the probes."""

    def __init__(self, heads: Heads, *, top_k: int) -> None:
        super().__init__()
        self.heads = copy.deepcopy(heads)
        self.top_k = top_k
        # lifted out of the network, which then returns at its place the features that it reads
        self.mask_parameters = heads.detection.mask_parameters
        self.heads.detection.mask_parameters = nn.Identity()  # type: ignore[assignment]

    def forward(self, feature_BCHW: Tensor, image_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Outputs and probes, in the order of the definition."""
        dense = self.heads(feature_BCHW, image_BCHW)
        box_features_BLC = dense.mask_parameters
        height, width = image_BCHW.shape[-2:]
        locations_L3 = _locations(height, width)
        scores_BL = (dense.person_logits.sigmoid() * dense.centerness_logits.sigmoid()).sqrt()
        # fewer locations than K leave rows of score 0, whatever else stands in them
        scores_BK, best_BK = F.pad(scores_BL, (0, self.top_k)).topk(self.top_k, dim=1)
        best_BK = best_BK.clamp(max=locations_L3.shape[0] - 1)
        return (
            _rows(decode_boxes(locations_L3, dense.distances), best_BK),
            scores_BK,
            locations_L3[best_BK],
            _pointwise(self.mask_parameters, _rows(box_features_BLC, best_BK)),
            dense.identity_map,
            dense.mask_features,
            _softmax(dense.part_logits),
            dense.person_logits,
            dense.distances,
            dense.centerness_logits,
            _pointwise(self.mask_parameters, box_features_BLC),
            dense.part_logits,
        )


class InstancesGraph(nn.Module):
    """The `instances` graph: masks and embeddings of chosen people, wherever in the batch they are.

    Args:
        mask_stride: Network pixels between two mask features, 4 or 8.
    """

    def __init__(self, *, mask_stride: int) -> None:
        super().__init__()
        self._stride = mask_stride

    def forward(
        self,
        mask_features_BCHW: Tensor,
        identity_map_BDHW: Tensor,
        parameters_RP: Tensor,
        locations_R3: Tensor,
        batch_index_R: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Masks at stride 4, [R, H/4, W/4], and embeddings of length one, [R, 64]."""
        height, width = mask_features_BCHW.shape[-2:]
        shared_RCN = mask_features_BCHW.flatten(2)[batch_index_R]
        cells_2N = level_locations(height, width, self._stride).T
        away_R2N = (locations_R3[:, :2, None] - cells_2N) / locations_R3[:, 2:, None]
        z_RCN = torch.cat([shared_RCN, away_R2N], dim=1)
        start = 0
        for index, (num_inputs, num_outputs) in enumerate(LAYERS):
            middle, end = start + num_inputs * num_outputs, start + (num_inputs + 1) * num_outputs
            weight = parameters_RP[:, start:middle].reshape(-1, num_outputs, num_inputs)
            z_RCN = weight @ z_RCN + parameters_RP[:, middle:end, None]
            if index < len(LAYERS) - 1:
                z_RCN = z_RCN.relu()
            start = end
        logits_RHW = z_RCN.reshape(-1, height, width)
        if self._stride == FEATURE_STRIDE:
            weights_RHW = logits_RHW.sigmoid()
            masks_RHW = (_doubling(height) @ (logits_RHW @ _doubling(width).T)).sigmoid()
        else:
            masks_RHW = logits_RHW.sigmoid()
            weights_RHW = F.avg_pool2d(masks_RHW[:, None], 2)[:, 0]
        embeddings_RD = pool_embeddings(identity_map_BDHW, weights_RHW.flatten(1), batch_index_R)
        return masks_RHW, F.normalize(embeddings_RD, dim=-1)


def _locations(height: int, width: int) -> Tensor:
    """x, y and range of every location, level after level, [L, 3]."""
    rows = []
    for level in LEVELS:
        places_N2 = level_locations(height // level.stride, width // level.stride, level.stride)
        # not len() of a tensor: a trace would keep the number it had
        rows.append(torch.cat([places_N2, torch.full_like(places_N2[:, :1], level.scale)], dim=1))
    return torch.cat(rows)


def _rows(table_BLC: Tensor, index_BK: Tensor) -> Tensor:
    """The rows of each image that its indices name, [B, K, C]."""
    return table_BLC.gather(1, index_BK[..., None].expand(-1, -1, table_BLC.shape[-1]))


def _pointwise(convolution: nn.Conv2d, rows_BNC: Tensor) -> Tensor:
    """A 1x1 convolution of rows instead of a map."""
    return F.linear(rows_BNC, convolution.weight[:, :, 0, 0], convolution.bias)


def _softmax(logits_BPHW: Tensor) -> Tensor:
    """Softmax over channels, written for channels-last: that is how OpenVINO keeps a convolution's output."""
    return logits_BPHW.permute(0, 2, 3, 1).softmax(dim=-1).permute(0, 3, 1, 2)


def _doubling(size: int) -> Tensor:
    """The matrix that doubles a map's side as bilinear interpolation does, [2 * size, size].

    Two samples lie a quarter cell before and after each cell's middle; beyond the outer middles values stay.
    """
    at = (torch.arange(2 * size, dtype=torch.float32) / 2 - 0.25).clamp(0, size - 1)
    cells = torch.arange(size, dtype=torch.float32)
    return (1 - (at[:, None] - cells).abs()).clamp(min=0)
