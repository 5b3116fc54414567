"""Files with one fault each: a result or a clear refusal, and the times and counts of their frames."""

import io
import itertools
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image as PillowImage

from partstream_core.errors import (
    FrameTooLargeError,
    MediaError,
    NoFramesError,
    NotAVideoError,
    TruncatedError,
)
from partstream_core.results import VideoInfo
from partstream_server.media import Frame, MediaLimits, jpeg, open_video
from partstream_server.media.frame import Image
from partstream_server.media.video_spec import VideoSpec
from partstream_server.media.video_writer import VideoWriter
from partstream_server.streams.pixels import to_pixels
from tests.server import faulty_media as faulty
from tests.server.media_fixtures import clip, image, picture

LIMITS = MediaLimits(max_duration_s=3600)


def read(source: bytes | Path) -> tuple[list[Frame], VideoInfo]:
    with open_video(io.BytesIO(source) if isinstance(source, bytes) else source, LIMITS) as reader:
        frames = list(reader)
        return frames, reader.info


def difference(a: Image, b: Image) -> float:
    return float(np.abs(a.astype(np.int16) - b).mean())


def steps(frames: list[Frame]) -> list[float]:
    return [after.time_s - before.time_s for before, after in itertools.pairwise(frames)]


@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
def test_a_turned_photo_that_was_cut_short_is_upright_and_damaged(orientation: int) -> None:
    whole = faulty.turned_jpeg(orientation=orientation, width=640, height=480)
    frames, info = read(faulty.cut(whole, 0.9))
    assert info.num_damaged == 1
    assert frames[0].image.shape == read(whole)[0][0].image.shape
    assert difference(frames[0].image, read(whole)[0][0].image) < 25


def test_motion_jpeg_with_exif_blocks_is_upright() -> None:
    pictures = [faulty.turned_jpeg(shade=3 * number) for number in range(5)]
    frames, info = read(faulty.motion_jpeg(pictures))
    assert (info.width, info.height, info.num_frames, info.num_damaged) == (48, 64, 5, 0)
    for frame, data in zip(frames, pictures, strict=True):
        assert difference(frame.image, to_pixels(data, LIMITS)) < 6


UNREADABLE: list[tuple[str, Callable[[], bytes], type[MediaError]]] = [
    ("half a WebP", lambda: faulty.cut(faulty.saved("WEBP", width=320, height=240), 0.5), NotAVideoError),
    ("half an AVIF", lambda: faulty.cut(faulty.saved("AVIF", width=320, height=240), 0.5), MediaError),
    ("text bomb before the pixels", lambda: faulty.text_bomb(before=b"IDAT"), NotAVideoError),
    ("text bomb behind the pixels", lambda: faulty.text_bomb(before=b"IEND"), NotAVideoError),
    ("no decoder", faulty.without_decoder, NoFramesError),
    ("encrypted", faulty.encrypted, NoFramesError),
    ("data URL", faulty.data_url, NotAVideoError),
]


@pytest.mark.parametrize(
    ("make", "error"), [row[1:] for row in UNREADABLE], ids=[row[0] for row in UNREADABLE]
)
def test_what_cannot_be_decoded_is_refused(make: Callable[[], bytes], error: type[MediaError]) -> None:
    with pytest.raises(error):
        read(make())


def test_base64_is_named_as_such() -> None:
    with pytest.raises(NotAVideoError, match="data URL"):
        read(faulty.data_url())
    with pytest.raises(NotAVideoError, match="base64"):
        read(faulty.data_url().partition(b",")[2])


