"""HVISNet's graphs (`partstream_models.networks.hvisnet_graphs`) with the names and shapes of a bundle."""

import torch

from partstream_export.folding import folded
from partstream_export.graphs import GraphDefinition, floats, indices
from partstream_models.networks.hvisnet import HVISNet, Masks
from partstream_models.networks.hvisnet_graphs import (
    FEATURE_STRIDE,
    BackboneGraph,
    HeadsGraph,
    instances_graph,
    packed_channels,
)


def hvisnet_definitions(network: HVISNet, *, top_k: int) -> tuple[GraphDefinition, ...]:
    """The definitions of `backbone`, `heads` and `instances`."""
    lean = folded(network)
    config = network.config
    parameters, dimension = config.num_mask_parameters, config.channels
    feature = floats(
        "feature",
        "batch",
        packed_channels(config.channels),
        f"height/{FEATURE_STRIDE}",
        f"width/{FEATURE_STRIDE}",
    )
    at_stride = (f"height/{config.mask_stride}", f"width/{config.mask_stride}")
    mask_features = floats("mask_features", "batch", config.num_mask_features, *at_stride)
    blended = config.masks is Masks.BLENDMASK
    where = floats("boxes", "rows", 4) if blended else floats("locations", "rows", 3)
    height, width = 96, 64
    return (
        GraphDefinition(
            name="backbone",
            module=BackboneGraph(lean.backbone),
            inputs=(floats("image", "batch", 3, "height", "width"),),
            outputs=(feature,),
            example=(torch.zeros(2, 3, height, width),),
        ),
        GraphDefinition(
            name="heads",
            module=HeadsGraph(lean.heads, levels=config.levels, top_k=top_k),
            inputs=(feature,),
            outputs=(
                floats("boxes", "batch", top_k, 4),
                floats("scores", "batch", top_k),
                floats("locations", "batch", top_k, 3),
                floats("mask_parameters", "batch", top_k, parameters),
                floats("embeddings", "batch", top_k, dimension),
                mask_features,
            ),
            example=(
                torch.zeros(2, packed_channels(dimension), height // FEATURE_STRIDE, width // FEATURE_STRIDE),
            ),
        ),
        GraphDefinition(
            name="instances",
            module=instances_graph(network),
            inputs=(
                mask_features,
                floats("mask_parameters", "rows", parameters),
                where,
                indices("batch_index", "rows"),
            ),
            outputs=(floats("masks", "rows", "height/4", "width/4"),),
            example=(
                torch.zeros(
                    2, config.num_mask_features, height // config.mask_stride, width // config.mask_stride
                ),
                torch.zeros(5, parameters),
                torch.ones(5, 4 if blended else 3),
                torch.zeros(5, dtype=torch.int64),
            ),
        ),
    )
