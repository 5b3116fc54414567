"""Key frames frame by frame, spelled as strings: K for a key frame, - for a propagated one."""

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partstream_core.schedule import (
    Band,
    Budget,
    Decision,
    KeyFrameScheduler,
    Observation,
    Reason,
    ScheduleConfig,
    ScheduleMode,
    Triggers,
)

CALM = Observation()
ADAPTIVE = ScheduleConfig(mode=ScheduleMode.ADAPTIVE, interval=8)


def decisions(
    scheduler: KeyFrameScheduler, observations: Sequence[Observation], *, rate: float = 10.0, first: int = 0
) -> list[Decision]:
    """What is decided on consecutive frames; every observation is at hand, needed or not."""
    return [
        scheduler.decide(index, index / rate, observation)
        for index, observation in enumerate(observations, start=first)
    ]


def kinds(config: ScheduleConfig, observations: Sequence[Observation], *, rate: float = 10.0) -> str:
    """Decisions of a new scheduler as a string."""
    return spelled(decisions(KeyFrameScheduler(config), observations, rate=rate))


def spelled(decided: Sequence[Decision]) -> str:
    """K for a key frame, - for another."""
    return "".join("-K"[decision.key_frame] for decision in decided)


def causal(interval: int, budget: Budget | None = None) -> ScheduleConfig:
    """A causal schedule."""
    return ScheduleConfig(mode=ScheduleMode.CAUSAL, interval=interval, budget=budget)


def errors(*values: float) -> list[Observation]:
    """Frames whose warp error is so large."""
    return [Observation(warp_error=value) for value in values]


@pytest.mark.parametrize(
    "interval, spelling", [(1, "KKKKKKK"), (2, "K-K-K-K"), (3, "K--K--K"), (10, "K------")]
)
def test_a_causal_key_is_the_first_of_its_segment(interval: int, spelling: str) -> None:
    assert kinds(causal(interval), [CALM] * 7) == spelling


def test_a_causal_schedule_never_asks_for_flow_and_counts_the_frames_that_are_parsed() -> None:
    scheduler = KeyFrameScheduler(causal(3))
    decided = []
    for index in (0, 2, 4, 10, 12, 14, 16):
        assert not scheduler.needs_observation
        decided.append(scheduler.decide(index))
    assert spelled(decided) == "K--K--K"
    assert [decision.reason for decision in decided[:4]] == ["first", "propagated", "propagated", "interval"]


def test_without_motion_only_age_makes_keys() -> None:
    assert kinds(ADAPTIVE, [CALM] * 18) == "K-------K-------K-"


def test_a_warp_error_brings_a_key_and_settles_below_the_lower_threshold() -> None:
    config = replace(ADAPTIVE, triggers=Triggers(warp_error=Band(0.1, 0.2)))
    #          first  calm  over  between between below between over  below
    measured = errors(0.0, 0.0, 0.2, 0.15, 0.1, 0.09, 0.15, 0.3, 0.0)
    assert kinds(config, measured) == "K-KKK--K-"
    single = replace(config, triggers=Triggers(warp_error=Band(0.2, 0.2)))
    assert kinds(single, measured) == "K-K----K-"


@pytest.mark.parametrize(
    "observation, reason",
    [
        (Observation(scene_change=0.9), Reason.SCENE_CUT),
        (Observation(warp_error=0.9), Reason.WARP_ERROR),
        (Observation(outside=0.9), Reason.OUTSIDE),
        (Observation(scale_deviation=0.9), Reason.SCALE),
        (Observation(births=1), Reason.BIRTH),
        (Observation(losses=2), Reason.LOSS),
        (Observation(conflicts=1), Reason.CONFLICT),
        (Observation(scene_change=0.9, warp_error=0.9, births=1), Reason.SCENE_CUT),
    ],
)
def test_each_trigger_makes_a_key_and_is_its_reason(observation: Observation, reason: Reason) -> None:
    decided = decisions(KeyFrameScheduler(ADAPTIVE), [CALM, CALM, observation, CALM])
    assert spelled(decided) == "K-K-"
    assert decided[2].reason == reason
    assert [decision.starts_over for decision in decided] == [True, False, reason is Reason.SCENE_CUT, False]


def test_each_measure_has_a_memory_of_its_own() -> None:
    config = replace(ADAPTIVE, triggers=Triggers(warp_error=Band(0.1, 0.2), outside=Band(0.1, 0.2)))
    measured = [CALM, Observation(warp_error=0.2), Observation(outside=0.15), Observation(warp_error=0.15)]
    assert kinds(config, measured) == "KK--"


def test_what_the_tracker_saw_at_a_key_frame_asks_for_nothing() -> None:
    birth = Observation(births=1)
    assert kinds(ADAPTIVE, [CALM, birth, birth, birth, CALM]) == "K-K--"
    deaf = replace(ADAPTIVE, triggers=Triggers(tracker=False))
    assert kinds(deaf, [CALM, birth, birth, birth, CALM]) == "K----"


def test_keys_keep_apart_except_at_a_scene_cut() -> None:
    config = replace(ADAPTIVE, triggers=Triggers(min_interval=3))
    assert kinds(config, errors(*[0.9] * 7)) == "K--K--K"
    decided = decisions(KeyFrameScheduler(config), [CALM, Observation(scene_change=1.0), *errors(0.9, 0.9)])
    assert spelled(decided) == "KK--"
    assert decided[2].reason == "min-interval"


def test_a_budget_spends_what_it_saved_and_then_keeps_its_rate() -> None:
    budget = Budget(keys_per_second=2.5, burst=2)
    config = replace(ADAPTIVE, interval=100, budget=budget)
    assert kinds(config, errors(*[0.9] * 13), rate=10) == "KK--K---K---K"
    assert kinds(causal(1, budget), [CALM] * 13, rate=10) == "KK--K---K---K"
    assert kinds(causal(1, budget), [CALM] * 6, rate=2.5) == "KKKKKK"


