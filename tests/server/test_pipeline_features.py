"""Key frames and frames that borrow from them, with the default bundle's graphs."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partstream_core.errors import OptionError
from partstream_core.manifest import Manifest
from partstream_core.results import FrameResult, frame_to_json
from partstream_core.schedule import FlowSource, ScheduleConfig, ScheduleMode, Triggers
from partstream_server.benchmarks.drawn_clip import scene
from partstream_server.engine import Engine, create_engine
from partstream_server.media import Frame
from partstream_server.pipeline.engine_request import EngineOutputs, EngineRequest, Steps
from partstream_server.pipeline.host_flow import host_flow, warp_on_host
from partstream_server.pipeline.identity_events import TrackEvents
from partstream_server.pipeline.inference import View
from partstream_server.pipeline.initial_flow import dis_flow, dis_guess
from partstream_server.pipeline.propagation import Propagation
from partstream_server.pipeline.schedule_choice import INTERVAL, choose_schedule
from partstream_server.pipeline.session import ParsedFrame, Session, SessionConfig, drive

WIDTH, HEIGHT = 320, 192


def walk(num_frames: int) -> list[Frame]:
    return [Frame(n, n / 25, scene(WIDTH, HEIGHT, 2 * n), 1 / 25) for n in range(num_frames)]


@pytest.fixture(scope="module")
def exact(engine: Engine) -> Iterator[Engine]:
    """The same bundle in f32."""
    opened = create_engine(engine.bundle.directory, precision="f32", num_threads=1)
    yield opened
    opened.close()


class Driver:
    """Carries requests out and counts the runs of each graph."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.runs: Counter[str] = Counter()

    def drive(self, steps: Steps[Sequence[ParsedFrame]]) -> list[FrameResult]:
        def count(request: EngineRequest, _: EngineOutputs) -> None:
            self.runs[request.graph] += 1

        return [parsed.result for parsed in drive(steps, self._engine, on_run=count)]

    def parse(
        self, schedule: ScheduleConfig, frames: Sequence[Frame], *, every: int = 1
    ) -> list[FrameResult]:
        session = Session(self._engine.bundle.manifest, SessionConfig(schedule=schedule, every=every))
        results = [
            result for frame in frames for result in self.drive(session.push(frame, frame.index * 40.0))
        ]
        return results + self.drive(session.finish())


def config(mode: str, interval: int) -> ScheduleConfig:
    return ScheduleConfig(mode=ScheduleMode(mode), interval=interval)


def pattern(results: Sequence[FrameResult]) -> str:
    return "".join("K" if result.key_frame else "-" for result in results)


@pytest.mark.parametrize(
    ("mode", "interval", "keys"),
    [
        ("causal", 3, "K--K--K-"),
        ("causal", 1, "KKKKKKKK"),
        ("paper", 3, "-K--K--K"),
        ("paper", 8, "----K---"),
    ],
)
def test_only_key_frames_run_the_backbone(engine: Engine, mode: str, interval: int, keys: str) -> None:
    driver = Driver(engine)
    results = driver.parse(config(mode, interval), walk(8))
    assert [result.index for result in results] == list(range(8))
    assert pattern(results) == keys
    num_keys = keys.count("K")
    assert driver.runs["backbone"] == num_keys
    assert driver.runs["temporal"] == num_keys - 1, "the first key frame has nothing to be encoded with"
    assert driver.runs["propagate"] == 8 - 1, "each frame but the first key frame borrows or carries on"
    assert driver.runs["heads"] == 8


def test_every_frame_by_itself_runs_nothing_over_time(engine: Engine) -> None:
    driver = Driver(engine)
    driver.parse(ScheduleConfig(), walk(3))
    assert not {"propagate", "temporal"} & driver.runs.keys()


