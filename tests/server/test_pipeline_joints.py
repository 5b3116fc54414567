"""Joints on the way of a frame: decoded at key frames, moved along the flow at others."""

import gc
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from partstream_core.errors import BundleError
from partstream_core.joints import JOINT_OUTPUTS, JOINTS, NUM_JOINTS, JointMaps, decode_joints
from partstream_core.manifest import MANIFEST_NAME
from partstream_core.results import FrameResult, PersonResult
from partstream_core.schedule import FlowSource, ScheduleConfig, ScheduleMode
from partstream_server.benchmarks.drawn_clip import scene
from partstream_server.engine import Engine, create_engine
from partstream_server.engine.base import load_bundle
from partstream_server.media import Frame
from partstream_server.pipeline.assembly import assemble
from partstream_server.pipeline.inference import InferConfig, View, infer, network_size
from partstream_server.pipeline.joints import carried_joints, joint_maps
from partstream_server.pipeline.session import MIN_PARTS, Session, SessionConfig, SessionSnapshot, drive
from partstream_server.pipeline.values import JointSource
from partstream_server.streams.shared_runs import drive_together
from tests.server.joint_bundle import write_joint_bundle

WIDTH, HEIGHT = 512, 288
"""The size of the network's input, so that nothing is resized."""
PAN_PX = 8


