"""The part of `partstream-train` that trains the papers' networks: data, checkpoints, teams."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import typer

from partstream_models.data.photos.cache import PhotoCache
from partstream_models.data.readers.formats import DataFormat, open_data
from partstream_models.training.aten_sources import num_labelled
from partstream_models.training.paper import (
    DataSet,
    Material,
    PaperOptions,
    PaperRecipe,
    build,
    scheduled,
    train_paper,
)
from partstream_models.training.paper_recipes import PAPER_RECIPES
from partstream_models.training.process_group import joined_team


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperChoices:
    """What was asked for beside a recipe's name."""

    data: Path
    data_format: DataFormat | None
    """None: clips are composed from CCP's photos."""
    split: str
    val_split: str | None
    steps: int | None
    batch: int | None
    seed: int | None


def find_paper_recipe(name: str, choices: PaperChoices) -> PaperRecipe:
    """The recipe of that name with what was asked for.

    Raises:
        ValueError: There is none, or what was asked for is no schedule.
    """
    recipe = PAPER_RECIPES[name]()
    fit = recipe.fit
    if choices.steps is not None:
        fit = replace(fit, num_steps=choices.steps)
    if choices.batch is not None:
        fit = replace(fit, batch=choices.batch)
    if choices.seed is not None:
        fit = replace(fit, seed=choices.seed)
    return recipe.with_fit(fit)


def run_paper(
    name: str,
    choices: PaperChoices,
    options: PaperOptions,
    photos: Callable[[], PhotoCache],
    environment: Mapping[str, str],
) -> None:
    """Train a recipe and say what it left.

    Args:
        name: Of the recipe.
        choices: What was asked for.
        options: Where it runs; device and team are found out here.
        photos: Reads CCP's photos, where clips are composed from them.
        environment: Of the process: what torchrun says of its team.

    Raises:
        ValueError: A folder, a file or a checkpoint is missing or does not fit, or there is no such device.
    """
    recipe = find_paper_recipe(name, choices)
    with joined_team(environment, options.device) as (team, device):
        options = replace(options, device=device, team=team)
        if any((options.resnet, options.flownet, options.dla, options.start_from)):
            build(recipe, replace(options, device="cpu"))  # told before data is read, which takes minutes
        with team.leader_first():
            material = _material(recipe, choices, photos)
        if isinstance(material, DataSet) and choices.steps is None:
            recipe = scheduled(recipe, num_labelled(material.training))
        if team.leads:
            typer.echo(_summary(recipe, material))
        result = train_paper(recipe, material, options)
        if team.leads:
            typer.echo(f"weights: {result.weights}")
            for measure, value in result.scores.items():
                typer.echo(f"{measure}: {value:.3f}")


def check_device(name: str) -> None:
    """Nothing.

    Raises:
        ValueError: There is no such device here.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"no such device: {name!r}") from error
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"--device must be cpu, cuda or cuda:N, got {name!r}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"--device {name}: this machine has {torch.cuda.device_count()} CUDA devices")


def _material(recipe: PaperRecipe, choices: PaperChoices, photos: Callable[[], PhotoCache]) -> Material:
    if choices.data_format is None:
        return photos()
    training = open_data(choices.data, choices.data_format, choices.split, needs=recipe.needs)
    if choices.val_split is None:
        return DataSet(training)
    return DataSet(
        training, open_data(choices.data, choices.data_format, choices.val_split, needs=recipe.needs)
    )


def _summary(recipe: PaperRecipe, material: Material) -> str:
    if isinstance(material, DataSet):
        count = f"{num_labelled(material.training)} labelled frames of {len(material.training)} recordings"
    else:
        count = f"clips composed from {len(material)} photos"
    return f"{recipe.name}: {count}, {recipe.fit.num_steps} steps of {recipe.fit.batch}"
