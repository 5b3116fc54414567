"""ONNX graphs of the live network's temporal path: `propagate` (flow, warp, scale map) and `temporal`.

Flow, warp and scale map form one graph, because every propagated frame needs all three, and so does every key
frame that updates the temporal state. The key-frame scheduler reads the outputs `flow` and `scale_deviation`.

Shape suffixes: B batch, C channels, H and W at stride 8, Q and R at stride 4.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from partstream_core.manifest import TensorSpec
from partstream_export.graphs import GraphDefinition, floats
from partstream_models.networks.flow_field import propagate
from partstream_models.networks.light_flow import LightFlow
from partstream_models.networks.live import FEATURE_CHANNELS, LiveTemporal

HALF_IMAGE = floats("half_image", "batch", 3, "height/2", "width/2")
REFERENCE_HALF_IMAGE = floats("reference_half_image", "batch", 3, "height/2", "width/2")
GUESS = floats("guess", "batch", 2, "height/4", "width/4")
FLOW = floats("flow", "batch", 2, "height/8", "width/8")


def temporal_graphs(temporal: LiveTemporal) -> tuple[GraphDefinition, ...]:
    """The definitions of `propagate` and `temporal`."""
    feature = torch.zeros(2, FEATURE_CHANNELS, 12, 8)
    image = torch.zeros(2, 3, 48, 32)
    return (
        GraphDefinition(
            name="propagate",
            module=PropagateGraph(temporal.flow),
            inputs=(HALF_IMAGE, REFERENCE_HALF_IMAGE, GUESS, _map("feature")),
            outputs=(_map("propagated"), FLOW, floats("scale_deviation", "batch")),
            # cloned: the tracer merges two inputs that are the same tensor
            example=(image, image.clone(), torch.zeros(2, 2, 24, 16), feature),
        ),
        GraphDefinition(
            name="temporal",
            module=temporal.encoder,
            inputs=(_map("feature"), _map("state")),
            outputs=(_map("encoded"),),
            example=(feature, feature.clone()),
        ),
    )


class PropagateGraph(nn.Module):
    """Estimates the flow from a frame to its reference frame and warps the reference's feature along it."""

    def __init__(self, flow: LightFlow) -> None:
        super().__init__()
        self.flow = flow

    def forward(
        self, half_image: Tensor, reference_half_image: Tensor, guess_B2QR: Tensor, feature_BCHW: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The propagated feature, the flow in pixels of the feature map, and the mean of |scale - 1|, [B]."""
        field = self.flow.estimate(half_image, reference_half_image, guess_B2QR)
        assert field.scale_BCHW is not None
        deviation = (field.scale_BCHW - 1).abs().mean(dim=(1, 2, 3))
        return propagate(feature_BCHW, field), field.flow_B2HW, deviation


def temporal_inputs(
    image_B3HW: Tensor, feature_BCHW: Tensor, generator: torch.Generator
) -> dict[str, dict[str, Tensor]]:
    """Random inputs of the graphs: an image, the same image shifted by a few pixels, and two features."""
    half = F.avg_pool2d(image_B3HW, 2)
    other = feature_BCHW + 0.2 * torch.randn(feature_BCHW.shape, generator=generator)
    batch, _, height, width = half.shape
    return {
        "propagate": {
            "half_image": torch.roll(half, shifts=(3, -5), dims=(2, 3)),
            "reference_half_image": half,
            "guess": torch.randn(batch, 2, height // 2, width // 2, generator=generator),
            "feature": feature_BCHW,
        },
        "temporal": {"feature": feature_BCHW, "state": other},
    }


def temporal_reference(
    temporal: LiveTemporal, inputs: Mapping[str, Mapping[str, Tensor]]
) -> dict[str, dict[str, Tensor]]:
    """Outputs that torch computes from these inputs, by graph and output name."""
    moved, step = inputs["propagate"], inputs["temporal"]
    field = temporal.flow.estimate(moved["half_image"], moved["reference_half_image"], moved["guess"])
    assert field.scale_BCHW is not None
    return {
        "propagate": {
            "propagated": propagate(moved["feature"], field),
            "flow": field.flow_B2HW,
            "scale_deviation": (field.scale_BCHW - 1).abs().mean(dim=(1, 2, 3)),
        },
        "temporal": {"encoded": temporal.encoder(step["feature"], step["state"])},
    }


def _map(name: str) -> TensorSpec:
    return floats(name, "batch", FEATURE_CHANNELS, "height/8", "width/8")
