"""Recipes that train FlowNet-S by itself, from pairs of frames whose flow is known.

Source: FlowNet (Dosovitskiy et al., ICCV 2015), section 5.1: Adam at 1e-4, batches of eight, the rate halved
every 100 thousand steps after the first 300 thousand of 600 thousand.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from partstream_models.data.clips.director import ClipConfig
from partstream_models.data.clips.draws import ClipDraws
from partstream_models.data.clips.views import ViewConfig, draw_view
from partstream_models.data.readers.formats import Known
from partstream_models.data.readers.record import Recording
from partstream_models.networks.flow_field import endpoint_loss
from partstream_models.networks.flownet_s import FLOW_STRIDE, FLOW_UNIT, LOSS_WEIGHTS, FlowNetS
from partstream_models.networks.pretrained import load_flownet_s
from partstream_models.training.aten_sources import turn
from partstream_models.training.aten_task import as_input
from partstream_models.training.fit import FitConfig, Optimiser
from partstream_models.training.paper import DataSet, Material, PaperOptions, Prepared

NUM_EVALUATED = 40


@dataclass(frozen=True, slots=True, eq=False)
class FlowDraw:
    """A pair of frames, each [1, 3, H, W] in [-1, 1], and the flow between them; or several pairs."""

    current: Tensor
    reference: Tensor
    flow: Tensor
    """From current to reference in image pixels, [1, 2, H, W]."""
    visible: Tensor
    """Where the reference shows what the current frame shows, bool [1, H, W]."""

    @classmethod
    def stack(cls, draws: "Sequence[FlowDraw]") -> "FlowDraw":
        """Pairs of one size as a batch."""
        return cls(
            torch.cat([draw.current for draw in draws]),
            torch.cat([draw.reference for draw in draws]),
            torch.cat([draw.flow for draw in draws]),
            torch.cat([draw.visible for draw in draws]),
        )


class FlowSource(Protocol):
    """Where pairs come from."""

    def draw(self, number: int) -> FlowDraw:
        """The pair of that number, which follows from the number alone."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class RecordedPairs:
    """Pairs of a data set: each once an epoch."""

    recordings: tuple[Recording, ...]
    view: ViewConfig
    seed: int

    def draw(self, number: int) -> FlowDraw:
        """The pair whose turn it is.

        Raises:
            ValueError: A file is missing or damaged, or the two images differ in size.
        """
        recording, first = turn(self.recordings, self.seed, number)
        current, reference = recording.frame(first), recording.frame(first + 1)
        if current.image_HWC.shape != reference.image_HWC.shape or current.flow_HW2 is None:
            raise ValueError(f"{recording.name} is no pair of one size with its flow")
        view = draw_view(current.image_HWC.shape[:2], self.view, np.random.default_rng((self.seed, number)))
        shown, other = view.of(current), view.of(reference)
        assert shown.flow_HW2 is not None
        flow = torch.from_numpy(shown.flow_HW2).permute(2, 0, 1)[None]
        everywhere = torch.ones(1, *shown.image_HWC.shape[:2], dtype=torch.bool)
        return FlowDraw(as_input(shown.image_HWC), as_input(other.image_HWC), flow, everywhere)


@dataclass(frozen=True, slots=True, eq=False)
class ComposedPairs:
    """Two frames of composed clips."""

    clips: ClipDraws
    apart: int
    """Frames from one to the other, at most."""

    def draw(self, number: int) -> FlowDraw:
        """Two frames of a clip, either of which may be the earlier one."""
        clip = self.clips.of_draw(number)
        rng = np.random.default_rng((self.clips.seed, number))
        num_frames = len(clip.images_THWC)
        gap = int(rng.integers(1, min(self.apart, num_frames - 1) + 1))
        first = int(rng.integers(num_frames - gap))
        current, reference = rng.permutation([first, first + gap]).tolist()
        truth = clip.flow(current, reference)
        return FlowDraw(
            as_input(clip.images_THWC[current]),
            as_input(clip.images_THWC[reference]),
            torch.from_numpy(np.ascontiguousarray(truth.flow_HW2)).permute(2, 0, 1)[None],
            torch.from_numpy(truth.visible_HW)[None],
        )


@dataclass(frozen=True, slots=True, eq=False)
class StackedPairs:
    """Pairs of one size, some to a draw: together they cost a small network less than one by one."""

    pairs: FlowSource
    count: int

    def draw(self, number: int) -> FlowDraw:
        """As many pairs in a row."""
        first = number * self.count
        return FlowDraw.stack([self.pairs.draw(first + offset) for offset in range(self.count)])


