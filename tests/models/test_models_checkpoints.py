"""Checkpoints: a round trip, and files that are something else."""

from pathlib import Path

import pytest
import torch
from torch import nn

from partstream_models.networks.checkpoints import load_network, load_tensors, save_tensors, start_network
from partstream_models.networks.live import LiveNetwork


def test_tensors_and_notes_survive_the_round_trip(tmp_path: Path) -> None:
    tensors = {
        "plain": torch.randn(2, 3),
        "number": torch.tensor(7),
        "last": torch.rand(1, 4, 5, 6).contiguous(memory_format=torch.channels_last),
        "half": torch.randn(3).to(torch.bfloat16),
        "turned": torch.randn(3, 4, requires_grad=True).T,
    }
    path = tmp_path / "deep" / "er" / "weights.safetensors"
    save_tensors(path, tensors, notes={"step": 12, "recipe": "live-image"})
    loaded, notes = load_tensors(path)
    assert notes == {"step": 12, "recipe": "live-image"}
    assert set(loaded) == set(tensors)
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor)
    assert [file.name for file in path.parent.iterdir()] == ["weights.safetensors"]


def test_notes_may_be_left_out(tmp_path: Path) -> None:
    save_tensors(tmp_path / "a.safetensors", {"x": torch.zeros(1)})
    assert load_tensors(tmp_path / "a.safetensors")[1] == {}


def test_a_network_computes_the_same_after_the_round_trip(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, other = LiveNetwork().eval(), LiveNetwork().eval()
    save_tensors(tmp_path / "live.safetensors", network.state_dict())
    load_network(other, tmp_path / "live.safetensors")
    image = torch.rand(1, 3, 32, 64)
    with torch.no_grad():
        for mine, theirs in zip(network(image), other(image), strict=True):
            assert torch.equal(mine, theirs)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_tensors(path, {"x": torch.ones(2)})
    shared = torch.ones(4)
    with pytest.raises(RuntimeError, match="share memory"):
        save_tensors(path, {"x": shared, "y": shared})
    assert torch.equal(load_tensors(path)[0]["x"], torch.ones(2))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no checkpoint at .*none\.safetensors"):
        load_tensors(tmp_path / "none.safetensors")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\xff" * 64])
def test_a_file_of_another_kind_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not a checkpoint"):
        load_tensors(path)


def test_a_truncated_checkpoint_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_tensors(path, {"x": torch.ones(1000)})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="is not a checkpoint"):
        load_tensors(path)


def test_other_names_are_refused_with_some_of_them(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_tensors(path, {"weight": torch.zeros(2, 3), "stranger": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"does not fit Linear: 2 differ, such as \['bias', 'stranger'\]"):
        load_network(nn.Linear(3, 2), path)


def test_another_shape_is_refused_and_the_network_keeps_its_weights(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_tensors(path, {"weight": torch.zeros(3, 2), "bias": torch.zeros(2)})
    network = nn.Linear(3, 2)
    before = network.weight.detach().clone()
    with pytest.raises(ValueError, match=r"1 differ, such as \['weight'\]"):
        load_network(network, path)
    assert torch.equal(network.weight, before)


def test_training_starts_from_what_fits_and_names_what_does_not(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_tensors(path, {"weight": torch.ones(2, 3), "stranger": torch.zeros(1)})
    network = nn.Linear(3, 2)
    assert start_network(network, path) == ["bias"]
    assert torch.equal(network.weight.detach(), torch.ones(2, 3))


def test_training_does_not_start_from_something_else(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_tensors(path, {"weight": torch.ones(3, 2), "bias": torch.ones(1)})
    with pytest.raises(ValueError, match="only 0 of 2 tensors do"):
        start_network(nn.Linear(3, 2), path)
