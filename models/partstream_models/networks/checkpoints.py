"""Checkpoints as safetensors: names and tensors, nothing that runs."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn


def save_tensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    *,
    notes: Mapping[str, object] | None = None,
    compact: bool = False,
) -> None:
    """Write tensors and notes (as JSON in the header); the file appears whole or not at all.

    Args:
        path: Of the file.
        tensors: By name.
        notes: Written beside them.
        compact: Store float32 tensors as float16 where no bit is lost.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".part")
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    if compact:
        plain = {name: _as_half(tensor) for name, tensor in plain.items()}
    save_file(plain, draft, metadata={"notes": json.dumps(dict(notes or {}))})
    draft.replace(path)


def _as_half(tensor: Tensor) -> Tensor:
    """The tensor as float16 if that loses nothing, else as it is."""
    if tensor.dtype != torch.float32:
        return tensor
    half = tensor.half()
    return half if torch.equal(half.float(), tensor) else tensor


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, object]]:
    """Tensors and notes of a checkpoint.

    Raises:
        ValueError: The file is missing or is not a safetensors file.
    """
    if not path.is_file():
        raise ValueError(f"no checkpoint at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            notes = json.loads((file.metadata() or {}).get("notes", "{}"))
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not a checkpoint: {error}") from error
    return tensors, notes


def load_network(network: nn.Module, path: Path) -> None:
    """Put a checkpoint's tensors into a network.

    Raises:
        ValueError: Names or shapes differ; the message lists some of them.
    """
    tensors, _ = load_tensors(path)
    own = network.state_dict()
    wrong = sorted(set(own) ^ set(tensors))
    wrong += sorted(name for name in set(own) & set(tensors) if own[name].shape != tensors[name].shape)
    if wrong:
        raise ValueError(
            f"{path} does not fit {type(network).__name__}: {len(wrong)} differ, such as {wrong[:3]}"
        )
    network.load_state_dict({name: torch.as_tensor(tensor) for name, tensor in tensors.items()})


def load_part(network: nn.Module, path: Path, prefix: str) -> None:
    """Put a checkpoint's tensors under a prefix into a network; its other tensors stay as they are.

    Raises:
        ValueError: Names or shapes under the prefix differ.
    """
    tensors, _ = load_tensors(path)
    own = {name: tensor.shape for name, tensor in network.state_dict().items() if name.startswith(prefix)}
    given = {name: tensor.shape for name, tensor in tensors.items() if name.startswith(prefix)}
    if own != given or not own:
        raise ValueError(f"{path} does not fit {type(network).__name__} under {prefix!r}")
    network.load_state_dict({name: torch.as_tensor(tensors[name]) for name in own}, strict=False)


def start_network(network: nn.Module, path: Path) -> list[str]:
    """Put what fits of a checkpoint into a network; training goes on from there.

    Returns:
        Names of the network's tensors that the checkpoint has not got, or in another shape: they start fresh.

    Raises:
        ValueError: Less than half of the network's tensors fit.
    """
    tensors, _ = load_tensors(path)
    own = network.state_dict()
    fitting = {name for name in set(own) & set(tensors) if own[name].shape == tensors[name].shape}
    if len(fitting) < len(own) / 2:
        raise ValueError(
            f"{path} does not fit {type(network).__name__}: only {len(fitting)} of {len(own)} tensors do"
        )
    network.load_state_dict({name: torch.as_tensor(tensors[name]) for name in fitting}, strict=False)
    return sorted(set(own) - fitting)
