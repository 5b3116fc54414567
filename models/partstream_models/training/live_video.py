"""The live network over time: key frames through flow, warp and encoder, and a frame that borrows from them.

Shape suffixes: B clips, T frames, C channels, H and W feature size.

Source: ATEN (Zhou et al., MM 2018), section 4.4 and eq. 7, with the recurrent encoder of the live network;
the propagated feature is also drawn to the one that the backbone would have computed (distillation).
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from partstream_models.data.clips.key_frames import VideoBatch
from partstream_models.networks.flow_field import FlowField, endpoint_loss, propagate
from partstream_models.networks.light_flow import FLOW_UNIT, LOSS_WEIGHTS
from partstream_models.networks.live import DenseOutputs, LiveNetwork

FLOW_WEIGHT = 0.2
DISTILLATION_WEIGHT = 1.0


class VideoOutputs(NamedTuple):
    """What the network says of a batch of clips."""

    dense: DenseOutputs
    """Of the last key frames, then of the targets."""
    borrowed_BCHW: Tensor
    """The targets' features, propagated."""
    own_BCHW: Tensor
    """What the backbone computes of the targets; nothing is learned through it."""
    field: FlowField
    """From the targets to the last key frames."""


def run_video(
    network: LiveNetwork, images_BT3HW: Tensor, guesses_BT2QR: Tensor, *, frozen: bool
) -> VideoOutputs:
    """The last key frame encoded over the former ones, and the target's feature borrowed from it.

    Args:
        network: With its temporal path.
        images_BT3HW: Key frames, oldest first, then the target; RGB in [-1, 1].
        guesses_BT2QR: First flows at stride 4, from each frame but the first to the one before it.
        frozen: Learn nothing through the backbone; otherwise the last key frame's feature is learned through.
    """
    temporal = network.temporal
    assert temporal is not None, "the network has no temporal path"
    frames = [frame.contiguous(memory_format=torch.channels_last) for frame in images_BT3HW.unbind(dim=1)]
    *former, key, target = frames
    with torch.no_grad():
        features = list(network.backbone(torch.cat([*former, target])).chunk(len(former) + 1))
    own = features.pop()
    with torch.set_grad_enabled(not frozen):
        features.append(network.backbone(key))
    *guesses, last_guess = guesses_BT2QR.unbind(dim=1)
    state = features[0]
    for last, current, feature, guess in zip(former, [*former[1:], key], features[1:], guesses, strict=True):
        carried = propagate(state, temporal.flow(current, last, guess))
        state = temporal.encoder(feature, carried)
    field: FlowField = temporal.flow(target, key, last_guess)
    borrowed = propagate(state, field)
    dense: DenseOutputs = network.heads(torch.cat([state, borrowed]), torch.cat([key, target]))
    return VideoOutputs(dense, borrowed, own, field)


def video_terms(outputs: VideoOutputs, batch: VideoBatch) -> dict[str, Tensor]:
    """Flow against the truth, and borrowed features against own ones, where the key frame shows them."""
    device = outputs.own_BCHW.device
    visible = batch.visible_BHW.to(device)
    field = FlowField(
        outputs.field.flow_B2HW.float(), None, tuple(level.float() for level in outputs.field.pyramid)
    )
    flow = endpoint_loss(
        field, batch.flow_B2HW.to(device), visible, unit=FLOW_UNIT, weights=LOSS_WEIGHTS
    )  # fmt: skip
    size = (outputs.own_BCHW.shape[-2], outputs.own_BCHW.shape[-1])
    share_B1HW = F.adaptive_avg_pool2d(visible[:, None].float(), size)
    own, borrowed = outputs.own_BCHW.float().detach(), outputs.borrowed_BCHW.float()
    apart = F.smooth_l1_loss(borrowed, own, reduction="none").mean(dim=1, keepdim=True)
    distillation = (apart * share_B1HW).sum() / share_B1HW.sum().clamp(min=1) / own.std().clamp(min=1e-3)
    return {"flow": flow * FLOW_WEIGHT, "distillation": distillation * DISTILLATION_WEIGHT}
