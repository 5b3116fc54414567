"""Videos read by PyAV, packet by packet, so that damage costs only the damaged frames.

The file is handed over as an object and every other protocol is shut out: a playlist that was uploaded as a
video cannot make the server open other files or addresses.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, cast

import av
import av.error
import cv2
import numpy as np
from av.buffer import Buffer
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from partstream_core.errors import NotAVideoError, NoVideoStreamError, TruncatedError
from partstream_server.decode.frame import Image, MediaLimits, Picture
from partstream_server.decode.vectors import TELLING_CODECS, BlockMotion, VectorReader

_TEXT_FORMATS = frozenset({"tty", "concat", "hls", "dash", "sdp", "lrc"})
_ONLY_THIS_FILE = {"protocol_whitelist": "pipe"}
_WITH_VECTORS = {"flags2": "+export_mvs"}
_DEFAULT_RATE = 25.0


class ContainerSource:
    """The best video stream of a container as a source of pictures."""

    def __init__(self, file: BinaryIO, head: bytes, limits: MediaLimits, *, motion: bool = False) -> None:
        """Open the container and check what its headers declare; read its motion if that is asked for.

        Raises:
            NotAVideoError: Nothing that PyAV knows.
            TruncatedError: A known container whose index or end is missing.
            NoVideoStreamError: Only sound, subtitles or cover art.
            FrameTooLargeError, TooLongError: The headers declare more than the limits allow.
        """
        self._file = file
        self._limits = limits
        self._container = _open_container(file, head)
        self._stream = _video_stream(self._container)
        context = self._stream.codec_context
        limit_pixels(self._stream, limits)
        limits.check_length(num_frames=self._stream.frames, duration_s=self.declared_duration_s or 0.0)
        motion = motion and context.name in TELLING_CODECS
        if motion:
            context.options = context.options | _WITH_VECTORS
        self._vectors = VectorReader() if motion else None
        self._stream.thread_type = "AUTO"
        self._num_damaged = 0
        self._num_packets = self._num_pictures = 0
        self._turns: dict[int, Turn] = {}
        self._end_s = 0.0

    @property
    def frame_rate(self) -> float:
        """Average frames a second as declared, or a usual rate where nothing is."""
        rate = self._stream.average_rate or self._stream.guessed_rate
        return float(rate) if rate else _DEFAULT_RATE

    @property
    def declared_duration_s(self) -> float | None:
        """Duration of the video stream, or of the container."""
        own = self._own_duration_s()
        if own is not None:
            return own
        return self._container.duration / av.time_base if self._container.duration else None

    @property
    def num_damaged(self) -> int:
        """Frames lost, concealed or missing at the end."""
        return self._num_damaged

    def pictures(self) -> Iterator[Picture]:
        """Pictures in presentation order."""
        for frame in self._frames():
            self._num_pictures += 1
            self._num_damaged += frame.is_corrupt
            self._limits.check_size(frame.width, frame.height)
            tick_s = frame.time_base or 0
            time_s = None if frame.pts is None else float(frame.pts * tick_s)
            duration_s = float((frame.duration or 0) * tick_s)
            self._end_s = max(self._end_s, (time_s or 0.0) + duration_s)
            if frame.rotation not in self._turns:
                self._turns[frame.rotation] = turn_of(frame)
            turn = self._turns[frame.rotation]
            yield Picture(time_s, duration_s, partial(upright_rgb, frame, turn), self._motion(frame, turn))
        self._num_damaged = max(self._num_damaged, self._num_missing())

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
            try:
                yield from packet.decode()
            except av.error.FFmpegError:
                self._num_damaged += 1

    def _own_duration_s(self) -> float | None:
        """Duration of the video stream alone, where the container tells it."""
        stream = self._stream
        if stream.duration and stream.time_base:
            return float(stream.duration * stream.time_base)
        if tag := stream.metadata.get("DURATION"):
            return _seconds(tag)
        alone = len(self._container.streams) == 1 and self._container.duration
        return self._container.duration / av.time_base if alone and self._container.duration else None

    def _num_missing(self) -> int:
        """Frames that were declared and never came."""
        if self._stream.frames:
            cut_short = self._num_packets < self._stream.frames
            return self._stream.frames - self._num_pictures if cut_short else 0
        start = float((self._stream.start_time or 0) * (self._stream.time_base or 0))
        declared = self._own_duration_s()
        missing_s = 0.0 if declared is None else start + declared - self._end_s
        return round(missing_s * self.frame_rate) if missing_s * self.frame_rate > 1.5 else 0

    def close(self) -> None:
        """Release the file."""
        self._container.close()
        self._file.close()


def limit_pixels(stream: VideoStream, limits: MediaLimits) -> None:
    """Let the decoder refuse larger pictures before it allocates them.

    The decoder counts pixels of whole blocks, so its limit is twice that of the pictures.

    Raises:
        FrameTooLargeError: The headers declare more than the limits allow.
    """
    context = stream.codec_context
    limits.check_size(context.width, context.height)
    context.options = {**context.options, "max_pixels": str(2 * limits.max_pixels)}


def _open_container(file: BinaryIO, head: bytes) -> InputContainer:
    try:
        container = av.open(file, "r", metadata_errors="replace", container_options=dict(_ONLY_THIS_FILE))
    except (av.error.FFmpegError, OSError, ValueError) as error:
        if _known_container(head):
            raise TruncatedError("the file starts as a video, but its index is missing or damaged") from error
        raise NotAVideoError("the file is not a video or image that can be opened") from error
    if container.format.name in _TEXT_FORMATS:
        container.close()
        raise NotAVideoError(f"the file is text ({container.format.name}), not a video")
    return container


def _known_container(head: bytes) -> bool:
    return head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide") or head.startswith(
        (b"\x1aE\xdf\xa3", b"RIFF", b"FLV", b"OggS", b"GIF8", b"0&\xb2u", b"\x00\x00\x01\xba")
    )


def _video_stream(container: InputContainer) -> VideoStream:
    """The stream to parse; cover art does not count."""
    streams = [
        stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic
    ]
    if streams:
        best = container.streams.best("video")
        return best if best in streams else streams[0]
    if not container.streams:
        container.close()
        raise TruncatedError("the file starts as a video, but holds no stream")
    kinds = sorted({stream.type for stream in container.streams})
    container.close()
    raise NoVideoStreamError(f"the file holds no video stream, only {', '.join(kinds)}")


def _seconds(clock: str) -> float | None:
    """Seconds of HH:MM:SS.fraction, as Matroska's tags spell durations."""
    try:
        hours, minutes, seconds = clock.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Turn:
    """How a picture is brought upright: its axes exchanged, then mirrored."""

    exchange: bool
    mirror_columns: bool
    mirror_rows: bool

    def apply(self, image: Image) -> Image:
        """The picture upright."""
        turned: cv2.typing.MatLike = cv2.transpose(image) if self.exchange else image
        if self.mirror_columns:
            turned = cv2.flip(turned, 1)
        if self.mirror_rows:
            turned = cv2.flip(turned, 0)
        return np.asarray(turned, np.uint8)

    def apply_to_motion(self, motion: BlockMotion) -> BlockMotion:
        """The motion of the upright picture."""
        return motion.turned(
            exchange=self.exchange, mirror_columns=self.mirror_columns, mirror_rows=self.mirror_rows
        )


def turn_of(frame: VideoFrame) -> Turn:
    """The turn that a frame's display matrix asks for, to the nearest quarter.

    The matrix is looked at only where there is a rotation: PyAV's side data and its frame refer to each
    other, and frames that wait for the garbage collector would fill the memory. A mirror without a turn that
    only exchanges top and bottom is missed so.
    """
    side_data = frame.side_data.get("DISPLAYMATRIX") if frame.rotation else None
    if side_data is None:
        return Turn(exchange=False, mirror_columns=False, mirror_rows=False)
    a, b, _, c, d = struct.unpack("5i", bytes(cast(Buffer, side_data))[:20])
    exchange = abs(b) > abs(a)
    return Turn(exchange, mirror_columns=(c if exchange else a) < 0, mirror_rows=(b if exchange else d) < 0)


def upright_rgb(frame: VideoFrame, turn: Turn) -> Image:
    """Pixels of a frame, turned."""
    return turn.apply(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
