"""Public checkpoints of ResNet, DLA-34 and FlowNet-S, from a local file, under our names.

ResNet: torchvision's ImageNet weights (`conv1`, `layer1.0.conv1`, ..., `fc`), whose stride sits on the 3x3.
DLA-34: the authors' ImageNet weights (`base_layer`, `level3.tree1.root`, ..., `fc`), whose projections beside
trees of depth two are read by nobody.
FlowNet-S without batch norm: the names of the usual PyTorch conversions (`conv1.0`, `deconv5.0`,
`predict_flow6`, `upsampled_flow6_to_5`).
"""

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from partstream_models.networks.checkpoints import load_tensors
from partstream_models.networks.dla import DLA
from partstream_models.networks.flownet_s import FlowNetS
from partstream_models.networks.resnet import ResNet

_FLOW_CONVS = (("conv1",), ("conv2",), ("conv3", "conv3_1"), ("conv4", "conv4_1"), ("conv5", "conv5_1"),
               ("conv6", "conv6_1"))  # fmt: skip
_ZERO_WHERE_MISSING = ("deconvs.", "upsample.", "predict.")
"""Biases of these FlowNet-S layers: the first published form has none."""


def load_resnet(network: ResNet, path: Path) -> None:
    """Take a ResNet's weights from torchvision's checkpoint.

    Raises:
        ValueError: The network strides elsewhere, or the checkpoint is not of a ResNet like it.
    """
    if not network.config.stride_on_3x3:
        raise ValueError("torchvision's ResNets stride on the 3x3: build the network with stride_on_3x3=True")
    tensors = read_checkpoint(path)
    _fill(network, {name: tensors.get(theirs) for name, theirs in _resnet_names(network)}, path)


def load_dla(network: DLA, path: Path) -> None:
    """Take DLA-34's weights from its authors' checkpoint.

    Raises:
        ValueError: The checkpoint is not of a DLA like it.
    """
    tensors = read_checkpoint(path)
    _fill(network, {name: tensors.get(theirs) for name, theirs in _dla_names(network)}, path)


def load_flownet_s(network: FlowNetS, path: Path) -> None:
    """Take FlowNet-S's weights, the public ones or those of a run of ours.

    The scale map stays one, and biases that the checkpoint has not got become zero.

    Raises:
        ValueError: The checkpoint is none of FlowNet-S without batch norm, or of another width.
    """
    tensors = read_checkpoint(path)
    chosen: dict[str, Tensor | None] = {}
    for name, theirs in _flow_names(network):
        tensor = tensors.get(name, tensors.get(theirs))
        if tensor is None and name.startswith(_ZERO_WHERE_MISSING) and name.endswith("bias"):
            tensor = torch.zeros_like(network.state_dict()[name])
        chosen[name] = tensor
    _fill(network, chosen, path)


def read_checkpoint(path: Path) -> Mapping[str, Tensor]:
    """Names and tensors of a safetensors or PyTorch file; nothing in it runs.

    Raises:
        ValueError: It is missing, or holds anything but tensors by name (under `state_dict` or bare).
    """
    if path.suffix == ".safetensors":
        return load_tensors(path)[0]
    if not path.is_file():
        raise ValueError(f"no checkpoint at {path}")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError) as error:
        raise ValueError(f"{path} is not a checkpoint of plain tensors: {error}") from error
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise ValueError(f"{path} holds no tensors by name")
    return {str(name).removeprefix("module."): tensor for name, tensor in found.items()}


def _fill(network: nn.Module, chosen: Mapping[str, Tensor | None], path: Path) -> None:
    own = network.state_dict()
    missing = [name for name, tensor in chosen.items() if tensor is None]
    if missing:
        raise ValueError(
            f"{path} does not fit {type(network).__name__}: {len(missing)} of {len(chosen)} tensors are "
            f"missing, such as {missing[0]}"
        )
    given = {name: tensor for name, tensor in chosen.items() if tensor is not None}
    for name, tensor in given.items():
        if tensor.shape != own[name].shape:
            raise ValueError(
                f"{path} does not fit {type(network).__name__}: {name} is {tuple(tensor.shape)}, "
                f"expected {tuple(own[name].shape)}"
            )
    network.load_state_dict(given, strict=False)


def _resnet_names(network: ResNet) -> Iterator[tuple[str, str]]:
    for name in network.state_dict():
        if name.endswith("num_batches_tracked"):
            continue
        theirs = name.replace("stem_conv.", "conv1.").replace("stem_norm.", "bn1.")
        if name.startswith("stages."):
            _, stage, rest = name.split(".", 2)
            rest = rest.replace("norm", "bn").replace("shortcut.", "downsample.")
            theirs = f"layer{int(stage) + 1}.{rest}"
        yield name, theirs


def _dla_names(network: DLA) -> Iterator[tuple[str, str]]:
    stages = {"stage4": "level2", "stage8": "level3", "stage16": "level4", "stage32.tree": "level5"}
    layers = {"first.0": "conv1", "first.1": "bn1", "second.0": "conv2", "second.1": "bn2"}
    for name in network.state_dict():
        if name.endswith("num_batches_tracked"):
            continue
        if name.startswith("stem."):
            _, number, rest = name.split(".", 2)
            yield name, f"{('base_layer', 'level0', 'level1')[int(number)]}.{rest}"
            continue
        place, tensor = name.rsplit(".", 1)
        for ours, theirs in stages.items():
            place = place.replace(ours, theirs, 1)
        trees, part, layer = place.rsplit(".", 2)
        if part in ("root", "project"):
            end = f"{part}.{('conv', 'bn')[int(layer)]}" if part == "root" else f"{part}.{layer}"
        else:
            end = layers[f"{part}.{layer}"]
        trees = trees.replace(".first", ".tree1").replace(".second", ".tree2")
        yield name, f"{trees}.{end}.{tensor}"


def _flow_names(network: FlowNetS) -> Iterator[tuple[str, str]]:
    for name in network.state_dict():
        parts = name.split(".")
        number = int(parts[1]) if parts[0] != "scale" else 0
        if parts[0] == "encoder":
            yield name, f"{_FLOW_CONVS[number][int(parts[2])]}.0.{parts[-1]}"
        elif parts[0] == "deconvs":
            yield name, f"deconv{5 - number}.0.{parts[-1]}"
        elif parts[0] == "upsample":
            yield name, f"upsampled_flow{6 - number}_to_{5 - number}.{parts[-1]}"
        elif parts[0] == "predict":
            yield name, f"predict_flow{6 - number}.{parts[-1]}"
