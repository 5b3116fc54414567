"""Still and animated images read by Pillow, and folders of them.

Pillow reads the size before the pixels, turns pictures by their EXIF orientation and composes the frames of
animated PNG and WebP. libheif reads HEIC. GIF is left to PyAV.
"""

from __future__ import annotations

import os
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

import av
import av.error
import numpy as np
import pi_heif
from PIL import Image as PillowImage
from PIL import ImageOps, UnidentifiedImageError

from partstream_core.errors import FrameTooLargeError, NoFramesError, NotAVideoError
from partstream_server.media.frame import Image, MediaLimits, Picture
from partstream_server.media.rotation import RgbConverter, TurnReader

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "AVIF", "JPEG2000", "HEIF")
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".jp2", ".heic", ".heif"}
)
_ANIMATED = ("PNG", "WEBP", "AVIF")
FOLDER_FRAME_RATE = 25.0
"""Frames a second of a folder of images, which has no clock of its own."""

UNREADABLE = (
    *(OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, AttributeError, RuntimeError),
    *(ArithmeticError, struct.error, zlib.error),
)
"""What Pillow's decoders raise on a broken file (SyntaxError: a broken PNG)."""
_TEXT_BOMB = ("MAX_TEXT_CHUNK", "MAX_TEXT_MEMORY", "Too much memory used in text chunks")
_HEIF = (b"ftypheic", b"ftypheix", b"ftypheim", b"ftypheis", b"ftypmif1")
"""HEIC as phones write it, in tiles, which libheif puts together; image sequences are left to PyAV."""
_MOST_HEIF_BYTES = 64 * 1024**2
"""Of a file: libheif holds all of it in memory."""
_LEAST_BOX = 8
"""Bytes of the head of an ISO box."""
_ONLY_THIS_FILE = {"protocol_whitelist": "pipe"}


