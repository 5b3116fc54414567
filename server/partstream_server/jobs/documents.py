"""Jobs as JSON: what REST answers and webhooks carry."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from partstream_server.jobs.records import Job, JobState
from partstream_server.sources.address import without_password


def job_document(
    job: Job, *, now_s: float, state: JobState | None = None, problem: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The job as JSON values; times are RFC 3339.

    Args:
        job: As it is stored.
        now_s: Seconds since 1970.
        state: In place of the stored one, for a job that ends now.
        problem: Likewise.
    """
    state = state or job.state
    finished_s = job.finished_s if job.finished_s is not None else (now_s if state.is_over else None)
    done = state is JobState.DONE
    return {
        "id": job.job_id,
        "state": state.value,
        "created_at": _time(job.created_s),
        "started_at": _time(job.started_s),
        "finished_at": _time(finished_s),
        "progress": _progress(job),
        "options": job.options,
        "url": without_password(job.url) if job.url else None,
        "webhook": without_password(job.webhook) if job.webhook else None,
        "video": job.video,
        "model": job.model,
        "results": {
            output.value: f"/v1/jobs/{job.job_id}/results/{output.value}" for output in job.outputs if done
        },
        "outputs": [output.value for output in job.outputs],
        "problem": problem or job.problem,
    }


def _progress(job: Job) -> dict[str, Any]:
    """How far the parsing is: frames of the source, the speed so far and the time that is left."""
    point, expected = job.checkpoint, job.expected_frames
    rate = point.next_index / point.parsing_s if point.parsing_s > 0 else None
    share = None if not expected else min(1.0, point.next_index / expected)
    if job.video is not None:
        share = 1.0
    left_s = None
    if rate and expected is not None and share is not None:
        left_s = round(max(0, expected - point.next_index) / rate, 1) if share < 1 else 0.0
    return {
        "num_frames": point.next_index,
        "num_results": point.num_results,
        "expected_frames": expected,
        "share": share,
        "frames_per_second": None if rate is None else round(rate, 2),
        "left_s": left_s,
    }


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
