"""Media with one fault each, made on the spot."""

import base64
import io
import struct
import zlib
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import av
from av.packet import Packet
from PIL import Image as PillowImage

from tests.server.media_fixtures import clip, image, picture


def turned_jpeg(*, orientation: int = 6, width: int = 64, height: int = 48, shade: int = 0) -> bytes:
    """A JPEG whose EXIF block says how it is turned."""
    exif = PillowImage.Exif()
    exif[0x0112] = orientation
    return saved("JPEG", width=width, height=height, shade=shade, exif=exif, quality=95)


def saved(form: str, *, width: int = 64, height: int = 48, shade: int = 0, **options: Any) -> bytes:
    """A picture as Pillow writes it."""
    file = io.BytesIO()
    PillowImage.fromarray(picture(width=width, height=height, shade=shade)).save(file, form, **options)
    return file.getvalue()


def cut(data: bytes, share: float) -> bytes:
    """The beginning of a file."""
    return data[: int(len(data) * share)]


def motion_jpeg(pictures: Sequence[bytes], *, rate: int = 25, form: str = "avi") -> bytes:
    """A container that holds JPEGs as they are."""
    file = io.BytesIO()
    with av.open(file, "w", format=form) as container:
        stream = container.add_stream("mjpeg", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        container.start_encoding()
        for number, data in enumerate(pictures):
            packet = Packet(data)
            packet.stream, packet.pts, packet.dts = stream, number, number
            packet.time_base, packet.is_keyframe = Fraction(1, rate), True
            container.mux(packet)
    return file.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_with(extra: bytes, *, before: bytes = b"IDAT") -> bytes:
    """A whole PNG with a further chunk before another one."""
    data = image()
    at = data.index(before) - 4
    return data[:at] + extra + data[at:]


def text_bomb(*, before: bytes) -> bytes:
    """A PNG with 40 MB of text in 40 kB."""
    return png_with(chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(40_000_000))), before=before)


def without_decoder() -> bytes:
    """A Matroska file in a codec that nobody knows."""
    return clip(codec="mpeg4", form="matroska").replace(b"V_MPEG4/ISO/ASP", b"V_MPEG9/ISO/ASP")


def encrypted() -> bytes:
    """An MP4 whose sample description says that it is encrypted."""
    return clip().replace(b"avc1\0\0\0\0", b"encv\0\0\0\0")


def data_url() -> bytes:
    """A PNG as pages embed it."""
    return b"data:image/png;base64," + base64.b64encode(image())


def with_edit_list(*, skipped: int, shown: int) -> bytes:
    """An MP4 of 24 frames at 25 a second whose edit list shows only some from the middle."""
    data = bytearray(clip(num_frames=24))
    at = data.index(b"elst") + 4 + 4 + 4
    _, media_time = struct.unpack(">Ii", data[at : at + 8])
    mdhd = data.index(b"mdhd") + 4
    (timescale,) = struct.unpack(">I", data[mdhd + 12 : mdhd + 16])
    data[at : at + 8] = struct.pack(">Ii", 1000 * shown // 25, media_time + timescale * skipped // 25)
    return bytes(data)
