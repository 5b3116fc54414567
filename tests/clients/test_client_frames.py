"""What a client makes of the server's JSON."""

import json
from dataclasses import replace

import numpy as np
import pytest

from partstream_client import NoMaskError
from partstream_client.frames import Frame, frame_from, result_from
from partstream_client.people import Joint
from partstream_core import rle
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
    frame_to_json,
)

HEIGHT, WIDTH = 12, 9


def rectangle(
    top: int, left: int, bottom: int, right: int
) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[top:bottom, left:right] = True
    return mask


def person(identity: int, mask: Mask, parts: dict[str, Mask]) -> PersonResult:
    results = tuple(PartResult(name, 0.5, 1, part_mask) for name, part_mask in parts.items())
    return PersonResult(identity, 0.9, (0.0, 0.0, 4.0, 5.0), mask, results)


def through_json(record: FrameResult) -> Frame:
    return frame_from(json.loads(json.dumps(frame_to_json(record))))


def test_masks_come_back_as_the_arrays_that_were_sent() -> None:
    body, hair = rectangle(1, 2, 8, 6), rectangle(1, 2, 3, 6)
    record = FrameResult(3, 0.1, True, (person(7, rle.encode(body), {"hair": rle.encode(hair)}),))

    (found,) = through_json(record).people

    np.testing.assert_array_equal(found.mask, body)
    np.testing.assert_array_equal(found.parts["hair"].mask, hair)


def test_a_mask_is_decoded_once() -> None:
    record = FrameResult(0, 0.0, True, (person(1, rle.encode(rectangle(0, 0, 3, 3)), {}),))
    (found,) = through_json(record).people
    assert found.mask is found.mask


def test_a_ring_inside_another_is_a_hole() -> None:
    outer = (1.0, 1.0, 8.0, 1.0, 8.0, 11.0, 1.0, 11.0)
    inner = (3.0, 3.0, 6.0, 3.0, 6.0, 8.0, 3.0, 8.0)
    record = FrameResult(0, 0.0, True, (person(1, Polygons((HEIGHT, WIDTH), (outer, inner)), {}),))
    (found,) = through_json(record).people
    np.testing.assert_array_equal(found.mask, rectangle(1, 1, 11, 8) ^ rectangle(3, 3, 8, 6))


def test_asking_for_a_mask_that_was_not_wanted_says_so() -> None:
    (found,) = through_json(FrameResult(0, 0.0, True, (person(1, None, {}),))).people
    with pytest.raises(NoMaskError, match="masks='rle'"):
        _ = found.mask


def test_joints_are_found_by_name() -> None:
    joints = (JointResult("nose", 4.5, 1.0, 0.875), JointResult("left_wrist", -2.0, 7.25, 0.125))
    record = replace(person(1, None, {}), joints=joints)
    found, without = through_json(FrameResult(0, 0.0, True, (record, person(2, None, {})))).people
    assert list(found.joints) == ["nose", "left_wrist"]
    assert found.joints["left_wrist"] == Joint("left_wrist", -2.0, 7.25, 0.125)
    assert without.joints == {}


def test_maps_show_every_part_and_identity_in_its_place() -> None:
    left, right = rectangle(0, 0, 4, 3), rectangle(2, 4, 9, 8)
    record = FrameResult(
        0,
        0.0,
        True,
        (
            person(4, rle.encode(left), {"face": rle.encode(left)}),
            person(9, rle.encode(right), {"pants": rle.encode(right)}),
        ),
    )
    frame = through_json(record)

    expected_parts = left * PARTS.index("face") + right * PARTS.index("pants")
    np.testing.assert_array_equal(frame.part_map, expected_parts)
    np.testing.assert_array_equal(frame.identity_map, left * 4 + right * 9)


def test_a_document_comes_back_whole() -> None:
    video = VideoInfo(WIDTH, HEIGHT, 2, 29.97, 0.07, 1)
    model = ModelInfo("partstream-live", "0.1.0", "openvino", PARTS[1:])
    frames = (
        FrameResult(0, 0.0, True, (person(1, rle.encode(rectangle(0, 0, 2, 2)), {}),)),
        FrameResult(1, 0.03, False, ()),
    )

    result = result_from(json.loads(json.dumps(document_to_json(video, model, frames))))

    assert (result.video, result.model) == (video, model)
    assert tuple(frame.record for frame in result.frames) == frames


@pytest.mark.parametrize("lost", ["video", "model", "frames"])
def test_a_document_without_a_field_is_refused_by_its_name(lost: str) -> None:
    document = document_to_json(
        VideoInfo(WIDTH, HEIGHT, 0, 25.0, 0.0, 0), ModelInfo("b", "1", "openvino", ()), ()
    )
    del document[lost]
    with pytest.raises(ValueError, match=lost):
        result_from(document)
