"""`partstream-export triton`: a model repository for NVIDIA's Triton Inference Server."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer


def triton_command(
    bundle: Annotated[Path, typer.Option(help="Directory of the bundle.")],
    out: Annotated[Path, typer.Option(help="Folder of the repository; appears whole or not at all.")],
    max_batch: Annotated[int, typer.Option(help="Most frames that share a run.")] = 8,
    delay_us: Annotated[
        int, typer.Option(help="Longest time in microseconds that a request waits for others.")
    ] = 2000,
    instances: Annotated[int, typer.Option(help="Copies of each graph a device.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu or gpu.")] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Replace a repository that is there.")] = False,
) -> None:
    """A Triton model repository of a bundle's graphs: a model each, and an ensemble of backbone and heads."""
    if find_spec("tritonclient") is None:
        raise ValueError("tritonclient is not installed; install partstream-export[triton]")
    # Imported here, for other commands do not need the package.
    from partstream_export.triton import RepositoryConfig, write_repository  # noqa: PLC0415

    config = RepositoryConfig(max_batch=max_batch, delay_us=delay_us, instances=instances, device=device)
    names = write_repository(out, bundle, config, force=force)
    typer.echo(f"wrote {out}: " + ", ".join(names))
