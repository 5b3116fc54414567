"""GET /v1/sources/{id}/mjpeg: what a source looks like now, drawn, as JPEGs for an `img` element."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Annotated, Final

import cv2
import numpy as np
from anyio import to_thread
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from partstream_core.errors import OptionError
from partstream_core.results import FrameResult
from partstream_server.offline.overlay import Image
from partstream_server.offline.rendering import Renderer, RenderOptions
from partstream_server.offline.stored_maps import maps_of
from partstream_server.pipeline.encoding import MaskForm
from partstream_server.rest.authentication import account_of
from partstream_server.rest.openapi import MJPEG_RESPONSES
from partstream_server.rest.streaming import Body, StreamedResponse
from partstream_server.service.service import service_of
from partstream_server.sources.source import Follower, Source
from partstream_server.streams import Answer

router = APIRouter(prefix="/v1/sources", tags=["sources"])
_BOUNDARY: Final = "partstream-frame"
_QUALITY: Final = 80


@router.get("/{source_id}/mjpeg", response_class=Response, responses=MJPEG_RESPONSES)
async def mjpeg(request: Request, source_id: str, rendering: Annotated[RenderOptions, Query()]) -> Response:
    """Frames as they are parsed, rendered, as `multipart/x-mixed-replace`; a slow reader gets the newest."""
    service = service_of(request)
    pulled = service.sources.get(source_id, account_of(request))
    source = pulled.source
    if pulled.masks is not MaskForm.RLE:
        raise OptionError(f"the source was started with masks={pulled.masks.value}: drawing needs rle")
    follower = source.follow()
    source.keep_pictures(True)
    resources = AsyncExitStack()
    resources.callback(source.leave, follower)
    resources.callback(source.keep_pictures, False)
    body = Body(
        _parts(source, follower, rendering),
        f"multipart/x-mixed-replace; boundary={_BOUNDARY}",
        {"Cache-Control": "no-store"},
    )
    return StreamedResponse(body, resources=resources, send_timeout_s=service.settings.send_timeout_s)


async def _parts(source: Source, follower: Follower, rendering: RenderOptions) -> AsyncGenerator[bytes, None]:
    renderer = Renderer(rendering)
    async for first in follower.items():
        item = follower.newest() or first
        if not isinstance(item, Answer) or not isinstance(item.outcome, FrameResult):
            continue
        picture = source.picture(item.index)
        if picture is None:
            continue
        jpeg = await to_thread.run_sync(_draw, renderer, picture, item.outcome)
        head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
        yield head.encode() + jpeg + b"\r\n"
    yield f"--{_BOUNDARY}--\r\n".encode()


def _draw(renderer: Renderer, picture: Image, result: FrameResult) -> bytes:
    maps = maps_of(result, *picture.shape[:2])
    drawn = renderer.render(picture, result, maps, time_s=result.time_s)
    _, encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    )
    return np.asarray(encoded).tobytes()
