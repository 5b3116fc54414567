"""Convolutions of the pretrained checkpoints that were made float from quantised TFLite files.

A checkpoint is a list of convolutions in graph order: batch norm folded, TensorFlow's SAME padding (more on
the right and below where it is uneven), activation named.

Shape suffixes: B batch, C channels, H height, W width.
"""

from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError  # what torch.load raises for a file of another kind

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class Convolution:
    """One convolution with its bias, padding and activation."""

    name: str
    weight: Tensor
    bias: Tensor
    stride: int
    dilation: int
    depthwise: bool
    activation: str | None


def load_convolutions(path: Path) -> list[Convolution]:
    """The convolutions of a checkpoint, in graph order.

    Raises:
        ValueError: The file is missing or not such a checkpoint.
    """
    if not path.is_file():
        raise ValueError(f"no pretrained weights at {path}")
    try:
        rows = torch.load(path, weights_only=True)
        if not isinstance(rows, list) or not rows:
            raise TypeError(f"it holds a {type(rows).__name__}")
        return [
            Convolution(
                name=str(row["name"]),
                weight=row["weight"].float(),
                bias=row["bias"].float(),
                stride=int(row["stride"]),
                dilation=int(row["dilation"]),
                depthwise=row["op"] == "DEPTHWISE_CONV_2D",
                activation=row["act"],
            )
            for row in rows
        ]
    except (UnpicklingError, EOFError, RuntimeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a list of convolutions: {error}") from error


def pad_same(x_BCHW: Tensor, *, kernel_size: int, stride: int, dilation: int) -> Tensor:
    """Pad with zeros as TensorFlow's SAME does."""
    reach = (kernel_size - 1) * dilation + 1
    height, width = x_BCHW.shape[-2:]
    extra_y = max((-(-height // stride) - 1) * stride + reach - height, 0)
    extra_x = max((-(-width // stride) - 1) * stride + reach - width, 0)
    return F.pad(x_BCHW, (extra_x // 2, extra_x - extra_x // 2, extra_y // 2, extra_y - extra_y // 2))


def run(convolution: Convolution, x_BCHW: Tensor) -> Tensor:
    """The convolution's output after its activation, [B, C', H', W']."""
    padded = pad_same(
        x_BCHW,
        kernel_size=convolution.weight.shape[-1],
        stride=convolution.stride,
        dilation=convolution.dilation,
    )
    groups = x_BCHW.shape[1] if convolution.depthwise else 1
    y = F.conv2d(
        padded, convolution.weight, convolution.bias, convolution.stride, 0, convolution.dilation, groups
    )
    if convolution.activation == "relu6":
        return F.relu6(y)
    return F.relu(y) if convolution.activation == "relu" else y
