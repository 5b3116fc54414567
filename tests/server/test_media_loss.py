"""Frames that are missing in the middle of a file: counted where it tells so, never where its rate varies."""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import av
import numpy as np
import pytest

from partstream_core.errors import MediaError
from partstream_server.media import MediaLimits, open_video
from partstream_server.media.frame_numbers import FrameNumbers
from tests.server.media_fixtures import clip

NUM_FRAMES: Final = 60
FORMS: Final = {
    "matroska": {},
    "flv": {},
    "mpegts": {},
    "fragments at key frames": {"movflags": "frag_keyframe+empty_moov"},
    "short fragments": {"movflags": "empty_moov+default_base_moof", "frag_duration": "400000"},
}


def film(*, b_frames: int) -> bytes:
    """An MP4 of 60 frames with a key frame at 0 and 50."""
    file = io.BytesIO()
    options = {"bf": str(b_frames), "g": "50", "sc_threshold": "0", "b_adapt": "0"}
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(NUM_FRAMES):
            image = np.full((48, 64, 3), 3 * index, np.uint8)
            image[:, index : index + 4] = 255
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts = index
            container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode(None))
    return file.getvalue()


def copied(
    video: bytes, form: str, *, lost: range = range(0), late_s: Callable[[int], float] = lambda _: 0.0
) -> bytes:
    """The packets of a video in another container, without some of them, or with other times."""
    file = io.BytesIO()
    container_form = "mp4" if "fragments" in form else form
    with (
        av.open(io.BytesIO(video), "r") as given,
        av.open(file, "w", format=container_form, options=FORMS[form]) as container,
    ):
        source = given.streams.video[0]
        stream = container.add_stream_from_template(source)
        for number, packet in enumerate(one for one in given.demux(source) if one.size):
            if number in lost:
                continue
            assert packet.pts is not None
            assert packet.dts is not None
            later = round(late_s(number) / packet.time_base)
            packet.pts, packet.dts, packet.stream = packet.pts + later, packet.dts + later, stream
            container.mux(packet)
    return file.getvalue()


def counts(video: bytes | Path) -> tuple[int, int]:
    """Frames, and those that are called damaged."""
    limits = MediaLimits(max_frames=900)
    with open_video(io.BytesIO(video) if isinstance(video, bytes) else video, limits) as reader:
        return len(list(reader)), reader.info.num_damaged


@pytest.mark.parametrize("lost", [range(20, 25), range(30, 31)])
@pytest.mark.parametrize("form", FORMS)
def test_frames_that_are_lost_in_the_middle_are_counted(form: str, lost: range) -> None:
    assert counts(copied(film(b_frames=0), form, lost=lost)) == (NUM_FRAMES - len(lost), len(lost))


@pytest.mark.parametrize("form", FORMS)
def test_of_frames_in_another_order_some_losses_are_counted_and_never_more(form: str) -> None:
    num_frames, num_damaged = counts(copied(film(b_frames=2), form, lost=range(20, 26)))
    assert num_frames == NUM_FRAMES - 6
    assert 1 <= num_damaged <= 6


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("form", FORMS)
def test_whole_files_and_those_of_a_rate_that_varies_have_lost_nothing(form: str, b_frames: int) -> None:
    whole = film(b_frames=b_frames)
    assert counts(copied(whole, form)) == (NUM_FRAMES, 0)
    for every in (10, 15, 20):
        paused = copied(whole, form, late_s=lambda number, every=every: 0.4 * (number // every))  # type: ignore[misc]
        assert counts(paused) == (NUM_FRAMES, 0)


def avi(damage: Callable[[bytes, int, int], bytes], *, with_index: bool) -> bytes:
    """An AVI of 50 frames, of which 20 to 24 are damaged."""
    whole = clip(num_frames=50, form="avi", codec="mpeg4")
    index = whole.index(b"idx1")
    starts = [found.start() for found in re.finditer(b"00dc", whole[:index])]
    return damage(whole if with_index else whole[:index], starts[20], starts[25])


def cut_out(data: bytes, begin: int, end: int) -> bytes:
    return data[:begin] + data[end:]


def zeroed(data: bytes, begin: int, end: int) -> bytes:
    return data[:begin] + bytes(end - begin) + data[end:]


@pytest.mark.parametrize("with_index", [False, True])
@pytest.mark.parametrize("damage", [cut_out, zeroed])
def test_an_avi_counts_what_its_header_has_more(
    damage: Callable[[bytes, int, int], bytes], with_index: bool
) -> None:
    assert counts(avi(damage, with_index=with_index)) == (45, 5)
    assert counts(avi(lambda data, _begin, _end: data, with_index=with_index)) == (50, 0)


def test_an_avi_with_places_left_empty_has_lost_nothing() -> None:
    file = io.BytesIO()
    whole = clip(num_frames=20, form="avi", codec="mpeg4")
    with av.open(io.BytesIO(whole), "r") as given, av.open(file, "w", format="avi") as container:
        source = given.streams.video[0]
        stream = container.add_stream_from_template(source)
        for number, packet in enumerate(one for one in given.demux(source) if one.size):
            packet.pts = packet.dts = number + 5 * (number // 7)
            packet.stream = stream
            container.mux(packet)
    paused = file.getvalue()
    assert counts(paused) == counts(paused[: paused.index(b"idx1")]) == (20, 0)


def test_damaged_parameters_and_slices_tell_of_no_loss() -> None:
    random = np.random.default_rng(5)
    with av.open(io.BytesIO(film(b_frames=0)), "r") as container:
        stream = container.streams.video[0]
        extradata = bytes(stream.codec_context.extradata or b"")
        packets = [bytes(packet) for packet in container.demux(stream) if packet.size]
    whole = FrameNumbers(extradata)
    assert [whole.num_missing(packet) for packet in packets] == [0] * NUM_FRAMES
    gap = FrameNumbers(extradata)
    assert [gap.num_missing(packet) for packet in packets[:10] + packets[13:16]] == [0] * 10 + [3, 0, 0]
    assert [FrameNumbers(None).num_missing(packet) for packet in packets] == [0] * NUM_FRAMES
    for _ in range(300):
        noise = FrameNumbers(random.bytes(int(random.integers(0, 40))))
        for packet in packets[:3]:
            assert noise.num_missing(random.bytes(20) + packet) >= 0
    assert FrameNumbers(extradata[:20]).num_missing(packets[0]) == 0


def test_no_good_file_is_called_damaged(data_dir: Path) -> None:
    """Those that are damaged on purpose are named."""
    damaged = {"trunc_o6.jpg": 1}
    faulty = [path for path in (data_dir / "faulty").iterdir() if path.suffix != ".md"]
    videos = sorted((data_dir / "videos").rglob("*.mp4"), key=lambda path: path.stat().st_size)[:12]
    found = {}
    for path in [*faulty, *videos]:
        try:
            found[path.name] = counts(path)[1]
        except MediaError:
            continue
    assert {name: count for name, count in found.items() if count} == damaged
    assert len(found) > 25