def test_a_state_neither_grows_nor_drifts_over_two_thousand_key_frames(exact: Engine) -> None:
    there = [View(frame.image, exact.bundle.manifest) for frame in walk(6)]
    views = [*there, *there[-2:0:-1]]  # there and back, so it can go on for ever
    propagation = Propagation(exact.bundle.manifest)
    middle = np.s_[..., 8:32, 16:40]
    raw = [drive(propagation.backbone(view), exact).feature[middle] for view in views]
    flows = [
        host_flow(FlowSource.DIS, view, views[number - 1], stride=8)[middle]
        for number, view in enumerate(views)
    ]
    greatest = max(float(np.abs(feature).max()) for feature in raw)
    state, rounds = raw[0], []
    for step in range(1, 2001):
        now = step % len(views)
        carried = warp_on_host(state, flows[now])
        state = drive(propagation.encode_step(raw[now], carried), exact)
        assert np.abs(state).max() <= greatest + 1, step
        if now == 0:
            rounds.append(state)
    spread = float(np.std(raw[0]))
    assert float(np.abs(rounds[-1] - rounds[4]).mean()) < 1e-3 * spread, "the state forgets its beginning"
    assert float(np.abs(rounds[-1] - raw[0]).mean()) < spread, "the state is still of the frame that it shows"


def test_identities_last_across_key_frames_and_borrowed_ones(engine: Engine) -> None:
    frames = [Frame(n, n / 25, scene(640, 384, 2 * n), 1 / 25) for n in range(7)]
    for schedule in (config("causal", 3), config("paper", 3)):
        results = Driver(engine).parse(schedule, frames)
        seen = [{person.identity for person in result.people} for result in results]
        assert len(set.intersection(*seen)) >= 3
        assert len(set.union(*seen)) <= 6


def test_a_borrowed_frame_is_parsed_nearly_as_by_itself(engine: Engine) -> None:
    frames = [Frame(n, n / 25, scene(640, 360, 2 * n), 1 / 25) for n in range(3)]
    alone, borrowed = (
        Driver(engine).parse(schedule, frames)[2] for schedule in (ScheduleConfig(), config("causal", 3))
    )
    assert not borrowed.key_frame
    assert len(alone.people) == len(borrowed.people)
    boxes = [np.array(sorted(person.box for person in result.people)) for result in (alone, borrowed)]
    assert np.abs(boxes[0] - boxes[1]).max() < 40


def test_frames_that_are_passed_over_count_in_no_segment(engine: Engine) -> None:
    results = Driver(engine).parse(config("paper", 3), walk(12), every=2)
    assert [result.index for result in results] == [0, 2, 4, 6, 8, 10]
    assert pattern(results) == "-K--K-"


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mode=st.sampled_from(["causal", "paper"]), interval=st.integers(1, 4), cuts=st.sets(st.integers(1, 8)))
def test_results_do_not_depend_on_how_frames_are_handed_over(
    exact: Engine, mode: str, interval: int, cuts: set[int]
) -> None:
    """All at once, one by one, or in chunks with other streams' runs between."""
    frames, schedule = walk(9), config(mode, interval)
    whole = Driver(exact).parse(schedule, frames)
    session = Session(exact.bundle.manifest, SessionConfig(schedule=schedule))
    other = Session(exact.bundle.manifest, SessionConfig(schedule=config("causal", 2)))
    driver, pieces = Driver(exact), []
    for frame in frames:
        pieces += driver.drive(session.push(frame, frame.index * 40.0))
        if frame.index in cuts:
            driver.drive(other.push(Frame(frame.index, 0.0, frame.image[:, ::-1].copy(), 0.04), 1.0))
    pieces += driver.drive(session.finish())
    assert [frame_to_json(result) for result in pieces] == [frame_to_json(result) for result in whole]


def test_a_key_frame_that_fails_is_made_up_for(engine: Engine) -> None:
    session = Session(engine.bundle.manifest, SessionConfig(schedule=config("causal", 5)))
    frames, driver = walk(3), Driver(engine)
    steps = session.push(frames[0], 0.0)
    next(steps)
    with pytest.raises(RuntimeError, match="lost"):
        steps.throw(RuntimeError("lost"))
    (second,) = driver.drive(session.push(frames[1], 40.0))
    (third,) = driver.drive(session.push(frames[2], 80.0))
    assert (second.key_frame, third.key_frame) == (True, False)


def without_time(manifest: Manifest) -> Manifest:
    return replace(manifest, capabilities=replace(manifest.capabilities, temporal="none"))


