"""Run `partstream` on the benchmark of rendered people and compare what it writes with the truth."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from partstream_evaluation.composite.evaluate import AP_THRESHOLD
from partstream_evaluation.evaluate.runner import EvaluationError, PartstreamCommand, part_map_of, read_photo
from partstream_evaluation.rendered.benchmark import read_benchmark
from partstream_evaluation.rendered.score import PictureScores, RenderedScores, compare, summarise
from partstream_evaluation.report.collect import Collector


@dataclass(frozen=True, slots=True)
class RenderedReport:
    """The figures, and what they were measured on and with."""

    scores: RenderedScores
    num_pictures: int
    num_people: int
    recipe_sha256: str
    commands: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {
            **self.scores.to_json(),
            "num_pictures": self.num_pictures,
            "num_people": self.num_people,
            "recipe_sha256": self.recipe_sha256,
            "commands": list(self.commands),
        }


def evaluate(
    benchmark_dir: Path,
    command: PartstreamCommand,
    *,
    limit: int | None = None,
    collector: Collector | None = None,
) -> RenderedReport:
    """Parse each picture twice: with nearly no threshold for AP, and as users get it for all else.

    Args:
        benchmark_dir: The benchmark.
        command: How to call `partstream`.
        limit: Only so many pictures, from the first.
        collector: Takes every picture in, for a report.

    Raises:
        EvaluationError: The command failed, or its results are not those of the pictures.
        ValueError: There is no benchmark, or it is damaged.
    """
    benchmark = read_benchmark(benchmark_dir)
    pictures = benchmark.pictures[:limit]
    images = [benchmark.image(picture) for picture in pictures]
    missing = [path for path in images if not path.is_file()]
    if missing:
        raise ValueError(f"{len(missing)} pictures of the benchmark are missing, the first is {missing[0]}")
    compared: list[PictureScores] = []
    with TemporaryDirectory(prefix="partstream-rendered-") as folder:
        found, shown = Path(folder) / "found", Path(folder) / "shown"
        threshold = ("--score-threshold", str(AP_THRESHOLD))
        lines = (
            command.parse(images, found, "--independent", *threshold),
            command.parse_photos(images, shown),
        )
        for picture, image in zip(pictures, images, strict=True):
            truth = benchmark.truth(picture)
            frame = read_photo(shown, image)
            try:
                compared.append(compare(picture, truth, read_photo(found, image), frame))
            except (ValueError, EvaluationError) as error:
                raise EvaluationError(f"{image}: {error}") from error
            if collector is not None:
                height, width = truth.parts_HW.shape
                predicted_HW = part_map_of(frame, height=height, width=width)
                collector.add(picture.name, picture.name, image, truth.parts_HW, predicted_HW)
    return RenderedReport(
        scores=summarise(compared),
        num_pictures=len(compared),
        num_people=sum(len(each.people) for each in compared),
        recipe_sha256=benchmark.recipe_sha256,
        commands=lines,
    )
