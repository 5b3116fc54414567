"""`partstream-train` on data sets: what it reads, prints and leaves."""

import json
from pathlib import Path

import pytest
import torch

from partstream_models.commands.train import main
from partstream_models.networks.checkpoints import load_tensors
from partstream_models.training.paper_recipes import PAPER_RECIPES
from tests.models.reader_trees import draw_chairs, draw_cihp, draw_vip


def train(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """What the command prints."""
    with pytest.raises(SystemExit) as left:
        main([*map(str, arguments), "--threads", "1"])
    printed = capsys.readouterr()
    assert left.value.code == 0, printed.err
    return printed.out


def test_the_list_shows_the_papers_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    listed = train(capsys, "--list")
    assert all(name in listed for name in PAPER_RECIPES)
    assert "aten-r50" in listed


@pytest.mark.parametrize("workers", ["0", "2"])
def test_aten_learns_from_cihp_and_says_how_it_parses_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], workers: str
) -> None:
    data, out = draw_cihp(tmp_path / "cihp"), tmp_path / "run"
    (data / "Training").rename(data / "Validation")
    (data / "Validation" / "train_id.txt").rename(data / "Validation" / "val_id.txt")
    printed = train(
        capsys, "aten-reduced", "--format", "cihp", "--data", data, "--split", "val", "--val-split", "val",
        "--steps", "2", "--batch", "2", "--out", out, "--workers", workers,
    )  # fmt: skip
    assert "2 labelled frames of 2 recordings, 2 steps of 2" in printed
    assert "mean_iou: 0." in printed
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == 2
    assert 0 <= lines[-1]["scores"]["mean_iou"] <= 1
    assert load_tensors(out / "final.safetensors")[1] == {"recipe": "aten-reduced", "step": 2}


def test_flow_learned_from_chairs_starts_an_aten_that_learns_from_vip(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_chairs(tmp_path / "chairs")
    printed = train(
        capsys, "flownet-s-reduced", "--format", "flying-chairs", "--data", tmp_path / "chairs",
        "--val-split", "val", "--steps", "2", "--out", tmp_path / "flow",
    )  # fmt: skip
    assert "2 labelled frames of 2 recordings" in printed
    assert "endpoint_error: " in printed
    flow = tmp_path / "flow" / "final.safetensors"
    (tmp_path / "vip").mkdir()
    printed = train(
        capsys, "aten-reduced", "--format", "vip", "--data", draw_vip(tmp_path / "vip", annotations="."),
        "--flownet", flow, "--steps", "1", "--out", tmp_path / "aten",
    )  # fmt: skip
    assert "1 labelled frames of 1 recordings, 1 steps of 1" in printed
    learned, start = load_tensors(tmp_path / "aten" / "final.safetensors")[0], load_tensors(flow)[0]
    before, after = start["encoder.0.0.0.weight"], learned["flow.encoder.0.0.0.weight"]
    assert torch.allclose(before, after, atol=0.01)
    assert not learned["flow.deconvs.1.bias"].abs().max() > 0.01


def test_a_damaged_file_ends_the_run_with_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = draw_cihp(tmp_path / "cihp")
    for path in (data / "Training" / "Category_ids").iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(SystemExit) as left:
        main(["aten-reduced", "--format", "cihp", "--data", str(data), "--out", str(tmp_path / "run")])
    assert left.value.code == 2
    assert "error: cannot read the label map" in capsys.readouterr().err
