"""Recipes of HVISNet.

The rate and its two drops are HVISNet's (Yu et al., section V): SGD at .01, a tenth after 8 and after 11 of
12 epochs. Sixteen images a step, the frame's size in training and the steps that stand for epochs where clips
are composed without end are ours; the paper tests at 512x512 and starts from weights learned on COCO.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from partstream_models.data.clips.director import ClipConfig
from partstream_models.data.clips.draw import Clip
from partstream_models.data.clips.draws import ClipDraws
from partstream_models.data.clips.views import ViewConfig, draw_view
from partstream_models.data.readers.formats import Known
from partstream_models.data.readers.record import Recording
from partstream_models.data.scenes.scene import Scene
from partstream_models.networks.hvisnet import HVISNET, HVISNET_REDUCED, HVISNet, HVISNetConfig, Masks
from partstream_models.networks.pretrained import load_dla
from partstream_models.training.fit import FitConfig, Optimiser
from partstream_models.training.hvis_loss import HVISLoss, HVISLossConfig
from partstream_models.training.hvis_scores import clips_scores
from partstream_models.training.hvis_sources import ComposedFrames, RecordedFrames, scene_of
from partstream_models.training.hvis_task import Center, HVISLearner, HVISSource, HVISTask
from partstream_models.training.paper import DataSet, Material, PaperOptions, Prepared

NUM_EVALUATED = 20
"""Clips or recordings that an evaluation parses."""
MAX_FRAMES = 20
"""Labelled frames of a recording that are parsed then."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HVISRecipe:
    """Configuration of a run without data, budget and device."""

    name: str
    network: HVISNetConfig
    fit: FitConfig
    size: tuple[int, int]
    """Height and width of composed clips."""
    view: ViewConfig = field(default_factory=lambda: ViewConfig(longer_side=512))
    """What is shown of a data set's frames."""
    epochs: int | None = None
    num_frames: int = 2
    """Frames of a draw, so that people are seen again."""
    center: Center = Center.INNER
    loss: HVISLossConfig = field(default_factory=HVISLossConfig)
    clip: ClipConfig = field(default_factory=lambda: ClipConfig(num_frames=8))
    one_clip: bool = False
    """Learn a single clip by heart: whether everything that should learn does."""

    @property
    def needs(self) -> frozenset[Known]:
        """People; where they have identities too, these are learned."""
        return frozenset({Known.INSTANCES})

    def with_fit(self, fit: FitConfig) -> "HVISRecipe":
        """The same with another schedule."""
        return replace(self, fit=fit)

    def build(self, options: PaperOptions) -> HVISNet:
        """The network with the pretrained weights that were named.

        Raises:
            ValueError: A checkpoint does not fit, or is of a network that is no part of it.
        """
        for option, path in (("--resnet", options.resnet), ("--flownet", options.flownet)):
            if path is not None:
                raise ValueError(f"{self.name} starts from none of {option}'s weights: leave it out")
        network = HVISNet(self.network)
        if options.dla is not None:
            load_dla(network.backbone.trunk, options.dla)
        return network

    def prepare(self, network: HVISNet, material: Material, options: PaperOptions) -> Prepared:
        """The draws of a data set or of composed clips, and how the network is judged on others."""
        seed, device = self.fit.seed, options.device
        source: HVISSource
        if isinstance(material, DataSet):
            source = RecordedFrames(material.training, self.view, self.num_frames, self.center, seed)
            num_identities = source.num_identities
        else:
            clips = ClipDraws(
                photos=material, size=self.size, clip=self.clip, seed=seed, one_clip=self.one_clip
            )
            source = ComposedFrames(clips.of_draw, self.num_frames, self.center, seed)
            num_identities = len(material)
        loss = HVISLoss(config=self.loss, network=self.network, num_identities=num_identities)
        learner = HVISLearner(network, loss).to(device)

        def evaluate() -> dict[str, float]:
            if isinstance(material, DataSet):
                shown = [self._scenes(recording) for recording in material.validation[:NUM_EVALUATED]]
            else:
                shown = [scenes_of(clip) for clip in clips.to_judge(NUM_EVALUATED)]
            return clips_scores(network, shown, device=device)

        judged = not isinstance(material, DataSet) or bool(material.validation)
        task = HVISTask(learner, options.ahead(source.draw), seed, device)
        return Prepared(task, evaluate if judged else None)

    def _scenes(self, recording: Recording) -> list[Scene]:
        """The first labelled frames of a recording, as they are shown, without mirroring."""
        frames = [recording.frame(number) for number in recording.labelled[:MAX_FRAMES]]
        rng = np.random.default_rng(0)
        view = draw_view(frames[0].image_HWC.shape[:2], replace(self.view, mirror=False), rng)
        return [scene_of(view.of(frame), 0) for frame in frames]


