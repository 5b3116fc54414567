"""Sessions: what goes in and out, with a real engine, and nothing shared between streams."""

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from partstream_core import rle
from partstream_core.assembly_config import AssemblyConfig, AssemblyKind, CrfSettings
from partstream_core.errors import EngineError
from partstream_core.labels import PARTS
from partstream_core.results import FrameResult, frame_from_json, frame_to_json
from partstream_core.schedule import FlowSource, ScheduleConfig, ScheduleMode
from partstream_core.tracker import TrackerConfig
from partstream_server.benchmarks.drawn_clip import scene
from partstream_server.engine import Engine, Tensors
from partstream_server.engine.openvino import OpenVinoEngine
from partstream_server.media import Frame
from partstream_server.pipeline.encoding import MaskForm
from partstream_server.pipeline.session import (
    EngineRequest,
    ParsedFrame,
    Session,
    SessionConfig,
    drive,
    warm_up,
)
from partstream_server.pipeline.stage_times import StageClock

WIDTH, HEIGHT = 480, 270


def walk(num_frames: int, *, start: int = 0, step: int = 1) -> list[Frame]:
    images = [scene(WIDTH, HEIGHT, start + step * index) for index in range(num_frames)]
    return [Frame(index, index / 25, image, 1 / 25) for index, image in enumerate(images)]


def parse(session: Session, frames: Sequence[Frame], engine: Engine) -> list[FrameResult]:
    results: list[FrameResult] = []
    for frame in frames:
        results += [parsed.result for parsed in drive(session.push(frame, frame.time_s * 1000), engine)]
    return results + [parsed.result for parsed in drive(session.finish(), engine)]


def new_session(engine: Engine, config: SessionConfig | None = None) -> Session:
    return Session(engine.bundle.manifest, config or SessionConfig())


def test_people_that_walk_keep_their_identities_parts_and_pixels(engine: Engine) -> None:
    results = parse(new_session(engine), walk(8), engine)
    assert [result.index for result in results] == list(range(8))
    assert [result.time_s for result in results] == [index / 25 for index in range(8)]
    assert "".join("K" if result.key_frame else "-" for result in results) == "K--K--K-"
    everywhere = set.intersection(*({person.identity for person in result.people} for result in results))
    assert len(everywhere) >= 2
    for result in results:
        assert frame_from_json(frame_to_json(result)) == result
        taken = np.zeros((HEIGHT, WIDTH), int)
        for person in result.people:
            assert isinstance(person.mask, rle.Rle)
            mask_HW = rle.decode(person.mask)
            taken += mask_HW
            on_parts = np.zeros_like(taken)
            for part in person.parts:
                assert part.part in PARTS[1:]
                assert isinstance(part.mask, rle.Rle)
                on_parts += rle.decode(part.mask)
                assert part.area == rle.area(part.mask)
            assert on_parts.max() == 1
            assert mask_HW[on_parts == 1].all()
        assert taken.max() <= 1


def test_a_session_asks_for_graphs_and_never_runs_one(engine: Engine) -> None:
    """Sans I/O: the requests of a frame can be seen, and answered by anybody."""
    steps = new_session(engine).push(walk(1)[0], 0.0)
    graphs = []
    request = next(steps)
    with pytest.raises(StopIteration) as end:
        while True:
            assert isinstance(request, EngineRequest)
            graphs.append(request.graph)
            spec = engine.bundle.manifest.graphs[request.graph]
            assert set(request.inputs) == {tensor.name for tensor in spec.inputs}
            request = steps.send(engine.run(request.graph, request.inputs))
    assert graphs == ["backbone", "heads", "instances"]
    (parsed,) = end.value.value
    assert len(parsed.result.people) == parsed.maps.person_HW.max()


