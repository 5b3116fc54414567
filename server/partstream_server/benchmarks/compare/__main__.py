"""`python -m partstream_server.benchmarks.compare`: key-frame schedules side by side, in one run."""

from __future__ import annotations

import json
import math
import platform
import tempfile
from pathlib import Path
from typing import Annotated, Any

import cv2
import typer
from rich.console import Console

from partstream_core.errors import PartstreamError
from partstream_server.benchmarks.compare.clips import compare_real, without_codec
from partstream_server.benchmarks.compare.composites import compare_made
from partstream_server.benchmarks.compare.report import plot, table
from partstream_server.benchmarks.compare.variants import variants
from partstream_server.engine import create_engine

_MADE_PANELS = (("ms", "miou"), ("ms", "ap_r_vol"), ("ms", "smotsa"), ("ms", "flicker"))
_REAL_PANELS = (("ms", "flicker"),)


def main(  # noqa: PLR0913, PLR0917 - a command's options
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for tables, plots and JSON.")],
    data: Annotated[
        Path | None, typer.Option(help="The CCP folder: compare on the composite benchmark.")
    ] = None,
    videos: Annotated[list[Path] | None, typer.Argument(help="Clips to compare on, too.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="By default the one that ships.")] = None,
    clips: Annotated[Path | None, typer.Option(help="Keep the made clips here for the next time.")] = None,
    level: Annotated[list[str] | None, typer.Option(help="Only made clips of this level.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only variants whose name holds this.")] = None,
    frames: Annotated[int, typer.Option(min=2, help="Frames of each clip that is not made.")] = 150,
    threads: Annotated[int, typer.Option(min=0, help="Threads of a graph; 0 for all.")] = 1,
    precision: Annotated[str, typer.Option(help="Arithmetic of the graphs.")] = "auto",
) -> None:
    """Compare ways to use key frames: quality, steadiness, time and calls of the backbone."""
    console = Console(stderr=True)
    chosen = [
        each for each in variants(25.0) if not only or any(word in each.name for word in only)
    ]  # fmt: skip
    if not chosen:
        console.print("error: no variant is selected", style="red")
        raise typer.Exit(2)
    if data is None and not videos:
        console.print("error: there is nothing to compare on: name --data, or clips", style="red")
        raise typer.Exit(2)
    cv2.setNumThreads(1)
    document: dict[str, Any] = {"machine": platform.processor() or platform.machine(), "threads": threads}
    output.mkdir(parents=True, exist_ok=True)
    try:
        engine = create_engine(bundle, precision=precision, num_threads=threads)
        document |= {"provider": engine.provider, "precision": engine.precision}
        with console.status("comparing") as status, tempfile.TemporaryDirectory() as folder:
            if data is not None:
                document["made"] = compare_made(
                    data,
                    engine,
                    without_codec(chosen),
                    clips_dir=clips or Path(folder),
                    levels=level or (),
                    progress=status.update,
                )
                _write(output, "made", document["made"], _MADE_PANELS)
            if videos:
                document["real"] = compare_real(
                    videos, engine, chosen, max_frames=frames, progress=status.update
                )
                _write(output, "real", document["real"], _REAL_PANELS)
    except (PartstreamError, ValueError, OSError) as error:
        console.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(2) from error
    (output / "compare.json").write_text(json.dumps(_without_nan(document), indent=1) + "\n")


def _write(
    output: Path,
    name: str,
    found: dict[str, dict[str, dict[str, float]]],
    panels: tuple[tuple[str, str], ...],
) -> None:
    text = "\n\n".join(f"### {group}\n\n{table(rows)}" for group, rows in found.items())
    (output / f"{name}.md").write_text(text + "\n")
    (output / f"{name}.svg").write_text(plot(found["all"], panels, title=f"schedules, {name} clips"))
    typer.echo(text)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


if __name__ == "__main__":
    typer.run(main)
