"""Propagation of masks through a clip by DyeNet's Re-MP module, from a starting point in both directions.

Shape suffixes: T frames, C channels, H and W image size, h and w feature size, m cells a side, D channels of
the hidden state; a flow's 2 is (x, y).

Source: Li and Loy (ECCV 2018), section 2.2 and figure 3.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from partstream_models.networks.dyenet import DyeNet
from partstream_models.networks.dyenet_boxes import (
    box_of_mask,
    crop_masks,
    draw_mask,
    warp_mask,
    warp_state,
)

FlowBetween = Callable[[int, int], Tensor]
"""Way from the first frame to the second one, in image pixels, [2, H, W]."""


class Target(NamedTuple):
    """A target in one frame."""

    mask_HW: Tensor
    """0..1."""
    box_4: Tensor
    state_1Dmm: Tensor
    score: float
    """Mean probability of the mask's pixels; 1 for a mask that was given."""


class PropagatedMask(NamedTuple):
    """A target's mask in a frame of its tracklet."""

    frame: int
    mask_HW: Tensor
    score: float


def start_target(network: DyeNet, feature_1Chw: Tensor, mask_HW: Tensor) -> Target | None:
    """The target at a starting point; None where the mask is empty."""
    box_4 = box_of_mask(mask_HW)
    if box_4 is None:
        return None
    cells = network.config.cells
    region = network.regions(feature_1Chw, box_4[None], _first(box_4))
    mask_1mm = crop_masks(mask_HW[None], box_4[None], cells)
    return Target(mask_HW.float(), box_4, network.propagate.start_state(region, mask_1mm), 1.0)


def step_target(network: DyeNet, feature_1Chw: Tensor, former: Target, flow_2HW: Tensor) -> Target | None:
    """The target in the current frame; None where its mask ends (hidden, or out of the picture).

    Args:
        network: In evaluation mode.
        feature_1Chw: Feature map of the current frame.
        former: The target in the frame before it, or after it where masks are propagated backwards.
        flow_2HW: Way from the current frame to that one, in image pixels.
    """
    box_4 = box_of_mask(warp_mask(former.mask_HW, flow_2HW))
    if box_4 is None:
        return None
    warped = warp_state(former.state_1Dmm, former.box_4[None], box_4[None], flow_2HW)
    region = network.regions(feature_1Chw, box_4[None], _first(box_4))
    found = network.propagate(warped, region)
    height, width = flow_2HW.shape[-2:]
    mask_HW = draw_mask(found.mask_logits_Rmm[0].float().sigmoid(), box_4, (height, width))
    inside = mask_HW > 0.5
    if not inside.any():
        return None
    return Target(mask_HW, box_4, found.state_RDmm, float(mask_HW[inside].mean()))


def propagate_one_way(
    network: DyeNet, feature_of: Callable[[int], Tensor], flow: FlowBetween, start: Target, frames: range
) -> Iterator[PropagatedMask]:
    """Masks frame by frame until the target is lost.

    Args:
        network: In evaluation mode.
        feature_of: Feature map of a frame, [1, C, h, w].
        flow: Between two frames.
        start: The target in the frame before the first one of `frames`.
        frames: In the order of propagation, rising or falling by one.
    """
    target: Target | None = start
    for frame in frames:
        former = frame - frames.step
        assert target is not None
        target = step_target(network, feature_of(frame), target, flow(frame, former))
        if target is None:
            return
        yield PropagatedMask(frame, target.mask_HW, target.score)


@torch.no_grad()
def propagate_tracklet(
    network: DyeNet,
    feature_of: Callable[[int], Tensor],
    flow: FlowBetween,
    *,
    frame: int,
    mask_HW: Tensor,
    num_frames: int,
) -> dict[int, PropagatedMask]:
    """The tracklet of a starting point by frame: its own mask and what both directions reach.

    Raises:
        ValueError: The mask is empty, or the frame is none of the clip's.
    """
    if not 0 <= frame < num_frames:
        raise ValueError(f"a clip of {num_frames} frames has no frame {frame}")
    start = start_target(network, feature_of(frame), mask_HW)
    if start is None:
        raise ValueError(f"the mask of the starting point in frame {frame} is empty")
    found = {frame: PropagatedMask(frame, start.mask_HW, start.score)}
    for frames in (range(frame + 1, num_frames), range(frame - 1, -1, -1)):
        for each in propagate_one_way(network, feature_of, flow, start, frames):
            found[each.frame] = each
    return found


def _first(box_4: Tensor) -> Tensor:
    return torch.zeros(1, dtype=torch.int64, device=box_4.device)
