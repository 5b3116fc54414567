"""The sound of overlay videos: the source's, at its times."""

import io
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
import numpy.typing as npt
import pytest
from av.audio.stream import AudioStream

from partstream_server.benchmarks.drawn_clip import write_figures
from partstream_server.media import open_video
from partstream_server.media.cutout_writer import MOV, WEBM, AlphaForm, CutoutWriter
from partstream_server.media.video_spec import VideoSpec
from partstream_server.media.video_writer import VideoWriter
from tests.server.media_fixtures import picture
from tests.server.running_server import Running

RATE = 48_000
BEEP_S = 1.0
"""When the tone begins, after the first frame."""


def tone(seconds: float, begin_s: float) -> npt.NDArray[np.float32]:
    """Silence and then a tone, [samples]."""
    times = np.arange(round(seconds * RATE)) / RATE
    return np.where(times >= begin_s, np.sin(2 * np.pi * 440 * times), 0).astype(np.float32)


def film(codec: str, form: str, *, late_s: float = 0.0, seconds: float = 2.0) -> bytes:
    """A video with sound whose tone begins a second after its first frame; the file begins at `late_s`."""
    file = io.BytesIO()
    with av.open(file, "w", format=form) as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = cast(AudioStream, container.add_stream(codec, rate=RATE))
        audio.layout = "mono"
        for index in range(round(25 * seconds)):
            frame = av.VideoFrame.from_ndarray(picture(shade=index), "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = index + round(25 * late_s), Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        samples = tone(seconds, BEEP_S)
        for at in range(0, len(samples), 1024):
            part = samples[None, at : at + 1024]
            if codec.startswith("pcm_s16"):
                sound = av.AudioFrame.from_ndarray((part * 30000).astype(np.int16), "s16", "mono")
            else:
                sound = av.AudioFrame.from_ndarray(part, "fltp", "mono")
            sound.sample_rate, sound.time_base = RATE, Fraction(1, RATE)
            sound.pts = at + round(RATE * late_s)
            container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
    return file.getvalue()


def drawn(source: Path, target: Path, *, num_frames: int | None = None) -> Path:
    """The frames of a source as an overlay video has them, with its sound."""
    with (
        open_video(source) as reader,
        VideoWriter(target, VideoSpec.of(reader.info, pixel_aspect=1.0, sound=source)) as writer,
    ):
        for frame in reader:
            if frame.index == num_frames:
                break
            writer.write(frame.image, time_s=frame.time_s, duration_s=frame.duration_s)
    return target


def beep_s(path: Path) -> float:
    """When the tone begins after the first frame."""
    with av.open(str(path)) as container:
        first = next(container.decode(video=0))
        start_s = float((first.pts or 0) * (first.time_base or 0))
    with av.open(str(path)) as container:
        for sound in container.decode(audio=0):
            samples = sound.to_ndarray().astype(np.float64)
            loud = np.flatnonzero(np.abs(samples.reshape(-1)) > 0.2 * max(1.0, np.abs(samples).max()))
            if np.abs(samples).max() > (3000 if samples.max() > 2 else 0.1) and len(loud):
                time_s = float((sound.pts or 0) * (sound.time_base or 0))
                return time_s + float(loud[0]) / sound.sample_rate - start_s
    raise AssertionError("no tone is heard")


@pytest.mark.parametrize(
    ("codec", "form", "late_s", "kept"),
    [
        ("aac", "mp4", 0.0, "aac"),
        ("aac", "mpegts", 3.0, "aac"),
        ("libopus", "matroska", 0.0, "opus"),
        ("libmp3lame", "mp4", 0.0, "mp3"),
        ("pcm_s16le", "avi", 0.0, "aac"),
        ("pcm_s16le", "mov", 0.0, "aac"),
    ],
)
def test_the_tone_is_heard_when_it_was(
    tmp_path: Path, codec: str, form: str, late_s: float, kept: str
) -> None:
    source = tmp_path / "source"
    source.write_bytes(film(codec, form, late_s=late_s))
    target = drawn(source, tmp_path / "drawn.mp4")
    with av.open(str(target)) as container:
        assert container.streams.audio[0].codec.canonical_name == kept
    assert beep_s(target) == pytest.approx(BEEP_S, abs=0.02)


def test_sound_that_is_copied_is_the_same(tmp_path: Path) -> None:
    source = tmp_path / "source.mp4"
    source.write_bytes(film("aac", "mp4"))
    target = drawn(source, tmp_path / "drawn.mp4")
    packets = []
    for path in (source, target):
        with av.open(str(path)) as container:
            packets.append([bytes(packet) for packet in container.demux(audio=0) if packet.size])
    assert len(packets[1]) >= len(packets[0]) - 2
    assert set(packets[1]) <= set(packets[0])


def test_sound_ends_with_the_video(tmp_path: Path) -> None:
    source = tmp_path / "source.mp4"
    source.write_bytes(film("aac", "mp4"))
    target = drawn(source, tmp_path / "drawn.mp4", num_frames=10)
    with av.open(str(target)) as container:
        stream = container.streams.audio[0]
        assert float((stream.duration or 0) * (stream.time_base or 0)) == pytest.approx(0.4, abs=0.05)


def cut_off(video: bytes) -> bytes:
    return video[: len(video) // 2]


def overwritten(video: bytes) -> bytes:
    return video[:-2000] + bytes(2000)


@pytest.mark.parametrize("damage", [cut_off, overwritten])
def test_sound_that_is_damaged_costs_no_frame(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    source = tmp_path / "source.mkv"
    source.write_bytes(damage(film("aac", "matroska")))
    with open_video(source) as reader:
        num_frames = len(list(reader))
    with av.open(str(drawn(source, tmp_path / "drawn.mp4"))) as container:
        assert len(list(container.decode(video=0))) == num_frames


def test_a_video_without_sound_stays_without(tmp_path: Path) -> None:
    spec = VideoSpec(width=64, height=48, frame_rate=25, sound=tmp_path / "missing")
    with VideoWriter(tmp_path / "drawn.mp4", spec) as writer:
        writer.write(picture(), time_s=0.0)
    with av.open(str(tmp_path / "drawn.mp4")) as container:
        assert not container.streams.audio


def test_the_service_keeps_the_sound_with_passed_over_frames_too(server: Running, tmp_path: Path) -> None:
    answer = server.parse(film("aac", "mp4"), "video/mp4", every=5)
    (tmp_path / "overlay.mp4").write_bytes(answer.content)
    assert beep_s(tmp_path / "overlay.mp4") == pytest.approx(BEEP_S, abs=0.02)


def with_alpha(path: Path) -> list[npt.NDArray[np.uint8]]:
    """The frames of a cutout, RGBA."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if container.format.name.startswith("matroska"):
            assert stream.metadata.get("ALPHA_MODE", stream.metadata.get("alpha_mode")) == "1"
            decoder = av.CodecContext.create("libvpx-vp9", "r")
            frames = [frame for packet in container.demux(stream) for frame in decoder.decode(packet)]
        else:
            frames = list(container.decode(stream))
    return [
        np.asarray(frame.to_ndarray(format="rgba", src_colorspace=frame.colorspace), np.uint8)
        for frame in frames
    ]


@pytest.mark.parametrize("codec", ["aac", "libopus"])
@pytest.mark.parametrize(("form", "sound"), [(WEBM, "opus"), (MOV, "aac")])
def test_a_cutout_is_transparent_where_nobody_is_and_has_the_sound(
    tmp_path: Path, codec: str, form: AlphaForm, sound: str
) -> None:
    source, target = tmp_path / "source.mkv", tmp_path / f"cutout.{form.container}"
    source.write_bytes(film(codec, "matroska"))
    alpha = np.zeros((47, 63), np.uint8)
    alpha[10:30, 20:40] = 255
    image = np.full((47, 63, 3), (200, 40, 90), np.uint8)
    times_s = [(index + 0.4 * (index % 3)) / 25 for index in range(50)]
    with CutoutWriter(target, VideoSpec(width=63, height=47, frame_rate=25, sound=source), form) as writer:
        for time_s in times_s:
            writer.write(image, alpha, time_s=time_s, duration_s=1 / 25)
        with pytest.raises(ValueError, match="63x47"):
            writer.write(picture(), np.zeros((48, 64), np.uint8), time_s=3.0)
    found = with_alpha(target)
    assert len(found) == 50
    for seen in found:
        assert seen.shape == (48, 64, 4)
        assert seen[14:26, 24:36, 3].min() > 240
        assert seen[:, :12, 3].max() < 16
        assert np.abs(seen[14:26, 24:36, :3].astype(int) - image[0, 0]).max() <= 3
    with av.open(str(target)) as container:
        frames = list(container.decode(video=0))
        assert container.streams.audio[0].codec.canonical_name == sound
    seen_s = [float((frame.pts or 0) * (frame.time_base or 0)) for frame in frames]
    assert seen_s == pytest.approx(times_s, abs=1 / 1000)
    assert beep_s(target) == pytest.approx(BEEP_S, abs=0.02)


@pytest.mark.parametrize(("media_type", "name"), [("video/webm", "c.webm"), ("video/quicktime", "c.mov")])
def test_the_service_cuts_people_out(server: Running, tmp_path: Path, media_type: str, name: str) -> None:
    write_figures(tmp_path / "clip.mp4", width=640, height=360, num_frames=4)
    answer = server.parse((tmp_path / "clip.mp4").read_bytes(), media_type, every=2)
    assert answer.headers["content-type"] == media_type
    (tmp_path / name).write_bytes(answer.content)
    found = with_alpha(tmp_path / name)
    assert len(found) == 4
    assert all(0.01 < (seen[..., 3] > 128).mean() < 0.5 for seen in found)
