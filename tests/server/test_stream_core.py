"""The core of live streams, on the real engine and without a transport."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from partstream_core.errors import EngineError, OptionError
from partstream_core.results import FrameResult
from partstream_server.engine import Engine
from partstream_server.streams import (
    Answer,
    Failed,
    GoingAway,
    HubConfig,
    InputFrame,
    Policy,
    Skipped,
    SkipReason,
    Stream,
    StreamClosedError,
    StreamConfig,
    StreamHub,
)
from partstream_server.streams.errors import GoingAwayError, StreamsFullError, UnknownBundleError
from partstream_server.streams.metrics import StreamMetrics
from partstream_server.streams.worker import Clocks
from tests.server.engines import Failing, Held
from tests.server.stream_fixtures import jpeg, walk

BLOCK = StreamConfig(policy=Policy.BLOCK)
LATEST = StreamConfig(policy=Policy.LATEST)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.ms = 1000.0

    def __call__(self) -> float:
        return self.ms


@asynccontextmanager
async def hub_on(
    engine: Engine, *, now_ms: Callable[[], float] | None = None, **config: Any
) -> AsyncIterator[StreamHub]:
    registry = CollectorRegistry()
    clocks = None if now_ms is None else Clocks(now_ms=now_ms)
    hub = StreamHub(engine, HubConfig(**config), StreamMetrics(registry), clocks=clocks)
    hub.registry = registry  # type: ignore[attr-defined]
    try:
        yield hub
    finally:
        await asyncio.to_thread(hub.close)


async def send(stream: Stream, frames: Iterable[InputFrame]) -> None:
    for frame in frames:
        await stream.submit(frame)
    stream.end()


async def collect(stream: Stream) -> list[Answer]:
    return [item async for item in stream.answers() if isinstance(item, Answer)]


async def exchange(stream: Stream, frames: Iterable[InputFrame]) -> list[Answer]:
    """Send frames and collect all answers."""
    _, answers = await asyncio.gather(send(stream, frames), collect(stream))
    stream.close()
    return answers


def frames_of(images: Iterable[Any], *, first: int = 0) -> list[InputFrame]:
    return [InputFrame(index, index / 25, image) for index, image in enumerate(images, start=first)]


def reasons(answers: Iterable[Answer]) -> list[str]:
    """What became of each frame, in a word."""
    words = []
    for answer in answers:
        match answer.outcome:
            case FrameResult():
                words.append("result")
            case Failed(code):
                words.append(code)
            case Skipped(reason):
                words.append(reason.value)
    return words


def count(hub: StreamHub, **labels: str) -> float:
    value = hub.registry.get_sample_value("partstream_stream_frames_total", labels)  # type: ignore[attr-defined]
    return value or 0.0


def test_every_frame_is_answered_once_and_in_order(engine: Engine) -> None:
    async def scenario() -> None:
        async with hub_on(engine) as hub:
            stream = hub.open(BLOCK, transport="test")
            images = [jpeg(image) for image in walk(6)]
            images[2] = b"no picture"
            answers = await exchange(stream, frames_of(images))
            assert [answer.index for answer in answers] == list(range(6))
            assert reasons(answers) == ["result", "result", "not_a_video", "result", "result", "result"]
            assert count(hub, outcome="result", reason="") == 5
            assert count(hub, outcome="failure", reason="not_a_video") == 1
            assert hub.streams == ()

    asyncio.run(scenario())


def test_under_latest_only_the_newest_waits(engine: Engine) -> None:
    held = Held(engine)

    async def scenario() -> None:
        async with hub_on(held, num_workers=1) as hub:
            stream = hub.open(LATEST, transport="test")
            first, *later = frames_of(walk(5))
            await stream.submit(first)
            await asyncio.to_thread(held.entered.wait, 60)
            for frame in later:
                await stream.submit(frame)
            stream.end()
            held.gate.set()
            assert reasons(await collect(stream)) == ["result", "replaced", "replaced", "replaced", "result"]

    asyncio.run(scenario())


def test_under_block_nothing_is_skipped_and_the_sender_waits_for_credits(engine: Engine) -> None:
    held = Held(engine)

    async def scenario() -> None:
        async with hub_on(held) as hub:
            stream = hub.open(StreamConfig(policy=Policy.BLOCK, credits=3), transport="test")
            sender = asyncio.create_task(send(stream, frames_of(walk(7))))
            await asyncio.to_thread(held.entered.wait, 60)
            for _ in range(100):
                await asyncio.sleep(0)
            assert stream.num_in_flight == 3
            assert not sender.done()
            held.gate.set()
            assert reasons(await collect(stream)) == ["result"] * 7
            await sender

    asyncio.run(scenario())


@pytest.mark.parametrize("policy", list(Policy))
def test_answers_that_nobody_reads_never_pass_the_credits(engine: Engine, policy: Policy) -> None:
    async def scenario() -> None:
        async with hub_on(engine) as hub:
            stream = hub.open(StreamConfig(policy=policy, credits=4), transport="test")
            sender = asyncio.create_task(send(stream, frames_of(walk(2) * 20)))
            while stream.num_waiting or stream.num_in_flight < 4:
                await asyncio.sleep(0.01)
            assert stream.num_in_flight == 4
            stream.close()
            with pytest.raises(StreamClosedError):
                await sender
            assert count(hub, outcome="unanswered", reason="") == 4

    asyncio.run(scenario())


def test_a_frame_older_than_the_limit_is_skipped_before_and_after_its_turn(engine: Engine) -> None:
    held, clock = Held(engine), Clock()

    async def scenario() -> None:
        async with hub_on(held, now_ms=clock, num_workers=1) as hub:
            stream = hub.open(StreamConfig(policy=Policy.BLOCK, max_age_ms=500), transport="test")
            for frame in frames_of(walk(2)):
                await stream.submit(frame)
            await asyncio.to_thread(held.entered.wait, 60)
            clock.ms += 501
            for frame in frames_of(walk(2), first=2):
                await stream.submit(frame)
            await stream.submit(InputFrame(4, 1.0, walk(1)[0], age_ms=600))
            stream.end()
            held.gate.set()
            answers = await collect(stream)
            assert reasons(answers) == ["too_old", "too_old", "result", "result", "too_old"]
            assert all(a.latency.total_ms <= 500 for a in answers if isinstance(a.outcome, FrameResult))

    asyncio.run(scenario())


def test_frames_sent_without_waiting_are_judged_by_the_size_of_the_first(engine: Engine) -> None:
    held = Held(engine)

    async def scenario() -> None:
        async with hub_on(held, num_workers=1) as hub:
            other = np.zeros((64, 96, 3), np.uint8)
            pixels = walk(3)
            stream = hub.open(BLOCK, transport="test")
            for frame in (
                InputFrame(0, 0.0, jpeg(pixels[0])),
                InputFrame(1, 0.1, other),
                InputFrame(2, 0.2, pixels[2]),
            ):
                await stream.submit(frame)
            stream.end()
            held.gate.set()
            assert reasons(await collect(stream)) == ["result", "frame_size_changed", "result"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("second", "code"),
    [
        (InputFrame(0, 1.0, b""), "bad_index"),
        (InputFrame(1, -0.5, b""), "time_went_back"),
        (InputFrame(1, float("nan"), b""), "bad_option"),
        (InputFrame(1, float("-inf"), jpeg(walk(1)[0])), "bad_option"),
        (InputFrame(1, 0.05, b""), "empty_upload"),
        (InputFrame(1, 0.05, b"GIF89a" + bytes(100)), "not_a_video"),
        (InputFrame(1, 0.05, jpeg(walk(1)[0])[:-300]), "truncated"),
        (InputFrame(1, 0.05, np.zeros((64, 96, 3), np.uint8)), "frame_size_changed"),
        (InputFrame(1, 0.05, jpeg(np.zeros((64, 96, 3), np.uint8))), "frame_size_changed"),
        (InputFrame(1, 0.05, np.zeros((4, 9000, 3), np.uint8)), "frame_size_changed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_frame_fails_and_the_stream_goes_on(engine: Engine, second: InputFrame, code: str) -> None:
    async def scenario() -> None:
        async with hub_on(engine) as hub:
            first, _, third = frames_of(walk(3))
            answers = await exchange(hub.open(BLOCK, transport="test"), [first, second, third])
            assert reasons(answers) == ["result", code, "result"]

    asyncio.run(scenario())


def test_an_engine_that_fails_once_costs_one_frame(engine: Engine) -> None:
    failing = Failing(engine, EngineError("out of luck"), after_frames=1)

    async def scenario() -> None:
        async with hub_on(failing) as hub:
            answers = await exchange(hub.open(BLOCK, transport="test"), frames_of(walk(3)))
            assert reasons(answers) == ["result", "engine_failed", "result"]

    asyncio.run(scenario())


def test_every_passes_over_frames(engine: Engine) -> None:
    async def scenario() -> None:
        async with hub_on(engine) as hub:
            stream = hub.open(StreamConfig(policy=Policy.BLOCK, every=3), transport="test")
            answers = await exchange(stream, frames_of(walk(5)))
            assert reasons(answers) == ["result", "not_wanted", "not_wanted", "result", "not_wanted"]

    asyncio.run(scenario())


def test_streams_over_the_limit_are_refused_until_one_ends(engine: Engine) -> None:
    async def scenario() -> None:
        async with hub_on(engine, max_streams=2) as hub:
            first, _ = hub.open(BLOCK, transport="test"), hub.open(BLOCK, transport="test")
            with pytest.raises(StreamsFullError, match="all 2 streams"):
                hub.open(BLOCK, transport="test")
            first.close()
            hub.open(BLOCK, transport="test")

    asyncio.run(scenario())


def test_a_bundle_that_is_not_here_is_refused(engine: Engine) -> None:
    async def scenario() -> None:
        async with hub_on(engine) as hub:
            with pytest.raises(UnknownBundleError, match="not other"):
                hub.open(StreamConfig(bundle="other"), transport="test")
            hub.open(StreamConfig(bundle=engine.bundle.manifest.name), transport="test").close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "wrong", [{"score_threshold": 1.5}, {"every": 0}, {"max_age_ms": float("nan")}, {"credits": -1}]
)
def test_a_config_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(wrong))):
        StreamConfig(**wrong)


class Note:
    """An account that writes down whose frame is begun."""

    def __init__(self, name: str, order: list[str]) -> None:
        self._name, self._order = name, order

    def use_frame(self) -> None:
        self._order.append(self._name)


def test_turns_go_round_whatever_one_stream_asks_for(engine: Engine) -> None:
    held = Held(engine)
    order: list[str] = []

    async def scenario() -> None:
        async with hub_on(held, num_workers=1) as hub:
            config = StreamConfig(policy=Policy.BLOCK, credits=12)
            greedy, *modest = [
                hub.open(config, transport="test", account=Note(name, order)) for name in ("greedy", "a", "b")
            ]
            for frame in frames_of(walk(8)):
                await greedy.submit(frame)
            await asyncio.to_thread(held.entered.wait, 60)
            for stream in modest:
                for frame in frames_of(walk(2)):
                    await stream.submit(frame)
            held.gate.set()
            for stream in (greedy, *modest):
                stream.end()
            await asyncio.gather(*(collect(stream) for stream in (greedy, *modest)))

    asyncio.run(scenario())
    # The first frame is at work when the others come; then each of them has a turn in every round.
    assert order == ["greedy", *["a", "b", "greedy"] * 2, *["greedy"] * 5]


def test_a_drain_tells_streams_lets_frames_finish_and_refuses_new_ones(engine: Engine) -> None:
    held = Held(engine)

    async def scenario() -> None:
        async with hub_on(held, num_workers=1) as hub:
            stream = hub.open(BLOCK, transport="test")
            first, second, late = frames_of(walk(3))
            await stream.submit(first)
            await stream.submit(second)
            await asyncio.to_thread(held.entered.wait, 60)
            drain = asyncio.create_task(hub.drain(30))
            await asyncio.sleep(0)
            with pytest.raises(GoingAwayError):
                hub.open(BLOCK, transport="test")
            await stream.submit(late)
            stream.end()
            held.gate.set()
            items = [item async for item in stream.answers()]
            stream.close()
            await drain
            assert isinstance(items[0], GoingAway)
            answers = [item for item in items if isinstance(item, Answer)]
            assert reasons(answers) == ["result", "result", "going_away"]
            assert answers[1].resume_token

    asyncio.run(scenario())


def test_a_stream_that_does_not_leave_is_closed_when_the_grace_ends(engine: Engine) -> None:
    async def scenario() -> None:
        async with hub_on(engine) as hub:
            stream = hub.open(BLOCK, transport="test")
            await hub.drain(0.05)
            assert stream.closed
            with pytest.raises(StreamClosedError):
                await stream.submit(frames_of(walk(1))[0])

    asyncio.run(scenario())


def test_latency_adds_up(engine: Engine) -> None:
    async def scenario() -> None:
        async with hub_on(engine) as hub:
            for answer in await exchange(hub.open(BLOCK, transport="test"), frames_of(walk(3))):
                spent = answer.latency
                parts = (
                    spent.queue_ms + spent.decode_ms + spent.infer_ms + spent.network_ms
                    + spent.assemble_ms + spent.track_ms + spent.encode_ms
                )  # fmt: skip
                assert 0 < parts <= spent.total_ms
                assert spent.network_ms > 0

    asyncio.run(scenario())


def test_reason_names_are_those_of_the_wire() -> None:
    from partstream.v1 import service_pb2

    names = {name.removeprefix("SKIP_REASON_").lower() for name in service_pb2.SkipReason.keys()}  # noqa: SIM118 - an enum of protobuf is no dict
    assert names - {"unspecified"} == {reason.value for reason in SkipReason}
