"""Ablation of ATEN: a narrow network with and without its modules, and the baselines.

All share one network that was trained frame by frame, and one flow network; what a piece adds to them learns,
encoder and scale map, for equally many steps from the same composed clips. Trained along, backbone and heads
of each went another way, and which way was worth more than a piece is. People are told from the rest, as in
the paper's tables 2 and 3.

Source: ATEN (Zhou et al., MM 2018), sections 5.3 and 5.4; DFF (Zhu et al., CVPR 2017); FGFA (Zhu et al., ICCV
2017).
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from partstream_models.data.clips.director import ClipConfig
from partstream_models.data.clips.draws import ClipDraws
from partstream_models.data.clips.shake import Shake
from partstream_models.data.photos.cache import PhotoCache
from partstream_models.data.prefetch import Ahead
from partstream_models.networks.aten import ATEN, ATEN_REDUCED, ATENConfig, Encoder
from partstream_models.networks.checkpoints import load_network, load_tensors, save_tensors, start_network
from partstream_models.networks.clip_features import (
    AdaptiveTemporalEncoding,
    DeepFeatureFlow,
    FlowGuidedAggregation,
    PerFrame,
    VideoMethod,
)
from partstream_models.networks.fgfa import FeatureAggregation
from partstream_models.networks.resnet import ResNetConfig
from partstream_models.training.aten_sources import ClipSource
from partstream_models.training.aten_task import AtenTask, SamplingConfig, StackedDraws
from partstream_models.training.fit import Fit, FitConfig, Optimiser, Task
from partstream_models.training.flownet_recipes import ComposedPairs, FlowNetTask, StackedPairs

FULL = "ATEN"
"""The variant with every piece."""
_REACH = 5
"""Frames to either side that FGFA adds up: the ten nearest, as section 5.3 has it."""
_TRAINED_REACH = 2
_DRAWS_A_CLIP = 8
_PAIRS_A_CLIP = 16
_CLIPS_AT_ONCE = 8
_FLOW_WEIGHTS = (0.1, 0.1, 0.1, 0.08, 0.05)
"""Of FlowNet-S' levels, finest first. The published ones lean on the coarsest level, which has six cells in
clips of this size: with them it takes longer until the network sees any motion."""


class Aggregating(nn.Module):
    """FGFA's weighted mean in the place of a temporal encoder."""

    def __init__(self, *, channels: int) -> None:
        super().__init__()
        self.aggregation = FeatureAggregation(channels=channels)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The aggregate for the last feature."""
        aggregate: Tensor = self.aggregation(features[-1], features)
        return aggregate


@dataclass(frozen=True, kw_only=True, slots=True)
class AblationConfig:
    """Budgets and segments."""

    length: int = 4
    """Frames of a segment, as in table 3."""
    encoding_range: int = 2
    base_steps: int = 20_000
    steps: int = 1800
    flow_steps: int = 24_000
    batch: int = 4
    """Draws of a step."""
    flow_batch: int = 8
    """Pairs of a step of the flow network."""
    num_seeds: int = 3
    """Times that each variant is trained, each time from other draws."""
    learning_rate: float = 1e-3
    """Of base and flow network."""
    variant_learning_rate: float = 3e-3
    size: tuple[int, int] = (128, 192)
    """Height and width of the clips that are learned from."""
    seed: int = 1
    clip: ClipConfig = field(default_factory=lambda: ClipConfig(num_frames=13, max_people=4, cut_share=0.0))
    shake: Shake = field(default_factory=Shake)
    """Of the camera while variants learn; the base learned without."""
    network: ATENConfig = field(
        default_factory=lambda: replace(
            ATEN_REDUCED,
            instances=False,
            heads=replace(ATEN_REDUCED.heads, num_classes=2),
            backbone=replace(ATEN_REDUCED.backbone, trunk=ResNetConfig(blocks=(2, 2, 2, 2), width=16)),
            flow_width=3 / 16,
        )
    )

    def __post_init__(self) -> None:
        if min(self.length, self.base_steps, self.steps, self.flow_steps, self.batch, self.num_seeds) < 1:
            raise ValueError("length, batch, steps and seeds must be at least 1")


@dataclass(frozen=True, slots=True)
class Variant:
    """One row of the table."""

    name: str
    encoder: Encoder
    sampling: SamplingConfig
    aligned: bool = True
    aggregates: bool = False

    def build(self, config: AblationConfig) -> ATEN:
        """Its network, untrained."""
        network = ATEN(replace(config.network, encoder=self.encoder, aligned=self.aligned))
        if self.aggregates:
            network.encoder = Aggregating(channels=config.network.backbone.channels)
        return network

    def method(self, network: ATEN) -> VideoMethod:
        """How it parses a clip."""
        if isinstance(network.encoder, Aggregating):
            return FlowGuidedAggregation(aggregation=network.encoder.aggregation, reach=_REACH)
        if self.sampling.encoding_range > 0:
            return AdaptiveTemporalEncoding(
                length=self.sampling.length, encoding_range=self.sampling.encoding_range
            )
        return PerFrame() if self.sampling.length == 1 else DeepFeatureFlow(length=self.sampling.length)


def variants(config: AblationConfig) -> tuple[Variant, ...]:
    """The rows; the first one is the network that times are held against."""
    segments = SamplingConfig(length=config.length, encoding_range=config.encoding_range)
    return (
        Variant("per frame", Encoder.MEAN, SamplingConfig(length=1, encoding_range=0)),
        Variant("DFF", Encoder.MEAN, SamplingConfig(length=config.length, encoding_range=0)),
        Variant(
            "FGFA", Encoder.MEAN, SamplingConfig(length=1, encoding_range=_TRAINED_REACH), aggregates=True
        ),
        Variant("ATEN without GRU", Encoder.MEAN, segments),
        Variant("ATEN without alignment", Encoder.GRU, segments, aligned=False),
        Variant("ATEN with convLSTM", Encoder.LSTM, segments),
        Variant(FULL, Encoder.GRU, segments),
    )


@dataclass(frozen=True, slots=True)
class Trained:
    """A variant, and its networks."""

    variant: Variant
    networks: tuple[ATEN, ...]
    """One for each seed."""


def train_variants(config: AblationConfig, photos: PhotoCache, folder: Path) -> list[Trained]:
    """Every variant's networks; what lies in the folder already is taken from there.

    Raises:
        ValueError: What lies there was trained for other steps or from another seed.
    """
    torch.manual_seed(config.seed)
    base = Variant("base", Encoder.MEAN, SamplingConfig(length=1, encoding_range=0))
    network = base.build(config)
    _learn_flow(folder, network, photos, config)
    longer, steady = replace(config, steps=config.base_steps), Shake(share=0)
    _learn(folder / "base.safetensors", base, network, photos, longer, steady)
    trained = []
    for variant in variants(config):
        seeds = range(config.seed, config.seed + config.num_seeds)
        if variant.sampling == base.sampling:
            trained.append(Trained(variant, (network,)))
        else:
            owns = (train_variant(variant, replace(config, seed=seed), photos, folder) for seed in seeds)
            trained.append(Trained(variant, tuple(owns)))
    return trained


def train_variant(variant: Variant, config: AblationConfig, photos: PhotoCache, folder: Path) -> ATEN:
    """A variant's network of the configuration's seed; one in the folder is taken from there."""
    torch.manual_seed(config.seed)
    network = variant.build(config)
    start_network(network, folder / "base.safetensors")
    keep_what_all_share(network)
    path = folder / f"{variant.name.replace(' ', '-').lower()}-{config.seed}.safetensors"
    config = replace(config, learning_rate=config.variant_learning_rate)
    _learn(path, variant, network, photos, config, config.shake)
    return network


def keep_what_all_share(network: ATEN) -> None:
    """Leave backbone, flow network and heads as they are; encoder and scale map go on learning."""
    network.requires_grad_(False)
    network.encoder.requires_grad_(True)
    assert network.flow.scale is not None
    network.flow.scale.requires_grad_(True)


def _learn_flow(folder: Path, network: ATEN, photos: PhotoCache, config: AblationConfig) -> None:
    """The flow network, from frames as far apart as key frames that are encoded together."""
    clips = replace(_clips(photos, config), draws_a_clip=_PAIRS_A_CLIP)
    pairs = ComposedPairs(clips, apart=config.length * config.encoding_range)
    wanted = replace(config, steps=config.flow_steps)
    stacked = StackedPairs(pairs, config.flow_batch)
    with closing(Ahead(stacked.draw, stride=1, num_threads=1)) as ahead:
        task = FlowNetTask(network.flow, ahead, weights=_FLOW_WEIGHTS)
        _fit(folder / "flow.safetensors", "flow", network.flow, task, wanted, bf16=False)


def _learn(
    path: Path, variant: Variant, network: ATEN, photos: PhotoCache, config: AblationConfig, shake: Shake
) -> None:
    clips = _clips(photos, config)
    source = ClipSource(clips.of_draw, variant.sampling, config.seed, two_classes=True, shake=shake)
    with closing(Ahead(StackedDraws(source, config.batch).draw, stride=1, num_threads=1)) as ahead:
        _fit(path, variant.name, network, AtenTask(network, ahead, config.seed), config, bf16=True)


def _clips(photos: PhotoCache, config: AblationConfig) -> ClipDraws:
    return ClipDraws(
        photos=photos,
        size=config.size,
        clip=config.clip,
        seed=config.seed,
        draws_a_clip=_DRAWS_A_CLIP,
        at_once=_CLIPS_AT_ONCE,
    )


def _fit(
    path: Path, name: str, network: nn.Module, task: Task, config: AblationConfig, *, bf16: bool
) -> None:
    notes: dict[str, object] = {
        "variant": name,
        "steps": config.steps,
        "seed": config.seed,
        "learning_rate": config.learning_rate,
    }
    if path.is_file():
        _, found = load_tensors(path)
        if found != notes:
            raise ValueError(f"{path} was trained otherwise ({found}, not {notes}): choose another folder")
        load_network(network, path)
        return
    fit = FitConfig(
        num_steps=config.steps,
        learning_rate=config.learning_rate,
        drops=(0.7,),
        optimiser=Optimiser.ADAMW,
        bf16=bf16,
        seed=config.seed,
    )
    steps = Fit(task, fit, name=name).steps()
    for _ in tqdm(steps, total=config.steps, desc=f"{name}, seed {config.seed}", mininterval=5):
        pass
    save_tensors(path, network.state_dict(), notes=notes)