@pytest.mark.parametrize("exif", [b"", b"II*\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"\xff" * 40])
def test_a_png_with_a_bad_exif_block_is_whole(exif: bytes) -> None:
    data = faulty.png_with(faulty.chunk(b"eXIf", exif))
    frames, info = read(data)
    assert info.num_damaged == 0
    assert np.array_equal(frames[0].image, picture())
    assert np.array_equal(to_pixels(data, LIMITS), picture())


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "JPEG2000"])
def test_no_damage_of_a_picture_gets_past_the_errors_of_media(form: str) -> None:
    noise = np.random.default_rng(5)
    whole = faulty.saved(form)
    for _ in range(25):
        data = bytearray(whole[: int(noise.integers(1, len(whole) + 1))])
        for at in noise.integers(0, len(data), 4):
            data[at] = noise.integers(0, 256)
        try:
            read(bytes(data))
        except MediaError:
            continue


@pytest.mark.parametrize("offset_s", [100.0, 7200.0])
@pytest.mark.parametrize("form", ["matroska", "mpegts", "mp4"])
def test_a_recording_that_begins_late_is_as_long_as_its_frames(form: str, offset_s: float) -> None:
    times = [offset_s + number / 25 for number in range(25)]
    frames, info = read(clip(num_frames=25, times=times, form=form))
    assert (info.num_frames, info.num_damaged) == (25, 0)
    assert info.duration_s == pytest.approx(1.0, abs=0.05)
    assert steps(frames) == pytest.approx([0.04] * 24, abs=2e-3)


@pytest.mark.parametrize(("first_s", "second_s"), [(500.0, 20.0), (20.0, 5000.0)])
def test_a_clock_that_jumps_inside_a_broadcast_goes_on(first_s: float, second_s: float) -> None:
    halves = [
        clip(num_frames=12, times=[begin + number / 25 for number in range(12)], form="mpegts")
        for begin in (first_s, second_s)
    ]
    frames, info = read(b"".join(halves))
    assert len(frames) == 24
    assert info.num_damaged == 0
    assert info.duration_s == pytest.approx(24 / 25, abs=0.1)
    assert max(steps(frames)) < 0.1


def test_avi_has_the_times_of_its_frames_also_with_b_frames() -> None:
    frames, info = read(clip(num_frames=24, form="avi"))
    assert [frame.time_s for frame in frames] == pytest.approx([number / 25 for number in range(24)])
    assert (info.num_frames, info.num_damaged) == (24, 0)
    assert info.duration_s == pytest.approx(24 / 25)


def test_frames_outside_of_an_edit_list_are_not_missing() -> None:
    frames, info = read(faulty.with_edit_list(skipped=6, shown=12))
    assert (len(frames), info.num_damaged) == (12, 0)
    assert info.duration_s == pytest.approx(12 / 25, abs=0.05)


def test_a_raw_stream_of_jpegs_is_a_video_whatever_its_name() -> None:
    pictures = [faulty.saved("JPEG", shade=5 * number, quality=95) for number in range(6)]
    frames, _ = read(b"".join(pictures))
    assert len(frames) == 6
    for frame, data in zip(frames, pictures, strict=True):
        assert difference(frame.image, to_pixels(data, LIMITS)) < 6


def test_a_variable_rate_is_the_average_and_not_the_ticks_of_the_clock() -> None:
    times = [0.0, 0.04, 0.5, 0.501, 1.7]
    _, info = read(clip(num_frames=5, times=times, rate=1000, form="matroska"))
    assert 2 < info.frame_rate < 30


RIGHT = [
    ("trunc_o6.jpg", (640, 360), 1, 1),
    ("cam_o6.avi", (640, 360), 8, 0),
    ("off2h.mkv", (640, 360), 24, 0),
    ("off100.mkv", (1280, 720), 24, 0),
    ("bframes.avi", (1280, 720), 24, 0),
    ("raw.mjpeg", (640, 360), 24, 0),
    ("trail.jpg", (1280, 720), 1, 0),
    ("mpo.jpg", (1280, 720), 1, 0),
    ("badexif.png", (960, 540), 1, 0),
    ("back.ts", (640, 360), 24, 0),
    ("elst_mid.mp4", (640, 360), 12, 0),
]


