"""Fill a cache of rendered people, or draw a contact sheet (`partstream-people3d`)."""

from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from tqdm import tqdm

from partstream_core.labels import PALETTE
from partstream_models.data.people3d.cache import PeopleWriter, RenderedPeople, RenderedPerson, UInt8Array
from partstream_models.data.people3d.engine import PeopleEngine

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)

_CELL = 300


@app.command()
def cache(
    out: Annotated[Path, typer.Argument(help="Folder of the cache.")],
    data: Annotated[Path, typer.Option(help="Data folder with people3d and mocap.")],
    bodies: Annotated[int, typer.Option(help="People in clothes.")] = 400,
    views: Annotated[int, typer.Option(help="Pictures of each.")] = 3,
    first: Annotated[int, typer.Option(help="Number of the first person: the seed.")] = 0,
) -> None:
    """Render people to a cache."""
    engine = PeopleEngine(data)
    recipe: dict[str, object] = {"first": first, "bodies": bodies, "views": views}
    with PeopleWriter(out, recipe) as writer:
        for number in tqdm(range(first, first + bodies), desc="people", mininterval=20):
            subject = engine.subject(number)
            for person in engine.pictures(subject, views):
                writer.add(person)


@app.command()
def sheet(
    out: Annotated[Path, typer.Argument(help="PNG to write.")],
    people: Annotated[Path, typer.Option("--cache", help="A finished cache.")],
    count: Annotated[int, typer.Option(help="Cut-outs to show.")] = 40,
    first: Annotated[int, typer.Option(help="Number of the first.")] = 0,
    columns: Annotated[int, typer.Option(help="Cut-outs in a row.")] = 8,
) -> None:
    """Draw cut-outs beside their parts and joints."""
    found = RenderedPeople(people)
    cells = [draw_cell(found[number]) for number in range(first, min(first + count, len(found)))]
    blank = np.full_like(cells[0], 255)
    cells += [blank] * (-len(cells) % columns)
    rows = [np.hstack(cells[start : start + columns]) for start in range(0, len(cells), columns)]
    cv2.imwrite(str(out), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))


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


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
