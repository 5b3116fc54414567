"""The `partstream` command as people call it, on the bundle that ships."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image as PillowImage

from partstream_core import rle
from partstream_core.labels import PALETTE, PARTS
from partstream_core.results import FrameResult
from partstream_core.results_io import read_mots, read_ndjson
from partstream_server.benchmarks.drawn_clip import scene, write_figures
from partstream_server.offline.batch import name_sources
from tests.server import faulty_media as faulty

Done = subprocess.CompletedProcess[str]


def partstream(*arguments: object) -> Done:
    command = [sys.executable, "-m", "partstream_server", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "walkers.mp4"
    write_figures(path, width=321, height=181, num_frames=10)
    return path


@pytest.fixture
def photo(tmp_path: Path) -> Callable[[str, int], Path]:
    def write(name: str, frame: int) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        PillowImage.fromarray(scene(320, 180, frame)).save(path)
        return path

    return write


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def part_map(result: FrameResult, height: int, width: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    whole = np.zeros((height, width), np.uint8)
    for person in result.people:
        for part in person.parts:
            assert isinstance(part.mask, rle.Rle)
            whole[rle.decode(part.mask)] = PARTS.index(part.part)
    return whole


def test_a_clip_leaves_overlay_results_tracks_and_part_maps_that_agree(clip: Path, tmp_path: Path) -> None:
    done = partstream("parse", clip, "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "10 frames" in done.stderr
    folder = tmp_path / "walkers"
    maps = {f"parts/{index:06d}.png" for index in range(10)}
    assert files(folder) == {"overlay.mp4", "results.ndjson", "mots.txt"} | maps
    results = list(read_ndjson(folder / "results.ndjson"))
    assert [result.index for result in results] == list(range(10))
    assert any(result.people for result in results)
    for result in results:
        picture = PillowImage.open(folder / "parts" / f"{result.index:06d}.png")
        assert picture.mode == "P"
        assert np.array_equal(np.asarray(picture), part_map(result, 182, 322))
        shown = np.asarray(picture.convert("RGB"))
        assert np.array_equal(shown, PALETTE[np.asarray(picture)])
    objects = [(one.frame, one.object_id - 2000, one.mask) for one in read_mots(folder / "mots.txt")]
    assert objects == [(r.index, person.identity, person.mask) for r in results for person in r.people]
    with av.open(str(clip)) as source, av.open(str(folder / "overlay.mp4")) as overlay:
        ours, theirs = list(overlay.decode(video=0)), list(source.decode(video=0))
        assert [frame.time for frame in ours] == pytest.approx([frame.time for frame in theirs], abs=1e-4)
        assert overlay.duration == pytest.approx(source.duration, rel=0.01)


def test_options_choose_what_is_parsed_and_written(clip: Path, tmp_path: Path) -> None:
    options = [
        "--every",
        3,
        "--max-frames",
        8,
        "--masks",
        "polygons",
        "--no-part-maps",
        "--score-threshold",
        0.2,
        "--assembly",
        "crf",
    ]
    assert partstream("parse", clip, "-o", tmp_path, *options).returncode == 0
    folder = tmp_path / "walkers"
    assert files(folder) == {"overlay.mp4", "results.ndjson", "mots.txt"}
    documents = [json.loads(line) for line in (folder / "results.ndjson").read_text().splitlines()]
    assert [document["index"] for document in documents] == [0, 3, 6]
    people = [person for document in documents for person in document["people"]]
    assert people
    assert all("polygons" in person["mask"] for person in people)
    assert len(list(read_mots(folder / "mots.txt"))) == len(people), "tracks keep their masks as run lengths"
    with av.open(str(folder / "overlay.mp4")) as overlay:
        assert sum(1 for _ in overlay.decode(video=0)) == 8, "the overlay has also the frames passed over"


def test_a_bad_input_is_reported_in_a_line_and_the_others_are_parsed(clip: Path, tmp_path: Path) -> None:
    bad, empty, missing = tmp_path / "bad.mp4", tmp_path / "empty.mp4", tmp_path / "missing.mp4"
    bad.write_bytes(b"to whom it may concern\n" * 20)
    empty.touch()
    out = tmp_path / "out"
    done = partstream("parse", bad, empty, missing, clip, "-o", out, "--no-overlay", "--max-frames", 2)
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 3
    for line, path, words in zip(
        lines, (bad, empty, missing), ("not a video", "empty", "no such file"), strict=True
    ):
        assert str(path) in line
        assert words in line
    assert "Traceback" not in done.stderr
    assert {path.name for path in out.iterdir()} == {"walkers"}


def test_inputs_that_decoders_stumble_over_cost_only_themselves(clip: Path, tmp_path: Path) -> None:
    made = {
        "turned.jpg": faulty.cut(faulty.turned_jpeg(width=320, height=240), 0.8),
        "cut.webp": faulty.cut(faulty.saved("WEBP", width=320, height=240), 0.5),
        "bomb.png": faulty.text_bomb(before=b"IDAT"),
        "unknown.mkv": faulty.without_decoder(),
        "url.png": faulty.data_url(),
        "exif.png": faulty.png_with(faulty.chunk(b"eXIf", b"garbage")),
    }
    for name, data in made.items():
        (tmp_path / name).write_bytes(data)
    out = tmp_path / "out"
    paths = [tmp_path / name for name in made]
    done = partstream("parse", *paths, clip, "-o", out, "--no-overlay", "--max-frames", 2)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert [Path(line.split(": ")[1]).name for line in lines] == [
        "cut.webp",
        "bomb.png",
        "unknown.mkv",
        "url.png",
    ]
    assert "4 of 7 inputs could not be parsed" in done.stderr
    assert {path.name for path in out.iterdir()} == {"turned", "exif", "walkers"}


def test_an_output_that_cannot_be_written_is_named(clip: Path, tmp_path: Path) -> None:
    taken = tmp_path / "file"
    taken.touch()
    done = partstream("parse", clip, "-o", taken, "--max-frames", 1)
    assert done.returncode == 2
    assert f"cannot write to {taken}" in done.stderr.replace("\n", "")


def test_a_folder_is_one_clip_or_many_photos(photo: Callable[[str, int], Path], tmp_path: Path) -> None:
    for number in (1, 2, 10):
        photo(f"street/{number}.png", 10 * number)
    whole, each = tmp_path / "whole", tmp_path / "each"
    assert partstream("parse", tmp_path / "street", "-o", whole).returncode == 0
    assert [r.index for r in read_ndjson(whole / "street" / "results.ndjson")] == [0, 1, 2]
    assert "street/overlay.mp4" in files(whole)
    assert partstream("parse", "--independent", tmp_path / "street", "-o", each).returncode == 0
    assert {path.name for path in each.iterdir()} == {"1", "2", "10"}
    for name in ("1", "2", "10"):
        (result,) = read_ndjson(each / name / "results.ndjson")
        assert [person.identity for person in result.people] == list(range(1, len(result.people) + 1))
        assert files(each / name) == {"overlay.png", "results.ndjson", "mots.txt", "parts/000000.png"}


def test_photos_of_one_name_get_their_own_folders(photo: Callable[[str, int], Path], tmp_path: Path) -> None:
    first, second = photo("a/photo.png", 0), photo("b/photo.jpg", 20)
    out = tmp_path / "out"
    assert partstream("parse", first, second, "-o", out, "--no-overlay").returncode == 0
    assert {path.name for path in out.iterdir()} == {"photo", "photo-2"}
    assert len(list(read_ndjson(out / "photo-2" / "results.ndjson"))) == 1


def test_names_differ_also_where_case_does_not_and_where_a_number_is_taken(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.mp4", "A.png", "a-2.mp4", "a.gif")]
    names = [source.name for source in name_sources(paths, independent=False)]
    assert names[0] == "a"
    assert len({name.casefold() for name in names}) == 4


def test_a_second_run_leaves_nothing_of_the_first_and_touches_nothing_else(
    clip: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "walkers"
    assert partstream("parse", clip, "-o", tmp_path).returncode == 0
    (folder / "notes.txt").write_text("mine")
    (folder / "parts" / "mine.png").write_bytes(b"mine")
    assert partstream("parse", clip, "-o", tmp_path, "--max-frames", 1, "--no-overlay").returncode == 0
    assert files(folder) == {"results.ndjson", "mots.txt", "notes.txt", "parts/000000.png", "parts/mine.png"}


def test_wrong_options_and_bundles_end_with_one_line(clip: Path, tmp_path: Path) -> None:
    assert partstream("parse", clip, "-o", tmp_path, "--every", 0).returncode == 2
    assert partstream("parse", clip, "-o", tmp_path, "--masks", "bitmap").returncode == 2
    for arguments, words in (
        (["--bundle", tmp_path], "bundle.json"),
        (["--provider", "cuda"], "onnxruntime-gpu"),
        (["--precision", "int4"], "precision must be one of"),
    ):
        done = partstream("parse", clip, "-o", tmp_path / "out", *arguments)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: ")
        assert words in line
    assert not (tmp_path / "out").exists()
    song = tmp_path / "notes.txt"
    song.write_text("do re mi\n" * 50)
    done = partstream("bench", "--video", song)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


def test_info_names_bundle_provider_precision_and_versions() -> None:
    done = partstream("info", "--json", "--provider", "onnxruntime", "--threads", 1)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["provider"], facts["precision"], facts["threads"]) == ("onnxruntime", "f32", 1)
    assert facts["bundle"] == "partstream-live"
    assert facts["parts"] == list(PARTS[1:])
    assert {"partstream", "python", "onnxruntime", "av"} <= set(facts["versions"])
    as_text = partstream("info", "--provider", "onnxruntime")
    assert "provider: onnxruntime" in as_text.stdout.splitlines()


def test_bench_prints_what_each_stage_costs(clip: Path) -> None:
    done = partstream("bench", "--json", "--frames", 6, "--video", clip)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert {"decode", "infer", "backbone", "heads", "propagate", "assemble", "track", "encode"} <= set(
        report["stages"]
    )
    not_run = {"propagate"}  # flow comes from the host by default
    assert {stage for stage, value in report["stages"].items() if value == 0} == not_run
    overhead = sum(report["stages"][stage] for stage in ("decode", "assemble", "track", "encode"))
    assert report["overhead_ms"] == pytest.approx(overhead, abs=0.01)
    assert 0 < report["non_key_over_key"] < 1
    assert report["peak_memory_mb"] > 50
    kinds = [("auto", 2), ("auto", 1), ("f32", 2), ("f32", 1)]
    assert [(run["precision_asked"], run["threads"], run["schedule"]) for run in report["runs"]] == [
        (*kind, schedule) for kind in kinds for schedule in ("causal 3 dis", "every-frame")
    ]
    every_frame = report["runs"][1]
    assert every_frame["non_key_frame_network_ms"] is None
    assert every_frame["stages"]["propagate"] == 0
    assert report["frames_per_second"] == report["runs"][0]["frames_per_second"]
    assert report["network"] == {"width": 512, "height": 288}


def test_the_command_works_without_torch_and_the_networks() -> None:
    """Everything that `parse` imports, in a process where torch cannot be imported."""
    code = (
        "import sys\n"
        "for name in ('torch', 'partstream_models', 'partstream_export'): sys.modules[name] = None\n"
        "import partstream_server.offline.batch, partstream_server.benchmarks.stages\n"
        "import partstream_server.app.cli\n"
        "from partstream_server.engine import create_engine\n"
        "create_engine(provider='onnxruntime').close()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
