"""`partstream jobs`: jobs of a server from the command line.

The `partstream` command finds it by its entry point (group `partstream.commands`) where the client is
installed; `python -m partstream_client.commands` is the same without the server's package.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn, cast

from partstream_client.client import Client
from partstream_client.errors import ClientError, MissingExtraError
from partstream_client.jobs import JobStatus, Output
from partstream_client.progress import Progress
from partstream_client.rest import Options
from partstream_client.retry import RetryPolicy

try:
    import typer
except ImportError as error:
    raise MissingExtraError("cli") from error

EXIT_FAILURE = 1
EXIT_BAD_INPUT = 2

app = typer.Typer(
    name="jobs",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Jobs of a server: videos that it parses in the background.",
)

Server = Annotated[str, typer.Option(envvar="PARTSTREAM_SERVER", help="Address of the server.")]
Key = Annotated[
    str | None,
    typer.Option("--api-key", envvar="PARTSTREAM_SERVER_KEY", help="Key that the server asks for."),
]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="Id of the job.")]
DEFAULT_SERVER = "http://127.0.0.1:8000"


@app.command("submit")
def submit_command(
    source: Annotated[Path | None, typer.Argument(help="Video or image.", show_default=False)] = None,
    *,
    url: Annotated[str | None, typer.Option(help="In its place, a URL that the server fetches.")] = None,
    outputs: Annotated[
        str, typer.Option(help="Files to make, separated by commas: ndjson, json, mp4, zip, webm, mov.")
    ] = "ndjson",
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option", "-O", metavar="NAME=VALUE", help="An option of the parsing, such as every=2."
        ),
    ] = None,
    webhook: Annotated[str | None, typer.Option(help="URL to call when the job is over.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the job is done.")] = False,
    server: Server = DEFAULT_SERVER,
    key: Key = None,
) -> None:
    """Send a file, and print the id of the job that the server made of it."""
    options = cast(Options, dict(_pair(text) for text in option or ()))
    names = cast("tuple[Output, ...]", tuple(name.strip() for name in outputs.split(",")))
    if (source is None) == (url is None):
        _fail("give either a file or --url", EXIT_BAD_INPUT)
    with _client(server, key) as client:
        job = client.submit(source, url=url, outputs=names, webhook=webhook, **options)
        typer.echo(job.job_id)
        if wait:
            _wait(client, job.job_id)


@app.command("list")
def list_command(server: Server = DEFAULT_SERVER, key: Key = None) -> None:
    """List the jobs of this key, newest first."""
    with _client(server, key) as client:
        for job in client.jobs():
            typer.echo(_line(job.status()))


@app.command("show")
def show_command(job: JobId, server: Server = DEFAULT_SERVER, key: Key = None) -> None:
    """Print all that the server says of a job, as JSON."""
    with _client(server, key) as client:
        typer.echo(json.dumps(dict(client.job(job).status().document), indent=2))


@app.command("wait")
def wait_command(job: JobId, server: Server = DEFAULT_SERVER, key: Key = None) -> None:
    """Wait until a job is done; the status is 1 if it fails."""
    with _client(server, key) as client:
        _wait(client, job)


@app.command("save")
def save_command(
    job: JobId,
    output: Annotated[str, typer.Argument(help="ndjson, json, mp4, zip, webm or mov.")],
    path: Annotated[Path, typer.Argument(help="Where it is written.")],
    server: Server = DEFAULT_SERVER,
    key: Key = None,
) -> None:
    """Write an output of a job that is done to a file."""
    with _client(server, key) as client:
        typer.echo(client.job(job).save(cast(Output, output), path))


@app.command("delete")
def delete_command(job: JobId, server: Server = DEFAULT_SERVER, key: Key = None) -> None:
    """Cancel a job if it is in work, and delete it with its results."""
    with _client(server, key) as client:
        client.job(job).cancel()


def _wait(client: Client, job_id: str) -> None:
    shown = sys.stderr.isatty()

    def tell(progress: Progress) -> None:
        of = "" if progress.total is None else f" of {progress.total}"
        typer.echo(f"\r{progress.done}{of} frames", err=True, nl=False)

    status = client.job(job_id).wait(progress=tell if shown else None)
    typer.echo(("\r" if shown else "") + _line(status), err=True)


def _line(status: JobStatus) -> str:
    of = "" if status.expected_frames is None else f" of {status.expected_frames}"
    problem = "" if status.problem is None else f"  {status.problem['code']}: {status.problem['detail']}"
    return f"{status.job_id}  {status.state:9}  {status.num_frames}{of} frames{problem}"


def _pair(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        _fail(f"--option takes NAME=VALUE, not {text!r}", EXIT_BAD_INPUT)
    return name, value


@contextmanager
def _client(server: str, key: str | None) -> Iterator[Client]:
    """A client of the server; its errors end the command with one line."""
    try:
        with Client(server, api_key=key, retry=RetryPolicy()) as client:
            yield client
    except (ClientError, OSError, ValueError) as error:
        _fail(str(error), EXIT_FAILURE)


def _fail(message: str, status: int) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(status)


def main() -> None:
    """Run the command."""
    app()


if __name__ == "__main__":
    main()
