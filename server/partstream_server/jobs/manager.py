"""All jobs of a server: submits, runs, lists and deletes them, and calls webhooks when they are over."""

from __future__ import annotations

import logging
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from partstream_core.errors import PartstreamError
from partstream_server.engine import Engine
from partstream_server.jobs import webhooks
from partstream_server.jobs.documents import job_document
from partstream_server.jobs.errors import (
    DiskQuotaError,
    IdempotencyError,
    JobsFullError,
    JobUnfinishedError,
    JobUnknownError,
)
from partstream_server.jobs.parse import CHUNK_FRAMES
from partstream_server.jobs.records import Job, JobEvent, JobState, Output
from partstream_server.jobs.runner import Interrupted, JobRunner, RunnerConfig
from partstream_server.jobs.store import JobStore
from partstream_server.media import MediaLimits
from partstream_server.security.errors import ThrottledError
from partstream_server.sources.address import Rules

_IDLE_S: Final = 0.5
"""How often a worker looks for a job when none waits, unless it is told of one."""
_UPKEEP_S: Final = 1.0
_SWEEP_S: Final = 60.0
_YIELD_S: Final = 0.005
_LONGEST_REST_S: Final = 600.0
"""How long jobs of a key rest at most whose frames are used up, before they are tried again."""
_LONGEST_YIELD_S: Final = 0.5
"""A job goes on by a frame after so long, however busy live streams are."""
_log = logging.getLogger("partstream.jobs")

