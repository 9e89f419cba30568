"""``vpp serve``: the service with its HTTP interface, until it is told to stop."""

import asyncio
import contextlib
import signal
from pathlib import Path
from typing import Annotated

import structlog
import typer

from vpp.api import create_app, serve_http
from vpp.city_feed import FolderFeed
from vpp.clock import SystemClock
from vpp.settings import Settings, load_settings
from vpp.wiring import open_service

log = structlog.get_logger(__name__)


def serve(
    system: Annotated[
        Path,
        typer.Option(help="Folder with the city's tables system, tariffs, areas (vpp portfolio new makes one)."),
    ],
    config: Annotated[Path | None, typer.Option(help="Settings, see deploy/example.toml.")] = None,
) -> None:
    """Run the service: registration, plans, events, dispatch, HTTP interface."""
    settings = load_settings(config)
    asyncio.run(_serve(settings, FolderFeed(system)))


async def _serve(settings: Settings, feed: FolderFeed) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    async with open_service(settings, SystemClock(), feed) as service:
        log.info("aggregators connect to", url=service.broker.url, broker=service.broker.kind)
        work = [
            asyncio.create_task(service.run(), name="service"),
            asyncio.create_task(serve_http(create_app(service), settings), name="http"),
            asyncio.create_task(stop.wait(), name="stop signal"),
        ]
        done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        for task in work:
            task.cancel()
        for task in work:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        for task in done:
            task.result()
