"""`partstream-export aten` and `hvisnet`: what they make, and what they say of mistakes."""

from pathlib import Path

import pytest

from partstream_core.manifest import load_manifest
from partstream_export.cli import EXIT_BAD_INPUT, main
from partstream_models.networks.aten import ATEN, ATEN_REDUCED
from partstream_models.networks.checkpoints import save_tensors
from partstream_models.networks.hvisnet import HVISNET_REDUCED, HVISNet


@pytest.fixture(scope="module")
def aten_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("aten") / "aten.safetensors"
    save_tensors(path, ATEN(ATEN_REDUCED).state_dict(), notes={"recipe": "aten-reduced"})
    return path


@pytest.fixture(scope="module")
def hvisnet_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hvisnet") / "hvisnet.safetensors"
    save_tensors(path, HVISNet(HVISNET_REDUCED).state_dict(), notes={"recipe": "hvisnet-reduced"})
    return path


def refusal(capsys: pytest.CaptureFixture[str], out: Path, *arguments: str | Path) -> str:
    """The one line that a command ends with, for a mistake of the caller's."""
    with pytest.raises(SystemExit) as stopped:
        main([*map(str, arguments), "--out", str(out)])
    captured = capsys.readouterr()
    assert stopped.value.code == EXIT_BAD_INPUT
    assert captured.out == ""
    assert not out.exists()
    (line,) = captured.err.splitlines()
    return line


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "recipe", "graphs"),
    [
        ("aten", "aten-reduced", {"backbone", "flow", "propagate", "temporal", "heads", "instances"}),
        ("hvisnet", "hvisnet-reduced", {"backbone", "heads", "instances"}),
    ],
)
def test_random_weights_become_a_bundle_that_says_so(
    command: str, recipe: str, graphs: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bundle"
    with pytest.raises(SystemExit) as stopped:
        main([command, "--random", "--seed", "7", "--recipe", recipe, "--out", str(out)])
    assert stopped.value.code == 0
    manifest = load_manifest(out)
    assert set(manifest.graphs) == graphs
    assert manifest.name == f"partstream-{recipe}"
    assert manifest.training_data == ("nothing: random weights of seed 7",)
    assert manifest.input.longer_side == 192
    assert "wrote" in capsys.readouterr().out


@pytest.mark.slow
def test_a_checkpoint_becomes_a_bundle_with_what_was_said_of_it(
    hvisnet_checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "card.md").write_text("# Weights\n")
    (tmp_path / "figures.json").write_text('{"ap": 0.5}')
    out = tmp_path / "bundle"
    arguments = ["hvisnet", "--checkpoint", hvisnet_checkpoint, "--recipe", "hvisnet-reduced", "--out", out]
    arguments += ["--training-data", "clips", "--threshold", "score=0.2", "--longer-side", "256"]
    arguments += ["--model-card", tmp_path / "card.md", "--evaluation", tmp_path / "figures.json"]
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    assert stopped.value.code == 0
    manifest = load_manifest(out)
    assert (manifest.training_data, manifest.thresholds.score, manifest.input.longer_side) == (
        ("clips",),
        0.2,
        256,
    )
    assert manifest.evaluation == {"ap": 0.5}
    assert (out / "MODEL_CARD.md").read_text() == "# Weights\n"


def test_a_checkpoint_of_the_other_network_is_named(
    aten_checkpoint: Path, hvisnet_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bundle"
    line = refusal(capsys, out, "hvisnet", "--recipe", "hvisnet-reduced", "--checkpoint", aten_checkpoint)
    assert "aten.safetensors does not fit HVISNet" in line
    assert "of recipe hvisnet-reduced and the checkpoint of aten-reduced" in line
    line = refusal(capsys, out, "aten", "--recipe", "aten-reduced", "--checkpoint", hvisnet_checkpoint)
    assert "hvisnet.safetensors does not fit ATEN" in line
    assert "of recipe aten-reduced and the checkpoint of hvisnet-reduced" in line


def test_a_checkpoint_of_another_width_is_named(
    hvisnet_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal(capsys, tmp_path / "bundle", "hvisnet", "--checkpoint", hvisnet_checkpoint)
    assert "of recipe hvisnet and the checkpoint of hvisnet-reduced" in line


@pytest.mark.parametrize("command", ["aten", "hvisnet"])
def test_a_damaged_or_missing_checkpoint_is_named(
    command: str, hvisnet_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(hvisnet_checkpoint.read_bytes()[:-100])
    line = refusal(
        capsys, tmp_path / "bundle", command, "--recipe", f"{command}-reduced", "--checkpoint", cut
    )
    assert "cut.safetensors is not a checkpoint" in line
    line = refusal(capsys, tmp_path / "bundle", command, "--checkpoint", tmp_path / "none.safetensors")
    assert "no checkpoint at" in line
    assert "none.safetensors" in line


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["aten"], "either --checkpoint or --random"),
        (["aten", "--random", "--checkpoint", "x.safetensors"], "either --checkpoint or --random"),
        (["hvisnet", "--random", "--training-data", "photos"], "random weights learned from nothing"),
        (["aten", "--random", "--recipe", "hvisnet"], "--recipe must be one of aten-r50, aten-r101-davis"),
        (["hvisnet", "--random", "--recipe", "aten-r50"], "--recipe must be one of hvisnet, "),
        (["aten", "--random", "--recipe", "aten-r101-davis"], "without an instance branch"),
        (["hvisnet", "--random", "--recipe", "hvisnet-reduced", "--threshold", "score=2"], "'score=2'"),
    ],
)
def test_what_cannot_be_made_is_refused(
    arguments: list[str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reason in refusal(capsys, tmp_path / "bundle", *arguments)


def test_a_folder_that_is_there_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bundle").mkdir()
    with pytest.raises(SystemExit) as stopped:
        main(["aten", "--random", "--out", str(tmp_path / "bundle")])
    assert stopped.value.code == EXIT_BAD_INPUT
    assert "exists already" in capsys.readouterr().err
