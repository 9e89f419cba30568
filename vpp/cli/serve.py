"""``vpp serve``: the service with its HTTP interface, until it is told to stop."""

import asyncio
import contextlib
import signal
from collections.abc import Coroutine
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import structlog
import typer

from vpp.api import create_app, serve_http
from vpp.city_feed import FolderFeed
from vpp.cli.answers import AsJson, answer
from vpp.clock import SystemClock
from vpp.housekeeping import keep_what_is_known
from vpp.logs import configure_logging
from vpp.one_service import alone_in
from vpp.service import Service
from vpp.settings import Settings, load_settings
from vpp.wiring import open_service

log = structlog.get_logger(__name__)


def serve(
    system: Annotated[
        Path,
        typer.Option(help="The city's tables system, tariffs, areas (vpp portfolio new FOLDER --city)."),
    ],
    config: Annotated[Path | None, typer.Option(help="Settings, see deploy/example.toml.", envvar="VPP_CONFIG")] = None,
    as_json: AsJson = False,
) -> None:
    """Run the service: registration, plans, events, dispatch, HTTP interface."""
    settings = load_settings(config)
    configure_logging(settings.log.format, settings.log.level)
    feed = FolderFeed(system)
    with alone_in(settings.service.data_dir):
        asyncio.run(_serve(settings, feed, as_json))
    answer({"stopped": True}, as_json, "已停止 stopped")


async def _serve(settings: Settings, feed: FolderFeed, as_json: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    await _unless(stop, _open_and_run(settings, feed, as_json))


async def _open_and_run(settings: Settings, feed: FolderFeed, as_json: bool) -> None:
    async with open_service(settings, SystemClock(), feed) as service, asyncio.TaskGroup() as work:
        service.leave_out_strangers()
        keep_what_is_known()
        listening = asyncio.Event()
        work.create_task(service.run(), name="service")
        work.create_task(serve_http(create_app(service), settings, started=listening), name="http")
        await listening.wait()
        _greet(service, feed, as_json)


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Do the work until it ends by itself or ``stop`` is set; the first error of a group stands for the group."""
    task = asyncio.create_task(work, name="work")
    told = asyncio.create_task(stop.wait(), name="stop signal")
    await asyncio.wait({task, told}, return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    if stop.is_set():
        log.info("stopping")
        task.cancel()
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await task
    except BaseExceptionGroup as group:
        first: BaseException = group
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from group


def _greet(service: Service, feed: FolderFeed, as_json: bool) -> None:
    settings, zone = service.settings, service.settings.service.zone
    scheme = "http" if settings.http.tls_certificate_file is None else "https"
    host = f"[{settings.http.host}]" if ":" in settings.http.host else settings.http.host
    start, end = feed.covers()
    data = {
        "service": settings.service.name,
        "http": f"{scheme}://{host}:{settings.http.port}",
        "mqtt": service.broker.url,
        "broker": service.broker.kind,
        "data_dir": str(settings.service.data_dir),
        "time_zone": settings.service.time_zone,
        "read_only": settings.service.read_only,
        "resources": len(service.state),
        "city": {"start": start.isoformat(), "end": end.isoformat()},
    }
    lines = [
        f"虚拟电厂服务运行中 Virtual power plant service runs: {settings.service.name}",
        f"  接口 HTTP        {data['http']}  (/api/v1/openapi.json, /healthz, /readyz, /metrics)",
        f"  聚合商 MQTT      {data['mqtt']}  ({data['broker']})",
        f"  数据 data        {data['data_dir']}  资源 resources: {data['resources']}",
        f"  城市 city        {_local(start, zone)} - {_local(end, zone)} {settings.service.time_zone}",
    ]
    if settings.service.read_only:
        lines.append("  只读 READ-ONLY: 不下发任何指令 nothing is sent to any device")
    if not service.store.users():
        lines.append("  首个用户 first user: vpp user add NAME --role operator")
    lines.append("  Ctrl-C 停止 stops")
    log.info("service runs", **{name: value for name, value in data.items() if name != "city"}, city_until=end)
    answer(data, as_json, "\n".join(lines))


def _local(moment: datetime, zone: ZoneInfo) -> str:
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M}"
