"""`partstream follow`: named people through a file, found again by their looks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from partstream_core.errors import BundleError, EngineError, MediaError, OptionError

if TYPE_CHECKING:
    from partstream_server.offline.follow import Follow, FollowedFrame, StatusCounts
    from partstream_server.offline.follow_targets import TargetSight

EXIT_FAILURE = 1
EXIT_BAD_INPUT = 2


def follow_command(  # noqa: PLR0913, PLR0917 - the options of a command
    source: Annotated[Path, typer.Argument(help="Video, or folder of images as a clip.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of follow.ndjson.")],
    person: Annotated[
        list[str],
        typer.Option(
            "--person",
            help="Whom to follow, and where they are seen: NAME@SECONDS:X,Y (a pixel), "
            "NAME@SECONDS:LEFT,TOP,RIGHT,BOTTOM (a box), NAME@SECONDS:#IDENTITY (of results) or "
            "NAME@SECONDS:MASK.PNG. May be repeated: other people, or corrections at other times.",
        ),
    ],
    davis: Annotated[
        bool, typer.Option("--davis", help="Write indexed PNG masks, too: masks/00000.png, names.txt.")
    ] = False,
    every: Annotated[int, typer.Option(min=1, help="Parse every n-th frame.")] = 1,
    max_frames: Annotated[int | None, typer.Option(min=1, help="Stop after so many frames.")] = None,
    start_s: Annotated[float, typer.Option(min=0, help="Begin so many seconds after the first frame.")] = 0.0,
    end_s: Annotated[float | None, typer.Option(help="Stop so many seconds after the first frame.")] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Directory of the bundle.  [default: the one that ships inside]")
    ] = None,
    threads: Annotated[int, typer.Option(min=0, help="Threads of the network; 0: one a core.")] = 0,
) -> None:
    """Follow named people through a video: where they are seen, hidden or gone."""
    # Imported here so that --help answers before a second goes into decoders and runtimes.
    from pydantic import ValidationError  # noqa: PLC0415

    from partstream_server.engine import create_engine  # noqa: PLC0415
    from partstream_server.offline.follow_targets import read_sights  # noqa: PLC0415
    from partstream_server.pipeline.parse_options import ParseOptions  # noqa: PLC0415

    try:
        sights = read_sights(person, mask_files=True)
        options = ParseOptions(every=every, max_frames=max_frames, start_s=start_s, end_s=end_s)
        engine = create_engine(bundle, num_threads=threads)
    except ValidationError as error:
        raise _failure(error.errors()[0]["msg"], EXIT_BAD_INPUT) from None
    except OptionError as error:
        raise _failure(str(error), EXIT_BAD_INPUT) from None
    except (EngineError, BundleError) as error:
        raise _failure(str(error), EXIT_FAILURE) from None
    try:
        output.mkdir(parents=True, exist_ok=True)
        counts = _follow(source, output, sights, options, engine, davis=davis)
    except (MediaError, OptionError) as error:
        raise _failure(f"{source}: {error}", EXIT_BAD_INPUT) from None
    except (EngineError, OSError) as error:
        raise _failure(str(error), EXIT_FAILURE) from None
    finally:
        engine.close()
    for name, by_status in counts.by_name.items():
        shown = ", ".join(f"{status} in {number} frames" for status, number in by_status.items() if number)
        typer.echo(f"{name}: {shown}")


def _follow(
    source: Path, output: Path, sights: tuple[TargetSight, ...], options: Any, engine: Any, *, davis: bool
) -> StatusCounts:
    """Write the follow into a folder; frames of each target by status."""
    from partstream_server.offline.follow import (  # noqa: PLC0415
        Follow,
        StatusCounts,
        check_follow_options,
        to_line,
    )
    from partstream_server.offline.parser import MediaParser  # noqa: PLC0415

    embedding = engine.bundle.manifest.capabilities.embedding
    check_follow_options(options, has_embeddings=embedding is not None)
    counts = StatusCounts(sight.name for sight in sights)
    follow = Follow(sights, output / "follow.parsed.part")
    try:
        with MediaParser(source, engine, options, with_pixels=False) as parser:
            for picture in parser:
                if picture.result is not None and picture.maps is not None:
                    follow.collect(picture.result, picture.maps, picture.embeddings)
        draft = output / "follow.ndjson.part"
        masks = _DavisFolder(output, list(counts.by_name)) if davis else None
        with draft.open("wb") as file:
            for frame in follow.frames():
                file.write(to_line(frame.to_json()))
                counts.observe(frame)
                if masks is not None:
                    masks.write(frame, follow)
        draft.replace(output / "follow.ndjson")
    finally:
        follow.close()
    return counts


class _DavisFolder:
    """Indexed PNG masks as DAVIS has them: the n-th target is n."""

    def __init__(self, output: Path, names: list[str]) -> None:
        self._folder, self._names = output / "masks", names
        self._folder.mkdir(exist_ok=True)
        lines = [f"{number} {name}" for number, name in enumerate(names, start=1)]
        (output / "names.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def write(self, frame: FollowedFrame, follow: Follow) -> None:
        """Write the mask of a frame, named by its index."""
        import numpy as np  # noqa: PLC0415
        from PIL import Image  # noqa: PLC0415

        from partstream_core.labels import PALETTE  # noqa: PLC0415
        from partstream_core.rle import Rle, decode  # noqa: PLC0415

        labels = np.zeros(follow.size, np.uint8)
        for number, target in enumerate(frame.targets, start=1):
            if target.person is not None:
                mask = target.person["mask"]
                height, width = mask["size"]
                labels[decode(Rle(height, width, mask["counts"]))] = number
        picture = Image.fromarray(labels, "P")
        picture.putpalette(np.asarray(PALETTE, np.uint8).tobytes())
        picture.save(self._folder / f"{frame.index:05}.png")


def _failure(message: str, code: int) -> typer.Exit:
    """Say what is wrong in one line, and end."""
    typer.echo(f"error: {' '.join(message.split())}", err=True)
    return typer.Exit(code)
