"""Settings of a schedule: their JSON, their errors, and plans that look ahead."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partstream_core.errors import BundleError
from partstream_core.jsonread import Fields
from partstream_core.key_frames import plan_segments
from partstream_core.schedule import (
    Band,
    Budget,
    ScheduleConfig,
    ScheduleError,
    ScheduleMode,
    SegmentPlan,
    Triggers,
    segment_plan,
)
from partstream_core.schedule.config import schedule_from_json, schedule_to_json


def read(document: dict[str, Any]) -> ScheduleConfig:
    """The schedule of a manifest."""
    return schedule_from_json(Fields(document, path="schedule", fail=BundleError))


FULL = ScheduleConfig(
    mode=ScheduleMode.ADAPTIVE,
    interval=10,
    encoding_range=2,
    triggers=Triggers(scene_change=0.4, warp_error=Band(0.01, 0.02), tracker=False, min_interval=2),
    budget=Budget(keys_per_second=8, burst=3, borrow=1),
)


@pytest.mark.parametrize(
    "config", [FULL, ScheduleConfig(), ScheduleConfig(mode=ScheduleMode.PAPER, interval=3, encoding_range=2)]
)
def test_settings_survive_the_round_trip(config: ScheduleConfig) -> None:
    assert read(schedule_to_json(config)) == config


def test_only_what_differs_from_the_defaults_is_written() -> None:
    assert schedule_to_json(ScheduleConfig()) == {"mode": "every-frame", "interval": 1}
    assert read({"mode": "adaptive", "interval": 9, "triggers": {"min_interval": 2}}) == ScheduleConfig(
        mode=ScheduleMode.ADAPTIVE, interval=9, triggers=Triggers(min_interval=2)
    )


@pytest.mark.parametrize(
    "change, field",
    [
        ({"mode": "sometimes"}, "schedule.mode"),
        ({"interval": 0}, "schedule.interval"),
        ({"mode": "every-frame"}, "schedule.interval"),
        ({"mode": "paper", "budget": {"keys_per_second": 1}}, "schedule.budget"),
        ({"encoding_range": -1}, "schedule.encoding_range"),
        ({"speed": 1}, "schedule.speed"),
        ({"triggers": {"warp": 1}}, "schedule.triggers.warp"),
        ({"triggers": {"scene_change": 0}}, "schedule.triggers.scene_change"),
        ({"triggers": {"tracker": 1}}, "schedule.triggers.tracker"),
        ({"triggers": {"min_interval": 0}}, "schedule.triggers.min_interval"),
        ({"triggers": {"min_interval": 4}}, "schedule.triggers.min_interval"),
        ({"triggers": {"outside": {"low": 0.2, "high": 0.1}}}, "schedule.triggers.outside"),
        ({"triggers": {"outside": {"low": 0.2}}}, "schedule.triggers.outside.high"),
        ({"budget": {}}, "schedule.budget.keys_per_second"),
        ({"budget": {"keys_per_second": 0}}, "schedule.budget.keys_per_second"),
        ({"budget": {"keys_per_second": 1, "burst": 0.5}}, "schedule.budget.burst"),
        ({"budget": {"keys_per_second": 1, "borrow": -1}}, "schedule.budget.borrow"),
        ({"budget": {"keys_per_second": 1, "loan": 1}}, "schedule.budget.loan"),
    ],
)
def test_each_wrong_setting_is_named(change: dict[str, Any], field: str) -> None:
    with pytest.raises(BundleError) as caught:
        read({"mode": "adaptive", "interval": 3} | change)
    assert caught.value.field == field


def test_settings_made_in_code_are_checked_too() -> None:
    with pytest.raises(ScheduleError, match="interval must be at least 1, got 0"):
        ScheduleConfig(mode=ScheduleMode.CAUSAL, interval=0)
    with pytest.raises(ScheduleError, match="keys_per_second"):
        Budget(keys_per_second=float("nan"))


@given(st.integers(0, 60), st.integers(1, 9), st.integers(0, 5))
def test_frames_told_one_by_one_are_planned_like_a_whole_video(
    num_frames: int, length: int, encoding_range: int
) -> None:
    plan = SegmentPlan(length=length, encoding_range=encoding_range)
    segments = []
    for frame in range(num_frames):
        segments += plan.push(frame)
        assert plan.num_waiting <= (encoding_range + 1) * length
        assert sum(len(segment.frames) for segment in segments) + plan.num_waiting == frame + 1
    segments += plan.finish()
    assert tuple(segments) == plan_segments(num_frames, length=length, encoding_range=encoding_range)
    assert plan.num_waiting == 0


def test_without_encoding_a_segment_is_out_with_its_last_frame() -> None:
    plan = segment_plan(ScheduleConfig(mode=ScheduleMode.PAPER, interval=3))
    out = [[segment.frames for segment in plan.push(frame)] for frame in (0, 2, 4, 6, 8, 10, 12, 14)]
    assert out == [[], [], [(0, 2, 4)], [], [], [(6, 8, 10)], [], []]
    (tail,) = plan.finish()
    assert (tail.frames, tail.key, tail.others) == ((12, 14), 14, (12,))


def test_the_first_keys_wait_for_the_later_ones_that_they_are_encoded_with() -> None:
    plan = SegmentPlan(length=1, encoding_range=2)
    out = [[(segment.key, segment.neighbours) for segment in plan.push(frame)] for frame in range(4)]
    assert out == [[], [], [(0, (1, 2)), (1, (0, 2)), (2, (0, 1))], [(3, (1, 2))]]


def test_a_plan_refuses_frames_out_of_order_and_after_the_end() -> None:
    plan = SegmentPlan(length=3, encoding_range=0)
    plan.push(5)
    with pytest.raises(ValueError, match="above 5, got 5"):
        plan.push(5)
    plan.finish()
    with pytest.raises(ValueError, match="after the end"):
        plan.push(6)
    with pytest.raises(ValueError, match="length"):
        SegmentPlan(length=0, encoding_range=0)
    with pytest.raises(ValueError, match="KeyFrameScheduler"):
        segment_plan(ScheduleConfig(mode=ScheduleMode.CAUSAL, interval=3))
