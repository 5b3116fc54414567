"""`partstream-train`: run a recipe on the CCP photos, or go on where its output folder stands."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer

from partstream_models.checkpoints import start_network
from partstream_models.commands import (
    DEFAULT_CACHE,
    CacheOption,
    DataOption,
    WeightsOption,
    hint_source,
    new_app,
    run,
)
from partstream_models.data.batches import cache_statistics
from partstream_models.data.ccp_cache import PhotoCache, training_ids
from partstream_models.networks.live import LiveNetwork
from partstream_models.training.loop import RunOptions
from partstream_models.training.loop import train as train_recipe
from partstream_models.training.recipes import RECIPES, Recipe

PRETRAINED = "deeplabv3_mnv2_pascal_quant.dequant.pt"
"""What the trunk starts from: a MobileNetV2 that has learned to segment people."""

_app = new_app()


def _list_recipes(wanted: bool) -> None:
    if not wanted:
        return
    for name, make in RECIPES.items():
        typer.echo(f"{name:36} {make().num_steps:6} steps  {(make.__doc__ or '').strip()}")
    raise typer.Exit


@_app.command()
def train(  # noqa: PLR0913 - the options of a command
    recipe: Annotated[str, typer.Argument(help="Name of a recipe; --list shows them.")],
    *,
    data: DataOption,
    weights: WeightsOption,
    out: Annotated[
        Path | None, typer.Option(file_okay=False, help="Folder of the run; runs/RECIPE where left out.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Ends the run early; the learning rate falls accordingly.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Another seed than the recipe's.")] = None,
    start_from: Annotated[
        Path | None,
        typer.Option("--from", exists=True, dir_okay=False, help="Checkpoint to start from, weights only."),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the training process.")] = 2,
    workers: Annotated[int, typer.Option(min=0, help="Processes that draw batches.")] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    tensorboard: Annotated[bool, typer.Option(help="Write TensorBoard events too.")] = False,
    cache: CacheOption = DEFAULT_CACHE,
    list_recipes: Annotated[  # noqa: ARG001 - its callback does the work
        bool, typer.Option("--list", is_eager=True, callback=_list_recipes, help="Show the recipes.")
    ] = False,
) -> None:
    """Train a recipe; a run that was cut short goes on when the same command is given again."""
    plan = find_recipe(recipe)
    if seed is not None:
        plan = replace(plan, seed=seed)
    if minutes is not None and minutes <= 0:
        raise ValueError(f"--minutes must be positive, got {minutes}")
    _check_device(device)
    if start_from is not None:
        fresh = start_network(LiveNetwork(), start_from)  # before the photos are read, which takes minutes
        if fresh:
            typer.echo(f"{start_from} lacks {len(fresh)} tensors, such as {fresh[0]}: these start fresh")
    options = RunOptions(
        output_dir=out or Path("runs") / plan.name,
        minutes=minutes,
        start_from=start_from,
        pretrained=weights / PRETRAINED,
        num_threads=threads,
        num_workers=workers,
        device=device,
        tensorboard=tensorboard,
    )
    photos = PhotoCache(data, cache, training_ids(data), hint_source(weights))
    typer.echo(f"{len(photos)} photos, {photos.num_skipped} skipped")
    typer.echo(f"averaged weights: {train_recipe(plan, photos, cache_statistics(photos, cache), options)}")


def find_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        ValueError: There is none; the message lists those there are.
    """
    if name not in RECIPES:
        raise ValueError(f"no recipe named {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]()


def _check_device(name: str) -> None:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"no such device: {name!r}") from error
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"--device must be cpu, cuda or cuda:N, got {name!r}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"--device {name}: this machine has {torch.cuda.device_count()} CUDA devices")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command."""
    run(_app, arguments)
