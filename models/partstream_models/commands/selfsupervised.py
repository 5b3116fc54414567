"""What the modules of the self-supervised framework add on composed clips, as one table.

`python -m partstream_models.commands.selfsupervised --data ccp --weights weights`
"""

from collections.abc import Callable, Sequence
from statistics import mean
from typing import Annotated

import torch
import typer

from partstream_models.commands.common import (
    DEFAULT_CACHE,
    CacheOption,
    DataOption,
    WeightsOption,
    hint_source,
    new_app,
    run,
)
from partstream_models.data.photos.cache import PhotoCache, training_ids
from partstream_models.networks.posenet import PoseNet
from partstream_models.selfsupervised.light_segmentation import LightSegNetwork
from partstream_models.selfsupervised.pose import POSENET_FILE, MoveNetModule, PoseNetModule
from partstream_models.training.selfsupervised_directions import Directions, measure

SEG_FILE = "deeplabv3_mnv2_pascal_quant.dequant.pt"

_app = new_app()


@_app.command()
def directions(
    data: DataOption,
    weights: WeightsOption,
    cache: CacheOption = DEFAULT_CACHE,
    seeds: Annotated[int, typer.Option(min=1, help="Repetitions, with seeds from 1.")] = 3,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the networks.")] = 1,
) -> None:
    """Print one table: rounds of TPR, Pose2Seg, and GBSR, each figure as mean and by seed."""
    torch.set_num_threads(threads)
    photos = PhotoCache(data, cache, training_ids(data), hint_source(weights))
    light = MoveNetModule.from_folder(weights)
    found = []
    for seed in range(1, seeds + 1):
        found.append(
            measure(
                photos,
                seed=seed,
                light=light,
                make_network=lambda extra: LightSegNetwork.from_file(
                    weights / SEG_FILE, num_classes=2, extra_channels=extra
                ),
                published=lambda: PoseNetModule(
                    PoseNet.from_file(weights / POSENET_FILE), num_steps=3, longer_side=256
                ),
            )
        )
        typer.echo(f"seed {seed} of {seeds}", err=True)
    typer.echo(table(found))


def table(rows: Sequence[Directions]) -> str:
    """The figures in Markdown."""
    sections: list[tuple[str, Callable[[Directions], dict[str, float]]]] = [
        ("IoU of people, damaged frame", lambda row: row.person_iou),
        ("hidden joints found", lambda row: row.joints_found),
        ("other joints found", lambda row: row.joints_kept),
    ]
    lines = ["| figure | with | mean | by seed |", "|---|---|---|---|"]
    for title, of in sections:
        for name in of(rows[0]):
            values = [of(row)[name] for row in rows]
            each = ", ".join(f"{value:.3f}" for value in values)
            lines.append(f"| {title} | {name} | {mean(values):.3f} | {each} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command."""
    run(_app, arguments)


if __name__ == "__main__":
    main()
