"""State of a scheduler between frames."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from partstream_core.jsonread import Fields


@dataclass(frozen=True, slots=True)
class SchedulerState:
    """The memory of one stream's scheduler; small, and JSON both ways."""

    last_index: int = -1
    """The last frame that was decided on."""
    age: int | None = None
    """Frames since the last key frame, 0 at it; None where there is no key frame to borrow from."""
    asked: tuple[str, ...] = ()
    """Measures that asked for a key frame at the last frame."""
    tokens: float | None = None
    """Key frames that the budget has room for, negative where some were borrowed; None before the first."""
    time_s: float = 0.0
    """Of the last frame."""

    def to_json(self) -> dict[str, Any]:
        """The state in plain JSON values."""
        return asdict(self) | {"asked": list(self.asked)}

    @classmethod
    def from_json(cls, value: object) -> "SchedulerState":
        """The state that was written.

        Raises:
            ValueError: A field is missing or wrong; the message names it.
        """
        fields = Fields(value, path="schedule")
        age = None if fields.get("age") is None else fields.integer("age", minimum=0)
        tokens = None if fields.get("tokens") is None else fields.number("tokens")
        last_index = fields.integer("last_index", minimum=-1)
        return cls(last_index, age, fields.strings("asked"), tokens, fields.number("time_s"))


def check_observed(values: Mapping[str, float]) -> None:
    """Refuse measures that are negative, NaN or infinite.

    Raises:
        ValueError: One is; the message names it.
    """
    for name, value in values.items():
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be finite and at least 0, got {value}")
