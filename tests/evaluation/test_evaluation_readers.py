"""Truth and results in files: every format read and written, measured, and refused where it is damaged."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner, Result

from partstream_core.joints import JOINTS
from partstream_core.labels import PARTS
from partstream_core.results import JointResult, PersonResult
from partstream_core.rle import decode, encode
from partstream_evaluation.evaluate.cli import app
from partstream_evaluation.readers.formats import Format, guess, read, write
from partstream_evaluation.readers.model import FrameKey, FrameObjects, ResultSet, people_of_maps

SIZE = (24, 32)
FACE, COAT, PANTS = (PARTS.index(name) for name in ("face", "coat", "pants"))
SCORES = {1: 0.875, 2: 0.75}
HOLDS_PARTS = (Format.NDJSON, Format.CIHP, Format.VIP)
HOLDS_SCORES = (Format.NDJSON, Format.VIP, Format.COCO)
HOLDS_IGNORED = (Format.CIHP, Format.COCO, Format.MOTS, Format.DAVIS)


def maps(frame: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Owners and parts of two people who walk apart."""
    owners, parts = np.zeros(SIZE, np.int64), np.zeros(SIZE, np.int64)
    for identity, left in ((1, 8 - frame), (2, 18 + frame)):
        owners[4:22, left : left + 6] = identity
        for part, rows in ((FACE, slice(4, 8)), (COAT, slice(8, 15)), (PANTS, slice(15, 22))):
            parts[rows, left : left + 6] = part
    return owners, parts


def two_people(num_frames: int = 4, *, ignored: bool = False) -> ResultSet:
    """A clip of two people."""
    region = np.zeros(SIZE, bool)
    region[:3] = True
    frames = {
        FrameKey("walk", str(frame)): FrameObjects(
            Path("made"), SIZE, people_of_maps(*maps(frame), SCORES), encode(region) if ignored else None
        )
        for frame in range(num_frames)
    }
    return ResultSet(frames, has_parts=True, has_identities=True)


def place(folder: Path, kind: Format) -> Path:
    return folder / f"{kind}{'.json' if kind is Format.COCO else ''}"


def evaluate(truth: Path, found: Path, *options: str) -> Result:
    line = ["results", "--truth", str(truth), "--predictions", str(found), "--json", *options]
    return CliRunner().invoke(app, line)


@pytest.mark.parametrize("kind", Format)
def test_what_is_written_is_read_again(kind: Format, tmp_path: Path) -> None:
    made = two_people(ignored=kind in HOLDS_IGNORED)
    write(made, place(tmp_path, kind), kind)
    again = read(place(tmp_path, kind))
    assert guess(place(tmp_path, kind)) is kind
    assert set(again.frames) == set(made.frames)
    assert (again.has_parts, again.has_identities) == (kind in HOLDS_PARTS, True)
    for key, frame in made.frames.items():
        mine = again.frames[key]
        assert (mine.size, mine.ignored) == (frame.size, frame.ignored)
        assert [(each.identity, each.mask) for each in mine.people] == [
            (e.identity, e.mask) for e in frame.people
        ]
        if kind in HOLDS_SCORES:
            assert [each.score for each in mine.people] == [each.score for each in frame.people]
        if kind in HOLDS_PARTS:
            assert [{p.part: p.mask for p in each.parts} for each in mine.people] == [
                {p.part: p.mask for p in each.parts} for each in frame.people
            ]


@pytest.mark.parametrize("truth_kind", Format)
@pytest.mark.parametrize("kind", [Format.NDJSON, Format.VIP, Format.MOTS])
def test_results_that_are_the_truth_are_perfect_in_any_formats(
    truth_kind: Format, kind: Format, tmp_path: Path
) -> None:
    truth, found = place(tmp_path / "truth", truth_kind), place(tmp_path / "found", kind)
    write(two_people(), truth, truth_kind)
    write(two_people(), found, kind)
    done = evaluate(truth, found)
    assert done.exit_code == 0, done.stderr
    figures = json.loads(done.stdout)
    expected = {"num_frames": 4, "ap_r_50": 1, "ap_r": 1, "smotsa": 1, "idf1": 1, "num_switches": 0}
    if truth_kind in HOLDS_PARTS and kind in HOLDS_PARTS:
        expected |= {"ap_r_vol": 1, "ap_p_50": 1, "pcp_50": 1, "miou": 1, "person_iou": 1}
    else:
        assert "miou" not in figures
    assert {name: figures[name] for name in expected} == pytest.approx(expected)


