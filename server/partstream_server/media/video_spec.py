"""Properties of a video file to be written that hold for all of its frames."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final, Self

from partstream_core.results import VideoInfo

USUAL_RATE: Final = 25.0
"""Frames a second where a source declares none."""
_SLOWEST: Final = Fraction(1, 1001)


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoSpec:
    """Size, clock, shape of pixels and sound of a video file."""

    width: int
    height: int
    frame_rate: float
    """What the source declares; 0 for none. Used where a frame does not tell how long it lasts."""
    pixel_aspect: float = 1.0
    """Width of a pixel against its height."""
    sound: Path | None = None
    """A source whose sound is taken over, in sync with frames that have its times."""

    @classmethod
    def of(cls, video: VideoInfo, *, pixel_aspect: float, sound: Path | None) -> Self:
        """The properties of a video with every frame of a source."""
        return cls(
            width=video.width,
            height=video.height,
            frame_rate=video.frame_rate,
            pixel_aspect=pixel_aspect,
            sound=sound,
        )

    @property
    def rate(self) -> Fraction:
        """Frames a second of the stream's header; frames keep their own times."""
        return max(Fraction(self.frame_rate or USUAL_RATE).limit_denominator(1001), _SLOWEST)

    def check(self, *, width: int, height: int) -> None:
        """Refuse a frame of another size.

        Raises:
            ValueError: It is one.
        """
        if (width, height) != (self.width, self.height):
            raise ValueError(f"the frame is {width}x{height}, the video {self.width}x{self.height}")