@pytest.fixture(scope="module")
def bundle(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_joint_bundle(engine.bundle.directory, tmp_path_factory.mktemp("joints") / "bundle")


@pytest.fixture(scope="module")
def joint_engine(bundle: Path) -> Iterator[Engine]:
    opened = create_engine(bundle, precision="f32", num_threads=1)
    yield opened
    opened.close()


def still(*, shift: int = 0) -> NDArray[np.uint8]:
    return scene(WIDTH, HEIGHT, shift)


def pan(num_frames: int, *, step_px: int = PAN_PX) -> list[Frame]:
    """A camera that turns to the right before people who stand still."""
    wide = scene(WIDTH + step_px * num_frames, HEIGHT, 40)
    images = [
        np.ascontiguousarray(wide[:, step_px * number : step_px * number + WIDTH])
        for number in range(num_frames)
    ]
    return [Frame(number, number / 25, image, 1 / 25) for number, image in enumerate(images)]


def parse(
    engine: Engine,
    frames: Sequence[Frame],
    schedule: ScheduleConfig,
    *,
    joints: bool = True,
    resume: SessionSnapshot | None = None,
) -> list[FrameResult]:
    config = SessionConfig(schedule=schedule, joints=joints)
    session = Session(engine.bundle.manifest, config, resume=resume)
    results = [
        parsed.result for frame in frames for parsed in drive(session.push(frame, frame.index * 40.0), engine)
    ]
    return results + [parsed.result for parsed in drive(session.finish(), engine)]


def causal(interval: int = 3, flow: FlowSource = FlowSource.DIS) -> ScheduleConfig:
    return ScheduleConfig(mode=ScheduleMode.CAUSAL, interval=interval, flow=flow)


def places(person: PersonResult) -> NDArray[np.float64]:
    """Where the joints are that were found, NaN for those that were not."""
    return np.array([(joint.x, joint.y) if joint.score > 0 else (np.nan, np.nan) for joint in person.joints])


def motions(results: Sequence[FrameResult], one: int, other: int) -> NDArray[np.float64]:
    """How the joints of the people in both of two frames moved, [N, 2]."""
    before, after = ({each.identity: places(each) for each in results[at].people} for at in (one, other))
    moved = [after[identity] - before[identity] for identity in before.keys() & after.keys()]
    assert len(moved) >= 2, "people are tracked through the pan"
    all_moved = np.concatenate(moved)
    return all_moved[np.isfinite(all_moved).all(axis=1)]


@pytest.mark.parametrize(("width", "height"), [(WIDTH, HEIGHT), (300, 200), (400, 260), (210, 330)])
def test_joints_of_a_key_frame_are_those_of_its_maps_in_pixels_of_the_source(
    joint_engine: Engine, width: int, height: int
) -> None:
    image, manifest = scene(width, height, 0), joint_engine.bundle.manifest
    frame = Frame(0, 0.0, image, 1 / 25)
    (result,) = parse(joint_engine, [frame], ScheduleConfig())
    thresholds = manifest.thresholds
    kept = InferConfig(thresholds.score, thresholds.nms, max_people=manifest.top_k)
    steps = infer(image, manifest, kept)
    request = next(steps)
    whole = joint_maps(joint_engine.run(request.graph, request.inputs))
    maps = JointSource(whole).within(View(image, manifest).content_of).maps
    assembly = assemble(
        drive(infer(image, manifest, kept), joint_engine),
        width=width,
        height=height,
        part_labels=range(20),
        mask_threshold=thresholds.mask,
        min_parts=MIN_PARTS,
    )
    expected = decode_joints(maps, np.stack([person.own_hw for person in assembly.people]))
    content_width, content_height = network_size(width, height, manifest.input)
    assert maps.centers_hw.shape == (content_height // 4, content_width // 4)
    expected *= np.array([4 * width / content_width, 4 * height / content_height, 1], np.float32)
    assert len(result.people) == len(expected) >= 1
    for person, joints_J3 in zip(result.people, expected, strict=True):
        assert [joint.joint for joint in person.joints] == list(JOINTS)
        found = [(joint.x, joint.y, joint.score) for joint in person.joints]
        np.testing.assert_allclose(found, joints_J3, atol=0.006)


@pytest.mark.parametrize("flow", [FlowSource.DIS, FlowSource.NETWORK, FlowSource.CODEC])
def test_joints_follow_the_picture_between_key_frames(joint_engine: Engine, flow: FlowSource) -> None:
    results = parse(joint_engine, pan(6), causal(3, flow))
    assert [result.key_frame for result in results] == [True, False, False, True, False, False]
    for key, other in ((0, 1), (0, 2), (3, 5)):
        moved = motions(results, key, other)
        assert len(moved) > NUM_JOINTS
        assert np.abs(np.median(moved, axis=0) - [-PAN_PX * (other - key), 0]).max() < 1.5


def test_joints_move_back_from_a_key_frame_that_lies_ahead(joint_engine: Engine) -> None:
    results = parse(joint_engine, pan(6), ScheduleConfig(mode=ScheduleMode.PAPER, interval=3))
    assert [result.key_frame for result in results] == [False, True, False, False, True, False]
    for key, other in ((1, 0), (1, 2), (4, 3), (4, 5)):
        moved = motions(results, key, other)
        assert np.abs(np.median(moved, axis=0) - [-PAN_PX * (other - key), 0]).max() < 1.5


def test_without_flow_joints_stay_where_they_were(joint_engine: Engine) -> None:
    """So the tests above can fail."""
    results = parse(joint_engine, pan(2), causal(3, FlowSource.NONE))
    assert np.abs(np.median(motions(results, 0, 1), axis=0)).max() == 0


@pytest.mark.parametrize("mode", [ScheduleMode.CAUSAL, ScheduleMode.PAPER, ScheduleMode.ADAPTIVE])
def test_joints_after_a_cut_are_those_of_the_new_scene(joint_engine: Engine, mode: ScheduleMode) -> None:
    before = np.ascontiguousarray(255 - still(shift=60)[::-1])
    images = [*[before] * 4, *[still()] * 4]
    frames = [Frame(n, n / 25, image, 1 / 25) for n, image in enumerate(images)]
    results = parse(joint_engine, frames, ScheduleConfig(mode=mode, interval=3))
    (alone,) = parse(joint_engine, frames[4:5], ScheduleConfig())
    assert results[4].key_frame
    assert results[4].people
    assert {each.joints for each in results[4].people} <= {each.joints for each in alone.people}


def test_a_resumed_stream_has_joints_from_its_first_frame(joint_engine: Engine) -> None:
    frames = pan(4)
    session = Session(joint_engine.bundle.manifest, SessionConfig(schedule=causal()))
    for frame in frames[:2]:
        drive(session.push(frame, frame.index * 40.0), joint_engine)
    snapshot = session.snapshot(max_bytes=30_000)
    results = parse(joint_engine, frames[2:], causal(), resume=snapshot)
    assert [result.key_frame for result in results] == [True, False]
    assert all(len(person.joints) == NUM_JOINTS for result in results for person in result.people)
    moved = motions(results, 0, 1)
    assert np.abs(np.median(moved, axis=0) - [-PAN_PX, 0]).max() < 1.5


@pytest.mark.parametrize("mode", [ScheduleMode.CAUSAL, ScheduleMode.PAPER])
def test_joints_that_are_not_wanted_change_nothing_else(joint_engine: Engine, mode: ScheduleMode) -> None:
    schedule = ScheduleConfig(mode=mode, interval=3)
    with_joints, without = (parse(joint_engine, pan(4), schedule, joints=wanted) for wanted in (True, False))
    assert any(person.joints for result in with_joints for person in result.people)
    bare = [
        replace(result, people=tuple(replace(person, joints=()) for person in result.people))
        for result in with_joints
    ]
    assert without == bare


def test_a_bundle_without_joints_has_people_without_them(engine: Engine) -> None:
    results = parse(engine, pan(2), causal())
    assert results[0].people
    assert all(person.joints == () for result in results for person in result.people)


def held_maps() -> list[JointMaps]:
    # `isinstance` asks objects of other libraries for their class, and some warn
    return [each for each in gc.get_objects() if type(each) is JointMaps]


@pytest.mark.parametrize("mode", [ScheduleMode.CAUSAL, ScheduleMode.PAPER, ScheduleMode.EVERY_FRAME])
def test_a_stream_holds_the_maps_of_one_key_frame_at_most(joint_engine: Engine, mode: ScheduleMode) -> None:
    interval = 1 if mode is ScheduleMode.EVERY_FRAME else 2
    schedule = ScheduleConfig(mode=mode, interval=interval, encoding_range=2)
    session = Session(joint_engine.bundle.manifest, SessionConfig(schedule=schedule))
    gc.collect()
    before = len(held_maps())
    for frame in pan(8):
        drive(session.push(frame, frame.index * 40.0), joint_engine)
        assert len(held_maps()) - before <= 1


def test_maps_of_one_stream_hold_no_memory_of_the_streams_that_shared_its_run(joint_engine: Engine) -> None:
    sizes: list[tuple[str, int]] = []
    frames = [pan(1)[0], Frame(0, 0.0, still(), 1 / 25)]
    sessions = [Session(joint_engine.bundle.manifest, SessionConfig(schedule=causal())) for _ in frames]
    gc.collect()
    before = {id(each) for each in held_maps()}
    steps = [session.push(frame, 0.0) for session, frame in zip(sessions, frames, strict=True)]
    driven = drive_together(steps, joint_engine, lambda graph, size: sizes.append((graph, size)))
    assert ("backbone", 2) in sizes
    held = [each for each in held_maps() if id(each) not in before]
    assert len(held) == 2
    for maps in held:
        for each in (maps.centers_hw, maps.heatmaps_Jhw, maps.regression_2Jhw, maps.offsets_2Jhw):
            owner = each if each.base is None else each.base
            assert isinstance(owner, np.ndarray)
            assert owner.nbytes == each.nbytes
    alone = [parse(joint_engine, [frame], causal()) for frame in frames]
    for one, (expected,) in zip(driven, alone, strict=True):
        assert one.result is not None
        (parsed,) = one.result
        for person, same in zip(parsed.result.people, expected.people, strict=True):
            found = [(joint.x, joint.y, joint.score) for joint in person.joints]
            wanted = [(joint.x, joint.y, joint.score) for joint in same.joints]
            assert np.median(np.abs(np.array(found) - wanted)) < 0.05


def two_people() -> tuple[JointMaps, NDArray[np.bool_]]:
    """Maps at random, and two people beside each other."""
    rng = np.random.default_rng(3)
    rows, columns = 40, 64
    maps = JointMaps(
        rng.random((rows, columns), np.float32),
        rng.random((NUM_JOINTS, rows, columns), np.float32) ** 6,
        rng.uniform(-8, 8, (2 * NUM_JOINTS, rows, columns)).astype(np.float32),
        rng.random((2 * NUM_JOINTS, rows, columns), np.float32),
    )
    own = np.zeros((2, rows, columns), bool)
    own[0, 12:28, 12:22] = own[1, 12:28, 40:52] = True
    return maps, own


@pytest.mark.parametrize("shift", [(0, 0), (3, -2), (-4, 5)])
def test_people_who_move_as_a_whole_take_all_their_joints_along(shift: tuple[int, int]) -> None:
    maps, own = two_people()
    right, down = shift
    moved = np.roll(own, (down, right), axis=(1, 2))
    flow = np.broadcast_to(-np.array(shift, np.float32)[:, None, None], (2, 40, 64))
    expected = decode_joints(maps, own) + np.array([right, down, 0])
    np.testing.assert_allclose(carried_joints(maps, flow, moved), expected, atol=1e-4)


def test_people_who_pass_each_other_take_their_own_joints_along() -> None:
    """Flow at the stride of features, which is twice that of the joint maps."""
    maps, own = two_people()
    moved = np.stack([np.roll(own[0], 4, axis=1), np.roll(own[1], -4, axis=1)])
    flow = np.zeros((2, 20, 32), np.float32)
    flow[0, :, :16], flow[0, :, 16:] = -2, 2
    first, second = carried_joints(maps, flow, moved)
    expected = decode_joints(maps, own)
    np.testing.assert_allclose(first, expected[0] + np.array([4, 0, 0]), atol=0.05)
    np.testing.assert_allclose(second, expected[1] + np.array([-4, 0, 0]), atol=0.05)


def test_somebody_who_was_outside_of_the_key_frame_has_joints_of_no_account() -> None:
    maps, own = two_people()
    flow = np.full((2, 40, 64), 500, np.float32)
    found = carried_joints(maps, flow, own)
    assert found.shape == (2, NUM_JOINTS, 3)
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("name", "shape", "field"),
    [
        ("joint_offsets", None, "graphs.backbone.outputs"),
        ("joint_centers", None, "graphs.backbone.outputs"),
        ("joint_heatmaps", ["batch", 18, "height/4", "width/4"], "shape"),
        ("joint_regression", ["batch", 34, "height/8", "width/4"], "shape"),
        ("joint_centers", ["batch", 1, "height/4"], "shape"),
    ],
)
def test_a_backbone_without_proper_joint_maps_is_refused(
    bundle: Path, tmp_path: Path, name: str, shape: list[str | int] | None, field: str
) -> None:
    for file in bundle.iterdir():
        (tmp_path / file.name).symlink_to(file)
    manifest = json.loads((bundle / MANIFEST_NAME).read_text("utf-8"))
    outputs = manifest["graphs"]["backbone"]["outputs"]
    at = [output["name"] for output in outputs].index(name)
    if shape is None:
        del outputs[at]
    else:
        outputs[at]["shape"] = shape
    (tmp_path / MANIFEST_NAME).unlink()
    (tmp_path / MANIFEST_NAME).write_text(json.dumps(manifest), "utf-8")
    with pytest.raises(BundleError) as caught:
        load_bundle(tmp_path)
    assert field in caught.value.field


def test_the_outputs_of_the_contract_are_those_of_the_test_bundle(bundle: Path) -> None:
    outputs = load_bundle(bundle).manifest.graphs["backbone"].outputs
    assert {name: shape[1] for name, shape in ((each.name, each.shape) for each in outputs[1:])} == (
        JOINT_OUTPUTS
    )
