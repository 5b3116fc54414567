"""The commands `partstream-export aten` and `partstream-export hvisnet`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from partstream_core.manifest import Thresholds
from partstream_core.schedule import ScheduleConfig
from partstream_export.bundle_writer import check_target
from partstream_export.console import read_object, show, tell_files, thresholds

if TYPE_CHECKING:
    from partstream_export.papers import PaperBundle

UNKNOWN_DATA = "not stated"
MIN_SIDE = 32

Checkpoint = Annotated[
    Path | None, typer.Option(help="Weights of the recipe's network, as partstream-train leaves them.")
]
Random = Annotated[bool, typer.Option("--random", help="Random weights instead of a checkpoint.")]
Seed = Annotated[int, typer.Option(help="Of random weights.", min=0)]
Out = Annotated[Path, typer.Option(help="Folder of the bundle; appears whole or not at all.")]
LongerSide = Annotated[
    int | None,
    typer.Option(
        help="Longer side of the network's input, pixels.  [default: the recipe's in tests]", min=MIN_SIDE
    ),
]
Version = Annotated[str, typer.Option(help="Version of the weights.")]
Evaluation = Annotated[Path | None, typer.Option(help="JSON object of figures of these weights.")]
ModelCard = Annotated[Path | None, typer.Option(help="Text that goes with the weights.")]
TrainingData = Annotated[
    list[str] | None, typer.Option(help="What the weights learned from; may be repeated.")
]
Threshold = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="Default of score, nms, mask or candidate; may be repeated."),
]
Force = Annotated[bool, typer.Option("--force", help="Replace a bundle that is there already.")]


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """Options that all papers' networks share."""

    checkpoint: Path | None
    random: bool
    seed: int
    recipe: str
    longer_side: int | None
    version: str
    evaluation: Path | None
    model_card: Path | None
    training_data: tuple[str, ...]
    threshold: tuple[str, ...]

    def check(self) -> None:
        """Pass if it is clear where weights come from.

        Raises:
            ValueError: It is not.
        """
        if self.random == (self.checkpoint is not None):
            raise ValueError("give either --checkpoint or --random")
        if self.random and self.training_data:
            raise ValueError("random weights learned from nothing: leave --training-data out")

    def bundle(self, *, longer_side: int, defaults: Thresholds, schedule: ScheduleConfig) -> "PaperBundle":
        """Metadata of the bundle that its network does not hold.

        Raises:
            ValueError: A file or a setting holds something else than it should.
            OSError: A file cannot be read.
        """
        from partstream_export.papers import PaperBundle  # noqa: PLC0415 - torch takes seconds

        learned = (f"nothing: random weights of seed {self.seed}",) if self.random else (UNKNOWN_DATA,)
        return PaperBundle(
            name=f"partstream-{self.recipe}",
            version=self.version,
            training_data=self.training_data or learned,
            longer_side=self.longer_side or longer_side,
            thresholds=thresholds(defaults, self.threshold),
            schedule=schedule,
            evaluation=read_object(self.evaluation) if self.evaluation else {},
            model_card=self.model_card.read_text(encoding="utf-8") if self.model_card else None,
        )


def aten(  # noqa: PLR0913, PLR0917 - the options of a command
    out: Out,
    checkpoint: Checkpoint = None,
    random: Random = False,
    seed: Seed = 0,
    recipe: Annotated[str, typer.Option(help="Of partstream-train: the network's widths.")] = "aten-r50",
    longer_side: LongerSide = None,
    version: Version = "0.1.0",
    evaluation: Evaluation = None,
    model_card: ModelCard = None,
    training_data: TrainingData = None,
    threshold: Threshold = None,
    force: Force = False,
) -> None:
    """ATEN as six graphs, each checked against torch; its schedule is the paper's."""
    request = Request(
        checkpoint=checkpoint,
        random=random,
        seed=seed,
        recipe=recipe,
        longer_side=longer_side,
        version=version,
        evaluation=evaluation,
        model_card=model_card,
        training_data=tuple(training_data or ()),
        threshold=tuple(threshold or ()),
    )
    request.check()
    check_target(out, force=force)
    export_aten(request, out, force=force)


