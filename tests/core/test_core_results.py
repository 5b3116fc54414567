"""Results in JSON, NDJSON and MOTS text: round trips, and errors that name the place."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partstream_core.joints import JOINTS
from partstream_core.labels import PARTS
from partstream_core.results import (
    FrameResult,
    JointResult,
    Mask,
    ModelInfo,
    PartResult,
    PersonResult,
    Polygons,
    VideoInfo,
    document_to_json,
    frame_from_json,
    frame_to_json,
)
from partstream_core.results_io import mots_lines, ndjson_line, read_mots, read_ndjson
from partstream_core.rle import Rle, encode

RLE = Rle(3, 4, "345")
finite = st.floats(-1e6, 1e6)
scores = st.floats(0, 1)
rles = st.integers(0, 2**32 - 1).map(lambda seed: encode(np.random.default_rng(seed).random((5, 7)) > 0.5))
rings = st.lists(st.tuples(finite, finite), min_size=3, max_size=5).map(lambda points: sum(points, ()))
outlines = st.lists(rings, max_size=3).map(lambda found: Polygons((5, 7), tuple(found)))
any_mask = st.none() | rles | outlines
part_results = st.builds(PartResult, st.sampled_from(PARTS[1:]), scores, st.integers(0, 35), any_mask)
joint_results = st.builds(JointResult, st.sampled_from(JOINTS), finite, finite, scores)
people = st.builds(
    PersonResult,
    st.integers(1, 9999),
    scores,
    st.tuples(finite, finite, finite, finite),
    any_mask,
    st.lists(part_results, max_size=3).map(tuple),
    st.lists(joint_results, max_size=3).map(tuple),
)
frames = st.builds(
    FrameResult, st.integers(0, 10**6), finite, st.booleans(), st.lists(people, max_size=3).map(tuple)
)


def example(mask: Mask = RLE) -> FrameResult:
    """A frame with one person who has hair."""
    hair = PartResult("hair", 0.93, 4, mask)
    return FrameResult(0, 0.0, True, (PersonResult(1, 0.97, (1.0, 2.0, 3.0, 4.0), mask, (hair,)),))


@given(frames)
def test_a_frame_survives_the_way_through_json(frame: FrameResult) -> None:
    assert frame_from_json(json.loads(ndjson_line(frame))) == frame


def test_json_has_the_shape_of_the_wire_contract() -> None:
    mask = {"size": [3, 4], "counts": "345"}
    assert frame_to_json(example()) == {
        "index": 0,
        "time_s": 0.0,
        "key_frame": True,
        "people": [
            {
                "identity": 1,
                "score": 0.97,
                "box": [1.0, 2.0, 3.0, 4.0],
                "mask": mask,
                "parts": [{"part": "hair", "score": 0.93, "area": 4, "mask": mask}],
            }
        ],
    }


def with_joints(frame: FrameResult) -> FrameResult:
    """The same frame whose person has a nose."""
    (person,) = frame.people
    return replace(frame, people=(replace(person, joints=(JointResult("nose", 2.5, 3.0, 0.9),)),))


def test_a_person_with_joints_says_where_they_are() -> None:
    without, with_nose = (frame_to_json(frame)["people"][0] for frame in (example(), with_joints(example())))
    assert with_nose == without | {"joints": [{"joint": "nose", "x": 2.5, "y": 3.0, "score": 0.9}]}


def test_a_document_holds_video_model_and_frames() -> None:
    video = VideoInfo(640, 480, 2, 25.0, 0.08, 0)
    model = ModelInfo("partstream-live", "0.1.0", "openvino", PARTS[1:])
    document = document_to_json(video, model, [example(), example(None)])
    assert json.loads(json.dumps(document)) == document
    assert list(document) == ["video", "model", "frames"]
    assert list(document["video"]) == [
        "width",
        "height",
        "num_frames",
        "frame_rate",
        "duration_s",
        "num_damaged",
    ]
    assert list(document["model"]) == ["bundle", "version", "provider", "parts"]
    assert [frame_from_json(frame) for frame in document["frames"]] == [example(), example(None)]


@pytest.mark.parametrize(
    "path, value, message",
    [
        (["index"], None, "index: must be a whole number"),
        (["index"], -1, "index: must be at least 0"),
        (["key_frame"], 1, "key_frame: must be true or false"),
        (["time_s"], float("nan"), "time_s: must be a finite number"),
        (["people"], {}, "people: must be a list"),
        (["people", 0], 7, r"people\[0\]: must be an object"),
        (["people", 0, "identity"], 0, r"people\[0\].identity: must be at least 1"),
        (["people", 0, "identity"], True, r"people\[0\].identity: must be a whole number"),
        (["people", 0, "score"], 1.5, r"people\[0\].score: must be between"),
        (["people", 0, "box"], [1, 2, 3], r"people\[0\].box: must hold 4 numbers"),
        (["people", 0, "box"], [1, 2, 3, "x"], r"people\[0\].box\[3\]: must be a finite number, got 'x'"),
        (["people", 0, "mask"], [], r"people\[0\].mask: must be an object"),
        (["people", 0, "mask", "size"], [0, 4], r"people\[0\].mask.size: must be whole numbers from 1"),
        (["people", 0, "mask", "counts"], "", r"people\[0\].mask.counts: must be a string with text"),
        (["people", 0, "parts", 0, "part"], 3, r"people\[0\].parts\[0\].part: must be a string"),
        (["people", 0, "parts", 0, "mask"], {"size": [3, 4]}, r"parts\[0\].mask.polygons: is missing"),
        (
            ["people", 0, "parts", 0, "mask"],
            {"size": [3, 4], "polygons": [[1, 2, 3]]},
            r"people\[0\].parts\[0\].mask.polygons\[0\]: must hold x and y in pairs",
        ),
        (["people", 0, "joints"], None, r"people\[0\].joints: must be a list"),
        (["people", 0, "joints", 0, "joint"], 0, r"joints\[0\].joint: must be a string"),
        (["people", 0, "joints", 0, "x"], "2", r"joints\[0\].x: must be a finite number"),
        (["people", 0, "joints", 0, "score"], 1.1, r"joints\[0\].score: must be between"),
    ],
)
def test_a_wrong_field_is_named(path: list[Any], value: object, message: str) -> None:
    document: Any = frame_to_json(with_joints(example()))
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(ValueError, match=message):
        frame_from_json(document)


@pytest.mark.parametrize("name", ["index", "time_s", "key_frame", "people"])
def test_a_missing_field_is_named(name: str) -> None:
    document = frame_to_json(example())
    del document[name]
    with pytest.raises(ValueError, match=f"{name}: is missing"):
        frame_from_json(document)


@pytest.mark.parametrize("document", [None, [], "frame", 3])
def test_what_is_no_object_is_refused(document: object) -> None:
    with pytest.raises(ValueError, match="document: must be an object"):
        frame_from_json(document)


def test_a_line_of_ndjson_holds_what_json_can() -> None:
    for bad in (math.nan, math.inf):
        for frame in (
            replace(example(), time_s=bad),
            replace(example(), people=(replace(example().people[0], box=(0.0, bad, 1.0, 1.0)),)),
            example(Polygons((5, 7), ((0.0, 0.0, 1.0, bad, 1.0, 1.0),))),
            replace(
                example(),
                people=(replace(example().people[0], joints=(JointResult("nose", bad, 1.0, 1.0),)),),
            ),
        ):
            with pytest.raises(ValueError, match="frame 0 holds a number that is not finite"):
                ndjson_line(frame)
    for odd in (replace(example(), index=2**70), replace(example(), time_s=1e-07)):
        assert frame_from_json(json.loads(ndjson_line(odd))) == odd


def test_ndjson_is_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "results.ndjson"
    path.write_text(ndjson_line(example()) + "\n" + ndjson_line(example(None)))
    assert list(read_ndjson(path)) == [example(), example(None)]


@pytest.mark.parametrize(
    "line, message",
    [
        ('{"index": 1', "line 2: .*delimiter"),
        ('{"index": 1}', "line 2: time_s: is missing"),
        ('{"error": {"code": "truncated"}}', "line 2: the run that wrote this failed: .*truncated"),
    ],
)
def test_a_bad_line_of_ndjson_is_named_after_the_good_ones_were_given(
    tmp_path: Path, line: str, message: str
) -> None:
    path = tmp_path / "results.ndjson"
    path.write_text(ndjson_line(example()) + line)
    reader = read_ndjson(path)
    assert next(reader) == example()
    with pytest.raises(ValueError, match=f"results.ndjson, {message}"):
        next(reader)


def test_mots_text_survives_the_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "0001.txt"
    path.write_text("".join(mots_lines(example())))
    assert path.read_text() == "0 2001 2 3 4 345\n"
    (found,) = read_mots(path)
    assert (found.frame, found.object_id, found.class_id, found.mask) == (0, 2001, 2, Rle(3, 4, "345"))


def test_mots_text_needs_rle() -> None:
    with pytest.raises(ValueError, match="person 1 of frame 0"):
        list(mots_lines(example(Polygons((3, 4), ()))))


@pytest.mark.parametrize(
    "line, message",
    [
        ("0 2001 2 3 4", "got 5 words"),
        ("0 x 2 3 4 345", "invalid literal"),
        ("-1 2001 2 3 4 345", "negative"),
        ("0 2001 2 3 5 345", "do not sum to 3x5"),
        ("0 2001 2 3 4 345\n0 2001 2 3 4 345", "object 2001 is in frame 0 twice"),
    ],
)
def test_a_bad_line_of_mots_text_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "0001.txt"
    path.write_text(line)
    number = line.count("\n") + 1
    with pytest.raises(ValueError, match=f"0001.txt, line {number}: .*{message}"):
        list(read_mots(path))
