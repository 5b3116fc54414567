"""Results in other formats, read back by the tools they are for, or by the rules those document."""

import contextlib
import csv
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from PIL import Image as PillowImage
from pycocotools.coco import COCO

from partstream_core import rle
from partstream_core.convert import FormatError, Options, Target, convert, read_results
from partstream_core.convert.label_studio import brush_rle
from partstream_core.convert.table import COLOURS, COLUMNS
from partstream_core.joints import JOINTS
from partstream_core.labels import PARTS
from partstream_core.outlines import as_ring, fill, outlines
from partstream_core.regions import NoMaskError, region_of
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
)
from partstream_core.results_io import ndjson_line

SIZE = (48, 64)
Pixels = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
Image = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


def box(top: int, left: int, bottom: int, right: int) -> Pixels:
    mask = np.zeros(SIZE, np.bool_)
    mask[top:bottom, left:right] = True
    return mask


BODY = box(0, 0, 40, 30)
HAIR = box(0, 4, 9, 20) & ~box(3, 8, 6, 12)  # with a hole
SHOES = box(34, 2, 39, 9) | box(35, 20, 40, 30)  # two pieces
SCARF = box(10, 10, 11, 11) | box(11, 11, 12, 12)  # two pixels that touch diagonally
OTHER = box(5, 40, 48, 64)  # at the frame's borders


def as_polygons(mask: Pixels) -> Mask:
    return Polygons(SIZE, tuple(as_ring(ring) for ring in outlines(mask)))


def person(identity: int, whole: Pixels, parts: dict[str, Pixels], *, polygons: bool = False) -> PersonResult:
    form = as_polygons if polygons else rle.encode
    found = tuple(
        PartResult(name, 0.5 + at / 10, int(mask.sum()), form(mask))
        for at, (name, mask) in enumerate(parts.items())
    )
    return PersonResult(identity, 0.25 * identity, (0.0, 0.0, 1.0, 1.0), form(whole), found)


FIRST = {"hair": HAIR, "left-shoe": SHOES, "scarf": SCARF}
FRAMES = (
    FrameResult(0, 0.0, True, (person(1, BODY, FIRST), person(2, OTHER, {"coat": OTHER}))),
    FrameResult(3, 0.12, False, (person(2, OTHER, {"coat": OTHER}, polygons=True),)),
    FrameResult(6, 0.24, False, ()),
    FrameResult(9, 0.36, True, (person(1, BODY, {"hair": HAIR}),)),
)
TRUTH = {
    (frame.index, each.identity, name): mask
    for frame in FRAMES
    for each in frame.people
    for name, mask in {
        1: {"person": BODY, **(FIRST if frame.index == 0 else {"hair": HAIR})},
        2: {"person": OTHER, "coat": OTHER},
    }[each.identity].items()
}
"""The mask of each frame, identity and label."""
PARTS_TRUTH = {key: mask for key, mask in TRUTH.items() if key[2] != "person"}


def picture(index: int) -> Image:
    return np.random.default_rng(index).integers(0, 256, (*SIZE, 3), np.uint8)


def filled(path: list[tuple[float, float]]) -> Pixels:
    """The pixels whose middles a closed path encloses, by the even-odd rule."""
    inside = np.zeros(SIZE, np.bool_)
    y_H, x_W = np.arange(SIZE[0]) + 0.5, np.arange(SIZE[1]) + 0.5
    for (x0, y0), (x1, y1) in zip(path, [*path[1:], path[0]], strict=True):
        if y0 != y1:
            crossed_H = (y_H > min(y0, y1)) & (y_H < max(y0, y1))
            at_H = x0 + (y_H - y0) * (x1 - x0) / (y1 - y0)
            inside ^= crossed_H[:, None] & (at_H[:, None] < x_W)
    return inside


