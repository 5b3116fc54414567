"""`partstream-contact-sheet`: training scenes or a clip with their labels, to look at before a long run.

The scenes hold photos, so a sheet is for the eyes of whoever may see the photos.

Shape suffixes: H height, W width, C colour channels (RGB).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import numpy.typing as npt
import typer
from PIL import Image

from partstream_core.labels import PALETTE, VOID
from partstream_models.commands.common import (
    DEFAULT_CACHE,
    CacheOption,
    DataOption,
    OptionalWeightsOption,
    hint_source,
    new_app,
    run,
)
from partstream_models.data.batches import people_of
from partstream_models.data.clips.director import ClipConfig
from partstream_models.data.clips.draw import draw_clip
from partstream_models.data.clips.sheet import clip_sheet
from partstream_models.data.photos.cache import PhotoCache, training_ids
from partstream_models.data.scenes.compose import ComposeConfig, draw_pair
from partstream_models.data.scenes.scene import Scene

UInt8Array = npt.NDArray[np.uint8]

_app = new_app()


@_app.command()
def contact_sheet(
    *,
    data: DataOption,
    out: Annotated[Path, typer.Option(dir_okay=False, help="The PNG to write.")],
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same sheet.")] = 0,
    scenes: Annotated[int, typer.Option(min=2, max=64, help="How many scenes; an even number.")] = 12,
    size: Annotated[int, typer.Option(min=32, max=1024, help="Height and width of a scene in pixels.")] = 256,
    clip: Annotated[
        int | None, typer.Option(min=0, help="Draw the frames, people and flow of the clip of this number.")
    ] = None,
    weights: OptionalWeightsOption = None,
    cache: CacheOption = DEFAULT_CACHE,
) -> None:
    """Draw scenes side by side: the picture, its parts, and its people with their sampling centers."""
    photos = PhotoCache(data, cache, training_ids(data), hint_source(weights))
    out.parent.mkdir(parents=True, exist_ok=True)
    if clip is not None:
        frames = draw_clip(photos, seed=seed, number=clip, height=size, width=size, config=ClipConfig())
        Image.fromarray(clip_sheet(frames)).save(out, "PNG")
        typer.echo(f"clip {clip} of seed {seed}: {out}")
        return
    Image.fromarray(sheet(draw_scenes(photos, seed=seed, num_scenes=scenes, size=size))).save(out, "PNG")
    typer.echo(f"{scenes} scenes of seed {seed}: {out}")


def draw_scenes(photos: PhotoCache, *, seed: int, num_scenes: int, size: int) -> list[Scene]:
    """Scenes as training draws them, from the seed alone.

    Raises:
        ValueError: The number is odd; scenes come in pairs.
    """
    if num_scenes % 2:
        raise ValueError(f"scenes come in pairs: the number must be even, got {num_scenes}")
    rng = np.random.default_rng(seed)
    scenes: list[Scene] = []
    while len(scenes) < num_scenes:
        scenes.extend(draw_pair(photos, rng, height=size, width=size, config=ComposeConfig()))
    return scenes


def sheet(scenes: Sequence[Scene]) -> UInt8Array:
    """One picture of the scenes, a pair a row, RGB."""
    cells = [_cell(scene) for scene in scenes]
    rows = [np.concatenate(cells[start : start + 2], axis=1) for start in range(0, len(cells), 2)]
    return np.concatenate(rows, axis=0)


def _cell(scene: Scene) -> UInt8Array:
    parts = PALETTE[scene.parts_HW]
    people, instances = people_of(scene)
    drawn = np.ascontiguousarray(PALETTE[instances])
    drawn[instances == VOID] = parts[scene.parts_HW == VOID] = (224, 224, 192)
    for box, (x, y) in zip(people.boxes_N4.tolist(), people.centers_N2.tolist(), strict=True):
        left, top, right, bottom = (round(value) for value in box)
        cv2.rectangle(drawn, (left, top), (right - 1, bottom - 1), (255, 255, 255), 1)
        cv2.circle(drawn, (int(x), int(y)), 3, (255, 255, 255), -1)
    return np.concatenate([scene.image_HWC, parts, drawn], axis=1).astype(np.uint8, copy=False)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command."""
    run(_app, arguments)
