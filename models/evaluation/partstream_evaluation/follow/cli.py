"""The `follow` subcommand of `partstream-evaluate`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from partstream_evaluation.evaluate.runner import EvaluationError, PartstreamCommand, find_executable
from partstream_evaluation.follow.evaluate import FollowReport, evaluate_follow


def follow_command(
    truth: Annotated[
        Path,
        typer.Option(help="Folder of a clip's pictures, each with a PNG mask of the same stem; or of such."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    partstream: Annotated[str | None, typer.Option(help="The partstream command to measure.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="The bundle it runs; by default its own.")] = None,
) -> None:
    """One person of each clip, followed from the first frame's mask: J, F and G of DAVIS."""
    console = Console(stderr=True)
    try:
        command = PartstreamCommand(find_executable(partstream), bundle)
        with console.status(f"following people in {truth} with {command.executable}"):
            report = evaluate_follow(truth, command)
    except (EvaluationError, ValueError, OSError) as error:
        console.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(code=1) from error
    if as_json:
        sys.stdout.write(json.dumps(report.to_json(), indent=2) + "\n")
    else:
        Console().print(_table(report))


def _table(report: FollowReport) -> Table:
    table = Table(title="people followed from the first frame's mask", caption=f"G {report.g:.3f}")
    table.add_column("clip")
    for column in ("J mean", "J recall", "J decay", "F mean", "F recall", "F decay", "G", "seen"):
        table.add_column(column, justify="right")
    for name, scores in report.clips.items():
        values = [value for each in (scores.j, scores.f) for value in (each.mean, each.recall, each.decay)]
        shown = [f"{value:.3f}" for value in (*values, scores.g)]
        table.add_row(name, *shown, f"{scores.num_seen} of {scores.num_frames}")
    return table
