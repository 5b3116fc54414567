"""Assigns tracklets to targets: iterative linking with template expansion.

First the sights that a person gave: their tracklets belong to their targets, and are the first templates.
Then rounds: of all free tracklets that look like a target with confidence, the most similar is linked first,
unless it contradicts one of the target's (both seen in one frame); linked ones expand the templates, and the
next round compares again, until a round links nothing. At last, tracklets that are less alike are linked in
the same way, without expanding.

Two given sights of one target on tracklets that contradict each other correct the tracker: the former is cut
between them. Two targets given on one tracklet cut it likewise.

Source: DyeNet (Li and Loy, ECCV 2018), section 2 (iterative inference, linking the tracklets).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from partstream_core.follow.templates import FloatArray, TemplateSet
from partstream_core.follow.tracklets import Tracklet


@dataclass(frozen=True, kw_only=True, slots=True)
class FollowConfig:
    """Thresholds of linking; similarities are cosines."""

    expand_similarity: float = 0.8
    """From here on a tracklet is linked, and its looks become templates."""
    link_similarity: float = 0.7
    """From here on a tracklet is linked at the end."""
    margin: float = 0.05
    """A tracklet must be more similar to its target than to any other one by this."""
    max_templates: int = 32
    max_rounds: int = 20

    def __post_init__(self) -> None:
        if not -1 <= self.link_similarity <= self.expand_similarity <= 1:
            raise ValueError(
                "similarities must be cosines, link_similarity the smaller one, got "
                f"{self.link_similarity} and {self.expand_similarity}"
            )
        if self.max_rounds < 1 or self.margin < 0:
            raise ValueError(f"max_rounds must be positive and margin not negative, got {self}")


@dataclass(frozen=True, slots=True)
class GivenSight:
    """A target that was named in a frame."""

    frame: int
    identity: int
    """Of the tracker, in that frame."""


@dataclass(frozen=True, slots=True)
class Linked:
    """The tracklets of one target, by first frame."""

    tracklets: tuple[Tracklet, ...]
    similarities: tuple[float, ...]
    """Of each tracklet when it was linked; 1 for given ones."""
    num_rounds: int
    """Rounds of expansion that linked something, of all targets together."""


def link_tracklets(
    tracklets: Sequence[Tracklet],
    given: Mapping[str, Sequence[GivenSight]],
    config: FollowConfig | None = None,
) -> dict[str, Linked]:
    """The tracklets of each target.

    Args:
        tracklets: All of the clip; those of one identity do not share frames.
        given: Where each target was named; at least one sight each.
        config: Thresholds.

    Raises:
        ValueError: A given sight is in no tracklet, or two targets were given the same person in one frame,
            or one target two people.
    """
    state = _Linking(list(tracklets), given, config or FollowConfig())
    rounds = state.expand()
    state.link(state.config.link_similarity, expands=False)
    return state.result(rounds)


class _Linking:
    def __init__(
        self, tracklets: list[Tracklet], given: Mapping[str, Sequence[GivenSight]], config: FollowConfig
    ) -> None:
        self.config = config
        self._linked: dict[str, list[tuple[Tracklet, float]]] = {name: [] for name in given}
        self._templates = {name: TemplateSet(config.max_templates) for name in given}
        _check_given(given)
        owned, self._free = _cut_at_given(tracklets, given)
        for name, mine in owned.items():
            for tracklet in mine:
                self._take(name, tracklet, 1.0, given=True)

    def expand(self) -> int:
        """Link with confidence and expand until a round links nothing; the rounds that did."""
        for number in range(self.config.max_rounds):
            if not self.link(self.config.expand_similarity, expands=True):
                return number
        return self.config.max_rounds

    def link(self, least: float, *, expands: bool) -> int:
        """One round: link free tracklets, most similar first; how many were linked.

        Similarities are those with the templates at the start of the round.
        """
        rows = []
        for tracklet in self._free:
            by_name = {name: _similarity(tracklet, mine) for name, mine in self._templates.items()}
            for name, similarity in by_name.items():
                others = [other for key, other in by_name.items() if key != name]
                if similarity >= least and similarity >= max(others, default=-1.0) + self.config.margin:
                    rows.append((similarity, name, tracklet))
        rows.sort(key=lambda row: -row[0])
        count = 0
        for similarity, name, tracklet in rows:
            if any(tracklet.overlaps(other) for other, _ in self._linked[name]):
                continue
            self._free = [each for each in self._free if each is not tracklet]
            self._take(name, tracklet, similarity, given=False, expands=expands)
            count += 1
        return count

    def _take(
        self, name: str, tracklet: Tracklet, similarity: float, *, given: bool, expands: bool = True
    ) -> None:
        self._linked[name].append((tracklet, similarity))
        if expands:
            for sight in tracklet.looks:
                assert sight.embedding_D is not None
                self._templates[name].add(sight.embedding_D, given=given)

    def result(self, rounds: int) -> dict[str, Linked]:
        """What was linked."""
        found = {}
        for name, rows in self._linked.items():
            rows.sort(key=lambda row: int(row[0].frames_F[0]))
            found[name] = Linked(tuple(each for each, _ in rows), tuple(value for _, value in rows), rounds)
        return found


def _similarity(tracklet: Tracklet, templates: TemplateSet) -> float:
    """Median, over the tracklet's looks, of the similarity with the nearest template; -1 without looks."""
    values = [templates.similarity(_embedding(sight.embedding_D)) for sight in tracklet.looks]
    return float(np.median(values)) if values else -1.0


