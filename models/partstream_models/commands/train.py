"""`partstream-train`: run a recipe, or go on where its output folder stands.

The live network's recipes learn from the CCP photos; those of the papers' networks from clips that are
composed from these photos, or from a published data set (`--format`), in one process or several (`torchrun`).
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from partstream_models.commands.common import (
    DEFAULT_CACHE,
    CacheOption,
    OptionalWeightsOption,
    hint_source,
    new_app,
    run,
)
from partstream_models.commands.train_paper import PaperChoices, check_device, run_paper
from partstream_models.data.batches import cache_statistics
from partstream_models.data.clips.unlabelled import read_unlabelled
from partstream_models.data.photos.cache import PhotoCache, training_ids
from partstream_models.data.readers.formats import DataFormat
from partstream_models.data.scenes.sources import SceneFolders
from partstream_models.networks.checkpoints import start_network
from partstream_models.networks.live import LiveNetwork
from partstream_models.training.live_loop import RunOptions
from partstream_models.training.live_loop import train as train_recipe
from partstream_models.training.live_recipes import RECIPES, Recipe, Subject
from partstream_models.training.paper import PaperOptions
from partstream_models.training.paper_recipes import PAPER_RECIPES

PRETRAINED = "movenet_multipose.npz"
"""What the live network starts from: MoveNet MultiPose."""

_app = new_app()


def _list_recipes(wanted: bool) -> None:
    if not wanted:
        return
    for name, make in RECIPES.items():
        typer.echo(f"{name:36} {make().num_steps:6} steps  {(make.__doc__ or '').strip()}")
    for name, make_paper in PAPER_RECIPES.items():
        steps = make_paper().fit.num_steps
        typer.echo(f"{name:36} {steps:6} steps  {(make_paper.__doc__ or '').strip()}")
    raise typer.Exit


_Checkpoint = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="A public checkpoint to start from.")
]


@_app.command()
def train(  # noqa: PLR0913 - the options of a command
    recipe: Annotated[str, typer.Argument(help="Name of a recipe; --list shows them.")],
    *,
    data: Annotated[
        Path,
        typer.Option(
            file_okay=False,
            exists=True,
            help="The CCP folder (photos/, labels/, val.txt), or that of --format.",
        ),
    ],
    data_format: Annotated[
        DataFormat | None,
        typer.Option("--format", help="A published data set; without it, clips are composed."),
    ] = None,
    split: Annotated[str, typer.Option(help="What of the data set is learned from.")] = "train",
    val_split: Annotated[str | None, typer.Option(help="What of the data set is evaluated on.")] = None,
    weights: OptionalWeightsOption = None,
    out: Annotated[
        Path | None, typer.Option(file_okay=False, help="Folder of the run; runs/RECIPE where left out.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Ends the run early.")] = None,
    steps: Annotated[int | None, typer.Option(help="Another number of steps; papers' networks.")] = None,
    batch: Annotated[
        int | None, typer.Option(help="Another number of draws a step; papers' networks.")
    ] = None,
    evaluate_every: Annotated[
        int | None, typer.Option(min=1, help="Steps between evaluations; papers' networks.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Another seed than the recipe's.")] = None,
    start_from: Annotated[
        Path | None,
        typer.Option("--from", exists=True, dir_okay=False, help="Checkpoint to start from, weights only."),
    ] = None,
    flow: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Checkpoint whose flow network is taken over."),
    ] = None,
    videos: Annotated[
        Path | None,
        typer.Option(file_okay=False, exists=True, help="Real clips, unlabelled; live-flow."),
    ] = None,
    backdrops: Annotated[
        Path | None,
        typer.Option(
            file_okay=False,
            exists=True,
            help="Folder of photos/, views/ and things/ without people; recipes that draw scenes.",
        ),
    ] = None,
    empty_clips: Annotated[
        Path | None,
        typer.Option(file_okay=False, exists=True, help="Clips without people; recipes that draw scenes."),
    ] = None,
    labelled: Annotated[
        Path | None,
        typer.Option(
            file_okay=False,
            exists=True,
            help="Pictures labelled by partstream-teach; recipes that draw scenes.",
        ),
    ] = None,
    rendered: Annotated[
        Path | None,
        typer.Option(
            file_okay=False,
            exists=True,
            help="People rendered by partstream-people3d; recipes that draw scenes.",
        ),
    ] = None,
    resnet: _Checkpoint = None,
    flownet: _Checkpoint = None,
    dla: _Checkpoint = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the training process.")] = 2,
    workers: Annotated[int, typer.Option(min=0, help="Processes (live) or threads that draw batches.")] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    tensorboard: Annotated[bool, typer.Option(help="Write TensorBoard events too.")] = False,
    cache: CacheOption = DEFAULT_CACHE,
    list_recipes: Annotated[  # noqa: ARG001 - its callback does the work
        bool, typer.Option("--list", is_eager=True, callback=_list_recipes, help="Show the recipes.")
    ] = False,
) -> None:
    """Train a recipe; a run that was cut short goes on when the same command is given again."""
    if minutes is not None and minutes <= 0:
        raise ValueError(f"--minutes must be positive, got {minutes}")
    check_device(device)

    def photos() -> PhotoCache:
        return PhotoCache(data, cache, training_ids(data), hint_source(weights))

    if recipe in PAPER_RECIPES:
        _refuse({"--tensorboard": tensorboard or None, "--videos": videos}, "is for the live network")
        options = PaperOptions(
            output_dir=out or Path("runs") / recipe,
            minutes=minutes,
            num_threads=threads,
            num_workers=workers,
            device=device,
            evaluate_every=evaluate_every,
            resnet=resnet,
            flownet=flownet,
            dla=dla,
            start_from=start_from,
        )
        choices = PaperChoices(
            data=data,
            data_format=data_format,
            split=split,
            val_split=val_split,
            steps=steps,
            batch=batch,
            seed=seed,
        )
        run_paper(recipe, choices, options, photos, os.environ)
        return
    asked: dict[str, object] = {"--format": data_format, "--steps": steps, "--batch": batch}
    asked |= {"--evaluate-every": evaluate_every, "--resnet": resnet, "--flownet": flownet, "--dla": dla}
    plan = _live_recipe(recipe, asked, videos=videos, weights=weights, seed=seed)
    assert weights is not None, "_live_recipe refuses a run without"
    live_options = RunOptions(
        output_dir=out or Path("runs") / plan.name,
        minutes=minutes,
        start_from=start_from,
        pretrained=weights / PRETRAINED,
        flow=flow,
        num_threads=threads,
        num_workers=workers,
        device=device,
        tensorboard=tensorboard,
        unlabelled=() if videos is None else read_unlabelled(videos),
    )
    _train_live(plan, live_options, photos, SceneFolders(cache, backdrops, empty_clips, labelled, rendered))


def _live_recipe(
    name: str,
    asked: Mapping[str, object],
    *,
    videos: Path | None,
    weights: Path | None,
    seed: int | None,
) -> Recipe:
    """A recipe of the live network, with the seed that was asked for.

    Args:
        name: Of the recipe.
        asked: Options that only the papers' networks have.
        videos: Real clips; only flow learns from them.
        weights: Folder of the pretrained network.
        seed: In place of the recipe's.

    Raises:
        ValueError: There is no such recipe, or an option does not go with it.
    """
    plan = find_recipe(name)
    _refuse(asked, f"is for the papers' networks, and {name} is none")
    if plan.subject is not Subject.FLOW:
        _refuse({"--videos": videos}, f"is for live-flow, and {name} learns from labels alone")
    if weights is None:
        raise ValueError(f"{name} needs --weights, the folder of {PRETRAINED}")
    return plan if seed is None else replace(plan, seed=seed)


def _refuse(options: Mapping[str, object], why: str) -> None:
    """Say of the first option that was given why it cannot be.

    Raises:
        ValueError: One was given.
    """
    for option, value in options.items():
        if value is not None:
            raise ValueError(f"{option} {why}")


def _train_live(
    plan: Recipe, options: RunOptions, photos: Callable[[], PhotoCache], folders: SceneFolders
) -> None:
    if options.start_from is not None:
        fresh = start_network(
            LiveNetwork(), options.start_from
        )  # before the photos are read, which takes minutes
        if fresh:
            typer.echo(
                f"{options.start_from} lacks {len(fresh)} tensors, such as {fresh[0]}: these start fresh"
            )
    read = photos()
    typer.echo(f"{len(read)} photos, {read.num_skipped} skipped")
    options = replace(options, sources=folders.read(read))
    statistics = cache_statistics(read, folders.cache)
    typer.echo(f"averaged weights: {train_recipe(plan, read, statistics, options)}")


def find_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        ValueError: There is none; the message lists those there are.
    """
    if name not in RECIPES:
        raise ValueError(f"no recipe named {name!r}; there are {', '.join((*RECIPES, *PAPER_RECIPES))}")
    return RECIPES[name]()


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command."""
    run(_app, arguments)


if __name__ == "__main__":
    main()
