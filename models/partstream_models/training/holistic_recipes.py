"""Recipes of the Holistic network: its part module, then the Instance CRF on it, then both end to end.

The schedules are the paper's (appendix B.2): the part module with SGD at 6.25e-4 and the polynomial policy
(power .9) over 30,000 steps of sixteen pictures; both modules jointly at a fixed 1e-6, one picture a step,
for 175,000 steps. The paper has no schedule of its own for the piecewise network: we take the joint one.

Each piece starts from the former one's weights (`--from`).

Source: Li, Arnab, Torr, Holistic, Instance-Level Human Parsing (BMVC 2017), section 3.3 and appendix B.2.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from partstream_models.data.clips.director import ClipConfig
from partstream_models.data.clips.draws import ClipDraws
from partstream_models.data.clips.views import ViewConfig, draw_view
from partstream_models.data.readers.formats import Known
from partstream_models.data.readers.record import Recording
from partstream_models.networks.holistic import HOLISTIC, HOLISTIC_REDUCED, Holistic, HolisticConfig
from partstream_models.networks.pretrained import load_resnet
from partstream_models.training.aten_sources import turn
from partstream_models.training.fit import FitConfig, Optimiser
from partstream_models.training.holistic_scores import holistic_scores
from partstream_models.training.holistic_task import (
    DetectorNoise,
    HolisticDraw,
    HolisticSource,
    HolisticTask,
    Stage,
    draw_of,
)
from partstream_models.training.hvis_sources import scene_of
from partstream_models.training.instance_crf_loss import HARDEST
from partstream_models.training.paper import DataSet, Material, PaperOptions, Prepared

NUM_EVALUATED = 60
"""Clips or recordings of which an evaluation parses a frame."""
HARDEST_REDUCED = 128 * 192 // 8
"""An eighth of the pixels, as 2^15 is of the paper's 521x521."""
_DRAWS_A_CLIP = 4
_CLIPS_AT_ONCE = 8


@dataclass(frozen=True, slots=True, eq=False)
class ComposedPictures:
    """Draws from frames of composed clips."""

    clips: ClipDraws
    num_classes: int
    noise: DetectorNoise
    seed: int = 1

    def draw(self, number: int) -> HolisticDraw:
        """A frame of the clip of that number."""
        clip = self.clips.of_draw(number)
        rng = np.random.default_rng((self.seed, number))
        frame = int(rng.integers(len(clip.images_THWC)))
        return draw_of(clip.scene(frame), self.num_classes, self.noise, rng)


@dataclass(frozen=True, slots=True, eq=False)
class RecordedPictures:
    """Draws from the labelled frames of a data set, each once an epoch."""

    recordings: tuple[Recording, ...]
    view: ViewConfig
    num_classes: int
    noise: DetectorNoise
    seed: int = 1

    def draw(self, number: int) -> HolisticDraw:
        """The labelled frame whose turn it is.

        Raises:
            ValueError: A file is missing or damaged, or has no labels of people.
        """
        rng = np.random.default_rng((self.seed, number))
        recording, target = turn(self.recordings, self.seed, number)
        frame = recording.frame(target)
        view = draw_view(frame.image_HWC.shape[:2], self.view, rng)
        return draw_of(scene_of(view.of(frame), None), self.num_classes, self.noise, rng)


@dataclass(frozen=True, kw_only=True, slots=True)
class HolisticRecipe:
    """Configuration of a run without data, budget and device."""

    name: str
    network: HolisticConfig
    stage: Stage
    fit: FitConfig
    size: tuple[int, int] = (521, 521)
    """Height and width of composed pictures."""
    view: ViewConfig = field(default_factory=lambda: ViewConfig(longer_side=521))
    epochs: int | None = None
    hardest: int | None = HARDEST
    """K of section 3.3; None looks at all pixels."""
    noise: DetectorNoise = field(default_factory=DetectorNoise)
    clip: ClipConfig = field(default_factory=lambda: ClipConfig(num_frames=4, max_people=5, cut_share=0.0))
    one_clip: bool = False
    """Learn a single picture's clip by heart: whether everything that should learn does."""

    @property
    def needs(self) -> frozenset[Known]:
        """People and their parts."""
        return frozenset({Known.INSTANCES, Known.PARTS})

    def with_fit(self, fit: FitConfig) -> "HolisticRecipe":
        """The same with another schedule."""
        return replace(self, fit=fit)

    def build(self, options: PaperOptions) -> Holistic:
        """The network with the pretrained weights that were named.

        Raises:
            ValueError: A checkpoint does not fit, or is of a network that is no part of it.
        """
        for option, path in (("--dla", options.dla), ("--flownet", options.flownet)):
            if path is not None:
                raise ValueError(f"{self.name} starts from none of {option}'s weights: leave it out")
        network = Holistic(self.network)
        if options.resnet is not None:
            load_resnet(network.parts.trunk, options.resnet)
        return network

    def prepare(self, network: Holistic, material: Material, options: PaperOptions) -> Prepared:
        """The draws of a data set or of composed clips, and how the network is judged on others."""
        source, judged = self._sources(material)
        ahead = options.ahead(source.draw)
        task = HolisticTask(network, ahead, self.stage, self.hardest, options.device)

        def evaluate() -> dict[str, float]:
            assert judged is not None
            draws = [judged.draw(number) for number in range(NUM_EVALUATED)]
            return holistic_scores(network, draws, device=options.device)

        return Prepared(task, None if judged is None else evaluate)

    def _sources(self, material: Material) -> tuple[HolisticSource, HolisticSource | None]:
        """What is learned from, and what is judged on."""
        num_classes, seed = self.network.parts.num_classes, self.fit.seed
        if isinstance(material, DataSet):
            still = replace(self.view, mirror=False)
            learned = RecordedPictures(material.training, self.view, num_classes, self.noise, seed)
            if not material.validation:
                return learned, None
            return learned, RecordedPictures(material.validation, still, num_classes, self.noise, 0)
        clips = ClipDraws(
            photos=material,
            size=self.size,
            clip=self.clip,
            seed=seed,
            one_clip=self.one_clip,
            draws_a_clip=_DRAWS_A_CLIP,
            at_once=_CLIPS_AT_ONCE,
        )
        # every run is judged on the same pictures, whatever seed it learned from
        others = clips if self.one_clip else replace(clips, seed=0, draws_a_clip=1, at_once=1).unseen()
        return (
            ComposedPictures(clips, num_classes, self.noise, seed),
            ComposedPictures(others, num_classes, self.noise, 0),
        )


