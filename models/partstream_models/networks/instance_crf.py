"""Instance CRF: every pixel gets a person and a part, decided for the whole picture together.

A conditional random field over the labels (person, part) and background, solved by mean field as a recurrent
layer. Unary terms come from boxes and the parsing; the pairwise term follows the picture, with weights that
all labels share, so any number of people will do.

With the published kernel widths (2 and 2 pixels) what lies farther than a window away has no weight to speak
of: a window of 17x17 gives the messages of the dense kernel within 6e-5 of their size, one of 13x13 within
3.3e-3. So no approximate filter is needed.

Shape suffixes: D detections, P parts without background, L = 1 + D * P labels, H height, W width.

Source: Li, Arnab, Torr, Holistic, Instance-Level Human Parsing (BMVC 2017), section 3.2, eqs. 1-3 and 5-6;
mean field as a layer: Zheng et al., CRF as RNN (ICCV 2015).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

EPSILON = 1e-6
"""Of eq. 1: keeps the logarithm finite."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CrfConfig:
    """Kernel widths and initial weights as the paper's appendix B.2.2 has them."""

    theta_alpha: float = 2.0
    """Pixels: how far the bilateral kernel reaches."""
    theta_beta: float = 8.0
    """Grey levels (0..255): how unlike colours may be."""
    theta_gamma: float = 2.0
    """Pixels: how far the spatial kernel reaches."""
    bilateral: float = 8.0
    spatial: float = 2.0
    box: float = 1.0
    global_: float = 1.0
    global_term: bool = True
    """Without it only the box term is left (table 1); background then has a box that is the whole picture."""
    num_iterations: int = 5
    radius: int = 8
    """Of the window: 8 is 17x17 pixels."""

    def __post_init__(self) -> None:
        if self.num_iterations < 1 or self.radius < 1:
            raise ValueError("num_iterations and radius must be at least 1")
        if min(self.theta_alpha, self.theta_beta, self.theta_gamma) <= 0:
            raise ValueError("kernel widths must be positive")