def looks_like_still(head: bytes) -> bool:
    """Whether a file that starts so is an image that Pillow reads."""
    if head.startswith(
        (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\x00", b"MM\x00*", b"\x00\x00\x00\x0cjP  ")
    ):
        return True
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return True
    return head[4:12] in (b"ftypavif", b"ftypavis", *_HEIF)


class StillSource:
    """An image, or an animation that Pillow composes, as a source of pictures."""

    def __init__(self, file: BinaryIO, limits: MediaLimits) -> None:
        """Read the header.

        Raises:
            FrameTooLargeError: The header tells a size over the limits.
            UnidentifiedImageError: The file is not an image of these formats.
            NotAVideoError: Its header is damaged, or holds more text than is read.
        """
        self._file, self._limits = file, limits
        self._image = open_within_limits(file, limits)
        try:
            self._num_pictures = _num_pictures(self._image)
        except UNREADABLE as error:
            raise NotAVideoError(f"the image is damaged: {error}") from None
        # an animated PNG may begin with a picture for those who show no animations
        self._first = 1 if self._num_pictures > 1 and self._image.info.get("default_image") else 0
        self._animated = self._num_pictures - self._first > 1
        self._is_heif = self._image.format == "HEIF"
        # libheif leaves out what is missing, without a word
        self._num_damaged = int(self._is_heif and _is_cut(file))

    @property
    def frame_rate(self) -> float:
        """Frames a second; 0 for a still image."""
        if not self._animated:
            return 0.0
        return 1000.0 / max(1.0, float(self._image.info.get("duration") or 100.0))

    @property
    def pixel_aspect(self) -> float:
        """Pixels of pictures are square."""
        return 1.0

    @property
    def declared_duration_s(self) -> float | None:
        """None of an animation (each frame tells its own), 0 of a still image."""
        return None if self._animated else 0.0

    @property
    def num_damaged(self) -> int:
        """1 where the end of the image is missing."""
        return self._num_damaged

    def pictures(self) -> Iterator[Picture]:
        """The image, or each frame of the animation."""
        time_ms = 0.0
        for number in range(self._first, self._num_pictures):
            try:
                if self._animated:  # the picture meant by a HEIC need not be its first
                    self._image.seek(number)
                pixels = to_rgb(self._image)
            except UNREADABLE as error:
                _refuse_bomb(error)
                self._num_damaged += 1
                if number == self._first and (salvaged := self._salvage()) is not None:
                    yield Picture(0.0, 0.0, partial(_same, salvaged))
                return
            duration_ms = float(self._image.info.get("duration") or 100.0) if self._animated else 0.0
            yield Picture(time_ms / 1000, duration_ms / 1000, partial(_same, pixels))
            time_ms += duration_ms

    def _salvage(self) -> Image | None:
        """What FFmpeg, which keeps the rows before the damage, makes of a broken image.

        Of a HEIC nothing: FFmpeg would give one of its tiles.
        """
        if self._is_heif:
            return None
        self._file.seek(0)
        try:
            with av.open(self._file, "r", container_options=dict(_ONLY_THIS_FILE)) as container:
                frame = next(container.decode(video=0))
                self._limits.check_size(frame.width, frame.height)
                return RgbConverter().upright(frame, TurnReader().turn(frame))
        except (av.error.FFmpegError, StopIteration, *UNREADABLE):
            return None

    def close(self) -> None:
        """Release the file."""
        self._image.close()
        self._file.close()


def _is_cut(file: BinaryIO) -> bool:
    """Whether a file of ISO boxes ends before the last of them does."""
    end, at = file.seek(0, os.SEEK_END), 0
    while at < end:
        file.seek(at)
        head = file.read(16)
        length = int.from_bytes(head[:4])
        if length == 0:  # up to the end
            return False
        length = int.from_bytes(head[8:]) if length == 1 else length
        if length < _LEAST_BOX:
            return True
        at += length
    return at > end


def _num_pictures(image: PillowImage.Image) -> int:
    """Frames of an animation; 1 of a still image, and of pages or thumbnails beside one."""
    return int(getattr(image, "n_frames", 1)) if image.format in _ANIMATED else 1


def _same(image: Image) -> Image:
    return image


class FolderSource:
    """A folder of images, in the natural order of their names, as one clip."""

    def __init__(self, folder: Path, limits: MediaLimits) -> None:
        """List the images.

        Raises:
            NoFramesError: The folder holds no image.
        """
        self._paths = images_in(folder)
        self._limits = limits
        self._num_damaged = 0
        if not self._paths:
            raise NoFramesError(f"the folder {folder.name} holds no image")
        limits.check_length(num_frames=len(self._paths), duration_s=len(self._paths) / FOLDER_FRAME_RATE)

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return FOLDER_FRAME_RATE

    @property
    def pixel_aspect(self) -> float:
        """Pixels of pictures are square."""
        return 1.0

    @property
    def declared_duration_s(self) -> float | None:
        """Duration of all images at the folder's rate."""
        return len(self._paths) / FOLDER_FRAME_RATE

    @property
    def num_damaged(self) -> int:
        """Images that could not be read, and images cut short."""
        return self._num_damaged

    def pictures(self) -> Iterator[Picture]:
        """Each image at its place in time; one that cannot be read leaves a gap."""
        for number, path in enumerate(self._paths):
            with path.open("rb") as file:
                try:
                    source = StillSource(file, self._limits)
                except (UnidentifiedImageError, NotAVideoError):
                    self._num_damaged += 1
                    continue
                first = next(source.pictures(), None)
                self._num_damaged += source.num_damaged
                source.close()
            if first is not None:
                yield Picture(number / FOLDER_FRAME_RATE, 1 / FOLDER_FRAME_RATE, first.read)

    def close(self) -> None:
        """Nothing is held open between images."""


def images_in(folder: Path) -> list[Path]:
    """Images of a folder in the natural order of their names: frame2 before frame10."""
    paths = (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    return sorted(paths, key=lambda path: _natural(path.name))


def _natural(name: str) -> list[tuple[int, str]]:
    return [
        (int(piece), "") if piece.isdigit() else (-1, piece.lower()) for piece in re.split(r"(\d+)", name)
    ]


def open_within_limits(file: BinaryIO, limits: MediaLimits) -> PillowImage.Image:
    """Read an image's header and check its size before any pixel is decoded."""
    _refuse_large_heif(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PillowImage.DecompressionBombWarning)
            PillowImage.init()
            pi_heif.register_heif_opener(thumbnails=False)
            known = [form for form in FORMATS if form in PillowImage.OPEN]
            image = PillowImage.open(file, formats=known)
    except PillowImage.DecompressionBombError as error:
        raise FrameTooLargeError(f"the image is too large: {error}") from None
    except UnidentifiedImageError:
        raise
    except UNREADABLE as error:
        _refuse_bomb(error)
        raise NotAVideoError(f"the image is damaged: {error}") from None
    limits.check_size(*image.size)
    return image


def _refuse_large_heif(file: BinaryIO) -> None:
    """Refuse a HEIC whose file is larger than a picture's.

    Raises:
        NotAVideoError: It is.
    """
    head = file.read(12)
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if head[4:12] in _HEIF and size > _MOST_HEIF_BYTES:
        raise NotAVideoError(f"the HEIC picture has {size} bytes; at most {_MOST_HEIF_BYTES} are read")


def _refuse_bomb(error: Exception) -> None:
    """Refuse an image whose compressed text is far larger than its file; FFmpeg would unpack it.

    Raises:
        NotAVideoError: That is what an error of Pillow says.
    """
    if any(word in str(error) for word in _TEXT_BOMB):
        raise NotAVideoError("the image holds more text than is read") from None


def _upright(image: PillowImage.Image) -> PillowImage.Image:
    """An image turned by its EXIF orientation, or as it is stored where that is damaged."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of damaged EXIF blocks
        try:
            return ImageOps.exif_transpose(image)
        except UNREADABLE:
            return image


def to_rgb(image: PillowImage.Image) -> Image:
    """Decode to upright 8-bit RGB: 16-bit samples lose their low byte, transparency shows white."""
    image.load()
    upright = _upright(image)
    if upright.mode.startswith("I;16"):
        grey = (np.asarray(upright) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if upright.mode in ("I", "F"):
        return _stretch(np.asarray(upright, np.float64))
    if upright.has_transparency_data:
        layered = upright.convert("RGBA")
        canvas = PillowImage.new("RGBA", layered.size, (255, 255, 255, 255))
        canvas.alpha_composite(layered)
        upright = canvas
    return np.array(upright.convert("RGB"))


def _stretch(samples_HW: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Image:
    """8-bit RGB of samples of unknown range: up to 1, up to 255 or up to 65535."""
    top = float(samples_HW.max(initial=0.0))
    scale = 255.0 if top <= 1 else 1.0 if top <= 255 else 255.0 / 65535.0
    grey = np.clip(samples_HW * scale, 0, 255).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)
