"""A first flow, as the server makes it: OpenCV's DIS at half resolution.

Shape suffixes: H height, W width, C colour channels (RGB); q and r are at stride 4.

Source: DIS (Kroeger et al., ECCV 2016).
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

GUESS_STRIDE = 4
_FEATURE_STRIDE = 8


@dataclass(frozen=True, slots=True)
class GuessConfig:
    """How much DIS does; it never smooths (variational refinement)."""

    finest_scale: int
    """How often the half resolution is halved again where patches are matched last."""
    patch_stride: int
    steps: int
    """Of gradient descent, at most."""


SERVED = GuessConfig(finest_scale=0, patch_stride=4, steps=40)
"""What the server tells the flow network."""
QUICK = GuessConfig(finest_scale=1, patch_stride=6, steps=12)
"""What the server warps features along where it does without the network."""


def dis_guess(
    current_HWC: npt.NDArray[np.uint8],
    reference_HWC: npt.NDArray[np.uint8],
    config: GuessConfig = SERVED,
) -> npt.NDArray[np.float32]:
    """Flow from current to reference in pixels of the stride-8 map, [2, H/4, W/4].

    Args:
        current_HWC: An image; height and width are multiples of 32.
        reference_HWC: Of the same size.
        config: How much DIS does.
    """
    height, width = current_HWC.shape[:2]
    small = [
        cv2.cvtColor(
            cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY
        )
        for image in (current_HWC, reference_HWC)
    ]
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    search.setFinestScale(config.finest_scale)
    search.setPatchStride(config.patch_stride)
    search.setGradientDescentIterations(config.steps)
    search.setVariationalRefinementIterations(0)
    flow = search.calc(small[0], small[1], None)  # type: ignore[call-overload]
    size = (width // GUESS_STRIDE, height // GUESS_STRIDE)
    cells_qr2 = cv2.resize(flow, size, interpolation=cv2.INTER_AREA) * (2 / _FEATURE_STRIDE)
    return np.ascontiguousarray(cells_qr2.transpose(2, 0, 1), np.float32)