@dataclass(frozen=True, slots=True, eq=False)
class FlowNetTask:
    """FlowNet-S learning from pairs."""

    network: FlowNetS
    source: FlowSource
    device: str = "cpu"
    weights: tuple[float, ...] = LOSS_WEIGHTS
    """Of the levels, finest first."""

    def losses(self, step: int) -> dict[str, Tensor]:
        """The weighted endpoint error of all levels, in units of 20 pixels."""
        pair = self.source.draw(step)
        field_ = self.network(pair.current.to(self.device), pair.reference.to(self.device))
        flow, visible = pair.flow.to(self.device), pair.visible.to(self.device)
        return {"endpoint": endpoint_loss(field_, flow, visible, unit=FLOW_UNIT, weights=self.weights)}


@torch.no_grad()
def endpoint_error(network: FlowNetS, source: FlowSource, count: int, device: str = "cpu") -> float:
    """Mean endpoint error in image pixels over the visible pixels of the first pairs of a source."""
    was_training = network.training
    network.eval()
    total, num_pixels = 0.0, 0
    for number in range(count):
        pair = source.draw(number)
        found = network(pair.current.to(device), pair.reference.to(device)).flow_B2HW.float().cpu()
        size = (pair.flow.shape[2], pair.flow.shape[3])
        full = F.interpolate(found * FLOW_STRIDE, size=size, mode="bilinear", align_corners=False)
        errors = (full - pair.flow).square().sum(dim=1).sqrt()[pair.visible]
        total, num_pixels = total + float(errors.sum()), num_pixels + errors.numel()
    network.train(was_training)
    return total / max(num_pixels, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowRecipe:
    """Configuration of a run without data, budget and device."""

    name: str
    fit: FitConfig
    width: float = 1.0
    """Channels against the published ones."""
    size: tuple[int, int] = (320, 448)
    """Height and width of composed clips, and of what is cut out of a data set's frames."""
    clip: ClipConfig = field(default_factory=lambda: ClipConfig(num_frames=3, cut_share=0.0, speed=0.03))
    epochs: int | None = None

    @property
    def needs(self) -> frozenset[Known]:
        """Flow."""
        return frozenset({Known.FLOW})

    def with_fit(self, fit: FitConfig) -> "FlowRecipe":
        """The same with another schedule."""
        return replace(self, fit=fit)

    def build(self, options: PaperOptions) -> FlowNetS:
        """The network as first published, without a scale map; ValueError where a checkpoint does not fit."""
        if options.resnet is not None:
            raise ValueError(f"{self.name} has no ResNet: leave --resnet out")
        if options.dla is not None:
            raise ValueError(f"{self.name} has no DLA: leave --dla out")
        network = FlowNetS(width=self.width)
        if options.flownet is not None:
            load_flownet_s(network, options.flownet)
        return network

    def prepare(self, network: FlowNetS, material: Material, options: PaperOptions) -> Prepared:
        """Pairs of a data set or of composed clips, and the endpoint error on others."""
        seed, device = self.fit.seed, options.device
        view = ViewConfig(crop=self.size)
        source: FlowSource
        judge: FlowSource | None = None
        if isinstance(material, DataSet):
            source = RecordedPairs(material.training, view, seed)
            if material.validation:
                judge = RecordedPairs(material.validation, replace(view, mirror=False), seed)
        else:
            clips = ClipDraws(photos=material, size=self.size, clip=self.clip, seed=seed)
            apart = self.clip.num_frames - 1
            source = ComposedPairs(clips, apart)
            judge = ComposedPairs(clips.unseen(), apart)
        judged = judge

        def evaluate() -> dict[str, float]:
            assert judged is not None
            return {"endpoint_error": endpoint_error(network, judged, NUM_EVALUATED, device)}

        task = FlowNetTask(network, options.ahead(source.draw), device)
        return Prepared(task, None if judged is None else evaluate)


def flownet_s() -> FlowRecipe:
    """FlowNet-S as published, on FlyingChairs or composed clips; the rate is halved three times."""
    fit = FitConfig(
        num_steps=600_000,
        batch=8,
        learning_rate=1e-4,
        drops=(3 / 6, 4 / 6, 5 / 6),
        drop_factor=0.5,
        optimiser=Optimiser.ADAMW,
        weight_decay=4e-4,
    )
    return FlowRecipe(name="flownet-s", fit=fit)


def flownet_s_reduced() -> FlowRecipe:
    """FlowNet-S of an eighth of the width on small clips: what starts the narrow ATEN."""
    fit = FitConfig(num_steps=8000, learning_rate=1e-3, drops=(0.7,), optimiser=Optimiser.ADAMW)
    return FlowRecipe(name="flownet-s-reduced", fit=fit, width=1 / 8, size=(128, 192))


_ALL = (flownet_s, flownet_s_reduced)
FLOWNET_RECIPES: Mapping[str, Callable[[], FlowRecipe]] = {make().name: make for make in _ALL}