@pytest.mark.parametrize(("name", "size", "num_frames", "num_damaged"), RIGHT, ids=[row[0] for row in RIGHT])
def test_real_files_have_their_frames_and_times(
    data_dir: Path, name: str, size: tuple[int, int], num_frames: int, num_damaged: int
) -> None:
    with open_video(io.BytesIO((data_dir / "faulty" / name).read_bytes()), LIMITS, every=6) as reader:
        frames, info = list(reader), reader.info
    assert (info.width, info.height) == size
    assert (info.num_frames, info.num_damaged) == (num_frames, num_damaged)
    assert info.duration_s < 1.1
    if num_frames > 12:
        assert steps(frames) == pytest.approx([6 / info.frame_rate] * 3, abs=5e-3)


@pytest.mark.parametrize("name", ["codecid.mkv", "cut90.webp"])
def test_real_files_that_cannot_be_read_are_refused(data_dir: Path, name: str) -> None:
    with pytest.raises(MediaError):
        read(data_dir / "faulty" / name)


def test_a_heic_of_tiles_is_read_whole(data_dir: Path, tmp_path: Path) -> None:
    source = data_dir / "faulty" / "grid.heic"
    (found,), info = read(source)
    (expected,), _ = read(data_dir / "faulty" / "ref.png")
    assert (info.width, info.height, info.num_damaged) == (1280, 720, 0)
    assert difference(found.image, expected.image) < 2
    with pytest.raises(FrameTooLargeError), open_video(source, MediaLimits(max_pixels=640 * 360)):
        pass
    whole = source.read_bytes()
    for share in (0.5, 0.99):
        (tmp_path / "cut.heic").write_bytes(whole[: round(len(whole) * share)])
        (found,), info = read(tmp_path / "cut.heic")
        assert (info.width, info.height, info.num_damaged) == (1280, 720, 1)
    (tmp_path / "cut.heic").write_bytes(whole + bytes(64 << 20))
    with pytest.raises(MediaError, match="at most 67108864"):
        read(tmp_path / "cut.heic")


def test_a_file_that_is_mirrored_top_to_bottom_is_upright(data_dir: Path) -> None:
    upright, _ = read(data_dir / "faulty" / "base.mp4")
    mirrored, _ = read(data_dir / "faulty" / "up_vflip.mp4")
    assert difference(mirrored[12].image, upright[12].image) < 5


def test_interlaced_frames_are_those_of_their_first_field(data_dir: Path) -> None:
    with open_video(data_dir / "faulty" / "interlaced_motion.mp4", every=6) as reader:
        mixed, info = list(reader), reader.info
    with open_video(data_dir / "faulty" / "interlaced_motion_prog.mp4", every=6) as reader:
        progressive = list(reader)
    assert (info.num_frames, info.num_damaged) == (24, 0)
    assert [one.time_s for one in mixed] == pytest.approx([one.time_s for one in progressive])
    for one, other in zip(mixed, progressive, strict=True):
        comb = np.abs(np.diff(one.image[::2].astype(np.int16), axis=0)).mean()
        across = np.abs(np.diff(one.image.astype(np.int16), axis=0)).mean()
        assert across < comb, "neighbouring rows differ less than rows of the same field"
        assert difference(one.image, other.image) < 6


def multi_picture() -> bytes:
    file = io.BytesIO()
    pictures = [PillowImage.fromarray(picture(shade=9 * number)) for number in range(2)]
    pictures[0].save(file, "MPO", save_all=True, append_images=pictures[1:])
    return file.getvalue()


