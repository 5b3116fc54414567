"""A light flow network for the stride-8 feature map of small networks, with FlowNet-S's interface.

Both images are described at strides 8 and 16, from half resolution. At stride 16 every place is matched with
all places of the reference by a softmax of similarities. A cheap guess from outside (OpenCV's DIS, a codec's
motion vectors, or none: zeros) is weighed against that way where either is wrong; what they make together is
refined there and, against the reference warped by it, once more at stride 8. Raw flow is in pixels of the
stride-8 feature map.

Shape suffixes: B batch, C channels, H and W at stride 8, h and w image size.

Source: ours. Global matching after GMFlow (Xu et al., CVPR 2022), refinement against the warped reference
after PWC-Net (Sun et al., CVPR 2018), the scale map after Deep Feature Flow (Zhu et al., CVPR 2017).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from partstream_models.networks.flow_field import FlowField, ScaleMap
from partstream_models.networks.layers import ConvAct
from partstream_models.networks.warp import warp

FLOW_STRIDE = 8
FLOW_UNIT = 8.0
"""Image pixels of one unit of raw flow: a pixel of the feature map."""
LOSS_WEIGHTS = (1.0, 0.5, 0.3)
"""Of the levels' endpoint errors, finest first."""
NEAR_CHANNELS, FAR_CHANNELS = 40, 64
_FINE = 32
_SLOPE = 0.1


class Description(NamedTuple):
    """What the flow network knows of one frame."""

    near: Tensor
    """At stride 8."""
    far: Tensor
    """At stride 16."""


