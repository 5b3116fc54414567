"""Which form of the result a client wants: the Accept header of RFC 9110, section 12.5.1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from partstream_core.errors import NotAcceptableError


@dataclass(frozen=True, slots=True)
class MediaRange:
    """One element of an Accept header."""

    main: str
    sub: str
    quality: float
    order: int

    def matches(self, media_type: str) -> bool:
        """Whether a media type lies in the range."""
        main, sub = media_type.split("/")
        return self.main in ("*", main) and self.sub in ("*", sub)

    @property
    def specificity(self) -> int:
        """0 for everything, 1 for a main type, 2 for one media type."""
        return (self.main != "*") + (self.sub != "*")


def parse_accept(header: str) -> list[MediaRange]:
    """The ranges of an Accept header; elements that break its grammar are passed over."""
    ranges = []
    for order, element in enumerate(header.split(",")):
        media_type, *parameters = (piece.strip() for piece in element.split(";"))
        main, slash, sub = media_type.lower().partition("/")
        quality = _quality(parameters)
        if slash and main and sub and quality is not None and (main != "*" or sub == "*"):
            ranges.append(MediaRange(main, sub, quality, order))
    return ranges


def _quality(parameters: Sequence[str]) -> float | None:
    """The weight among parameters: 1 where there is none, None where it is not a number from 0 to 1."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                quality = float(value)
            except ValueError:
                return None
            return quality if 0 <= quality <= 1 else None
    return 1.0


def negotiate(header: str | None, offers: Sequence[str]) -> str:
    """The best of the media types on offer.

    The most specific range that fits a media type gives its quality. The highest quality wins; among equals
    the type that was named more exactly, then the one named earlier, then the one offered earlier.

    Raises:
        NotAcceptableError: No offer is wanted.
    """
    if header is None or not header.strip():
        return offers[0]
    ranges = parse_accept(header)
    best: tuple[float, int, int] | None = None
    chosen = ""
    for offer in offers:
        fitting = [one for one in ranges if one.matches(offer)]
        if not fitting:
            continue
        decisive = max(fitting, key=lambda one: (one.specificity, one.quality))
        rank = (decisive.quality, decisive.specificity, -decisive.order)
        if decisive.quality > 0 and (best is None or rank > best):
            best, chosen = rank, offer
    if best is None:
        raise NotAcceptableError(f"the result is available as {', '.join(offers)}, not as {header.strip()!r}")
    return chosen
