"""What of a frame a network is shown: resized, cropped, mirrored; the same for all frames of a draw.

Shape suffixes: H height, W width, C colour channels (RGB); a last 2 is (x, y).
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from partstream_core.labels import flip_labels
from partstream_models.data.readers.record import Float32Array, Frame, UInt8Array

Array = npt.NDArray[Any]
"""A picture, a map or a flow."""
MULTIPLE = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewConfig:
    """How views are drawn."""

    longer_side: int | None = None
    """Frames are resized to this, each side to the nearest multiple of 32; not resized where None."""
    crop: tuple[int, int] | None = None
    """Height and width cut out at a random place; smaller frames are enlarged until it fits."""
    mirror: bool = True
    """Mirror half of the draws; left and right parts trade places."""

    def __post_init__(self) -> None:
        if self.longer_side is not None and self.longer_side < MULTIPLE:
            raise ValueError(f"longer_side must be at least {MULTIPLE}, got {self.longer_side}")
        if self.crop is not None and (
            min(self.crop) < MULTIPLE or any(side % MULTIPLE for side in self.crop)
        ):
            raise ValueError(f"crops must be multiples of {MULTIPLE}, got {self.crop}")
        if self.longer_side is None and self.crop is None:
            raise ValueError("a view needs longer_side or crop: frames have any size")


@dataclass(frozen=True, slots=True)
class View:
    """One way to look at frames of one size."""

    size: tuple[int, int]
    """Height and width that frames are resized to."""
    window: tuple[int, int, int, int]
    """Top, left, height and width of what is shown of that."""
    mirrored: bool

    def of(self, frame: Frame) -> Frame:
        """The frame as it is shown."""
        parts, people, flow = frame.parts_HW, frame.instances_HW, frame.flow_HW2
        return Frame(
            self._picture(frame.image_HWC),
            None if parts is None else self._map(parts, parts=True),
            None if people is None else self._map(people, parts=False),
            frame.identities_N,
            None if flow is None else self._flow(flow),
        )

    def _picture(self, image_HWC: UInt8Array) -> UInt8Array:
        shrinks = self.size[0] < image_HWC.shape[0]
        resized = _resize(image_HWC, self.size, cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        shown = self._cut(resized)
        return np.ascontiguousarray(shown[:, ::-1] if self.mirrored else shown).astype(np.uint8)

    def _map(self, labels_HW: UInt8Array, *, parts: bool) -> UInt8Array:
        shown = self._cut(_resize(labels_HW, self.size, cv2.INTER_NEAREST)).astype(np.uint8)
        if not self.mirrored:
            return np.ascontiguousarray(shown)
        return np.ascontiguousarray(flip_labels(shown) if parts else shown[:, ::-1])

    def _flow(self, flow_HW2: Float32Array) -> Float32Array:
        scale = np.array([self.size[1] / flow_HW2.shape[1], self.size[0] / flow_HW2.shape[0]], np.float32)
        shown = self._cut(_resize(flow_HW2, self.size, cv2.INTER_LINEAR)) * scale
        if self.mirrored:
            shown = shown[:, ::-1] * np.array([-1, 1], np.float32)
        return np.ascontiguousarray(shown, np.float32)

    def _cut(self, picture: Array) -> Array:
        top, left, height, width = self.window
        return picture[top : top + height, left : left + width]


def draw_view(size: tuple[int, int], config: ViewConfig, rng: np.random.Generator) -> View:
    """A view of frames of that height and width."""
    height, width = size
    if config.longer_side is not None:
        scale = config.longer_side / max(size)
        height, width = (max(round(side * scale / MULTIPLE) * MULTIPLE, MULTIPLE) for side in size)
    window = (0, 0, height, width)
    if config.crop is not None:
        scale = max(1.0, config.crop[0] / height, config.crop[1] / width)
        height, width = max(round(height * scale), config.crop[0]), max(round(width * scale), config.crop[1])
        top = int(rng.integers(height - config.crop[0] + 1))
        left = int(rng.integers(width - config.crop[1] + 1))
        window = (top, left, *config.crop)
    return View((height, width), window, config.mirror and bool(rng.random() < 0.5))


def _resize(picture: Array, size: tuple[int, int], interpolation: int) -> Array:
    """The picture at a height and width."""
    if picture.shape[:2] == size:
        return picture
    return np.asarray(cv2.resize(picture, (size[1], size[0]), interpolation=interpolation))
