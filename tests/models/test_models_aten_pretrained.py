"""Public checkpoints under their own names, and files that are none."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from partstream_models.networks.flownet_s import FlowNetS
from partstream_models.networks.pretrained import load_flownet_s, load_resnet
from partstream_models.networks.resnet import ResNet, ResNetConfig

SMALL = ResNetConfig(blocks=(1, 2, 1, 1), width=4, stride_on_3x3=True)


def torchvision_tensors() -> dict[str, Tensor]:
    """A ResNet's tensors under torchvision's names, made without our own name mapping."""
    tensors = {"fc.weight": torch.rand(10, 128), "fc.bias": torch.rand(10)}

    def norm(name: str, channels: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            tensors[f"{name}.{part}"] = torch.rand(channels)
        tensors[f"{name}.num_batches_tracked"] = torch.tensor(5)

    tensors["conv1.weight"] = torch.rand(4, 3, 7, 7)
    norm("bn1", 4)
    inputs = 4
    for stage, blocks in enumerate((1, 2, 1, 1)):
        mid, out = 4 * 2**stage, 16 * 2**stage
        for block in range(blocks):
            name = f"layer{stage + 1}.{block}"
            shapes = {"1": (mid, inputs, 1, 1), "2": (mid, mid, 3, 3), "3": (out, mid, 1, 1)}
            for number, shape in shapes.items():
                tensors[f"{name}.conv{number}.weight"] = torch.rand(shape)
                norm(f"{name}.bn{number}", shape[0])
            if block == 0:
                tensors[f"{name}.downsample.0.weight"] = torch.rand(out, inputs, 1, 1)
                norm(f"{name}.downsample.1", out)
            inputs = out
    return tensors


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_torchvision_s_resnet_lands_where_it_belongs(tmp_path: Path, suffix: str) -> None:
    tensors, path = torchvision_tensors(), tmp_path / f"resnet{suffix}"
    if suffix == ".pth":
        torch.save(tensors, path)
    else:
        save_file(tensors, path)
    network = ResNet(SMALL)
    load_resnet(network, path)
    own = network.state_dict()
    assert torch.equal(own["stem_conv.weight"], tensors["conv1.weight"])
    assert torch.equal(own["stages.1.1.norm2.running_var"], tensors["layer2.1.bn2.running_var"])
    assert torch.equal(own["stages.3.0.shortcut.0.weight"], tensors["layer4.0.downsample.0.weight"])
    assert torch.equal(own["stages.3.0.shortcut.1.bias"], tensors["layer4.0.downsample.1.bias"])


def test_a_resnet_of_another_depth_or_stride_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "resnet.pth"
    torch.save(torchvision_tensors(), path)
    with pytest.raises(ValueError, match="stride_on_3x3"):
        load_resnet(ResNet(ResNetConfig(blocks=SMALL.blocks, width=4)), path)
    deeper = ResNetConfig(blocks=(1, 3, 1, 1), width=4, stride_on_3x3=True)
    with pytest.raises(ValueError, match=r"missing, such as stages\.1\.2"):
        load_resnet(ResNet(deeper), path)
    wider = ResNetConfig(blocks=SMALL.blocks, width=8, stride_on_3x3=True)
    with pytest.raises(ValueError, match="expected"):
        load_resnet(ResNet(wider), path)


def flow_tensors() -> dict[str, Tensor]:
    """FlowNet-S at an eighth of its width under the public conversions' names, without deconv biases."""
    tensors: dict[str, Tensor] = {}
    convs = [("1", 6, 8, 7), ("2", 8, 16, 5), ("3", 16, 32, 5), ("3_1", 32, 32, 3), ("4", 32, 64, 3)]
    convs += [
        ("4_1", 64, 64, 3),
        ("5", 64, 64, 3),
        ("5_1", 64, 64, 3),
        ("6", 64, 128, 3),
        ("6_1", 128, 128, 3),
    ]
    for name, inputs, outputs, kernel in convs:
        tensors[f"conv{name}.0.weight"] = torch.rand(outputs, inputs, kernel, kernel)
        tensors[f"conv{name}.0.bias"] = torch.rand(outputs)
    widths = {6: 128, 5: 130, 4: 98, 3: 50, 2: 26}
    for level, channels in widths.items():
        tensors[f"predict_flow{level}.weight"] = torch.rand(2, channels, 3, 3)
    for level, out in ((5, 64), (4, 32), (3, 16), (2, 8)):
        tensors[f"deconv{level}.0.weight"] = torch.rand(widths[level + 1], out, 4, 4)
        tensors[f"upsampled_flow{level + 1}_to_{level}.weight"] = torch.rand(2, 2, 4, 4)
    return tensors


def test_flownet_s_lands_where_it_belongs_and_the_scale_map_stays_one(tmp_path: Path) -> None:
    tensors, path = flow_tensors(), tmp_path / "flownets.pth"
    torch.save({"arch": "flownets", "state_dict": tensors}, path)
    network = FlowNetS(scale_channels=5, width=1 / 8)
    load_flownet_s(network, path)
    own = network.state_dict()
    assert torch.equal(own["encoder.2.1.0.weight"], tensors["conv3_1.0.weight"])
    assert torch.equal(own["predict.4.weight"], tensors["predict_flow2.weight"])
    assert torch.equal(own["deconvs.0.weight"], tensors["deconv5.0.weight"])
    assert torch.equal(own["upsample.3.weight"], tensors["upsampled_flow3_to_2.weight"])
    assert not own["deconvs.1.bias"].any()
    field = network(torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64))
    assert torch.equal(field.scale_BCHW, torch.ones(1, 5, 16, 16))


def test_files_that_are_no_checkpoint_are_named(tmp_path: Path) -> None:
    network = ResNet(SMALL)
    with pytest.raises(ValueError, match=r"no checkpoint at .*none\.pth"):
        load_resnet(network, tmp_path / "none.pth")
    text = tmp_path / "text.pth"
    text.write_text("not a checkpoint")
    with pytest.raises(ValueError, match=r"text\.pth is not a checkpoint"):
        load_resnet(network, text)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="no tensors by name"):
        load_resnet(network, tmp_path / "list.pth")
    torch.save(flow_tensors(), tmp_path / "flow.pth")
    with pytest.raises(ValueError, match="does not fit ResNet"):
        load_resnet(network, tmp_path / "flow.pth")
    torch.save(torchvision_tensors(), tmp_path / "resnet.pth")
    with pytest.raises(ValueError, match="does not fit FlowNetS"):
        load_flownet_s(FlowNetS(width=1 / 8), tmp_path / "resnet.pth")
