"""ResNet and DeepLabV3+ at a reduced width: sizes, frozen norms, dilation."""

import pytest
import torch
from torch import nn

from partstream_models.networks.aspp import ASPP
from partstream_models.networks.deeplab_v3_plus import DeepLabConfig, DeepLabV3Plus
from partstream_models.networks.resnet import FrozenBatchNorm, ResNet, ResNetConfig

SMALL = ResNetConfig(blocks=(1, 1, 1, 2), width=4)


@pytest.mark.parametrize("size", [(32, 32), (64, 48), (36, 68)])
def test_the_feature_has_a_quarter_of_the_image_s_sides(size: tuple[int, int]) -> None:
    network = DeepLabV3Plus(DeepLabConfig(trunk=SMALL, channels=8, low_channels=3)).eval()
    with torch.no_grad():
        assert network(torch.rand(2, 3, *size)).shape == (2, 8, size[0] // 4, size[1] // 4)


def test_taps_are_at_strides_four_and_sixteen() -> None:
    taps = ResNet(SMALL)(torch.rand(1, 3, 64, 96))
    assert taps.stem.shape == (1, 4, 16, 24)
    assert taps.last.shape == (1, SMALL.out_channels, 4, 6)


def test_norms_stay_as_they_are_in_training() -> None:
    network = ResNet(SMALL).train()
    norms = {name: module for name, module in network.named_modules() if isinstance(module, FrozenBatchNorm)}
    before = {
        name: tensor.clone() for name, tensor in network.state_dict().items() if "num_batches" not in name
    }
    network(torch.rand(2, 3, 32, 32)).last.sum().backward()
    assert norms
    assert not any(norm.training or norm.weight.requires_grad for norm in norms.values())
    after = network.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_the_dilated_stage_sees_as_the_strided_one_would() -> None:
    """Weights made at stride 32 compute, dilated at stride 16, the same on every second row and column."""
    torch.manual_seed(0)
    dilated = ResNet(SMALL).eval().get_submodule("stages.3.1")
    x = torch.rand(1, SMALL.out_channels, 6, 6)
    with torch.no_grad():
        fine = dilated(x)
        convolution = dilated.get_submodule("conv2")
        assert isinstance(convolution, nn.Conv2d)
        assert convolution.dilation == (2, 2)
        convolution.dilation = convolution.padding = (1, 1)
        assert torch.allclose(fine[..., ::2, ::2], dilated(x[..., ::2, ::2]), atol=1e-5)


def test_the_stride_may_sit_on_either_convolution() -> None:
    published, torchvision = (
        ResNet(SMALL),
        ResNet(ResNetConfig(blocks=SMALL.blocks, width=4, stride_on_3x3=True)),
    )
    assert [tuple(t.shape) for t in published.state_dict().values()] == [
        tuple(t.shape) for t in torchvision.state_dict().values()
    ]
    torchvision.load_state_dict(published.state_dict())
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert not torch.allclose(published(image).last, torchvision(image).last, atol=1e-3)


def test_a_network_of_no_blocks_is_refused() -> None:
    with pytest.raises(ValueError, match="blocks"):
        ResNetConfig(blocks=(0, 1, 1, 1))


def test_separable_branches_without_norm_are_refused() -> None:
    with pytest.raises(ValueError, match="separable"):
        ASPP(4, 4, separable=True, norm=False)