def test_a_scene_cut_borrows_and_what_was_borrowed_is_paid_back() -> None:
    budget = Budget(keys_per_second=2.0, burst=1, borrow=1)
    config = replace(ADAPTIVE, interval=100, budget=budget)
    measured = [CALM, Observation(scene_change=1.0), *errors(*[0.9] * 12)]
    decided = decisions(KeyFrameScheduler(config), measured, rate=10)
    assert spelled(decided) == "KK--------K---"  # the cut leaves -0.8, and 1 is reached 0.9 s later
    assert {decision.reason for decision in decided[2:10]} == {"budget"}
    storm = [CALM, *[Observation(scene_change=1.0)] * 12]
    assert kinds(config, storm, rate=10) == "KK---K----K--"  # borrowing, too, has an end


def test_an_adaptive_schedule_needs_flow_wherever_there_is_a_key_to_borrow_from() -> None:
    scheduler = KeyFrameScheduler(ADAPTIVE)
    needed = [scheduler.needs_observation]
    scheduler.decide(0)
    needed.append(scheduler.needs_observation)
    with pytest.raises(ValueError, match="frame 1 needs an observation"):
        scheduler.decide(1)
    scheduler.forget_key()
    assert [*needed, scheduler.needs_observation] == [False, True, False]


def test_a_scene_cut_is_told_from_the_age_that_falls_on_it() -> None:
    decided = decisions(
        KeyFrameScheduler(replace(ADAPTIVE, interval=2)), [CALM, CALM, Observation(scene_change=1.0)]
    )
    assert decided[2] == Decision(key_frame=True, reason=Reason.SCENE_CUT)


def test_a_forgotten_key_makes_the_next_frame_a_key_whatever_the_budget() -> None:
    scheduler = KeyFrameScheduler(causal(5, Budget(keys_per_second=0.1, burst=1, borrow=0)))
    decisions(scheduler, [CALM] * 7)
    scheduler.forget_key()
    decided = [scheduler.decide(0, 0.7), scheduler.decide(1, 0.8)]
    assert [decision.reason for decision in decided] == ["first", "propagated"]


measures = st.builds(
    Observation,
    warp_error=st.floats(0, 0.2),
    outside=st.floats(0, 0.5),
    scale_deviation=st.floats(0, 1),
    scene_change=st.floats(0, 0.6),
    births=st.integers(0, 1),
    losses=st.integers(0, 1),
    conflicts=st.integers(0, 1),
)
budgets = st.none() | st.builds(
    Budget, keys_per_second=st.floats(0.5, 20), burst=st.floats(1, 4), borrow=st.floats(0, 4)
)
configs = st.builds(
    ScheduleConfig,
    mode=st.sampled_from([ScheduleMode.CAUSAL, ScheduleMode.ADAPTIVE]),
    interval=st.integers(3, 9),
    triggers=st.builds(Triggers, min_interval=st.integers(1, 3)),
    budget=budgets,
)


@given(configs, st.lists(measures, min_size=1, max_size=60), st.integers(0, 60))
def test_decisions_repeat_and_go_on_from_a_snapshot(
    config: ScheduleConfig, observations: list[Observation], cut: int
) -> None:
    whole = decisions(KeyFrameScheduler(config), observations)
    before = KeyFrameScheduler(config)
    head = decisions(before, observations[:cut])
    after = KeyFrameScheduler.restored(config, json.loads(json.dumps(before.snapshot())))
    assert whole == head + decisions(after, observations[cut:], first=len(head))


@given(configs, st.lists(measures, min_size=1, max_size=80))
def test_no_key_is_older_than_the_interval_and_no_budget_is_overdrawn(
    config: ScheduleConfig, observations: list[Observation]
) -> None:
    keys = kinds(config, observations)
    assert keys[0] == "K"
    if config.budget is None:
        assert "-" * config.interval not in keys
    else:
        most = config.budget.burst + config.budget.borrow
        earned = config.budget.keys_per_second * (len(keys) - 1) / 10
        assert keys.count("K") <= most + earned + 1e-6


def test_frames_and_measures_that_cannot_be_are_named() -> None:
    scheduler = KeyFrameScheduler(causal(3))
    scheduler.decide(4)
    with pytest.raises(ValueError, match="above 4, got 4"):
        scheduler.decide(4)
    with pytest.raises(ValueError, match="-1"):
        scheduler.decide(-1)
    with pytest.raises(ValueError, match="time_s"):
        scheduler.decide(5, float("nan"))
    with pytest.raises(ValueError, match="outside"):
        Observation(outside=-0.1)
    with pytest.raises(ValueError, match="warp_error"):
        Observation(warp_error=float("nan"))
    with pytest.raises(ValueError, match="segment_plan"):
        KeyFrameScheduler(ScheduleConfig(mode=ScheduleMode.PAPER, interval=3))


@pytest.mark.parametrize(
    "damage, named", [({"age": -1}, "age"), ({"tokens": "many"}, "tokens"), ({"asked": 3}, "asked")]
)
def test_a_damaged_snapshot_is_refused(damage: dict[str, object], named: str) -> None:
    whole = KeyFrameScheduler(ADAPTIVE).snapshot()
    with pytest.raises(ValueError, match=named):
        KeyFrameScheduler.restored(ADAPTIVE, whole | damage)
    with pytest.raises(ValueError, match=f"{named}: is missing"):
        KeyFrameScheduler.restored(ADAPTIVE, {name: whole[name] for name in whole if name not in damage})
