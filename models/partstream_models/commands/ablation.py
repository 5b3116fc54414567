"""`python -m partstream_models.commands.ablation`: the ablation table of ATEN's modules.

Quality is the IoU of people on clips of the composite benchmark, as they are and from a camera that shakes:
of what is likelier a person than not, and at the threshold that suits each network best, because one that
knows that it is unsure finds too few at half.
Time is measured here, one frame after the other, and held against equations 8 and 9 of the paper.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Annotated

import torch
import typer

from partstream_evaluation.complexity import StageCosts, cost_ratio, short_cost_ratio
from partstream_models.commands.common import (
    DEFAULT_CACHE,
    CacheOption,
    DataOption,
    OptionalWeightsOption,
    hint_source,
    new_app,
    run,
)
from partstream_models.data.clips.shake import shaken
from partstream_models.data.clips.views import ViewConfig
from partstream_models.data.photos.cache import PhotoCache, training_ids
from partstream_models.data.readers.benchmark import open_benchmark
from partstream_models.data.readers.record import Recording
from partstream_models.networks.aten import ATEN
from partstream_models.networks.clip_features import AdaptiveTemporalEncoding, VideoMethod
from partstream_models.networks.complexity import multiply_adds
from partstream_models.training.ablation import FULL, AblationConfig, Trained, train_variants
from partstream_models.training.aten_scores import PersonIoU, person_iou

_app = new_app()
_LENGTHS = (3, 4, 5)
"""Of segments, in table 2."""


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured of a variant."""

    name: str
    ious: tuple[PersonIoU, ...]
    """One for each seed; one alone where nothing was trained beyond what all share."""
    shaken_ious: tuple[PersonIoU, ...]
    """The same where the camera shakes."""
    milliseconds: float
    """A frame, the fastest of the repeats."""
    ratio: float
    """Time over that of the per-frame network."""
    equation_8: float | None
    """What the paper's equation says of that ratio, with the flows that algorithm 1 runs."""
    equation_9: float | None


@_app.command()
def ablation(  # noqa: PLR0913 - the options of a command
    *,
    data: DataOption,
    weights: OptionalWeightsOption = None,
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder of networks and table.")] = Path(
        "runs/ablation"
    ),
    base_steps: Annotated[int, typer.Option(help="Steps of the network that all start from.")] = 20_000,
    steps: Annotated[int, typer.Option(help="Steps of each variant.")] = 1800,
    flow_steps: Annotated[int, typer.Option(help="Steps of the flow network.")] = 24_000,
    seeds: Annotated[int, typer.Option(help="Times that each variant is trained.")] = 3,
    frames: Annotated[int, typer.Option(min=2, help="Frames of each clip that are parsed.")] = 24,
    level: Annotated[
        list[str] | None,
        typer.Option(help="Only clips of this level: easy, medium or hard; may be repeated."),
    ] = None,
    threads: Annotated[int, typer.Option(min=1)] = 1,
    cache: CacheOption = DEFAULT_CACHE,
) -> None:
    """Train every variant for a short while, and print the table; finished variants are not trained again."""
    torch.set_num_threads(threads)
    config = AblationConfig(base_steps=base_steps, steps=steps, flow_steps=flow_steps, num_seeds=seeds)
    clips = open_benchmark(
        data,
        out / "benchmark",
        select=lambda clip: not level or clip.level.name in level,
        num_frames=frames,
    )
    photos = PhotoCache(data, cache, training_ids(data), hint_source(weights))
    trained = train_variants(config, photos, out)
    rows = measure([each for one in trained for each in with_other_lengths(one)], clips, config)
    (out / "table.json").write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    typer.echo(table(rows))


def with_other_lengths(trained: Trained) -> list[Trained]:
    """The variant, and if it is ATEN, its networks in segments of other lengths (table 2 of the paper)."""
    variant = trained.variant
    if variant.name != FULL:
        return [trained]
    others = [
        replace(variant, name=f"{FULL}, l = {length}", sampling=replace(variant.sampling, length=length))
        for length in _LENGTHS
        if length != variant.sampling.length
    ]
    return [trained, *(replace(trained, variant=other) for other in others)]


def measure(trained: Sequence[Trained], clips: Sequence[Recording], config: AblationConfig) -> list[Row]:
    """A row for each variant; the first one's time is what the others are held against."""
    view = ViewConfig(longer_side=max(config.size), mirror=False)
    unsteady = [shaken(clip, config.shake, config.seed) for clip in clips]
    rows: list[Row] = []
    for one in trained:
        network = one.networks[0]
        method = one.variant.method(network)
        ious, shaken_ious = (
            tuple(person_iou(other, seen, view, one.variant.method(other)) for other in one.networks)
            for seen in (clips, unsteady)
        )
        spent = milliseconds_a_frame(network, method, config.size)
        costs = stage_costs(network, config)
        is_aten = isinstance(method, AdaptiveTemporalEncoding)
        length = one.variant.sampling.length
        flows = length - 1 + config.encoding_range
        rows.append(
            Row(
                one.variant.name,
                ious,
                shaken_ious,
                spent,
                spent / (rows[0].milliseconds if rows else spent),
                cost_ratio(costs, length=length, num_flows=flows) if is_aten else None,
                short_cost_ratio(costs, length=length, num_flows=flows) if is_aten else None,
            )
        )
    return rows


@torch.no_grad()
def milliseconds_a_frame(
    network: ATEN, method: VideoMethod, size: tuple[int, int], *, num_frames: int = 60, repeats: int = 3
) -> float:
    """Time of features and parsing, the least of several runs over a clip of whole segments of 3, 4 or 5."""
    network.eval()
    images = torch.rand(num_frames, 3, *size) * 2 - 1
    spent = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _, feature in method.features(network, images):
            network.part_logits(feature)
        spent.append(time.perf_counter() - start)
    return min(spent) / num_frames * 1000


def stage_costs(network: ATEN, config: AblationConfig) -> StageCosts:
    """Multiply-adds of the stages for one frame."""
    image = torch.rand(1, 3, *config.size)
    feature = torch.rand(1, config.network.backbone.channels, config.size[0] // 4, config.size[1] // 4)
    return StageCosts(
        backbone=multiply_adds(lambda: network.backbone(image)),
        flow=multiply_adds(lambda: network.flow(image, image)),
        encoding=multiply_adds(lambda: network.encoder([feature] * (config.encoding_range + 1))),
        parsing=multiply_adds(lambda: network.part_logits(feature)),
    )


def table(rows: Sequence[Row]) -> str:
    """The rows in Markdown."""
    lines = [
        "| | IoU of people | at its best | shaken | at its best | ms a frame | r measured | Eq. 8 | Eq. 9 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        predicted = ("" if value is None else f"{value:.2f}" for value in (row.equation_8, row.equation_9))
        quality = (
            value
            for ious in (row.ious, row.shaken_ious)
            for value in (
                f"{mean(iou.even for iou in ious):.3f}",
                _mean_and_each([iou.best for iou in ious]),
            )
        )
        cells = (row.name, *quality, f"{row.milliseconds:.1f}", f"{row.ratio:.2f}", *predicted)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _mean_and_each(ious: Sequence[float]) -> str:
    each = f" ({', '.join(f'{iou:.3f}' for iou in ious)})" if len(ious) > 1 else ""
    return f"{mean(ious):.3f}{each}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command."""
    run(_app, arguments)


if __name__ == "__main__":
    main()
