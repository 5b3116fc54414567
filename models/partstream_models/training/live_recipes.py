"""Recipes: functions that return a whole training configuration."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from partstream_models.data.batches import BatchConfig
from partstream_models.data.clips.key_frames import VideoConfig
from partstream_models.data.scenes.compose import ComposeConfig
from partstream_models.data.scenes.draw import SceneConfig
from partstream_models.training.flow_pairs import FlowPairsConfig
from partstream_models.training.live_losses import LossConfig

NUM_TRUNK_BLOCKS = 17
"""Of MoveNet's trunk."""


class Subject(StrEnum):
    """What a run of the live network learns from."""

    PICTURES = "pictures"
    """Frames by themselves: backbone and heads."""
    FLOW = "flow"
    """Pairs of frames: the flow network."""
    VIDEO = "video"
    """Key frames of clips and frames that borrow from them: the temporal path, or all of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Everything that decides a training run but data, budget and threads."""

    name: str
    num_steps: int
    subject: Subject = Subject.PICTURES
    learning_rate: float = 1.5e-3
    use_pretrained: bool = True
    """Start trunk, pyramid and joint heads from MoveNet's weights where the run is given any."""
    trunk_factor: float = 0.1
    """Learning rate of the trunk's blocks that learn against the rest."""
    trained_blocks: int = 0
    """Last blocks of the trunk that learn; all others keep MoveNet's weights."""
    keep_joints: float = 1.0
    """Weight of the term that holds the pyramid, which joints are read from, where a trunk that learns has
    MoveNet beside it."""
    keep_joints_every: int = 4
    """One step in so many has this term, as many times as heavy: MoveNet takes a fifth of a step."""
    weight_decay: float = 1e-4
    warmup_steps: int = 100
    clip_norm: float = 5.0
    ema_decay: float = 0.998
    seed: int = 1
    batches: BatchConfig = field(default_factory=BatchConfig)
    """Of `pictures`."""
    flow: FlowPairsConfig = field(default_factory=FlowPairsConfig)
    """Of `flow`."""
    video: VideoConfig = field(default_factory=VideoConfig)
    """Of `video`."""
    temporal_only: bool = False
    """Of `video`: leave backbone, heads and flow as they are; learn the encoder and the scale map."""
    every_other_picture: bool = False
    """Of `video`: every other step is one of `pictures`, so that what only photos show is not forgotten."""
    loss: LossConfig = field(default_factory=LossConfig)

    def __post_init__(self) -> None:
        if self.num_steps < 1:
            raise ValueError(f"num_steps must be at least 1, got {self.num_steps}")
        if not 0 <= self.trained_blocks <= NUM_TRUNK_BLOCKS:
            raise ValueError(f"trained_blocks must be in 0..{NUM_TRUNK_BLOCKS}, got {self.trained_blocks}")
        if self.keep_joints_every < 1:
            raise ValueError(f"keep_joints_every must be at least 1, got {self.keep_joints_every}")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay must be in 0..1, got {self.ema_decay}")


def live_image() -> Recipe:
    """The image stage of the live network: singles and composites, about 90 minutes on two cores."""
    return Recipe(name="live-image", num_steps=4000)


def live_image_quick() -> Recipe:
    """A small budget at 192 pixels: enough to see which of two choices is better."""
    return Recipe(name="live-image-quick", num_steps=700, batches=BatchConfig(sizes=((192, 192),)))


def quick_photos_only() -> Recipe:
    """The small budget without composites: photos as they are."""
    return _quick("photos-only", compose=ComposeConfig(composite_share=0.0))


def quick_void_as_background() -> Recipe:
    """The small budget, with unlabelled bystanders taken for background."""
    return _quick("void-as-background", compose=ComposeConfig(void_as_background=True))


def quick_box_centers() -> Recipe:
    """The small budget, sampling around box centers (FCOS) instead of inner centers (HVISNet)."""
    return _quick("box-centers", box_centers=True)