class InstanceCrf(nn.Module):
    """Unary terms and mean field; its four weights are what it learns."""

    def __init__(self, config: CrfConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or CrfConfig()
        self.unary_weights = nn.Parameter(torch.tensor([config.box, config.global_]))
        """Of the box term and of the global term (w1 and w2 of eq. 1)."""
        self.pairwise_weights = nn.Parameter(torch.tensor([config.bilateral, config.spatial]))
        """Of the bilateral and the spatial kernel (w(1) and w(2) of eq. 6)."""

    def forward(self, parts_PHW: Tensor, boxes_D4: Tensor, scores_D: Tensor, image_3HW: Tensor) -> Tensor:
        """Log probabilities of the labels, [L, H, W]; background first, then person by person their parts.

        Args:
            parts_PHW: Probabilities of the parsing, background first, [1 + P, H, W].
            boxes_D4: x1, y1, x2, y2 of the detections, in pixels of the map.
            scores_D: Of the detections, in [0, 1].
            image_3HW: Colours, 0..255, at the size of the map.

        Raises:
            ValueError: The shapes do not go together.
        """
        if parts_PHW.shape[1:] != image_3HW.shape[1:] or len(boxes_D4) != len(scores_D):
            raise ValueError("parsing and picture, boxes and scores must be of one size")
        unary_LHW = self.unary(parts_PHW, boxes_D4, scores_D)
        return self.mean_field(unary_LHW, image_3HW)

    def unary(self, parts_PHW: Tensor, boxes_D4: Tensor, scores_D: Tensor) -> Tensor:
        """ln(w1 box + w2 global + epsilon) of each label (eqs. 1-3), [L, H, W]."""
        box_weight, global_weight = self.unary_weights.clamp(min=0)
        inside_DHW = inside_boxes(boxes_D4, parts_PHW.shape[1:]).to(parts_PHW.dtype)
        shares_DHW = box_weight * scores_D[:, None, None] * inside_DHW
        if self.config.global_term:
            background_1HW, shares_DHW = global_weight * parts_PHW[:1], shares_DHW + global_weight
        else:
            background_1HW = box_weight * parts_PHW[:1]
        people_DPHW = shares_DHW[:, None] * parts_PHW[None, 1:]
        potentials_LHW = torch.cat([background_1HW, people_DPHW.flatten(0, 1)])
        return (potentials_LHW + EPSILON).log()

    def mean_field(self, unary_LHW: Tensor, image_3HW: Tensor) -> Tensor:
        """Mean field of the unary terms, with the Potts model: labels that differ are unlike by 1 (eq. 5).

        Returns:
            Log probabilities, [L, H, W].
        """
        kernels = Kernels.of(image_3HW.to(unary_LHW.dtype), self.config)
        log_q_LHW = unary_LHW.log_softmax(dim=0)
        for _ in range(self.config.num_iterations):
            bilateral_LHW, spatial_LHW = pass_messages(log_q_LHW.exp(), kernels)
            message_LHW = self.pairwise_weights[0] * bilateral_LHW + self.pairwise_weights[1] * spatial_LHW
            # what a label loses to all others is what all lose together, less what it keeps
            log_q_LHW = (unary_LHW + message_LHW).log_softmax(dim=0)
        return log_q_LHW


class InstanceParsing(NamedTuple):
    """A picture's labels."""

    people_HW: Tensor
    """0 nobody, n the n-th detection, int64."""
    parts_HW: Tensor
    """0 background, else the part, int64."""


def decode(log_q_LHW: Tensor, num_parts: int) -> InstanceParsing:
    """The most probable label of each pixel as person and part (section 3.4)."""
    label_HW = log_q_LHW.argmax(dim=0)
    known_HW = label_HW > 0
    people_HW = torch.where(known_HW, (label_HW - 1) // num_parts + 1, 0)
    parts_HW = torch.where(known_HW, (label_HW - 1) % num_parts + 1, 0)
    return InstanceParsing(people_HW, parts_HW)


def label_of(person: int, part: int, num_parts: int) -> int:
    """Number of a label: persons and parts count from 1; background is 0."""
    return 1 + (person - 1) * num_parts + part - 1


def inside_boxes(boxes_D4: Tensor, size: tuple[int, ...]) -> Tensor:
    """Whether the middle of each pixel is in each box, [D, H, W]."""
    height, width = size
    y_H1 = torch.arange(height, device=boxes_D4.device)[:, None] + 0.5
    x_1W = torch.arange(width, device=boxes_D4.device)[None, :] + 0.5
    left, top, right, bottom = (side[:, None, None] for side in boxes_D4.unbind(dim=1))
    return (x_1W >= left) & (x_1W < right) & (y_H1 >= top) & (y_H1 < bottom)


@dataclass(frozen=True, slots=True, eq=False)
class Kernels:
    """Both kernels of eq. 6 at half of the window's offsets; the other half is the same backwards."""

    offsets: tuple[tuple[int, int], ...]
    """Rows down and columns to the right or left."""
    bilateral: tuple[Tensor, ...]
    """Of each offset, for the pixels that have a partner there, [H', W']."""
    spatial: tuple[float, ...]

    @classmethod
    def of(cls, image_3HW: Tensor, config: CrfConfig) -> "Kernels":
        """The kernels of a picture, 0..255; they take no gradient."""
        image_3HW = image_3HW.detach()
        height, width = image_3HW.shape[1:]
        offsets, bilateral, spatial = [], [], []
        for rows, columns in half_window(config.radius):
            if rows >= height or abs(columns) >= width:
                continue
            here, there = _pair(image_3HW, rows, columns)
            unlike_HW = (here - there).square().sum(dim=0)
            far = rows * rows + columns * columns
            offsets.append((rows, columns))
            bilateral.append(
                (-far / (2 * config.theta_alpha**2) - unlike_HW / (2 * config.theta_beta**2)).exp()
            )
            spatial.append(float(torch.tensor(-far / (2 * config.theta_gamma**2)).exp()))
        return cls(tuple(offsets), tuple(bilateral), tuple(spatial))


def half_window(radius: int) -> Iterator[tuple[int, int]]:
    """Each pair of opposite offsets of a square window once, its middle left out."""
    for rows in range(radius + 1):
        for columns in range(-radius if rows else 1, radius + 1):
            yield rows, columns


def _pair(map_XHW: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """The pixels that have a partner at an offset, and these partners."""
    height, width = map_XHW.shape[-2:]
    left, right = max(0, -columns), min(width, width - columns)
    here = map_XHW[..., : height - rows, left:right]
    there = map_XHW[..., rows:, left + columns : right + columns]
    return here, there


def pass_messages(q_LHW: Tensor, kernels: Kernels) -> tuple[Tensor, Tensor]:
    """Sums of all other pixels' probabilities, weighted by the bilateral and the spatial kernel."""
    both: tuple[Tensor, Tensor] = _Messages.apply(q_LHW, kernels)  # type: ignore[no-untyped-call]
    return both


class _Messages(torch.autograd.Function):
    """Messages without what autograd would keep of each offset: both kernels are symmetric."""

    @staticmethod
    def forward(ctx: Any, q_LHW: Tensor, kernels: Kernels) -> tuple[Tensor, Tensor]:
        ctx.kernels = kernels
        return _sums(q_LHW, kernels, bilateral=True), _sums(q_LHW, kernels, bilateral=False)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        bilateral, spatial = gradients
        return (
            _sums(bilateral, ctx.kernels, bilateral=True) + _sums(spatial, ctx.kernels, bilateral=False),
            None,
        )


def _sums(q_LHW: Tensor, kernels: Kernels, *, bilateral: bool) -> Tensor:
    total_LHW = torch.zeros_like(q_LHW)
    for index, (rows, columns) in enumerate(kernels.offsets):
        weight: Tensor | float = kernels.bilateral[index] if bilateral else kernels.spatial[index]
        here, there = _pair(q_LHW, rows, columns)
        to_here, to_there = _pair(total_LHW, rows, columns)
        to_here += weight * there
        to_there += weight * here
    return total_LHW


def hardest_mean(loss_HW: Tensor, keep_HW: Tensor, most: int) -> Tensor:
    """Mean of the largest losses among the pixels that are kept; 0 if there is none (OHEM, section 3.3)."""
    losses = loss_HW[keep_HW]
    if not len(losses):
        return loss_HW.sum() * 0.0
    return losses.topk(min(most, len(losses))).values.mean()
