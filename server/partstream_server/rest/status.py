"""Endpoints for liveness, readiness, the loaded model and metrics."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from partstream_server.rest.documents import Live, Model, Models, Ready
from partstream_server.service.service import service_of

router = APIRouter()


@router.get("/livez", tags=["status"])
async def livez() -> Live:
    """200 as long as the process answers."""
    return Live(status="alive")


@router.get("/readyz", tags=["status"])
async def readyz(request: Request) -> Ready:
    """200 once a video can be parsed, with what parses it; 503 before, and when the server is to stop."""
    service_of(request).drain.check()
    engine = service_of(request).engine
    manifest = engine.bundle.manifest
    return Ready(
        status="ready",
        bundle=manifest.name,
        version=manifest.version,
        provider=engine.provider,
        precision=engine.precision,
    )


@router.get("/v1/models", tags=["models"])
async def models(request: Request) -> Models:
    """The bundle in use: parts, thresholds, licence, training data and measured figures."""
    engine = service_of(request).engine
    manifest: dict[str, Any] = engine.bundle.manifest.to_json()
    return Models(
        models=[
            Model(
                bundle=manifest["name"],
                version=manifest["version"],
                provider=engine.provider,
                precision=engine.precision,
                parts=manifest["capabilities"]["parts"],
                licence=manifest["licence"],
                training_data=manifest["training_data"],
                capabilities=manifest["capabilities"],
                input=manifest["input"],
                thresholds=manifest["thresholds"],
                schedule=manifest["schedule"],
                evaluation=manifest["evaluation"],
            )
        ]
    )


@router.get("/metrics", tags=["status"], response_class=Response)
async def metrics(request: Request) -> Response:
    """Counters and timings in Prometheus' text format."""
    return Response(service_of(request).metrics.render(), media_type=CONTENT_TYPE_LATEST)
