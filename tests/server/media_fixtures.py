"""Small media of every kind, made on the spot."""

import io
import struct
import zlib
from collections.abc import Sequence
from fractions import Fraction
from typing import cast

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.packet import Packet
from av.video.stream import VideoStream

Image = npt.NDArray[np.uint8]


def picture(*, width: int = 64, height: int = 48, shade: int = 0) -> Image:
    """An RGB picture of a figure before a gradient; `shade` moves the figure."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.linspace(0, 255, width, dtype=np.uint8)
    image[..., 1] = np.linspace(255, 0, height, dtype=np.uint8)[:, None]
    centre = (width // 2 + shade % max(1, width // 4), height // 2)
    cv2.ellipse(
        image, centre, (max(1, width // 8), max(1, height // 3)), 0, 0, 360, (200, 150, 120), cv2.FILLED
    )
    return image


def clip(
    *,
    width: int = 64,
    height: int = 48,
    num_frames: int = 6,
    rate: int = 25,
    times: Sequence[float] | None = None,
    codec: str = "libx264",
    form: str = "mp4",
    pix_fmt: str = "yuv420p",
) -> bytes:
    """A video; `times` gives each frame's presentation time, in seconds, in place of the rate."""
    file = io.BytesIO()
    with av.open(file, "w", format=form) as container:
        stream = cast(VideoStream, container.add_stream(codec, rate=rate))
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        clock = Fraction(1, 1000) if times else Fraction(1, rate)
        stream.codec_context.time_base = clock
        for index in range(num_frames):
            frame = av.VideoFrame.from_ndarray(picture(width=width, height=height, shade=3 * index), "rgb24")
            frame.pts = round(times[index] * 1000) if times else index
            frame.time_base = clock
            container.mux(stream.encode(frame.reformat(format=pix_fmt)))
        container.mux(stream.encode(None))
    return file.getvalue()


def rotated(video: bytes) -> bytes:
    """An MP4 whose header asks players for a quarter turn clockwise, as phones write it."""
    matrix = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    at = video.index(b"tkhd") + 4 + 40
    return video[:at] + matrix + video[at + len(matrix) :]


def song(*, seconds: float = 0.2) -> bytes:
    """A file of sound alone."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=44_100, layout="mono")
        wave = np.sin(np.arange(int(44_100 * seconds)) / 20).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(wave, "fltp", "mono")
        frame.sample_rate, frame.pts = 44_100, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def without_frames() -> bytes:
    """A Matroska file that announces a video stream, of which only the sound follows."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        frame.sample_rate, frame.pts = 8000, 0
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return file.getvalue()


def image(pixels: Image | None = None, *, suffix: str = ".png") -> bytes:
    """An image file; the pixels are RGB, RGBA or grey."""
    chosen = picture() if pixels is None else pixels
    if chosen.ndim == 3:
        chosen = np.asarray(
            cv2.cvtColor(chosen, cv2.COLOR_RGBA2BGRA if chosen.shape[2] == 4 else cv2.COLOR_RGB2BGR), np.uint8
        )
    return cv2.imencode(suffix, chosen)[1].tobytes()


def vast_png(side: int = 20_000) -> bytes:
    """A valid black-and-white PNG of enormous sides and few bytes."""
    rows = zlib.compressobj(1)
    row = bytes(1 + (side + 7) // 8)
    data = b"".join(rows.compress(row * 100) for _ in range(side // 100)) + rows.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def vast_video(side: int = 20_000) -> bytes:
    """A QuickTime video whose only frame is such a picture."""
    file = io.BytesIO()
    with av.open(file, "w", format="mov") as container:
        stream = container.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 258, 259, "rgb24"
        container.start_encoding()
        packet = Packet(vast_png(side))
        packet.stream, packet.pts, packet.dts, packet.time_base = stream, 0, 0, Fraction(1, 25)
        packet.is_keyframe = True
        container.mux(packet)
    # No encoder takes such sides, so they are written into the sample description and the track header.
    return (
        file.getvalue()
        .replace(struct.pack(">HH", 258, 259), struct.pack(">HH", side, side))
        .replace(struct.pack(">HHHH", 258, 0, 259, 0), struct.pack(">HHHH", side, 0, side, 0))
    )


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def playlist(target: str) -> bytes:
    """A text that makes careless players open another file."""
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n".encode()