def check_table(rows: list[dict[str, object]], *, colours: bool) -> None:
    assert len(rows) == len(PARTS_TRUTH)
    for row in rows:
        mask = PARTS_TRUTH[int(str(row["frame"])), int(str(row["identity"])), str(row["part"])]
        ys, xs = np.nonzero(mask)
        expected = {
            "time_s": int(str(row["frame"])) * 0.04,
            "person_score": 0.25 * int(str(row["identity"])),
            "area_px": mask.sum(),
            "centroid_x": xs.mean() + 0.5,
            "centroid_y": ys.mean() + 0.5,
            "x0": xs.min(),
            "y0": ys.min(),
            "x1": xs.max() + 1,
            "y1": ys.max() + 1,
        }
        if colours:
            means = picture(int(str(row["frame"])))[mask].mean(axis=0)
            expected |= dict(zip(COLOURS, means, strict=True))
        for name, value in expected.items():
            assert float(str(row[name])) == pytest.approx(float(value), abs=0.006), name


@pytest.mark.parametrize("colours", [False, True])
def test_csv_has_a_row_for_each_person_and_part(tmp_path: Path, colours: bool) -> None:
    out = tmp_path / "table.csv"
    assert convert(FRAMES, "csv", out, pictures=picture if colours else None) == 4
    with out.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        assert reader.fieldnames == [*COLUMNS, *(COLOURS if colours else ())]
        rows: list[dict[str, object]] = [dict(row) for row in reader]
    check_table(rows, colours=colours)


@pytest.mark.parametrize("colours", [False, True])
def test_parquet_has_the_same_rows_with_types(tmp_path: Path, colours: bool) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "table.parquet"
    convert(FRAMES, "parquet", out, pictures=picture if colours else None)
    table = parquet.read_table(out)
    kinds = {int: "int64", float: "double", str: "string"}
    columns = COLUMNS | (COLOURS if colours else {})
    assert [(each.name, str(each.type)) for each in table.schema] == [
        (name, kinds[kind]) for name, kind in columns.items()
    ]
    check_table(table.to_pylist(), colours=colours)


def test_coco_reads_videos_tracks_and_masks(tmp_path: Path) -> None:
    out = tmp_path / "coco.json"
    convert(FRAMES, "coco", out, options=Options(name="clip", image_name="shot_{index}.jpg"))
    with contextlib.redirect_stdout(io.StringIO()):
        reader = COCO(str(out))
    assert reader.dataset["videos"] == [{"id": 1, "name": "clip", "height": 48, "width": 64}]
    images = reader.loadImgs(reader.getImgIds())
    assert [image["frame_id"] for image in images] == [0, 3, 6, 9]
    assert [image["file_name"] for image in images][1] == "shot_3.jpg"
    assert {(image["height"], image["width"], image["video_id"]) for image in images} == {(*SIZE, 1)}
    found = {}
    for note in reader.loadAnns(reader.getAnnIds()):
        frame = reader.imgs[note["image_id"]]["frame_id"]
        found[frame, note["track_id"], reader.cats[note["category_id"]]["name"]] = note
    assert found.keys() == TRUTH.keys()
    for key, mask in TRUTH.items():
        segmentation = found[key]["segmentation"]
        height, width = segmentation["size"]
        runs = rle.Rle(height, width, segmentation["counts"])
        np.testing.assert_array_equal(rle.decode(runs), mask)
        assert found[key]["area"] == mask.sum()
        ys, xs = np.nonzero(mask)
        extent = [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]
        assert found[key]["bbox"] == extent


def test_coco_has_keypoints_where_people_have_joints(tmp_path: Path) -> None:
    joints = tuple(JointResult(name, 1.0, 2.0, 0.9) for name in JOINTS)
    jointed = replace(FRAMES[0], people=(replace(FRAMES[0].people[0], joints=joints),))
    convert([jointed], "coco", tmp_path / "coco.json")
    data = json.loads((tmp_path / "coco.json").read_text())
    assert data["annotations"][0]["num_keypoints"] == 17
    assert data["categories"][-1]["keypoints"] == list(JOINTS)


