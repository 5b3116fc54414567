"""How pixels are given to people: greedily, or by a conditional random field over all people together.

Source of the field: Li, Arnab, Torr, Holistic, Instance-Level Human Parsing (BMVC 2017), section 3.2.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeVar

from partstream_core.jsonread import Fields

E = TypeVar("E", bound=StrEnum)
MAX_RADIUS: Final = 16
MAX_ITERATIONS: Final = 50


class AssemblyKind(StrEnum):
    """Rule by which each pixel gets a person."""

    GREEDY = "greedy"
    """The likeliest mask of each pixel."""
    CRF = "crf"
    """Mean field of the Instance CRF: all pixels together, along the picture's edges."""


class Unary(StrEnum):
    """Evidence that a pixel belongs to a person."""

    MASKS = "masks"
    """The person's mask."""
    BOXES = "boxes"
    """The person's box and score, as published."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CrfSettings:
    """Unary terms, kernels and mean field of the Instance CRF.

    Lengths are cells of the map of masks (4 pixels of the network's input in the shipped bundle).
    """

    unary: Unary = Unary.MASKS
    joint: bool = False
    """Labels are (person, part), as published, rather than people; parts are decided along with them."""
    evidence: float = 1.0
    """Weight of masks or boxes (w1 of eq. 1)."""
    anywhere: float = 0.0
    """Weight of the global term: a part may be anybody's (w2 of eq. 1)."""
    bilateral: float = 0.8
    """Weight of the kernel that follows the picture (eq. 6)."""
    spatial: float = 0.0
    """Weight of the kernel that does not."""
    theta_alpha: float = 2.0
    """Reach of the bilateral kernel."""
    theta_beta: float = 8.0
    """Difference in colour that it bridges, in levels of 0..255."""
    theta_gamma: float = 2.0
    """Reach of the spatial kernel."""
    radius: int = 3
    """Of the window that kernels are cut to: 3 is 7x7 cells."""
    num_iterations: int = 3
    band: int | None = 2
    """Cells on each side of a border between labels that are decided anew; None: all cells."""
    temporal: float = 0.0
    """Weight of the former frame's decision, carried along the flow; 0 leaves it out."""

    def __post_init__(self) -> None:
        for name in ("evidence", "anywhere", "bilateral", "spatial", "temporal"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} must be a number from 0, got {value}")
        if self.evidence == 0 and self.anywhere == 0:
            raise ValueError("evidence and anywhere must not both be 0")
        for name in ("theta_alpha", "theta_beta", "theta_gamma"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise ValueError(f"{name} must be positive, got {value}")
        if not 1 <= self.radius <= MAX_RADIUS:
            raise ValueError(f"radius must be 1 to {MAX_RADIUS}, got {self.radius}")
        if not 1 <= self.num_iterations <= MAX_ITERATIONS:
            raise ValueError(f"num_iterations must be 1 to {MAX_ITERATIONS}, got {self.num_iterations}")
        if self.band is not None and self.band < 1:
            raise ValueError(f"band must be at least 1, got {self.band}")


@dataclass(frozen=True, kw_only=True, slots=True)
class AssemblyConfig:
    """Kind of assembly that a bundle takes, and its Instance CRF."""

    kind: AssemblyKind = AssemblyKind.GREEDY
    crf: CrfSettings = field(default_factory=CrfSettings)


def assembly_to_json(config: AssemblyConfig) -> dict[str, Any]:
    """The settings as a manifest holds them: the kind, and of the field what differs from the defaults."""
    usual = asdict(CrfSettings())
    crf = {name: value for name, value in asdict(config.crf).items() if value != usual[name]}
    return {"kind": str(config.kind)} | ({"crf": crf} if crf else {})


def assembly_from_json(fields: Fields) -> AssemblyConfig:
    """The settings in a manifest; what is not there has its default.

    Raises:
        Exception: A field is unknown or wrong; the error is the kind that `fields` makes.
    """
    names = fields.names()
    if strange := [name for name in names if name not in ("kind", "crf")]:
        raise fields.error(strange[0], "is not known")
    kind = _choice(fields, "kind", AssemblyKind) if "kind" in names else AssemblyKind.GREEDY
    return AssemblyConfig(kind=kind, crf=_crf(fields.child("crf")) if "crf" in names else CrfSettings())


def _crf(fields: Fields) -> CrfSettings:
    usual = asdict(CrfSettings())
    given: dict[str, Any] = {}
    for name in fields.names():
        if name not in usual:
            raise fields.error(name, "is not known")
        if name == "unary":
            given[name] = _choice(fields, name, Unary)
        elif name == "band":
            given[name] = None if fields.get(name) is None else fields.integer(name)
        elif isinstance(usual[name], bool):
            given[name] = fields.boolean(name)
        elif isinstance(usual[name], int):
            given[name] = fields.integer(name)
        else:
            given[name] = fields.number(name)
    try:
        return CrfSettings(**given)
    except ValueError as error:
        name, _, message = str(error).partition(" ")
        raise fields.error(name, message) from error


def _choice(fields: Fields, name: str, kinds: type[E]) -> E:
    value = fields.string(name)
    if value not in tuple(kinds):
        raise fields.error(name, f"must be one of {', '.join(kinds)}, got {value!r}")
    return kinds(value)
