"""The trunk: strides of its taps, and the pretrained weights."""

from pathlib import Path

import pytest
import torch

from partstream_models.data.photos.body_hints import run_mobilenet_v2
from partstream_models.networks.dequantised import load_convolutions
from partstream_models.networks.mobilenet_v2 import TAP_CHANNELS, MobileNetV2

CHECKPOINT = "weights/deeplabv3_mnv2_pascal_quant.dequant.pt"
IMAGENET = "weights/tf2_mobilenet_v2_1.0_224_ptq.dequant.pt"


def image(height: int, width: int) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 96), (96, 32)])
def test_taps_have_their_strides(height: int, width: int) -> None:
    with torch.no_grad():
        taps = MobileNetV2()(image(height, width))
    assert taps._fields == TAP_CHANNELS._fields == ("stride4", "stride8", "stride16", "stride32")
    for tap, channels, stride in zip(taps, TAP_CHANNELS, (4, 8, 16, 32), strict=True):
        assert tap.shape == (1, channels, height // stride, width // stride)


def test_the_pretrained_weights_compute_what_they_did(data_dir: Path) -> None:
    network = MobileNetV2()
    network.load_pretrained(data_dir / CHECKPOINT)
    convolutions = load_convolutions(data_dir / CHECKPOINT)
    picture = image(128, 192)
    with torch.no_grad():
        taps = network(picture)
        # a stem, a block of two convolutions, then blocks of three
        for tap, num_blocks in ((taps.stride4, 3), (taps.stride8, 6), (taps.stride16, 13)):
            oracle = run_mobilenet_v2(convolutions[: 3 * num_blocks], picture)
            assert tap.shape == oracle.shape
            assert torch.allclose(tap, oracle, atol=1e-4)


def test_without_dilation_the_last_tap_is_every_second_value_of_the_dilated_one(data_dir: Path) -> None:
    network = MobileNetV2()
    network.load_pretrained(data_dir / CHECKPOINT)
    picture = image(128, 192)
    with torch.no_grad():
        last = network(picture).stride32
        dilated = run_mobilenet_v2(load_convolutions(data_dir / CHECKPOINT)[:51], picture)
    assert dilated.shape == (1, 320, 8, 12)
    assert torch.allclose(last, dilated[..., 1::2, 1::2], atol=1e-3)


def test_the_imagenet_weights_fit_too(data_dir: Path) -> None:
    network = MobileNetV2()
    network.load_pretrained(data_dir / IMAGENET)
    first = load_convolutions(data_dir / IMAGENET)[0]
    assert torch.equal(network.stem.weight, first.weight)


def row(weight: torch.Tensor) -> dict[str, object]:
    return {
        "op": "CONV_2D", "weight": weight, "bias": torch.zeros(len(weight)), "stride": 1, "dilation": 1,
        "same_pad": True, "act": None, "name": "some_conv",
    }  # fmt: skip


def test_a_checkpoint_of_too_few_convolutions_is_refused(tmp_path: Path) -> None:
    torch.save([row(torch.zeros(32, 3, 3, 3))], tmp_path / "short.pt")
    with pytest.raises(ValueError, match="has 1 convolutions"):
        MobileNetV2().load_pretrained(tmp_path / "short.pt")


def test_a_checkpoint_of_other_shapes_is_refused(tmp_path: Path) -> None:
    torch.save([row(torch.zeros(8, 3, 3, 3))] * 51, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"some_conv is \(8, 3, 3, 3\), expected \(32, 3, 3, 3\)"):
        MobileNetV2().load_pretrained(tmp_path / "other.pt")


def test_frozen_blocks_stay_and_the_others_learn() -> None:
    network = MobileNetV2()
    network.freeze_first(3)
    network(image(32, 32)).stride32.sum().backward()
    frozen = [network.stem, *network.blocks[:3]]
    assert not any(parameter.requires_grad for module in frozen for parameter in module.parameters())
    assert all(p.grad is not None for module in network.blocks[3:] for p in module.parameters())
    untouched = MobileNetV2()
    untouched.freeze_first(0)
    assert all(parameter.requires_grad for parameter in untouched.parameters())
