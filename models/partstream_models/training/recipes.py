"""Recipes: functions that return a whole training configuration."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from partstream_models.data.batches import BatchConfig
from partstream_models.training.losses import LossConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Everything that decides a training run but data, budget and threads."""

    name: str
    num_steps: int
    learning_rate: float = 1.5e-3
    trunk_factor: float = 0.25
    """Learning rate of the pretrained trunk against the rest."""
    frozen_blocks: int = 3
    """Blocks of the trunk, after the stem, that keep their pretrained weights (to stride 4)."""
    weight_decay: float = 1e-4
    warmup_steps: int = 100
    clip_norm: float = 5.0
    ema_decay: float = 0.998
    seed: int = 1
    batches: BatchConfig = field(default_factory=BatchConfig)
    loss: LossConfig = field(default_factory=LossConfig)

    def __post_init__(self) -> None:
        if self.num_steps < 1:
            raise ValueError(f"num_steps must be at least 1, got {self.num_steps}")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay must be in 0..1, got {self.ema_decay}")


def live_image() -> Recipe:
    """The image stage of the live network: singles and composites, about 90 minutes on two cores."""
    return Recipe(name="live-image", num_steps=4000)


def live_image_quick() -> Recipe:
    """A small budget at 192 pixels: enough to see which of two choices is better."""
    return Recipe(name="live-image-quick", num_steps=600, batches=BatchConfig(sizes=((192, 192),)))


def live_image_tune() -> Recipe:
    """Goes on from trained weights at the size of inference, with a small learning rate."""
    sizes = ((320, 320), (512, 352), (288, 512))
    return replace(
        live_image(),
        name="live-image-tune",
        num_steps=600,
        learning_rate=4e-4,
        batches=BatchConfig(batch_size=8, sizes=sizes),
    )


RECIPES: Mapping[str, Callable[[], Recipe]] = {
    "live-image": live_image,
    "live-image-quick": live_image_quick,
    "live-image-tune": live_image_tune,
}