def cvat_tracks(path: Path) -> Iterator[tuple[int, str, ElementTree.Element]]:
    """Identity, label and element of each track of a file in CVAT's documented form."""
    root = ElementTree.parse(path).getroot()  # noqa: S314  (our own file)
    assert root.tag == "annotations"
    assert root.findtext("version") == "1.1"
    labels = {each.text for each in root.iterfind("meta/task/labels/label/name")}
    assert labels == {"person", *PARTS[1:]}
    numbers = [int(track.attrib["id"]) for track in root.iterfind("track")]
    assert numbers == list(range(len(numbers)))
    for track in root.iterfind("track"):
        assert track.attrib["label"] in labels
        yield int(track.attrib["group_id"]), track.attrib["label"], track


def test_cvat_tracks_follow_people_and_parts(tmp_path: Path) -> None:
    out = tmp_path / "annotations.xml"
    convert(FRAMES, "cvat", out, options=Options(name="a <b> & c"))
    found, outside = {}, set()
    for identity, label, track in cvat_tracks(out):
        frames = [int(shape.attrib["frame"]) for shape in track]
        assert frames == sorted(set(frames))
        for shape in track:
            assert shape.tag == "polygon"
            assert shape.attrib.keys() == {"frame", "keyframe", "outside", "occluded", "z_order", "points"}
            assert shape.attrib["keyframe"] == "1"
            assert shape.findtext("attribute[@name='identity']") == str(identity)
            pairs = [tuple(map(float, pair.split(","))) for pair in shape.attrib["points"].split(";")]
            key = (int(shape.attrib["frame"]), identity, label)
            if shape.attrib["outside"] == "1":
                outside.add(key)
            else:
                found[key] = filled([(x, y) for x, y in pairs])
    assert found.keys() == TRUTH.keys()
    for key, mask in TRUTH.items():
        np.testing.assert_array_equal(found[key], mask)
    parts_of_first = {(3, 1, name) for name in ("person", *FIRST)}
    assert outside == parts_of_first | {(6, 2, "person"), (6, 2, "coat")}
    root = ElementTree.parse(out).getroot()  # noqa: S314
    task = root.find("meta/task")
    assert task is not None
    assert (task.findtext("name"), task.findtext("size"), task.findtext("mode")) == (
        "a <b> & c",
        "10",
        "interpolation",
    )
    assert task.findtext("original_size/width") == "64"


def check_yolo(files: dict[str, bytes]) -> None:
    data = yaml.safe_load(files["data.yaml"])
    assert data["names"][0] == "person"
    labels = {name: text for name, text in files.items() if name.startswith("labels/")}
    assert labels.keys() == {f"labels/train/{frame.index:06d}.txt" for frame in FRAMES}
    for frame in FRAMES:
        lines = labels[f"labels/train/{frame.index:06d}.txt"].decode().splitlines()
        expected = [(label, mask) for (index, _, label), mask in TRUTH.items() if index == frame.index]
        found = []
        for line in lines:
            number, *rest = line.split(" ")
            places = [float(word) for word in rest]
            assert len(places) >= 6
            assert len(places) % 2 == 0
            assert all(0 <= place <= 1 for place in places)
            xs, ys = (np.array(places[0::2]) * SIZE[1], np.array(places[1::2]) * SIZE[0])
            found.append((data["names"][int(number)], filled(list(zip(xs, ys, strict=True)))))
        assert [label for label, _ in found] == [label for label, _ in expected]
        for (_, ours), (_, mask) in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours, mask)


def test_yolo_polygons_fill_to_the_masks_in_a_folder_and_in_an_archive(tmp_path: Path) -> None:
    convert(FRAMES, "yolo-seg", tmp_path / "set")
    files = {
        str(path.relative_to(tmp_path / "set")): path.read_bytes()
        for path in (tmp_path / "set").rglob("*")
        if path.is_file()
    }
    check_yolo(files)
    convert(FRAMES, "yolo-seg", tmp_path / "set.zip")
    with zipfile.ZipFile(tmp_path / "set.zip") as archive:
        assert archive.testzip() is None
        check_yolo({name: archive.read(name) for name in archive.namelist()})


def test_yolo_has_the_images_where_there_are_pictures(tmp_path: Path) -> None:
    convert(FRAMES, "yolo-seg", tmp_path / "set", pictures=picture)
    names = sorted(path.name for path in (tmp_path / "set" / "images" / "train").iterdir())
    assert names == [f"{frame.index:06d}.jpg" for frame in FRAMES]
    with PillowImage.open(tmp_path / "set" / "images" / "train" / names[0]) as image:
        assert image.size == (64, 48)


