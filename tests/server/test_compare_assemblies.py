"""The comparison of rules of assembly: what it compares, the bound of true owners, the table."""

import numpy as np

from partstream_core.assembly_config import AssemblyKind, CrfSettings, Unary
from partstream_core.results import FrameResult, PersonResult
from partstream_core.rle import Rle, decode, encode_label_map
from partstream_evaluation.composite.truth import ClipTruth
from partstream_server.benchmarks.compare.assemblies import Assembled, Tally, rules, table, with_true_owners


def run_of(people_HW: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Assembled:
    """One frame whose people are numbered in a map."""
    numbers = range(1, int(people_HW.max()) + 1)
    masks = encode_label_map(people_HW, numbers)
    people = tuple(PersonResult(10 + number, 0.9, (0, 0, 1, 1), masks[number], ()) for number in numbers)
    frame = FrameResult(0, 0.0, True, people)
    return Assembled((frame,), people_HW[None], np.zeros_like(people_HW)[None], 0.0)


def test_true_owners_get_the_pixels_that_anybody_was_given_and_no_others() -> None:
    found = np.zeros((6, 12), np.uint8)
    found[1:5, 1:8], found[1:5, 8:11] = 1, 2  # the border is three columns too far to the right
    true = np.zeros((6, 12), np.uint8)
    true[0:6, 0:5], true[0:6, 5:12] = 7, 4
    truth = ClipTruth(np.zeros_like(true)[None], true[None])
    right = with_true_owners(run_of(found), truth)
    wanted = np.zeros((6, 12), np.uint8)
    wanted[1:5, 1:5], wanted[1:5, 5:11] = 1, 2
    np.testing.assert_array_equal(right.people_THW[0], wanted)
    for number, person in enumerate(right.frames[0].people, start=1):
        assert isinstance(person.mask, Rle) and person.identity == 10 + number
        np.testing.assert_array_equal(decode(person.mask), wanted == number)


def test_whoever_keeps_no_pixel_is_gone_and_nobody_is_left_as_they_were() -> None:
    found = np.zeros((4, 8), np.uint8)
    found[:, :4], found[:, 4] = 1, 2
    true = np.zeros((4, 8), np.uint8)
    true[:, :5] = 3
    truth = ClipTruth(np.zeros_like(true)[None], true[None])
    frame = with_true_owners(run_of(found), truth).frames[0]
    assert [person.identity for person in frame.people] == [11]
    alone = with_true_owners(run_of(found), ClipTruth(truth.parts_THW, np.zeros_like(true)[None]))
    np.testing.assert_array_equal(alone.people_THW[0], found)


def test_every_kind_of_evidence_is_compared_with_today_s_rule() -> None:
    named = rules(CrfSettings(bilateral=0.3))
    assert named["greedy"].kind is AssemblyKind.GREEDY
    others = [config for name, config in named.items() if name != "greedy"]
    assert all(config.kind is AssemblyKind.CRF and config.crf.bilateral == 0.3 for config in others)
    assert {config.crf.unary for config in others} == set(Unary)
    assert any(config.crf.temporal for config in others) and any(config.crf.joint for config in others)


def test_the_table_leaves_out_what_is_not_known() -> None:
    rows = {"one": {"sMOTSA": 0.5, "ms": 1.234}, "bound": {"sMOTSA": 0.75, "ms": float("nan")}}
    assert table(rows).splitlines() == [
        "| | sMOTSA | ms |",
        "|---|---:|---:|",
        "| one | 0.500 | 1.23 |",
        "| bound | 0.750 |  |",
    ]
    assert np.isnan(Tally().bound()["ms"])
