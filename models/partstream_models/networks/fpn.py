"""Feature pyramid network: levels of equal width, one for each feature of the trunk.

Shape suffixes: B batch, C channels, H height, W width.

Source: Lin et al., CVPR 2017, section 3.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


class FPN(nn.Module):
    """Lateral 1x1 convolutions, the top-down path, and a 3x3 convolution for each level."""

    def __init__(self, in_channels: Sequence[int], channels: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(inputs, channels, 1) for inputs in in_channels)
        self.outputs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in in_channels)
        for module in (*self.laterals, *self.outputs):
            assert isinstance(module, nn.Conv2d)
            assert module.bias is not None
            nn.init.kaiming_uniform_(module.weight, a=1)
            nn.init.zeros_(module.bias)

    def forward(self, taps: Sequence[Tensor]) -> list[Tensor]:
        """Levels, each [B, channels, ...] at its tap's size.

        Args:
            taps: Features, finest first, each half the size of the one before.
        """
        levels: list[Tensor] = []
        x: Tensor | None = None
        for tap, lateral in zip(reversed(taps), reversed(self.laterals), strict=True):
            own = lateral(tap)
            x = own if x is None else own + F.interpolate(x, scale_factor=2.0, mode="nearest")
            levels.append(x)
        return [output(level) for output, level in zip(self.outputs, reversed(levels), strict=True)]