def holistic_parts() -> HolisticRecipe:
    """Holistic's part module (ResNet-101) as published: 30,000 steps of 16, polynomial policy."""
    fit = FitConfig(num_steps=30_000, batch=16, learning_rate=6.25e-4, power=0.9, bf16=True)
    return HolisticRecipe(name="holistic-parts", network=HOLISTIC, stage=Stage.PARTS, fit=fit)


def holistic_piecewise() -> HolisticRecipe:
    """Holistic's Instance CRF on a part module that stays: start it from holistic-parts."""
    fit = FitConfig(num_steps=175_000, learning_rate=1e-6)
    return HolisticRecipe(name="holistic-piecewise", network=HOLISTIC, stage=Stage.INSTANCES, fit=fit)


def holistic() -> HolisticRecipe:
    """Holistic end to end as published: 175,000 pictures at 1e-6; start it from holistic-parts."""
    return replace(holistic_piecewise(), name="holistic", stage=Stage.WHOLE)


def holistic_parts_reduced() -> HolisticRecipe:
    """A narrow part module of six groups of parts on small pictures: for one thread."""
    fit = FitConfig(num_steps=2000, batch=2, learning_rate=2e-3, power=0.9, optimiser=Optimiser.ADAMW)
    return HolisticRecipe(
        name="holistic-parts-reduced",
        network=HOLISTIC_REDUCED,
        stage=Stage.PARTS,
        fit=fit,
        size=(128, 192),
        view=ViewConfig(longer_side=192),
        hardest=HARDEST_REDUCED,
    )


def holistic_piecewise_reduced() -> HolisticRecipe:
    """The narrow network's Instance CRF on a part module that stays: start it from its parts."""
    fit = FitConfig(num_steps=200, learning_rate=2e-2, optimiser=Optimiser.ADAMW, weight_decay=0.0)
    return replace(
        holistic_parts_reduced(), name="holistic-piecewise-reduced", stage=Stage.INSTANCES, fit=fit
    )


def holistic_reduced() -> HolisticRecipe:
    """The narrow network end to end: start it from its parts."""
    fit = FitConfig(num_steps=800, learning_rate=2e-4, optimiser=Optimiser.ADAMW)
    return replace(holistic_parts_reduced(), name="holistic-reduced", stage=Stage.WHOLE, fit=fit)


def holistic_overfit() -> HolisticRecipe:
    """A narrow Holistic learns one clip of 96 x 144 pixels by heart, end to end, in a minute."""
    fit = FitConfig(num_steps=250, learning_rate=2e-3, power=0.9, optimiser=Optimiser.ADAMW, seed=7)
    return replace(
        holistic_reduced(),
        name="holistic-overfit",
        fit=fit,
        size=(96, 144),
        hardest=None,
        noise=DetectorNoise(side=0.02, missed=0.0, false=0.0),
        clip=ClipConfig(
            num_frames=2,
            max_people=2,
            empty_share=0,
            smallest_person=0.7,
            largest_person=1.0,
            upper_body_share=0,
            lying_share=0,
            leaving_share=0,
            cut_share=0,
        ),
        one_clip=True,
    )


_ALL = (
    holistic_parts,
    holistic_piecewise,
    holistic,
    holistic_parts_reduced,
    holistic_piecewise_reduced,
    holistic_reduced,
    holistic_overfit,
)
HOLISTIC_RECIPES: Mapping[str, Callable[[], HolisticRecipe]] = {make().name: make for make in _ALL}
"""Recipes by name."""
