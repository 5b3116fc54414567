"""Warping against loops over pixels."""

import math

import pytest
import torch
from torch import Tensor

from partstream_models.networks.warp import warp


def pixel(feature_CHW: Tensor, y: int, x: int) -> Tensor:
    """The feature at a pixel, zero outside."""
    _, height, width = feature_CHW.shape
    if 0 <= y < height and 0 <= x < width:
        return feature_CHW[:, y, x]
    return torch.zeros_like(feature_CHW[:, 0, 0])


def warp_by_loops(feature_BCHW: Tensor, flow_B2HW: Tensor) -> Tensor:
    out = torch.empty_like(feature_BCHW)
    batch, _, height, width = feature_BCHW.shape
    for b in range(batch):
        for row in range(height):
            for column in range(width):
                x = column + float(flow_B2HW[b, 0, row, column])
                y = row + float(flow_B2HW[b, 1, row, column])
                left, top = math.floor(x), math.floor(y)
                u, v = x - left, y - top
                out[b, :, row, column] = (
                    pixel(feature_BCHW[b], top, left) * (1 - u) * (1 - v)
                    + pixel(feature_BCHW[b], top, left + 1) * u * (1 - v)
                    + pixel(feature_BCHW[b], top + 1, left) * (1 - u) * v
                    + pixel(feature_BCHW[b], top + 1, left + 1) * u * v
                )
    return out


def test_no_flow_changes_nothing() -> None:
    feature = torch.randn(2, 3, 7, 9, dtype=torch.float64)
    assert torch.allclose(warp(feature, torch.zeros(2, 2, 7, 9, dtype=torch.float64)), feature)


@pytest.mark.parametrize(("dx", "dy"), [(1, 0), (0, 1), (-2, 0), (0, -3), (3, -2)])
def test_a_whole_flow_shifts_and_brings_zeros_in(dx: int, dy: int) -> None:
    feature = torch.randn(1, 2, 8, 10, dtype=torch.float64)
    flow = torch.tensor([dx, dy], dtype=torch.float64).reshape(1, 2, 1, 1).expand(1, 2, 8, 10)
    expected = torch.zeros_like(feature)
    for row in range(8):
        for column in range(10):
            expected[0, :, row, column] = pixel(feature[0], row + dy, column + dx)
    assert torch.allclose(warp(feature, flow), expected)


def test_a_flow_of_fractions_agrees_with_loops() -> None:
    generator = torch.Generator().manual_seed(3)
    feature = torch.randn(2, 3, 6, 5, generator=generator, dtype=torch.float64)
    flow = torch.randn(2, 2, 6, 5, generator=generator, dtype=torch.float64) * 3
    assert torch.allclose(warp(feature, flow), warp_by_loops(feature, flow), atol=1e-12)


def test_gradients_reach_feature_and_flow() -> None:
    generator = torch.Generator().manual_seed(4)
    feature = torch.randn(1, 2, 4, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    flow = torch.rand(1, 2, 4, 5, generator=generator, dtype=torch.float64) * 0.6 + 0.2  # off the kinks
    assert torch.autograd.gradcheck(warp, (feature, flow.requires_grad_()))
