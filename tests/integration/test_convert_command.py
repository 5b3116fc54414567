"""`partstream convert` as people call it, and the client's `save`."""

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from partstream_client import Frame, NoMaskError
from partstream_client.convert import save
from partstream_core.convert import read_results
from partstream_core.convert.table import COLOURS, COLUMNS
from partstream_server.app.cli import app
from partstream_server.benchmarks.drawn_clip import write_figures

WIDTH, HEIGHT = 64, 48


def line(index: int, mask: object = "rle") -> str:
    """A frame of somebody whose hair is the whole frame."""
    counts = {"size": [HEIGHT, WIDTH], "polygons": [[0, 0, WIDTH, 0, WIDTH, HEIGHT, 0, HEIGHT]]}
    shown = counts if mask == "rle" else None
    hair = {"part": "hair", "score": 0.5, "area": WIDTH * HEIGHT, "mask": shown}
    person = {"identity": 1, "score": 0.9, "box": [0, 0, WIDTH, HEIGHT], "mask": shown, "parts": [hair]}
    return json.dumps({"index": index, "time_s": index / 25, "key_frame": True, "people": [person]}) + "\n"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    path = tmp_path / "results.ndjson"
    path.write_text(line(0) + line(3))
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["convert", *map(str, arguments)])


@pytest.mark.parametrize("to", ["csv", "coco", "cvat", "yolo-seg", "label-studio"])
def test_each_format_is_written(results: Path, tmp_path: Path, to: str) -> None:
    done = run(results, "--to", to, "--out", tmp_path / "out")
    assert (done.exit_code, done.stderr) == (0, f"2 frames -> {tmp_path / 'out'}\n")
    assert {path.name for path in tmp_path.iterdir()} == {"results.ndjson", "out"}


def test_the_video_gives_tables_their_colours(results: Path, tmp_path: Path) -> None:
    video, out = tmp_path / "clip.mp4", tmp_path / "table.csv"
    write_figures(video, width=WIDTH, height=HEIGHT, num_frames=5)
    assert run(results, "--to", "csv", "--out", out, "--video", video).exit_code == 0
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [*COLUMNS, *COLOURS]
    assert all(0 < float(row[name]) < 255 for row in rows for name in COLOURS)
    write_figures(video, width=WIDTH, height=HEIGHT, num_frames=2)
    done = run(results, "--to", "csv", "--out", out, "--video", video)
    assert done.exit_code == 2
    assert "has no frame 3" in done.stderr


def test_bad_input_is_one_line_and_leaves_nothing(results: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.ndjson"
    out = tmp_path / "out"
    calls = {
        "line 2": (line(0) + line(1)[:-50], bad, out),
        "is empty": ("", bad, out),
        "no partstream results": ("hello", bad, out),
        "hold no masks": (line(0, mask=None), bad, out),
        "no such file": ("", tmp_path / "missing.ndjson", out),
        f"{tmp_path / 'no' / 'out'}: no such file": (line(0), bad, tmp_path / "no" / "out"),
        "the file of results itself": (line(0), bad, bad),
    }
    for words, (content, source, target) in calls.items():
        bad.write_text(content)
        done = run(source, "--to", "csv", "--out", target)
        assert done.exit_code == 2, words
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
        assert words in done.stderr
        assert {path.name for path in tmp_path.iterdir()} == {"results.ndjson", "bad.ndjson"}
    assert run(results, "--to", "excel", "--out", out).exit_code == 2
    assert not out.exists()


def test_the_client_saves_what_the_command_converts(results: Path, tmp_path: Path) -> None:
    run(results, "--to", "csv", "--out", tmp_path / "a.csv")
    assert save(results, tmp_path / "b.csv", "csv") == 2
    assert save(map(Frame, read_results(results)), tmp_path / "c.csv", "csv") == 2
    texts = {(tmp_path / name).read_text() for name in ("a.csv", "b.csv", "c.csv")}
    assert len(texts) == 1


def test_the_client_names_its_own_extra_and_wants_masks(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"partstream-client\[parquet\]"):
        save(results, tmp_path / "a.parquet", "parquet")
    done = run(results, "--to", "parquet", "--out", tmp_path / "a.parquet")
    assert done.exit_code == 2
    assert r"pip install 'partstream-core[parquet]'" in done.stderr
    results.write_text(line(0, mask=None))
    with pytest.raises(NoMaskError):
        save(results, tmp_path / "a.csv", "csv")
    assert [path.name for path in tmp_path.iterdir()] == ["results.ndjson"]


def test_the_documented_labels_of_label_studio_are_all_parts(repository: Path) -> None:
    from partstream_core.labels import PARTS

    text = (repository / "docs" / "cli.md").read_text("utf-8")
    assert [name for name in PARTS[1:] if f'<Label value="{name}"/>' not in text] == []