def unpacked(data: list[int]) -> Image:
    """The values of rle-pack's bytes: the decoder of its documentation, bit by bit."""
    bits = "".join(f"{byte:08b}" for byte in data)
    at = 0

    def read(size: int) -> int:
        nonlocal at
        at += size
        return int(bits[at - size : at], 2)

    num, word_size = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    values = np.zeros(num, np.uint8)
    place = 0
    while place < num:
        repeated = read(1)
        end = place + 1 + read(sizes[read(2)])
        if repeated:
            values[place:end] = read(word_size)
        else:
            values[place:end] = [read(word_size) for _ in range(end - place)]
        place = end
    assert place == num
    return values


def test_label_studio_brushes_are_the_masks_and_numbers_the_identities(tmp_path: Path) -> None:
    out = tmp_path / "tasks.json"
    options = Options(image_name="/data/local-files/?d=clip/{index:06d}.png")
    convert(FRAMES, "label-studio", out, options=options)
    tasks = json.loads(out.read_text())
    assert [task["data"]["image"] for task in tasks][1] == "/data/local-files/?d=clip/000003.png"
    found = {}
    for task in tasks:
        (prediction,) = task["predictions"]
        regions: dict[str, dict[str, dict[str, Any]]] = {}
        for result in prediction["result"]:
            size = (result["original_height"], result["original_width"])
            assert (result["to_name"], size) == ("image", SIZE)
            regions.setdefault(result["id"], {})[result["type"]] = result["value"]
        for region in regions.values():
            brush = region["brushlabels"]
            assert brush["format"] == "rle"
            image = unpacked(brush["rle"]).reshape(*SIZE, 4)
            found[task["data"]["frame"], region["number"]["number"], brush["brushlabels"][0]] = image
    assert found.keys() == PARTS_TRUTH.keys()
    for key, mask in PARTS_TRUTH.items():
        np.testing.assert_array_equal(found[key], np.repeat(mask[:, :, None] * np.uint8(255), 4, axis=2))


def test_label_studio_rle_holds_runs_longer_than_its_longest_block() -> None:
    mask = np.zeros((300, 400), np.bool_)
    mask[100:250] = True
    region = region_of(rle.encode(mask))
    assert region is not None
    np.testing.assert_array_equal(unpacked(brush_rle(region))[3::4].reshape(mask.shape) > 0, mask)


def write_lines(path: Path, frames: tuple[FrameResult, ...] = FRAMES) -> Path:
    path.write_text("".join(map(ndjson_line, frames)), encoding="utf-8")
    return path


def test_lines_and_documents_hold_the_same_frames(tmp_path: Path) -> None:
    document = document_to_json(
        VideoInfo(64, 48, 10, 25.0, 0.4, 0), ModelInfo("b", "1", "onnxruntime", PARTS[1:]), FRAMES
    )
    path = tmp_path / "results.json"
    for text in (json.dumps(document), json.dumps(document, indent=2, sort_keys=True)):
        path.write_text(text, encoding="utf-8")
        assert tuple(read_results(path)) == FRAMES
    assert tuple(read_results(write_lines(tmp_path / "results.ndjson"))) == FRAMES


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n  \n", "is empty"),
        (b"name,age\n1,2\n", "no partstream results"),
        (b"[1, 2]", "no partstream results"),
        (b'{"images": []}', "no partstream results"),
        (b"\xff\xd8\xff\xe0 JFIF", "no partstream results"),
        (b'{"frames": [{"index": 0}]}', r"frames\[0\]: time_s: is missing"),
        (b'{"video": {}, "frames": [', "Expecting value"),
        (b'{"error": {"code": "truncated"}}', "the run that wrote this failed"),
        (ndjson_line(FRAMES[0]).encode() + ndjson_line(FRAMES[1]).encode()[:-40], "line 2"),
    ],
)
@pytest.mark.parametrize("to", list(Target))
def test_what_is_no_result_is_named_and_leaves_nothing(
    tmp_path: Path, to: Target, content: bytes, message: str
) -> None:
    if to is Target.PARQUET:
        pytest.importorskip("pyarrow")
    path = tmp_path / "results"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        convert(read_results(path), to, tmp_path / "out")
    assert str(path) in str(caught.value)
    assert list(tmp_path.iterdir()) == [path]


