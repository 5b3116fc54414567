"""Bundles of HVISNet."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from partstream_core.manifest import Capabilities, Channels, Manifest, Strides, Thresholds
from partstream_export.bundle_writer import TracedGraph, trace_all, write_bundle
from partstream_export.hvisnet_definitions import hvisnet_definitions
from partstream_export.hvisnet_parity import hvisnet_differences
from partstream_export.live_parity import CASES, Case
from partstream_export.papers import PaperBundle
from partstream_export.parity import Difference, OnnxGraph
from partstream_models.networks.hvisnet import HVISNet
from partstream_models.networks.hvisnet_graphs import FEATURE_STRIDE, packed_channels
from partstream_models.networks.hvisnet_parse import ParseConfig

_PARSE = ParseConfig()
TOP_K = _PARSE.top_k
HVISNET_THRESHOLDS = Thresholds(
    score=_PARSE.score_threshold, nms=_PARSE.nms_threshold, mask=0.5, candidate=0.05
)
_MAP_STRIDE = 4


def hvisnet_manifest(network: HVISNet, bundle: PaperBundle, *, top_k: int = TOP_K) -> Manifest:
    """The manifest, still without its graphs."""
    config = network.config
    return bundle.manifest(
        strides=Strides(feature=FEATURE_STRIDE, parts=_MAP_STRIDE, masks=_MAP_STRIDE),
        channels=Channels(
            feature=packed_channels(config.channels),
            mask_features=config.num_mask_features,
            mask_parameters=config.num_mask_parameters,
        ),
        capabilities=Capabilities(parts=(), embedding=config.channels, temporal="none"),
        top_k=top_k,
    )


def trace_hvisnet(network: HVISNet, *, top_k: int = TOP_K) -> dict[str, TracedGraph]:
    """The graphs by name."""
    return trace_all(hvisnet_definitions(network, top_k=top_k))


def write_hvisnet(
    out: Path,
    network: HVISNet,
    traced: Mapping[str, TracedGraph],
    bundle: PaperBundle,
    *,
    top_k: int = TOP_K,
    force: bool = False,
    cases: Sequence[Case] = CASES,
) -> list[Difference]:
    """Write a bundle of HVISNet; see `write_bundle`."""
    return write_bundle(
        out,
        traced,
        hvisnet_manifest(network, bundle, top_k=top_k),
        partial(_differences, network, top_k, cases),
        model_card=bundle.model_card,
        force=force,
    )


def _differences(
    network: HVISNet,
    top_k: int,
    cases: Sequence[Case],
    shipped: Mapping[str, OnnxGraph],
    probed: Mapping[str, OnnxGraph],  # noqa: ARG001 - it has no probes
) -> list[Difference]:
    return hvisnet_differences(network, shipped, top_k=top_k, cases=cases)