def test_what_follows_a_jpeg_is_no_part_of_it() -> None:
    plain = faulty.saved("JPEG")
    for data in (
        plain,
        plain + b"trailer" * 100,
        plain + bytes(5000),
        plain + faulty.saved("JPEG", width=16),
    ):
        assert jpeg.end_of(data) == len(plain)
        assert difference(to_pixels(data, LIMITS), picture()) < 12
        assert len(read(data)[0]) == 1
    for parsed in (to_pixels(multi_picture(), LIMITS), read(multi_picture())[0][0].image):
        assert difference(parsed, picture()) < 12


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
def test_a_jpeg_that_was_cut_short_has_no_end_also_with_a_thumbnail(share: float) -> None:
    thumbnail = faulty.saved("JPEG", width=16, height=12)
    exif = PillowImage.Exif()
    exif[0x010E] = "thumbnail: " + thumbnail.decode("latin-1")
    data = faulty.cut(faulty.saved("JPEG", width=320, height=240, exif=exif), share)
    assert jpeg.end_of(data) is None
    with pytest.raises((TruncatedError, NotAVideoError)):
        to_pixels(data, LIMITS)


def test_an_animation_does_not_show_the_picture_for_those_without_animations(tmp_path: Path) -> None:
    pictures = [PillowImage.fromarray(picture(shade=5 * number)) for number in range(4)]
    path = tmp_path / "a.png"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=100, default_image=True)
    frames, _ = read(path.read_bytes())
    assert len(frames) == 3
    assert np.array_equal(frames[0].image, np.asarray(pictures[1]))


def test_one_frame_an_hour_is_written_with_its_times(tmp_path: Path) -> None:
    path = tmp_path / "slow.mp4"
    with VideoWriter(path, VideoSpec(width=64, height=48, frame_rate=1 / 3600)) as writer:
        for hour in range(3):
            writer.write(picture(), time_s=3600.0 * hour, duration_s=3600.0)
    with open_video(path) as reader:
        assert [frame.time_s for frame in reader] == [0.0, 3600.0, 7200.0]


def test_image_chunks_are_made_right() -> None:
    assert zlib.crc32(b"IEND").to_bytes(4) in faulty.chunk(b"IEND", b"")
    assert np.array_equal(read(faulty.png_with(b""))[0][0].image, read(image())[0][0].image)


def without_packets(source: bytes, lost: range) -> bytes:
    """The same stream without some of its packets, as a receiver that was cut off for a moment stores it."""
    file = io.BytesIO()
    with av.open(io.BytesIO(source), "r") as given, av.open(file, "w", format="mpegts") as container:
        stream = container.add_stream_from_template(given.streams.video[0])
        for number, packet in enumerate(given.demux(video=0)):
            if packet.dts is not None and number not in lost:
                packet.stream = stream
                container.mux(packet)
    return file.getvalue()


@pytest.mark.parametrize(("lost", "expected"), [(range(0), 0), (range(20, 25), 5), (range(30, 31), 1)])
def test_a_broadcast_with_a_gap_tells_how_many_frames_are_missing(lost: range, expected: int) -> None:
    whole = clip(num_frames=50, form="mpegts", codec="mpeg2video")
    with open_video(io.BytesIO(without_packets(whole, lost))) as reader:
        num_frames = len(list(reader))
        damaged = reader.info.num_damaged
    assert num_frames <= 50 - expected
    assert damaged >= expected
    assert damaged <= expected + 12, "frames up to the next whole picture may be broken too"


def uneven(form: str, codec: str, *, num_frames: int) -> bytes:
    """A broadcast whose frames lie one to nine ticks of 1/25 s apart."""
    random = np.random.default_rng(3)
    file = io.BytesIO()
    with av.open(file, "w", format=form) as container:
        stream = container.add_stream(codec, rate=25, options={"g": "12"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        at = 0
        for _ in range(num_frames):
            frame = av.VideoFrame.from_ndarray(picture(shade=at), "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = at, Fraction(1, 25)
            at += int(random.choice([1, 1, 2, 5, 9]))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


@pytest.mark.parametrize(("form", "codec"), [("mpegts", "libx264"), ("mpeg", "mpeg2video")])
def test_a_broadcast_whose_rate_varies_has_lost_nothing(form: str, codec: str) -> None:
    with open_video(io.BytesIO(uneven(form, codec, num_frames=120))) as reader:
        assert len(list(reader)) == 120
        assert reader.info.num_damaged == 0