def scenes_of(clip: Clip) -> list[Scene]:
    """All frames of a clip."""
    return [clip.scene(frame) for frame in range(len(clip.images_THWC))]


def hvisnet() -> HVISRecipe:
    """HVISNet as published: BlendMask and inner centers; 12 epochs, the rate drops after 8 and 11."""
    fit = FitConfig(num_steps=12_000, batch=8, learning_rate=0.01, drops=(8 / 12, 11 / 12), bf16=True)
    return HVISRecipe(name="hvisnet", network=HVISNET, fit=fit, size=(512, 512), epochs=12)


def hvisnet_condinst() -> HVISRecipe:
    """HVISNet with CondInst's masks instead of BlendMask's (table IV)."""
    return replace(hvisnet(), name="hvisnet-condinst", network=replace(HVISNET, masks=Masks.CONDINST))


def hvisnet_reduced() -> HVISRecipe:
    """A narrow HVISNet on small clips: for comparisons on one thread, in an hour."""
    fit = FitConfig(num_steps=8000, learning_rate=1e-3, drops=(0.75,), optimiser=Optimiser.ADAMW)
    return HVISRecipe(
        name="hvisnet-reduced",
        network=HVISNET_REDUCED,
        fit=fit,
        size=(128, 192),
        view=ViewConfig(longer_side=192),
        num_frames=4,
    )


def hvisnet_overfit() -> HVISRecipe:
    """A narrow HVISNet learns one clip of 128 x 192 pixels by heart, in a minute or two."""
    # the seed shows two people side by side
    fit = FitConfig(num_steps=250, learning_rate=2e-3, drops=(0.7,), optimiser=Optimiser.ADAMW, seed=7)
    return HVISRecipe(
        name="hvisnet-overfit",
        network=HVISNET_REDUCED,
        fit=fit,
        size=(128, 192),
        num_frames=3,  # all, so that the batch norms see in training what they will see later
        clip=ClipConfig(
            num_frames=3,
            max_people=2,
            empty_share=0,
            group_share=0,  # boxes that cover one another are suppressed, as published
            smallest_person=0.8,
            largest_person=1.0,
            upper_body_share=0,
            lying_share=0,
            leaving_share=0,
            cut_share=0,
        ),
        one_clip=True,
    )


def hvisnet_full_overfit() -> HVISRecipe:
    """The full-size HVISNet learns one clip by heart: for a GPU."""
    fit = FitConfig(num_steps=1500, learning_rate=2e-4, drops=(0.75,), optimiser=Optimiser.ADAMW, bf16=True)
    return replace(hvisnet_overfit(), name="hvisnet-full-overfit", network=HVISNET, fit=fit, size=(256, 256))


_ALL = (hvisnet, hvisnet_condinst, hvisnet_reduced, hvisnet_overfit, hvisnet_full_overfit)
HVIS_RECIPES: Mapping[str, Callable[[], HVISRecipe]] = {make().name: make for make in _ALL}
