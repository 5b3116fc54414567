"""Presentation times of a container's frames, and its duration."""

from __future__ import annotations

import heapq
import statistics
from collections import deque
from typing import Final

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from partstream_server.media.frame_numbers import FrameNumbers

_RESTARTING: Final = frozenset({"mpegts", "mpeg"})
"""Formats whose clock may begin anew in the middle; FFmpeg takes their duration from the last time stamp."""
_TIMED: Final = "mpegts"
"""The one of them whose frames all have times of their own: those of MPEG-PS come in even runs, then jump."""
_LONGEST_GAP_S: Final = 60.0
"""Between frames of such a format; a longer one is a clock that began anew."""
_STEPS: Final = 8
"""Distances of frames that tell of a constant rate."""
_MOST_BREAKS: Final = 64
"""Losses that are remembered until their gap is shown: decoders hold back some frames."""
_EVEN: Final = 1.2
"""The longest of them against the median."""
_LOSS: Final = 1.6
"""A distance against the median that is a loss."""
_NUMBERED: Final = frozenset({"matroska", "webm", "flv", "mov", "mp4", _TIMED})
"""Formats whose frames have times of their own, and whose rate may vary."""
_ENDS: Final = frozenset({"matroska", "webm", "flv"})
"""Formats whose headers tell the time of the end, which a recording that begins late has far from 0."""
_UNORDERED: Final = "avi"
"""A format without presentation times."""


class ContainerClock:
    """Presentation times of one stream's frames."""

    def __init__(self, container: InputContainer, stream: VideoStream, *, usual_step_s: float) -> None:
        self._container, self._stream = container, stream
        self._names = frozenset(container.format.name.split(","))
        self._usual_step_s = usual_step_s
        self._waiting: list[int] | None = [] if _UNORDERED in self._names else None
        """Decoding times of packets that are not shown yet."""
        self.num_places = 0
        """Of AVI: places of frames up to the last packet, with those that the file leaves empty."""
        self._last_s: float | None = None
        self._shift_s = 0.0
        self._before_s: float | None = None
        self._steps: deque[float] = deque(maxlen=_STEPS)
        self._numbers: FrameNumbers | None = None
        if _NUMBERED & self._names and stream.codec_context.name == "h264":
            self._numbers = FrameNumbers(stream.codec_context.extradata)
        self._breaks_s: deque[float] = deque(maxlen=_MOST_BREAKS)
        """Times of the packets before or in which something was lost."""
        self.restarted = False
        """Whether the clock jumped."""

    def sees(self, packet: Packet[VideoStream]) -> None:
        """Note a packet before it is decoded."""
        if self._numbers is not None and packet.size:
            is_break = self._numbers.num_missing(bytes(packet)) > 0 or packet.is_corrupt
            if is_break and packet.pts is not None:
                self._breaks_s.append(float(packet.pts * packet.time_base) + self._shift_s)
        if self._waiting is not None and packet.dts is not None and packet.size:
            heapq.heappush(self._waiting, packet.dts)
            self.num_places = max(self.num_places, packet.dts + 1)

    def loses(self, packet: Packet[VideoStream]) -> None:
        """Forget a packet that could not be decoded."""
        if self._waiting and packet.dts in self._waiting:
            self._waiting.remove(packet.dts)
            heapq.heapify(self._waiting)

    def time_s(self, frame: VideoFrame) -> float | None:
        """The time of the next frame shown; None where the container does not tell.

        Frames of AVI are shown at the decoding times of its packets, in order. A clock that jumps back, or in
        a broadcast format far ahead, goes on from the frame before.
        """
        if self._waiting:
            return float(heapq.heappop(self._waiting) * (self._stream.time_base or 0))
        if frame.pts is None:
            return None
        raw_s = float(frame.pts * (frame.time_base or 0))
        if self._last_s is not None:
            jump_s = raw_s - self._last_s
            if jump_s < 0 or (jump_s > _LONGEST_GAP_S and self._names & _RESTARTING):
                self._shift_s += self._usual_step_s - jump_s
                self.restarted = True
        self._last_s = raw_s
        return raw_s + self._shift_s

    def num_lost(self, time_s: float | None) -> int:
        """Frames that are missing before one with this time, of a stream at a constant rate; at least.

        A gap after frames at equal distances may be a loss, or frames that never were. Of H.264 the frame
        numbers, and packets that the demultiplexer calls damaged, tell one from the other; a broadcast stream
        of another codec is taken to have a constant rate.
        """
        if time_s is None or not (_TIMED in self._names or self._numbers):
            return 0
        steps, last_s, self._before_s = self._steps, self._before_s, time_s
        if last_s is None:
            return 0
        step_s = time_s - last_s
        usual_s = statistics.median(steps) if len(steps) == steps.maxlen else 0.0
        if usual_s > 0 and step_s > _LOSS * usual_s and max(steps) < _EVEN * usual_s:
            begin_s, end_s = last_s - usual_s / 2, time_s + _STEPS * usual_s
            is_lost = self._numbers is None or any(begin_s < break_s <= end_s for break_s in self._breaks_s)
            return round(step_s / usual_s) - 1 if is_lost else 0
        steps.append(step_s)
        return 0

    @property
    def is_declared(self) -> bool:
        """Whether the duration stands in headers, so that a longer video can be refused at once."""
        return not self._names & _RESTARTING

    @property
    def duration_s(self) -> float | None:
        """Declared duration of the video stream, or of the container."""
        own = self.own_duration_s
        return own if own is not None else self._container_duration_s()

    @property
    def own_duration_s(self) -> float | None:
        """Declared duration of the video stream alone."""
        stream = self._stream
        if self.restarted:
            return None
        if stream.duration and stream.time_base:
            return float(stream.duration * stream.time_base)
        if (tag := stream.metadata.get("DURATION")) and (end_s := _seconds(tag)) is not None:
            return self._length_s(end_s)
        return self._container_duration_s() if len(self._container.streams) == 1 else None

    def _container_duration_s(self) -> float | None:
        if self.restarted or not self._container.duration:
            return None
        return self._length_s(self._container.duration / av.time_base)

    def _length_s(self, declared_s: float) -> float:
        """How long a video is whose headers tell this."""
        begin_s = (self._container.start_time or 0) / av.time_base
        ends = bool(self._names & _ENDS) and begin_s <= declared_s
        return declared_s - begin_s if ends else declared_s


def _seconds(clock: str) -> float | None:
    """Seconds of HH:MM:SS.fraction, as Matroska's tags spell durations."""
    try:
        hours, minutes, seconds = clock.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None
