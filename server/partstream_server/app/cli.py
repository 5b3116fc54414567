"""The `partstream` command."""

from __future__ import annotations

import json
import platform
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from partstream_core.assembly_config import AssemblyKind
from partstream_core.errors import BundleError, EngineError, MediaError, OptionError
from partstream_core.schedule import FlowSource, ScheduleMode
from partstream_server import __version__
from partstream_server.app.convert import convert_command
from partstream_server.app.follow import follow_command
from partstream_server.app.serve import serve_command
from partstream_server.app.sheet import sheet_command
from partstream_server.pipeline.encoding import MaskForm

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from partstream_server.engine import Engine

EXIT_FAILURE = 1
EXIT_BAD_INPUT = 2

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Every person's body parts and garments in video, with an identity that stays with the person.",
)
app.command("serve")(serve_command)
app.command("sheet")(sheet_command)
app.command("follow")(follow_command)
app.command("convert")(convert_command)

Bundle = Annotated[
    Path | None, typer.Option(help="Directory of the bundle.  [default: the one that ships inside]")
]
Provider = Annotated[str, typer.Option(help="auto, openvino, onnxruntime, cuda, tensorrt or triton.")]
Precision = Annotated[str, typer.Option(help="auto, f32, tf32, bf16, fp16 or int8.")]
Device = Annotated[int, typer.Option(min=0, help="Number of the CUDA device.")]
Engines = Annotated[
    Path | None, typer.Option(help="Folder of TensorRT engines.  [default: tensorrt in the bundle's]")
]
Triton = Annotated[str, typer.Option(metavar="HOST:PORT", help="Server of the provider triton.")]
Threads = Annotated[int, typer.Option(min=0, help="Threads of the network; 0: one a core.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("parse")
def parse_command(
    inputs: Annotated[
        list[Path], typer.Argument(help="Videos, images, or folders of images.", metavar="INPUT...")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Where the results go, a folder an input.")],
    independent: Annotated[
        bool,
        typer.Option(
            "--independent", help="Take each image of a folder by itself, not the folder as a clip."
        ),
    ] = False,
    bundle: Bundle = None,
    provider: Provider = "auto",
    precision: Precision = "auto",
    threads: Threads = 0,
    device: Device = 0,
    engines: Engines = None,
    triton: Triton = "",
    score_threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Least score of a person.  [default: the bundle's]")
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="Parse every n-th frame.")] = 1,
    max_frames: Annotated[
        int | None, typer.Option(min=1, help="Stop after so many frames of each source.")
    ] = None,
    start_s: Annotated[float, typer.Option(min=0, help="Begin so many seconds after the first frame.")] = 0.0,
    end_s: Annotated[float | None, typer.Option(help="Stop so many seconds after the first frame.")] = None,
    fps: Annotated[
        float | None, typer.Option(help="Parse about so many frames a second, in place of --every.")
    ] = None,
    stream: Annotated[
        int | None, typer.Option(min=0, help="Number of the video stream.  [default: the largest]")
    ] = None,
    deinterlace: Annotated[bool, typer.Option(help="Make interlaced frames progressive.")] = True,
    parts: Annotated[str, typer.Option(help="Leave out all parts but these, such as face,hair.")] = "",
    people: Annotated[str, typer.Option(help="Leave out all identities but these, such as 1,3.")] = "",
    masks: Annotated[MaskForm, typer.Option(help="How results.ndjson holds masks.")] = MaskForm.RLE,
    joints: Annotated[
        bool, typer.Option(help="Whether results.ndjson holds joints, where the bundle finds them.")
    ] = True,
    schedule: Annotated[
        ScheduleMode | None,
        typer.Option(
            help="Which frames are key frames; the others borrow from them.  [default: the bundle's]"
        ),
    ] = None,
    interval: Annotated[
        int | None,
        typer.Option(min=1, max=100, help="A key frame at least every n frames.  [default: the bundle's]"),
    ] = None,
    flow: Annotated[
        FlowSource | None,
        typer.Option(help="What tells how a frame moved against its key frame.  [default: the bundle's]"),
    ] = None,
    encode: Annotated[
        bool | None,
        typer.Option(help="Encode key frames with former ones.  [default: the bundle's]"),
    ] = None,
    assembly: Annotated[
        AssemblyKind | None,
        typer.Option(help="Which rule gives pixels to people.  [default: the bundle's]"),
    ] = None,
    overlay: Annotated[bool, typer.Option(help="Write the source with its people drawn on it.")] = True,
    skeletons: Annotated[bool, typer.Option("--skeletons", help="Draw joints into the overlay.")] = False,
    render: Annotated[
        str, typer.Option(help="What overlay.mp4 shows: overlay, privacy or background.")
    ] = "overlay",
    layers: Annotated[
        str, typer.Option(help="Of overlay: some of parts, outlines, boxes, labels, joints.")
    ] = "parts,outlines,labels",
    hide: Annotated[str, typer.Option(help="Of privacy: faces, heads or people.")] = "heads",
    effect: Annotated[str, typer.Option(help="Of privacy: blur, pixelate or fill.")] = "blur",
    background: Annotated[
        str, typer.Option(help="Of background: blur, a colour as #00ff00, or a picture.")
    ] = "blur",
    cutout: Annotated[
        str,
        typer.Option(
            help="Write people alone on a transparent ground: none, webm, mov or png (one a frame)."
        ),
    ] = "none",
    part_maps: Annotated[bool, typer.Option(help="Write a palette PNG of parts for each frame.")] = True,
) -> None:
    """Parse videos and images into folders of results."""
    # Imported here so that --help answers before a second goes into decoders and runtimes.
    from pydantic import ValidationError  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415

    from partstream_server.offline.batch import Batch, name_sources  # noqa: PLC0415
    from partstream_server.offline.rendering import RenderOptions, options_for  # noqa: PLC0415
    from partstream_server.offline.result_folder import CutoutForm, Wanted  # noqa: PLC0415
    from partstream_server.pipeline.parse_options import ParseOptions, check_skeletons  # noqa: PLC0415

    try:
        options = ParseOptions(
            score_threshold=score_threshold,
            every=every,
            max_frames=max_frames,
            masks=masks,
            joints=joints,
            schedule=schedule,
            interval=interval,
            flow=flow,
            encodes=encode,
            assembly=assembly,
            start_s=start_s,
            end_s=end_s,
            fps=fps,
            stream=stream,
            deinterlace=deinterlace,
            parts=parts,
            people=people,
        )
        rendering = RenderOptions.model_validate(
            {
                "render": render,
                "layers": layers,
                "hide": hide,
                "effect": effect,
                "background": "blur" if Path(background).is_file() else background,
                "skeletons": skeletons,
            }
        )
        form = CutoutForm(cutout)
    except ValidationError as error:  # what typer lets through, such as NaN
        first = error.errors()[0]
        name = f"{first['loc'][0]}: " if first["loc"] else ""
        given = f", got {first['input']}" if first["loc"] else ""
        message = f"{name}{first['msg'].lower()}{given}"
        raise _failure(OptionError(message), EXIT_BAD_INPUT) from None
    except ValueError:
        raise _failure(
            OptionError(f"cutout is none, webm, mov or png, not {cutout!r}"), EXIT_BAD_INPUT
        ) from None
    engine = _open_engine(bundle, provider, precision, threads, index=device, engines=engines, triton=triton)
    try:
        options.schedule_for(engine)
        if rendering.draws_joints:
            check_skeletons(options, engine)
    except OptionError as error:
        raise _failure(error, EXIT_BAD_INPUT) from None
    if overlay:
        options = options_for(options, rendering)
    wanted = Wanted(overlay, part_maps, rendering, _backdrop(Path(background)), form)
    batch = Batch(engine, options, wanted, console=Console(stderr=True))
    try:
        num_failed = batch.run(name_sources(inputs, independent=independent), output)
    except EngineError as error:
        raise _failure(error) from None
    engine.close()
    if num_failed:
        raise typer.Exit(EXIT_BAD_INPUT)


@app.command("info")
def info_command(
    bundle: Bundle = None,
    provider: Provider = "auto",
    precision: Precision = "auto",
    threads: Threads = 0,
    device: Device = 0,
    engines: Engines = None,
    triton: Triton = "",
    as_json: AsJson = False,
) -> None:
    """Name the bundle, the provider, the precision and the versions in use."""
    engine = _open_engine(bundle, provider, precision, threads, index=device, engines=engines, triton=triton)
    facts = describe(engine)
    engine.close()
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        shown = (
            ", ".join(f"{key} {item}" for key, item in value.items()) if isinstance(value, dict) else value
        )
        shown = ", ".join(str(item) for item in shown) if isinstance(shown, list | tuple) else shown
        typer.echo(f"{name.replace('_', ' ')}: {shown}")


@app.command("bench")
def bench_command(
    bundle: Bundle = None,
    provider: Provider = "auto",
    video: Annotated[
        Path | None, typer.Option(help="Clip to time.  [default: figures that walk, 720p H.264]")
    ] = None,
    frames: Annotated[int, typer.Option(min=2, help="Frames of each run.")] = 100,
    score_threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Least score of a person.  [default: the bundle's]")
    ] = None,
    schedule: Annotated[
        ScheduleMode | None,
        typer.Option(help="Which frames are key frames.  [default: causal and every frame, side by side]"),
    ] = None,
    interval: Annotated[
        int | None, typer.Option(min=1, max=100, help="A key frame every n frames.  [default: 3]")
    ] = None,
    flow: Annotated[
        FlowSource | None,
        typer.Option(help="What tells how a frame moved against its key frame.  [default: the bundle's]"),
    ] = None,
    encode: Annotated[
        bool | None,
        typer.Option(help="Encode key frames with former ones.  [default: the bundle's]"),
    ] = None,
    assembly: Annotated[
        AssemblyKind | None,
        typer.Option(help="Which rule gives pixels to people.  [default: the bundle's]"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Time the pipeline stage by stage, on 1 and 2 threads, at f32 and at automatic precision."""
    from partstream_server.benchmarks.stages import BenchConfig, report_lines, run_bench  # noqa: PLC0415

    config = BenchConfig(
        bundle=bundle,
        provider=provider,
        video=video,
        num_frames=frames,
        score_threshold=score_threshold,
        schedule=schedule,
        interval=interval,
        flow=flow,
        encodes=encode,
        assembly=assembly,
    )
    try:
        report = run_bench(config)
    except (EngineError, BundleError) as error:
        raise _failure(error) from None
    except (MediaError, OptionError, OSError) as error:
        raise _failure(error, EXIT_BAD_INPUT) from None
    if as_json:
        typer.echo(json.dumps(report.to_json(), indent=2))
    else:
        typer.echo("\n".join(report_lines(report)))


@app.callback()
def _main(
    show_version: Annotated[
        bool, typer.Option("--version", is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    if show_version:
        typer.echo(f"partstream {__version__}")
        raise typer.Exit


def describe(engine: Engine) -> dict[str, Any]:
    """What is in use, as `partstream info` prints it."""
    manifest = engine.bundle.manifest
    return {
        "bundle": manifest.name,
        "version": manifest.version,
        "licence": manifest.licence,
        "training_data": list(manifest.training_data),
        "directory": str(engine.bundle.directory),
        "provider": engine.provider,
        "precision": engine.precision,
        "device": engine.device,
        "threads": engine.num_threads,
        "parts": list(manifest.capabilities.parts),
        "embedding": manifest.capabilities.embedding,
        "temporal": manifest.capabilities.temporal,
        "joints": manifest.capabilities.joints,
        "schedule": {"mode": str(manifest.schedule.mode), "interval": manifest.schedule.interval},
        "versions": {"partstream": __version__, "python": platform.python_version(), **_versions()},
    }


def _versions() -> dict[str, str]:
    """Versions of what does the work, of those that are installed."""
    found = {}
    for name in ("openvino", "onnxruntime", "onnxruntime-gpu", "av", "opencv-python-headless", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _backdrop(path: Path) -> npt.NDArray[np.uint8] | None:
    """The picture of that path; None where there is no file."""
    from partstream_server.offline.backdrop import read_backdrop  # noqa: PLC0415

    try:
        return read_backdrop(path)
    except OptionError as error:
        raise _failure(OptionError(f"background: {path}: {error}"), EXIT_BAD_INPUT) from None


def _open_engine(bundle: Path | None, provider: str, precision: str, threads: int, **device: Any) -> Engine:
    """The engine, on a device of those options."""
    from partstream_server.engine import DeviceOptions, create_engine  # noqa: PLC0415

    options = DeviceOptions(**device)
    try:
        return create_engine(
            bundle, provider=provider, precision=precision, num_threads=threads, device=options
        )
    except (EngineError, BundleError) as error:
        raise _failure(error) from None


def _failure(error: Exception, code: int = EXIT_FAILURE) -> typer.Exit:
    """Say what is wrong in one line, and end."""
    typer.echo(f"error: {' '.join(str(error).split())}", err=True)
    return typer.Exit(code)


def add_installed_commands() -> None:
    """Add the commands that other installed packages bring (entry points `partstream.commands`)."""
    found = {entry.name: entry for entry in entry_points(group="partstream.commands")}
    for name, entry in sorted(found.items()):
        try:
            app.add_typer(entry.load(), name=name)
        except ImportError as error:
            _add_missing(name, str(error))
    if "jobs" not in found:
        _add_missing("jobs", "install the client, whose command this is: pip install './clients/python[cli]'")


def _add_missing(name: str, reason: str) -> None:
    """Add a command that says why it is missing."""

    @app.command(
        name,
        hidden=True,
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    )
    def missing() -> None:
        raise _failure(OptionError(f"{name}: {reason}"), EXIT_BAD_INPUT)


def main() -> None:
    """Run the command."""
    add_installed_commands()
    app()
