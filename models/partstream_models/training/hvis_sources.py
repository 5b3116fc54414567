"""Sources of HVISNet's training frames: composed clips, or the recordings of a data set."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from partstream_models.data.clips.draw import Clip
from partstream_models.data.clips.views import ViewConfig, draw_view
from partstream_models.data.readers.record import Frame, Recording
from partstream_models.data.scenes.scene import Scene
from partstream_models.training.aten_sources import turn
from partstream_models.training.hvis_identity import UNKNOWN
from partstream_models.training.hvis_task import Center, HVISDraw, draw_of


@dataclass(frozen=True, slots=True, eq=False)
class ComposedFrames:
    """Draws from composed clips, whose people are told apart by their photos."""

    clip_of: Callable[[int], Clip]
    """The clip of a draw."""
    num_frames: int
    """Frames of a draw; fewer where the clip is shorter."""
    center: Center
    seed: int = 1

    def draw(self, number: int) -> HVISDraw:
        """Some frames of the clip of that number, in time order."""
        clip = self.clip_of(number)
        rng = np.random.default_rng((self.seed, number))
        length = len(clip.images_THWC)
        chosen = rng.choice(length, size=min(self.num_frames, length), replace=False)
        return draw_of([clip.scene(int(frame)) for frame in np.sort(chosen)], self.center)


@dataclass(frozen=True, slots=True, eq=False)
class RecordedFrames:
    """Draws from a data set: every labelled frame once an epoch, with others of its recording."""

    recordings: tuple[Recording, ...]
    view: ViewConfig
    num_frames: int
    center: Center
    seed: int = 1

    @property
    def num_identities(self) -> int:
        """People of all recordings together."""
        return sum(recording.num_people for recording in self.recordings)

    def draw(self, number: int) -> HVISDraw:
        """The labelled frame whose turn it is, and others; all seen alike, in time order.

        Raises:
            ValueError: A file is missing or damaged, or frames of the recording differ in size.
        """
        rng = np.random.default_rng((self.seed, number))
        recording, target = turn(self.recordings, self.seed, number)
        others = [frame for frame in recording.labelled if frame != target]
        chosen = rng.choice(others, size=min(self.num_frames - 1, len(others)), replace=False)
        frames = [recording.frame(int(frame)) for frame in sorted([target, *chosen])]
        sizes = {frame.image_HWC.shape[:2] for frame in frames}
        if len(sizes) > 1:
            raise ValueError(f"frames of {recording.name} differ in size: {sorted(sizes)}")
        view = draw_view(sizes.pop(), self.view, rng)
        first = self._first(recording)
        return draw_of([scene_of(view.of(frame), first) for frame in frames], self.center)

    def _first(self, recording: Recording) -> int | None:
        """Identities of the recordings before this one; None where its people have no numbers."""
        if recording.num_people == 0:
            return None
        before = self.recordings[: self.recordings.index(recording)]
        return sum(other.num_people for other in before)


def scene_of(frame: Frame, first_identity: int | None) -> Scene:
    """A frame of a data set as a scene.

    Args:
        frame: The frame.
        first_identity: Number of the recording's first person among all people; None: nobody is numbered.

    Raises:
        ValueError: Nothing is known of the frame's people.
    """
    if frame.instances_HW is None:
        raise ValueError("a frame without labels of people cannot be learned from")
    parts = np.zeros_like(frame.instances_HW)
    identities = np.full_like(frame.identities_N, UNKNOWN)
    if first_identity is not None:
        identities = frame.identities_N - 1 + first_identity
    return Scene(frame.image_HWC, parts, frame.instances_HW, identities)
