"""J, F and G of `partstream follow` from the first frame's mask, on clips whose frames have a mask each.

The first and the last frame do not count, as in the semi-supervised protocol of DAVIS.

Shape suffixes: H height, W width.
Source: DAVIS 2017 (Pont-Tuset et al.).
"""

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from partstream_core.rle import Rle, decode
from partstream_evaluation.evaluate.runner import EvaluationError, PartstreamCommand
from partstream_evaluation.masks.staged import StagedFolder, stage
from partstream_evaluation.masks.truth import read_folders
from partstream_evaluation.metrics.davis import SequenceScore, boundary_f, region_iou, sequence_score

BoolArray = npt.NDArray[np.bool_]
_NAME = "target"
_LEAST_FRAMES = 3


@dataclass(frozen=True, slots=True)
class FollowScores:
    """Of one clip."""

    j: SequenceScore
    f: SequenceScore
    num_seen: int
    """Counted frames in which the target was found."""
    num_frames: int
    """Counted frames."""

    @property
    def g(self) -> float:
        """Mean of the means of J and F."""
        return (self.j.mean + self.f.mean) / 2


@dataclass(frozen=True, slots=True)
class FollowReport:
    """Scores of each clip, and the command lines that made them."""

    clips: Mapping[str, FollowScores]
    commands: tuple[str, ...]

    @property
    def g(self) -> float:
        """Mean over clips."""
        return float(np.mean([scores.g for scores in self.clips.values()]))

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        clips = {name: asdict(scores) | {"g": scores.g} for name, scores in self.clips.items()}
        return {"g": self.g, "clips": clips, "commands": list(self.commands)}


def evaluate_follow(truth: Path, command: PartstreamCommand) -> FollowReport:
    """Follow the person of each clip from the mask of its first frame.

    Args:
        truth: Folders of pictures in the order of their names, each picture with a PNG mask of the same stem.
        command: What follows.

    Raises:
        EvaluationError: The command cannot be run, or failed.
        ValueError: There are no clips, one has fewer than three frames, or a file is damaged.
    """
    folders = read_folders(truth)
    short = [folder.name for folder in folders if len(folder.pictures) < _LEAST_FRAMES]
    if short:
        raise ValueError(f"{short[0]} has fewer than {_LEAST_FRAMES} frames: nothing is left to count")
    with tempfile.TemporaryDirectory(prefix="partstream-evaluate-") as name:
        clips = stage(folders, Path(name) / "clips", turn=0)
        found, commands = {}, []
        for clip in clips:
            output = Path(name) / "found" / clip.path.name
            first = clip.pictures[0].picture.mask.resolve()
            commands.append(command.follow(clip.path, output, f"{_NAME}@0:{first}"))
            found[clip.name] = _scores(clip, output)
    return FollowReport(found, tuple(commands))


def _scores(clip: StagedFolder, output: Path) -> FollowScores:
    js, fs, num_seen = [], [], 0
    masks = list(read_masks(output / "follow.ndjson", clip.name))
    if len(masks) != len(clip.pictures):
        raise EvaluationError(f"{clip.name} is {len(clip.pictures)} frames, its follow has {len(masks)}")
    for staged, mask in zip(clip.pictures[1:-1], masks[1:-1], strict=True):
        truth = np.ascontiguousarray(staged.picture.read_mask())
        shown = np.zeros_like(truth) if mask is None else mask
        if shown.shape != truth.shape:
            raise EvaluationError(f"{staged.picture.name} is {truth.shape}, its mask {shown.shape}")
        js.append(region_iou(truth, shown))
        fs.append(boundary_f(truth, shown))
        num_seen += mask is not None
    return FollowScores(sequence_score(js), sequence_score(fs), num_seen, len(js))


def read_masks(path: Path, name: str) -> Iterator[BoolArray | None]:
    """The target's mask in each frame, None where it is not seen."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        for line in lines:
            (target,) = json.loads(line)["targets"]
            mask = target.get("mask")
            if mask is None:
                yield None
                continue
            height, width = mask["size"]
            yield decode(Rle(height, width, mask["counts"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EvaluationError(f"no follow of {name}: {error}") from error
