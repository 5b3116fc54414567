"""DAVIS, YouTube-VIS (and HVIS) and FlyingChairs in their published layouts, drawn small."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco

from partstream_core.labels import VOID
from partstream_models.data.readers.formats import DataFormat, open_data
from tests.models.reader_trees import (
    HEIGHT,
    WIDTH,
    draw_chairs,
    draw_davis,
    picture,
    rect,
    save,
)


def test_davis_2017_keeps_each_object_apart_over_all_frames(tmp_path: Path) -> None:
    (clip,) = open_data(draw_davis(tmp_path, year="2017"), DataFormat.DAVIS, "train")
    assert (clip.name, clip.num_frames, clip.labelled) == ("bear", 3, (0, 1, 2))
    for number in clip.labelled:
        frame = clip.frame(number)
        assert frame.parts_HW is None
        assert frame.instances_HW is not None
        assert frame.identities_N.tolist() == [1, 4]
        assert np.array_equal(frame.instances_HW == 1, rect(2, 3 + number, 10, 6))
        assert np.array_equal(frame.instances_HW == 2, rect(4, 18, 8, 8))


def test_davis_2016_has_one_foreground_and_lists_frames(tmp_path: Path) -> None:
    (clip,) = open_data(draw_davis(tmp_path, year="2016"), DataFormat.DAVIS_2016, "train")
    assert (clip.name, clip.num_frames) == ("bear", 3)
    frame = clip.frame(1)
    assert frame.instances_HW is not None
    assert frame.identities_N.tolist() == [1]
    assert np.array_equal(frame.instances_HW == 1, rect(2, 4, 10, 6) | rect(4, 18, 8, 8))


def test_a_davis_frame_without_its_map_is_named(tmp_path: Path) -> None:
    draw_davis(tmp_path, year="2017")
    (tmp_path / "Annotations" / "480p" / "bear" / "00001.png").unlink()
    with pytest.raises(ValueError, match=r"no map .*bear/00001\.png"):
        open_data(tmp_path, DataFormat.DAVIS, "train")
    with pytest.raises(ValueError, match=r"cannot read the list .*2017/val\.txt"):
        open_data(tmp_path, DataFormat.DAVIS, "val")
    with pytest.raises(ValueError, match=r"no file .*480p/train\.txt or .*2016/train\.txt"):
        open_data(tmp_path, DataFormat.DAVIS_2016, "train")


def as_runs(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Run lengths that are not compressed, counted one pixel at a time."""
    counts, last = [0], False
    for value in mask.T.ravel().tolist():
        if value != last:
            counts.append(0)
            last = value
        counts[-1] += 1
    return {"size": [HEIGHT, WIDTH], "counts": counts}


def as_packed(mask: NDArray[np.bool_]) -> dict[str, Any]:
    packed = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [HEIGHT, WIDTH], "counts": packed["counts"].decode()}


def vis_document() -> dict[str, Any]:
    names = ["0a49/00000.jpg", "0a49/00005.jpg"]
    return {
        "videos": [
            {"id": 1, "width": WIDTH, "height": HEIGHT, "length": 2, "file_names": names},
            {"id": 2, "width": WIDTH, "height": HEIGHT, "length": 1, "file_names": ["dogs/00000.jpg"]},
        ],
        "categories": [{"id": 1, "name": "dog"}, {"id": 26, "name": "person"}],
        "annotations": [
            {"id": 5, "video_id": 1, "category_id": 26, "iscrowd": 0,
             "segmentations": [as_runs(rect(2, 2, 12, 8)), as_packed(rect(2, 4, 12, 8))]},
            {"id": 6, "video_id": 1, "category_id": 26, "iscrowd": 0,
             "segmentations": [None, [[14, 5, 24, 5, 24, 15, 14, 15]]]},
            {"id": 7, "video_id": 1, "category_id": 1, "iscrowd": 0, "segmentations": [None, None]},
            {"id": 8, "video_id": 2, "category_id": 1, "iscrowd": 0, "segmentations": [None]},
        ],
    }  # fmt: skip


