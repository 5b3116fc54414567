"""Temporal Parsing Refinement: segmentation and optical flow of a window correct each other.

Shape suffixes: T frames, C classes, H height, W width; a last 2 is (x, y).

Source: "A Self-Supervised Framework for Human Instance Segmentation", section 3.3. In the published text
- Eq. 5 has its last line twice and a stray term; it is the softmax of a_t(x, y), of a_t+1 at (x + u_t+1, y
  + v_t+1) and of a_t-1 at (x - u_t, y - v_t), added up. u_t is the flow from frame t-1 to t, read at the
  place in frame t;
- the v of Eq. 8 is named u once;
- Eqs. 7 and 8 add vectors at (x, y), Eq. 9 goes on from where the last step ended. Only the latter makes
  Eq. 6 follow from Eq. 9, so each vector is read where the way so far has led.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from partstream_models.networks.warp import warp
from partstream_models.selfsupervised.flow_refinement import SearchConfig, estimate_flow, refine_flow

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]
FlowEstimator = Callable[[UInt8Array, UInt8Array], Float32Array]
"""Flow [H, W, 2] from the first picture to the second."""


class SegModule(Protocol):
    """The Seg Module: what is refined."""

    def activations(self, images_THWC: UInt8Array) -> Tensor:
        """Activations before the softmax, [T, C, H, W]."""

    def fine_tune(self, images_THWC: UInt8Array, labels_THW: UInt8Array) -> None:
        """Learn the labels of these pictures; 255 is void."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TPRConfig:
    """Settings of the refinement."""

    num_rounds: int = 5
    """N_TPR."""
    window: int = 3
    """Frames of a window: 3, or 2 (a frame and the one before it)."""
    search: SearchConfig = field(default_factory=SearchConfig)

    def __post_init__(self) -> None:
        if self.num_rounds < 0:
            raise ValueError(f"num_rounds must be at least 0, got {self.num_rounds}")
        if self.window not in (2, 3):
            raise ValueError(f"window must be 2 or 3, got {self.window}")


@dataclass(frozen=True, slots=True, eq=False)
class Refined:
    """What a round leaves."""

    activations_TCHW: Tensor
    """Summed over the window, before the softmax of Eq. 5."""
    flows: tuple[Float32Array, ...]
    """Refined flow from each frame to the next, [H, W, 2]."""

    @property
    def labels_THW(self) -> UInt8Array:
        """The likeliest class of each pixel."""
        return labels_of(self.activations_TCHW)


def labels_of(activations_TCHW: Tensor) -> UInt8Array:
    """The likeliest class of each pixel, [T, H, W]."""
    return activations_TCHW.argmax(dim=1).numpy().astype(np.uint8)


def sum_window(
    current_CHW: Tensor,
    *,
    before: tuple[Tensor, Float32Array] | None = None,
    after: tuple[Tensor, Float32Array] | None = None,
) -> Tensor:
    """The sum inside the softmax of Eq. 5, [C, H, W].

    What lies outside a neighbour adds nothing.

    Args:
        current_CHW: Activations of frame t.
        before: Activations of frame t-1, and the flow from it to frame t, [H, W, 2].
        after: Activations of frame t+1, and the flow from frame t to it.
    """
    total = current_CHW
    for neighbour, sign in ((before, -1.0), (after, 1.0)):
        if neighbour is not None:
            flow = torch.from_numpy(np.ascontiguousarray(sign * neighbour[1].transpose(2, 0, 1)))
            total = total + warp(neighbour[0][None], flow[None].to(total.dtype))[0]
    return total


def refine_clip(
    images_THWC: UInt8Array,
    seg: SegModule,
    config: TPRConfig | None = None,
    *,
    flow_of: FlowEstimator = estimate_flow,
    after_round: Callable[[int, Refined], None] | None = None,
) -> Refined:
    """Activations and flows after N_TPR rounds; the Seg Module has learned from each.

    A round segments all frames, refines the flow, sums the activations of each window (at the ends of the
    clip, of what there is of it) and fine-tunes the Seg Module on the result.

    Args:
        images_THWC: Frames in a row, RGB.
        seg: The Seg Module.
        config: Settings; with 0 rounds the module's own activations come back.
        flow_of: The Optical Flow Estimation Unit.
        after_round: Called with the number of the round, from 1, and what it leaves.

    Raises:
        ValueError: There is only one frame.
    """
    config = config or TPRConfig()
    if len(images_THWC) < 2:
        raise ValueError(f"a window needs at least 2 frames, got {len(images_THWC)}")
    flows = tuple(flow_of(*pair) for pair in pairwise(images_THWC))
    refined = Refined(seg.activations(images_THWC), flows)
    for number in range(1, config.num_rounds + 1):
        own = seg.activations(images_THWC)
        flows = refine_flows(refined.flows, images_THWC, labels_of(own), config.search)
        refined = Refined(_sum_windows(own, flows, config.window), flows)
        seg.fine_tune(images_THWC, refined.labels_THW)
        if after_round is not None:
            after_round(number, refined)
    return refined


def refine_flows(
    flows: Sequence[Float32Array], images_THWC: UInt8Array, labels_THW: UInt8Array, search: SearchConfig
) -> tuple[Float32Array, ...]:
    """Flow from each frame to the next, after the search where labels contradict it."""
    return tuple(
        refine_flow(flow, (images_THWC[t], images_THWC[t + 1]), (labels_THW[t], labels_THW[t + 1]), search)
        for t, flow in enumerate(flows)
    )


def _sum_windows(own_TCHW: Tensor, flows: Sequence[Float32Array], window: int) -> Tensor:
    last = len(own_TCHW) - 1
    return torch.stack(
        [
            sum_window(
                own_TCHW[t],
                before=(own_TCHW[t - 1], flows[t - 1]) if t > 0 else None,
                after=(own_TCHW[t + 1], flows[t]) if t < last and window == 3 else None,
            )
            for t in range(last + 1)
        ]
    )


def integrate_flow(flows: Sequence[Float32Array]) -> Float32Array:
    """Flow from the first frame to the last through those between, [H, W, 2] (Eqs. 7 and 8).

    Beyond the border a field goes on with its last vector.

    Args:
        flows: From each frame to the next.

    Raises:
        ValueError: There are none.
    """
    if not flows:
        raise ValueError("no flow to integrate")
    total = flows[0].copy()
    y_HW, x_HW = np.indices(total.shape[:2], np.float32)
    for flow in flows[1:]:
        total = total + cv2.remap(
            flow,
            x_HW + total[..., 0],
            y_HW + total[..., 1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
    return total.astype(np.float32)


def propagate_mask(mask_HW: Float32Array, flows: Sequence[Float32Array]) -> Float32Array:
    """The last frame's mask seen from the first, [H, W] (Eqs. 6 and 9): I_A(x) = I_B(x + u(x)); 0 outside.

    Raises:
        ValueError: There is no flow.
    """
    flow = torch.from_numpy(integrate_flow(flows).transpose(2, 0, 1).copy())
    moved: Float32Array = warp(torch.from_numpy(mask_HW)[None, None], flow[None])[0, 0].numpy()
    return moved
