"""Results in the forms of other tools, read back by those tools."""

import contextlib
import io
import sys
from dataclasses import replace

import numpy as np
import pytest
from pycocotools.coco import COCO

from partstream_client import Frame, MissingExtraError, NoMaskError, UnknownSizeError
from partstream_client.convert import parts_to_supervision, to_coco, to_supervision
from partstream_core import rle
from partstream_core.coco_keypoints import joints_of
from partstream_core.joints import JOINTS
from partstream_core.labels import PARTS
from partstream_core.results import FrameResult, JointResult, PartResult, PersonResult

SIZE = (12, 9)
Pixels = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


def rectangle(top: int, left: int, bottom: int, right: int) -> Pixels:
    mask = np.zeros(SIZE, np.bool_)
    mask[top:bottom, left:right] = True
    return mask


BODY, HAIR, OTHER = rectangle(1, 2, 8, 6), rectangle(1, 2, 3, 6), rectangle(5, 7, 12, 9)


def frame(index: int = 4, *, masks: bool = True) -> Frame:
    def of(mask: Pixels) -> rle.Rle | None:
        return rle.encode(mask) if masks else None

    hair = PartResult("hair", 0.75, int(HAIR.sum()), of(HAIR))
    first = PersonResult(3, 0.9, (2.0, 1.0, 6.0, 8.0), of(BODY), (hair,))
    second = PersonResult(8, 0.5, (7.0, 5.0, 9.0, 12.0), of(OTHER), ())
    return Frame(FrameResult(index, 0.2, True, (first, second)))


def empty(size: tuple[int, int] | None) -> Frame:
    return Frame(FrameResult(0, 0.0, True, ()), size)


def read_by_coco(data: dict[str, object]) -> COCO:
    reader = COCO()
    reader.dataset = data
    with contextlib.redirect_stdout(io.StringIO()):
        reader.createIndex()
    return reader


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' own
def test_coco_reads_the_masks_that_were_found() -> None:
    data = to_coco([empty(SIZE), frame()], file_name="shot_{index}.jpg")
    reader = read_by_coco(data)

    assert [image["file_name"] for image in reader.loadImgs([1, 2])] == ["shot_0.jpg", "shot_4.jpg"]
    found = {
        (note["track_id"], reader.cats[note["category_id"]]["name"]): note
        for note in reader.loadAnns(reader.getAnnIds(imgIds=[2]))
    }
    assert found.keys() == {(3, "person"), (3, "hair"), (8, "person")}
    for name, mask in {(3, "person"): BODY, (3, "hair"): HAIR, (8, "person"): OTHER}.items():
        np.testing.assert_array_equal(reader.annToMask(found[name]), mask)
        assert found[name]["area"] == mask.sum()
    assert found[3, "hair"]["bbox"] == [2.0, 1.0, 4.0, 2.0]
    assert found[3, "hair"]["score"] == 0.75
    assert reader.getAnnIds(imgIds=[1]) == []


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' own
def test_coco_reads_the_joints_of_people_who_have_them() -> None:
    joints = tuple(JointResult(name, at + 0.5, at + 1.5, at / 16) for at, name in enumerate(JOINTS))
    first, second = frame().record.people
    record = replace(frame().record, people=(replace(first, joints=joints), second))
    reader = read_by_coco(to_coco([Frame(record)]))
    (person,) = reader.loadCats(reader.getCatIds(catNms=["person"]))
    assert person["keypoints"] == list(JOINTS)
    bones = [[person["keypoints"][end - 1] for end in bone] for bone in person["skeleton"]]
    assert ["left_shoulder", "left_elbow"] in bones
    notes = reader.loadAnns(reader.getAnnIds(imgIds=[1], catIds=[person["id"]]))
    jointed, without = sorted(notes, key=lambda note: int(note["track_id"]))
    assert jointed["keypoints"][3:6] == [1.5, 2.5, 1], "hardly seen, but its place is told"
    assert jointed["keypoints"][-3:] == [16.5, 17.5, 2]
    assert jointed["num_keypoints"] == 17
    assert joints_of(jointed) == joints
    assert "keypoints" not in without


def test_coco_wants_masks_and_sizes() -> None:
    with pytest.raises(NoMaskError):
        to_coco([Frame(frame(masks=False).record, SIZE)])
    with pytest.raises(UnknownSizeError, match="frame 0"):
        to_coco([empty(None)])


def test_supervision_sees_people_with_their_identities() -> None:
    supervision = pytest.importorskip("supervision")
    detections = to_supervision(frame())
    assert isinstance(detections, supervision.Detections)
    np.testing.assert_array_equal(detections.tracker_id, [3, 8])
    np.testing.assert_array_equal(detections.xyxy, [[2, 1, 6, 8], [7, 5, 9, 12]])
    np.testing.assert_array_equal(detections.mask, [BODY, OTHER])
    np.testing.assert_allclose(detections.confidence, [0.9, 0.5])
    np.testing.assert_array_equal(detections.area, [BODY.sum(), OTHER.sum()])
    assert to_supervision(frame(masks=False)).mask is None


def test_supervision_sees_parts_with_their_owners() -> None:
    pytest.importorskip("supervision")
    detections = parts_to_supervision(frame())
    np.testing.assert_array_equal(detections.tracker_id, [3])
    np.testing.assert_array_equal(detections.class_id, [PARTS.index("hair")])
    np.testing.assert_array_equal(detections.data["class_name"], ["hair"])
    np.testing.assert_array_equal(detections.xyxy, [[2, 1, 6, 3]])
    np.testing.assert_array_equal(detections.mask, [HAIR])


def test_a_frame_without_people_is_no_detection() -> None:
    pytest.importorskip("supervision")
    assert len(to_supervision(empty(SIZE))) == len(parts_to_supervision(empty(SIZE))) == 0


def test_without_supervision_the_error_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'partstream-client\[supervision\]'"):
        to_supervision(frame())
