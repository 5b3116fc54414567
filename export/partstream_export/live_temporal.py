"""The live network's graphs over time: `describe`, `propagate` with the flow inside, and `temporal`.

A frame is described once for the flow network, whether it is a key frame or borrows. Flow, warp and scale
map are one graph, because a frame that borrows needs all three, and so does a key frame that carries its
state on; flow and the scale map's deviation come out for the scheduler.

Shape suffixes: B batch, C channels, H and W network size (multiples of 32).
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from partstream_core.manifest import TensorSpec
from partstream_export.graphs import GraphDefinition, floats
from partstream_models.networks.flow_field import propagate
from partstream_models.networks.light_flow import FAR_CHANNELS, NEAR_CHANNELS, Description, LightFlow
from partstream_models.networks.live import FEATURE_CHANNELS, LiveTemporal

HALF_IMAGE = floats("half_image", "batch", 3, "height/2", "width/2")
GUESS = floats("guess", "batch", 2, "height/8", "width/8")
FLOW = floats("flow", "batch", 2, "height/8", "width/8")


def temporal_graphs(temporal: LiveTemporal) -> tuple[GraphDefinition, ...]:
    """The definitions of `describe`, `propagate` and `temporal`."""
    feature = torch.zeros(2, FEATURE_CHANNELS, 12, 8)
    near, far = torch.zeros(2, NEAR_CHANNELS, 12, 8), torch.zeros(2, FAR_CHANNELS, 6, 4)
    # clones, or the trace takes two inputs for one
    maps = (near, far, near.clone(), far.clone(), torch.zeros(2, 2, 12, 8), feature)
    return (
        GraphDefinition(
            name="describe",
            module=DescribeGraph(temporal.flow),
            inputs=(HALF_IMAGE,),
            outputs=_description(),
            example=(torch.zeros(2, 3, 48, 32),),
        ),
        GraphDefinition(
            name="propagate",
            module=PropagateGraph(temporal.flow),
            inputs=(*_description(), *_description("reference_"), GUESS, _map("feature")),
            outputs=(_map("propagated"), FLOW, floats("scale_deviation", "batch")),
            example=maps,
        ),
        GraphDefinition(
            name="temporal",
            module=temporal.encoder,
            inputs=(_map("feature"), _map("state")),
            outputs=(_map("encoded"),),
            example=(feature, feature.clone()),
        ),
    )


class DescribeGraph(nn.Module):
    """What the flow network knows of a frame."""

    def __init__(self, flow: LightFlow) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, half_image_B3HW: Tensor) -> tuple[Tensor, Tensor]:
        """Descriptions at strides 8 and 16."""
        near, far = self.flow.describe(half_image_B3HW)
        return near, far


class PropagateGraph(nn.Module):
    """A reference frame's feature as the current frame would have it, and the flow that says so."""

    def __init__(self, flow: LightFlow) -> None:
        super().__init__()
        self.flow = flow

    def forward(
        self,
        near: Tensor,
        far: Tensor,
        reference_near: Tensor,
        reference_far: Tensor,
        guess_B2HW: Tensor,
        feature_BCHW: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The propagated feature, the flow in pixels of the feature map, and the mean of |scale - 1|, [B]."""
        reference = Description(reference_near, reference_far)
        field = self.flow.estimate(Description(near, far), reference, guess_B2HW)
        assert field.scale_BCHW is not None
        deviation = (field.scale_BCHW - 1).abs().mean(dim=(1, 2, 3))
        return propagate(feature_BCHW, field), field.flow_B2HW, deviation


def temporal_inputs(
    temporal: LiveTemporal, image_B3HW: Tensor, feature_BCHW: Tensor, generator: torch.Generator
) -> dict[str, dict[str, Tensor]]:
    """Inputs of the graphs: a picture that moved a little, and features of it and of something else."""
    half = F.avg_pool2d(image_B3HW, 2)
    near, far = temporal.flow.describe(torch.roll(half, shifts=(3, -5), dims=(2, 3)))
    reference_near, reference_far = temporal.flow.describe(half)
    other = feature_BCHW + 0.2 * torch.randn(feature_BCHW.shape, generator=generator)
    return {
        "describe": {"half_image": half},
        "propagate": {
            "near": near,
            "far": far,
            "reference_near": reference_near,
            "reference_far": reference_far,
            "guess": torch.randn(feature_BCHW[:, :2].shape, generator=generator),
            "feature": feature_BCHW,
        },
        "temporal": {"feature": feature_BCHW, "state": other},
    }


def temporal_reference(
    temporal: LiveTemporal, inputs: Mapping[str, Mapping[str, Tensor]]
) -> dict[str, dict[str, Tensor]]:
    """What torch computes of these inputs, by graph and output."""
    borrow, step = inputs["propagate"], inputs["temporal"]
    current = Description(borrow["near"], borrow["far"])
    reference = Description(borrow["reference_near"], borrow["reference_far"])
    field = temporal.flow.estimate(current, reference, borrow["guess"])
    assert field.scale_BCHW is not None
    described = temporal.flow.describe(inputs["describe"]["half_image"])
    return {
        "describe": {"near": described.near, "far": described.far},
        "propagate": {
            "propagated": propagate(borrow["feature"], field),
            "flow": field.flow_B2HW,
            "scale_deviation": (field.scale_BCHW - 1).abs().mean(dim=(1, 2, 3)),
        },
        "temporal": {"encoded": temporal.encoder(step["feature"], step["state"])},
    }


def _description(prefix: str = "") -> tuple[TensorSpec, TensorSpec]:
    return (
        floats(f"{prefix}near", "batch", NEAR_CHANNELS, "height/8", "width/8"),
        floats(f"{prefix}far", "batch", FAR_CHANNELS, "height/16", "width/16"),
    )


def _map(name: str) -> TensorSpec:
    return floats(name, "batch", FEATURE_CHANNELS, "height/8", "width/8")
