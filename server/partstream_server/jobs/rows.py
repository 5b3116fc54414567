"""Jobs as rows of the database."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from partstream_server.jobs.records import (
    Checkpoint,
    Job,
    JobState,
    Output,
    snapshot_from_text,
    snapshot_to_text,
)


def to_row(job: Job) -> dict[str, Any]:
    """The columns of a job."""
    point = job.checkpoint
    return {
        "job_id": job.job_id,
        "owner": job.owner,
        "created_s": job.created_s,
        "state": job.state.value,
        "options": json.dumps(job.options),
        "outputs": ",".join(job.outputs),
        "url": job.url,
        "webhook": job.webhook,
        "idempotency_key": job.idempotency_key,
        "started_s": job.started_s,
        "finished_s": job.finished_s,
        "expected_frames": job.expected_frames,
        "next_index": point.next_index,
        "num_results": point.num_results,
        "results_bytes": point.results_bytes,
        "snapshot": snapshot_to_text(point.snapshot),
        "parsing_s": point.parsing_s,
        "video": _json(job.video),
        "model": _json(job.model),
        "bundle": job.bundle,
        "problem": _json(job.problem),
        "disk_bytes": job.disk_bytes,
    }


def from_row(row: sqlite3.Row) -> Job:
    """The job of a row."""
    return Job(
        job_id=row["job_id"],
        owner=row["owner"],
        created_s=row["created_s"],
        state=JobState(row["state"]),
        options=json.loads(row["options"]),
        outputs=tuple(Output(one) for one in row["outputs"].split(",")),
        url=row["url"],
        webhook=row["webhook"],
        idempotency_key=row["idempotency_key"],
        started_s=row["started_s"],
        finished_s=row["finished_s"],
        expected_frames=row["expected_frames"],
        checkpoint=Checkpoint(
            row["next_index"],
            row["num_results"],
            row["results_bytes"],
            snapshot_from_text(row["snapshot"]),
            row["parsing_s"],
        ),
        video=_value(row["video"]),
        model=_value(row["model"]),
        bundle=row["bundle"],
        problem=_value(row["problem"]),
        disk_bytes=row["disk_bytes"],
    )


def _json(value: object) -> str | None:
    return None if value is None else json.dumps(value)


def _value(text: str | None) -> Any:
    return None if text is None else json.loads(text)
