"""Networks with their batch norms folded into the convolutions before them.

An inference graph needs no norms: a norm's scale and shift are part of the convolution before it. Runtimes
fold most of them too, but a graph that comes folded is the same in all of them.

Shape suffixes: B batch, C channels, H height, W width.
"""

import copy
from typing import TypeVar

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from partstream_models.networks.layers import SharedSeparableConv

Network = TypeVar("Network", bound=nn.Module)


class PerLevelSeparableConv(nn.Module):
    """A shared separable convolution once its norms are folded: convolutions of each level's own."""

    def __init__(self, shared: SharedSeparableConv) -> None:
        super().__init__()
        self.depthwise = nn.ModuleList(fused(shared.depthwise, norm) for norm in shared.inner_norms)
        self.pointwise = nn.ModuleList(fused(shared.pointwise, norm) for norm in shared.norms)

    def forward(self, x_BCHW: Tensor, level: int) -> Tensor:
        """The level's features, [B, C, H, W]."""
        y: Tensor = self.pointwise[level](self.depthwise[level](x_BCHW).relu()).relu()
        return y


def folded(network: Network) -> Network:
    """A copy in evaluation mode that computes the same without batch norms after convolutions.

    Folds where a norm directly follows a convolution in an `nn.Sequential`, and in `SharedSeparableConv`;
    other norms stay as they are.
    """
    lean = copy.deepcopy(network).eval().requires_grad_(False)
    _fold_children(lean)
    return lean


def fused(convolution: nn.Module, norm: nn.Module) -> nn.Conv2d:
    """One convolution that does the work of both; folded in double precision."""
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    pair = copy.deepcopy(convolution).double().eval(), copy.deepcopy(norm).double().eval()
    return fuse_conv_bn_eval(*pair).float()


def _fold_children(module: nn.Module) -> None:
    if isinstance(module, nn.Sequential):
        _fold_sequence(module)
    for name, child in module.named_children():
        if isinstance(child, SharedSeparableConv):
            setattr(module, name, PerLevelSeparableConv(child))
        else:
            _fold_children(child)


def _fold_sequence(sequence: nn.Sequential) -> None:
    for index in range(len(sequence) - 1):
        first, second = sequence[index], sequence[index + 1]
        if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
            sequence[index], sequence[index + 1] = fused(first, second), nn.Identity()
