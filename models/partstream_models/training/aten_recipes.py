"""Recipes of ATEN.

Schedules, sizes and epochs are ATEN's (Zhou et al., MM 2018, section 5.1). The batch of eight (four GPUs with
two each) and the thousand steps that stand for an epoch where clips are composed without end are those of its
public code.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from partstream_models.data.clips.director import ClipConfig
from partstream_models.data.clips.draws import ClipDraws
from partstream_models.data.clips.views import ViewConfig
from partstream_models.data.readers.formats import Known
from partstream_models.networks.aten import ATEN, ATEN_DAVIS, ATEN_REDUCED, ATEN_VIP, ATENConfig
from partstream_models.networks.clip_features import AdaptiveTemporalEncoding
from partstream_models.networks.pretrained import load_flownet_s, load_resnet
from partstream_models.training.aten_scores import clip_mean_iou, recordings_mean_iou
from partstream_models.training.aten_sources import ClipSource, RecordingSource
from partstream_models.training.aten_task import AtenSource, AtenTask, SamplingConfig
from partstream_models.training.fit import FitConfig, Optimiser
from partstream_models.training.paper import DataSet, Material, PaperOptions, Prepared

NUM_EVALUATED = 20
"""Clips or recordings that an evaluation parses."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AtenRecipe:
    """Configuration of a run without data, budget and device."""

    name: str
    network: ATENConfig
    fit: FitConfig
    size: tuple[int, int]
    """Height and width of composed clips."""
    view: ViewConfig = field(default_factory=lambda: ViewConfig(longer_side=512))
    """What is shown of a data set's frames in training."""
    test_view: ViewConfig = field(default_factory=lambda: ViewConfig(longer_side=512, mirror=False))
    epochs: int | None = None
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    clip: ClipConfig = field(default_factory=lambda: ClipConfig(num_frames=9))
    one_clip: bool = False
    """Learn a single clip by heart: whether everything that should learn does."""

    @property
    def two_classes(self) -> bool:
        """Whether people are told from the rest, and nothing else."""
        return self.network.heads.num_classes == 2

    @property
    def needs(self) -> frozenset[Known]:
        """Parts, unless people are told from the rest alone."""
        return frozenset({Known.INSTANCES} if self.two_classes else {Known.INSTANCES, Known.PARTS})

    @property
    def method(self) -> AdaptiveTemporalEncoding:
        """How the network parses a clip."""
        return AdaptiveTemporalEncoding(
            length=self.sampling.length, encoding_range=self.sampling.encoding_range
        )

    def with_fit(self, fit: FitConfig) -> "AtenRecipe":
        """The same with another schedule."""
        return replace(self, fit=fit)

    def build(self, options: PaperOptions) -> ATEN:
        """The network with the pretrained weights that were named.

        Raises:
            ValueError: A checkpoint does not fit.
        """
        if options.dla is not None:
            raise ValueError(f"{self.name} has no DLA: leave --dla out")
        network = ATEN(self.network)
        if options.resnet is not None:
            load_resnet(network.backbone.trunk, options.resnet)
        if options.flownet is not None:
            load_flownet_s(network.flow, options.flownet)
        return network

    def prepare(self, network: ATEN, material: Material, options: PaperOptions) -> Prepared:
        """The draws of a data set or of composed clips, and how the network is judged on others."""
        seed, device = self.fit.seed, options.device
        if isinstance(material, DataSet):
            source: AtenSource = RecordingSource(
                material.training, self.sampling, self.view, seed, self.two_classes
            )

            def evaluate() -> dict[str, float]:
                shown = material.validation[:NUM_EVALUATED]
                iou = recordings_mean_iou(network, shown, self.test_view, self.method, device=device)
                return {"mean_iou": iou}

            judged = bool(material.validation)
            return Prepared(
                AtenTask(network, options.ahead(source.draw), seed, device), evaluate if judged else None
            )
        clips = ClipDraws(photos=material, size=self.size, clip=self.clip, seed=seed, one_clip=self.one_clip)
        source = ClipSource(clips.of_draw, self.sampling, seed, self.two_classes)

        def evaluate_clips() -> dict[str, float]:
            shown = clips.to_judge(NUM_EVALUATED)
            return {"mean_iou": clip_mean_iou(network, shown, self.method, device=device)}

        return Prepared(AtenTask(network, options.ahead(source.draw), seed, device), evaluate_clips)


def aten_r50() -> AtenRecipe:
    """ATEN of VIP: ResNet-50, Parsing R-CNN, longer side 512; 40 epochs, the rate drops after 20."""
    fit = FitConfig(num_steps=40_000, batch=8, drops=(20 / 40,), bf16=True)
    return AtenRecipe(
        name="aten-r50", network=_for_torchvision(ATEN_VIP), fit=fit, size=(288, 512), epochs=40
    )


def aten_r101_davis() -> AtenRecipe:
    """ATEN of DAVIS: ResNet-101, people against the rest, crops of 384x640; 50 epochs, drop after 20."""
    fit = FitConfig(num_steps=50_000, batch=8, drops=(20 / 50,), bf16=True)
    return AtenRecipe(
        name="aten-r101-davis",
        network=_for_torchvision(ATEN_DAVIS),
        fit=fit,
        size=(384, 640),
        view=ViewConfig(crop=(384, 640)),
        test_view=ViewConfig(longer_side=896, mirror=False),
        epochs=50,
    )


def aten_reduced() -> AtenRecipe:
    """A narrow ATEN on small clips: for comparisons on one thread, in an hour."""
    fit = FitConfig(num_steps=12_000, learning_rate=1e-3, drops=(0.75,), optimiser=Optimiser.ADAMW)
    return AtenRecipe(
        name="aten-reduced",
        network=ATEN_REDUCED,
        fit=fit,
        size=(128, 192),
        view=ViewConfig(longer_side=192),
        test_view=ViewConfig(longer_side=192, mirror=False),
    )


def aten_overfit() -> AtenRecipe:
    """A narrow ATEN learns one clip of 128 pixels by heart, in a few minutes."""
    fit = FitConfig(
        num_steps=1000,
        learning_rate=2e-3,
        drops=(0.4, 0.6, 0.8),
        drop_factor=0.4,
        optimiser=Optimiser.ADAMW,
    )
    return AtenRecipe(
        name="aten-overfit",
        network=ATEN_REDUCED,
        fit=fit,
        size=(128, 128),
        clip=replace(_plain_clip(), num_frames=5),
        one_clip=True,
    )


def aten_r50_overfit() -> AtenRecipe:
    """The full-size ATEN of VIP learns one clip by heart: for a GPU."""
    fit = FitConfig(num_steps=2000, learning_rate=2e-4, drops=(0.75,), optimiser=Optimiser.ADAMW, bf16=True)
    return replace(
        aten_r50(),
        name="aten-r50-overfit",
        fit=fit,
        size=(256, 256),
        epochs=None,
        clip=_plain_clip(),
        one_clip=True,
    )


def aten_r101_davis_overfit() -> AtenRecipe:
    """The full-size ATEN of DAVIS learns one clip by heart: for a GPU."""
    fit = replace(aten_r50_overfit().fit, num_steps=1000)
    return replace(
        aten_r101_davis(),
        name="aten-r101-davis-overfit",
        fit=fit,
        size=(256, 256),
        epochs=None,
        clip=_plain_clip(),
        one_clip=True,
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


_ALL = (aten_r50, aten_r101_davis, aten_reduced, aten_overfit, aten_r50_overfit, aten_r101_davis_overfit)
ATEN_RECIPES: Mapping[str, Callable[[], AtenRecipe]] = {make().name: make for make in _ALL}
