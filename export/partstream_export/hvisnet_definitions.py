"""HVISNet's graphs (`partstream_models.networks.hvisnet_graphs`) with the names and shapes of a bundle."""

import torch

from partstream_core.manifest import TensorSpec
from partstream_export.folding import folded
from partstream_export.graphs import GraphDefinition, floats, indices
from partstream_models.networks.hvisnet import HVISNet, HVISNetConfig, Masks
from partstream_models.networks.hvisnet_graphs import (
    FEATURE_STRIDE,
    BackboneGraph,
    HeadsGraph,
    instances_graph,
    packed_channels,
)

_HEIGHT, _WIDTH = 96, 64
"""Size of the example image that graphs are traced with."""


def hvisnet_definitions(network: HVISNet, *, top_k: int) -> tuple[GraphDefinition, ...]:
    """The definitions of `backbone`, `heads` and `instances`."""
    lean = folded(network)
    return (_backbone(lean), _heads(lean, top_k=top_k), _instances(network))


def _backbone(network: HVISNet) -> GraphDefinition:
    """From an image to the packed pyramid."""
    return GraphDefinition(
        name="backbone",
        module=BackboneGraph(network.backbone),
        inputs=(floats("image", "batch", 3, "height", "width"),),
        outputs=(_feature(network.config),),
        example=(torch.zeros(2, 3, _HEIGHT, _WIDTH),),
    )


def _heads(network: HVISNet, *, top_k: int) -> GraphDefinition:
    """From the packed pyramid to the `top_k` best detections of each image."""
    config = network.config
    channels = packed_channels(config.channels)
    return GraphDefinition(
        name="heads",
        module=HeadsGraph(network.heads, levels=config.levels, top_k=top_k),
        inputs=(_feature(config),),
        outputs=(
            floats("boxes", "batch", top_k, 4),
            floats("scores", "batch", top_k),
            floats("locations", "batch", top_k, 3),
            floats("mask_parameters", "batch", top_k, config.num_mask_parameters),
            floats("embeddings", "batch", top_k, config.channels),
            _mask_features(config),
        ),
        example=(torch.zeros(2, channels, _HEIGHT // FEATURE_STRIDE, _WIDTH // FEATURE_STRIDE),),
    )


def _instances(network: HVISNet) -> GraphDefinition:
    """From mask features and chosen detections to masks."""
    config = network.config
    blended = config.masks is Masks.BLENDMASK
    sides = (_HEIGHT // config.mask_stride, _WIDTH // config.mask_stride)
    return GraphDefinition(
        name="instances",
        module=instances_graph(network),
        inputs=(
            _mask_features(config),
            floats("mask_parameters", "rows", config.num_mask_parameters),
            floats("boxes", "rows", 4) if blended else floats("locations", "rows", 3),
            indices("batch_index", "rows"),
        ),
        outputs=(floats("masks", "rows", "height/4", "width/4"),),
        example=(
            torch.zeros(2, config.num_mask_features, *sides),
            torch.zeros(5, config.num_mask_parameters),
            torch.ones(5, 4 if blended else 3),
            torch.zeros(5, dtype=torch.int64),
        ),
    )


def _feature(config: HVISNetConfig) -> TensorSpec:
    """The pyramid, all levels packed into channels at one stride."""
    sides = (f"height/{FEATURE_STRIDE}", f"width/{FEATURE_STRIDE}")
    return floats("feature", "batch", packed_channels(config.channels), *sides)


def _mask_features(config: HVISNetConfig) -> TensorSpec:
    sides = (f"height/{config.mask_stride}", f"width/{config.mask_stride}")
    return floats("mask_features", "batch", config.num_mask_features, *sides)
