"""Runs one job: download, parse in chunks, render the outputs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

from pydantic import BaseModel

from partstream_server.engine import Engine
from partstream_server.jobs.errors import BundleChangedError, DiskQuotaError
from partstream_server.jobs.likely_file import LIKELY
from partstream_server.jobs.parse import (
    InconsistentError,
    ParseHooks,
    ResultFiles,
    expected_frames,
    model_document,
    parse_in_chunks,
)
from partstream_server.jobs.records import Checkpoint, Job, JobState, Output
from partstream_server.jobs.render import RESULTS, write_output
from partstream_server.jobs.store import JobStore
from partstream_server.media import MediaLimits, open_video
from partstream_server.offline.rendering import RenderKind, RenderOptions, options_for
from partstream_server.pipeline.parse_options import ParseOptions
from partstream_server.sources.address import Rules
from partstream_server.sources.download import download
from partstream_server.streams.tokens import fingerprint

OptionsT = TypeVar("OptionsT", bound=BaseModel)
_log = logging.getLogger("partstream.jobs")


class Interrupted(Exception):  # noqa: N818 - no error: the job goes on later, or is deleted
    """The work has to end now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerConfig:
    """Limits of a job."""

    limits: MediaLimits
    sources: Rules
    max_bytes: int
    quota_bytes: int
    chunk_frames: int


class JobRunner:
    """Takes a job from where it is to its end.

    Args:
        store: Told of every step.
        engine: What parses.
        config: Limits.
        check: Called again and again; raises to end the work.
        use_frame: Called before each parsed frame; may wait, and raises to end the work.
    """

    def __init__(
        self,
        store: JobStore,
        engine: Engine,
        config: RunnerConfig,
        *,
        check: Callable[[], None],
        use_frame: Callable[[], None],
    ) -> None:
        self._store, self._engine, self._config = store, engine, config
        self._check, self._use_frame = check, use_frame

    def run(self, job: Job) -> None:
        """Do all that is left of a job; its state is left to the caller at the end.

        Raises:
            Interrupted: By `check`.
            PartstreamError, OSError: The job cannot be done.
        """
        source = self._store.folder(job.job_id) / "source"
        if not source.is_file():
            job = self._fetch(job)
        if job.video is None:
            job = self._parse(job)
        self._render(job)

    def _fetch(self, job: Job) -> Job:
        folder = self._store.folder(job.job_id)
        part = folder / "unfinished-source"
        self._store.update(job.job_id, state=JobState.FETCHING)
        room = self._config.quota_bytes - self._store.disk_bytes(job.owner)
        num_bytes = download(
            job.url,
            self._config.sources,
            part,
            max_bytes=min(self._config.max_bytes, max(room, 0)),
            before_chunk=self._check,
        )
        part.replace(folder / "source")
        return self._store.update(job.job_id, state=JobState.PARSING, disk_bytes=num_bytes)

    def _parse(self, job: Job) -> Job:
        folder, engine = self._store.folder(job.job_id), self._engine
        options = parse_options(job)
        bundle = fingerprint(engine.bundle.manifest)
        if job.checkpoint.next_index and bundle != job.bundle:
            raise BundleChangedError(
                f"the first {job.checkpoint.next_index} frames were parsed by {_name(job)}, which this "
                "server does not run any more; submit the job again"
            )
        with open_video(folder / "source", self._config.limits, stream=options.stream) as reader:
            info = reader.info
            expected = expected_frames(info, info.duration_s, options)
        job = self._store.update(
            job.job_id,
            state=JobState.PARSING,
            bundle=bundle,
            model=model_document(engine),
            expected_frames=expected,
        )

        def on_checkpoint(checkpoint: Checkpoint) -> None:
            nonlocal job
            job = replace(job, checkpoint=checkpoint)
            job = self._store.advance(
                job.job_id,
                "progress",
                {"num_frames": checkpoint.next_index, "num_results": checkpoint.num_results},
                checkpoint=checkpoint,
                disk_bytes=self._folder_bytes(job),
            )
            self._check_quota(job)

        hooks = ParseHooks(self._use_frame, on_checkpoint)
        checkpoint = job.checkpoint
        try:
            video = self._parse_from(job, options, checkpoint, hooks)
        except InconsistentError:
            _log.warning("results are shorter than their checkpoint", extra={"fields": {"job": job.job_id}})
            self._store.advance(job.job_id, "restarted", checkpoint=Checkpoint())
            video = self._parse_from(job, options, Checkpoint(), hooks)
        return self._store.advance(job.job_id, "rendering", state=JobState.RENDERING, video=video)

    def _parse_from(
        self, job: Job, options: ParseOptions, checkpoint: Checkpoint, hooks: ParseHooks
    ) -> dict[str, Any]:
        folder = self._store.folder(job.job_id)
        video = parse_in_chunks(
            folder / "source",
            ResultFiles(folder / RESULTS, folder / LIKELY if _covers(job) else None),
            self._engine,
            options,
            limits=self._config.limits,
            checkpoint=checkpoint,
            hooks=hooks,
            chunk_frames=self._config.chunk_frames,
        )
        return asdict(video)

    def _render(self, job: Job) -> None:
        head = {"video": job.video, "model": job.model}
        self._store.update(job.job_id, state=JobState.RENDERING)
        for output in job.outputs:
            write_output(
                output,
                self._store.folder(job.job_id),
                head,
                parse_options(job),
                rendering=_options(RenderOptions, job),
                limits=self._config.limits,
                before_frame=self._check,
            )
            job = self._store.update(job.job_id, disk_bytes=self._folder_bytes(job))
            self._check_quota(job)

    def _folder_bytes(self, job: Job) -> int:
        return sum(path.stat().st_size for path in self._store.folder(job.job_id).iterdir())

    def _check_quota(self, job: Job) -> None:
        used = self._store.disk_bytes(job.owner)
        if used > self._config.quota_bytes:
            raise DiskQuotaError(
                f"the jobs of this key take {used} bytes; they may take {self._config.quota_bytes}"
            )


def parse_options(job: Job) -> ParseOptions:
    """The options of a job's parsing."""
    options = _options(ParseOptions, job)
    return options_for(options, _options(RenderOptions, job)) if Output.MP4 in job.outputs else options


def _covers(job: Job) -> bool:
    """Whether likely heads are needed to render the video."""
    rendering = _options(RenderOptions, job)
    return (
        rendering.render is RenderKind.PRIVACY and Output.MP4 in job.outputs and not job.options.get("people")
    )


def _options(kind: type[OptionsT], job: Job) -> OptionsT:
    """Those of a job's options that are of a kind."""
    return kind.model_validate(
        {name: value for name, value in job.options.items() if name in kind.model_fields}
    )


def _name(job: Job) -> str:
    model = job.model or {}
    return f"{model.get('bundle', 'another bundle')} {model.get('version', '')}".strip()
