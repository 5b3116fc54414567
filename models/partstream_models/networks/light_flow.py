"""A light flow network for the stride-8 feature map of small networks, with FlowNet-S's interface.

A guess from outside (OpenCV's DIS, a codec's motion vectors, or none: zeros) is made better. The reference is
drawn along it, at half resolution; what still differs says by how much the guess is off (Lucas and Kanade's
equations, over two sizes of window). A small network that sees both images and these answers chooses at each
place among the guess, the corrected guesses and those of its neighbours: borders of people become sharp, and
places without texture take after those that have some. Where the guess makes the current frame out of the
reference clearly better than the network's answer does, the guess stays: on clips unlike those that it
learned from a network may do harm. Raw flow is in pixels of the stride-8 feature map.

Shape suffixes: B batch, C channels, N candidates; H and W at stride 8, Q and R at stride 4, h and w image
size.

Source: ours. Equations after Lucas and Kanade (IJCAI 1981), warping before refining after FlowNet 2 (Ilg et
al., CVPR 2017), choosing among neighbours after the upsampling of RAFT (Teed and Deng, ECCV 2020), the scale
map after Deep Feature Flow (Zhu et al., CVPR 2017).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from partstream_models.networks.flow_field import FlowField, ScaleMap
from partstream_models.networks.warp import warp

FLOW_STRIDE = 8
FLOW_UNIT = 8.0
"""Image pixels of one unit of raw flow: a pixel of the feature map."""
GUESS_STRIDE = 4
LOSS_WEIGHTS = (1.0,)
"""Of the levels' endpoint errors: there is one level."""

_HALF_UNIT = 4.0
"""Pixels at half resolution of one unit of raw flow."""
_WINDOWS = (3, 7)
"""Sides, at stride 4, of the windows over which differences are explained by motion."""
_REACHES = (1, 3)
"""How far, at stride 8, the neighbours lie whose flow a place may take: eight each way."""
_FIELDS = 1 + len(_WINDOWS)
_CANDIDATES = _FIELDS * (1 + 8 * len(_REACHES))
_NOISE = 2e-4
"""Squared gradient below which a window has no texture; grey values are in [-1, 1]."""
_FAR = 2.0
"""Pixels at half resolution beyond which the equations are not believed."""
_FAVOUR, _HEADSTART, _DOUBT = 1.3, 0.005, (0.1, 0.002)
"""The network's answer counts until it is so many times as far off as the guess, and by so much more; about
there the two are mixed. In mean differences of grey values in [-1, 1]."""
_FAINT = 1e-6
_SLOPE = 0.1
_TOLD = 24 + 2 + 1 + 6 * len(_WINDOWS) + 2 * len(_WINDOWS)
"""Channels that the network reads at stride 4: pixels of both images, guess, error, equations, answers."""
_FINE, _MIDDLE, _WIDE = 32, 56, 64


