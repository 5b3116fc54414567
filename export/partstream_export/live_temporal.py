"""The live network's graphs over time: `propagate`, with the flow inside, and `temporal`.

Flow, warp and scale map are one graph, because a frame that borrows needs all three, and so does a key frame
that carries its state on; flow and the scale map's deviation come out for the scheduler.

Shape suffixes: B batch, C channels, H and W network size (multiples of 32).
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from partstream_core.manifest import TensorSpec
from partstream_export.graphs import GraphDefinition, floats
from partstream_models.networks.flow_field import FlowField, propagate
from partstream_models.networks.live import FEATURE_CHANNELS, LiveTemporal

IMAGE = floats("image", "batch", 3, "height", "width")
REFERENCE = floats("reference", "batch", 3, "height", "width")
GUESS = floats("guess", "batch", 2, "height/8", "width/8")
FLOW = floats("flow", "batch", 2, "height/8", "width/8")


def temporal_graphs(temporal: LiveTemporal) -> tuple[GraphDefinition, ...]:
    """The definitions of `propagate` and `temporal`."""
    image = torch.zeros(2, 3, 96, 64)
    feature = torch.zeros(2, FEATURE_CHANNELS, 12, 8)
    return (
        GraphDefinition(
            name="propagate",
            module=PropagateGraph(temporal),
            inputs=(IMAGE, REFERENCE, GUESS, _map("feature")),
            outputs=(_map("propagated"), FLOW, floats("scale_deviation", "batch")),
            example=(image, image.clone(), torch.zeros(2, 2, 12, 8), feature),
        ),
        GraphDefinition(
            name="temporal",
            module=temporal.encoder,
            inputs=(_map("feature"), _map("state")),
            outputs=(_map("encoded"),),
            example=(feature, feature.clone()),  # two tensors, or the trace takes them for one
        ),
    )


class PropagateGraph(nn.Module):
    """A reference frame's feature as the current frame would have it, and the flow that says so."""

    def __init__(self, temporal: LiveTemporal) -> None:
        super().__init__()
        self.flow = temporal.flow

    def forward(
        self, image_B3HW: Tensor, reference_B3HW: Tensor, guess_B2HW: Tensor, feature_BCHW: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The propagated feature, the flow in pixels of the feature map, and the mean of |scale - 1|, [B]."""
        field: FlowField = self.flow(image_B3HW, reference_B3HW, guess_B2HW)
        assert field.scale_BCHW is not None
        deviation = (field.scale_BCHW - 1).abs().mean(dim=(1, 2, 3))
        return propagate(feature_BCHW, field), field.flow_B2HW, deviation


def temporal_inputs(
    images_B3HW: Tensor, feature_BCHW: Tensor, generator: torch.Generator
) -> dict[str, dict[str, Tensor]]:
    """Inputs of both graphs: a picture that moved a little, and features of it and of something else."""
    moved = torch.roll(images_B3HW, shifts=(3, -5), dims=(2, 3))
    guess = torch.randn(feature_BCHW[:, :2].shape, generator=generator)
    other = feature_BCHW + 0.2 * torch.randn(feature_BCHW.shape, generator=generator)
    return {
        "propagate": {"image": moved, "reference": images_B3HW, "guess": guess, "feature": feature_BCHW},
        "temporal": {"feature": feature_BCHW, "state": other},
    }


def temporal_reference(
    temporal: LiveTemporal, inputs: Mapping[str, Mapping[str, Tensor]]
) -> dict[str, dict[str, Tensor]]:
    """What torch computes of these inputs, by graph and output."""
    borrow, step = inputs["propagate"], inputs["temporal"]
    field: FlowField = temporal.flow(borrow["image"], borrow["reference"], borrow["guess"])
    assert field.scale_BCHW is not None
    return {
        "propagate": {
            "propagated": propagate(borrow["feature"], field),
            "flow": field.flow_B2HW,
            "scale_deviation": (field.scale_BCHW - 1).abs().mean(dim=(1, 2, 3)),
        },
        "temporal": {"encoded": temporal.encoder(step["feature"], step["state"])},
    }


def _map(name: str) -> TensorSpec:
    return floats(name, "batch", FEATURE_CHANNELS, "height/8", "width/8")
