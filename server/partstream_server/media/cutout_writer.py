"""People alone on a transparent ground: WebM, VP9 with an alpha channel, as browsers and editors read it.

Each frame of the source is one frame, at its time; odd sides get one more, transparent row or column.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from partstream_server.media.sound import OPUS, Sound

_CLOCK: Final = 1000
"""WebM counts milliseconds."""
_TIME_BASE: Final = Fraction(1, _CLOCK)
_USUAL_RATE: Final = 25.0
_OPTIONS: Final = {"cpu-used": "8", "deadline": "realtime", "crf": "24", "b": "0", "row-mt": "1"}
_KEPT: Final = 8
"""Pixels around people that keep their colours under the transparency, so that edges don't turn dark."""


class CutoutWriter:
    """Writes upright RGB frames and their opacity as they come; use as a context manager, or call `close`."""

    def __init__(
        self,
        path: Path,
        *,
        width: int,
        height: int,
        frame_rate: float,
        pixel_aspect: float = 1.0,
        sound: Path | None = None,
    ) -> None:
        """Begin a file.

        Args:
            path: Where to; its name should end in .webm.
            width: Of the frames that will come.
            height: Of the frames that will come.
            frame_rate: What the source declares; 0 for none.
            pixel_aspect: Width of a pixel against its height; frames are stretched to square pixels, as
                players of WebM expect them.
            sound: A source whose sound is taken over.
        """
        self._container = av.open(str(path), "w", format="webm")
        rate = Fraction(frame_rate or _USUAL_RATE).limit_denominator(1001)
        self._stream: VideoStream = self._container.add_stream(
            "libvpx-vp9", rate=max(rate, Fraction(1, 1001)), options=dict(_OPTIONS)
        )
        self._shown = max(1, round(width * pixel_aspect)), height
        self._stream.width, self._stream.height = (side + side % 2 for side in self._shown)
        self._stream.pix_fmt = "yuva420p"
        self._stream.metadata["alpha_mode"] = "1"
        self._stream.codec_context.time_base = _TIME_BASE
        self._size = width, height
        self._sound = None if sound is None else Sound(sound, self._container, OPUS)
        self._start_s: float | None = None
        self._last_pts, self._end_s = -1, 0.0

    def write(
        self,
        image: npt.NDArray[np.uint8],
        alpha: npt.NDArray[np.uint8],
        *,
        time_s: float,
        duration_s: float = 0.0,
    ) -> None:
        """Append a frame.

        Args:
            image: RGB, [H, W, 3].
            alpha: Opacity, 0..255, [H, W].
            time_s: On the source's clock.
            duration_s: How long it is shown; 0 where nobody knows.

        Raises:
            ValueError: The frame has another size than the file.
        """
        height, width = alpha.shape
        if (width, height) != self._size or image.shape[:2] != alpha.shape:
            raise ValueError(f"the frame is {width}x{height}, the video {self._size[0]}x{self._size[1]}")
        if self._start_s is None:
            self._start_s = time_s
        if (width, height) != self._shown:
            image, alpha = (
                np.asarray(cv2.resize(one, self._shown, interpolation=cv2.INTER_LINEAR), np.uint8)
                for one in (image, alpha)
            )
            width, height = self._shown
        kernel = np.ones((2 * _KEPT + 1, 2 * _KEPT + 1), np.uint8)
        near = cv2.dilate(alpha, kernel) > 0
        pixels = np.dstack([np.where(near[..., None], image, 0).astype(np.uint8), alpha])
        pixels = np.asarray(
            cv2.copyMakeBorder(pixels, 0, height % 2, 0, width % 2, cv2.BORDER_CONSTANT, value=0), np.uint8
        )
        frame = VideoFrame.from_ndarray(pixels, "rgba").reformat(format="yuva420p")
        self._last_pts = max(self._last_pts + 1, round((time_s - self._start_s) * _CLOCK))
        frame.pts, frame.time_base = self._last_pts, _TIME_BASE
        for packet in self._stream.encode(frame):
            self._container.mux(packet)
        self._end_s = time_s + (duration_s or 1 / _USUAL_RATE)
        if self._sound is not None:
            self._sound.write_until(time_s, start_s=self._start_s)

    def close(self) -> None:
        """Finish the file."""
        if self._start_s is not None:
            for packet in self._stream.encode(None):
                self._container.mux(packet)
        if self._sound is not None:
            self._sound.end(self._end_s, start_s=self._start_s)
        self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
