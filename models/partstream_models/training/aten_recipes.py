"""Recipes of ATEN, and how one is run.

The schedules are ATEN's (Zhou et al., MM 2018, section 5.1); the number of steps is ours, because clips drawn
without end have no epochs. The drop of the learning rate comes at the same share of the run.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from partstream_core.labels import NUM_PARTS
from partstream_core.metrics.semantic import confusion_matrix, mean_iou
from partstream_models.checkpoints import save_tensors
from partstream_models.data.ccp_cache import PhotoCache
from partstream_models.data.clips import Clip, draw_clip
from partstream_models.data.clips_director import ClipConfig
from partstream_models.networks.aten import ATEN, ATEN_DAVIS, ATEN_REDUCED, ATEN_VIP, ATENConfig
from partstream_models.networks.pretrained import load_flownet_s, load_resnet
from partstream_models.training.aten_task import AtenTask, SamplingConfig, image_of, truth_of
from partstream_models.training.fit import Fit, FitConfig, Optimiser
from partstream_models.video_methods import AdaptiveTemporalEncoding, VideoMethod, parse_clip

SAVE_EVERY = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class AtenRecipe:
    """Everything that decides a run but data, budget and threads."""

    name: str
    network: ATENConfig
    fit: FitConfig
    size: tuple[int, int]
    """Height and width of the clips."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    clip: ClipConfig = field(default_factory=lambda: ClipConfig(num_frames=9))
    one_clip: bool = False
    """Learn a single clip by heart: whether everything that should learn does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AtenOptions:
    """Where a recipe runs, and on what it builds."""

    output_dir: Path
    minutes: float | None = None
    num_threads: int = 1
    device: str = "cpu"
    resnet: Path | None = None
    """ImageNet weights of the trunk, as torchvision publishes them."""
    flownet: Path | None = None
    """Weights of FlowNet-S."""


def aten_vip() -> AtenRecipe:
    """ATEN with ResNet-50 and Parsing R-CNN; longer side 512, the rate drops half-way."""
    fit = FitConfig(num_steps=40_000, drops=(0.5,), bf16=True)
    return AtenRecipe(name="aten-vip", network=_for_torchvision(ATEN_VIP), fit=fit, size=(288, 512))


def aten_davis() -> AtenRecipe:
    """ATEN with ResNet-101, people against the rest; 384x640, the rate drops after 20 of 50 parts."""
    fit = FitConfig(num_steps=50_000, drops=(0.4,), bf16=True)
    return AtenRecipe(name="aten-davis", network=_for_torchvision(ATEN_DAVIS), fit=fit, size=(384, 640))


def aten_reduced() -> AtenRecipe:
    """A narrow ATEN on small clips: for comparisons on one thread, in an hour."""
    fit = FitConfig(num_steps=12_000, learning_rate=1e-3, drops=(0.75,), optimiser=Optimiser.ADAMW)
    return AtenRecipe(name="aten-reduced", network=ATEN_REDUCED, fit=fit, size=(128, 192))


def aten_overfit() -> AtenRecipe:
    """A narrow ATEN learns one clip of 128 pixels by heart, in a few minutes."""
    fit = FitConfig(num_steps=1000, learning_rate=2e-3, drops=(0.75,), optimiser=Optimiser.ADAMW)
    return AtenRecipe(
        name="aten-overfit",
        network=ATEN_REDUCED,
        fit=fit,
        size=(128, 128),
        clip=_plain_clip(),
        one_clip=True,
    )


def aten_vip_overfit() -> AtenRecipe:
    """The full-size ATEN learns one clip by heart: for a GPU."""
    fit = FitConfig(num_steps=2000, learning_rate=2e-4, drops=(0.75,), optimiser=Optimiser.ADAMW, bf16=True)
    return replace(
        aten_vip(), name="aten-vip-overfit", fit=fit, size=(256, 256), clip=_plain_clip(), one_clip=True
    )


def _plain_clip() -> ClipConfig:
    return ClipConfig(
        num_frames=7,
        max_people=2,
        empty_share=0,
        smallest_person=0.8,
        largest_person=1.0,
        upper_body_share=0,
        lying_share=0,
        leaving_share=0,
        cut_share=0,
    )


def _for_torchvision(network: ATENConfig) -> ATENConfig:
    trunk = replace(network.backbone.trunk, stride_on_3x3=True)
    return replace(network, backbone=replace(network.backbone, trunk=trunk))


_ALL = (aten_vip, aten_davis, aten_reduced, aten_overfit, aten_vip_overfit)
ATEN_RECIPES: Mapping[str, Callable[[], AtenRecipe]] = {make().name: make for make in _ALL}


@dataclass(frozen=True, slots=True)
class AtenResult:
    """What a run left."""

    weights: Path
    mean_iou: float | None
    """Of the clip that was learned by heart; None where there is no such clip."""


def train_aten(recipe: AtenRecipe, cache: PhotoCache, options: AtenOptions) -> AtenResult:
    """Run a recipe, or go on where its output folder stands."""
    torch.manual_seed(recipe.fit.seed)
    torch.set_num_threads(options.num_threads)
    network = build(recipe, options)
    clips = _Clips(recipe, cache)
    task = AtenTask(network, clips.of_step, recipe.sampling, recipe.fit.seed, options.device)
    fit = Fit(task, recipe.fit, name=recipe.name, device=options.device)
    state = options.output_dir / "state.safetensors"
    if state.is_file():
        fit.resume(state)
    bar = tqdm(total=recipe.fit.num_steps, initial=fit.step, desc=recipe.name, mininterval=5)
    for report in fit.steps(minutes=options.minutes):
        bar.update()
        bar.set_postfix({name: f"{value:.3f}" for name, value in report.terms.items()}, refresh=False)
        if report.step % SAVE_EVERY == 0:
            fit.save(state)
    bar.close()
    fit.save(state)
    weights = options.output_dir / "final.safetensors"
    save_tensors(weights, network.state_dict(), notes={"recipe": recipe.name, "step": fit.step})
    if not recipe.one_clip:
        return AtenResult(weights, None)
    sampling = recipe.sampling
    method = AdaptiveTemporalEncoding(length=sampling.length, encoding_range=sampling.encoding_range)
    return AtenResult(weights, clip_mean_iou(network, clips.of_step(0), method, device=options.device))


def build(recipe: AtenRecipe, options: AtenOptions) -> ATEN:
    """The recipe's network with the pretrained weights that were named, on the device.

    Raises:
        ValueError: A checkpoint does not fit.
    """
    network = ATEN(recipe.network)
    if options.resnet is not None:
        load_resnet(network.backbone.trunk, options.resnet)
    if options.flownet is not None:
        load_flownet_s(network.flow, options.flownet)
    return network.to(options.device)


def clip_mean_iou(network: ATEN, clip: Clip, method: VideoMethod, *, device: str = "cpu") -> float:
    """Mean IoU of the parts over all frames of a clip."""
    two_classes = network.config.heads.num_classes == 2
    num_frames = len(clip.images_THWC)
    images = torch.cat([image_of(clip, frame, device) for frame in range(num_frames)])
    total = np.zeros((NUM_PARTS, NUM_PARTS), np.int64)
    for frame, parsed in enumerate(parse_clip(network, images, method)):
        truth = truth_of(clip, frame, two_classes=two_classes).parts_HW.numpy().astype(np.uint8)
        total += confusion_matrix(truth, parsed.part_map_HW.numpy().astype(np.uint8))
    return mean_iou(total)


class _Clips:
    """The clip of each step; the last one drawn is held."""

    def __init__(self, recipe: AtenRecipe, cache: PhotoCache) -> None:
        self._recipe, self._cache = recipe, cache
        self._held: tuple[int, Clip] | None = None

    def of_step(self, step: int) -> Clip:
        """It follows from the recipe and the step alone."""
        number = 0 if self._recipe.one_clip else step
        if self._held is None or self._held[0] != number:
            height, width = self._recipe.size
            clip = draw_clip(
                self._cache,
                seed=self._recipe.fit.seed,
                number=number,
                height=height,
                width=width,
                config=self._recipe.clip,
            )
            self._held = (number, clip)
        return self._held[1]
