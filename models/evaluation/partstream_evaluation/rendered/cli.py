"""The `rendered` subcommand of `partstream-evaluate`."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from partstream_core.assembly_config import AssemblyKind
from partstream_evaluation.evaluate.runner import (
    EvaluationError,
    PartstreamCommand,
    find_executable,
    parse_options,
)
from partstream_evaluation.rendered.evaluate import RenderedReport, evaluate
from partstream_evaluation.report.collect import Collector
from partstream_evaluation.report.page import write_page


def rendered_command(
    benchmark: Annotated[Path, typer.Option(help="Folder that `partstream-rendered-benchmark` made.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    partstream: Annotated[str | None, typer.Option(help="The partstream command to measure.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="The bundle it runs; by default its own.")] = None,
    assembly: Annotated[
        AssemblyKind | None, typer.Option(help="Which rule gives pixels to people: greedy or crf.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many pictures.")] = None,
    report_file: Annotated[
        Path | None, typer.Option("--report", dir_okay=False, help="Write an HTML page to look at.")
    ] = None,
) -> None:
    """Rendered people in extreme poses: masks, parts, people and joints; by pose, age, build, skin tone."""
    console = Console(stderr=True)
    try:
        command = PartstreamCommand(find_executable(partstream), bundle, parse_options(assembly=assembly))
        collector = Collector() if report_file is not None else None
        with console.status(f"parsing the pictures of {benchmark} with {command.executable}"):
            report = evaluate(benchmark, command, limit=limit, collector=collector)
        if report_file is not None and collector is not None:
            write_page(
                report_file,
                title="rendered people",
                figures={**_figures(report), "recipe": report.recipe_sha256},
                collected=collector,
                commands=[shlex.join(sys.argv), *report.commands],
            )
    except (EvaluationError, ValueError, OSError) as error:
        console.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(code=1) from error
    if as_json:
        sys.stdout.write(json.dumps(report.to_json(), indent=2) + "\n")
        return
    out = Console()
    out.print(_table(report))
    out.print(_groups(report))


def _figures(report: RenderedReport) -> dict[str, float]:
    scores = report.scores
    return {
        "person_iou": scores.person_iou,
        "miou": scores.miou,
        "ap_r_50": scores.instances.ap_r_50,
        "ap_r_vol": scores.instances.ap_r_vol,
        "joints": scores.joints.pck,
        "joints of people found": scores.joints.pck_found,
        "joints on the other side": scores.joints.swapped,
    }


def _table(report: RenderedReport) -> Table:
    title = f"rendered people, {report.num_people} in {report.num_pictures} pictures"
    table = Table(title=title, caption=f"recipe {report.recipe_sha256}")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in _figures(report).items():
        table.add_row(name, f"{value:.3f}")
    return table


def _groups(report: RenderedReport) -> Table:
    table = Table(title="by pose and by what the people are like")
    table.add_column("group")
    for name in ("people", "found", "mask IoU", "part accuracy", "joints"):
        table.add_column(name, justify="right")
    for trait, groups in report.scores.groups.items():
        table.add_section()
        for name, each in groups.items():
            values = (each.found, each.mask_iou, each.part_accuracy, each.joints)
            table.add_row(f"{trait}: {name}", str(each.num_people), *(f"{value:.3f}" for value in values))
    return table
