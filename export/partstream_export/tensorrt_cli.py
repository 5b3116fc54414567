"""`partstream-export tensorrt`: engines for one bundle, on the machine that will use them.

`python -m partstream_export.tensorrt_cli` is the same command where there is no torch, as in the container.
"""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from partstream_core.errors import BundleError, EngineError
from partstream_core.manifest import load_manifest
from partstream_core.tensorrt import ENGINES_FOLDER
from partstream_export.tensorrt import PRECISIONS, Ranges, parse_sizes, usual_sizes

EXIT_REFUSED = 1
EXIT_BAD_INPUT = 2


def tensorrt_command(
    bundle: Annotated[Path, typer.Option(help="Directory of the bundle.")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of engines; each set gets a folder of its own in it.  [default: BUNDLE/tensorrt]"
        ),
    ] = None,
    precision: Annotated[
        str, typer.Option(help="fp16, fp32, or int8 (of graphs that are quantised).")
    ] = "fp16",
    sizes: Annotated[
        str | None,
        typer.Option(
            metavar="WxH,...",
            help="Sizes of the network's input, the usual one first.  [default: 16:9, 9:16 and square]",
        ),
    ] = None,
    max_batch: Annotated[int, typer.Option(min=1, help="Most frames that share a run.")] = 1,
    most: Annotated[
        list[str] | None,
        typer.Option(metavar="SIDE=N", help="Largest value of another side of tensors; may be repeated."),
    ] = None,
    device: Annotated[int, typer.Option(min=0, help="Number of the CUDA device.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace engines that are there already.")] = False,
) -> None:
    """TensorRT engines of a bundle's graphs, for `partstream serve --provider tensorrt`."""
    if precision not in PRECISIONS:
        raise ValueError(f"--precision takes {', '.join(PRECISIONS)}; got {precision!r}")
    spec = load_manifest(bundle).input
    ranges = Ranges(
        sizes=parse_sizes(sizes, spec) if sizes else usual_sizes(spec),
        max_batch=max_batch,
        most=_sides(most or []),
    )
    # Imported here, for a runtime takes seconds that --help and most mistakes need not wait.
    from partstream_export.tensorrt_build import BuildConfig, build_engines  # noqa: PLC0415

    config = BuildConfig(
        bundle=bundle,
        out=out or bundle / ENGINES_FOLDER,
        precision=PRECISIONS[precision],
        ranges=ranges,
        device=device,
        force=force,
    )
    began = time.monotonic()
    with Console(stderr=True).status("looking for TensorRT") as status:

        def tell(graph: str, number: int, total: int) -> None:
            status.update(f"building {graph}, {number} of {total} (minutes each)")

        try:
            folder = build_engines(config, tell)
        except EngineError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(EXIT_REFUSED) from None
    typer.echo(f"wrote {folder} in {time.monotonic() - began:.0f} s")


def _sides(settings: list[str]) -> dict[str, int]:
    found = {}
    for setting in settings:
        name, _, text = setting.partition("=")
        if not name or not text.isdecimal() or int(text) < 1:
            raise ValueError(f"--most takes SIDE=N with N at least 1; got {setting!r}")
        found[name] = int(text)
    return found


def main() -> None:
    """Carry the command out; a mistake is told in one line."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(tensorrt_command)
    try:
        app()
    except (BundleError, ValueError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(EXIT_BAD_INPUT)


if __name__ == "__main__":
    main()
