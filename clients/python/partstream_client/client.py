"""The client, for callers without an event loop: `AsyncClient` on a thread of its own.

Nothing is written twice: each method hands its arguments to the asynchronous one of the same name and waits.
"""

import os
from collections.abc import Generator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, Unpack

from partstream_client.async_client import DEFAULT_URL, AsyncClient, Settings
from partstream_client.follow import FollowResult
from partstream_client.frames import Frame, ParseResult
from partstream_client.jobs import AsyncJob, JobStatus, Output
from partstream_client.loop import LoopThread
from partstream_client.progress import ProgressCallback
from partstream_client.rest import Options, OverlayOptions, SourceOptions
from partstream_client.source import Source
from partstream_client.streaming.answers import Answer, SourceAnswer
from partstream_client.streaming.options import Frames, StreamOptions


class Client:
    """Sends media to a partstream server and reads the results; may be used from several threads.

    Every method does what the one of the same name of `AsyncClient` does, whose description holds here too.
    An iterator that is not read to its end is closed with `close()`, or when nobody holds it any longer.

    Args:
        url: Address of the server.
        settings: See `Settings`.
    """

    def __init__(self, url: str = DEFAULT_URL, **settings: Unpack[Settings]) -> None:
        self._loop = LoopThread()
        try:
            self._client = self._loop.call(lambda: AsyncClient(url, **settings))
        except BaseException:
            self._loop.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and end the thread."""
        if not self._loop.closed:
            self._loop.run(self._client.close())
            self._loop.close()

    def parse(
        self,
        source: Source,
        *,
        progress: ProgressCallback | None = None,
        deadline_s: float | None = None,
        **options: Unpack[Options],
    ) -> ParseResult:
        """The results of the whole video or image; see `AsyncClient.parse`."""
        return self._loop.run(self._client.parse(source, progress=progress, deadline_s=deadline_s, **options))

    def follow(
        self,
        source: Source,
        targets: Sequence[str],
        *,
        progress: ProgressCallback | None = None,
        deadline_s: float | None = None,
        **options: Unpack[Options],
    ) -> FollowResult:
        """Where named people are seen, hidden or gone; see `AsyncClient.follow`."""
        return self._loop.run(
            self._client.follow(source, targets, progress=progress, deadline_s=deadline_s, **options)
        )

    def iter_frames(
        self,
        source: Source,
        *,
        progress: ProgressCallback | None = None,
        deadline_s: float | None = None,
        **options: Unpack[Options],
    ) -> Generator[Frame]:
        """The results frame by frame, each as soon as the server has it; see `AsyncClient.iter_frames`."""
        return self._loop.iterate(
            lambda: self._client.iter_frames(source, progress=progress, deadline_s=deadline_s, **options)
        )

    def overlay(
        self,
        source: Source,
        out: str | os.PathLike[str],
        *,
        skeletons: bool = False,
        progress: ProgressCallback | None = None,
        deadline_s: float | None = None,
        **options: Unpack[OverlayOptions],
    ) -> Path:
        """The path `out`, holding the video with what was found drawn on it; see `AsyncClient.overlay`."""
        return self._loop.run(
            self._client.overlay(
                source, out, skeletons=skeletons, progress=progress, deadline_s=deadline_s, **options
            )
        )

    def cutout(
        self,
        source: Source,
        out: str | os.PathLike[str],
        *,
        progress: ProgressCallback | None = None,
        deadline_s: float | None = None,
        **options: Unpack[Options],
    ) -> Path:
        """The path `out`, holding the people alone on a transparent ground; see `AsyncClient.cutout`."""
        return self._loop.run(
            self._client.cutout(source, out, progress=progress, deadline_s=deadline_s, **options)
        )

    def stream(
        self, frames: Frames, options: StreamOptions | None = None, *, deadline_s: float | None = None
    ) -> Generator[Answer]:
        """Answers for the frames of a live source, in order; see `AsyncClient.stream`."""
        return self._loop.iterate(lambda: self._client.stream(frames, options, deadline_s=deadline_s))

    def stream_video(
        self,
        source: Source,
        *,
        progress: ProgressCallback | None = None,
        deadline_s: float | None = None,
        **options: Unpack[Options],
    ) -> Generator[Frame]:
        """The results of a video frame by frame, over gRPC; see `AsyncClient.stream_video`."""
        return self._loop.iterate(
            lambda: self._client.stream_video(source, progress=progress, deadline_s=deadline_s, **options)
        )

    def start_source(self, url: str, **options: Unpack[SourceOptions]) -> str:
        """The id of a source that the server pulls from now on; see `AsyncClient.start_source`."""
        return self._loop.run(self._client.start_source(url, **options))

    def subscribe(self, source_id: str, *, deadline_s: float | None = None) -> Generator[SourceAnswer]:
        """Answers for the frames of such a source, until it ends; see `AsyncClient.subscribe`."""
        return self._loop.iterate(lambda: self._client.subscribe(source_id, deadline_s=deadline_s))

    def stop_source(self, source_id: str) -> None:
        """Stop such a source; see `AsyncClient.stop_source`."""
        self._loop.run(self._client.stop_source(source_id))

    def submit(
        self,
        source: Source | None = None,
        *,
        url: str | None = None,
        outputs: Sequence[Output] = ("ndjson",),
        skeletons: bool = False,
        webhook: str | None = None,
        idempotency_key: str | None = None,
        progress: ProgressCallback | None = None,
        deadline_s: float | None = None,
        **options: Unpack[OverlayOptions],
    ) -> "Job":
        """A job that the server parses in the background; see `AsyncClient.submit`."""
        job = self._loop.run(
            self._client.submit(
                source,
                url=url,
                outputs=outputs,
                skeletons=skeletons,
                webhook=webhook,
                idempotency_key=idempotency_key,
                progress=progress,
                deadline_s=deadline_s,
                **options,
            )
        )
        return Job(self._loop, job)

    def job(self, job_id: str) -> "Job":
        """A job that was submitted before, by its id."""
        return Job(self._loop, self._client.job(job_id))

    def jobs(self) -> "list[Job]":
        """All jobs of this key, newest first; see `AsyncClient.jobs`."""
        return [Job(self._loop, job) for job in self._loop.run(self._client.jobs())]

    def is_ready(self) -> bool:
        """Whether a server answers there and is ready to parse."""
        return self._loop.run(self._client.is_ready())


class Job:
    """One job of a server; made by `Client.submit` and `Client.job`.

    Args:
        loop: Of the client, which stays open as long as the job is used.
        job: The same for callers with an event loop.
    """

    def __init__(self, loop: LoopThread, job: AsyncJob) -> None:
        self._loop, self._job = loop, job
        self.job_id = job.job_id

    def status(self) -> JobStatus:
        """How far the job is; see `AsyncJob.status`."""
        return self._loop.run(self._job.status())

    def wait(self, *, progress: ProgressCallback | None = None, poll_s: float = 1.0) -> JobStatus:
        """The status of the job once it is done; see `AsyncJob.wait`."""
        return self._loop.run(self._job.wait(progress=progress, poll_s=poll_s))

    def results(self) -> Generator[Frame]:
        """The frames of a job that is done, one by one; see `AsyncJob.results`."""
        return self._loop.iterate(self._job.results)

    def save(self, output: Output, out: str | os.PathLike[str]) -> Path:
        """The path `out`, holding one output of a job that is done; see `AsyncJob.save`."""
        return self._loop.run(self._job.save(output, out))

    def cancel(self) -> None:
        """Cancel the job if it is in work, and delete it with its results; see `AsyncJob.cancel`."""
        self._loop.run(self._job.cancel())
