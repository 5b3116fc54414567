"""`python -m partstream_models.commands.holistic_ablation`: what the Holistic network's pieces are worth.

The rows of its tables 1 and 3 with the reduced network on composed pictures: box term alone, with the global
term, end to end, each with and without the hardest pixels; and one row of ours, the part module trained on
by itself for as long as end to end takes. Of one seed, the pieces share their part module; every seed is
judged on the same pictures, which no run learned from.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from partstream_models.commands.common import (
    DEFAULT_CACHE,
    CacheOption,
    DataOption,
    OptionalWeightsOption,
    hint_source,
    new_app,
    run,
)
from partstream_models.data.photos.cache import PhotoCache, training_ids
from partstream_models.training.fit import FitConfig
from partstream_models.training.holistic_recipes import (
    HolisticRecipe,
    holistic_parts_reduced,
    holistic_piecewise_reduced,
    holistic_reduced,
)
from partstream_models.training.paper import PaperOptions, PaperResult, train_paper

Train: TypeAlias = Callable[[HolisticRecipe, PhotoCache, PaperOptions], PaperResult]
"""Runs one recipe."""
_app = new_app()


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """Steps of each stage."""

    parts: int
    piecewise: int
    whole: int


def train_seed(
    photos: PhotoCache, folder: Path, budget: Budget, seed: int, *, train: Train = train_paper
) -> dict[str, dict[str, float]]:
    """Scores of each row, of the networks of one seed; runs go on where their folder stands."""
    scores: dict[str, dict[str, float]] = {}
    for mining in (False, True):
        suffix = ", OHEM" if mining else ""

        def one(
            row: str, recipe: HolisticRecipe, start: Path | None = None, *, mining: bool = mining
        ) -> Path:
            """The weights that one run leaves; its scores are kept."""
            chosen = recipe if mining else replace(recipe, hardest=None)
            output = folder / f"{row.replace(', ', '-').replace(' ', '-')}-{seed}"
            options = PaperOptions(output_dir=output, start_from=start)
            result = train(chosen, photos, options)
            scores[row] = result.scores
            return result.weights

        parts = _with(holistic_parts_reduced(), seed, budget.parts)
        piecewise = _with(holistic_piecewise_reduced(), seed, budget.piecewise)
        whole = _with(holistic_reduced(), seed, budget.whole)
        crf = piecewise.network.crf
        box_only = replace(piecewise, network=replace(piecewise.network, crf=replace(crf, global_term=False)))
        start = one(f"part module{suffix}", parts)
        one(f"piecewise, box term only{suffix}", box_only, start)
        fitted = one(f"piecewise{suffix}", piecewise, start)
        one(f"end to end{suffix}", whole, fitted)
        longer = replace(parts, fit=replace(whole.fit, batch=1))
        trained_on = one(f"part module, trained on{suffix}", longer, start)
        one(f"piecewise, part module trained on{suffix}", piecewise, trained_on)
    return scores


def _with(recipe: HolisticRecipe, seed: int, num_steps: int) -> HolisticRecipe:
    fit: FitConfig = replace(recipe.fit, seed=seed, num_steps=num_steps)
    return recipe.with_fit(fit)


@_app.command()
def main(
    data: DataOption,
    out: Annotated[Path, typer.Option(help="Folder of the runs and of scores-SEED.json.")],
    seed: Annotated[int, typer.Option(min=1, help="Of weights and draws.")] = 1,
    parts_steps: Annotated[int, typer.Option(min=1, help="Steps of the part module.")] = 2000,
    piecewise_steps: Annotated[int, typer.Option(min=1, help="Steps of the field alone.")] = 200,
    whole_steps: Annotated[int, typer.Option(min=1, help="Steps end to end.")] = 800,
    cache: CacheOption = DEFAULT_CACHE,
    weights: OptionalWeightsOption = None,
) -> None:
    """Train every row of one seed, and write their scores."""
    photos = PhotoCache(data, cache, training_ids(data), hint_source(weights))
    budget = Budget(parts=parts_steps, piecewise=piecewise_steps, whole=whole_steps)
    scores = train_seed(photos, out, budget, seed)
    (out / f"scores-{seed}.json").write_text(json.dumps(scores, indent=1) + "\n")
    for row, each in scores.items():
        typer.echo(f"{row}: " + ", ".join(f"{name} {value:.3f}" for name, value in each.items()))


if __name__ == "__main__":
    run(_app, sys.argv[1:])
