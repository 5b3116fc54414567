"""The page in the browser and the page about the API: files of this package, and nothing from outside."""

from __future__ import annotations

from importlib import resources
from typing import Final

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import Response

router = APIRouter(include_in_schema=False)

_MEDIA_TYPES: Final = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data: blob:; "
        "media-src blob:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
FILES: Final = {
    file.name: file.read_bytes()
    for file in sorted(resources.files(__package__).joinpath("page").iterdir(), key=lambda each: each.name)
    if file.name.rpartition(".")[2] in _MEDIA_TYPES
}
"""Every file of the pages by its name; small, and read once."""


@router.get("/")
async def page() -> Response:
    """A page to try the service with."""
    return _file("index.html")


@router.get("/docs")
async def docs() -> Response:
    """What the service answers to what."""
    return _file("docs.html")


@router.get("/page/{name}")
async def part(name: str) -> Response:
    """A style sheet or a script of the pages."""
    if name not in FILES or name.endswith(".html"):
        raise HTTPException(404)
    return _file(name)


def _file(name: str) -> Response:
    media_type = _MEDIA_TYPES[name.rpartition(".")[2]]
    return Response(FILES[name], media_type=media_type, headers=_HEADERS)
