"""Leaves out parts and people that are not wanted."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from partstream_core.labels import NUM_PARTS, PARTS
from partstream_core.results import FrameResult
from partstream_server.offline.frame_pipeline import ParsedPicture
from partstream_server.pipeline.values import LabelMaps


@dataclass(frozen=True, slots=True)
class Selection:
    """What is kept of results."""

    parts: frozenset[str] | None
    """None: all."""
    people: frozenset[int] | None
    """Identities; None: all."""

    def apply(self, picture: ParsedPicture) -> ParsedPicture:
        """A picture without what is left out."""
        if (self.parts is None and self.people is None) or picture.result is None or picture.maps is None:
            return picture
        result, maps = self.select(picture.result, picture.maps)
        return replace(picture, result=result, maps=maps)

    def select(self, result: FrameResult, maps: LabelMaps) -> tuple[FrameResult, LabelMaps]:
        """A frame's result and maps without what is left out."""
        kept = [
            number
            for number, person in enumerate(result.people, start=1)
            if self.people is None or person.identity in self.people
        ]
        people = tuple(
            replace(
                person,
                parts=tuple(part for part in person.parts if self.parts is None or part.part in self.parts),
            )
            for person in (result.people[number - 1] for number in kept)
        )
        numbers = np.zeros(len(result.people) + 1, np.uint8)
        numbers[kept] = np.arange(1, len(kept) + 1, dtype=np.uint8)
        labels = np.array(
            [index if self.parts is None or name in self.parts else 0 for index, name in enumerate(PARTS)],
            np.uint8,
        )
        assert len(labels) == NUM_PARTS, "every part has a label"
        # the maps are transposed for the look-up, so that they stay as they lie in memory, column by column
        person_HW = numbers[maps.person_HW.T].T
        part_HW = np.where(person_HW.T > 0, labels[maps.part_HW.T], 0).astype(np.uint8).T
        # which of the people wanted a likely head is of is not known
        likely_hw = maps.likely_hw if self.people is None else None
        return replace(result, people=people), LabelMaps(person_HW, part_HW, likely_hw)