def test_two_davis_folders_are_also_measured_by_j_and_f(tmp_path: Path) -> None:
    for name in ("truth", "found"):
        write(two_people(), tmp_path / name, Format.DAVIS)
    figures = json.loads(evaluate(tmp_path / "truth", tmp_path / "found").stdout)
    assert [figures[name] for name in ("j_mean", "f_mean", "j_recall", "j_decay")] == [1, 1, 1, 0]
    (tmp_path / "found/walk/00001.png").unlink()
    worse = json.loads(evaluate(tmp_path / "truth", tmp_path / "found").stdout)
    assert worse["j_mean"] == pytest.approx(0.5), "of frames 1 and 2, the first is lost"


def test_who_is_lost_and_who_is_made_up_costs_what_it_should(tmp_path: Path) -> None:
    """Person 2 is never found; in the region to ignore somebody may be seen or not."""
    truth = two_people(ignored=True)
    write(truth, tmp_path / "truth", Format.CIHP)
    ghost = np.zeros(SIZE, bool)
    ghost[0:3, 2:9] = True
    extra = PersonResult(7, 0.99, (0.0, 0.0, 1.0, 1.0), encode(ghost), ())
    found = ResultSet(
        {key: replace(each, people=(each.people[0], extra)) for key, each in truth.frames.items()}, True, True
    )
    write(found, tmp_path / "found", Format.NDJSON)
    figures = json.loads(evaluate(tmp_path / "truth", tmp_path / "found").stdout)
    assert [figures[name] for name in ("ap_r_50", "pcp_50", "smotsa")] == pytest.approx([0.5, 0.5, 0.5])
    assert figures["person_iou"] == pytest.approx(0.5)


def test_photos_are_clips_of_one_frame(tmp_path: Path) -> None:
    """As `partstream parse --independent` leaves them."""
    one = two_people(1).frames[FrameKey("walk", "0")]
    photos = ResultSet({FrameKey(name, "0"): one for name in ("0010", "0020")}, True, False)
    write(photos, tmp_path / "truth", Format.CIHP)
    write(photos, tmp_path / "found", Format.NDJSON)
    assert (tmp_path / "truth/Category_ids/0010.png").is_file()
    assert (tmp_path / "found/0020/results.ndjson").is_file()
    figures = json.loads(evaluate(tmp_path / "truth", tmp_path / "found").stdout)
    assert (figures["num_frames"], figures["miou"]) == (2, 1)
    assert "smotsa" not in figures, "photos have no identities that last"


def with_joints(found: ResultSet) -> ResultSet:
    """The same people, the first of each frame with joints."""
    joints = tuple(JointResult(name, at - 0.25, at + 0.5, at / 16) for at, name in enumerate(JOINTS))
    return replace(
        found,
        frames={
            key: replace(each, people=(replace(each.people[0], joints=joints), *each.people[1:]))
            for key, each in found.frames.items()
        },
    )


@pytest.mark.parametrize("kind", [Format.NDJSON, Format.COCO])
def test_joints_are_written_and_read_back(tmp_path: Path, kind: Format) -> None:
    path = tmp_path / ("truth.json" if kind is Format.COCO else "truth")
    before = with_joints(two_people())
    write(before, path, kind)
    after = read(path)
    for key, frame in before.frames.items():
        assert [each.joints for each in after.frames[key].people] == [each.joints for each in frame.people]


