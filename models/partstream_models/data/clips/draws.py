"""Composed clips by the number of a draw, as every recipe without a data set learns from them."""

from dataclasses import dataclass, field, replace

from partstream_models.data.clips.director import ClipConfig
from partstream_models.data.clips.draw import Clip, draw_clip
from partstream_models.data.photos.cache import PhotoCache

_UNSEEN = 1_000_000
"""Between the series that is learned from and the one that is judged on."""


@dataclass(kw_only=True, slots=True)
class ClipDraws:
    """The clip of each draw; it follows from the settings and the number alone."""

    photos: PhotoCache
    size: tuple[int, int]
    """Height and width of clips."""
    clip: ClipConfig
    seed: int = 1
    one_clip: bool = False
    """Every draw is of one and the same clip."""
    draws_a_clip: int = 1
    """Draws that share a clip, because a clip costs more than a draw."""
    at_once: int = 1
    """Clips that draws go round, so that draws in a row are of as many clips."""
    _held: dict[int, Clip] = field(default_factory=dict, init=False, repr=False)
    """The clips that draws went round last, by number."""

    def __post_init__(self) -> None:
        if min(self.draws_a_clip, self.at_once) < 1:
            raise ValueError(f"{self.draws_a_clip} draws of each of {self.at_once} clips are none")

    def of_draw(self, number: int) -> Clip:
        """The clip of that draw."""
        lap, place = divmod(number, self.draws_a_clip * self.at_once)
        wanted = 0 if self.one_clip else lap * self.at_once + place % self.at_once
        held = self._held  # never changed, only replaced: several threads draw
        if wanted in held:
            return held[wanted]
        clip = self._draw(wanted)
        first = wanted - wanted % self.at_once
        near = range(first, first + self.at_once)
        self._held = {wanted: clip} | {other: kept for other, kept in self._held.items() if other in near}
        return clip

    def to_judge(self, count: int) -> list[Clip]:
        """Clips of another series than those of draws, or the one that is learned by heart."""
        if self.one_clip:
            return [self.of_draw(0)]
        unseen = self.unseen()
        return [unseen._draw(number) for number in range(count)]

    def unseen(self) -> "ClipDraws":
        """Draws of another series."""
        return replace(self, seed=self.seed + _UNSEEN)

    def _draw(self, number: int) -> Clip:
        height, width = self.size
        return draw_clip(
            self.photos, seed=self.seed, number=number, height=height, width=width, config=self.clip
        )
