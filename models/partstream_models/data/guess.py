"""A cheap guess of optical flow, as the server makes it: OpenCV's DIS at half resolution.

Shape suffixes: H height, W width, C colour channels (RGB); h and w are at stride 8.

Source: DIS (Kroeger et al., ECCV 2016).
"""

import cv2
import numpy as np
import numpy.typing as npt

DIS_PRESETS = (cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST, cv2.DISOPTICAL_FLOW_PRESET_FAST)
GUESS_STRIDE = 8


def dis_guess(
    current_HWC: npt.NDArray[np.uint8], reference_HWC: npt.NDArray[np.uint8], *, preset: int
) -> npt.NDArray[np.float32]:
    """Flow from current to reference in pixels of the stride-8 map, [2, H/8, W/8].

    Args:
        current_HWC: An image; height and width are multiples of 32.
        reference_HWC: Of the same size.
        preset: Of DIS.
    """
    height, width = current_HWC.shape[:2]
    small = [
        cv2.resize(
            cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (width // 2, height // 2), interpolation=cv2.INTER_AREA
        )
        for image in (current_HWC, reference_HWC)
    ]
    flow = cv2.DISOpticalFlow.create(preset).calc(small[0], small[1], None)  # type: ignore[call-overload]
    size = (width // GUESS_STRIDE, height // GUESS_STRIDE)
    cells_hw2 = cv2.resize(flow, size, interpolation=cv2.INTER_AREA) * (2 / GUESS_STRIDE)
    return np.ascontiguousarray(cells_hw2.transpose(2, 0, 1), np.float32)
