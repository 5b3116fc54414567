"""Videos read by PyAV, packet by packet, so that damage costs only the damaged frames.

The file is handed over as an object and every other protocol is shut out: a playlist that was uploaded as a
video cannot make the server open other files or addresses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

import av
import av.error
from av.container import InputContainer
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from partstream_core.errors import (
    MediaError,
    NoFramesError,
    NotAVideoError,
    NoVideoStreamError,
    StreamNumberError,
    TruncatedError,
)
from partstream_server.media.deinterlace import Deinterlacer
from partstream_server.media.frame import MediaLimits, Picture
from partstream_server.media.motion_vectors import TELLING_CODECS, BlockMotion, VectorReader
from partstream_server.media.rotation import RgbConverter, Turn, TurnReader
from partstream_server.media.timestamps import ContainerClock

_TEXT_FORMATS = frozenset({"tty", "concat", "hls", "dash", "sdp", "lrc"})
_ONLY_THIS_FILE = {"protocol_whitelist": "pipe"}
_ENCRYPTED = frozenset({"encv", "drmi"})
_BASE64_STARTS = (b"/9j/", b"iVBORw0KGgo", b"UklGR", b"R0lGOD", b"AAAAI", b"AAAAH", b"AAAAG", b"GkXfo")
"""JPEG, PNG, RIFF, GIF, MP4 and Matroska."""
_WITH_VECTORS = {"flags2": "+export_mvs"}
_DEFAULT_RATE = 25.0
_LARGEST_ASPECT = 16
"""Of pixels; headers that declare more are wrong."""
_TICKS = 500
"""Frames a second that are rather the ticks of a clock."""


class ContainerSource:
    """The best video stream of a container as a source of pictures."""

    def __init__(
        self,
        file: BinaryIO,
        head: bytes,
        limits: MediaLimits,
        *,
        motion: bool = False,
        stream: int | None = None,
        deinterlace: bool = True,
    ) -> None:
        """Open the container and check what its headers declare.

        Args:
            file: Closed with the source.
            head: Its first bytes.
            limits: What is accepted.
            motion: Read the motion of blocks, too, where the codec tells it.
            stream: Number of the video stream, from 0, cover art not counted; None takes the largest.
            deinterlace: Whether interlaced frames are made progressive.

        Raises:
            NotAVideoError: Nothing that PyAV knows.
            TruncatedError: A known container whose index or end is missing.
            NoVideoStreamError: Only sound, subtitles or cover art.
            FrameTooLargeError, TooLongError: The headers declare more than the limits allow.
            StreamNumberError: There is no such stream.
        """
        self._file = file
        self._limits = limits
        self._container = _open_container(file, head)
        self._stream = _video_stream(self._container, stream)
        self._deinterlace = deinterlace
        context = self._stream.codec_context
        limit_pixels(self._stream, limits)
        self._num_damaged = 0
        self._num_packets = self._num_pictures = 0
        self._begin_s = self._end_s = 0.0
        self._clock = ContainerClock(self._container, self._stream, usual_step_s=1 / self.frame_rate)
        declared_s = self._clock.duration_s if self._clock.is_declared else None
        limits.check_length(num_frames=self._stream.frames, duration_s=declared_s or 0.0)
        motion = motion and context.name in TELLING_CODECS
        if motion:
            context.options = context.options | _WITH_VECTORS
        self._vectors = VectorReader() if motion else None
        self._stream.thread_type = "AUTO"
        self._turns = TurnReader()
        self._is_exchanged = False
        self._converter = RgbConverter()

    @property
    def frame_rate(self) -> float:
        """Average frames a second as declared, or a usual rate where nothing is.

        For a variable rate some containers declare the ticks of their clock; then the rate so far counts.
        """
        rate = self._stream.average_rate or self._stream.guessed_rate
        if rate and rate >= _TICKS and rate * (self._stream.time_base or 0) == 1:
            shown_s = self._end_s - self._begin_s
            return self._num_pictures / shown_s if shown_s > 0 else _DEFAULT_RATE
        return float(rate) if rate else _DEFAULT_RATE

    @property
    def pixel_aspect(self) -> float:
        """Width of a pixel against its height, of the upright picture; 1 where what is declared cannot be."""
        declared = self._stream.sample_aspect_ratio or self._stream.codec_context.sample_aspect_ratio
        aspect = float(declared or 1)
        if not 1 / _LARGEST_ASPECT <= aspect <= _LARGEST_ASPECT:
            return 1.0
        return 1 / aspect if self._is_exchanged else aspect

    @property
    def declared_duration_s(self) -> float | None:
        """Duration of the video stream, or of the container."""
        return self._clock.duration_s

    @property
    def num_damaged(self) -> int:
        """Frames lost, concealed or missing at the end."""
        return self._num_damaged

    def pictures(self) -> Iterator[Picture]:
        """Pictures in presentation order; interlaced ones are deinterlaced."""
        for frame, shown in self._shown():
            read = partial(self._converter.upright, frame, shown.turn)
            yield Picture(shown.time_s, shown.duration_s, read, shown.motion)
        self._num_damaged = max(self._num_damaged, self._num_missing())

    def _shown(self) -> Iterator[tuple[VideoFrame, _Shown]]:
        progressive = Deinterlacer[_Shown](enabled=self._deinterlace)
        for frame in self._frames():
            self._num_pictures += 1
            self._num_damaged += frame.is_corrupt
            self._limits.check_size(frame.width, frame.height)
            time_s = self._clock.time_s(frame)
            self._num_damaged += self._clock.num_lost(time_s)
            duration_s = float((frame.duration or 0) * (frame.time_base or 0))
            if self._num_pictures == 1:
                self._begin_s = time_s or 0.0
            self._end_s = max(self._end_s, (time_s or 0.0) + duration_s)
            turn = self._turns.turn(frame)
            self._is_exchanged = turn.exchange
            yield from progressive.push(frame, _Shown(time_s, duration_s, turn, self._motion(frame, turn)))
        yield from progressive.finish()

    def _motion(self, frame: VideoFrame, turn: Turn) -> BlockMotion | None:
        return turn.apply_to_motion(self._vectors.motion(frame)) if self._vectors else None

    def _frames(self) -> Iterator[VideoFrame]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
                self._num_packets += packet.size > 0
            except StopIteration:
                return
            except (av.error.FFmpegError, OSError):
                return
            if self._vectors:
                self._vectors.sees(packet)
            self._clock.sees(packet)
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                self._clock.loses(packet)
                self._num_damaged += 1
            else:
                yield from frames

    def _num_missing(self) -> int:
        """Frames that were declared and never came."""
        start = float((self._stream.start_time or 0) * (self._stream.time_base or 0))
        declared = self._clock.own_duration_s
        missing = None if declared is None else (start + declared - self._end_s) * self.frame_rate
        if self._stream.frames:
            # frames outside of an edit list are counted in the header and never shown
            cut_short = self._num_packets < self._stream.frames and (missing is None or missing > 0.5)
            if cut_short:
                return self._stream.frames - self._num_pictures
            # without its index, what follows a loss in an AVI moves up to the place of what was lost
            places = self._clock.num_places
            return max(0, self._stream.frames - places) if places else 0
        return round(missing) if missing is not None and missing > 1.5 else 0

    def close(self) -> None:
        """Release the file."""
        self._container.close()
        self._file.close()


@dataclass(frozen=True, slots=True)
class _Shown:
    """What is known of a frame before its pixels are final."""

    time_s: float | None
    duration_s: float
    turn: Turn
    motion: BlockMotion | None


def limit_pixels(stream: VideoStream, limits: MediaLimits) -> None:
    """Let the decoder refuse larger pictures before it allocates them.

    The decoder counts pixels of whole blocks, so its limit is twice that of the pictures.

    Raises:
        FrameTooLargeError: The headers declare more than the limits allow.
    """
    context = stream.codec_context
    limits.check_size(context.width, context.height)
    context.options = {**context.options, "max_pixels": str(2 * limits.max_pixels)}


def _is_decoded(stream: VideoStream) -> bool:
    """Whether there is a decoder for a stream; PyAV has no context where there is none."""
    context: VideoCodecContext | None = stream.codec_context
    return context is not None and context.codec_tag not in _ENCRYPTED


def _open_container(file: BinaryIO, head: bytes) -> InputContainer:
    try:
        container = av.open(file, "r", metadata_errors="replace", container_options=dict(_ONLY_THIS_FILE))
    except (av.error.FFmpegError, OSError, ValueError) as error:
        if _known_container(head):
            raise TruncatedError("the file starts as a video, but its index is missing or damaged") from error
        raise NotAVideoError(f"the file is not a video or image that can be opened{hint(head)}") from error
    if container.format.name in _TEXT_FORMATS:
        container.close()
        raise NotAVideoError(f"the file is text ({container.format.name}), not a video{hint(head)}")
    return container


def hint(head: bytes) -> str:
    """What a file probably is whose beginning no decoder knows."""
    if head.startswith(b"data:"):
        return "; it is a data URL: send the decoded bytes"
    return "; it is base64 text: send the decoded bytes" if head.startswith(_BASE64_STARTS) else ""


def _known_container(head: bytes) -> bool:
    return head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide") or head.startswith(
        (b"\x1aE\xdf\xa3", b"RIFF", b"FLV", b"OggS", b"GIF8", b"0&\xb2u", b"\x00\x00\x01\xba")
    )


def _video_stream(container: InputContainer, number: int | None = None) -> VideoStream:
    """The stream to parse: that of the number, or the largest that is decoded here; cover art does not count.

    Raises:
        StreamNumberError: There is no such stream.
        NoVideoStreamError, NoFramesError, TruncatedError: There is none at all, or none that is decoded here.
    """
    streams = [
        stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic
    ]
    if number is not None and streams:
        if number >= len(streams):
            container.close()
            raise StreamNumberError(
                f"there is no video stream {number}: the file has {len(streams)}, numbered from 0"
            )
        streams = [streams[number]]
    decoded = [stream for stream in streams if _is_decoded(stream)]
    if len(decoded) > 1 and all(stream.disposition & Disposition.dependent for stream in decoded):
        container.close()
        raise MediaError(
            "the picture consists of tiles, as phones write HEIC, and is damaged or of an unknown kind"
        )
    if decoded:
        return max(decoded, key=lambda stream: stream.codec_context.width * stream.codec_context.height)
    if streams:
        container.close()
        raise NoFramesError("the video is encrypted, or its codec is not decoded here")
    if not container.streams:
        container.close()
        raise TruncatedError("the file starts as a video, but holds no stream")
    kinds = sorted({stream.type for stream in container.streams})
    container.close()
    raise NoVideoStreamError(f"the file holds no video stream, only {', '.join(kinds)}")