def test_keypoints_of_other_tools_count_where_they_are_labelled(tmp_path: Path) -> None:
    write(two_people(), tmp_path / "truth.json", Format.COCO)
    document = json.loads((tmp_path / "truth.json").read_text())
    document["annotations"][0]["keypoints"] = [3, 4, 2, 5, 6, 1, *[0] * 45]
    (tmp_path / "truth.json").write_text(json.dumps(document))
    first, second = read(tmp_path / "truth.json").frames[FrameKey("walk", "0")].people
    assert first.joints[:3] == (
        JointResult("nose", 3, 4, 1.0),
        JointResult("left_eye", 5, 6, 1.0),
        JointResult("right_eye", 0, 0, 0.0),
    )
    assert second.joints == ()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"keypoints": [1, 2, 2]}, "keypoints must be 51 finite numbers, got 3"),
        ({"keypoints": [float("nan")] * 51}, "keypoints must be 51 finite numbers"),
        ({"keypoints": [0] * 51, "keypoint_scores": [0.5]}, "keypoint_scores must be 17 numbers"),
        ({"keypoints": [0] * 51, "keypoint_scores": [2.0] * 17}, "keypoint_scores must be 17 numbers"),
    ],
)
def test_keypoints_that_cannot_be_are_named(
    tmp_path: Path, fields: dict[str, list[float]], message: str
) -> None:
    write(two_people(), tmp_path / "truth.json", Format.COCO)
    document = json.loads((tmp_path / "truth.json").read_text())
    document["annotations"][0] |= fields
    (tmp_path / "truth.json").write_text(json.dumps(document))
    with pytest.raises(ValueError, match=f"truth.json: annotation 1 is damaged: {message}"):
        read(tmp_path / "truth.json")


