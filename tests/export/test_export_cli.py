from pathlib import Path
from typing import Any

import pytest
import torch

from partstream_core.manifest import load_manifest
from partstream_export.cli import EXIT_BAD_INPUT, main
from partstream_models.networks.checkpoints import save_tensors
from partstream_models.networks.live import LiveNetwork


@pytest.fixture(scope="module")
def checkpoint(network: LiveNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "live.safetensors"
    save_tensors(path, network.state_dict())
    return path


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """The one line that a command ends with, for a mistake of the caller's."""
    with pytest.raises(SystemExit) as stopped:
        main(["live", *map(str, arguments)])
    captured = capsys.readouterr()
    assert stopped.value.code == EXIT_BAD_INPUT
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    return line


@pytest.mark.slow
def test_a_checkpoint_becomes_a_bundle(
    checkpoint: Path, bundle: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "figures.json").write_text('{"miou": 0.31}')
    (tmp_path / "card.md").write_text("# Weights\n")
    out = tmp_path / "bundle"
    arguments = ["live", "--checkpoint", checkpoint, "--out", out, "--version", "1.2.3"]
    arguments += ["--evaluation", tmp_path / "figures.json", "--model-card", tmp_path / "card.md"]
    arguments += ["--training-data", "nothing", "--threshold", "score=0.3", "--threshold", "nms=0.7"]
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    assert stopped.value.code == 0
    manifest, same_weights = load_manifest(out), load_manifest(bundle.folder)
    assert (manifest.version, manifest.evaluation) == ("1.2.3", {"miou": 0.31})
    assert manifest.training_data == ("nothing",)
    assert (manifest.thresholds.score, manifest.thresholds.nms, manifest.thresholds.mask) == (0.3, 0.7, 0.5)
    assert (out / "MODEL_CARD.md").read_text() == "# Weights\n"
    assert {name: graph.sha256 for name, graph in manifest.graphs.items()} == {
        name: graph.sha256 for name, graph in same_weights.graphs.items()
    }
    printed = capsys.readouterr().out
    assert "part_logits" in printed
    assert "wrote" in printed


def test_a_checkpoint_of_another_network_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_tensors(tmp_path / "other.safetensors", {"some.weight": torch.zeros(3)})
    line = refusal(capsys, "--checkpoint", tmp_path / "other.safetensors", "--out", tmp_path / "bundle")
    assert "other.safetensors does not fit LiveNetwork" in line
    assert "backbone." in line
    assert not (tmp_path / "bundle").exists()


def test_a_file_that_is_no_checkpoint_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.safetensors").write_text("hello")
    line = refusal(capsys, "--checkpoint", tmp_path / "text.safetensors", "--out", tmp_path / "bundle")
    assert "text.safetensors is not a checkpoint" in line


def test_a_missing_checkpoint_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refusal(capsys, "--checkpoint", tmp_path / "none.safetensors", "--out", tmp_path / "bundle")
    assert "none.safetensors" in line


def test_a_folder_that_is_there_is_kept(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bundle").mkdir()
    line = refusal(capsys, "--checkpoint", checkpoint, "--out", tmp_path / "bundle")
    assert "exists already" in line
    assert "--force" in line


def test_a_place_that_cannot_be_written_is_named(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    line = refusal(capsys, "--checkpoint", checkpoint, "--out", tmp_path / "file" / "bundle")
    assert f"{tmp_path / 'file'} is not a folder" in line


@pytest.mark.parametrize("setting", ["score", "score=high", "score=2", "size=0.5", "=0.5", "score=nan"])
def test_a_threshold_that_does_not_exist_is_shown(
    setting: str, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bundle"
    line = refusal(capsys, "--checkpoint", checkpoint, "--out", out, "--threshold", setting)
    assert repr(setting) in line


@pytest.mark.parametrize(("text", "reason"), [("[1]", "JSON object"), ("{", "not JSON")])
def test_figures_that_are_not_an_object_are_refused(
    text: str, reason: str, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "figures.json").write_text(text)
    line = refusal(
        capsys, "--checkpoint", checkpoint, "--out", tmp_path / "b", "--evaluation", tmp_path / "figures.json"
    )
    assert reason in line


def test_a_missing_model_card_is_named(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal(
        capsys, "--checkpoint", checkpoint, "--out", tmp_path / "b", "--model-card", tmp_path / "none.md"
    )
    assert "none.md" in line
