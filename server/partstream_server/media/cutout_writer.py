"""People alone on a transparent ground: WebM (VP9) for browsers, or MOV (ProRes 4444) for editing programs.

Each frame of the source is one frame, at its time; odd sides get one more, transparent row or column.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Final, Self, cast

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream

from partstream_server.media.sound import MOV_SOUND, OPUS, Sound, SoundForm
from partstream_server.media.video_spec import VideoSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class AlphaForm:
    """A container and a codec that hold opacity."""

    container: str
    codec: str
    pixels: str
    """Pixel format of the codec."""
    options: dict[str, str]
    clock: int
    """Ticks a second."""
    sound: SoundForm
    metadata: dict[str, str]
    """Of the stream."""


WEBM: Final = AlphaForm(
    container="webm",
    codec="libvpx-vp9",
    pixels="yuva420p",
    options={"cpu-used": "8", "deadline": "realtime", "crf": "24", "b": "0", "row-mt": "1"},
    clock=1000,
    sound=OPUS,
    metadata={"alpha_mode": "1"},
)
MOV: Final = AlphaForm(
    container="mov",
    codec="prores_ks",
    pixels="yuva444p10le",
    options={"profile": "4444", "alpha_bits": "8", "vendor": "apl0"},
    clock=90_000,
    sound=MOV_SOUND,
    metadata={},
)
_KEPT: Final = 8
"""Pixels around people that keep their colours under the transparency, so that edges don't turn dark."""
_BT709: Final = 1


class CutoutWriter:
    """Writes upright RGB frames and their opacity as they come; use as a context manager, or call `close`."""

    def __init__(self, path: Path, spec: VideoSpec, form: AlphaForm = WEBM) -> None:
        """Begin a file.

        Args:
            path: Where to; its name should end in the form's container.
            spec: Of the frames that will come; they are stretched to square pixels, as players of WebM
                expect them.
            form: Container and codec.
        """
        self._spec, self._form = spec, form
        self._time_base = Fraction(1, form.clock)
        self._container = av.open(str(path), "w", format=form.container)
        stream = self._container.add_stream(form.codec, rate=spec.rate, options=dict(form.options))
        self._stream = cast(VideoStream, stream)
        self._shown = max(1, round(spec.width * spec.pixel_aspect)), spec.height
        self._stream.width, self._stream.height = (side + side % 2 for side in self._shown)
        self._stream.pix_fmt = form.pixels
        self._stream.metadata.update(form.metadata)
        context = self._stream.codec_context
        context.time_base = self._time_base
        context.color_primaries = context.color_trc = context.colorspace = _BT709
        context.color_range = ColorRange.MPEG
        self._sound = None if spec.sound is None else Sound(spec.sound, self._container, form.sound)
        self._start_s: float | None = None
        self._last_pts, self._end_s = -1, 0.0
        self._durations: dict[int, int] = {}

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
            duration_s: How long it is shown; 0 where it is not known.

        Raises:
            ValueError: The frame has another size than the file, or its opacity has.
        """
        height, width = alpha.shape
        self._spec.check(width=width, height=height)
        self._spec.check(width=image.shape[1], height=image.shape[0])
        if self._start_s is None:
            self._start_s = time_s
        frame = VideoFrame.from_ndarray(self._pixels(image, alpha), "rgba").reformat(
            format=self._form.pixels,
            src_colorspace=Colorspace.ITU709,
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
        )
        self._last_pts = max(self._last_pts + 1, round((time_s - self._start_s) * self._form.clock))
        frame.pts, frame.time_base = self._last_pts, self._time_base
        duration_s = duration_s or 1 / float(self._spec.rate)
        self._durations[self._last_pts] = max(1, round(duration_s * self._form.clock))
        for packet in self._stream.encode(frame):
            self._mux(packet)
        self._end_s = time_s + duration_s
        if self._sound is not None:
            self._sound.write_until(time_s, start_s=self._start_s)

    def _pixels(self, image: npt.NDArray[np.uint8], alpha: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """RGBA with square pixels and even sides, black far from people."""
        if alpha.shape[::-1] != self._shown:
            image, alpha = (
                np.asarray(cv2.resize(one, self._shown, interpolation=cv2.INTER_LINEAR), np.uint8)
                for one in (image, alpha)
            )
        height, width = alpha.shape
        near = cv2.dilate(alpha, np.ones((2 * _KEPT + 1, 2 * _KEPT + 1), np.uint8)) > 0
        pixels = np.dstack([np.where(near[..., None], image, 0).astype(np.uint8), alpha])
        border = (0, height % 2, 0, width % 2)
        return np.asarray(cv2.copyMakeBorder(pixels, *border, cv2.BORDER_CONSTANT, value=0), np.uint8)

    def _mux(self, packet: Packet[VideoStream]) -> None:
        duration = self._durations.pop(packet.pts or 0, None)
        if duration is not None:
            packet.duration = duration
        self._container.mux(packet)

    def close(self) -> None:
        """Finish the file."""
        if self._start_s is not None:
            for packet in self._stream.encode(None):
                self._mux(packet)
        if self._sound is not None:
            self._sound.end(self._end_s, start_s=self._start_s)
        self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
