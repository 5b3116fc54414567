"""Motion as encoders tell it: units and signs proven on clips whose camera moves as we say."""

import gc
import io
from pathlib import Path
from typing import cast

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from partstream_core.manifest import Manifest, load_manifest
from partstream_core.schedule import FlowSource
from partstream_server.engine import default_bundle_directory
from partstream_server.media import BlockMotion, Frame, open_video
from partstream_server.pipeline.frame_changes import service
from partstream_server.pipeline.host_flow import accumulated_motion, host_flow
from partstream_server.pipeline.inference import View
from tests.server.media_fixtures import clip, rotated

Image = npt.NDArray[np.uint8]

HEIGHT, WIDTH = 136, 248
"""The width is no multiple of a macroblock, as in 1080p the height is not."""
FORWARD = {"bf": "0"}
STEP = 6
"""Pixels by which the camera moves right from frame to frame."""


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return load_manifest(default_bundle_directory())


def panned(
    num_frames: int, options: dict[str, str] | None = None, *, codec: str = "libx264", still: bool = False
) -> bytes:
    """A clip of a textured wall past which the camera moves."""
    noise = np.random.default_rng(5).integers(0, 256, (40, 120, 3), dtype=np.uint8)
    wall = cv2.resize(noise, None, fx=5, fy=5, interpolation=cv2.INTER_CUBIC)
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = cast(VideoStream, container.add_stream(codec, rate=25, options=options or {}))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index in range(num_frames):
            left = 0 if still else STEP * index
            view = np.ascontiguousarray(wall[20 : 20 + HEIGHT, left : left + WIDTH])
            container.mux(stream.encode(VideoFrame.from_ndarray(np.asarray(view, np.uint8), "rgb24")))
        container.mux(stream.encode(None))
    return file.getvalue()


def frames_of(video: bytes, *, every: int = 1) -> list[Frame]:
    """All frames with their motion."""
    with open_video(io.BytesIO(video), every=every, motion=True) as reader:
        return list(reader)


def middle(field_2hw: npt.NDArray[np.float32]) -> list[float]:
    """The usual vector away from the border, where the wall comes into view."""
    return [float(np.median(part_hw[2:-2, 3:-3])) for part_hw in field_2hw]


def motions(frames: list[Frame]) -> list[BlockMotion]:
    """Motion of every frame but the first, which has none."""
    assert frames[0].motion is None
    return [frame.motion for frame in frames[1:] if frame.motion is not None]


@pytest.mark.parametrize(
    "codec, options",
    [
        ("libx264", {"bf": "0"}),
        ("libx264", {"bf": "3", "x264-params": "b-pyramid=none:b-adapt=0"}),
        ("libx264", {"bf": "3", "x264-params": "b-pyramid=normal:b-adapt=0"}),
        ("mpeg4", {"bf": "0", "g": "100"}),
    ],
)
def test_vectors_lead_to_the_frame_before_in_pixels(codec: str, options: dict[str, str]) -> None:
    told = motions(frames_of(panned(10, options, codec=codec)))
    assert len(told) == 9
    found = np.array([middle(motion.vectors_2hw) for motion in told])
    assert np.median(found, axis=0) == pytest.approx([STEP, 0], abs=0.3)
    assert found.sum(axis=0) == pytest.approx([9 * STEP, 0], abs=0.15 * 9 * STEP)
    assert np.median([motion.known for motion in told]) > 0.5


def codec_flow(manifest: Manifest, frames: list[Frame], at: int) -> npt.NDArray[np.float32]:
    """Flow of a frame to the first one, as a stream leads it on from frame to frame."""
    since: BlockMotion | None = None
    for count, frame in enumerate(frames[1 : at + 1]):
        since = accumulated_motion(since, frame.motion, first=count == 0)
    current, reference = View(frames[at].image, manifest), View(frames[0].image, manifest)
    return host_flow(FlowSource.CODEC, current, reference, stride=8, since_key=since)


