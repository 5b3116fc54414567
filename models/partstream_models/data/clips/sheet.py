"""A picture of a clip to look at: frames, parts, people and flow, a column a frame.

The picture holds photos, so it is for the eyes of whoever may see the photos.

Shape suffixes: H height, W width, C colour channels (RGB); a last 2 is (x, y).
"""

import cv2
import numpy as np
import numpy.typing as npt

from partstream_core.labels import PALETTE
from partstream_models.data.clips.draw import Clip

UInt8Array = npt.NDArray[np.uint8]

_FASTEST = 12.0
"""Flow of so many pixels has full colour."""


def clip_sheet(clip: Clip, *, every: int = 1) -> UInt8Array:
    """Every so many-th frame with its parts, its people, and its flow to the next one, RGB.

    Flow: the colour is the direction; black is what the next frame does not show.
    """
    last = len(clip.images_THWC) - 1
    columns = []
    for frame in range(0, last + 1, every):
        flow = clip.flow(frame, min(frame + 1, last))
        painted = paint_flow(flow.flow_HW2)
        painted[~flow.visible_HW] = 0
        cells = [
            clip.images_THWC[frame],
            PALETTE[clip.parts_THW[frame]],
            PALETTE[clip.instances_THW[frame]],
            painted,
        ]
        columns.append(np.concatenate(cells, axis=0))
    return np.concatenate(columns, axis=1).astype(np.uint8, copy=False)


def paint_flow(flow_HW2: npt.NDArray[np.float32]) -> UInt8Array:
    """Flow as a picture: hue is the direction, and the stronger the faster; white does not move."""
    length, angle = cv2.cartToPolar(flow_HW2[..., 0], flow_HW2[..., 1])
    strength = np.clip(length / _FASTEST, 0, 1) * 255
    hsv = np.dstack([angle * 90 / np.pi, strength, np.full_like(length, 255)]).astype(np.uint8)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)
