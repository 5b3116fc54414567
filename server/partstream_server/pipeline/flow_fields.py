"""Flow fields: other sizes, and warping along them.

Shape suffixes: see the package.
"""

from __future__ import annotations

from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

Flow: TypeAlias = npt.NDArray[np.float32]
"""[2, h, w]: where each pixel of the current frame lies in the reference, less its own place, in pixels."""


def check_flow(flow_2HW: Flow) -> None:
    """Refuse what is no flow.

    Raises:
        ValueError: The shape is not [2, H, W], or H or W is 0.
    """
    if flow_2HW.ndim != 3 or flow_2HW.shape[0] != 2 or 0 in flow_2HW.shape:
        raise ValueError(f"a flow must be [2, H, W], got {flow_2HW.shape}")


def between_sizes(flow_2HW: Flow, *, height: int, width: int) -> Flow:
    """The same flow on a map of another size, in the pixels of that map."""
    check_flow(flow_2HW)
    rows, columns = flow_2HW.shape[1:]
    if (rows, columns) == (height, width):
        return flow_2HW
    how = cv2.INTER_AREA if height <= rows and width <= columns else cv2.INTER_LINEAR
    x_HW, y_HW = (cv2.resize(part_HW, (width, height), interpolation=how) for part_HW in flow_2HW)
    return np.stack([x_HW * np.float32(width / columns), y_HW * np.float32(height / rows)]).astype(np.float32)


def places(flow_2HW: Flow) -> Flow:
    """Position of each pixel in the reference, (x, y) from the centre of the first pixel."""
    rows, columns = flow_2HW.shape[1:]
    return np.stack(
        [
            flow_2HW[0] + np.arange(columns, dtype=np.float32),
            flow_2HW[1] + np.arange(rows, dtype=np.float32)[:, None],
        ]
    )
