"""Around every request: a limit on its size, and its duration on record."""

import time

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vpp.api.problems import problem
from vpp.metrics import Metrics


class BodyLimit:
    """Refuses bodies above a size with 413, whether their length was announced or not."""

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
        taken = 0

        async def counted_receive() -> Message:
            nonlocal taken
            message = await receive()
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
            await send(message)

        try:
            await self._app(scope, receive, noted_send)
        finally:
            route = getattr(scope.get("route"), "path", "unknown")
            known = {"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"}
            method = scope["method"] if scope["method"] in known else "other"
            self._metrics.http_requests.labels(method=method, route=route, status=str(status)).inc()
            self._metrics.http_seconds.labels(route=route).observe(time.perf_counter() - started)
