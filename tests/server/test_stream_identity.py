"""Streams that share a server get the results that they would get alone, and tokens keep identities."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from partstream_core import rle
from partstream_core.results import FrameResult, frame_to_json
from partstream_core.schedule import Budget, ScheduleConfig, ScheduleMode
from partstream_server.engine import Engine, create_engine
from partstream_server.media.frame import Frame, Image
from partstream_server.pipeline.session import Session, SessionConfig, drive
from partstream_server.streams import Answer, HubConfig, InputFrame, Policy, StreamConfig, StreamHub
from partstream_server.streams.errors import ForeignTokenError, ResumeTokenError, TokenExpiredError
from partstream_server.streams.metrics import StreamMetrics
from partstream_server.streams.shared_runs import drive_together
from partstream_server.streams.tokens import MAX_TOKEN_BYTES, TokenMaker
from tests.server.stream_fixtures import walk

SECRET = b"a secret of this test"
CLIPS = [walk(5), walk(5, shift=30), walk(5, shift=60)]


@pytest.fixture(scope="module")
def exact() -> Iterator[Engine]:
    """The shipped bundle in single precision."""
    opened = create_engine(precision="f32")
    yield opened
    opened.close()


def alone(engine: Engine, clip: Sequence[Image]) -> list[FrameResult]:
    """Results of a session with the engine to itself."""
    session = Session(engine.bundle.manifest, SessionConfig())
    return [
        drive(session.push(Frame(index, index / 25, image), index), engine)[0].result
        for index, image in enumerate(clip)
    ]


def interleaved(engine: Engine, clips: Sequence[Sequence[Image]], **config: Any) -> list[list[FrameResult]]:
    """Results of the clips as streams of one hub, all at once."""

    async def one(hub: StreamHub, clip: Sequence[Image]) -> list[FrameResult]:
        stream = hub.open(StreamConfig(policy=Policy.BLOCK), transport="test")

        async def send() -> None:
            for index, image in enumerate(clip):
                await stream.submit(InputFrame(index, index / 25, image))
            stream.end()

        sender = asyncio.create_task(send())
        found = [item.outcome async for item in stream.answers() if isinstance(item, Answer)]
        await sender
        stream.close()
        return [outcome for outcome in found if isinstance(outcome, FrameResult)]

    async def scenario() -> list[list[FrameResult]]:
        hub = StreamHub(engine, HubConfig(**config), StreamMetrics(CollectorRegistry()))
        try:
            return list(await asyncio.gather(*(one(hub, clip) for clip in clips)))
        finally:
            await asyncio.to_thread(hub.close)

    return asyncio.run(scenario())


def test_interleaved_streams_get_exactly_the_results_of_streams_alone(exact: Engine) -> None:
    together = interleaved(exact, CLIPS)
    for clip, results in zip(CLIPS, together, strict=True):
        expected = [frame_to_json(result) for result in alone(exact, clip)]
        assert [frame_to_json(result) for result in results] == expected
        assert any(result.people for result in results)


def mask_iou(first: Any, second: Any) -> float:
    a, b = rle.decode(first), rle.decode(second)
    return float((a & b).sum() / max(1, (a | b).sum()))


def test_streams_that_share_batches_get_the_same_identities_boxes_and_masks(exact: Engine) -> None:
    together = interleaved(exact, CLIPS, max_batch=4, num_workers=1)
    for clip, results in zip(CLIPS, together, strict=True):
        for expected, found in zip(alone(exact, clip), results, strict=True):
            assert [one.identity for one in found.people] == [one.identity for one in expected.people]
            for one, other in zip(found.people, expected.people, strict=True):
                np.testing.assert_allclose(one.box, other.box, atol=1)
                assert mask_iou(one.mask, other.mask) >= 0.99


def test_batches_are_shared_where_there_are_several_frames(exact: Engine) -> None:
    sizes: list[tuple[str, int]] = []
    sessions = [Session(exact.bundle.manifest, SessionConfig()) for _ in CLIPS]
    steps = [session.push(Frame(0, 0.0, clip[0]), 0) for session, clip in zip(sessions, CLIPS, strict=True)]
    drive_together(steps, exact, lambda graph, size: sizes.append((graph, size)))
    assert sizes[:4] == [("backbone", 2), ("backbone", 1), ("heads", 2), ("heads", 1)]
    assert set(sizes[4:]) == {("instances", 1)}


def started(engine: Engine, clip: Sequence[Image]) -> tuple[Session, list[int]]:
    """A session that saw a clip, and the identities of its last frame."""
    session = Session(engine.bundle.manifest, SessionConfig())
    for index, image in enumerate(clip):
        (parsed,) = drive(session.push(Frame(index, index / 25, image), index), engine)
    return session, sorted(one.identity for one in parsed.result.people)


@pytest.mark.parametrize("first_index", [3, 200, 0], ids=["next frame", "long gap", "counts anew"])
def test_a_stream_that_goes_on_from_a_token_keeps_its_identities(exact: Engine, first_index: int) -> None:
    session, before = started(exact, walk(3))
    maker = TokenMaker(SECRET, exact.bundle.manifest, lifetime_s=600)
    resumption = maker.read(maker.make(session, 1000.0), 1010.0)
    assert resumption.paused_ms == 10_000
    again = Session(
        exact.bundle.manifest,
        SessionConfig(),
        resume=resumption.snapshot,
        paused_ms=resumption.paused_ms,
    )
    frame = Frame(first_index, first_index / 25, walk(4)[3])
    (parsed,) = drive(again.push(frame, 0), exact)
    assert before
    assert sorted(one.identity for one in parsed.result.people) == before


def test_a_stream_that_goes_on_keeps_to_its_budget_of_key_frames(exact: Engine) -> None:
    budget = Budget(keys_per_second=1, burst=1, borrow=2)
    config = SessionConfig(schedule=ScheduleConfig(mode=ScheduleMode.CAUSAL, interval=2, budget=budget))
    clip, maker = walk(8), TokenMaker(SECRET, exact.bundle.manifest, lifetime_s=600)

    def keys(session: Session, first: int) -> str:
        found = ""
        for index in range(first, first + 4):
            (parsed,) = drive(session.push(Frame(index, index / 25, clip[index]), index), exact)
            found += "K" if parsed.result.key_frame else "-"
        return found

    session = Session(exact.bundle.manifest, config)
    assert keys(session, 0) == "K---"
    snapshot = maker.read(maker.make(session, 0.0), 1.0).snapshot
    again = Session(exact.bundle.manifest, config, resume=snapshot, paused_ms=1000.0)
    assert keys(again, 4) == "K---", "the first frame has nothing to borrow from; no other can be afforded"
    left = again.snapshot(max_bytes=30_000)
    assert left is not None
    assert left.schedule is not None
    assert left.schedule["tokens"] < 0


def test_a_token_without_a_schedule_is_read(exact: Engine) -> None:
    session = Session(exact.bundle.manifest, SessionConfig(schedule=ScheduleConfig()))
    drive(session.push(Frame(0, 0.0, walk(1)[0]), 0), exact)
    maker = TokenMaker(SECRET, exact.bundle.manifest, lifetime_s=600)
    assert maker.read(maker.make(session, 0.0), 1.0).snapshot.schedule is None


def test_tokens_are_small(exact: Engine) -> None:
    session, _ = started(exact, walk(3))
    token = TokenMaker(SECRET, exact.bundle.manifest, lifetime_s=600).make(session, 0.0)
    assert 0 < len(token) < MAX_TOKEN_BYTES <= 32 * 1024


def test_a_session_without_a_frame_has_no_token(exact: Engine) -> None:
    session = Session(exact.bundle.manifest, SessionConfig())
    assert TokenMaker(SECRET, exact.bundle.manifest, lifetime_s=600).make(session, 0.0) == b""


@pytest.mark.parametrize("place", [0, 4, 20, 40, 80, -33, -1])
def test_a_token_with_any_byte_changed_is_refused(exact: Engine, place: int) -> None:
    session, _ = started(exact, walk(1))
    maker = TokenMaker(SECRET, exact.bundle.manifest, lifetime_s=600)
    token = bytearray(maker.make(session, 0.0))
    token[place] ^= 1
    with pytest.raises(ResumeTokenError, match="not made by this server"):
        maker.read(bytes(token), 1.0)


def test_tokens_of_another_secret_too_old_or_of_another_bundle_are_refused(
    exact: Engine, tmp_path: Path
) -> None:
    from dataclasses import replace

    manifest = exact.bundle.manifest
    session, _ = started(exact, walk(1))
    maker = TokenMaker(SECRET, manifest, lifetime_s=600)
    token = maker.make(session, 1000.0)
    assert maker.read(token, 1600.0).snapshot.last_index == 0
    with pytest.raises(TokenExpiredError, match="601 s old"):
        maker.read(token, 1601.0)
    with pytest.raises(TokenExpiredError):
        maker.read(token, 900.0)
    with pytest.raises(ResumeTokenError):
        TokenMaker(b"another secret", manifest, lifetime_s=600).read(token, 1000.0)
    graphs = {name: replace(graph, sha256="0" * 64) for name, graph in manifest.graphs.items()}
    other = TokenMaker(SECRET, replace(manifest, graphs=graphs), lifetime_s=600)
    with pytest.raises(ForeignTokenError):
        other.read(token, 1000.0)
    with pytest.raises(ResumeTokenError):
        maker.read(b"", 1000.0)
