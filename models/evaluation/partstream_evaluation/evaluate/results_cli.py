"""The `results` and `convert` subcommands of `partstream-evaluate`."""

import json
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from partstream_evaluation.evaluate.results import Figures, measure, measure_davis
from partstream_evaluation.evaluate.runner import EvaluationError
from partstream_evaluation.readers.formats import Format, guess, read, write


def results_command(
    truth: Annotated[Path, typer.Option(help="What is true: a file or folder in a known format.")],
    predictions: Annotated[Path, typer.Option(help="What was found.")],
    truth_format: Annotated[Format | None, typer.Option(help="By default told by the files.")] = None,
    predictions_format: Annotated[Format | None, typer.Option(help="By default told by the files.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Results in files against truth: AP, IoU, AP^p, PCP, and identities where the truth has them."""
    try:
        truth_kind = truth_format or guess(truth)
        kind = predictions_format or guess(predictions)
        is_list = kind is Format.COCO and predictions.read_text(encoding="utf-8").lstrip()[:1] == "["
        if is_list and truth_kind is not Format.COCO:
            raise EvaluationError(f"{predictions} is a list of COCO results: its truth must be COCO, too")
        true = read(truth, truth_kind)
        found = read(predictions, kind, dataset=truth if is_list else None)
        figures = measure(true, found)
        if kind is truth_kind is Format.DAVIS:
            figures |= measure_davis(true, found)
    except (EvaluationError, ValueError, OSError) as error:
        _fail(error)
    if as_json:
        sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    else:
        Console().print(_table(figures))


def convert_command(
    source: Annotated[Path, typer.Argument(help="A file or folder in a known format.")],
    target: Annotated[Path, typer.Argument(help="Where to write: a file for coco, else a folder.")],
    to: Annotated[Format, typer.Option(help="The format to write.")],
    source_format: Annotated[Format | None, typer.Option(help="By default told by the files.")] = None,
) -> None:
    """Write truth or results in another format."""
    try:
        write(read(source, source_format), target, to)
    except (ValueError, OSError) as error:
        _fail(error)


def _fail(error: Exception) -> NoReturn:
    Console(stderr=True).print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(code=1) from error


def _table(figures: Figures) -> Table:
    table = Table()
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in figures.items():
        text = "-" if value is None else str(value) if isinstance(value, int) else f"{value:.4f}"
        table.add_row(name, text)
    return table
