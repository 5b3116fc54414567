"""`partstream sheet`: a picture of a video that people share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from partstream_core.errors import BundleError, EngineError, MediaError, OptionError

EXIT_FAILURE = 1
EXIT_BAD_INPUT = 2


def sheet_command(  # noqa: PLR0913, PLR0917 - the options of a command
    source: Annotated[Path, typer.Argument(help="Video, image, or folder of images.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The picture, such as sheet.png.")],
    crops: Annotated[
        Path | None, typer.Option(help="Folder for a picture of each person alone (PNG with alpha).")
    ] = None,
    frames: Annotated[int, typer.Option(min=1, max=200, help="Frames on the sheet.")] = 12,
    columns: Annotated[int, typer.Option(min=1, max=20, help="Frames in a row.")] = 4,
    width: Annotated[int, typer.Option(min=200, max=10_000, help="Width of the sheet in pixels.")] = 1600,
    every: Annotated[int, typer.Option(min=1, help="Parse every n-th frame.")] = 1,
    max_frames: Annotated[int | None, typer.Option(min=1, help="Stop after so many frames.")] = None,
    layers: Annotated[
        str, typer.Option(help="What is drawn: some of parts, outlines, boxes, labels, joints.")
    ] = "parts,outlines,labels",
    bundle: Annotated[
        Path | None, typer.Option(help="Directory of the bundle.  [default: the one that ships inside]")
    ] = None,
    threads: Annotated[int, typer.Option(min=0, help="Threads of the network; 0: one a core.")] = 0,
) -> None:
    """Draw a contact sheet of a video: frames with what was found, and everybody who was seen."""
    # Imported here so that --help answers before a second goes into decoders and runtimes.
    from pydantic import ValidationError  # noqa: PLC0415

    from partstream_server.engine import create_engine  # noqa: PLC0415
    from partstream_server.offline.rendering import RenderOptions  # noqa: PLC0415
    from partstream_server.offline.sheet import ContactSheet, SheetOptions  # noqa: PLC0415
    from partstream_server.pipeline.parse_options import ParseOptions  # noqa: PLC0415

    try:
        options = ParseOptions(every=every, max_frames=max_frames)
        rendering = RenderOptions(layers=layers)
        engine = create_engine(bundle, num_threads=threads)
    except ValidationError as error:
        raise _failure(f"{error.errors()[0]['loc'][0]}: {error.errors()[0]['msg']}", EXIT_BAD_INPUT) from None
    except (EngineError, BundleError) as error:
        raise _failure(str(error), EXIT_FAILURE) from None
    sheet = ContactSheet(SheetOptions(num_frames=frames, columns=columns, width=width))
    try:
        sheet.read(source, engine, options, rendering)
        num_people = sheet.write(output, crops)
    except (MediaError, OptionError) as error:
        raise _failure(f"{source}: {error}", EXIT_BAD_INPUT) from None
    except EngineError as error:
        raise _failure(str(error), EXIT_FAILURE) from None
    except (OSError, ValueError) as error:
        raise _failure(str(error), EXIT_FAILURE) from None
    finally:
        engine.close()
    typer.echo(f"{output}: {num_people} {'person' if num_people == 1 else 'people'}")


def _failure(message: str, code: int) -> typer.Exit:
    """Say what is wrong in one line, and end."""
    typer.echo(f"error: {' '.join(message.split())}", err=True)
    return typer.Exit(code)
