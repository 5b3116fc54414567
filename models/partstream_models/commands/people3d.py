"""Fill a cache of rendered people, or draw a contact sheet (`partstream-people3d`)."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from tqdm import tqdm

from partstream_core.labels import PALETTE
from partstream_models.commands.common import new_app, run
from partstream_models.data.people3d.cache import PeopleWriter, RenderedPeople, RenderedPerson, UInt8Array
from partstream_models.data.people3d.engine import STYLES, VERSION, PeopleEngine
from partstream_models.data.people3d.split import FIRST_BENCHMARK_BODY, held_out_hash, split_of

_app = new_app()

_CELL = 300


@_app.command()
def cache(
    out: Annotated[Path, typer.Argument(help="Folder of the cache.")],
    data: Annotated[Path, typer.Option(help="Data folder with people3d/, mocap/ and ccp/.")],
    bodies: Annotated[int, typer.Option(help="People in clothes.")] = 1000,
    views: Annotated[int, typer.Option(help="Pictures of each.")] = 4,
    first: Annotated[int, typer.Option(help="Number of the first person: the seed.")] = 0,
    benchmark: Annotated[
        bool, typer.Option("--benchmark", help="Held-out people, assets and motions in extreme poses.")
    ] = False,
) -> None:
    """Render people to a cache."""
    render(out, data, make_recipe(bodies=bodies, views=views, first=first, benchmark=benchmark))


def make_recipe(*, bodies: int, views: int, first: int, benchmark: bool) -> dict[str, object]:
    """What a cache is made of, with a SHA-256 over it.

    Raises:
        ValueError: The numbers reach from one side of the split to the other.
    """
    start = first + (FIRST_BENCHMARK_BODY if benchmark else 0)
    if bodies < 1 or views < 1 or first < 0:
        raise ValueError(f"needs people and pictures, got {bodies} from {first} with {views} each")
    if split_of(start) != split_of(start + bodies - 1):
        raise ValueError(f"people {start} to {start + bodies - 1} are on both sides of the split")
    recipe: dict[str, object] = {
        "engine": VERSION,
        "split": split_of(start),
        "first": start,
        "bodies": bodies,
        "views": views,
        "style": asdict(STYLES[split_of(start)]),
        "held_out": held_out_hash(),
    }
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
    return recipe | {"sha256": digest}


def render(out: Path, data: Path, recipe: dict[str, object]) -> None:
    """Fill a cache as its recipe says; a person who cannot be made is named and left out."""
    first, bodies, views = (int(str(recipe[name])) for name in ("first", "bodies", "views"))
    engine = PeopleEngine(data)
    with PeopleWriter(out, recipe) as writer:
        for number in tqdm(range(first, first + bodies), desc="people", mininterval=20):
            try:
                people = list(engine.pictures(engine.subject(number), views))
            except ValueError as error:
                tqdm.write(f"left out: person {number}: {error}")
                continue
            for person in people:
                writer.add(person)


@_app.command()
def sheet(
    out: Annotated[Path, typer.Argument(help="PNG to write.")],
    people: Annotated[Path, typer.Option("--cache", help="A finished cache.")],
    count: Annotated[int, typer.Option(help="Cut-outs to show.")] = 40,
    first: Annotated[int, typer.Option(help="Number of the first.")] = 0,
    columns: Annotated[int, typer.Option(help="Cut-outs in a row.")] = 8,
) -> None:
    """Draw cut-outs beside their parts and joints."""
    found = RenderedPeople(people)
    if first >= len(found):
        raise ValueError(f"{people} has {len(found)} cut-outs, asked for those from {first}")
    cells = [draw_cell(found[number]) for number in range(first, min(first + count, len(found)))]
    blank = np.full_like(cells[0], 255)
    cells += [blank] * (-len(cells) % columns)
    rows = [np.hstack(cells[start : start + columns]) for start in range(0, len(cells), columns)]
    if not cv2.imwrite(str(out), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR)):
        raise ValueError(f"cannot write {out}")


def draw_cell(person: RenderedPerson) -> UInt8Array:
    """A cut-out over grey beside its parts with the joints, RGB [_CELL, 2 * _CELL, 3]."""
    alpha = person.alpha_HW[..., None] / 255
    picture = (person.image_HWC * alpha + 200 * (1 - alpha)).astype(np.uint8)
    parts = np.where(person.parts_HW[..., None] > 0, PALETTE[person.parts_HW], 255).astype(np.uint8)
    for x, y, visible in person.joints_J3:
        color = (255, 255, 255) if visible else (0, 0, 0)
        cv2.circle(parts, (int(x), int(y)), 3, color, -1 if visible else 1, cv2.LINE_AA)
    cell = np.full((_CELL, 2 * _CELL, 3), 255, np.uint8)
    for number, image in enumerate((picture, parts)):
        scale = (_CELL - 4) / max(image.shape[:2])
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        height, width = small.shape[:2]
        cell[:height, number * _CELL : number * _CELL + width] = small
    return cell


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command."""
    run(_app, arguments)


if __name__ == "__main__":
    main()