def test_coco_polygons_and_lists_of_results(tmp_path: Path) -> None:
    square = [[4, 4, 12, 4, 12, 20, 4, 20]]
    image = {"id": 3, "file_name": "0010.jpg", "height": SIZE[0], "width": SIZE[1]}
    truth = {
        "images": [image],
        "categories": [{"id": 5, "name": "dog"}, {"id": 1, "name": "person"}],
        "annotations": [
            {"id": 1, "image_id": 3, "category_id": 1, "segmentation": square},
            {"id": 2, "image_id": 3, "category_id": 5, "segmentation": square},
        ],
    }
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (mask,) = read(tmp_path / "truth.json").frames[FrameKey("0010", "0")].people
    expected = np.zeros(SIZE, bool)
    expected[4:20, 4:12] = True
    assert mask.mask == encode(expected)
    runs = np.diff(np.flatnonzero(np.diff(np.concatenate([[0], expected.ravel("F"), [0]]))))
    counts = [int(4 * SIZE[0] + 4), *runs.tolist()]
    counts.append(SIZE[0] * SIZE[1] - sum(counts))
    answer = {"image_id": 3, "category_id": 1, "score": 0.5, "segmentation": {"size": SIZE, "counts": counts}}
    (tmp_path / "found.json").write_text(json.dumps([answer]))
    done = evaluate(tmp_path / "truth.json", tmp_path / "found.json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["ap_r_50"] == 1


def edit(path: Path, change: Callable[[str], str]) -> None:
    path.write_text(change(path.read_text()))


def paint(path: Path, value: int, size: tuple[int, int] = SIZE) -> None:
    Image.fromarray(np.full(size, value, np.uint8)).save(path)


FAULTS: dict[str, tuple[Format, Callable[[Path], object], str]] = {
    "damaged map": (
        Format.CIHP,
        lambda p: (p / "Category_ids/walk/000000000001.png").write_bytes(b"x"),
        "000001.png",
    ),
    "missing map": (
        Format.CIHP,
        lambda p: (p / "Human_ids/walk/000000000002.png").unlink(),
        "Human_ids/walk/0000",
    ),
    "other size": (
        Format.CIHP,
        lambda p: paint(p / "Human_ids/walk/000000000000.png", 1, (9, 9)),
        "is (9, 9), but",
    ),
    "unknown label": (
        Format.CIHP,
        lambda p: paint(p / "Category_ids/walk/000000000000.png", 77),
        "unknown values: 77",
    ),
    "colours": (
        Format.DAVIS,
        lambda p: Image.new("RGB", SIZE).save(p / "walk/00000.png"),
        "must be a label map",
    ),
    "no score": (
        Format.VIP,
        lambda p: (p / "walk/instance_segmentation/000000000000.txt").write_text(""),
        "has no line for person 1",
    ),
    "score is NaN": (
        Format.VIP,
        lambda p: edit(
            p / "walk/instance_segmentation/000000000000.txt", lambda t: t.replace("0.875000", "nan")
        ),
        "000000000000.txt, line 1",
    ),
    "score is high": (
        Format.VIP,
        lambda p: edit(p / "walk/instance_parsing/000000000000.txt", lambda t: t.replace("0.875000", "8.75")),
        "no part and score",
    ),
    "NDJSON with NaN": (
        Format.NDJSON,
        lambda p: edit(p / "walk/results.ndjson", lambda t: t.replace("0.875", "NaN")),
        "results.ndjson, line 1",
    ),
    "cut line": (
        Format.MOTS,
        lambda p: edit(p / "walk.txt", lambda t: t[:-40]),
        "walk.txt, line 7",
    ),
    "COCO with NaN": (
        Format.COCO,
        lambda p: edit(p, lambda t: t.replace("0.875", "NaN")),
        "a number from 0 to 1",
    ),
    "COCO without size": (
        Format.COCO,
        lambda p: edit(p, lambda t: t.replace('"height"', '"h"')),
        "image 1 is damaged",
    ),
    "not JSON": (Format.COCO, lambda p: edit(p, lambda t: t[:-9]), "cannot read"),
    "gone": (Format.MOTS, lambda p: (p / "walk.txt").unlink(), "in no format that is known"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_damaged_files_are_one_line_of_error_that_names_them(name: str, tmp_path: Path) -> None:
    kind, spoil, message = FAULTS[name]
    write(two_people(), tmp_path / "truth", Format.NDJSON)
    found = place(tmp_path / "found", kind)
    write(two_people(), found, kind)
    spoil(found)
    done = evaluate(tmp_path / "truth", found)
    assert done.exit_code == 1
    assert done.stderr.startswith("error: ") and message in done.stderr, done.stderr
    assert str(tmp_path / "found") in done.stderr
    assert done.stdout == ""


def test_truth_with_nobody_unknown_frames_and_other_sizes_are_refused(tmp_path: Path) -> None:
    made = two_people()
    nobody = ResultSet({key: replace(each, people=()) for key, each in made.frames.items()}, True, True)
    write(nobody, tmp_path / "empty", Format.CIHP)
    write(made, tmp_path / "found", Format.NDJSON)
    assert "holds nobody in 4 frames" in evaluate(tmp_path / "empty", tmp_path / "found").stderr
    write(two_people(3), tmp_path / "short", Format.CIHP)
    assert (
        "frame 3 of walk, which is not in the truth"
        in evaluate(tmp_path / "short", tmp_path / "found").stderr
    )
    for path in (tmp_path / "found/walk").glob("*"):
        edit(path, lambda text: text.replace("[24,32]", "[32,24]"))
    write(made, tmp_path / "truth", Format.CIHP)
    assert "is (32, 24), but (24, 32) in" in evaluate(tmp_path / "truth", tmp_path / "found").stderr


def test_a_table_is_printed_without_json_and_conversion_is_a_command(tmp_path: Path) -> None:
    write(two_people(), tmp_path / "a", Format.NDJSON)
    line = ["convert", str(tmp_path / "a"), str(tmp_path / "b"), "--to", "cihp"]
    assert CliRunner().invoke(app, line).exit_code == 0
    owners = np.asarray(Image.open(tmp_path / "b/Human_ids/walk/000000000002.png"))
    np.testing.assert_array_equal(owners, maps(2)[0])
    both = ["results", "--truth", str(tmp_path / "b"), "--predictions", str(tmp_path / "a")]
    assert "ap_r_50" in CliRunner().invoke(app, both).stdout
    assert decode(read(tmp_path / "b").frames[FrameKey("walk", "2")].people[0].mask).any()  # type: ignore[arg-type]
