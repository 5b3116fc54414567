"""Bundles of the live network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from partstream_core.joints import NUM_JOINTS
from partstream_core.labels import PARTS
from partstream_core.manifest import (
    Capabilities,
    Channels,
    InputSpec,
    Manifest,
    Strides,
    Thresholds,
)
from partstream_core.schedule import FlowSource, ScheduleConfig, ScheduleMode
from partstream_export import __version__
from partstream_export.bundle_writer import LICENCE, NORMALISATION, TracedGraph, trace_all, write_bundle
from partstream_export.graphs import MULTIPLE, OPSET
from partstream_export.live_graphs import live_graphs
from partstream_export.live_parity import CASES, Case, LiveGraphs, live_differences
from partstream_export.parity import Difference, OnnxGraph
from partstream_models.networks.condinst import MASK_CHANNELS, NUM_MASK_PARAMETERS
from partstream_models.networks.identity import EMBEDDING_CHANNELS
from partstream_models.networks.live import FEATURE_CHANNELS, FEATURE_STRIDE, LiveNetwork

TRAINING_DATA = (
    "Clothing Co-Parsing photos and labels (Yang, Luo, Lin, CVPR 2014; published under Apache-2.0)",
    "Trunk, pyramid and joint heads of MoveNet MultiPose Lightning (Google, Apache-2.0), unchanged",
    "Pictures labelled by MoveNet, BlazePose, BodyPix and DeepLab where they agree (partstream-teach)",
    "Three of Intel's sample videos (intel-iot-devkit/sample-videos, CC BY 4.0), unlabelled, for the flow",
)
"""Training data of this repository's recipes for the live network."""
TRAINING_DATA_V03 = (
    TRAINING_DATA[0],
    "Trunk started from the MobileNetV2 of DeepLabV3 on PASCAL VOC (google-coral/test_data, Apache-2.0)",
    TRAINING_DATA[-1],
)
"""Training data of the weights of bundle 0.3."""
OVER_TIME = ("propagate", "temporal")
"""Graphs that only a network with a temporal path has."""
SCHEDULE = ScheduleConfig(mode=ScheduleMode.CAUSAL, interval=3, flow=FlowSource.DIS)
"""On CPUs the host's flow serves short segments nearly as well as the network's, at a quarter of its cost."""
THRESHOLDS = Thresholds(score=0.5, nms=0.6, mask=0.5, candidate=0.05)


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveBundle:
    """Metadata of a bundle that its weights do not hold."""

    name: str = "partstream-live"
    version: str = __version__
    training_data: tuple[str, ...] | None = None
    """None: what the repository's recipes train the network on."""
    top_k: int = 64
    longer_side: int = 512
    thresholds: Thresholds = THRESHOLDS
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    schedule: ScheduleConfig = SCHEDULE
    """Default schedule of bundles whose network has a temporal path."""
    model_card: str | None = None
    """Text of the model card that goes with the weights."""

    def manifest(self, network: LiveNetwork) -> Manifest:
        """The manifest of a network, still without its graphs."""
        recurrent = network.temporal is not None
        data = TRAINING_DATA_V03 if network.joints is None else TRAINING_DATA
        return Manifest(
            name=self.name,
            version=self.version,
            licence=LICENCE,
            training_data=self.training_data or data,
            opset=OPSET,
            graphs={},
            normalisation=NORMALISATION,
            strides=Strides(feature=FEATURE_STRIDE, parts=4, masks=4),
            channels=Channels(
                feature=FEATURE_CHANNELS, mask_features=MASK_CHANNELS, mask_parameters=NUM_MASK_PARAMETERS
            ),
            capabilities=Capabilities(
                parts=PARTS[1:],
                embedding=EMBEDDING_CHANNELS,
                temporal="recurrent" if recurrent else "none",
                joints=0 if network.joints is None else NUM_JOINTS,
            ),
            input=InputSpec(longer_side=self.longer_side, multiple=MULTIPLE),
            top_k=self.top_k,
            thresholds=self.thresholds,
            schedule=self.schedule if recurrent else ScheduleConfig(),
            evaluation=self.evaluation,
        )


def trace_live(network: LiveNetwork, *, top_k: int) -> dict[str, TracedGraph]:
    """The live network's graphs by name."""
    return trace_all(tuple(live_graphs(network, top_k=top_k)))


def write_live(
    out: Path,
    network: LiveNetwork,
    traced: Mapping[str, TracedGraph],
    bundle: LiveBundle,
    *,
    force: bool = False,
    cases: Sequence[Case] = CASES,
) -> list[Difference]:
    """Write a bundle of the live network; see `write_bundle`."""

    def compare(shipped: Mapping[str, OnnxGraph], probed: Mapping[str, OnnxGraph]) -> list[Difference]:
        graphs = LiveGraphs(
            backbone=shipped["backbone"],
            heads=shipped["heads"],
            probed_heads=probed["heads"],
            instances=shipped["instances"],
            over_time={name: shipped[name] for name in OVER_TIME if name in shipped},
        )
        return live_differences(network, graphs, top_k=bundle.top_k, cases=cases)

    manifest = bundle.manifest(network)
    return write_bundle(out, traced, manifest, compare, model_card=bundle.model_card, force=force)
