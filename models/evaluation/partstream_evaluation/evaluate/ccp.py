"""`partstream-evaluate ccp`: parts of people on the Clothing Co-Parsing photos held out from training.

Shape suffixes: N photos, C classes.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from partstream_core.labels import PARTS
from partstream_evaluation.ccp import VALIDATION_SHA256, validation_ids, validation_part_maps
from partstream_evaluation.evaluate.runner import EvaluationError, PartstreamCommand, part_map_of, read_photo
from partstream_evaluation.evaluate.turn import quarter_turns, write_turned
from partstream_evaluation.metrics.semantic import (
    Counts,
    Interval,
    LabelMap,
    bootstrap_interval,
    class_ious,
    common_classes,
    confusion_matrix,
    mean_iou,
    person_iou,
)
from partstream_evaluation.report.collect import Collector

_SEED = 0


@dataclass(frozen=True, slots=True)
class CcpScores:
    """Figures of a set of photos, each from the sum of their confusion matrices."""

    miou: float
    """Mean over the classes that are in the truth or predicted."""
    miou_common: float
    """Mean over the classes in the truth of at least 20 photos."""
    person_iou: float
    per_class: dict[str, float]
    num_photos: int
    intervals: dict[str, Interval]
    """95 % bootstrap intervals over photos."""


@dataclass(frozen=True, slots=True)
class CcpReport:
    """The scores and what they were measured on."""

    scores: CcpScores
    command: str
    labels_sha256: str
    """Over names, sizes and bytes of the truth maps in use."""
    labels_published: bool | None
    """Whether they are the published ones; None where only some were used."""
    turn: int = 0
    """Degrees that photos and truth were turned by, counter-clockwise."""

    def to_json(self) -> dict[str, Any]:
        """The report as a flat JSON object; figures that do not exist are null."""
        document = {
            **asdict(self.scores),
            "command": self.command,
            "labels_sha256": self.labels_sha256,
            "labels_published": self.labels_published,
            "turn": self.turn,
        }
        plain: dict[str, Any] = _without_nan(document)
        return plain


def evaluate(
    data_dir: Path,
    command: PartstreamCommand,
    *,
    limit: int | None = None,
    turn: int = 0,
    collector: Collector | None = None,
) -> CcpReport:
    """Run `partstream` on the validation photos and compare what it writes with the truth.

    Args:
        data_dir: Holds photos/, labels/, val.txt and label_list.txt.
        command: How to call `partstream`.
        limit: Only that many photos, from the first.
        turn: Degrees that photos and truth are turned by, counter-clockwise.
        collector: Takes every photo in, for a report.

    Raises:
        EvaluationError: Something is missing, sizes disagree, or the command failed.
        ValueError: The labels are missing or not CCP's.
    """
    quarters = quarter_turns(turn)
    photo_ids = validation_ids(data_dir)[:limit]
    if not photo_ids:
        raise EvaluationError(f"{data_dir / 'val.txt'} names no photo")
    photos = [data_dir / "photos" / f"{photo_id}.jpg" for photo_id in photo_ids]
    missing = [path for path in (*photos, *_label_paths(data_dir, photo_ids)) if not path.is_file()]
    if missing:
        raise EvaluationError(f"{len(missing)} files of val.txt are missing, the first is {missing[0]}")
    digest = hashlib.sha256()
    confusions = []
    with TemporaryDirectory(prefix="partstream-evaluate-") as folder:
        if turn:
            photos = _turned(photos, Path(folder) / "turned", turn)
        found = Path(folder) / "found"
        found.mkdir()
        line = command.parse_photos(photos, found)
        truths = islice(validation_part_maps(data_dir), len(photos))
        for photo, (photo_id, truth_HW) in zip(photos, truths, strict=True):
            digest.update(f"{photo_id} {truth_HW.shape[0]}x{truth_HW.shape[1]}\n".encode())
            digest.update(np.ascontiguousarray(truth_HW).tobytes())
            turned_HW = np.rot90(truth_HW, quarters)
            predicted_HW = _predicted(photo, turned_HW, found)
            confusions.append(confusion_matrix(turned_HW, predicted_HW))
            if collector is not None:
                collector.add(photo_id, photo.name, photo, turned_HW, predicted_HW)
    sha256 = digest.hexdigest()
    published = sha256 == VALIDATION_SHA256 if limit is None else None
    return CcpReport(score(np.stack(confusions)), line, sha256, published, turn)


def score(confusions_NCC: Counts) -> CcpScores:
    """The figures of photos whose confusion matrices these are."""
    total = confusions_NCC.sum(axis=0)
    mean_of_common = partial(mean_iou, classes=common_classes(confusions_NCC))
    metrics: dict[str, Callable[[Counts], float]] = {
        "miou": mean_iou,
        "miou_common": mean_of_common,
        "person_iou": person_iou,
    }
    return CcpScores(
        miou=mean_iou(total),
        miou_common=mean_of_common(total),
        person_iou=person_iou(total),
        per_class=dict(zip(PARTS, class_ious(total).tolist(), strict=True)),
        num_photos=len(confusions_NCC),
        intervals={
            name: bootstrap_interval(confusions_NCC, metric, rng=np.random.default_rng(_SEED))
            for name, metric in metrics.items()
        },
    )


def _label_paths(data_dir: Path, photo_ids: Sequence[str]) -> list[Path]:
    return [data_dir / "labels" / f"{photo_id}.png" for photo_id in photo_ids]


def _turned(photos: Sequence[Path], folder: Path, turn: int) -> list[Path]:
    folder.mkdir()
    return [write_turned(photo, folder / photo.name, turn) for photo in photos]


def _predicted(photo: Path, truth_HW: LabelMap, output: Path) -> LabelMap:
    height, width = truth_HW.shape
    try:
        return part_map_of(read_photo(output, photo), height=height, width=width)
    except EvaluationError as error:
        raise EvaluationError(f"{photo}: {error}") from error


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and np.isnan(value) else value
