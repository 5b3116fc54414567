"""The command `partstream-rendered-benchmark`: pictures of held-out rendered people, to evaluate on."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from partstream_models.commands.common import DataOption, new_app, run
from partstream_models.data.people3d.benchmark import RenderedRecipe, make
from partstream_models.data.people3d.cache import RenderedPeople

_app = new_app()


@_app.command()
def benchmark(
    data: DataOption,
    people: Annotated[Path, typer.Option(help="Cache of rendered people of the held-out split.")],
    out: Annotated[Path, typer.Option(help="Folder of the benchmark.")],
    pictures: Annotated[int | None, typer.Option(min=1, help="Pictures; by default the recipe's.")] = None,
) -> None:
    """Compose the benchmark that `partstream-evaluate rendered` measures on."""
    recipe = RenderedRecipe()
    if pictures is not None:
        recipe = replace(recipe, num_pictures=pictures)
    sha256 = make(out, RenderedPeople(people), data, recipe)
    typer.echo(f"{recipe.num_pictures} pictures in {out}, recipe {sha256}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command."""
    run(_app, arguments)


if __name__ == "__main__":
    main()
