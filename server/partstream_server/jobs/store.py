"""The database of jobs: SQLite in write-ahead mode, one file in the data directory.

A job's files are in a folder beside it. Every method is one transaction; what it wrote is on the disk when it
returns. One process at a time has the store open: SQLite's lock is held until it is closed.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from partstream_server.jobs.errors import JobsUnavailableError, JobUnknownError
from partstream_server.jobs.records import Delivery, Job, JobEvent, JobState
from partstream_server.jobs.rows import from_row, to_row

DATABASE: Final = "jobs.sqlite"
_LOCK_TIMEOUT_S: Final = 1.0
_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE jobs (
    job_id TEXT PRIMARY KEY, number INTEGER NOT NULL, owner TEXT NOT NULL, created_s REAL NOT NULL,
    state TEXT NOT NULL, options TEXT NOT NULL, outputs TEXT NOT NULL, url TEXT NOT NULL,
    webhook TEXT NOT NULL, idempotency_key TEXT, started_s REAL, finished_s REAL, expected_frames INTEGER,
    next_index INTEGER NOT NULL, num_results INTEGER NOT NULL, results_bytes INTEGER NOT NULL, snapshot TEXT,
    parsing_s REAL NOT NULL, video TEXT, model TEXT, bundle BLOB NOT NULL, problem TEXT,
    disk_bytes INTEGER NOT NULL, UNIQUE (owner, idempotency_key)
);
CREATE TABLE events (
    job_id TEXT NOT NULL REFERENCES jobs ON DELETE CASCADE, number INTEGER NOT NULL, time_s REAL NOT NULL,
    kind TEXT NOT NULL, data TEXT NOT NULL, PRIMARY KEY (job_id, number)
);
CREATE TABLE deliveries (
    message_id TEXT PRIMARY KEY, job_id TEXT NOT NULL, url TEXT NOT NULL, body TEXT NOT NULL,
    num_attempts INTEGER NOT NULL, next_s REAL NOT NULL
);
CREATE TABLE turns (owner TEXT PRIMARY KEY, number INTEGER NOT NULL);
"""
_NEXT: Final = (
    "SELECT jobs.* FROM jobs LEFT JOIN turns ON turns.owner = jobs.owner "
    "WHERE state = ? AND jobs.owner NOT IN (OWNERS) ORDER BY COALESCE(turns.number, 0), jobs.number LIMIT 1"
)
_UNFINISHED: Final = tuple(state.value for state in JobState if not state.is_over)
_IN_WORK: Final = tuple(set(_UNFINISHED) - {JobState.QUEUED.value})


