"""`python -m partstream_models.train_aten`: run a recipe of ATEN on clips drawn from the CCP photos."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer

from partstream_models.commands import (
    DEFAULT_CACHE,
    CacheOption,
    DataOption,
    OptionalWeightsOption,
    hint_source,
    new_app,
    run,
)
from partstream_models.data.ccp_cache import PhotoCache, training_ids
from partstream_models.training.aten_recipes import ATEN_RECIPES, AtenOptions, AtenRecipe, build, train_aten

_app = new_app()
_Checkpoint = Annotated[Path | None, typer.Option(dir_okay=False, help="A public checkpoint to start from.")]


@_app.command()
def train(  # noqa: PLR0913 - the options of a command
    recipe: Annotated[str, typer.Argument(help="Name of a recipe.")],
    *,
    data: DataOption,
    weights: OptionalWeightsOption = None,
    out: Annotated[Path | None, typer.Option(file_okay=False, help="Folder of the run.")] = None,
    steps: Annotated[int | None, typer.Option(help="Another number of steps than the recipe's.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Ends the run early.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the process.")] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    resnet: _Checkpoint = None,
    flownet: _Checkpoint = None,
    cache: CacheOption = DEFAULT_CACHE,
) -> None:
    """Train a recipe; a run that was cut short goes on when the same command is given again."""
    plan = find_recipe(recipe)
    if steps is not None:
        plan = replace(plan, fit=replace(plan.fit, num_steps=steps))
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"--device {device}: this machine has no CUDA device that torch can use")
    options = AtenOptions(
        output_dir=out or Path("runs") / plan.name,
        minutes=minutes,
        num_threads=threads,
        device=device,
        resnet=resnet,
        flownet=flownet,
    )
    if resnet is not None or flownet is not None:
        build(plan, replace(options, device="cpu"))  # a wrong checkpoint is told before the photos are read
    photos = PhotoCache(data, cache, training_ids(data), hint_source(weights))
    result = train_aten(plan, photos, options)
    typer.echo(f"weights: {result.weights}")
    if result.mean_iou is not None:
        typer.echo(f"mean IoU of the clip: {result.mean_iou:.3f}")


def find_recipe(name: str) -> AtenRecipe:
    """The recipe of that name.

    Raises:
        ValueError: There is none; the message lists those there are.
    """
    if name not in ATEN_RECIPES:
        raise ValueError(f"no recipe named {name!r}; there are {', '.join(ATEN_RECIPES)}")
    return ATEN_RECIPES[name]()


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command."""
    run(_app, arguments)


if __name__ == "__main__":
    main()
