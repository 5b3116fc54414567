"""Whether a target is seen in a frame, hidden, or gone."""

from enum import StrEnum

from partstream_core.boxes import Box

AT_THE_EDGE = 0.02
"""Share of the picture's side within which a box touches the edge."""


class Status(StrEnum):
    """Of a target in a frame."""

    SEEN = "seen"
    HIDDEN = "hidden"
    """Not seen, between two sights inside the picture."""
    GONE = "gone"
    """Not seen: not yet, not any more, or out of the picture."""


def status_of(before: Box | None, after: Box | None, *, width: float, height: float) -> Status:
    """Status of a target in a frame without a sight of it.

    Args:
        before: Its box when it was seen last; None where it was not seen before.
        after: Its box when it is seen next; None where it is not seen again.
        width: Of the picture.
        height: Of the picture.
    """
    if before is None or after is None:
        return Status.GONE
    away = any(_at_the_edge(box, width=width, height=height) for box in (before, after))
    return Status.GONE if away else Status.HIDDEN


def _at_the_edge(box: Box, *, width: float, height: float) -> bool:
    """Whether a box touches the left, right or upper edge; feet at the lower edge are no sign of leaving."""
    left, top, right, _ = box
    return left <= AT_THE_EDGE * width or right >= (1 - AT_THE_EDGE) * width or top <= AT_THE_EDGE * height
