"""Decoding: whatever people send becomes upright RGB frames in time order, or a clear error."""

import gc
import io
import itertools
import struct
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import psutil
import pytest
from PIL import Image as PillowImage

from partstream_core.errors import (
    EmptyUploadError,
    FrameTooLargeError,
    MediaError,
    NoFramesError,
    NotAVideoError,
    NoVideoStreamError,
    TooLongError,
    TruncatedError,
)
from partstream_core.results import VideoInfo
from partstream_server.media import Frame, Image, MediaLimits, open_video
from tests.server import media_fixtures as media


def read(source: bytes | Path, limits: MediaLimits | None = None) -> tuple[list[Frame], VideoInfo]:
    with open_video(io.BytesIO(source) if isinstance(source, bytes) else source, limits) as reader:
        frames = list(reader)
        return frames, reader.info


def difference(a: Image, b: Image) -> float:
    return float(np.abs(a.astype(np.int16) - b).mean())


def encoded(image: PillowImage.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def test_a_clip_gives_every_frame_once_in_order_with_its_pixels() -> None:
    frames, info = read(media.clip(num_frames=7, rate=25))
    assert [frame.index for frame in frames] == list(range(7))
    assert [frame.time_s for frame in frames] == pytest.approx([index / 25 for index in range(7)])
    for frame in frames:
        assert difference(frame.image, media.picture(shade=3 * frame.index)) < 12
    assert info == VideoInfo(64, 48, 7, 25.0, 7 / 25, 0)


def test_times_of_a_variable_frame_rate_are_those_of_the_container() -> None:
    times = [0.0, 0.04, 0.5, 0.52, 1.7]
    frames, info = read(media.clip(num_frames=5, times=times))
    assert [frame.time_s for frame in frames] == pytest.approx(times, abs=1e-3)
    assert info.duration_s > 1.7


@pytest.mark.parametrize(
    ("matrix", "turned"),
    [
        ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),
        ((-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
        ((0, -1, 1, 0), lambda image: np.rot90(image, 1)),
        ((-1, 0, 0, 1), np.fliplr),
        ((1, 0, 0, -1), np.flipud),
        ((0, -1, -1, 0), lambda image: np.rot90(image, 2).transpose(1, 0, 2)),
        ((0, 1, 1, 0), lambda image: image.transpose(1, 0, 2)),
    ],
)
def test_a_phone_video_stands_upright(
    matrix: tuple[int, int, int, int], turned: Callable[[Image], Image]
) -> None:
    video = media.clip(num_frames=2)
    a, b, c, d = (value << 16 for value in matrix)
    at = video.index(b"tkhd") + 4 + 40
    phone = video[:at] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + video[at + 36 :]
    lying, _ = read(video)
    upright, info = read(phone)
    assert np.array_equal(upright[1].image, turned(lying[1].image))
    assert (info.height, info.width) == upright[0].image.shape[:2]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_by_its_exif_orientation(orientation: int) -> None:
    picture = media.picture()
    undo: list[Callable[[Image], Image]] = [
        lambda image: image,
        np.fliplr,
        lambda image: np.rot90(image, 2),
        np.flipud,
        lambda image: image.transpose(1, 0, 2),
        lambda image: np.rot90(image, 1),
        lambda image: np.rot90(image, 2).transpose(1, 0, 2),
        lambda image: np.rot90(image, -1),
    ]
    stored = PillowImage.fromarray(np.ascontiguousarray(undo[orientation - 1](picture)))
    exif = PillowImage.Exif()
    exif[0x0112] = orientation
    frames, info = read(encoded(stored, "JPEG", exif=exif, quality=95))
    assert difference(frames[0].image, picture) < 6
    assert (info.width, info.height, info.frame_rate) == (64, 48, 0.0)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_a_still_image_is_a_video_of_one_frame(form: str) -> None:
    frames, info = read(encoded(PillowImage.fromarray(media.picture()), form))
    assert difference(frames[0].image, media.picture()) < 12
    assert info == VideoInfo(64, 48, 1, 0.0, 0.0, 0)


def test_every_kind_of_pixel_becomes_rgb() -> None:
    picture = media.picture()
    grey = np.asarray(PillowImage.fromarray(picture).convert("L"))
    deep = PillowImage.fromarray(grey.astype(np.uint16) * 257)
    as_rgb = np.repeat(grey[:, :, None], 3, axis=2)
    assert difference(read(encoded(PillowImage.fromarray(grey), "PNG"))[0][0].image, as_rgb) == 0
    assert difference(read(encoded(deep, "PNG"))[0][0].image, as_rgb) == 0
    palette = PillowImage.fromarray(picture).quantize(64)
    assert difference(read(encoded(palette, "PNG"))[0][0].image, np.array(palette.convert("RGB"))) == 0
    floats = PillowImage.fromarray(grey.astype(np.float32) / 255)
    assert difference(read(encoded(floats, "TIFF"))[0][0].image, as_rgb) < 1.5


def test_what_is_transparent_shows_white() -> None:
    picture = np.dstack([media.picture(), np.full((48, 64), 255, np.uint8)])
    picture[:10, :, 3] = 0
    frames, _ = read(encoded(PillowImage.fromarray(picture), "PNG"))
    assert (frames[0].image[:10] == 255).all()
    assert np.array_equal(frames[0].image[10:], picture[10:, :, :3])


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP"])
def test_an_animation_has_all_its_frames_and_their_times(form: str) -> None:
    pictures = [PillowImage.fromarray(media.picture(shade=5 * index)) for index in range(4)]
    animation = encoded(
        pictures[0],
        form,
        save_all=True,
        append_images=pictures[1:],
        duration=[100, 200, 100, 400],
        lossless=True,
    )
    frames, info = read(animation)
    assert [frame.time_s for frame in frames] == pytest.approx([0, 0.1, 0.3, 0.4])
    assert info.duration_s == pytest.approx(0.8)
    for index, frame in enumerate(frames):
        assert difference(frame.image, media.picture(shade=5 * index)) < 12


@pytest.mark.parametrize(("width", "height"), [(1, 1), (65, 49), (3, 200), (301, 2)])
def test_odd_and_tiny_sizes_are_kept(width: int, height: int) -> None:
    for source in (
        media.image(media.picture(width=width, height=height)),
        media.clip(width=width, height=height, num_frames=2, codec="ffv1", form="matroska", pix_fmt="bgr0"),
    ):
        frames, info = read(source)
        assert {frame.image.shape for frame in frames} == {(height, width, 3)}
        assert (info.width, info.height) == (width, height)


def test_a_folder_of_images_is_a_clip_in_natural_order(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        (tmp_path / f"frame{number}.png").write_bytes(media.image(media.picture(shade=number)))
    (tmp_path / "notes.txt").write_text("not an image")
    frames, info = read(tmp_path)
    assert [frame.index for frame in frames] == [0, 1, 2]
    for frame, number in zip(frames, (1, 2, 10), strict=True):
        assert np.array_equal(frame.image, media.picture(shade=number))
    assert info.duration_s == pytest.approx(3 / info.frame_rate)


def test_a_broken_image_in_a_folder_is_counted_and_leaves_a_gap_in_time(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(media.image())
    (tmp_path / "1.png").write_bytes(b"this is no picture")
    frames, info = read(tmp_path)
    assert [round(frame.time_s * info.frame_rate) for frame in frames] == [0, 2]
    assert (info.num_frames, info.num_damaged) == (2, 1)


def test_a_folder_without_images_has_no_frames(tmp_path: Path) -> None:
    with pytest.raises(NoFramesError, match="no image"):
        read(tmp_path)


def test_a_frame_of_another_size_is_fitted_into_the_first_ones(tmp_path: Path) -> None:
    stream = media.clip(width=64, height=48, num_frames=3, form="mpegts") + media.clip(
        width=32, height=64, num_frames=3, form="mpegts"
    )
    frames, info = read(stream)
    assert (info.width, info.height) == (64, 48)
    assert {frame.image.shape for frame in frames} == {(48, 64, 3)}
    last = frames[-1].image
    assert len(frames) >= 5
    assert last[:, :19].max() < 40, "the sides of a tall frame are black"
    assert last[:, 26:38].mean() > 60
    assert all(after.time_s > before.time_s for before, after in itertools.pairwise(frames))


def faststart(folder: Path, num_frames: int = 40) -> bytes:
    """A clip whose index stands first, so that what was cut off its end is all that is missing."""
    noise = np.random.default_rng(0)
    path = folder / "faststart.mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for _ in range(num_frames):
            pixels = noise.integers(0, 255, (64, 96, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    return data


def test_a_video_that_was_cut_short_gives_what_is_there_and_says_what_is_missing(tmp_path: Path) -> None:
    data = faststart(tmp_path, num_frames=40)
    frames, info = read(data[: len(data) // 2])
    assert 15 <= len(frames) <= 25
    assert info.num_frames + info.num_damaged == 40


def test_a_matroska_file_that_was_cut_short_says_what_is_missing() -> None:
    data = media.clip(num_frames=50, width=160, height=120, form="matroska")
    frames, info = read(data[: len(data) // 2])
    assert 0 < len(frames) < 50
    assert info.num_frames + info.num_damaged == pytest.approx(50, abs=2)


def test_damage_in_the_middle_costs_only_the_damaged_frames(tmp_path: Path) -> None:
    data = bytearray(faststart(tmp_path))
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(3000)
    frames, info = read(bytes(data))
    assert len(frames) >= 30
    assert info.num_damaged >= 1


def test_a_photo_that_was_cut_short_shows_its_beginning() -> None:
    data = media.image(media.picture(width=640, height=480), suffix=".jpg")
    frames, info = read(data[: len(data) * 2 // 3])
    assert difference(frames[0].image[:100], media.picture(width=640, height=480)[:100]) < 6
    assert info.num_damaged == 1


REFUSED: list[tuple[str, Callable[[], bytes], type[MediaError]]] = [
    ("nothing", lambda: b"", EmptyUploadError),
    ("noise", lambda: np.random.default_rng(0).bytes(5000), NotAVideoError),
    ("text", lambda: b"a letter to a friend\n" * 50, NotAVideoError),
    ("a song", media.song, NoVideoStreamError),
    ("an announced stream that never comes", media.without_frames, NoFramesError),
    ("half an MP4 with its index at the end", lambda: media.clip()[:1000], TruncatedError),
    ("the head of a PNG", lambda: media.image()[:40], NoFramesError),
    ("a PNG of 20000 x 20000", media.vast_png, FrameTooLargeError),
    ("a video of 16000 x 16000", lambda: media.vast_video(16_000), FrameTooLargeError),
]


@pytest.mark.parametrize(("make", "error"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_cannot_be_read_is_refused_with_its_own_error(
    make: Callable[[], bytes], error: type[MediaError]
) -> None:
    with pytest.raises(error) as caught:
        read(make())
    assert type(caught.value) is error
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["clip.txt", "clip.nfo", "list.m3u8"])
def test_text_with_a_name_that_decoders_know_is_no_video(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("hello, world\n" * 100)
    with pytest.raises(NotAVideoError):
        read(tmp_path / name)


@pytest.mark.parametrize("scheme", ["file://{path}", "{path}", "concat:{path}"])
def test_a_playlist_cannot_make_the_decoder_open_another_file(tmp_path: Path, scheme: str) -> None:
    secret = tmp_path / "secret.ts"
    secret.write_bytes(media.clip(form="mpegts"))
    playlist = tmp_path / "innocent.m3u8"
    playlist.write_bytes(media.playlist(scheme.format(path=secret)))
    with pytest.raises(MediaError):
        read(playlist)
    script = tmp_path / "innocent.ffconcat"
    script.write_text(f"ffconcat version 1.0\nfile {secret.name}\n")
    with pytest.raises(MediaError):
        read(script)


def test_cover_art_is_not_a_video(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w", format="mp4") as container:
        sound = container.add_stream("aac", rate=44_100, layout="mono")
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts = 44_100, 0
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
        container.mux(
            cover.encode(av.VideoFrame.from_ndarray(media.picture(), "rgb24").reformat(format="yuvj420p"))
        )
        container.mux(cover.encode(None))
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 1
    with pytest.raises(NoVideoStreamError):
        read(path)


def test_limits_on_length_hold_for_headers_and_for_what_comes() -> None:
    video = media.clip(num_frames=30, rate=10)
    with pytest.raises(TooLongError, match="20 frames"):
        read(video, MediaLimits(max_frames=20))
    with pytest.raises(TooLongError, match="2 seconds"):
        read(video, MediaLimits(max_duration_s=2))
    silent = media.clip(num_frames=30, rate=10, form="mpegts")
    with open_video(io.BytesIO(silent), MediaLimits(max_frames=20)) as reader:
        with pytest.raises(TooLongError):
            list(reader)
        assert reader.info.num_frames == 21
    read(video, MediaLimits(max_frames=30, max_duration_s=3))


def test_limits_on_size_are_those_given() -> None:
    with pytest.raises(FrameTooLargeError, match="64x48"):
        read(media.clip(), MediaLimits(max_width=63))
    with pytest.raises(FrameTooLargeError):
        read(media.image(), MediaLimits(max_pixels=64 * 48 - 1))
    with pytest.raises(ValueError, match="max_height"):
        MediaLimits(max_height=0)


def test_only_every_nth_frame_is_converted_and_all_are_counted() -> None:
    video = media.clip(num_frames=10)
    with open_video(io.BytesIO(video), every=4) as reader:
        some = list(reader)
        assert reader.info.num_frames == 10
    whole, _ = read(video)
    assert [frame.index for frame in some] == [0, 4, 8]
    for frame in some:
        assert np.array_equal(frame.image, whole[frame.index].image)
        assert frame.time_s == whole[frame.index].time_s


def test_the_file_is_closed_also_when_it_cannot_be_read() -> None:
    good, bad = io.BytesIO(media.clip()), io.BytesIO(b"not a video at all, just text")
    with open_video(good):
        pass
    with pytest.raises(NotAVideoError):
        open_video(bad)
    assert good.closed
    assert bad.closed


def test_readers_that_were_closed_leave_nothing_for_the_garbage_collector() -> None:
    """Frames and codecs go when they are no longer needed, and their memory and threads with them."""
    video, process = media.clip(num_frames=30), psutil.Process()
    read(video)
    gc.collect()
    gc.disable()
    try:
        before = process.num_threads()
        for _ in range(10):
            read(video)
        assert process.num_threads() <= before
    finally:
        gc.enable()


def test_colours_of_high_definition_follow_the_matrix_of_the_file(tmp_path: Path) -> None:
    """A saturated red that was encoded with the matrix of BT.709 and says so comes back as that red."""
    path = tmp_path / "red.mp4"
    red = np.zeros((64, 64, 3), np.uint8)
    red[:] = (200, 30, 30)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.colorspace = 1
        frame = av.VideoFrame.from_ndarray(red, "rgb24").reformat(format="yuv420p", dst_colorspace="ITU709")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert difference(read(path)[0][0].image, red) < 4


def test_resizing_keeps_the_shape_and_centres_on_black() -> None:
    from partstream_server.media import fit_within

    wide = np.full((10, 40, 3), 200, np.uint8)
    fitted = fit_within(wide, width=20, height=20)
    assert fitted.shape == (20, 20, 3)
    assert (cv2.boundingRect(fitted[..., 0])) == (0, 7, 20, 5)
    assert fit_within(wide, width=40, height=10) is wide
