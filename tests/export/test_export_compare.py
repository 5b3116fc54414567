"""The comparison with public networks: scenes, timing, bundles, and the real networks on one picture."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from partstream_core.results_io import read_ndjson
from partstream_evaluation.masks.truth import read_folders
from partstream_export.cli import main
from partstream_export.compare.cli import table_of
from partstream_export.compare.run import compare, time_bundle
from partstream_export.compare.scenes import people_of, scene

UInt8Array = NDArray[np.uint8]
# It finds what is bright, and says that benches take a millisecond for each person's worth of brightness.
COMMAND = """#!{python}
import json, pathlib, sys
import numpy as np
from PIL import Image
from partstream_core.results import FrameResult, PersonResult
from partstream_core.results_io import ndjson_line
from partstream_core.rle import encode

verb, *rest = sys.argv[1:]
if verb == "bench":
    runs = [
        dict(threads=threads, precision_asked=asked, network_ms=10.0 * threads, people_per_frame=2.0,
             stages=dict(infer=1.5, assemble=2.0, decode=99.0))
        for asked in ("auto", "f32") for threads in (2, 1)
    ]
    print(json.dumps(dict(runs=runs)))
    sys.exit()
output = pathlib.Path(rest[rest.index("-o") + 1])
for folder in map(pathlib.Path, rest[:rest.index("-o")]):
    for path in sorted(folder.iterdir()):
        mask = np.asarray(Image.open(path).convert("L")) > 128
        (output / path.stem).mkdir(parents=True)
        person = PersonResult(1, 0.9, (0.0, 0.0, 1.0, 1.0), encode(mask), ())
        line = ndjson_line(FrameResult(0, 0.0, True, (person,)))
        (output / path.stem / "results.ndjson").write_text(line)
"""


class Bright:
    """Finds the left half of what is bright."""

    name = "half"

    def __call__(self, image_HWC: UInt8Array) -> list[NDArray[np.bool_]]:
        mask = image_HWC.mean(axis=2) > 128
        mask[:, mask.shape[1] // 2 :] = False
        return [mask]


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    """Five pictures of a bright square with its mask."""
    folder = tmp_path / "truth/squares"
    folder.mkdir(parents=True)
    for number in range(5):
        grey = np.zeros((40, 60), np.uint8)
        grey[10:30, 20:40] = 200 + number
        Image.fromarray(grey).convert("RGB").save(folder / f"{number}.bmp")
        Image.fromarray((grey > 0).astype(np.uint8) * 255).save(folder / f"{number}.png")
    return tmp_path / "truth"


@pytest.fixture
def command(tmp_path: Path) -> Path:
    path = tmp_path / "partstream"
    path.write_text(COMMAND.format(python=sys.executable))
    path.chmod(0o755)
    return path


def test_bundles_and_methods_stand_in_one_table(truth: Path, command: Path, tmp_path: Path) -> None:
    told: list[str] = []
    rows = compare(truth, {"ours": tmp_path}, [Bright()], command, tell=told.append)
    assert told == [row.name for row in rows] == ["ours", "half"]
    assert [row.folders["squares"].person_iou for row in rows] == [1, 0.5]
    assert {count: each.ms for count, each in rows[0].timings.items()} == {1: 13.5, 2: 13.5, 5: 13.5}
    assert all(each.ms > 0 and each.num_found == 1 for each in rows[1].timings.values())
    json.dumps([row.to_json() for row in rows])
    assert [str(column.header) for column in table_of(rows).columns] == [
        "method", "squares", "ms, 1", "ms, 2", "ms, 5",
    ]  # fmt: skip


def test_a_bench_is_read_at_one_thread_without_decoding(command: Path, tmp_path: Path) -> None:
    timing = time_bundle(command, tmp_path, tmp_path)
    assert (timing.ms, timing.num_found) == (13.5, 2)


def test_a_scene_holds_its_people_side_by_side(truth: Path) -> None:
    pictures = read_folders(truth)[0].pictures
    image = scene(people_of(pictures, 3))
    assert image.shape == (720, 1280, 3)
    bright = (image.min(axis=2) > 190).any(axis=0)
    assert np.count_nonzero(np.diff(bright.astype(np.int8)) == 1) == 3
    with pytest.raises(ValueError, match="needs 6 pictures of people, there are 5"):
        people_of(pictures, 6)


def test_a_mistake_is_one_line(truth: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["compare", "--truth", str(truth), "--weights", str(tmp_path)]
    for bundle, message in (("nameless", "NAME=DIR"), (f"a={tmp_path}", "movenet_multipose.npz")):
        with pytest.raises(SystemExit):
            main([*given, "--bundle", bundle])
        assert message in capsys.readouterr().err


@pytest.mark.slow
def test_the_public_networks_find_a_hiker_and_tell_joints(data_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    from partstream_export.compare.methods import public_methods

    picture = data_dir / "check/davis/hike/00040.jpg"
    truth = np.asarray(Image.open(picture.with_suffix(".png"))) > 0
    image = np.asarray(Image.open(picture).convert("RGB"))
    for method in public_methods(data_dir / "weights"):
        union = np.zeros_like(truth)
        for mask in method(image):
            union |= mask
        assert (truth & union).sum() / (truth | union).sum() > 0.65, method.name
    out = tmp_path / "joints.ndjson"
    with pytest.raises(SystemExit) as stop:
        main(
            [
                "teacher-joints",
                "--clip",
                str(picture),
                "--weights",
                str(data_dir / "weights"),
                "--out",
                str(out),
            ]
        )
    assert not stop.value.code
    (frame,) = read_ndjson(out)
    joints = {joint.joint: joint for joint in frame.people[0].joints}
    assert joints["nose"].y < joints["left_hip"].y < joints["left_ankle"].y
