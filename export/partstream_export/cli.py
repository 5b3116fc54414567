"""The command line of `partstream-export`.

Exit status: 0 where a bundle was written, 1 where the graphs do not compute what the network computes, 2 for
a mistake of the caller's. A mistake is told in one line.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from partstream_core.errors import BundleError
from partstream_export.bundle_writer import check_target
from partstream_export.compare.cli import compare_command
from partstream_export.compare.joints import teacher_joints_command
from partstream_export.console import read_object, show, tell_files, thresholds
from partstream_export.int8_cli import int8_command
from partstream_export.papers_cli import aten, hvisnet
from partstream_export.parity import ParityError
from partstream_export.tensorrt_cli import tensorrt_command
from partstream_export.triton_cli import triton_command

EXIT_REFUSED = 1
EXIT_BAD_INPUT = 2

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command()(aten)
app.command()(hvisnet)
app.command("tensorrt")(tensorrt_command)
app.command("triton")(triton_command)
app.command("int8")(int8_command)
app.command("compare")(compare_command)
app.command("teacher-joints")(teacher_joints_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Carry a command out; the process's own arguments where None are given."""
    try:
        app(args=None if arguments is None else list(arguments))
    except ParityError as error:
        show(error.differences)
        _fail(error, EXIT_REFUSED)
    except (BundleError, ValueError, OSError) as error:
        _fail(error, EXIT_BAD_INPUT)


@app.callback()
def about() -> None:
    """Make bundles for the partstream server from trained networks."""


@app.command()
def live(
    checkpoint: Annotated[Path, typer.Option(help="Weights of the live network, safetensors.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle; appears whole or not at all.")],
    version: Annotated[str, typer.Option(help="Version of the weights.")] = "0.1.0",
    evaluation: Annotated[Path | None, typer.Option(help="JSON object of figures of these weights.")] = None,
    model_card: Annotated[Path | None, typer.Option(help="Text that goes with the weights.")] = None,
    training_data: Annotated[
        list[str] | None,
        typer.Option(help="What the weights learned from; may be repeated.  [default: the recipes' data]"),
    ] = None,
    threshold: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Default of score, nms, mask or candidate; may be repeated."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle that is there already.")] = False,
) -> None:
    """The live network as three graphs, each checked against torch."""
    check_target(out, force=force)
    figures = read_object(evaluation) if evaluation else {}
    card = model_card.read_text(encoding="utf-8") if model_card else None
    progress = Console(stderr=True)
    with progress.status("loading the network"):
        # Imported here, for torch takes seconds that --help and most mistakes need not wait.
        from partstream_export.live import LiveBundle, trace_live, write_live  # noqa: PLC0415
        from partstream_models.networks.live_v03 import load_live  # noqa: PLC0415

        bundle = LiveBundle(version=version, evaluation=figures, model_card=card)
        bundle = replace(
            bundle,
            thresholds=thresholds(bundle.thresholds, threshold or []),
            training_data=tuple(training_data) if training_data else None,
        )
        network = load_live(checkpoint)
    with progress.status("tracing"):
        traced = trace_live(network, top_k=bundle.top_k)
    with progress.status("comparing with torch"):
        differences = write_live(out, network, traced, bundle, force=force)
    show(differences)
    tell_files(out)


def _fail(error: Exception, status: int) -> None:
    typer.echo(f"error: {error}", err=True)
    sys.exit(status)
