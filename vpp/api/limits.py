"""Around every request: a limit on its size, and its duration on record."""

import asyncio
import time

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vpp.api.problems import problem
from vpp.metrics import Metrics

BODY_PATIENCE_S = 20.0
SAFE_HEADERS = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))


class BodyLimit:
    """Refuses bodies that come too slowly with 408, and those above a size with 413, announced or not."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        rule = f"the body may have at most {self._max_bytes} bytes"
        if not announced.isdigit() or int(announced) > self._max_bytes:
            await problem(413, rule)(scope, receive, send)
            return
        taken, complete = 0, False

        async def counted_receive() -> Message:
            nonlocal taken, complete
            try:
                message = await asyncio.wait_for(receive(), BODY_PATIENCE_S) if not complete else await receive()
            except TimeoutError as error:
                raise HTTPException(408, "the body comes too slowly") from error
            complete = not message.get("more_body", False)
            taken += len(message.get("body", b""))
            if taken > self._max_bytes:
                raise HTTPException(413, rule)  # the application's own handler makes a problem of it
            return message

        await self._app(scope, counted_receive, send)


class Measured:
    """Counts requests and their seconds by route (the pattern, not the path: few labels)."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def noted_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(each for each in SAFE_HEADERS if each[0] not in given)]
            await send(message)

        try:
            await self._app(scope, receive, noted_send)
        finally:
            route = getattr(scope.get("route"), "path", "unknown")
            known = {"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"}
            method = scope["method"] if scope["method"] in known else "other"
            self._metrics.http_requests.labels(method=method, route=route, status=str(status)).inc()
            self._metrics.http_seconds.labels(route=route).observe(time.perf_counter() - started)
