"""Variants on clips without a truth: flicker along flow that is found and sure, and cost.

Shape suffixes: T frames, H height, W width; a last 2 is (x, y).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from partstream_core.schedule import FlowSource
from partstream_evaluation.metrics.flicker import Changes, carried, changes
from partstream_server.benchmarks.compare.ratio import with_ratios
from partstream_server.benchmarks.compare.run import Cost, run_clip
from partstream_server.benchmarks.compare.variants import Variant
from partstream_server.engine import Engine
from partstream_server.media import Frame, open_video

Grey = npt.NDArray[np.uint8]

_LONGER_SIDE = 512
"""Pixels of the frames that flow is found between."""
_SURE = 1.0
"""Pixels that the way there and back may be off by."""


@dataclass(slots=True)
class RealTally:
    """Measurements of a variant on clips."""

    cost: Cost = field(default_factory=Cost)
    flicker: Changes = field(default_factory=Changes)
    num_people: int = 0

    def figures(self) -> dict[str, float]:
        """The figures of a row of the table."""
        return {
            "flicker": self.flicker.share,
            "people": self.num_people / self.cost.num_frames,
            "ms": self.cost.ms,
            "backbone": self.cost.backbone,
        }


def compare_real(
    videos: Sequence[Path],
    engine: Engine,
    chosen: Sequence[Variant],
    *,
    max_frames: int,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, dict[str, dict[str, float]]]:
    """Figures by clip (and `all`) and by name of the variant.

    Raises:
        MediaError: A clip cannot be read.
        OptionError: The bundle cannot follow a schedule.
    """
    tallies = {
        name: {variant.name: RealTally() for variant in chosen}
        for name in ("all", *(video.name for video in videos))
    }
    for video in videos:
        with open_video(video, motion=True) as reader:
            frames = list(islice(reader, max_frames))
        ways = _sure_flows(frames)
        for variant in chosen:
            progress(f"{video.name}: {variant.name}")
            run = run_clip(frames, engine, variant.schedule)
            parts = [_small_labels(parts_HW) for parts_HW in run.parts_THW]
            for name in ("all", video.name):
                tally = tallies[name][variant.name]
                tally.cost.add(run.cost)
                tally.num_people += sum(len(frame.people) for frame in run.frames)
                for number, (flow_HW2, sure_HW) in enumerate(ways, start=1):
                    now_HW, former_HW = parts[number], parts[number - 1]
                    somebody_HW = (now_HW > 0) | (carried(former_HW, flow_HW2)[0] > 0)
                    tally.flicker += changes(now_HW, former_HW, flow_HW2, sure_HW & somebody_HW)
    return {
        name: with_ratios({variant: (tally.figures(), tally.cost) for variant, tally in rows.items()}, chosen)
        for name, rows in tallies.items()
    }


def without_codec(chosen: Sequence[Variant]) -> list[Variant]:
    """The variants that need no motion from an encoder: clips that are pictures have none."""
    return [variant for variant in chosen if variant.schedule.flow is not FlowSource.CODEC]


def _sure_flows(
    frames: Sequence[Frame],
) -> list[tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]]:
    """Flow from each frame to the one before, and where the way there and back ends where it began."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    greys = [np.asarray(cv2.cvtColor(_small(frame.image), cv2.COLOR_RGB2GRAY), np.uint8) for frame in frames]
    ways = []
    for now_HW, former_HW in zip(greys[1:], greys[:-1], strict=True):
        there_HW2, back_HW2 = _flow(dis, now_HW, former_HW), _flow(dis, former_HW, now_HW)
        error_HW = np.zeros(now_HW.shape, np.float32)
        for axis in range(2):
            came_HW, _ = carried(back_HW2[..., axis], there_HW2)
            error_HW += (there_HW2[..., axis] + came_HW) ** 2
        ways.append((there_HW2, error_HW < _SURE**2))
    return ways


def _flow(dis: cv2.DISOpticalFlow, now_HW: Grey, former_HW: Grey) -> npt.NDArray[np.float32]:
    return np.asarray(dis.calc(now_HW, former_HW, np.zeros((*now_HW.shape, 2), np.float32)), np.float32)


def _small(image_HWC: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.asarray(cv2.resize(image_HWC, _small_size(image_HWC), interpolation=cv2.INTER_AREA), np.uint8)


def _small_labels(labels_HW: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    small = cv2.resize(labels_HW, _small_size(labels_HW), interpolation=cv2.INTER_NEAREST)
    return np.asarray(small, np.uint8)


def _small_size(image: npt.NDArray[np.uint8]) -> tuple[int, int]:
    height, width = image.shape[:2]
    scale = min(1.0, _LONGER_SIDE / max(height, width))
    return round(width * scale), round(height * scale)
