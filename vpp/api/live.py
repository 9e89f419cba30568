"""Health for machines, metrics for Prometheus, snapshots for screens."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from models.records import UserRecord
from models.units import UtcTime
from vpp.api.access import ALL, STAFF, Service, allowed
from vpp.api.problems import documented, problem
from vpp.metrics import CONTENT_TYPE

public = APIRouter(tags=["health"])
router = APIRouter(prefix="/api/v1", tags=["live"], responses=documented(401, 403, 422, 429, 503))

Staff = Annotated[UserRecord, allowed(*STAFF)]
Anyone = Annotated[UserRecord, allowed(*ALL)]


class Health(BaseModel):
    """Alive, and which parts work."""

    status: str
    parts: dict[str, bool] = {}


class About(BaseModel):
    """Which power plant this is, and in which time zone its market days are."""

    name: str
    version: str
    time_zone: str
    now: UtcTime
    read_only: bool


@router.get("/about")
def about(service: Service, _caller: Anyone) -> About:
    """Name, version, zone and time of the service."""
    settings = service.settings.service
    return About(
        name=settings.name,
        version=version("vpp-dispatch"),
        time_zone=settings.time_zone,
        now=service.clock.now(),
        read_only=settings.read_only,
    )


@public.get("/healthz")
async def healthz() -> Health:
    """The process answers; says nothing about its parts."""
    return Health(status="ok")


@public.get("/readyz", response_model=Health, responses=documented(503))
async def readyz(service: Service) -> Response:
    """200 if every part works, else 503 that says which do not, and why."""
    parts = dict(await asyncio.to_thread(service.ready))
    for part, fault in parts.items():
        service.metrics.ready.labels(part=part).set(fault is None)
    missing = [f"{part}: {fault}" for part, fault in sorted(parts.items()) if fault is not None]
    if missing:
        return problem(503, f"not ready: {'; '.join(missing)}", retryable=True, headers={"Retry-After": "5"})
    working = {part: fault is None for part, fault in parts.items()}
    return Response(Health(status="ok", parts=working).model_dump_json(), media_type="application/json")


@public.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {CONTENT_TYPE: {"schema": {"type": "string"}}}}},
)
def metrics(service: Service) -> Response:
    """All numbers in Prometheus' text form."""
    return Response(service.metrics.text(), media_type=CONTENT_TYPE)


@router.get(
    "/live",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def live(
    request: Request,
    service: Service,
    caller: Staff,
    every_s: Annotated[float, Query(ge=0.2, le=60, description="Seconds between snapshots.")] = 5.0,
    count: Annotated[int | None, Query(ge=1, description="Stop after so many.")] = None,
) -> StreamingResponse:
    """Server-sent events: a `snapshot` every few seconds."""
    stopping: asyncio.Event = request.app.state.stopping

    async def stream() -> AsyncIterator[bytes]:
        sent = 0
        while True:
            data = json.dumps(dict(await service.live()), default=str, allow_nan=False)
            yield f"id: {sent}\nevent: snapshot\ndata: {data}\n\n".encode()
            sent += 1
            if count is not None and sent >= count:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), every_s)
                return  # the service stops, and does not wait for who only looks
            known = await asyncio.to_thread(service.store.user_by_token_id, caller.token_id)
            if known is None or known.revoked_at is not None:
                return

    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream(), media_type="text/event-stream", headers=headers)
