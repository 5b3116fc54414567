"""Sources of ATEN's training frames: composed clips, or the recordings of a data set."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from partstream_models.data.clips.draw import Clip
from partstream_models.data.clips.shake import Shake
from partstream_models.data.clips.views import ViewConfig, draw_view
from partstream_models.data.readers.record import Recording
from partstream_models.training.aten_task import (
    AtenDraw,
    SamplingConfig,
    as_input,
    draw_frames,
    frames_for,
    truth_of,
    truth_of_maps,
)


@dataclass(frozen=True, slots=True, eq=False)
class ClipSource:
    """Draws from composed clips, every frame of which is labelled."""

    clip_of: Callable[[int], Clip]
    """The clip of a draw."""
    sampling: SamplingConfig
    seed: int = 1
    two_classes: bool = False
    shake: Shake = field(default_factory=lambda: Shake(share=0))
    """Of the camera while it films the clip."""

    def draw(self, number: int) -> AtenDraw:
        """Any frame of the clip of that number."""
        clip = self.clip_of(number)
        rng = np.random.default_rng((self.seed, number))
        frames = draw_frames(len(clip.images_THWC), self.sampling, rng)
        wanted = dict.fromkeys((*frames.neighbours, frames.key, frames.target))
        images = {frame: as_input(self.shake.of(clip.images_THWC[frame], rng)) for frame in wanted}
        return AtenDraw(
            tuple(images[frame] for frame in frames.neighbours),
            images[frames.key],
            None if frames.target == frames.key else images[frames.target],
            truth_of(clip, frames.target, two_classes=self.two_classes),
        )


@dataclass(frozen=True, slots=True, eq=False)
class RecordingSource:
    """Draws from a data set: every labelled frame once an epoch, in an order that changes."""

    recordings: tuple[Recording, ...]
    sampling: SamplingConfig
    view: ViewConfig
    seed: int = 1
    two_classes: bool = False

    def draw(self, number: int) -> AtenDraw:
        """The labelled frame whose turn it is, with a key frame and neighbours around it.

        Raises:
            ValueError: A file is missing or damaged, or frames of the recording differ in size.
        """
        rng = np.random.default_rng((self.seed, number))
        recording, target = turn(self.recordings, self.seed, number)
        frames = frames_for(target, recording.num_frames, self.sampling, rng)
        wanted = dict.fromkeys((*frames.neighbours, frames.key, target))
        read = {frame: recording.frame(frame) for frame in wanted}
        sizes = {frame.image_HWC.shape[:2] for frame in read.values()}
        if len(sizes) > 1:
            raise ValueError(f"frames of {recording.name} differ in size: {sorted(sizes)}")
        view = draw_view(sizes.pop(), self.view, rng)
        shown = {at: view.of(frame) for at, frame in read.items()}
        images = {at: as_input(frame.image_HWC) for at, frame in shown.items()}
        instances = shown[target].instances_HW
        if instances is None:
            raise ValueError(f"frame {target} of {recording.name} has no labels of people")
        return AtenDraw(
            tuple(images[frame] for frame in frames.neighbours),
            images[frames.key],
            None if target == frames.key else images[target],
            truth_of_maps(shown[target].parts_HW, instances, two_classes=self.two_classes),
        )


def num_labelled(recordings: tuple[Recording, ...]) -> int:
    """Labelled frames of all recordings: the draws of an epoch."""
    return sum(len(recording.labelled) for recording in recordings)


def turn(recordings: tuple[Recording, ...], seed: int, number: int) -> tuple[Recording, int]:
    """The labelled frame of a draw: each comes once an epoch."""
    ends = np.cumsum([len(recording.labelled) for recording in recordings])
    epoch, place = divmod(number, int(ends[-1]))
    chosen = int(np.random.default_rng((seed, epoch, 1)).permutation(int(ends[-1]))[place])
    row = int(np.searchsorted(ends, chosen, side="right"))
    labelled = recordings[row].labelled
    return recordings[row], labelled[chosen - int(ends[row])]