class FailsOnce:
    """An engine that fails at one run of a graph."""

    def __init__(self, engine: Engine, graph: str, run: int) -> None:
        self._engine, self._graph, self._left = engine, graph, run
        self.bundle = engine.bundle

    def run(self, graph: str, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        if graph == self._graph:
            self._left -= 1
            if self._left == 0:
                raise EngineError("out of memory")
        return self._engine.run(graph, inputs)


@pytest.mark.parametrize(
    ("mode", "graph", "run", "expected"),
    [
        (ScheduleMode.CAUSAL, "backbone", 2, "K--xK--K"),
        (ScheduleMode.CAUSAL, "temporal", 1, "K--xK--K"),
        (ScheduleMode.CAUSAL, "backbone", 1, "xK--K--K"),
        (ScheduleMode.CAUSAL, "heads", 4, "K--x--K-"),
        (ScheduleMode.ADAPTIVE, "backbone", 1, "xK------"),
        (ScheduleMode.EVERY_FRAME, "backbone", 3, "KKxKKKKK"),
    ],
)
def test_after_a_failed_run_no_frame_borrows_from_a_key_frame_that_is_missing(
    engine: Engine, mode: ScheduleMode, graph: str, run: int, expected: str
) -> None:
    failing = cast(Engine, FailsOnce(engine, graph, run))
    schedule = ScheduleConfig()
    if mode is not ScheduleMode.EVERY_FRAME:
        interval = 3 if mode is ScheduleMode.CAUSAL else 20
        schedule = ScheduleConfig(mode=mode, interval=interval, flow=FlowSource.DIS)
    session = new_session(engine, SessionConfig(schedule=schedule))
    kinds = ""
    for frame in walk(8, step=0):
        try:
            [parsed] = drive(session.push(frame, frame.time_s * 1000), failing)
            kinds += "K" if parsed.result.key_frame else "-"
        except EngineError:
            kinds += "x"
    assert kinds == expected


TIMES = {
    "every thirty-first frame": [(31 * n, 31 * n / 25) for n in range(6)],
    "milliseconds for indices": [(40 * n, n / 25) for n in range(6)],
    "one frame a second": [(n, float(n)) for n in range(6)],
    "indices of frames that were skipped": [(60 * n, 0.8 * n) for n in range(6)],
}


@pytest.mark.parametrize("times", TIMES.values(), ids=TIMES.keys())
def test_people_keep_their_identities_whatever_indices_and_times_are(
    engine: Engine, times: list[tuple[int, float]]
) -> None:
    session, image = new_session(engine), scene(WIDTH, HEIGHT, 0)
    frames = [Frame(index, time_s, image, 1 / 25) for index, time_s in times]
    results = parse(session, frames, engine)
    identities = {tuple(person.identity for person in result.people) for result in results}
    assert len(identities) == 1
    assert len(results[0].people) >= 2


def test_at_a_cut_nobody_keeps_a_number_by_place_and_newcomers_are_there_at_once(engine: Engine) -> None:
    """No likeness is strict enough here, so looks carry nobody over either."""
    image = scene(WIDTH, HEIGHT, 0)
    other = np.ascontiguousarray(255 - image[:, :, ::-1])
    frames = [image] * 4 + [other] * 3
    session = new_session(engine, SessionConfig(tracker=TrackerConfig(refind_distance=0.0)))
    results = parse(session, [Frame(n, n / 25, one, 1 / 25) for n, one in enumerate(frames)], engine)
    before, after = ({person.identity for person in results[n].people} for n in (3, 4))
    assert before
    assert {person.identity for person in results[5].people} == after
    assert not before & after


@pytest.mark.parametrize("keeps_pixels", [False, True])
def test_frames_that_wait_for_the_end_of_a_segment_keep_their_pixels_only_if_asked(
    engine: Engine, keeps_pixels: bool
) -> None:
    schedule = ScheduleConfig(mode=ScheduleMode.PAPER, interval=12, flow=FlowSource.DIS)
    config = SessionConfig(schedule=schedule)
    session = Session(engine.bundle.manifest, config, keeps_pixels=keeps_pixels)
    images: list[weakref.ref[NDArray[np.uint8]]] = []
    for index in range(11):
        image = scene(WIDTH, HEIGHT, index)
        images.append(weakref.ref(image))
        assert drive(session.push(Frame(index, index / 25, image), 0.0), engine) == []
        del image
    num_kept = sum(image() is not None for image in images)
    assert num_kept == (11 if keeps_pixels else 0)
    last = Frame(11, 11 / 25, scene(WIDTH, HEIGHT, 11))
    results = drive(session.push(last, 0.0), engine)
    assert [parsed.result.index for parsed in results] == list(range(12))
    assert all(parsed.result.people for parsed in results)


def test_an_empty_street_needs_no_masks_and_has_no_people(engine: Engine) -> None:
    clock = StageClock()
    session = new_session(engine)
    grey = Frame(0, 0.0, np.full((HEIGHT, WIDTH, 3), 127, np.uint8))
    (parsed,) = drive(session.push(grey, 0.0), engine, clock=clock)
    assert parsed.result.people == ()
    assert not parsed.maps.person_HW.any()
    assert set(clock.total_s) == {"backbone", "heads"}


def test_streams_that_share_an_engine_are_as_if_alone(engine: Engine) -> None:
    first, second = walk(5), walk(5, start=300, step=4)
    alone = [parse(new_session(engine), frames, engine) for frames in (first, second)]
    sessions = [new_session(engine), new_session(engine)]
    together: list[list[FrameResult]] = [[], []]
    for pair in zip(first, second, strict=True):
        steps = [session.push(frame, frame.time_s) for session, frame in zip(sessions, pair, strict=True)]
        requests = [next(one) for one in steps]
        waiting = {0, 1}
        while waiting:  # each takes one step in turn, so their requests are interleaved
            for stream in sorted(waiting):
                outputs = engine.run(requests[stream].graph, requests[stream].inputs)
                try:
                    requests[stream] = steps[stream].send(outputs)
                except StopIteration as end:
                    together[stream] += [parsed.result for parsed in end.value]
                    waiting.discard(stream)
    assert together == alone


def test_only_every_nth_frame_is_parsed_and_identities_hold_across_the_gaps(engine: Engine) -> None:
    session = new_session(engine, SessionConfig(every=3))
    clock = StageClock()
    results: list[ParsedFrame] = []
    for frame in walk(10):
        results += drive(session.push(frame, 0.0), engine, clock=clock)
        assert session.is_parsed(frame.index) == (frame.index % 3 == 0)
    assert [parsed.result.index for parsed in results] == [0, 3, 6, 9]
    identities = [{person.identity for person in parsed.result.people} for parsed in results]
    assert len(set.intersection(*identities)) >= 2


def test_after_a_gap_in_time_only_looks_bring_people_back(engine: Engine) -> None:
    """With no likeness strict enough, people survive a short gap by place, and a long one not at all."""
    config = SessionConfig(tracker=TrackerConfig(refind_distance=0.0))
    for gap_s, survive in ((0.2, True), (2.0, False)):
        session = new_session(engine, config)
        frames = walk(2)
        (before,) = drive(session.push(frames[0], 0.0), engine)
        (after,) = drive(session.push(Frame(1, gap_s, frames[1].image), 0.0), engine)
        known = {person.identity for person in before.result.people}
        assert known
        assert bool(known & {person.identity for person in after.result.people}) == survive


def test_a_higher_threshold_leaves_out_and_a_lower_one_adds(engine: Engine) -> None:
    (frame,) = walk(1)
    scores = {}
    for threshold in (0.05, None, 0.99):
        session = new_session(engine, SessionConfig(score_threshold=threshold))
        (parsed,) = drive(session.push(frame, 0.0), engine)
        scores[threshold] = [person.score for person in parsed.result.people]
    assert scores[0.99] == []
    assert len(scores[0.05]) >= len(scores[None]) >= 2
    assert min(scores[None]) >= engine.bundle.manifest.thresholds.score - 1e-4


@pytest.mark.parametrize("form", list(MaskForm))
def test_the_form_of_masks_changes_nothing_else(engine: Engine, form: MaskForm) -> None:
    (frame,) = walk(1)
    as_runs = parse(new_session(engine), [frame], engine)[0]
    other = parse(new_session(engine, SessionConfig(masks=form)), [frame], engine)[0]
    assert [(p.identity, p.score, p.box) for p in other.people] == [
        (p.identity, p.score, p.box) for p in as_runs.people
    ]
    assert all((person.mask is None) == (form is MaskForm.NONE) for person in other.people)


def test_a_stream_has_the_assembly_that_it_asks_for_or_else_that_of_the_bundle(engine: Engine) -> None:
    strong = CrfSettings(bilateral=3.0, theta_beta=40.0, temporal=0.3)
    fields = AssemblyConfig(kind=AssemblyKind.CRF, crf=strong)
    manifest = replace(engine.bundle.manifest, assembly=fields)
    frames = walk(4)
    greedy = parse(new_session(engine), frames, engine)
    asked = [AssemblyKind.CRF, None, AssemblyKind.GREEDY]
    crf, of_bundle, overruled = (
        parse(Session(manifest, SessionConfig(assembly=kind)), frames, engine) for kind in asked
    )
    assert crf == of_bundle != greedy
    assert overruled == greedy
    for one, other in zip(crf, greedy, strict=True):
        assert [person.identity for person in one.people] == [person.identity for person in other.people]


def test_mistakes_of_the_caller_are_named(engine: Engine) -> None:
    frames = walk(2)
    session = new_session(engine)
    drive(session.push(frames[1], 5.0), engine)
    with pytest.raises(ValueError, match="frame 0 came after frame 1"):
        drive(session.push(frames[0], 6.0), engine)
    with pytest.raises(ValueError, match="ran back from 5"):
        drive(session.push(Frame(2, 0.0, frames[0].image), 4.0), engine)
    with pytest.raises(ValueError, match="every must be at least 1, got 0"):
        SessionConfig(every=0)
    with pytest.raises(ValueError, match=r"between 0 and 1, got 1\.5"):
        SessionConfig(score_threshold=1.5)


def test_time_is_charged_to_the_stage_that_spent_it() -> None:
    times = iter([0.0, 10.0, 13.0, 20.0, 21.0, 30.0])
    cpu = iter([0.0, 1.0, 1.0, 1.5, 2.0, 2.25])
    clock = StageClock(lambda: next(times), lambda: next(cpu))
    for name in ("track", "encode", "track"):
        with clock.stage(name):
            pass
    assert dict(clock.total_s) == {"track": 19.0, "encode": 7.0}
    assert dict(clock.cpu_s) == {"track": 1.25, "encode": 0.5}


def test_warming_up_runs_every_graph_for_the_shape_that_will_come(engine: Engine) -> None:
    fresh = OpenVinoEngine(engine.bundle, precision="f32", num_threads=1)
    warm_up(fresh, width=WIDTH, height=HEIGHT)
    compiled = {graph: fresh.num_compiled(graph) for graph in fresh.bundle.manifest.graphs}
    assert set(compiled.values()) == {1}
    drive(new_session(engine).push(walk(1)[0], 0.0), fresh)
    assert {graph: fresh.num_compiled(graph) for graph in compiled} == compiled
    fresh.close()