class LightFlow(nn.Module):
    """Flow at stride 8 of two images, and a scale map if asked for."""

    def __init__(self, *, scale_channels: int | None = 96) -> None:
        super().__init__()
        self.fine = _conv(_TOLD, _FINE)
        self.middle = nn.Sequential(_conv(_FINE, _MIDDLE, stride=2), _conv(_MIDDLE, _MIDDLE))
        self.wide = nn.Sequential(
            _conv(_MIDDLE, _WIDE, stride=2),
            _conv(_WIDE, _WIDE, dilation=2),
            _conv(_WIDE, _WIDE, dilation=4),
            _conv(_WIDE, _MIDDLE),
        )
        self.join = nn.Sequential(_conv(2 * _MIDDLE, _MIDDLE, kernel_size=1), _conv(_MIDDLE, _MIDDLE))
        self.choose = nn.Conv2d(_MIDDLE, _CANDIDATES, 3, padding=1)
        self.correct = nn.Conv2d(_MIDDLE, 2, 3, padding=1)
        self.scale = ScaleMap(_MIDDLE, scale_channels) if scale_channels is not None else None
        for module in (self.choose, self.correct):
            assert module.bias is not None
            nn.init.normal_(module.weight, std=0.01)
            nn.init.zeros_(module.bias)
        assert self.choose.bias is not None
        with torch.no_grad():  # each field's own value is the likeliest before training
            self.choose.bias[:: _CANDIDATES // _FIELDS] = 3.0

    def forward(
        self, current_B3hw: Tensor, reference_B3hw: Tensor, guess_B2QR: Tensor | None = None
    ) -> FlowField:
        """The field from current to reference.

        Args:
            current_B3hw: RGB in [-1, 1], sides multiples of 32.
            reference_B3hw: Of the same size.
            guess_B2QR: A first flow at stride 4, in pixels of the stride-8 feature map; zeros where None.
        """
        if guess_B2QR is None:
            batch, _, height, width = current_B3hw.shape
            guess_B2QR = current_B3hw.new_zeros(batch, 2, height // GUESS_STRIDE, width // GUESS_STRIDE)
        return self.estimate(F.avg_pool2d(current_B3hw, 2), F.avg_pool2d(reference_B3hw, 2), guess_B2QR)

    def estimate(self, current_half: Tensor, reference_half: Tensor, guess_B2QR: Tensor) -> FlowField:
        """The field from current to reference, from images at half size, [B, 3, h/2, w/2], and a guess."""
        with torch.autocast(current_half.device.type, enabled=False):
            told, candidates_BN2HW = _prepare(
                current_half.float(), reference_half.float(), guess_B2QR.float()
            )
        near = self.middle(self.fine(told))
        x = self.join(torch.cat([near, _double(self.wide(near))], dim=1))
        share_BN1HW = self.choose(x).float().softmax(dim=1)[:, :, None]
        flow = (share_BN1HW * candidates_BN2HW).sum(dim=1) + self.correct(x).float()
        scale = self.scale(x) if self.scale is not None else None
        return FlowField(_kept(flow, current_half, reference_half, guess_B2QR), scale, (flow,))


def _prepare(current_half: Tensor, reference_half: Tensor, guess_B2QR: Tensor) -> tuple[Tensor, Tensor]:
    """What the network reads at stride 4, and the flows to choose among, [B, N, 2, H, W]."""
    warped = warp(reference_half, _double(guess_B2QR) * _HALF_UNIT, outside="border")
    sums = _gradient_products(current_half.mean(dim=1, keepdim=True), warped.mean(dim=1, keepdim=True))
    told = [
        F.pixel_unshuffle(torch.cat([current_half, warped], dim=1), 2),
        guess_B2QR * 2,
        _faded(sums[:, 5:]),
    ]
    answers, fields = [], [guess_B2QR]
    for side in _WINDOWS:
        summed = F.avg_pool2d(sums, side, 1, side // 2, count_include_pad=False)
        answer = lucas_kanade(summed) / _HALF_UNIT
        told.append(_faded(summed.abs()))
        answers.append(answer * 2)
        fields.append(guess_B2QR + answer)
    candidates = [
        place for field in fields for place in neighbourhood(F.avg_pool2d(field, FLOW_STRIDE // GUESS_STRIDE))
    ]
    return torch.cat([*told, *answers], dim=1), torch.stack(candidates, dim=1)


def _kept(found_B2HW: Tensor, current_half: Tensor, reference_half: Tensor, guess_B2QR: Tensor) -> Tensor:
    """What the network found, but the guess where that is clearly nearer."""
    with torch.autocast(current_half.device.type, enabled=False):
        current, reference = (
            F.avg_pool2d(image.float().mean(dim=1, keepdim=True), 2)
            for image in (current_half, reference_half)
        )
        guess_B2HW = F.avg_pool2d(guess_B2QR.float(), FLOW_STRIDE // GUESS_STRIDE)
        off, guess_off = (_differs(current, reference, flow) for flow in (found_B2HW, guess_B2HW))
        slope, least = _DOUBT
        share = torch.sigmoid((guess_off * _FAVOUR + _HEADSTART - off) / (slope * (guess_off + off) + least))
        return guess_B2HW + share * (found_B2HW - guess_B2HW)


def _differs(current_B1QR: Tensor, reference_B1QR: Tensor, flow_B2HW: Tensor) -> Tensor:
    """How far the grey reference, drawn along a flow, is from the current frame, [B, 1, H, W]."""
    ratio = FLOW_STRIDE // GUESS_STRIDE
    off = current_B1QR - warp(reference_B1QR, _double(flow_B2HW) * ratio, outside="border")
    return F.avg_pool2d(off.abs(), ratio)


def _gradient_products(current_B1yx: Tensor, warped_B1yx: Tensor) -> Tensor:
    """Products of gradients in x, y and time at stride 4: xx, xy, yy, xt, yt, tt."""
    mean = F.pad((current_B1yx + warped_B1yx) / 2, (1, 1, 1, 1), mode="replicate")
    across = (mean[:, :, 1:-1, 2:] - mean[:, :, 1:-1, :-2]) / 2
    down = (mean[:, :, 2:, 1:-1] - mean[:, :, :-2, 1:-1]) / 2
    over = warped_B1yx - current_B1yx
    pairs = ((across, across), (across, down), (down, down), (across, over), (down, over), (over, over))
    return F.avg_pool2d(torch.cat([a * b for a, b in pairs], dim=1), 2)


def lucas_kanade(products_B6QR: Tensor) -> Tensor:
    """How far a window has moved on, [B, 2, Q, R], in the pixels of its gradients.

    Args:
        products_B6QR: Means over the window of the products xx, xy, yy, xt, yt and tt of gradients.
    """
    xx, xy, yy, xt, yt, _ = products_B6QR.chunk(6, dim=1)
    xx, yy = xx + _NOISE, yy + _NOISE
    inverse = 1 / (xx * yy - xy * xy)
    way = torch.cat([(xy * yt - yy * xt) * inverse, (xy * xt - xx * yt) * inverse], dim=1)
    return way.clamp(-_FAR, _FAR)


def neighbourhood(field_B2HW: Tensor) -> list[Tensor]:
    """A field itself, and as each place's neighbours have it; beyond the border it goes on as there."""
    height, width = field_B2HW.shape[-2:]
    found = [field_B2HW]
    for reach in _REACHES:
        padded = F.pad(field_B2HW, (reach,) * 4, mode="replicate")
        for row in range(3):
            for column in range(3):
                if (row, column) != (1, 1):
                    top, left = row * reach, column * reach
                    found.append(padded[:, :, top : top + height, left : left + width])
    return found


def _faded(squares: Tensor) -> Tensor:
    """Squares of very different sizes, brought nearer to each other."""
    return (squares + _FAINT).log() * 0.2


def _double(x_BCHW: Tensor) -> Tensor:
    return F.interpolate(x_BCHW, scale_factor=2.0, mode="bilinear", align_corners=False)


def _conv(
    in_channels: int, out_channels: int, *, kernel_size: int = 3, stride: int = 1, dilation: int = 1
) -> nn.Module:
    padding = dilation * (kernel_size // 2)
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation)
    assert convolution.bias is not None
    nn.init.kaiming_normal_(convolution.weight, a=_SLOPE, nonlinearity="leaky_relu")
    nn.init.zeros_(convolution.bias)
    return nn.Sequential(convolution, nn.LeakyReLU(_SLOPE, inplace=True))