class LightFlow(nn.Module):
    """Flow at stride 8 of two images, and a scale map if asked for."""

    def __init__(self, *, scale_channels: int | None = 96) -> None:
        super().__init__()
        self.near = nn.Sequential(
            _conv(3, 24, stride=2), _conv(24, NEAR_CHANNELS, stride=2), _conv(NEAR_CHANNELS, NEAR_CHANNELS)
        )  # fmt: skip
        self.far = nn.Sequential(
            _conv(NEAR_CHANNELS, FAR_CHANNELS, stride=2), _conv(FAR_CHANNELS, FAR_CHANNELS)
        )
        self.describe_places = nn.Conv2d(FAR_CHANNELS, FAR_CHANNELS, 1)
        self.nearness = nn.Parameter(torch.tensor(-2.0))
        self.coarse = nn.Sequential(
            _conv(3 * FAR_CHANNELS + 5, FAR_CHANNELS),
            _conv(FAR_CHANNELS, FAR_CHANNELS, dilation=2),
            _conv(FAR_CHANNELS, _FINE),
        )
        self.fine = nn.Sequential(
            _conv(2 * NEAR_CHANNELS + 2 + _FINE, NEAR_CHANNELS), _conv(NEAR_CHANNELS, _FINE)
        )
        self.weigh = nn.Conv2d(_FINE, 1, 3, padding=1)
        self.predict = nn.ModuleList(nn.Conv2d(_FINE, 2, 3, padding=1) for _ in range(2))
        self.scale = ScaleMap(_FINE, scale_channels) if scale_channels is not None else None
        for module in (self.weigh, *self.predict):
            assert isinstance(module, nn.Conv2d)
            assert module.bias is not None
            nn.init.normal_(module.weight, std=0.01)
            nn.init.zeros_(module.bias)

    def forward(
        self, current_B3hw: Tensor, reference_B3hw: Tensor, guess_B2HW: Tensor | None = None
    ) -> FlowField:
        """The field from current to reference.

        Args:
            current_B3hw: RGB in [-1, 1], sides multiples of 32.
            reference_B3hw: Of the same size.
            guess_B2HW: A first flow in pixels of the stride-8 feature map; zeros where None.
        """
        if guess_B2HW is None:
            batch, _, height, width = current_B3hw.shape
            guess_B2HW = current_B3hw.new_zeros(batch, 2, height // FLOW_STRIDE, width // FLOW_STRIDE)
        both = self.describe(F.avg_pool2d(torch.cat([current_B3hw, reference_B3hw]), 2))
        current, reference = (
            Description(*halves) for halves in zip(*(x.chunk(2) for x in both), strict=True)
        )
        return self.estimate(current, reference, guess_B2HW)

    def describe(self, half_B3HW: Tensor) -> Description:
        """What estimates read of a frame, from its image at half size; made once a frame."""
        near = self.near(half_B3HW)
        return Description(near, self.far(near))

    def estimate(self, current: Description, reference: Description, guess_B2HW: Tensor) -> FlowField:
        """The field from current to reference, from their descriptions and a guess."""
        matched, sureness = match(
            self.describe_places(current.far), self.describe_places(reference.far), self.nearness.exp()
        )
        guess = F.avg_pool2d(guess_B2HW, 2) / 2
        x = self.coarse(
            torch.cat(
                [
                    current.far,
                    _warp_like(reference.far, matched),
                    _warp_like(reference.far, guess),
                    matched * 0.1,
                    guess * 0.1,
                    sureness,
                ],
                dim=1,
            )
        )
        trust = self.weigh(x).sigmoid()
        coarse = trust * guess + (1 - trust) * matched + self.predict[0](x)
        # what the guess knows more finely than stride 16 comes back as far as it is trusted
        up = _double(coarse) * 2 + _double(trust) * (guess_B2HW - _double(guess) * 2)
        warped = _warp_like(reference.near, up)
        x = self.fine(torch.cat([current.near, warped, up * 0.1, _double(x)], dim=1))
        flow = up + self.predict[1](x)
        scale = self.scale(x) if self.scale is not None else None
        return FlowField(flow, scale, (flow, coarse * 2, matched * 2))


def match(query_BCHW: Tensor, key_BCHW: Tensor, nearness: Tensor) -> tuple[Tensor, Tensor]:
    """Where each place of the query is in the key: the mean of all places under a softmax of similarities.

    Args:
        query_BCHW: Descriptors of the current frame.
        key_BCHW: Descriptors of the reference.
        nearness: How much similarity a squared cell of way costs; without it learning starts from nowhere.

    Returns:
        The way there, [B, 2, H, W], in pixels of these maps (float32), and the greatest share that one place
        has, [B, 1, H, W].
    """
    channels, height, width = query_BCHW.shape[1:]
    query_BNC = query_BCHW.flatten(2).transpose(1, 2)
    alike_BNN = (query_BNC @ key_BCHW.flatten(2)).float() * channels**-0.5
    rows = torch.arange(height, device=query_BCHW.device, dtype=torch.float32)
    columns = torch.arange(width, device=query_BCHW.device, dtype=torch.float32)
    places_2HW = torch.stack(
        [columns[None, :].expand(height, width), rows[:, None].expand(height, width)]
    )  # fmt: skip
    places_N2 = places_2HW.flatten(1).transpose(0, 1)
    far_NN = (places_N2[:, None] - places_N2[None]).square().sum(dim=-1)
    share_BNN = (alike_BNN - far_NN * nearness).softmax(dim=-1)
    with torch.autocast(query_BCHW.device.type, enabled=False):
        there_BN2 = share_BNN @ places_N2
    way = (there_BN2 - places_N2).transpose(1, 2).reshape(-1, 2, height, width)
    return way, share_BNN.amax(dim=-1).reshape(-1, 1, height, width)


def _warp_like(feature_BCHW: Tensor, flow_B2HW: Tensor) -> Tensor:
    """A feature drawn along a flow of float32, in the feature's own type."""
    return warp(feature_BCHW.float(), flow_B2HW.float()).to(feature_BCHW.dtype)


def _double(x_BCHW: Tensor) -> Tensor:
    return F.interpolate(x_BCHW, scale_factor=2.0, mode="bilinear", align_corners=False)


def _conv(in_channels: int, out_channels: int, *, stride: int = 1, dilation: int = 1) -> nn.Module:
    return ConvAct(
        in_channels, out_channels, kernel_size=3, stride=stride, dilation=dilation, slope=_SLOPE
    )  # fmt: skip
