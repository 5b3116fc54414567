"""People of COCO and OCHuman in their published layouts, drawn small, and masks as COCO writes them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco

from partstream_core.labels import VOID
from partstream_models.data.readers.formats import DataFormat, open_data
from partstream_models.data.readers.masks import decode_mask, stack_masks

HEIGHT, WIDTH = 20, 28


def ring(top: int, left: int, height: int, width: int) -> list[int]:
    return [left, top, left + width, top, left + width, top + height, left, top + height]


def rect(top: int, left: int, height: int, width: int) -> NDArray[np.bool_]:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top : top + height, left : left + width] = True
    return mask


def packed(mask: NDArray[np.bool_]) -> dict[str, Any]:
    found = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [HEIGHT, WIDTH], "counts": found["counts"].decode()}


def draw_images(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        values = np.random.default_rng(int(Path(name).stem)).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        Image.fromarray(values).save(folder / name)


CROWD = rect(14, 20, 4, 8)


def coco_document() -> dict[str, Any]:
    return {
        "images": [{"id": 9, "file_name": "000009.jpg"}, {"id": 10, "file_name": "000010.jpg"}],
        "annotations": [
            {"id": 1, "image_id": 9, "category_id": 1, "segmentation": [ring(2, 2, 12, 10)], "iscrowd": 0},
            {"id": 2, "image_id": 9, "category_id": 1, "segmentation": [ring(6, 8, 6, 6)], "iscrowd": 0},
            {"id": 3, "image_id": 9, "category_id": 1, "segmentation": packed(CROWD), "iscrowd": 1},
            {"id": 4, "image_id": 10, "category_id": 18, "segmentation": [ring(2, 2, 3, 3)], "iscrowd": 0},
        ],
    }  # fmt: skip


def draw_coco(folder: Path, document: dict[str, Any], *, kind: str = "person_keypoints") -> Path:
    draw_images(folder / "train2017", "000009.jpg", "000010.jpg")
    (folder / "annotations").mkdir(exist_ok=True)
    (folder / "annotations" / f"{kind}_train2017.json").write_text(json.dumps(document))
    return folder


@pytest.mark.parametrize("kind", ["person_keypoints", "instances"])
def test_coco_has_people_and_crowds_are_void(tmp_path: Path, kind: str) -> None:
    (photo,) = open_data(draw_coco(tmp_path, coco_document(), kind=kind), DataFormat.COCO, "train")
    assert (photo.name, photo.num_frames) == ("000009", 1)
    frame = photo.frame(0)
    assert frame.instances_HW is not None
    assert np.array_equal(frame.instances_HW == 2, rect(6, 8, 6, 6))
    assert np.array_equal(frame.instances_HW == 1, rect(2, 2, 12, 10) & ~rect(6, 8, 6, 6))
    assert np.array_equal(frame.instances_HW == VOID, CROWD)
    assert frame.identities_N.tolist() == [1, 2]


def test_damaged_annotations_of_coco_are_told(tmp_path: Path) -> None:
    def refuses(document: dict[str, Any], told: str) -> None:
        draw_coco(tmp_path, document)
        with pytest.raises(ValueError, match=told):
            open_data(tmp_path, DataFormat.COCO, "train")[0].frame(0)

    refuses({"images": []}, r"person_keypoints_train2017\.json is damaged: KeyError\('annotations'\)")
    refuses(coco_document() | {"images": []}, "there is no image 9")
    for segmentation, told in [
        ([[1, 2, 3]], "three points"),
        ([["a", 1, 2, 3, 4, 5]], "must be numbers"),
        ([[float("nan")] * 6], "NaN"),
        ({"size": [1, 1], "counts": "0"}, r"its mask is \[1, 1\]"),
        ({"size": [HEIGHT, WIDTH], "counts": "???"}, "annotation 1 of 000009.jpg is damaged"),
        (7, "polygons or run lengths"),
    ]:
        document = coco_document()
        document["annotations"][0]["segmentation"] = segmentation
        refuses(document, told)
    with pytest.raises(ValueError, match=r"no file .*val2017\.json"):
        open_data(tmp_path, DataFormat.COCO, "val")
    document = coco_document()
    document["annotations"] = document["annotations"][3:]
    draw_coco(tmp_path, document)
    with pytest.raises(ValueError, match="no frames with people in its split train"):
        open_data(tmp_path, DataFormat.COCO, "train")


def test_ochuman_reads_both_of_its_forms(tmp_path: Path) -> None:
    draw_images(tmp_path / "images", "000009.jpg", "000010.jpg")
    coco_form = tmp_path / "ochuman_coco_format_val_range_0.00_1.00.json"
    coco_form.write_text(json.dumps(coco_document()))
    (photo,) = open_data(tmp_path, DataFormat.OCHUMAN, "val")
    assert photo.frame(0).identities_N.tolist() == [1, 2]
    rings = {"outer": [ring(2, 2, 12, 12)], "inner": [ring(5, 5, 4, 4)]}
    people: list[dict[str, Any]] = [
        {"bbox": [2, 2, 14, 14], "segms": rings},
        {"bbox": [20, 3, 26, 9], "segms": None},
    ]
    own = {"images": [{"image_id": "000010", "file_name": "000010.jpg", "annotations": people}]}
    (tmp_path / "ochuman.json").write_text(json.dumps(own))
    (photo,) = open_data(tmp_path, DataFormat.OCHUMAN, "all")
    frame = photo.frame(0)
    assert frame.instances_HW is not None
    assert np.array_equal(frame.instances_HW == 1, rect(2, 2, 12, 12) & ~rect(5, 5, 4, 4))
    assert np.array_equal(frame.instances_HW == VOID, rect(3, 20, 6, 6))
    people[0]["segms"] = {}
    (tmp_path / "ochuman.json").write_text(json.dumps(own))
    with pytest.raises(ValueError, match=r"a person of 000010\.jpg is damaged"):
        open_data(tmp_path, DataFormat.OCHUMAN, "all")[0].frame(0)
    with pytest.raises(ValueError, match="has val, test and all, not 'train'"):
        open_data(tmp_path, DataFormat.OCHUMAN, "train")
    with pytest.raises(ValueError, match="test_range"):
        open_data(tmp_path, DataFormat.OCHUMAN, "test")


@given(mask=arrays(np.bool_, (HEIGHT, WIDTH)))
def test_packed_run_lengths_give_the_mask_back(mask: NDArray[np.bool_]) -> None:
    assert np.array_equal(decode_mask(packed(mask), HEIGHT, WIDTH), mask)


@given(
    corners=st.lists(
        st.tuples(st.integers(0, 12), st.integers(0, 16), st.integers(1, 8), st.integers(1, 12)),
        min_size=1,
        max_size=4,
    )
)
def test_polygons_cover_what_their_rectangles_do(corners: list[tuple[int, int, int, int]]) -> None:
    expected = np.logical_or.reduce([rect(*corner) for corner in corners])
    rings = [ring(*corner) for corner in corners]
    assert np.array_equal(decode_mask(rings, HEIGHT, WIDTH), expected)


def test_more_people_than_rows_are_void() -> None:
    masks = [np.zeros((1, 300), bool) for _ in range(300)]
    for number, mask in enumerate(masks):
        mask[0, number] = True
    stacked = stack_masks(masks, np.zeros((1, 300), bool))
    assert stacked[0, :254].tolist() == list(range(1, 255))
    assert (stacked[0, 254:] == VOID).all()
