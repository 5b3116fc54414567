"""Jobs: videos that the server parses in the background, whether or not the client stays."""

import asyncio
import os
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import quote

from partstream_client.errors import AnswerError, problem_from_json
from partstream_client.frames import Frame
from partstream_client.progress import Progress, ProgressCallback
from partstream_client.rest import Options, Rest, chunks, frame_of, json_of, lines, read
from partstream_client.source import Source

Output: TypeAlias = Literal["ndjson", "json", "mp4", "zip", "webm", "mov"]
"""A file that a job makes: results as lines or one document, the rendered video, label maps, the cutout."""
_PATH = "/v1/jobs"


@dataclass(frozen=True, slots=True)
class JobStatus:
    """A job as it was when the server was asked."""

    job_id: str
    state: Literal["queued", "fetching", "parsing", "rendering", "done", "failed"]
    num_frames: int
    """Frames of the source that are parsed or passed over."""
    expected_frames: int | None
    """Frames of the source, where its headers tell."""
    frames_per_second: float | None
    left_s: float | None
    """Seconds until the parsing is over, by the speed so far."""
    size: tuple[int, int] | None
    """Height and width of the frames, once all of the source was read."""
    problem: Mapping[str, Any] | None
    """Why it failed: a problem document."""
    document: Mapping[str, Any]
    """All that the server says."""

    @property
    def is_over(self) -> bool:
        """Whether nothing will happen any more."""
        return self.state in ("done", "failed")


class AsyncJob:
    """One job of a server; made by `AsyncClient.submit` and `AsyncClient.job`.

    Args:
        rest: The server.
        job_id: Which job.
        sleep: How waits pass.
    """

    def __init__(self, rest: Rest, job_id: str, sleep: Callable[[float], Awaitable[None]]) -> None:
        self.job_id = job_id
        self._rest, self._sleep = rest, sleep
        self._path = f"{_PATH}/{quote(job_id, safe='')}"

    async def status(self) -> JobStatus:
        """How far the job is.

        Raises:
            ClientError: There is no such job, or no answer.
        """
        return status_from(json_of(await self._rest.ask("GET", self._path)))

    async def wait(self, *, progress: ProgressCallback | None = None, poll_s: float = 1.0) -> JobStatus:
        """The status of the job once it is done.

        Args:
            progress: Told how many frames are parsed.
            poll_s: Seconds between two looks at the job.

        Raises:
            ClientError: The job failed, with its problem; or it was deleted, or there is no answer.
        """
        while True:
            status = await self.status()
            if progress:
                progress(Progress("frames", status.num_frames, status.expected_frames))
            if status.problem is not None:
                raise problem_from_json(dict(status.problem), status=500)
            if status.is_over:
                return status
            await self._sleep(poll_s)

    async def results(self) -> AsyncGenerator[Frame]:
        """The frames of a job that is done and was asked for `ndjson`, one by one.

        Raises:
            ClientError: The job has no such results.
        """
        status = await self.status()
        async with (
            self._rest.download(f"{self._path}/results/ndjson") as response,
            aclosing(lines(response)) as found,
        ):
            async for line in found:
                yield frame_of(line, status.size)

    async def save(self, output: Output, out: str | os.PathLike[str]) -> Path:
        """The path `out`, holding one output of a job that is done; it appears whole or not at all.

        Raises:
            OSError: The path cannot be written.
            ClientError: The job has no such output.
        """
        target = Path(out)
        partial = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            async with self._rest.download(f"{self._path}/results/{output}") as response:
                with partial.open("wb") as file:
                    async for chunk in chunks(response):
                        file.write(chunk)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        return target

    async def cancel(self) -> None:
        """Cancel the job if it is in work, and delete it with its results.

        Raises:
            ClientError: There is no such job.
        """
        await self._rest.ask("DELETE", self._path)


async def submit(
    rest: Rest,
    source: Source | None,
    query: Mapping[str, str],
    *,
    url: str | None,
    idempotency_key: str | None,
    progress: ProgressCallback | None,
    backdrop: Source | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncJob:
    """Send media, or the address of media, and return the job that the server made of them.

    Raises:
        ValueError: Neither of both is given, or both are, or a backdrop with an address.
        OSError: The path cannot be read.
        ClientError: There is no good answer.
    """
    if (source is None) == (url is None):
        raise ValueError("give either the media or the url that the server fetches them from")
    if url is not None and backdrop is not None:
        raise ValueError("a backdrop goes with media that are sent, not with a url")
    # With a key, a request that is sent again after a broken connection makes no second job.
    headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
    if source is None:
        body = await rest.ask("POST", _PATH, {"url": url}, query=query, headers=headers)
    else:
        async with (
            rest.opened_with(source, backdrop) as media,
            rest.upload(_PATH, media, query, headers, progress) as response,
        ):
            body = await read(response)
    return AsyncJob(rest, status_from(json_of(body)).job_id, sleep)


async def list_jobs(rest: Rest, sleep: Callable[[float], Awaitable[None]]) -> list[AsyncJob]:
    """All jobs of this key, newest first."""
    found: list[AsyncJob] = []
    query = {"limit": "100"}
    while True:
        page = json_of(await rest.ask("GET", _PATH, query=query))
        if not isinstance(page, dict) or not isinstance(page.get("jobs"), list):
            raise AnswerError("the server's document holds no jobs")
        found += [AsyncJob(rest, status_from(one).job_id, sleep) for one in page["jobs"]]
        if page.get("next") is None:
            return found
        query = {"limit": "100", "before": str(page["next"])}


def job_query(
    options: Options, outputs: tuple[Output, ...], *, skeletons: bool, webhook: str | None
) -> dict[str, str]:
    """The query of a job."""
    query = {name: str(value) for name, value in options.items()} | {"outputs": ",".join(outputs)}
    if skeletons:
        query["skeletons"] = "true"
    if webhook is not None:
        query["webhook"] = webhook
    return query


def status_from(document: object) -> JobStatus:
    """The status that a job's document tells.

    Raises:
        AnswerError: It is none.
    """
    try:
        assert isinstance(document, dict)
        progress, video = document["progress"], document["video"]
        return JobStatus(
            job_id=str(document["id"]),
            state=document["state"],
            num_frames=int(progress["num_frames"]),
            expected_frames=progress["expected_frames"],
            frames_per_second=progress["frames_per_second"],
            left_s=progress["left_s"],
            size=None if video is None else (int(video["height"]), int(video["width"])),
            problem=document["problem"],
            document=document,
        )
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        raise AnswerError("the server's document is no job") from error
