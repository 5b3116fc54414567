"""Several processes train as one would."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from partstream_models.networks.checkpoints import load_tensors
from partstream_models.training.process_group import ProcessGroup, joined_team

WORKER = Path(__file__).with_name("team_worker.py")
OUTSIDE = ("RANK", "WORLD_SIZE", "LOCAL_RANK")


def run_worker(folder: Path, broken_draw: int, *launcher: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in OUTSIDE}
    subprocess.run(
        [sys.executable, *launcher, str(WORKER), str(folder), str(broken_draw)],
        check=True,
        env=environment | {"OMP_NUM_THREADS": "1"},
        timeout=500,
    )


@pytest.mark.slow
@pytest.mark.parametrize("broken_draw", [-1, 13])
def test_two_processes_leave_the_weights_that_one_does(tmp_path: Path, broken_draw: int) -> None:
    run_worker(tmp_path, broken_draw)
    run_worker(tmp_path, broken_draw, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    alone, notes = load_tensors(tmp_path / "1-0.safetensors")
    assert notes["skipped"] == ([] if broken_draw < 0 else [broken_draw // 4 + 1])
    for rank in (0, 1):
        mine, also = load_tensors(tmp_path / f"2-{rank}.safetensors")
        assert also == notes
        for name, tensor in alone.items():
            assert torch.allclose(mine[name], tensor, atol=1e-6), name


def test_one_process_is_a_team_of_its_own() -> None:
    with joined_team({}, "cpu") as (team, device):
        assert (team, device) == (ProcessGroup(), "cpu")
        assert team.leads
        assert team.all_of(True, device)
        assert not team.all_of(False, device)


@pytest.mark.parametrize(
    ("environment", "device", "told"),
    [
        ({"WORLD_SIZE": "2"}, "cpu", "start it with torchrun"),
        ({"WORLD_SIZE": "2", "RANK": "2", "LOCAL_RANK": "0"}, "cpu", "rank 2 is not one of 2"),
        ({"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}, "cuda:1", "say cuda, not cuda:1"),
    ],
)
def test_a_team_that_cannot_meet_is_told(environment: dict[str, str], device: str, told: str) -> None:
    with pytest.raises(ValueError, match=told), joined_team(environment, device):
        pass


@pytest.mark.slow
def test_the_command_in_two_processes_leaves_the_weights_of_one(
    ccp_tree: Path, photo_cache_dir: Path, tmp_path: Path
) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in OUTSIDE}
    arguments = [
        "-m",
        "partstream_models.commands.train",
        "aten-overfit",
        "--steps",
        "2",
        "--batch",
        "2",
        "--threads",
        "1",
    ]
    arguments += ["--data", str(ccp_tree), "--cache", str(photo_cache_dir), "--workers", "0"]
    team = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for name, launcher in (("one", []), ("two", team)):
        out = ["--out", str(tmp_path / name)]
        subprocess.run(
            [sys.executable, *launcher, *arguments, *out],
            check=True,
            env=environment | {"OMP_NUM_THREADS": "1"},
            timeout=500,
        )
    one, two = (load_tensors(tmp_path / name / "final.safetensors")[0] for name in ("one", "two"))
    assert set(one) == set(two)
    for name, tensor in one.items():
        assert torch.allclose(two[name].float(), tensor.float(), atol=1e-5), name