Problem = Callable[[BaseException], dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsConfig:
    """How jobs are kept and run."""

    directory: Path
    num_workers: int = 1
    lifetime_s: float = 7 * 86400.0
    """How long a job is kept after its end."""
    quota_bytes: int = 20 << 30
    """Disk that the jobs of one key may take."""
    max_unfinished: int = 100
    """Jobs of one key that may wait."""
    max_bytes: int = 2 << 30
    """Largest file."""
    limits: MediaLimits = field(default_factory=MediaLimits)
    sources: Rules = field(default_factory=Rules)
    """Where files may be downloaded from."""
    webhook_hosts: Rules = field(default_factory=Rules)
    webhook_key: bytes = b""
    webhook_pauses_s: tuple[float, ...] = webhooks.BACKOFF_S
    chunk_frames: int = CHUNK_FRAMES
    """Frames that are parsed again at most after an interruption."""
    pause_s: float = 10.0
    """After an error of the database, before jobs go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobHooks:
    """What the manager asks of the service."""

    engine: Callable[[], Engine]
    use_frame: Callable[[str], None]
    """Counts a frame of an owner; raises if there is none left."""
    yields: Callable[[], bool]
    """Whether live streams wait at the moment."""
    problem: Problem
    """The problem document of an error."""


class Jobs:
    """Submits, finds and deletes jobs; safe to use from several threads.

    The store is opened when the first job is submitted, or at the start if there is one.
    """

    def __init__(
        self, config: JobsConfig, hooks: JobHooks, *, open_store: Callable[[Path], JobStore] = JobStore
    ) -> None:
        self.config, self._hooks, self._open_store = config, hooks, open_store
        self._mutex = threading.Lock()
        self._store: JobStore | None = None
        self._threads: list[threading.Thread] = []
        self._closing = threading.Event()
        self._wake = threading.Event()
        self._running: dict[str, threading.Event] = {}
        """Of each job in work: set when it is to end."""
        self._resting: dict[str, float] = {}
        """Until when owners rest whose frames of the day are used up, on the monotonic clock."""

    @property
    def store(self) -> JobStore:
        """The store, opened if need be.

        Raises:
            JobsUnavailableError: It cannot be opened.
        """
        with self._mutex:
            if self._store is None:
                self._store = self._open_store(self.config.directory)
                self._store.remove_orphans()
                interrupted = self._store.requeue_interrupted()
                if interrupted:
                    _log.info("jobs go on", extra={"fields": {"jobs": interrupted}})
            return self._store

    @property
    def has_store(self) -> bool:
        """Whether jobs were submitted here before."""
        return self._store is not None or self.config.directory.is_dir()

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state; none where the store was not opened."""
        store = self._store
        return {} if store is None else store.counts()

    def start(self) -> None:
        """Begin to run jobs; call it when the engine is ready. Does nothing the second time."""
        store = self.store
        with self._mutex:
            if self._threads or self._closing.is_set():
                return
            for number in range(self.config.num_workers):
                self._start_thread(lambda: self._work(store), f"job-{number}")
            self._start_thread(lambda: self._upkeep(store), "job-upkeep")

    def _start_thread(self, target: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def close(self) -> None:
        """Stop all work; jobs in work go on at the next start."""
        self._closing.set()
        self._wake.set()
        for thread in self._threads:
            thread.join()
        with self._mutex:
            if self._store is not None:
                self._store.requeue_interrupted()
                self._store.close()
                self._store = None

    def find_repeated(
        self, owner: str, key: str | None, options: dict[str, Any], outputs: tuple[Output, ...]
    ) -> Job | None:
        """The job that an owner submitted before with this idempotency key.

        Raises:
            IdempotencyError: That one had other options.
        """
        known = None if key is None else self.store.by_idempotency_key(owner, key)
        if known is not None and (known.options, known.outputs) != (options, outputs):
            raise IdempotencyError(f"the Idempotency-Key {key!r} was used for a job with other options")
        return known

    def room_bytes(self, owner: str) -> int:
        """Largest file that an owner may submit now.

        Raises:
            JobsFullError: As many jobs wait as may.
            DiskQuotaError: There is no room left.
        """
        waiting, config = self.store.num_unfinished(owner), self.config
        if waiting >= config.max_unfinished:
            raise JobsFullError(f"{waiting} jobs wait or are in work already; try again later")
        room = config.quota_bytes - self.store.disk_bytes(owner)
        if room <= 0:
            raise DiskQuotaError(
                f"the jobs of this key take {config.quota_bytes} bytes, which is all they may: delete some"
            )
        return min(room, config.max_bytes)

    def new_folder(self) -> tuple[str, Path]:
        """The id of a job to come, and its folder."""
        job_id = secrets.token_hex(12)
        folder = self.store.folder(job_id)
        folder.mkdir(mode=0o700, parents=True)
        return job_id, folder

    def submit(
        self,
        job_id: str,
        *,
        owner: str,
        options: dict[str, Any],
        outputs: tuple[Output, ...],
        url: str = "",
        webhook: str = "",
        idempotency_key: str | None = None,
    ) -> Job:
        """Queue a job whose folder was made, with the file `source` (and `backdrop`) in it or a URL.

        If the owner submitted one with this idempotency key at the same time, that one is returned.
        """
        folder = self.store.folder(job_id)
        job = self.store.add(
            Job(
                job_id=job_id,
                owner=owner,
                created_s=time.time(),
                state=JobState.QUEUED,
                options=options,
                outputs=outputs,
                url=url,
                webhook=webhook,
                idempotency_key=idempotency_key,
                disk_bytes=sum(path.stat().st_size for path in folder.iterdir()),
            )
        )
        if job.job_id != job_id:
            self.store.delete(job_id)
        self._wake.set()
        return job

    def get(self, job_id: str, owner: str) -> Job:
        """One job.

        Raises:
            JobUnknownError: It is not there, or another owner's.
        """
        return self.store.get(job_id, owner)

    def page(self, owner: str, *, limit: int, before: str | None) -> list[Job]:
        """An owner's jobs, newest first.

        Raises:
            JobUnknownError: There is no job `before`.
        """
        if before is None and not self.has_store:
            return []
        return self.store.page(owner, limit=limit, before=before)

    def events(self, job_id: str, after: int) -> list[JobEvent]:
        """Events of a job."""
        return self.store.events(job_id, after=after)

    def result(self, job_id: str, owner: str, output: Output) -> Path:
        """The file of an output.

        Raises:
            JobUnknownError: There is no such job, or it was not asked for that output.
            JobUnfinishedError: It is not there yet, or never will be.
        """
        job = self.get(job_id, owner)
        if output not in job.outputs:
            raise JobUnknownError(f"job {job_id} was not asked for {output}; it has {', '.join(job.outputs)}")
        if job.state is not JobState.DONE:
            raise JobUnfinishedError(f"job {job_id} is {job.state}: it has no results")
        return self.store.folder(job_id) / output.file_name

    def delete(self, job_id: str, owner: str) -> None:
        """Cancel a job if it is in work, and forget it with its files.

        Raises:
            JobUnknownError: It is not there, or another owner's.
        """
        self.get(job_id, owner)
        if (stop := self._running.get(job_id)) is not None:
            stop.set()
        self.store.delete(job_id)

    def _work(self, store: JobStore) -> None:
        failed = False
        while not self._closing.is_set():
            try:
                if failed:
                    store.requeue_interrupted(without=list(self._running))
                    failed = False
                self._work_once(store)
            except Exception:  # the database cannot be written, as on a full disk; it may be later
                failed = True
                _log.exception("jobs cannot go on at the moment")
                self._closing.wait(self.config.pause_s)

    def _work_once(self, store: JobStore) -> None:
        """Run the next job, or wait a moment for one."""
        self._wake.clear()
        now_s = time.monotonic()
        self._resting = {name: until for name, until in self._resting.items() if until > now_s}
        job = store.take_next(without=list(self._resting))
        if job is None:
            self._wake.wait(_IDLE_S)
            return
        stop = self._running[job.job_id] = threading.Event()
        try:
            self._run(store, job, stop)
        finally:
            del self._running[job.job_id]

    def _run(self, store: JobStore, job: Job, stop: threading.Event) -> None:
        """Run one job to its end, whatever that is."""
        fields: dict[str, Any] = {"job": job.job_id, "owner": job.owner}
        _log.info("job started", extra={"fields": fields})
        try:
            self._runner(store, job, stop).run(job)
        except Interrupted:
            _log.info("job interrupted", extra={"fields": fields})
        except ThrottledError as error:  # it goes on from its checkpoint when there are frames again
            _log.info("job waits for its quota", extra={"fields": fields})
            self._resting[job.owner] = time.monotonic() + min(error.retry_after_s, _LONGEST_REST_S)
            store.advance(job.job_id, "waiting", {"reason": str(error)}, state=JobState.QUEUED)
        except JobUnknownError:  # deleted between two steps
            _log.info("job deleted", extra={"fields": fields})
        except sqlite3.Error:  # the job goes on from its checkpoint when the database can be written again
            raise
        except Exception as error:
            problem = self._hooks.problem(error)
            if isinstance(error, PartstreamError | OSError):
                _log.info("job failed", extra={"fields": fields | problem})
            else:
                _log.exception("job failed", extra={"fields": fields})
            self._finish(store, job.job_id, JobState.FAILED, problem)
        else:
            self._finish(store, job.job_id, JobState.DONE, None)
            _log.info("job done", extra={"fields": fields})
        finally:
            if stop.is_set():  # what was written after the deletion
                store.delete(job.job_id)

    def _runner(self, store: JobStore, job: Job, stop: threading.Event) -> JobRunner:
        config = self.config

        def check() -> None:
            if stop.is_set() or self._closing.is_set():
                raise Interrupted

        def use_frame() -> None:
            check()
            self._hooks.use_frame(job.owner)
            waited_s = 0.0
            while self._hooks.yields() and waited_s < _LONGEST_YIELD_S:
                time.sleep(_YIELD_S)
                waited_s += _YIELD_S

        limits = RunnerConfig(
            limits=config.limits,
            sources=config.sources,
            max_bytes=config.max_bytes,
            quota_bytes=config.quota_bytes,
            chunk_frames=config.chunk_frames,
        )
        return JobRunner(store, self._hooks.engine(), limits, check=check, use_frame=use_frame)

    def _finish(self, store: JobStore, job_id: str, state: JobState, problem: dict[str, Any] | None) -> None:
        try:
            job = store.get(job_id)
            deliveries = []
            if job.webhook:
                now_s = time.time()
                document = job_document(job, now_s=now_s, state=state, problem=problem)
                deliveries = [webhooks.message(job_id, job.webhook, f"job.{state}", now_s, document)]
            store.finish(job_id, state.value, deliveries, state=state, problem=problem)
        except JobUnknownError:
            return

    def _upkeep(self, store: JobStore) -> None:
        """Send webhook messages that are due, and delete jobs whose time is over."""
        swept_s = 0.0
        while not self._closing.wait(_UPKEEP_S):
            try:
                self._deliver(store)
                if time.monotonic() - swept_s >= _SWEEP_S:
                    swept_s = time.monotonic()
                    for job_id in store.finished_before(time.time() - self.config.lifetime_s):
                        store.delete(job_id)
            except Exception:
                _log.exception("upkeep of jobs failed")

    def _deliver(self, store: JobStore) -> None:
        for delivery in store.due_deliveries():
            if self._closing.is_set():
                return
            fields = {"job": delivery.job_id, "attempt": delivery.num_attempts + 1}
            try:
                webhooks.send(delivery, self.config.webhook_key, self.config.webhook_hosts, time.time())
            except webhooks.WebhookError as error:
                attempts, pauses_s = delivery.num_attempts, self.config.webhook_pauses_s
                pause_s = pauses_s[attempts] if attempts < len(pauses_s) else None
                store.reschedule(delivery, None if pause_s is None else time.time() + pause_s)
                word = "webhook given up" if pause_s is None else "webhook failed"
                _log.warning(word, extra={"fields": fields | {"reason": str(error)}})
            else:
                store.reschedule(delivery, None)