def _embedding(embedding_D: FloatArray | None) -> FloatArray:
    assert embedding_D is not None, "looks have embeddings"
    return embedding_D


def _check_given(given: Mapping[str, Sequence[GivenSight]]) -> None:
    names: dict[tuple[int, int], str] = {}
    for name, sights in given.items():
        if not sights:
            raise ValueError(f"{name} was named in no frame")
        people: dict[int, int] = {}
        for sight in sights:
            other = names.setdefault((sight.frame, sight.identity), name)
            if other != name:
                raise ValueError(f"{other} and {name} are the same person in frame {sight.frame}")
            if people.setdefault(sight.frame, sight.identity) != sight.identity:
                raise ValueError(f"{name} is two people in frame {sight.frame}")


def _cut_at_given(
    tracklets: list[Tracklet], given: Mapping[str, Sequence[GivenSight]]
) -> tuple[dict[str, list[Tracklet]], list[Tracklet]]:
    """The parts of tracklets that were given to targets, and what is left of all.

    A tracklet given to two targets is cut half-way between the sights; so is one target's, at half-way to a
    given sight of the same target on another tracklet that is seen at the same time.
    """
    owned: dict[str, list[Tracklet]] = {name: [] for name in given}
    sights = [(sight, name) for name, mine in given.items() for sight in mine]
    for sight, name in sights:
        if not any(_holds(tracklet, sight) for tracklet in tracklets):
            raise ValueError(f"{name}: no tracklet of identity {sight.identity} has frame {sight.frame}")
    free: list[Tracklet] = []
    for tracklet in tracklets:
        marks = sorted(
            {(sight.frame, name) for sight, name in sights if _holds(tracklet, sight)}
            | _foreign_marks(tracklet, tracklets, sights),
        )
        for first, last, owner in _spans(marks):
            part = tracklet.within(first, last)
            if part is not None:
                (owned[owner] if owner else free).append(part)
    return owned, free


def _holds(tracklet: Tracklet, sight: GivenSight) -> bool:
    place = int(np.searchsorted(tracklet.frames_F, sight.frame))
    return (
        tracklet.identity == sight.identity
        and place < len(tracklet.frames_F)
        and int(tracklet.frames_F[place]) == sight.frame
    )


def _foreign_marks(
    tracklet: Tracklet, tracklets: list[Tracklet], sights: list[tuple[GivenSight, str]]
) -> set[tuple[int, str]]:
    """Frames in which the target of this tracklet was given on another one that is seen at the same time."""
    names = {name for sight, name in sights if _holds(tracklet, sight)}
    others = [each for each in tracklets if each is not tracklet and each.overlaps(tracklet)]
    return {
        (sight.frame, "")
        for sight, name in sights
        if name in names and not _holds(tracklet, sight) and any(_holds(each, sight) for each in others)
    }


def _spans(marks: list[tuple[int, str]]) -> list[tuple[int, int, str]]:
    """Frames from, to and owner: neighbours of one owner are one span, others meet half-way."""
    if not marks:
        return [(0, np.iinfo(np.int64).max, "")]
    spans: list[tuple[int, int, str]] = []
    first = 0
    for (frame, owner), (following, successor) in pairwise(marks):
        if owner != successor:
            middle = (frame + following) // 2
            spans.append((first, middle, owner))
            first = middle + 1
    spans.append((first, np.iinfo(np.int64).max, marks[-1][1]))
    return spans
