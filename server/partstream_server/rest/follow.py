"""POST /v1/follow: named people through a video, found again by their looks."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from partstream_core.errors import NotAVideoError
from partstream_core.results import document_to_json
from partstream_server.offline.follow import Follow, StatusCounts, check_follow_options, to_line
from partstream_server.offline.follow_targets import TargetSight, read_sights
from partstream_server.pipeline.parse_options import ParseOptions
from partstream_server.rest.authentication import account_of
from partstream_server.rest.negotiation import negotiate
from partstream_server.rest.openapi import FOLLOW_RESPONSES, PARSE_BODY
from partstream_server.rest.outputs import LINES_TYPE
from partstream_server.rest.parse import blame_content_type
from partstream_server.rest.streaming import Body, StreamedResponse, file_chunks, file_size
from partstream_server.service.file_parse import Job, OpenJob
from partstream_server.service.presence import unless_gone
from partstream_server.service.service import service_of
from partstream_server.service.threaded_steps import ThreadedSteps
from partstream_server.service.uploads import UploadLimits, receive_upload
from partstream_server.service.workspace import open_workspace

router = APIRouter(tags=["follow"])
JSON_TYPE: Final = "application/json"
FOLLOW_TYPES: Final = (JSON_TYPE, LINES_TYPE)


class FollowQuery(ParseOptions):
    """The options of a file, and whom to follow."""

    person: list[str] = Field(
        default_factory=list,
        description="Whom to follow, and where they are seen: `NAME@SECONDS:X,Y` (a pixel), "
        "`NAME@SECONDS:LEFT,TOP,RIGHT,BOTTOM` (a box) or `NAME@SECONDS:#IDENTITY` (of results). Repeat it "
        "for other people, and for corrections at other times.",
    )


@router.post("/v1/follow", openapi_extra=PARSE_BODY, responses=FOLLOW_RESPONSES, response_class=Response)
async def follow(request: Request, options: Annotated[FollowQuery, Query()]) -> Response:
    """Where named people are seen, hidden or gone, with their masks and parts, frame by frame.

    Send the video as for `/v1/parse`. `Accept` picks one JSON document, or NDJSON with a line for each frame.
    Nothing is answered before the whole video was looked at: people are found again in both directions of
    time. Embeddings of people are dropped with the request and match only within it.
    """
    service = service_of(request)
    settings, engine = service.settings, service.engine
    media_type = negotiate(request.headers.get("accept"), FOLLOW_TYPES)
    sights = read_sights(options.person)
    has_embeddings = engine.bundle.manifest.capabilities.embedding is not None
    check_follow_options(options, has_embeddings=has_embeddings)
    service.drain.check()
    async with AsyncExitStack() as resources:
        resources.enter_context(service.gate.admit())
        workspace = resources.enter_context(open_workspace(settings.work_dir))
        upload, limits = workspace / "upload", UploadLimits.of(settings)
        on_bytes = service.metrics.upload_bytes.inc
        await service.drain.unless_over(lambda: receive_upload(request, upload, limits, on_bytes))
        turn = service.gate.turn(request)
        await service.drain.unless_over(lambda: resources.enter_async_context(turn))
        job = Job(upload, engine, options, service.limits, service.metrics, account_of(request))
        path = workspace / ("follow.json" if media_type == JSON_TYPE else "follow.ndjson")
        written = _write(job, sights, path, as_document=media_type == JSON_TYPE)
        steps = ThreadedSteps(written, service.limiter)
        resources.push_async_callback(steps.aclose)
        try:
            await unless_gone(request, lambda: service.drain.unless_over(steps.run))
        except NotAVideoError as error:
            raise blame_content_type(request, error) from None
        headers = {
            "Content-Length": str(await file_size(path)),
            "Content-Disposition": f'inline; filename="{path.name}"',
            "Cache-Control": "no-store",
        }
        body = Body(file_chunks(path), media_type, headers)
        # From here on the response owns what has to be given back.
        return StreamedResponse(body, resources=resources.pop_all(), send_timeout_s=settings.send_timeout_s)
    raise AssertionError("the stack above swallows nothing")


def _write(
    job: Job, sights: tuple[TargetSight, ...], path: Path, *, as_document: bool
) -> Generator[None, None, None]:
    """Parse the upload, then write the follow; each step is a frame."""
    counts = StatusCounts(sight.name for sight in sights)
    lines = path.with_suffix(".frames")
    with closing(Follow(sights, path.with_suffix(".parsed"))) as run, job.open() as source:
        for parsed in source:
            run.collect(parsed.result, parsed.maps, parsed.embeddings)
            yield
        with lines.open("wb") as file:
            for frame in run.frames():
                line = to_line(frame.to_json())
                if as_document:
                    line = (b"," if file.tell() else b"") + line.rstrip()
                file.write(line)
                counts.observe(frame)
                yield
        if as_document:
            _join(source, counts, lines, path)
        else:
            lines.replace(path)


def _join(source: OpenJob, counts: StatusCounts, lines: Path, path: Path) -> None:
    """Write the document around frames that were written before."""
    document = document_to_json(source.video, source.model, ())
    del document["frames"]
    head = to_line(document | {"targets": counts.to_json(), "frames": []}).rstrip()
    assert head.endswith(b"[]}")
    with path.open("wb") as file, lines.open("rb") as middle:
        file.write(head[:-2])
        shutil.copyfileobj(middle, file, 1024 * 1024)
        file.write(b"]}\n")
