"""The reader of one source: numbers its frames, keeps its clock and holds it to the limits."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from PIL import UnidentifiedImageError

from partstream_core.errors import EmptyUploadError, NoFramesError
from partstream_core.results import VideoInfo
from partstream_server.media import jpeg
from partstream_server.media.container import ContainerSource
from partstream_server.media.frame import Frame, MediaLimits, Picture, PictureSource, fit_within
from partstream_server.media.motion_vectors import BlockMotion
from partstream_server.media.still import FolderSource, StillSource, looks_like_still

_USUAL_RATE = 25.0
_MOST_JPEG_BYTES = 32 * 1024**2
"""Of a file, looked through for a second JPEG."""


class VideoReader:
    """Frames of one source, once, in order.

    The first frame is decoded on construction, so that whatever cannot be read fails before any work starts.
    Use as a context manager, or call `close`.
    """

    def __init__(self, source: PictureSource, limits: MediaLimits, *, every: int = 1, first: int = 0) -> None:
        """Decode the first frame.

        Args:
            source: Closed by this reader.
            limits: Checked again at each frame, as headers may lie.
            every: Only frames whose index is a multiple of this are converted and yielded.
            first: And only frames from this index on.

        Raises:
            NoFramesError: Nothing in the source can be decoded.
        """
        self._source, self._limits = source, limits
        self.read_only(every=every, first=first)
        self._pictures = source.pictures()
        self._num_frames = 0
        self._start_s = self._time_s = self._end_s = 0.0
        picture = next(self._pictures, None)
        if picture is None:
            raise NoFramesError("the file holds no frame that can be decoded")
        image = picture.read()
        self._height, self._width = image.shape[:2]
        limits.check_size(self._width, self._height)
        self._first: Picture | None = Picture(picture.time_s, picture.duration_s, lambda: image)
        self._motion: BlockMotion | None = None
        self._num_unread = 0

    @property
    def info(self) -> VideoInfo:
        """Size, clock and counts; the number of frames is what was read so far."""
        seen_s = self._end_s - self._start_s
        return VideoInfo(
            width=self._width,
            height=self._height,
            num_frames=self._num_frames,
            frame_rate=self._source.frame_rate,
            duration_s=max(seen_s, self._source.declared_duration_s or 0.0),
            num_damaged=self._source.num_damaged,
        )

    @property
    def pixel_aspect(self) -> float:
        """Width of a pixel against its height, as the video is shown."""
        return self._source.pixel_aspect

    def read_only(
        self, *, every: int = 1, first: int = 0, start_s: float = 0.0, end_s: float | None = None
    ) -> None:
        """Yield fewer frames from now on.

        Args:
            every: Only frames whose index is a multiple of this.
            first: Only frames from this index on.
            start_s: Only frames from this time on, after the first one of the source.
            end_s: Only frames before this time.
        """
        if every < 1:
            raise ValueError(f"every must be at least 1, got {every}")
        self._every, self._from = every, first
        self._from_s, self._until_s = start_s, end_s

    def __iter__(self) -> Iterator[Frame]:
        waiting = () if self._first is None else (self._first,)
        self._first = None
        for picture in chain(waiting, self._pictures):
            if self._is_beyond(picture):
                return
            index, time_s = self._num_frames, self._tick(picture)
            if index % self._every or index < self._from or time_s - self._start_s < self._from_s:
                self._moved(picture)
            else:
                yield self._frame(picture, index, time_s)

    def _frame(self, picture: Picture, index: int, time_s: float) -> Frame:
        image = fit_within(picture.read(), width=self._width, height=self._height)
        self._moved(picture)
        motion, self._motion, self._num_unread = self._motion, None, 0
        return Frame(index, time_s, image, picture.duration_s, motion, self._source.pixel_aspect)

    def _moved(self, picture: Picture) -> None:
        """Lead motion on to a picture since the last one that was read, as long as each one tells its own."""
        motion, self._num_unread = picture.motion, self._num_unread + 1
        if motion is None or (motion.height, motion.width) != (self._height, self._width):
            self._motion = None
        elif self._num_unread == 1:
            self._motion = motion
        elif self._motion is not None:
            self._motion = motion.after(self._motion)

    def _is_beyond(self, picture: Picture) -> bool:
        """Whether the next picture is after all that are asked for."""
        if self._until_s is None:
            return False
        return self._time_of(picture) - self._start_of(picture) >= self._until_s

    def _start_of(self, picture: Picture) -> float:
        """The time of the source's first frame."""
        return self._start_s if self._num_frames else picture.time_s or 0.0

    def _time_of(self, picture: Picture) -> float:
        """The time of the next picture, on a clock that never stands still or runs backwards."""
        time_s = picture.time_s
        if self._num_frames == 0:
            return time_s or 0.0
        if time_s is None or time_s <= self._time_s:
            return self._time_s + 1 / (self._source.frame_rate or _USUAL_RATE)
        return time_s

    def _tick(self, picture: Picture) -> float:
        """Advance the clock to a picture, and return its time."""
        time_s = self._time_of(picture)
        self._start_s = self._start_of(picture)
        self._time_s = time_s
        self._end_s = time_s + picture.duration_s
        self._num_frames += 1
        self._limits.check_length(num_frames=self._num_frames, duration_s=time_s - self._start_s)
        return time_s

    def close(self) -> None:
        """Release the source."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_video(
    source: Path | str | BinaryIO,
    limits: MediaLimits | None = None,
    *,
    every: int = 1,
    first: int = 0,
    motion: bool = False,
    stream: int | None = None,
    deinterlace: bool = True,
) -> VideoReader:
    """A reader of a video, an image, or a folder of images.

    Args:
        source: A path, or a seekable binary file, which the reader closes.
        limits: What is accepted; the defaults bound only the size of a frame.
        every: Read only every so many frames.
        first: Read only frames from this index on.
        motion: Read the motion of blocks, too, where the codec tells it.
        stream: Number of the video stream, from 0; None takes the largest.
        deinterlace: Whether interlaced frames are made progressive.

    Raises:
        MediaError: One of its subclasses names what is wrong with the source.
        OSError: The path cannot be opened.
    """
    limits = limits or MediaLimits()
    if isinstance(source, str | Path):
        path = Path(source)
        opened: PictureSource = (
            FolderSource(path, limits)
            if path.is_dir()
            else _open_file(path.open("rb"), limits, motion, stream, deinterlace)
        )
    else:
        opened = _open_file(source, limits, motion, stream, deinterlace)
    try:
        return VideoReader(opened, limits, every=every, first=first)
    except BaseException:
        opened.close()
        raise


def _is_motion_jpeg(file: BinaryIO, head: bytes) -> bool:
    """Whether a file is a raw stream of JPEGs, by its name or by its first two pictures."""
    if not head.startswith(jpeg.START):
        return False
    if str(getattr(file, "name", "")).lower().endswith((".mjpg", ".mjpeg")):
        return True
    data = file.read(_MOST_JPEG_BYTES)
    file.seek(0)
    return jpeg.is_motion(data)


def _open_file(
    file: BinaryIO, limits: MediaLimits, motion: bool, stream: int | None, deinterlace: bool
) -> PictureSource:
    try:
        file.seek(0)
        head = file.read(32)
        file.seek(0)
        if not head:
            raise EmptyUploadError("the file is empty")
        if looks_like_still(head) and not _is_motion_jpeg(file, head):
            try:
                return StillSource(file, limits)
            except UnidentifiedImageError:
                file.seek(0)
        return ContainerSource(file, head, limits, motion=motion, stream=stream, deinterlace=deinterlace)
    except BaseException:
        file.close()
        raise