def test_a_schedule_is_chosen_by_caller_then_bundle_then_use(engine: Engine) -> None:
    manifest = replace(engine.bundle.manifest, schedule=config("causal", 4))
    plain = replace(manifest, schedule=ScheduleConfig())

    def chosen(of: Manifest, mode: str | None, interval: int | None, *, live: bool) -> tuple[str, int]:
        wanted = None if mode is None else ScheduleMode(mode)
        found = choose_schedule(of, mode=wanted, interval=interval, live=live)
        return str(found.mode), found.interval

    assert chosen(manifest, None, None, live=True) == ("causal", 4)
    assert chosen(manifest, None, None, live=False) == ("paper", 4)
    assert chosen(manifest, "every-frame", None, live=True) == ("every-frame", 1)
    assert chosen(manifest, None, 7, live=True) == ("causal", 7)
    assert chosen(plain, None, None, live=False) == ("every-frame", 1)
    assert chosen(plain, "causal", None, live=True) == ("causal", INTERVAL)


def test_schedules_that_cannot_be_followed_are_refused_with_the_reason(engine: Engine) -> None:
    manifest = engine.bundle.manifest
    with pytest.raises(OptionError, match="waits for later frames"):
        choose_schedule(manifest, mode=ScheduleMode.PAPER, interval=None, live=True)
    with pytest.raises(OptionError, match="interval 3 needs a schedule"):
        choose_schedule(manifest, mode=ScheduleMode.EVERY_FRAME, interval=3, live=True)
    with pytest.raises(OptionError, match="takes every frame by itself"):
        choose_schedule(without_time(manifest), mode=ScheduleMode.CAUSAL, interval=3, live=True)
    with pytest.raises(OptionError, match="takes every frame by itself"):
        Session(without_time(manifest), SessionConfig(schedule=config("causal", 3)))


@pytest.mark.parametrize(("mode", "keys"), [("causal", "K--KK--K"), ("paper", "-K-KK-")])
def test_nothing_is_borrowed_over_a_cut(exact: Engine, mode: str, keys: str) -> None:
    still = [scene(WIDTH, HEIGHT, 0)] * 4
    cut = [np.ascontiguousarray(255 - scene(WIDTH, HEIGHT, 60)[::-1])] * 4
    frames = [Frame(n, n / 25, image, 1 / 25) for n, image in enumerate([*still, *cut])]
    driver = Driver(exact)
    results = driver.parse(config(mode, 3), frames[: len(keys)])
    assert pattern(results) == keys
    assert driver.runs["backbone"] == keys.count("K")
    (first,) = Driver(exact).parse(config("every-frame", 1), frames[4:5])
    assert [person.box for person in results[4].people] == [person.box for person in first.people]


def test_an_adaptive_stream_takes_key_frames_at_cuts_and_at_age(engine: Engine) -> None:
    still = [scene(WIDTH, HEIGHT, 0)] * 8
    cut = [np.ascontiguousarray(255 - scene(WIDTH, HEIGHT, 60)[::-1])] * 3
    frames = [Frame(n, n / 25, image, 1 / 25) for n, image in enumerate([*still, *cut])]
    events = Triggers(tracker=False)
    driver = Driver(engine)
    results = driver.parse(ScheduleConfig(mode=ScheduleMode.ADAPTIVE, interval=6, triggers=events), frames)
    assert pattern(results) == "K-----K-K--"
    assert driver.runs["backbone"] == 3
    assert driver.runs["temporal"] == 1, "nothing is carried over the cut"


def test_births_losses_and_new_conflicts_are_told_once() -> None:
    left, near, far = (0.0, 0.0, 10.0, 10.0), (1.0, 0.0, 11.0, 10.0), (50.0, 0.0, 60.0, 10.0)
    steps: list[dict[int, tuple[float, float, float, float]]] = [
        {1: left, 2: far}, {1: left, 2: near}, {1: left, 2: near}, {1: left}, {1: left, 2: far, 3: near},
    ]  # fmt: skip
    events, told = TrackEvents(), []
    for boxes in steps:
        events = events.then(boxes)
        told.append((events.births, events.losses, events.conflicts))
    assert told == [(2, 0, 0), (0, 0, 1), (0, 0, 0), (0, 1, 0), (1, 0, 1)]


def test_the_guess_of_a_shift_is_in_pixels_of_the_feature_map() -> None:
    picture = scene(512, 288, 0).mean(axis=2).astype(np.uint8)
    moved = np.roll(picture, (-4, 8), axis=(0, 1))
    for flow, shape in ((dis_flow, (2, 72, 128)), (dis_guess, (2, 144, 256))):
        found = flow(moved, picture, stride=8)
        assert found.shape == shape
        assert np.median(found[0]) == pytest.approx(-2.0, abs=0.2)
        assert np.median(found[1]) == pytest.approx(1.0, abs=0.2)
