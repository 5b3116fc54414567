"""Log of a run's losses: a CSV file, and TensorBoard events on request."""

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TERMS = (
    "total", "score", "parts", "parts_dice", "teacher", "box", "center", "mask", "rivals",
    "identity", "triplet", "flow", "distillation",
)  # fmt: skip


class RunLog:
    """The log of one run; a run that is taken up goes on in the same files.

    Args:
        folder: The run's output folder.
        tensorboard: Write TensorBoard events too, into `tensorboard/` in the folder.

    Raises:
        ValueError: TensorBoard is wanted and not installed.
    """

    def __init__(self, folder: Path, *, tensorboard: bool = False) -> None:
        self._path = folder / "log.csv"
        self._events = _events(folder / "tensorboard") if tensorboard else None

    def write(self, step: int, seconds: float, skipped: int, terms: Mapping[str, float]) -> None:
        """A row of the CSV file, and a point of each curve."""
        row = {"step": step, "seconds": round(seconds, 1), "skipped": skipped}
        values = {name: round(terms.get(name, math.nan), 5) for name in TERMS}
        fresh = not self._path.exists()
        with self._path.open("a", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=[*row, *TERMS])
            if fresh:
                writer.writeheader()
            writer.writerow({**row, **values})
        if self._events is not None:
            for name, value in terms.items():
                self._events.add_scalar(f"loss/{name}", value, step)
            self._events.flush()


def _events(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise ValueError(
            f"TensorBoard events need the package tensorboard: pip install 'partstream-models[tensorboard]' "
            f"({error})"
        ) from error
    return SummaryWriter(str(folder))
