"""The overlay video: MP4, H.264, one frame for each frame of the source, shown as long, with its sound.

Time stamps are those of the source in ticks of 1/90000 s, so a variable frame rate stays one. Sides that are
odd get one more row or column, the repeated last one, as players demand even sides.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from partstream_server.media.sound import Sound
from partstream_server.media.video_spec import VideoSpec

_CLOCK = 90_000
_TIME_BASE = Fraction(1, _CLOCK)
_BT709, _BT601 = 1, 6
_OPTIONS = {"preset": "veryfast", "crf": "23", "bf": "0"}


class VideoWriter:
    """Writes upright RGB frames to a file as they come; use as a context manager, or call `close`."""

    def __init__(self, path: Path, spec: VideoSpec) -> None:
        """Begin a file.

        Args:
            path: Where to; its name should end in .mp4.
            spec: Of the frames that will come.
        """
        self._container = av.open(str(path), "w", format="mp4", options={"movflags": "faststart"})
        self._spec = spec
        self._stream: VideoStream = self._container.add_stream(
            "libx264", rate=spec.rate, options=dict(_OPTIONS)
        )
        self._stream.width, self._stream.height = (side + side % 2 for side in (spec.width, spec.height))
        self._stream.pix_fmt = "yuv420p"
        context = self._stream.codec_context
        context.time_base = _TIME_BASE
        context.sample_aspect_ratio = Fraction(spec.pixel_aspect).limit_denominator(255)
        context.color_primaries = context.color_trc = _BT709
        context.colorspace = _BT601
        self._usual_ticks = round(_CLOCK / spec.rate)
        self._start_s: float | None = None
        self._pending: tuple[int, int, VideoFrame] | None = None
        self._durations: dict[int, int] = {}
        self._sound = None if spec.sound is None else Sound(spec.sound, self._container)
        self._end_s = 0.0

    def write(self, image: npt.NDArray[np.uint8], *, time_s: float, duration_s: float = 0.0) -> None:
        """Append a frame.

        Raises:
            ValueError: The frame has another size than the file.
        """
        height, width = image.shape[:2]
        self._spec.check(width=width, height=height)
        bottom, right = height % 2, width % 2
        if bottom or right:
            image = np.asarray(cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE), np.uint8)
        if self._start_s is None:
            self._start_s = time_s
        planes = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420), np.uint8)
        frame = VideoFrame.from_ndarray(planes, format="yuv420p")
        pts = round((time_s - self._start_s) * _CLOCK)
        if self._pending is not None:
            pts = max(pts, self._pending[0] + 1)
            self._encode(pts - self._pending[0])
        ticks = round(duration_s * _CLOCK) or self._usual_ticks
        self._pending = (pts, ticks, frame)
        self._end_s = time_s + ticks / _CLOCK
        if self._sound is not None:
            self._sound.write_until(time_s, start_s=self._start_s)

    def close(self) -> None:
        """Write what is pending and finish the file."""
        self._encode()
        if self._sound is not None:
            self._sound.end(self._end_s, start_s=self._start_s)
        for packet in self._stream.encode(None) if self._start_s is not None else ():
            self._mux(packet)
        self._container.close()

    def _encode(self, ticks: int | None = None) -> None:
        """Encode the frame that waits until its successor tells how long it lasts."""
        if self._pending is None:
            return
        pts, own_ticks, frame = self._pending
        self._pending = None
        frame.pts, frame.time_base = pts, _TIME_BASE
        self._durations[pts] = ticks or own_ticks
        for packet in self._stream.encode(frame):
            self._mux(packet)

    def _mux(self, packet: Packet[VideoStream]) -> None:
        packet.duration = self._durations.pop(packet.pts or 0)
        self._container.mux(packet)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