class JobStore:
    """Jobs and their files; safe to use from several threads."""

    def __init__(self, directory: Path, *, clock: Callable[[], float] = time.time) -> None:
        """Open or make the store.

        Raises:
            JobsUnavailableError: The directory cannot be used, or another server uses it.
        """
        self._directory, self._clock = directory, clock
        self._mutex = threading.RLock()
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._open()
        except OSError as error:
            raise JobsUnavailableError(f"jobs cannot be kept in {directory}: {error.strerror}") from error
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise JobsUnavailableError(f"another server keeps its jobs in {directory}") from error
            raise JobsUnavailableError(f"jobs cannot be kept in {directory}: {error}") from error
        except sqlite3.Error as error:
            raise JobsUnavailableError(f"{directory / DATABASE} cannot be used: {error}") from error

    def _open(self) -> None:
        self._database = sqlite3.connect(
            self._directory / DATABASE, timeout=_LOCK_TIMEOUT_S, check_same_thread=False, isolation_level=None
        )
        try:
            self._prepare()
        except BaseException:
            self._database.close()
            raise

    def _prepare(self) -> None:
        """Lock the database for this process, and make its tables."""
        self._database.row_factory = sqlite3.Row
        self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("BEGIN IMMEDIATE")
        self._database.execute("COMMIT")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.execute("PRAGMA foreign_keys = ON")
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
        elif version != _VERSION:
            raise sqlite3.DatabaseError(f"it is of version {version}, and this server reads {_VERSION}")

    def close(self) -> None:
        """Release the store."""
        with self._mutex:
            self._database.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._mutex:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    def folder(self, job_id: str) -> Path:
        """Where the files of a job are."""
        return self._directory / "files" / job_id

    def add(self, job: Job) -> Job:
        """Store a new job, or return the one that its owner submitted with the same idempotency key."""
        with self._transaction() as database:
            if job.idempotency_key is not None and (
                known := self.by_idempotency_key(job.owner, job.idempotency_key)
            ):
                return known
            (number,) = database.execute("SELECT COALESCE(MAX(number), 0) + 1 FROM jobs").fetchone()
            row = to_row(job) | {"number": number}
            names = ", ".join(row)
            places = ", ".join(f":{name}" for name in row)
            database.execute(f"INSERT INTO jobs ({names}) VALUES ({places})", row)  # noqa: S608 - our own names
            self._add_event(database, job.job_id, "queued", {})
        return job

    def get(self, job_id: str, owner: str | None = None) -> Job:
        """One job.

        Raises:
            JobUnknownError: It is not there, or another owner's.
        """
        with self._mutex:
            row = self._database.execute("SELECT * FROM jobs WHERE job_id = ?", (job_id,)).fetchone()
        if row is None or owner not in (None, row["owner"]):
            raise JobUnknownError(f"there is no job {job_id}")
        return from_row(row)

    def by_idempotency_key(self, owner: str, key: str) -> Job | None:
        """The job that an owner submitted with this key."""
        with self._mutex:
            row = self._database.execute(
                "SELECT * FROM jobs WHERE owner = ? AND idempotency_key = ?", (owner, key)
            ).fetchone()
        return None if row is None else from_row(row)

    def page(self, owner: str, *, limit: int, before: str | None = None) -> list[Job]:
        """An owner's jobs, newest first, those before one of them.

        Raises:
            JobUnknownError: There is no job `before`.
        """
        with self._mutex:
            number = None
            if before is not None:
                self.get(before, owner)
                (number,) = self._database.execute(
                    "SELECT number FROM jobs WHERE job_id = ?", (before,)
                ).fetchone()
            rows = self._database.execute(
                "SELECT * FROM jobs WHERE owner = ? AND (? IS NULL OR number < ?) "
                "ORDER BY number DESC LIMIT ?",
                (owner, number, number, limit),
            ).fetchall()
        return [from_row(row) for row in rows]

    def update(self, job_id: str, **fields: Any) -> Job:
        """Change fields of a job.

        Raises:
            JobUnknownError: It is gone.
        """
        with self._transaction() as database:
            job = replace(self.get(job_id), **fields)
            self._write(database, job)
        return job

    def advance(self, job_id: str, kind: str, data: dict[str, Any] | None = None, **fields: Any) -> Job:
        """Change fields of a job and add an event, in one transaction.

        Raises:
            JobUnknownError: It is gone.
        """
        with self._transaction() as database:
            job = replace(self.get(job_id), **fields)
            self._write(database, job)
            self._add_event(database, job_id, kind, data or {})
        return job

    def finish(self, job_id: str, kind: str, deliveries: Sequence[Delivery], **fields: Any) -> Job:
        """End a job, with its event and the webhook messages that are due."""
        with self._transaction() as database:
            job = replace(self.get(job_id), finished_s=self._clock(), **fields)
            self._write(database, job)
            self._add_event(database, job_id, kind, job.problem or {})
            for one in deliveries:
                database.execute(
                    "INSERT INTO deliveries VALUES "
                    "(:message_id, :job_id, :url, :body, :num_attempts, :next_s)",
                    asdict(one),
                )
        return job

    def take_next(self, *, without: Collection[str] = ()) -> Job | None:
        """The job whose turn it is, marked as started; None if none waits.

        Owners take turns: the next job is the oldest one of the owner who was served longest ago.

        Args:
            without: Owners whose jobs stay where they are.
        """
        marks = ", ".join("?" * len(without))
        with self._transaction() as database:
            row = database.execute(
                _NEXT.replace("OWNERS", marks), (JobState.QUEUED.value, *without)
            ).fetchone()
            if row is None:
                return None
            job = from_row(row)
            state = JobState.FETCHING if job.url and not self._has_source(job) else JobState.PARSING
            job = replace(job, state=state, started_s=job.started_s or self._clock())
            self._write(database, job)
            self._add_event(database, job.job_id, "started", {})
            database.execute(
                "INSERT INTO turns SELECT ?, COALESCE(MAX(number), 0) + 1 FROM turns WHERE true "
                "ON CONFLICT (owner) DO UPDATE SET number = excluded.number",
                (job.owner,),
            )
        return job

    def _has_source(self, job: Job) -> bool:
        return (self.folder(job.job_id) / "source").is_file()

    def requeue_interrupted(self, *, without: Collection[str] = ()) -> int:
        """Let jobs that were in work wait for their turn again; how many they are.

        Args:
            without: Jobs that still are in work.
        """
        marks = ", ".join("?" * len(_IN_WORK))
        with self._transaction() as database:
            rows = database.execute(
                f"SELECT job_id FROM jobs WHERE state IN ({marks})",  # noqa: S608 - only marks
                _IN_WORK,
            ).fetchall()
            for row in rows:
                if row["job_id"] in without:
                    continue
                database.execute(
                    "UPDATE jobs SET state = ? WHERE job_id = ?", (JobState.QUEUED.value, row["job_id"])
                )
                self._add_event(database, row["job_id"], "interrupted", {})
        return len({row["job_id"] for row in rows} - set(without))

    def delete(self, job_id: str) -> None:
        """Forget a job and remove its files."""
        with self._transaction() as database:
            database.execute("DELETE FROM jobs WHERE job_id = ?", (job_id,))
            database.execute("DELETE FROM deliveries WHERE job_id = ?", (job_id,))
        shutil.rmtree(self.folder(job_id), ignore_errors=True)

    def remove_orphans(self) -> None:
        """Remove folders of jobs that are not stored: uploads that a crash cut short."""
        with self._mutex:
            known = {row["job_id"] for row in self._database.execute("SELECT job_id FROM jobs")}
        for folder in (self._directory / "files").glob("*"):
            if folder.name not in known:
                shutil.rmtree(folder, ignore_errors=True)

    def finished_before(self, time_s: float) -> list[str]:
        """Jobs that were over before a time."""
        with self._mutex:
            rows = self._database.execute(
                "SELECT job_id FROM jobs WHERE finished_s < ?", (time_s,)
            ).fetchall()
        return [row["job_id"] for row in rows]

    def num_unfinished(self, owner: str) -> int:
        """How many jobs of an owner wait or are in work."""
        marks = ", ".join("?" * len(_UNFINISHED))
        with self._mutex:
            (count,) = self._database.execute(
                f"SELECT COUNT(*) FROM jobs WHERE owner = ? AND state IN ({marks})",  # noqa: S608 - only marks
                (owner, *_UNFINISHED),
            ).fetchone()
        return int(count)

    def disk_bytes(self, owner: str) -> int:
        """Bytes of all files of an owner's jobs."""
        with self._mutex:
            (total,) = self._database.execute(
                "SELECT COALESCE(SUM(disk_bytes), 0) FROM jobs WHERE owner = ?", (owner,)
            ).fetchone()
        return int(total)

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state."""
        with self._mutex:
            rows = self._database.execute("SELECT state, COUNT(*) FROM jobs GROUP BY state").fetchall()
        return {state.value: 0 for state in JobState} | {row[0]: row[1] for row in rows}

    def events(self, job_id: str, *, after: int = 0) -> list[JobEvent]:
        """Events of a job with larger numbers, in order."""
        with self._mutex:
            rows = self._database.execute(
                "SELECT * FROM events WHERE job_id = ? AND number > ? ORDER BY number", (job_id, after)
            ).fetchall()
        return [JobEvent(row["number"], row["time_s"], row["kind"], json.loads(row["data"])) for row in rows]

    def due_deliveries(self) -> list[Delivery]:
        """Webhook messages whose next attempt is due."""
        with self._mutex:
            rows = self._database.execute(
                "SELECT * FROM deliveries WHERE next_s <= ? ORDER BY next_s", (self._clock(),)
            ).fetchall()
        return [Delivery(**dict(row)) for row in rows]

    def num_deliveries(self) -> int:
        """Webhook messages that were not received yet."""
        with self._mutex:
            (count,) = self._database.execute("SELECT COUNT(*) FROM deliveries").fetchone()
        return int(count)

    def reschedule(self, delivery: Delivery, next_s: float | None) -> None:
        """Note a failed attempt, and when the next one is due; None: that was the last."""
        with self._transaction() as database:
            if next_s is None:
                database.execute("DELETE FROM deliveries WHERE message_id = ?", (delivery.message_id,))
            else:
                database.execute(
                    "UPDATE deliveries SET num_attempts = num_attempts + 1, next_s = ? WHERE message_id = ?",
                    (next_s, delivery.message_id),
                )

    def _write(self, database: sqlite3.Connection, job: Job) -> None:
        row = to_row(job)
        assignments = ", ".join(f"{name} = :{name}" for name in row)
        database.execute(f"UPDATE jobs SET {assignments} WHERE job_id = :job_id", row)  # noqa: S608 - our own names

    def _add_event(self, database: sqlite3.Connection, job_id: str, kind: str, data: dict[str, Any]) -> None:
        database.execute(
            "INSERT INTO events SELECT ?, COALESCE(MAX(number), 0) + 1, ?, ?, ? FROM events WHERE job_id = ?",
            (job_id, self._clock(), kind, json.dumps(data), job_id),
        )
