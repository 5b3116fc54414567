"""/v1/jobs: files that are parsed in the background, and what came of them."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any, Final

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import FileResponse, JSONResponse, Response

from partstream_core.errors import OptionError
from partstream_server.jobs.documents import job_document
from partstream_server.jobs.errors import JobUnknownError
from partstream_server.jobs.manager import Jobs
from partstream_server.jobs.records import JobEvent, Output
from partstream_server.jobs.render import check_outputs
from partstream_server.jobs.webhooks import check_webhook
from partstream_server.media import open_video
from partstream_server.offline.rendering import backdrop_of
from partstream_server.pipeline.parse_options import check_skeletons
from partstream_server.rest.authentication import account_of
from partstream_server.rest.documents import JobDocument, JobList
from partstream_server.rest.openapi import EVENT_RESPONSES, JOB_BODY, JOB_RESPONSES, RESULT_RESPONSES
from partstream_server.rest.query import ParseQuery
from partstream_server.rest.requests import checked, read_json
from partstream_server.rest.streaming import Body, StreamedResponse
from partstream_server.security.origin import check_origin
from partstream_server.service.forms import BACKDROP
from partstream_server.service.service import Service, service_of
from partstream_server.service.uploads import UploadLimits, receive_upload
from partstream_server.sources.download import check_download

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
_MAX_KEY: Final = 255
_POLL_S: Final = 0.25
_QUIET_S: Final = 15.0
"""A comment goes out where no event did for so long, so that a client that left is noticed."""


class JobQuery(ParseQuery):
    """The options of a job: those of the parsing, the outputs, and who is told of the end."""

    outputs: str = Field(
        default="ndjson",
        description="Files that are wanted, separated by commas: `ndjson`, `json`, `mp4` (the overlay), "
        "`zip` (label maps), `webm` or `mov` (people alone on a transparent ground).",
    )
    webhook: str = Field(default="", max_length=4096, description="URL that is called when the job is over.")


class JobSource(BaseModel):
    """Where a file is downloaded from, in place of an upload."""

    url: str = Field(min_length=1, max_length=4096)


@router.post("", status_code=202, openapi_extra=JOB_BODY, responses=JOB_RESPONSES, response_model=JobDocument)
async def submit(request: Request, query: Annotated[JobQuery, Query()]) -> Response:
    """Queue a video or an image: send it as `/parse` takes it, or `{"url": "..."}` as JSON.

    With an `Idempotency-Key` the same request, sent again, answers with the job that the first one made.
    """
    service = service_of(request)
    check_origin(
        request.headers.get("origin"),
        request.headers.get("host"),
        allowed=service.settings.allowed_origins.split(","),
    )
    service.drain.check()
    outputs = _outputs(query.outputs)
    _check(query, outputs, service)
    owner, key = account_of(request).name, _idempotency_key(request)
    given = set(ParseQuery.model_fields)
    options = {name: value for name, value in query.model_dump(mode="json").items() if name in given}
    jobs = service.jobs
    known = await to_thread.run_sync(jobs.find_repeated, owner, key, options, outputs)
    if known is not None:
        return _answer(job_document(known, now_s=time.time()), 200)
    room = await to_thread.run_sync(jobs.room_bytes, owner)
    job_id, folder = await to_thread.run_sync(jobs.new_folder)
    try:
        url = await _receive(request, service, folder, room, query)
        job = await to_thread.run_sync(
            lambda: jobs.submit(
                job_id,
                owner=owner,
                options=options,
                outputs=outputs,
                url=url,
                webhook=query.webhook,
                idempotency_key=key,
            )
        )
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    await to_thread.run_sync(jobs.start)
    return _answer(job_document(job, now_s=time.time()), 202)


def _answer(document: dict[str, Any], status: int) -> Response:
    return JSONResponse(document, status, {"Location": f"/v1/jobs/{document['id']}"})


async def _receive(request: Request, service: Service, folder: Path, room: int, query: JobQuery) -> str:
    """Take the file and its backdrop into the job's folder, or return the URL it comes from.

    Raises:
        MediaError: The file cannot be read; the subclass says why.
        OptionError, SourceForbiddenError: The URL or the backdrop is wrong, or not allowed.
        ClientDisconnect: The client left.
    """
    declared = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if declared == "application/json":
        url = checked(JobSource, await read_json(request)).url
        check_download(url, service.jobs.config.sources)
        return url
    limits = UploadLimits.of(service.settings, max_bytes=room)
    source = folder / "source"
    with service.gate.admit():
        await service.drain.unless_over(
            lambda: receive_upload(
                request, source, limits, service.metrics.upload_bytes.inc, backdrop=folder / BACKDROP
            )
        )
        media = service.jobs.config.limits
        await to_thread.run_sync(lambda: open_video(source, media, stream=query.stream).close())
        await to_thread.run_sync(backdrop_of, folder / BACKDROP, query, media)
    return ""


def _check(query: JobQuery, outputs: tuple[Output, ...], service: Service) -> None:
    """Refuse now what would fail later.

    Raises:
        OptionError: The options do not go together, or with the bundle.
        SourceForbiddenError: The webhook may not be called.
        NotReadyError: The bundle is not loaded.
    """
    engine = service.engine
    query.schedule_for(engine)
    check_outputs(outputs, query)
    if query.draws_joints:
        check_skeletons(query, engine)
    if query.webhook:
        if not service.jobs.config.webhook_key:
            raise OptionError("webhook: none are sent here; PARTSTREAM_WEBHOOK_SECRET would sign them")
        check_webhook(query.webhook, service.jobs.config.webhook_hosts)


def _outputs(text: str) -> tuple[Output, ...]:
    """The outputs, each once, in the order of `Output`.

    Raises:
        OptionError: One is not known.
    """
    names = {name.strip() for name in text.split(",")}
    known = [output.value for output in Output]
    strange = sorted(names - set(known))
    if strange:
        raise OptionError(f"outputs: there is no {strange[0]!r}; there are {', '.join(known)}")
    return tuple(output for output in Output if output.value in names)


def _idempotency_key(request: Request) -> str | None:
    """The header Idempotency-Key.

    Raises:
        OptionError: It is empty or too long.
    """
    key = request.headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= _MAX_KEY:
        raise OptionError(f"Idempotency-Key: it must have 1 to {_MAX_KEY} characters")
    return key


@router.get("")
async def every(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=100, description="Jobs of a page.")] = 20,
    before: Annotated[str | None, Query(description="`next` of the page before.")] = None,
) -> JobList:
    """The jobs of this key, newest first."""
    jobs, owner = _jobs(request), account_of(request).name
    page = await to_thread.run_sync(lambda: jobs.page(owner, limit=limit + 1, before=before))
    now_s = time.time()
    documents = [JobDocument(**job_document(job, now_s=now_s)) for job in page[:limit]]
    return JobList(jobs=documents, next=documents[-1].id if len(page) > limit else None)


@router.get("/{job_id}")
async def one(request: Request, job_id: str) -> JobDocument:
    """One job: its state, its progress, its results, or why it failed."""
    jobs, owner = _jobs(request), account_of(request).name
    job = await to_thread.run_sync(jobs.get, job_id, owner)
    return JobDocument(**job_document(job, now_s=time.time()))


@router.delete("/{job_id}", status_code=204)
async def delete(request: Request, job_id: str) -> None:
    """Cancel a job if it is in work, and delete it with its results."""
    await to_thread.run_sync(_jobs(request).delete, job_id, account_of(request).name)


@router.get("/{job_id}/events", response_class=Response, responses=EVENT_RESPONSES)
async def events(request: Request, job_id: str) -> Response:
    """What happens to a job as server-sent events, from its beginning or after `Last-Event-ID`."""
    service, jobs, owner = service_of(request), _jobs(request), account_of(request).name
    await to_thread.run_sync(jobs.get, job_id, owner)
    last = request.headers.get("last-event-id", "0")
    if not (last.isascii() and last.isdecimal() and len(last) < 16):
        raise OptionError(f"Last-Event-ID: it is no number of an event: {last[:20]!r}")
    body = Body(
        _event_lines(jobs, job_id, owner, int(last)), "text/event-stream", {"Cache-Control": "no-store"}
    )
    return StreamedResponse(body, resources=AsyncExitStack(), send_timeout_s=service.settings.send_timeout_s)


async def _event_lines(jobs: Jobs, job_id: str, owner: str, last: int) -> AsyncGenerator[bytes, None]:
    quiet_s = 0.0
    while True:
        try:
            job = await to_thread.run_sync(jobs.get, job_id, owner)
        except JobUnknownError:
            return  # it was deleted
        news: list[JobEvent] = await to_thread.run_sync(jobs.events, job_id, last)
        for event in news:
            last = event.number
            yield _event_text(event)
        if job.state.is_over and not news:
            return
        quiet_s = 0.0 if news else quiet_s + _POLL_S
        if quiet_s >= _QUIET_S:
            quiet_s = 0.0
            yield b": still here\n\n"
        if not job.state.is_over:
            await asyncio.sleep(_POLL_S)


def _event_text(event: JobEvent) -> bytes:
    data = json.dumps({"time_s": event.time_s, **event.data}, separators=(",", ":"))
    return f"id: {event.number}\nevent: {event.kind}\ndata: {data}\n\n".encode()


@router.head("/{job_id}/results/{output}", include_in_schema=False)
@router.get("/{job_id}/results/{output}", response_class=Response, responses=RESULT_RESPONSES)
async def result(request: Request, job_id: str, output: Output) -> Response:
    """A result of a job that is done; ranges of it can be asked for (`Range`), and whether it is known."""
    jobs, owner = _jobs(request), account_of(request).name
    path = await to_thread.run_sync(jobs.result, job_id, owner, output)
    response = FileResponse(
        path,
        media_type=output.media_type,
        filename=output.file_name,
        stat_result=await to_thread.run_sync(path.stat),
        headers={"Cache-Control": "private, no-cache"},
    )
    if response.headers["etag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers={"ETag": response.headers["etag"]})
    return response


def _jobs(request: Request) -> Jobs:
    return service_of(request).jobs
