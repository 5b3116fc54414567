"""Bundles of ATEN."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from partstream_core.labels import PARTS
from partstream_core.manifest import Capabilities, Channels, Manifest, Strides, Thresholds
from partstream_core.schedule import ScheduleConfig, ScheduleMode
from partstream_export.aten_graphs import aten_graphs
from partstream_export.aten_parity import aten_differences
from partstream_export.bundle_writer import TracedGraph, trace_all, write_bundle
from partstream_export.live_parity import CASES, Case
from partstream_export.papers import PaperBundle
from partstream_export.parity import Difference, OnnxGraph
from partstream_models.networks.aten import ATEN
from partstream_models.networks.deeplab_v3_plus import FEATURE_STRIDE

SCHEDULE = ScheduleConfig(mode=ScheduleMode.PAPER, interval=3, encoding_range=2)
"""Section 5.1: l = 3 and p = 2."""
_BOX_NUMBERS = 4
"""A person's mask is made from the feature map and their box."""


def aten_thresholds(network: ATEN) -> Thresholds:
    """The network's own confidence and suppression."""
    heads = network.config.heads
    return Thresholds(score=heads.min_score, nms=heads.nms_iou, mask=0.5, candidate=0.05)


def aten_manifest(network: ATEN, bundle: PaperBundle) -> Manifest:
    """The manifest, still without its graphs."""
    channels = network.config.backbone.channels
    return bundle.manifest(
        strides=Strides(feature=FEATURE_STRIDE, parts=FEATURE_STRIDE, masks=FEATURE_STRIDE),
        channels=Channels(feature=channels, mask_features=channels, mask_parameters=_BOX_NUMBERS),
        capabilities=Capabilities(parts=PARTS[1:], embedding=None, temporal="window"),
        top_k=network.config.heads.rpn.num_proposals,
    )


def trace_aten(network: ATEN) -> dict[str, TracedGraph]:
    """The graphs by name.

    Raises:
        ValueError: No bundle can be made of this network.
    """
    return trace_all(aten_graphs(network))


def write_aten(
    out: Path,
    network: ATEN,
    traced: Mapping[str, TracedGraph],
    bundle: PaperBundle,
    *,
    force: bool = False,
    cases: Sequence[Case] = CASES,
) -> list[Difference]:
    """Write a bundle of ATEN; see `write_bundle`."""
    return write_bundle(
        out,
        traced,
        aten_manifest(network, bundle),
        partial(_differences, network, cases),
        model_card=bundle.model_card,
        force=force,
    )


def _differences(
    network: ATEN, cases: Sequence[Case], shipped: Mapping[str, OnnxGraph], probed: Mapping[str, OnnxGraph]
) -> list[Difference]:
    return aten_differences(network, shipped, probed["heads"], cases)