def quick_from_scratch() -> Recipe:
    """The small budget without a pretrained start; no block of the trunk is frozen."""
    return replace(_quick("from-scratch"), use_pretrained=False, trained_blocks=17, trunk_factor=1.0)


def _quick(change: str, *, compose: ComposeConfig | None = None, box_centers: bool = False) -> Recipe:
    recipe = live_image_quick()
    compose = compose or recipe.batches.compose
    batches = replace(recipe.batches, compose=compose, box_centers=box_centers)
    return replace(recipe, name=f"{recipe.name}-{change}", batches=batches)


def live_clip() -> Recipe:
    """The clip stage: frames of clips, photos and composites at inference sizes; goes on from weights."""
    sizes = ((512, 352), (288, 512), (384, 384), (512, 288), (256, 256))
    return replace(
        live_image(),
        name="live-clip",
        num_steps=5400,
        learning_rate=1.2e-3,
        ema_decay=0.999,
        batches=BatchConfig(
            sizes=sizes,
            max_pixels=16 * 256 * 256,
            clip_share=0.45,
            compose=ComposeConfig(composite_share=0.45, max_people=8, smallest_person=0.08),
        ),
    )


def live_fine() -> Recipe:
    """Fine-tuning: more photos, and a background that weighs less; goes on from the clip stage."""
    recipe = live_clip()
    compose = replace(recipe.batches.compose, composite_share=0.3)
    return replace(
        recipe,
        name="live-fine",
        num_steps=3600,
        learning_rate=8e-4,
        seed=2,
        loss=LossConfig(background=0.35),
        batches=replace(recipe.batches, clip_share=0.35, compose=compose),
    )


def live_scenes() -> Recipe:
    """Backbone and heads: people in any position, sharp surroundings; the trunk learns from stride 8 on."""
    sizes = ((256, 256), (256, 256), (384, 256), (288, 512), (512, 352), (512, 352), (384, 384))
    scenes = SceneConfig(photo_share=0.5, labelled_share=0.2, turned_share=0.25)
    return Recipe(
        name="live-scenes",
        num_steps=12_000,
        learning_rate=1e-3,
        trunk_factor=0.2,
        trained_blocks=14,
        loss=LossConfig(background=0.5),
        batches=BatchConfig(sizes=sizes, max_pixels=16 * 256 * 256, clip_share=0.15, scenes=scenes),
    )


def live_flow() -> Recipe:
    """The flow network of the live network, from pairs of frames; everything else stays as it is.

    With `--videos` it learns from real clips too, by making one frame out of the other.
    """
    return Recipe(
        name="live-flow",
        num_steps=10_000,
        subject=Subject.FLOW,
        learning_rate=1.5e-3,
        clip_norm=1.0,
        seed=11,
    )


def live_temporal() -> Recipe:
    """Encoder and scale map on clips; backbone, heads and flow stay as they are. Goes on from the flow."""
    return Recipe(
        name="live-temporal",
        num_steps=1500,
        subject=Subject.VIDEO,
        temporal_only=True,
        learning_rate=5e-4,
        ema_decay=0.995,
        seed=3,
        loss=LossConfig(background=0.35),
    )


def live_video() -> Recipe:
    """Everything on clips (ATEN's joint training); goes on from the temporal path."""
    return Recipe(
        name="live-video",
        num_steps=2000,
        subject=Subject.VIDEO,
        every_other_picture=True,
        learning_rate=5e-4,
        ema_decay=0.999,
        seed=4,
        loss=LossConfig(background=0.35),
        batches=live_fine().batches,
    )


_ALL = (
    live_image,
    live_clip,
    live_fine,
    live_scenes,
    live_flow,
    live_temporal,
    live_video,
    live_image_quick,
    quick_photos_only,
    quick_void_as_background,
    quick_box_centers,
    quick_from_scratch,
)
RECIPES: Mapping[str, Callable[[], Recipe]] = {make().name: make for make in _ALL}
