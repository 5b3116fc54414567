"""POST /parse: an upload in, results out in the form that is asked for."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from anyio import to_thread
from fastapi import APIRouter, Request
from python_multipart.multipart import parse_options_header
from starlette.responses import Response

from partstream_core.errors import NotAVideoError, UnsupportedMediaTypeError
from partstream_core.results import VideoInfo
from partstream_server.offline.rendering import backdrop_of
from partstream_server.pipeline.parse_options import check_skeletons
from partstream_server.rest.authentication import account_of
from partstream_server.rest.negotiation import negotiate
from partstream_server.rest.openapi import PARSE_BODY, PARSE_RESPONSES
from partstream_server.rest.outputs import FILE_FORMS, LINES_TYPE, MEDIA_TYPES, to_line, write_lines
from partstream_server.rest.problems import problem_document
from partstream_server.rest.query import Options
from partstream_server.rest.streaming import Body, StreamedResponse, file_chunks, file_size
from partstream_server.service.drain import Drain
from partstream_server.service.errors import as_partstream_error
from partstream_server.service.file_parse import Job
from partstream_server.service.forms import BACKDROP
from partstream_server.service.presence import unless_gone
from partstream_server.service.service import Service, service_of
from partstream_server.service.threaded_steps import ThreadedSteps
from partstream_server.service.uploads import UploadLimits, receive_upload
from partstream_server.service.workspace import open_workspace

router = APIRouter(tags=["parse"])
FRAME_SIZE_HEADER: Final = "Partstream-Frame-Size"
"""Of answers in lines: width and height of the frames, which a line without people does not tell."""
_TEXTS: Final = ("text/", "application/json", "application/xml", "application/x-ndjson")
_log = logging.getLogger("partstream.api")


@router.post("/v1/parse", openapi_extra=PARSE_BODY, responses=PARSE_RESPONSES, response_class=Response)
@router.post("/parse", openapi_extra=PARSE_BODY, responses=PARSE_RESPONSES, response_class=Response)
async def parse(request: Request, options: Options) -> Response:
    """People, parts and identities of a video or an image.

    Send it as the file `video` or `image` of a form, or as the body. A form may hold a picture `backdrop`,
    too, which stands behind people in a video with `render=background`. `Accept` picks the form of the
    results: one JSON document, NDJSON (a line for each frame as soon as it is ready; a failure half way is a
    last line `{"error": problem}`), the rendered video, people alone as WebM or MOV, or a zip of label maps.
    """
    service = service_of(request)
    settings = service.settings
    media_type = negotiate(request.headers.get("accept"), MEDIA_TYPES)
    engine = service.engine
    if options.draws_joints:
        check_skeletons(options, engine)
    service.drain.check()
    async with AsyncExitStack() as resources:
        resources.enter_context(service.gate.admit())
        workspace = resources.enter_context(open_workspace(settings.work_dir))
        upload = await service.drain.unless_over(lambda: _receive(request, service, workspace))
        turn = service.gate.turn(request)
        await service.drain.unless_over(lambda: resources.enter_async_context(turn))
        account = account_of(request)
        backdrop = await to_thread.run_sync(
            backdrop_of, workspace / BACKDROP, options, service.limits, limiter=service.limiter
        )
        job = Job(upload, engine, options, service.limits, service.metrics, account, options, backdrop)
        try:
            body = await _start(request, service, job, media_type, resources)
        except NotAVideoError as error:
            raise blame_content_type(request, error) from None
        # From here on the response owns what has to be given back.
        return StreamedResponse(body, resources=resources.pop_all(), send_timeout_s=settings.send_timeout_s)
    raise AssertionError("the stack above swallows nothing")


async def _receive(request: Request, service: Service, workspace: Path) -> Path:
    upload = workspace / "upload"
    settings = service.settings
    limits = UploadLimits.of(settings)
    on_bytes = service.metrics.upload_bytes.inc
    await receive_upload(request, upload, limits, on_bytes, backdrop=workspace / BACKDROP)
    return upload


async def _start(
    request: Request, service: Service, job: Job, media_type: str, resources: AsyncExitStack
) -> Body:
    """The body of the answer, once it is sure that there will be one.

    Raises:
        PartstreamError: The media cannot be parsed.
        ClientDisconnect: The client left.
    """
    if media_type == LINES_TYPE:
        headers = {"Cache-Control": "no-store"}

        def tell_size(video: VideoInfo) -> None:
            headers[FRAME_SIZE_HEADER] = f"{video.width}x{video.height}"

        lines = ThreadedSteps(write_lines(job, tell_size), service.limiter)
        resources.push_async_callback(lines.aclose)
        first = await unless_gone(request, lambda: service.drain.unless_over(lambda: anext(lines, b"")))
        return Body(_lines(request, first, lines, service.drain), media_type, headers)
    form = FILE_FORMS[media_type]
    path = job.source.with_name(form.name)
    steps = ThreadedSteps(form.write(job, path), service.limiter)
    resources.push_async_callback(steps.aclose)
    await unless_gone(request, lambda: service.drain.unless_over(steps.run))
    headers = {
        "Content-Length": str(await file_size(path)),
        "Content-Disposition": f'{form.disposition}; filename="{form.name}"',
        "Cache-Control": "no-store",
    }
    return Body(file_chunks(path), media_type, headers)


async def _lines(
    request: Request, first: bytes, lines: ThreadedSteps[bytes], drain: Drain
) -> AsyncGenerator[bytes, None]:
    """Lines as they are ready; a failure is the last of them."""
    line = first
    try:
        while line:
            yield line
            line = await drain.unless_over(lambda: anext(lines, b""))
    except Exception as error:
        problem = problem_document(error, instance=request.url.path)
        request.state.problem_code = problem["code"]
        if as_partstream_error(error) is None:
            _log.exception("parsing broke off", extra={"fields": {"request": request.state.request_id}})
        yield to_line({"error": problem})


def blame_content_type(request: Request, error: NotAVideoError) -> Exception:
    """The error of a body that is no video: that of its content type, if that never claimed it to be one."""
    declared, _ = parse_options_header(request.headers.get("content-type", ""))
    name = declared.decode("latin-1")
    if name.startswith(_TEXTS):
        return UnsupportedMediaTypeError(f"send a video or an image, not {name}")
    return error
