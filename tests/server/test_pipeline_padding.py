"""Pictures of any shape are padded to a few shapes, and nothing of the padding shows in results."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partstream_core import rle
from partstream_core.manifest import InputSpec
from partstream_core.results import FrameResult
from partstream_core.schedule import FlowSource, ScheduleConfig, ScheduleMode
from partstream_server.benchmarks.drawn_clip import scene
from partstream_server.engine import Engine
from partstream_server.media import BlockMotion, Frame
from partstream_server.media.frame import Image
from partstream_server.pipeline.host_flow import host_flow
from partstream_server.pipeline.inference import View, network_size, padded_size
from partstream_server.pipeline.session import ParsedFrame, Session, SessionConfig, drive

SPEC = InputSpec(longer_side=512, multiple=32)


@given(width=st.integers(1, 8000), height=st.integers(1, 8000))
def test_a_padded_size_holds_the_frame_and_keeps_its_orientation(width: int, height: int) -> None:
    content = network_size(width, height, SPEC)
    padded = padded_size(*content, SPEC)
    assert padded[0] >= content[0]
    assert padded[1] >= content[1]
    assert max(padded) == max(content) == 512
    assert padded[0] % 32 == padded[1] % 32 == 0


def test_all_pictures_together_need_eleven_shapes() -> None:
    sides = range(20, 2000, 13)
    shapes = {padded_size(*network_size(width, 1000, SPEC), SPEC) for width in sides}
    shapes |= {padded_size(*network_size(1000, height, SPEC), SPEC) for height in sides}
    assert len(shapes) == 11


@pytest.mark.parametrize("ratio", [(16, 9), (3, 2), (4, 3), (1, 1), (3, 4), (2, 3), (9, 16)])
def test_usual_shapes_are_not_padded(ratio: tuple[int, int]) -> None:
    content = network_size(ratio[0] * 100, ratio[1] * 100, SPEC)
    assert padded_size(*content, SPEC) == content


def results(engine: Engine, images: list[Image], schedule: ScheduleConfig) -> list[FrameResult]:
    session = Session(engine.bundle.manifest, SessionConfig(schedule=schedule))
    parsed: list[ParsedFrame] = []
    for index, image in enumerate(images):
        parsed += drive(session.push(Frame(index, index / 25, image), index), engine)
    parsed += drive(session.finish(), engine)
    return [one.result for one in parsed]


@pytest.mark.parametrize(
    "schedule",
    [
        ScheduleConfig(),
        ScheduleConfig(mode=ScheduleMode.CAUSAL, interval=3, flow=FlowSource.DIS),
        ScheduleConfig(mode=ScheduleMode.ADAPTIVE, interval=6, flow=FlowSource.NETWORK),
        ScheduleConfig(mode=ScheduleMode.PAPER, interval=3, flow=FlowSource.DIS),
    ],
    ids=["every frame", "causal", "adaptive", "paper"],
)
@pytest.mark.parametrize("upright", [False, True])
def test_a_padded_frame_has_the_people_of_the_same_frame_on_a_grey_canvas(
    engine: Engine, schedule: ScheduleConfig, upright: bool
) -> None:
    """The network's input is the same for both, so results agree to the rounding of the grey."""
    wide = [scene(1024, 512, 4 * index) for index in range(4)]
    grey = np.full((64, 1024, 3), 128, np.uint8)
    canvases = [np.concatenate([image, grey]) for image in wide]
    if upright:
        wide, canvases = ([np.rot90(image, 3).copy() for image in many] for many in (wide, canvases))
        canvases = [np.ascontiguousarray(canvas) for canvas in canvases]
        canvases = [np.concatenate([canvas[:, 64:], canvas[:, :64]], axis=1) for canvas in canvases]
    height, width = wide[0].shape[:2]
    people = 0
    for padded, whole in zip(
        results(engine, wide, schedule), results(engine, canvases, schedule), strict=True
    ):
        assert padded.key_frame == whole.key_frame
        assert [one.identity for one in padded.people] == [one.identity for one in whole.people]
        for one, other in zip(padded.people, whole.people, strict=True):
            people += 1
            assert np.abs(np.subtract(one.box, np.minimum(other.box, [width, height] * 2))).max() < 4
            assert isinstance(one.mask, rle.Rle)
            assert isinstance(other.mask, rle.Rle)
            mine, theirs = rle.decode(one.mask), rle.decode(other.mask)[:height, :width]
            assert mine.shape == (height, width)
            assert (mine & theirs).sum() > 0.95 * (mine | theirs).sum()
    assert upright or people >= 8


def test_maps_are_cut_and_extended_to_the_padded_frame(engine: Engine) -> None:
    view = View(scene(1024, 512, 0), engine.bundle.manifest)
    assert view.tensor_BCHW.shape == (1, 3, 288, 512)
    assert (view.content_width, view.content_height) == (512, 256)
    padded_map = np.arange(72 * 128).reshape(72, 128)
    cut = view.content_of(padded_map)
    assert np.array_equal(cut, padded_map[:64])
    extended = view.over_padding(cut)
    assert np.array_equal(extended[:64], cut)
    assert not extended[64:].any()


def test_the_codecs_motion_lies_over_the_frame_and_not_over_the_padding(engine: Engine) -> None:
    """Everything moved 16 pixels to the right and 8 down: 1 and 0.5 cells of a feature of stride 8."""
    view = View(scene(1024, 512, 0), engine.bundle.manifest)
    vectors_2hw = np.empty((2, 32, 64), np.float32)
    vectors_2hw[0], vectors_2hw[1] = 16, 8
    motion = BlockMotion(vectors_2hw, known=1.0, width=1024, height=512)
    flow_2hw = host_flow(FlowSource.CODEC, view, view, stride=8, since_key=motion)
    assert flow_2hw.shape == (2, 288 // 8, 512 // 8)
    assert np.allclose(flow_2hw[0, :32], 1)
    assert np.allclose(flow_2hw[1, :32], 0.5)
    assert not flow_2hw[:, 32:].any()