def draw_vis(folder: Path, document: dict[str, Any], *, nested: bool) -> Path:
    for seed, name in enumerate(["00000.jpg", "00005.jpg"]):
        save(folder / "train" / "JPEGImages" / "0a49" / name, picture(seed))
    path = folder / "train" / "instances.json" if nested else folder / "train.json"
    path.write_text(json.dumps(document))
    return folder


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("data_format", [DataFormat.YOUTUBE_VIS, DataFormat.HVIS])
def test_youtube_vis_follows_people_and_leaves_dogs_out(
    tmp_path: Path, nested: bool, data_format: DataFormat
) -> None:
    (video,) = open_data(draw_vis(tmp_path, vis_document(), nested=nested), data_format, "train")
    assert (video.name, video.num_frames, video.num_people) == ("0a49", 2, 2)
    first, second = video.frame(0), video.frame(1)
    assert first.identities_N.tolist() == [1]
    assert second.identities_N.tolist() == [1, 2]
    assert first.instances_HW is not None
    assert second.instances_HW is not None
    assert np.array_equal(first.instances_HW == 1, rect(2, 2, 12, 8))
    assert np.array_equal(second.instances_HW == 1, rect(2, 4, 12, 8))
    assert np.array_equal(second.instances_HW == 2, rect(5, 14, 10, 10))


def test_damaged_annotations_of_youtube_vis_are_told(tmp_path: Path) -> None:
    def refuses(document: dict[str, Any], told: str) -> None:
        draw_vis(tmp_path, document, nested=False)
        with pytest.raises(ValueError, match=told):
            open_data(tmp_path, DataFormat.YOUTUBE_VIS, "train")[0].frame(0)

    refuses({"videos": []}, r"train\.json is damaged: KeyError\('categories'\)")
    refuses(vis_document() | {"categories": [{"id": 1, "name": "dog"}]}, "has no category 'person'")
    refuses(vis_document() | {"annotations": None}, "no labelled people")
    short = vis_document()
    short["annotations"][0]["segmentations"].pop()
    refuses(short, "person 5 has 1 masks, the video 2 frames")
    other = vis_document()
    other["annotations"][0]["segmentations"][0]["size"] = [3, 3]
    refuses(other, r"frame 0 of person 5 is damaged: its mask is \[3, 3\]")
    runs = vis_document()
    runs["annotations"][0]["segmentations"][0]["counts"] = [1, 2]
    refuses(runs, "do not sum to 24x32")
    (tmp_path / "train.json").write_text("{")
    with pytest.raises(ValueError, match=r"cannot read .*train\.json"):
        open_data(tmp_path, DataFormat.YOUTUBE_VIS, "train")


def test_flying_chairs_are_pairs_with_flow(tmp_path: Path) -> None:
    flow = draw_chairs(tmp_path)
    pairs = open_data(tmp_path, DataFormat.FLYING_CHAIRS, "train")
    assert [pair.name for pair in pairs] == ["00001", "00003"]
    assert [pair.name for pair in open_data(tmp_path, DataFormat.FLYING_CHAIRS, "val")] == ["00002"]
    first, second = pairs[1].frame(0), pairs[1].frame(1)
    assert np.array_equal(first.image_HWC, picture(31))
    assert np.array_equal(second.image_HWC, picture(32))
    assert first.flow_HW2 is not None
    assert np.array_equal(first.flow_HW2, flow)
    assert second.flow_HW2 is None


def test_flow_files_that_are_none_are_named(tmp_path: Path) -> None:
    draw_chairs(tmp_path)
    path = tmp_path / "data" / "00001_flow.flo"
    whole = path.read_bytes()
    pair = open_data(tmp_path, DataFormat.FLYING_CHAIRS, "train")[0]
    for content, told in [
        (b"no", "is no flow file"),
        (whole[:-8], "bytes"),
        (whole[:4] + np.array([-1, 3], "<i4").tobytes(), "says that it is -1x3"),
        (whole[:4] + np.array([1, 1], "<i4").tobytes() + whole[-8:], "but its image is"),
    ]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"00001_flow\.flo.*{told}"):
            pair.frame(0)
    path.unlink()
    with pytest.raises(ValueError, match=r"cannot read the flow .*00001_flow\.flo"):
        pair.frame(0)
    (tmp_path / "FlyingChairs_train_val.txt").write_text("1\n3\n")
    with pytest.raises(ValueError, match="must hold 1 or 2 in each line, got '3'"):
        open_data(tmp_path, DataFormat.FLYING_CHAIRS, "train")
    with pytest.raises(ValueError, match="train and val, not 'test'"):
        open_data(tmp_path, DataFormat.FLYING_CHAIRS, "test")


def test_davis_void_is_void(tmp_path: Path) -> None:
    draw_davis(tmp_path, year="2017")
    void = np.full((HEIGHT, WIDTH), VOID, np.uint8)
    save(tmp_path / "Annotations" / "480p" / "bear" / "00000.png", void)
    frame = open_data(tmp_path, DataFormat.DAVIS, "train")[0].frame(0)
    assert frame.instances_HW is not None
    assert (frame.instances_HW == VOID).all()
    assert len(frame.identities_N) == 0