def hvisnet(  # noqa: PLR0913, PLR0917 - the options of a command
    out: Out,
    checkpoint: Checkpoint = None,
    random: Random = False,
    seed: Seed = 0,
    recipe: Annotated[str, typer.Option(help="Of partstream-train: the network's widths.")] = "hvisnet",
    longer_side: LongerSide = None,
    version: Version = "0.1.0",
    evaluation: Evaluation = None,
    model_card: ModelCard = None,
    training_data: TrainingData = None,
    threshold: Threshold = None,
    force: Force = False,
) -> None:
    """HVISNet as three graphs, each checked against torch."""
    request = Request(
        checkpoint=checkpoint,
        random=random,
        seed=seed,
        recipe=recipe,
        longer_side=longer_side,
        version=version,
        evaluation=evaluation,
        model_card=model_card,
        training_data=tuple(training_data or ()),
        threshold=tuple(threshold or ()),
    )
    request.check()
    check_target(out, force=force)
    export_hvisnet(request, out, force=force)


def export_aten(request: Request, out: Path, *, force: bool) -> None:
    """Write a bundle of ATEN, and tell how far it is from torch."""
    progress = Console(stderr=True)
    with progress.status("loading the network"):
        # Imported here, for torch takes seconds that --help and most mistakes need not wait.
        from partstream_export.aten import (  # noqa: PLC0415
            SCHEDULE,
            aten_thresholds,
            trace_aten,
            write_aten,
        )
        from partstream_export.aten_graphs import check_exportable  # noqa: PLC0415
        from partstream_export.papers import made_network  # noqa: PLC0415
        from partstream_models.networks.aten import ATEN  # noqa: PLC0415
        from partstream_models.training.aten_recipes import ATEN_RECIPES  # noqa: PLC0415

        recipe = ATEN_RECIPES[known_recipe(request.recipe, ATEN_RECIPES)]()
        check_exportable(recipe.network)
        network = made_network(
            lambda: ATEN(recipe.network), request.checkpoint, recipe=recipe.name, seed=request.seed
        )
        side = recipe.test_view.longer_side or max(recipe.size)
        defaults = aten_thresholds(network)
        bundle = request.bundle(longer_side=side, defaults=defaults, schedule=SCHEDULE)
    with progress.status("tracing"):
        traced = trace_aten(network)
    with progress.status("comparing with torch"):
        differences = write_aten(out, network, traced, bundle, force=force)
    show(differences)
    tell_files(out)


def export_hvisnet(request: Request, out: Path, *, force: bool) -> None:
    """Write a bundle of HVISNet, and tell how far it is from torch."""
    progress = Console(stderr=True)
    with progress.status("loading the network"):
        from partstream_export.hvisnet import (  # noqa: PLC0415 - as above
            HVISNET_THRESHOLDS,
            trace_hvisnet,
            write_hvisnet,
        )
        from partstream_export.papers import made_network  # noqa: PLC0415
        from partstream_models.networks.hvisnet import HVISNet  # noqa: PLC0415
        from partstream_models.training.hvis_recipes import HVIS_RECIPES  # noqa: PLC0415

        recipe = HVIS_RECIPES[known_recipe(request.recipe, HVIS_RECIPES)]()
        network = made_network(
            lambda: HVISNet(recipe.network), request.checkpoint, recipe=recipe.name, seed=request.seed
        )
        side = recipe.view.longer_side or max(recipe.size)
        bundle = request.bundle(longer_side=side, defaults=HVISNET_THRESHOLDS, schedule=ScheduleConfig())
    with progress.status("tracing"):
        traced = trace_hvisnet(network)
    with progress.status("comparing with torch"):
        differences = write_hvisnet(out, network, traced, bundle, force=force)
    show(differences)
    tell_files(out)


def known_recipe(name: str, recipes: Mapping[str, object]) -> str:
    """The name, if there is such a recipe.

    Raises:
        ValueError: There is none.
    """
    if name not in recipes:
        raise ValueError(f"--recipe must be one of {', '.join(recipes)}; got {name!r}")
    return name
