"""Serving the application inside the service's own event loop."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from models.errors import InputError, InputFault
from vpp.settings import HttpSettings, Settings

HEAD_PATIENCE_S = 10.0


class _Server(uvicorn.Server):
    """Tells when it accepts connections; leaves signals to the service as a whole, which cancels us."""

    def __init__(self, config: uvicorn.Config, started: asyncio.Event | None) -> None:
        super().__init__(config)
        self._told = started

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the handlers as they are."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the port."""
        await super().startup(sockets)
        if self._told is not None and self.started:
            self._told.set()


class _Prompt(H11Protocol):
    """Ends connections whose request does not arrive: who sends a header line an hour holds no place."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection: its first request must follow."""
        super().connection_made(transport)
        self._expect_request()

    def data_received(self, data: bytes) -> None:
        """A piece of a request: more must follow unless its head is complete."""
        super().data_received(data)
        if self._is_answering():
            self._stop_waiting()
        else:
            self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _expect_request(self) -> None:
        if self._waiting is None:
            self._waiting = self.loop.call_later(HEAD_PATIENCE_S, self._give_up)

    def _give_up(self) -> None:
        self._waiting = None
        if not self._is_answering() and not self.transport.is_closing():
            self.transport.close()

    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request, whatever uvicorn declares
        return cycle is not None and not cycle.response_complete

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


async def serve_http(app: FastAPI, settings: Settings, *, started: asyncio.Event | None = None) -> None:
    """Serve until cancelled, then let running requests end (5 s); TLS if certificate and key are configured.

    ``started`` is set once connections are accepted.  ``InputError`` if the port is taken or the certificate
    cannot be read.
    """
    http = settings.http
    config = uvicorn.Config(
        app,
        host=http.host,
        port=http.port,
        http=_Prompt,
        ssl_certfile=http.tls_certificate_file,
        ssl_keyfile=str(http.tls_key_file) if http.tls_key_file else None,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=5,
    )
    try:
        config.load()
    except OSError as error:
        rule = f"must be a readable certificate with its key: {error}"
        named = str(http.tls_certificate_file)
        raise InputError([InputFault("settings", "http.tls_certificate_file", named, rule)]) from error
    server = _Server(config, started)
    with _listening(http) as listener:
        serving = asyncio.create_task(server.serve([listener]), name="http server")
        try:
            await asyncio.shield(serving)
        finally:
            server.should_exit = True
            app.state.stopping.set()
            await serving


def _listening(settings: HttpSettings) -> socket.socket:
    """Our own socket: uvicorn would end the whole process if the port were taken."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=512)
    except OSError as error:
        place = f"{settings.host}:{settings.port}"
        rule = f"must be an address of this machine and a free port: {error}"
        raise InputError([InputFault("settings", "http.port", place, rule)]) from error