def bare(frame: FrameResult) -> FrameResult:
    people = tuple(
        replace(each, mask=None, parts=tuple(replace(part, mask=None) for part in each.parts))
        for each in frame.people
    )
    return replace(frame, people=people)


@pytest.mark.parametrize("to", list(Target))
def test_results_without_masks_or_frames_leave_nothing_and_keep_what_was_there(
    tmp_path: Path, to: Target
) -> None:
    if to is Target.PARQUET:
        pytest.importorskip("pyarrow")
    out = tmp_path / ("old.zip" if to is Target.YOLO_SEG else "old")
    out.write_text("old")
    with pytest.raises(NoMaskError):
        convert([FRAMES[2], bare(FRAMES[0])], to, out)
    with pytest.raises(ValueError, match="no frame"):
        convert([], to, out)
    assert out.read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("to", [Target.COCO, Target.CVAT])
def test_frames_in_which_nobody_is_need_a_picture_for_their_size(tmp_path: Path, to: Target) -> None:
    out = tmp_path / "out"
    with pytest.raises(ValueError, match="name the video"):
        convert([FRAMES[2]], to, out)
    assert list(tmp_path.iterdir()) == []
    convert([FRAMES[2]], to, out, pictures=picture)
    assert out.is_file()


def test_what_must_not_be_replaced_is_not(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no file"):
        convert(FRAMES, "csv", tmp_path)
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(ValueError, match="no empty folder"):
        convert(FRAMES, "yolo-seg", tmp_path)
    with pytest.raises(ValueError, match="no file"):
        convert(FRAMES, "csv", Path("/dev/null"))
    with pytest.raises(FileNotFoundError):
        convert(FRAMES, "csv", tmp_path / "missing" / "table.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_formats_and_names_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="'excel'; there are csv, parquet, coco"):
        convert(FRAMES, "excel", tmp_path / "out")
    with pytest.raises(FormatError, match="no use"):
        convert(FRAMES, "label-studio", tmp_path / "out", pictures=picture)
    for pattern in ("{number}.png", "{index", "frame.png", "{index.x}"):
        with pytest.raises(ValueError, match="image name"):
            Options(image_name=pattern)
    odd = replace(FRAMES[0].people[0].parts[0], part="tail")
    frame = replace(FRAMES[0], people=(replace(FRAMES[0].people[0], parts=(odd,)),))
    with pytest.raises(ValueError, match="no part 'tail'"):
        convert([frame], "coco", tmp_path / "out")


def test_without_pyarrow_the_error_names_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'partstream-core\[parquet\]'"):
        convert(FRAMES, "parquet", tmp_path / "table.parquet")
    assert list(tmp_path.iterdir()) == []


def test_writing_parquet_starts_no_thread_of_jemalloc(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    if not Path("/proc/self/task").is_dir():
        pytest.skip("thread names are read from /proc")
    lines = [
        "from pathlib import Path",
        "from partstream_core.convert.table import ParquetWriter",
        f"ParquetWriter(Path({str(tmp_path / 'table.parquet')!r}), colours=False).close()",
        "print([path.read_text() for path in Path('/proc/self/task').glob('*/comm')])",
    ]
    names = {"JE_ARROW_MALLOC_CONF", "ARROW_DEFAULT_MEMORY_POOL"}
    environment = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], env=environment, capture_output=True, text=True, check=True
    )
    assert "jemalloc" not in done.stdout
    assert done.stdout.startswith("[")


def test_the_masks_of_this_test_have_holes_pieces_and_borders() -> None:
    assert len(outlines(HAIR)) == 2
    assert len(outlines(SHOES)) == len(outlines(SCARF)) == 2
    polygons = as_polygons(OTHER)
    assert isinstance(polygons, Polygons)
    assert np.array_equal(fill(polygons), OTHER)
