"""The command `partstream-export int8`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from partstream_export.folders import check_target


def int8_command(
    bundle: Annotated[Path, typer.Option(help="The bundle to round.")],
    photos: Annotated[Path, typer.Option(help="Folder of photos to calibrate with; not those judged on.")],
    out: Annotated[Path, typer.Option(help="Folder of the new bundle; appears whole or not at all.")],
    most: Annotated[int, typer.Option(min=1, help="Photos at most.")] = 24,
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle that is there already.")] = False,
) -> None:
    """A bundle in 8-bit whole numbers: nearly twice as fast as f32 where a CPU has no bf16."""
    check_target(out, force=force)
    # Imported here, for the quantiser takes seconds that --help and most mistakes need not wait.
    from partstream_export.int8 import photos_in, write_int8  # noqa: PLC0415

    with Console(stderr=True).status("reading photos") as status:
        chosen = photos_in(photos, most=most)
        deviations = write_int8(bundle, chosen, out, force=force, progress=status.update)
    for each in deviations:
        typer.echo(f"{each.graph}.{each.output}: differs by {100 * each.relative:.1f} % on the last photo")
    typer.echo(f"wrote {out}")
