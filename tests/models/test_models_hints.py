"""The pretrained networks: their file format, TensorFlow's padding, and the hints they give."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from partstream_evaluation.ccp import HINTS, validation_ids
from partstream_models.commands.body_hints import num_different, shipped_hints
from partstream_models.data.photos.body_hints import PARTS_OF_HINT, HintMaker
from partstream_models.data.photos.cache import read_photo
from partstream_models.networks.dequantised import Convolution, load_convolutions, pad_same, run

sizes = st.integers(1, 40)


@given(height=sizes, width=sizes, kernel=st.sampled_from([1, 3, 5]), stride=st.sampled_from([1, 2]))
def test_same_padding_keeps_every_strideth_place(height: int, width: int, kernel: int, stride: int) -> None:
    padded = pad_same(torch.ones(1, 1, height, width), kernel_size=kernel, stride=stride, dilation=1)
    out = F.conv2d(padded, torch.ones(1, 1, kernel, kernel), stride=stride)
    assert out.shape == (1, 1, -(-height // stride), -(-width // stride))
    before, after = (int(padded.shape[-1]) - width) // 2, (int(padded.shape[-1]) - width + 1) // 2
    assert before + after + width == padded.shape[-1]
    assert (padded[..., :before] == 0).all()
    assert (padded[0, 0, padded.shape[-2] // 2, before : before + width] == 1).all()


@pytest.mark.parametrize(("activation", "high"), [("relu6", 6.0), ("relu", 9.0), (None, 9.0)])
def test_a_convolution_runs_with_its_padding_and_activation(activation: str | None, high: float) -> None:
    weight = torch.zeros(2, 1, 3, 3)
    weight[:, 0, 1, 1] = 1  # each channel keeps the middle pixel
    layer = Convolution("a", weight, torch.zeros(2), 1, 2, depthwise=True, activation=activation)
    image = torch.tensor([9.0, -4.0]).reshape(1, 2, 1, 1).expand(1, 2, 5, 5).contiguous()
    out = run(layer, image)
    assert out.shape == image.shape
    assert (out[:, 0] == high).all()
    assert (out[:, 1] == (-4.0 if activation is None else 0.0)).all()


def test_every_body_part_is_in_one_hint() -> None:
    numbers = [number for group in PARTS_OF_HINT for number in group]
    assert sorted(numbers) == list(range(24))
    assert len(PARTS_OF_HINT) == len(HINTS) - 2


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no pretrained weights at"):
        HintMaker(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04 half a zip"])
def test_a_file_of_another_kind_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not a list of convolutions"):
        load_convolutions(path)


@pytest.mark.parametrize("value", [[], {"weight": 1}, [{"name": "a"}], [3], torch.zeros(2)])
def test_a_checkpoint_of_something_else_is_told(tmp_path: Path, value: object) -> None:
    torch.save(value, tmp_path / "odd.pt")
    with pytest.raises(ValueError, match="is not a list of convolutions"):
        load_convolutions(tmp_path / "odd.pt")


def test_hints_of_a_validation_photo_are_the_shipped_ones(data_dir: Path) -> None:
    shipped = shipped_hints()
    assert tuple(shipped) == validation_ids(data_dir / "ccp")
    make = HintMaker(data_dir / "weights")
    for photo_id in list(shipped)[:1]:
        photo = read_photo(data_dir / "ccp" / "photos" / f"{photo_id}.jpg")
        hints = make(photo)
        assert hints.dtype == np.uint8
        assert hints.shape == (10, -(-photo.shape[0] // 16) + 1, -(-photo.shape[1] // 16) + 1)
        assert (
            num_different({photo_id: hints}, shipped) <= 0.002 * hints.size
        )  # another processor rounds a few


def test_differences_are_counted() -> None:
    one, other = np.zeros((2, 3), np.uint8), np.zeros((2, 3), np.uint8)
    other[0, 1] = 17
    assert num_different({"a": one}, {"a": one}) == 0
    assert num_different({"a": one, "b": one}, {"a": other, "b": one}) == 1
    assert num_different({"a": one}, {"b": one}) == 6
    assert num_different({"a": one}, {"a": np.zeros((3, 2), np.uint8)}) == 6