def test_flow_is_led_on_from_frame_to_frame_in_pixels_of_the_feature_map(manifest: Manifest) -> None:
    frames = frames_of(panned(6, FORWARD))
    shown = View(frames[0].image, manifest)
    step = STEP * shown.content_width / WIDTH / 8
    for count in range(1, len(frames)):
        field = shown.content_of(codec_flow(manifest, frames, count))
        assert field.shape == (2, shown.content_height // 8, shown.content_width // 8)
        assert middle(field) == pytest.approx([count * step, 0], abs=0.1 * count * step)


def test_a_frame_without_vectors_goes_on_as_the_one_before() -> None:
    told = motions(frames_of(panned(9, FORWARD | {"g": "4", "x264-params": "scenecut=0"})))
    assert [motion.known == 0 for motion in told] == [False, False, False, True, False, False, False, True]
    assert np.array_equal(told[3].vectors_2hw, told[2].vectors_2hw)


def test_frames_passed_over_are_led_over() -> None:
    thinned = motions(frames_of(panned(9, FORWARD), every=4))
    assert [middle(motion.vectors_2hw)[0] for motion in thinned] == pytest.approx([4 * STEP] * 2, abs=2)


def test_vectors_turn_with_the_picture() -> None:
    upright = motions(frames_of(panned(4, FORWARD)))[1]
    turned = motions(frames_of(rotated(panned(4, FORWARD))))[1]
    assert (turned.height, turned.width) == (upright.width, upright.height)
    assert middle(turned.vectors_2hw) == pytest.approx([0, STEP], abs=0.3)
    back = turned.turned(exchange=True, mirror_columns=False, mirror_rows=True)
    assert np.allclose(back.vectors_2hw, upright.vectors_2hw)


def test_nothing_moves_in_a_still_clip_and_motion_is_read_only_when_asked_for() -> None:
    video = panned(4, still=True)
    assert all(np.abs(motion.vectors_2hw).max() < 0.5 for motion in motions(frames_of(video)))
    with open_video(io.BytesIO(video)) as reader:
        assert [frame.motion for frame in reader] == [None] * 4


def test_a_codec_that_tells_nothing_has_no_motion() -> None:
    frames = frames_of(clip(codec="libvpx-vp9", form="webm"))
    assert [frame.motion for frame in frames] == [None] * len(frames)
    assert accumulated_motion(None, frames[1].motion, first=True) is None


def constant(x: float, y: float, *, width: int = 64) -> BlockMotion:
    """The same motion everywhere."""
    field = np.stack([np.full((3, width // 16), x, np.float32), np.full((3, width // 16), y, np.float32)])
    return BlockMotion(field, 0.5, 48, width)


def test_motion_adds_up_and_what_is_known_least_counts() -> None:
    both = constant(3, -1).after(constant(-8, 2))
    assert np.allclose(both.vectors_2hw, constant(-5, 1).vectors_2hw)
    ramp = constant(0, 0)
    ramp.vectors_2hw[0] = np.arange(4) * 16
    led = constant(16, 0).after(ramp)  # one cell to the right the ramp is one step on
    assert led.vectors_2hw[0, 0].tolist() == [32, 48, 64, 64]
    with pytest.raises(ValueError, match="cannot follow"):
        constant(0, 0).after(constant(0, 0, width=32))


def test_frames_are_let_go_without_the_garbage_collector() -> None:
    video = panned(30)
    gc.collect()
    gc.disable()
    try:
        with open_video(io.BytesIO(video), motion=True) as reader:
            assert sum(1 for _ in reader) == 30
            alive = sum(type(thing) is VideoFrame for thing in gc.get_objects())
    finally:
        gc.enable()
    assert alive < 5


@pytest.mark.parametrize("name", ["01_dog.mp4", "bedroom.mp4"])
def test_on_real_clips_vectors_explain_more_than_standing_still(
    data_dir: Path, manifest: Manifest, name: str
) -> None:
    frames: list[Frame] = []
    with open_video(data_dir / "videos" / name, motion=True) as reader:
        for frame in reader:
            frames.append(frame)
            if len(frames) == 17:
                break
    told = still = 0.0
    for first in range(0, 16, 4):
        for at in range(1, 4):
            flow = codec_flow(manifest, frames[first : first + 4], at)
            told += warp_error(manifest, frames[first + at], frames[first], flow)
            still += warp_error(manifest, frames[first + at], frames[first], np.zeros_like(flow))
    assert told < 0.85 * still


def warp_error(manifest: Manifest, frame: Frame, reference: Frame, flow: npt.NDArray[np.float32]) -> float:
    """Photometric error of a frame against another one along a flow."""
    current, other = (View(each.image, manifest) for each in (frame, reference))
    everywhere = np.ones(flow.shape[1:], np.bool_)
    return service(current.quarter_hw3, other.quarter_hw3, flow, everywhere).warp_error
