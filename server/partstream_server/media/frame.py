"""Decoded frames and images, and the limits on their size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from partstream_core.errors import FrameTooLargeError, TooLongError
from partstream_server.media.motion_vectors import BlockMotion

Image = npt.NDArray[np.uint8]
"""RGB, [H, W, 3]."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One upright frame of a stream."""

    index: int
    """Position among the decoded frames of the source, from 0."""
    time_s: float
    """Presentation time as the container gives it."""
    image: Image
    duration_s: float = 0.0
    """How long the frame is shown; 0 where the source does not say."""
    motion: BlockMotion | None = None
    """Since the frame read before, where that was asked for and the source tells; None of the first frame."""
    pixel_aspect: float = 1.0
    """Width of a pixel against its height, as the picture is shown."""

    def without_pixels(self) -> Frame:
        """The frame with an image of the same shape that takes no memory; its values mean nothing."""
        return replace(self, image=np.broadcast_to(np.uint8(0), self.image.shape))


@dataclass(frozen=True, slots=True)
class Picture:
    """A frame of a source whose pixels are converted only when asked for."""

    time_s: float | None
    duration_s: float
    read: Callable[[], Image]
    """Upright pixels; called at most once."""
    motion: BlockMotion | None = None
    """Since the picture before."""


class PictureSource(Protocol):
    """What a reader needs from a container, a still image or a folder."""

    @property
    def frame_rate(self) -> float:
        """Frames a second as declared; 0 for a still image."""

    @property
    def pixel_aspect(self) -> float:
        """Width of a pixel against its height, of the upright picture."""

    @property
    def declared_duration_s(self) -> float | None:
        """Duration as declared, if it is."""

    @property
    def num_damaged(self) -> int:
        """Frames found lost or corrupt so far."""

    def pictures(self) -> Iterator[Picture]:
        """Pictures in presentation order; damaged ones are left out or concealed, and counted."""

    def close(self) -> None:
        """Release the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaLimits:
    """The largest media that is accepted; None lifts a limit."""

    max_width: int = 16384
    max_height: int = 16384
    max_pixels: int = 64_000_000
    max_duration_s: float | None = None
    max_frames: int | None = None
    max_waiting_bytes: int = 1 << 30
    """Of frames that wait for the end of a segment with their pixels."""

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be positive, got {value}")

    def check_size(self, width: int, height: int) -> None:
        """Refuse a frame that is too large.

        Raises:
            FrameTooLargeError: A side or the number of pixels is over its limit.
        """
        if width > self.max_width or height > self.max_height or width * height > self.max_pixels:
            raise FrameTooLargeError(
                f"the frame is {width}x{height}; the limit is {self.max_width}x{self.max_height} "
                f"and {self.max_pixels} pixels"
            )

    def check_length(self, *, num_frames: int, duration_s: float) -> None:
        """Refuse a video that is too long.

        Raises:
            TooLongError: The number of frames or the duration is over its limit.
        """
        if self.max_frames is not None and num_frames > self.max_frames:
            raise TooLongError(f"the video has more than {self.max_frames} frames")
        if self.max_duration_s is not None and duration_s > self.max_duration_s:
            raise TooLongError(f"the video is longer than {self.max_duration_s:g} seconds")


def fit_within(image: Image, *, width: int, height: int) -> Image:
    """Scale an image to fit, keeping its shape, and centre it on black."""
    if image.shape[1] == width and image.shape[0] == height:
        return image
    scale = min(width / image.shape[1], height / image.shape[0])
    inner_width = min(width, max(1, round(image.shape[1] * scale)))
    inner_height = min(height, max(1, round(image.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    inner = cv2.resize(image, (inner_width, inner_height), interpolation=how)
    canvas = np.zeros((height, width, 3), np.uint8)
    top, left = (height - inner_height) // 2, (width - inner_width) // 2
    canvas[top : top + inner_height, left : left + inner_width] = inner
    return canvas
