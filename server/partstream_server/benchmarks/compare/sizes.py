"""Pictures of many sizes in turn, and of one: `python -m partstream_server.benchmarks.compare.sizes`.

Times are those of a whole frame (network, assembly, tracking, encoding) of a drawn scene on one thread.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from partstream_server.benchmarks.drawn_clip import scene
from partstream_server.engine import Engine, create_engine
from partstream_server.engine.base import CompilesShapes
from partstream_server.engine.memory import resident_bytes
from partstream_server.media import Frame
from partstream_server.media.frame import Image
from partstream_server.pipeline.session import Session, SessionConfig, drive

_ROUNDS = 3
"""The first round compiles shapes; the last one is reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SizesReport:
    """Cost of pictures of many sizes."""

    num_sizes: int
    one_size_ms: float
    in_turn_ms: float
    num_compilations: int
    resident_before_mb: float
    resident_after_mb: float

    @property
    def ratio(self) -> float:
        """Time of a picture in turn against one of one size."""
        return self.in_turn_ms / self.one_size_ms


def measure(engine: Engine, *, num_sizes: int, seed: int = 0) -> SizesReport:
    """Parse pictures of random sizes, round after round.

    Args:
        engine: Runs the bundle.
        num_sizes: How many sizes; the first is 640x480, the others have sides of 200 to 1600 pixels.
        seed: Of the sizes.
    """
    sides = np.random.default_rng(seed).integers(200, 1600, (num_sizes, 2))
    sides[0] = 640, 480
    pictures = [scene(int(width), int(height), 0) for width, height in sides]
    before = resident_bytes()
    same = [_milliseconds(engine, pictures[0]) for _ in range(num_sizes + 1)][1:]
    rounds = [[_milliseconds(engine, picture) for picture in pictures] for _ in range(_ROUNDS)]
    shapes = engine.compiled_shapes().num_compilations if isinstance(engine, CompilesShapes) else 0
    return SizesReport(
        num_sizes=num_sizes,
        one_size_ms=float(np.mean(same)),
        in_turn_ms=float(np.mean(rounds[-1])),
        num_compilations=shapes,
        resident_before_mb=before / 2**20,
        resident_after_mb=resident_bytes() / 2**20,
    )


def _milliseconds(engine: Engine, image: Image) -> float:
    session = Session(engine.bundle.manifest, SessionConfig())
    start_s = time.perf_counter()
    drive(session.push(Frame(0, 0.0, image), 0.0), engine)
    return (time.perf_counter() - start_s) * 1000


def main(
    sizes: Annotated[int, typer.Option(min=1, help="How many sizes.")] = 40,
    compiled_mb: Annotated[int | None, typer.Option(min=0, help="Memory of compiled shapes.")] = None,
    bundle: Annotated[Path | None, typer.Option(file_okay=False, exists=True)] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Time pictures of many sizes in turn against pictures of one size, and their memory."""
    engine = create_engine(bundle, num_threads=1, compiled_mb=compiled_mb)
    report = measure(engine, num_sizes=sizes)
    if as_json:
        typer.echo(json.dumps(asdict(report) | {"ratio": report.ratio}))
        return
    typer.echo(
        f"{report.num_sizes} sizes in turn: {report.in_turn_ms:.1f} ms a picture, "
        f"{report.ratio:.2f} times one size ({report.one_size_ms:.1f} ms); "
        f"{report.num_compilations} compilations; resident {report.resident_before_mb:.0f} MB before, "
        f"{report.resident_after_mb:.0f} MB after"
    )


if __name__ == "__main__":
    typer.run(main)
