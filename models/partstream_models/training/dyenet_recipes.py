"""Recipes of DyeNet.

The paper gives no schedule; ours are SGD at .001 with two drops for the published network, which learns from
clips of DAVIS 2017 (or composed ones) at a longer side of 512, and AdamW for the narrow ones.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from partstream_core.labels import VOID
from partstream_evaluation.metrics.davis import boundary_f, region_iou
from partstream_models.data.batches import MIN_PIXELS
from partstream_models.data.clips.director import ClipConfig
from partstream_models.data.clips.draw import Clip
from partstream_models.data.clips.draws import ClipDraws
from partstream_models.data.clips.views import ViewConfig, draw_view
from partstream_models.data.readers.formats import Known
from partstream_models.data.readers.record import Frame, Recording
from partstream_models.networks.dyenet import DYENET, DYENET_REDUCED, DyeNet, DyeNetConfig
from partstream_models.networks.dyenet_propagation import propagate_tracklet
from partstream_models.networks.pretrained import load_resnet
from partstream_models.networks.resnet import ResNet
from partstream_models.training.aten_sources import turn
from partstream_models.training.dyenet_task import (
    DyeNetDraw,
    DyeNetSource,
    DyeNetTask,
    draw_of_frames,
    features_of,
)
from partstream_models.training.fit import FitConfig, Optimiser
from partstream_models.training.paper import DataSet, Material, PaperOptions, Prepared

NUM_EVALUATED = 10
"""Clips or recordings that an evaluation follows people through."""
MAX_FRAMES = 20


@dataclass(frozen=True, slots=True, eq=False)
class ClipFrames:
    """Draws of frames in a row of composed clips."""

    clip_of: Callable[[int], Clip]
    num_frames: int
    seed: int = 1

    def draw(self, number: int) -> DyeNetDraw:
        """Frames of the clip of that number, in time order or, half of the time, backwards."""
        clip = self.clip_of(number)
        rng = np.random.default_rng((self.seed, number))
        length = len(clip.images_THWC)
        count = min(self.num_frames, length)
        first = int(rng.integers(length - count + 1))
        frames = list(range(first, first + count))[:: -1 if rng.random() < 0.5 else 1]
        images = [np.ascontiguousarray(clip.images_THWC[frame]) for frame in frames]
        return draw_of_frames(images, [clip.instances_THW[frame] for frame in frames], len(clip.identities_N))


@dataclass(frozen=True, slots=True, eq=False)
class RecordedFrames:
    """Draws of frames in a row of a data set, all seen alike."""

    recordings: tuple[Recording, ...]
    view: ViewConfig
    num_frames: int
    seed: int = 1

    def draw(self, number: int) -> DyeNetDraw:
        """The labelled frame whose turn it is and those after it, or before it where the recording ends.

        Raises:
            ValueError: A file is missing or damaged, or frames of the recording differ in size.
        """
        rng = np.random.default_rng((self.seed, number))
        recording, target = turn(self.recordings, self.seed, number)
        place = recording.labelled.index(target)
        frames = recording.labelled[place : place + self.num_frames]
        if len(frames) < self.num_frames:
            frames = recording.labelled[max(place - self.num_frames + 1, 0) : place + 1][::-1]
        read = [recording.frame(frame) for frame in frames]
        view = draw_view(read[0].image_HWC.shape[:2], self.view, rng)
        return draw_of_recorded([view.of(frame) for frame in read])


def draw_of_recorded(frames: list[Frame]) -> DyeNetDraw:
    """Frames of a recording with one row a person in all of them."""
    identities = sorted({identity for frame in frames for identity in frame.identities_N.tolist()})
    maps = []
    for frame in frames:
        assert frame.instances_HW is not None
        table = np.zeros(256, np.uint8)
        table[VOID] = VOID
        for row, identity in enumerate(frame.identities_N.tolist(), start=1):
            table[row] = identities.index(identity) + 1
        maps.append(table[frame.instances_HW])
    return draw_of_frames([frame.image_HWC for frame in frames], maps, len(identities))


@dataclass(frozen=True, kw_only=True, slots=True)
class DyeNetRecipe:
    """Configuration of a run without data, budget and device."""

    name: str
    network: DyeNetConfig
    fit: FitConfig
    size: tuple[int, int]
    """Height and width of composed clips."""
    view: ViewConfig = field(default_factory=lambda: ViewConfig(longer_side=512))
    epochs: int | None = None
    num_frames: int = 4
    """Frames of a draw."""
    clip: ClipConfig = field(default_factory=lambda: ClipConfig(num_frames=8, empty_share=0, cut_share=0))
    one_clip: bool = False

    @property
    def needs(self) -> frozenset[Known]:
        """People with identities."""
        return frozenset({Known.INSTANCES})

    def with_fit(self, fit: FitConfig) -> "DyeNetRecipe":
        """The same with another schedule."""
        return replace(self, fit=fit)

    def build(self, options: PaperOptions) -> DyeNet:
        """The network, on ImageNet weights where they were named.

        Raises:
            ValueError: A checkpoint does not fit, or is of a network that is no part of it.
        """
        for option, path in (("--dla", options.dla), ("--flownet", options.flownet)):
            if path is not None:
                raise ValueError(f"{self.name} starts from none of {option}'s weights: leave it out")
        if options.resnet is None:
            return DyeNet(self.network)
        trunk = replace(self.network.trunk, stride_on_3x3=True)  # as torchvision's weights are
        network = DyeNet(replace(self.network, trunk=trunk))
        resnet = ResNet(trunk)
        load_resnet(resnet, options.resnet)
        network.start_from(resnet)
        return network

    def prepare(self, network: DyeNet, material: Material, options: PaperOptions) -> Prepared:
        """The draws of a data set or of composed clips, and how the network is judged on others."""
        seed, device = self.fit.seed, options.device
        source: DyeNetSource
        if isinstance(material, DataSet):
            source = RecordedFrames(material.training, self.view, self.num_frames, seed)
            judged = [self._whole(recording) for recording in material.validation[:NUM_EVALUATED]]
        else:
            clips = ClipDraws(
                photos=material, size=self.size, clip=self.clip, seed=seed, one_clip=self.one_clip
            )
            source = ClipFrames(clips.of_draw, self.num_frames, seed)
            judged = [_whole_clip(clip) for clip in clips.to_judge(NUM_EVALUATED)]
        task = DyeNetTask(network, options.ahead(source.draw), seed, device)
        return Prepared(task, (lambda: follow_scores(network, judged, device)) if judged else None)

    def _whole(self, recording: Recording) -> DyeNetDraw:
        frames = [recording.frame(number) for number in recording.labelled[:MAX_FRAMES]]
        rng = np.random.default_rng(0)
        view = draw_view(frames[0].image_HWC.shape[:2], replace(self.view, mirror=False), rng)
        return draw_of_recorded([view.of(frame) for frame in frames])


def _whole_clip(clip: Clip) -> DyeNetDraw:
    images, maps = list(clip.images_THWC), list(clip.instances_THW)
    return draw_of_frames(images, maps, len(clip.identities_N))


@torch.no_grad()
def follow_scores(network: DyeNet, clips: list[DyeNetDraw], device: str = "cpu") -> dict[str, float]:
    """J, F and G of masks that Re-MP propagates from the truth of the first frame, without Re-ID.

    Means over the people of all clips who are seen in the first frame; the first and the last frame do not
    count.
    """
    was_training = network.training
    network.eval()
    js, fs = [], []
    for clip in clips:
        there = clip.to(device)
        features = features_of(network, there.images, there.flows)
        length = len(features)
        for row in range(1, clip.num_people + 1):
            truth_THW = (there.instances == row).cpu().numpy()
            if truth_THW[0].sum() < MIN_PIXELS or length < 2:
                continue
            found = propagate_tracklet(
                network,
                lambda frame, features=features: features[frame : frame + 1],  # type: ignore[misc]
                lambda frame, _, flows=there.flows: flows[frame],  # type: ignore[misc]
                frame=0,
                mask_HW=(there.instances[0] == row).float(),
                num_frames=length,
            )
            for frame in range(1, max(length - 1, 2)):
                mask = (
                    found[frame].mask_HW.cpu().numpy() > 0.5
                    if frame in found
                    else np.zeros_like(truth_THW[0])
                )
                js.append(region_iou(truth_THW[frame], mask))
                fs.append(boundary_f(truth_THW[frame], mask))
    network.train(was_training)
    j, f = float(np.mean(js or [0.0])), float(np.mean(fs or [0.0]))
    return {"j": j, "f": f, "g": (j + f) / 2}


def dyenet() -> DyeNetRecipe:
    """DyeNet as published, on DAVIS 2017 or composed clips; the schedule is ours."""
    fit = FitConfig(num_steps=20_000, batch=4, learning_rate=1e-3, drops=(0.6, 0.85), bf16=True)
    return DyeNetRecipe(name="dyenet", network=DYENET, fit=fit, size=(256, 448), epochs=30)


def dyenet_no_attention() -> DyeNetRecipe:
    """DyeNet without region attention (table 1)."""
    network = replace(DYENET, attention=False)
    return replace(dyenet(), name="dyenet-no-attention", network=network)


def dyenet_two_streams() -> DyeNetRecipe:
    """DyeNet with a second trunk that reads the flow (the challenge's network, section 3)."""
    return replace(dyenet(), name="dyenet-two-streams", network=replace(DYENET, two_streams=True))


def dyenet_reduced() -> DyeNetRecipe:
    """A narrow DyeNet on small clips: for comparisons on one thread, in an hour."""
    fit = FitConfig(num_steps=4000, learning_rate=1e-3, drops=(0.75,), optimiser=Optimiser.ADAMW)
    return DyeNetRecipe(
        name="dyenet-reduced",
        network=DYENET_REDUCED,
        fit=fit,
        size=(128, 192),
        view=ViewConfig(longer_side=192),
    )


def dyenet_overfit() -> DyeNetRecipe:
    """A narrow DyeNet learns one clip of 128 x 192 pixels by heart, in minutes: J above .95."""
    fit = FitConfig(num_steps=500, learning_rate=2e-3, drops=(0.7, 0.9), optimiser=Optimiser.ADAMW, seed=7)
    clip = ClipConfig(
        num_frames=4,
        max_people=2,
        empty_share=0,
        group_share=0,
        smallest_person=0.8,
        largest_person=1.0,
        upper_body_share=0,
        lying_share=0,
        leaving_share=0,
        cut_share=0,
    )
    return replace(dyenet_reduced(), name="dyenet-overfit", fit=fit, clip=clip, one_clip=True)


_ALL = (dyenet, dyenet_no_attention, dyenet_two_streams, dyenet_reduced, dyenet_overfit)
DYENET_RECIPES: Mapping[str, Callable[[], DyeNetRecipe]] = {make().name: make for make in _ALL}
