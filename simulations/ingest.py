"""``vpp bench ingest``: readings a second over a real broker into the database of a real ``vpp serve``, none lost.

Three processes share the machine: the service as an operator starts it, a broker (Mosquitto if there is one), and the
load generator (``simulations.wire.telemetry_load``) with MQTT and JSON of its own.  Its devices register over the
wire.  After each case every reading that was sent is looked for in the database, by resource and ``measured_at``, with
SQL of our own, and its power is compared.  A reading counts from the moment at which its receipt is back, which is
after the commit.
"""

import asyncio
import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters.feeds.city_folder import write_city
from adapters.mqtt.broker import BrokerSettings, RunningBroker, open_broker
from adapters.mqtt.broker_embedded import EmbeddedBroker
from adapters.mqtt.broker_mosquitto import MosquittoBroker
from adapters.mqtt.credentials import hash_password, new_password
from adapters.store import Store
from models.errors import VppError
from models.records import AggregatorRecord
from simulations.clock import SystemClock
from simulations.serve_process import (
    ServeProcess,
    children,
    command_of,
    cpu_s,
    free_port,
    peak_rss_mb,
    undisturbed_service,
)
from simulations.wire.telemetry_load import LoadOrder, device_name, sent_rows
from vpp.example_city import example_city

BROKER_AWAY_S = 0.5
_MANY = 100_000


@dataclass(frozen=True, slots=True)
class IngestSetup:
    """What the service has: so many resources of so many aggregators, this database (None: SQLite in a file)."""

    resources: int = 20_000
    aggregators: int = 10
    database: str | None = None
    broker: str = "auto"
    seconds: float = 30.0
    warm_up_s: float = 5.0


@dataclass(frozen=True, slots=True)
class IngestCase:
    """One measurement; ``restart``: the broker is killed in the middle and comes back."""

    name: str
    readings_per_message: int
    window: int
    restart: bool = False
    rate: float | None = None


def cases(readings_per_message: int, rate: float | None = None, *, restarts: bool = True) -> list[IngestCase]:
    """Batches and single readings, each also with a broker that dies in between."""
    plain = [IngestCase("batches", readings_per_message, 4, rate=rate), IngestCase("singles", 1, 500, rate=rate)]
    broken = [replace(each, name=f"{each.name}, broker restarted", restart=True) for each in plain]
    return [*plain, *(broken if restarts else ())]


@dataclass
class _Bench:
    setup: IngestSetup
    folder: Path
    broker: RunningBroker
    passwords: dict[str, str]
    service: ServeProcess
    url: str
    registered: bool = False


async def run_ingest(
    setup: IngestSetup, wanted: list[IngestCase], folder: Path, told: Callable[[dict[str, Any]], None] = lambda _: None
) -> list[dict[str, Any]]:
    """All cases on one service, in a folder of its own; each as a dictionary for the JSON."""
    names = [f"load-{number:02}" for number in range(setup.aggregators)]
    passwords = {name: new_password() for name in names}
    url = setup.database or f"sqlite:///{folder / 'data' / 'vpp.db'}"
    zone, tariff = _prepare(folder, url, passwords)
    settings = BrokerSettings(broker=setup.broker, folder=folder / "broker", port=free_port())
    found = []
    async with open_broker(settings) as broker:
        for name, password in passwords.items():
            await broker.add_aggregator(name, password)
        service = undisturbed_service(folder, url, broker)
        service.start()
        try:
            await asyncio.to_thread(service.wait_ready)
            bench = _Bench(setup, folder, broker, passwords, service, url)
            for case in wanted:
                found.append(await _one(bench, case, zone, tariff))
                told(found[-1])
            found.append(await asyncio.to_thread(_killed, bench))
            told(found[-1])
        finally:
            await asyncio.to_thread(service.stop)
    return found


def _killed(bench: _Bench) -> dict[str, Any]:
    """``kill -9`` of the service with all that it has taken, and how long another takes until it is of use."""
    bench.service.kill()
    began_s = bench.service.start()
    ready_s = bench.service.wait_ready() - began_s
    number = next(iter(_fetched(bench.url, "SELECT count(*) FROM readings")))[0]
    return {"name": "service killed", "resources": bench.setup.resources, "rows": number, "ready_s": round(ready_s, 2)}


def _prepare(folder: Path, url: str, passwords: Mapping[str, str]) -> tuple[str, str]:
    """The city's tables and the aggregators; a zone and a tariff for the devices."""
    now = SystemClock().now()
    city = example_city(now, 3)
    write_city(folder / "city", city)
    (folder / "data").mkdir(exist_ok=True)
    with Store(url) as store:
        store.migrate()
        if store.reading_count():
            raise VppError(f"the database holds readings already: give an empty one ({url})")
        for name, password in passwords.items():
            store.add_aggregator(AggregatorRecord(name, name, hash_password(password), created_at=now))
    return city.zones[0], next(iter(city.tariffs))


async def _one(bench: _Bench, case: IngestCase, zone: str, tariff: str) -> dict[str, Any]:
    setup, folder = bench.setup, bench.folder
    order = LoadOrder(
        host=bench.broker.host,
        port=bench.broker.port,
        prefix=bench.broker.settings.prefix,
        passwords=bench.passwords,
        resources=setup.resources,
        zone_id=zone,
        tariff_id=tariff,
        readings_per_message=case.readings_per_message,
        window=case.window,
        warm_up_s=setup.warm_up_s,
        seconds=setup.seconds,
        run=f"run{time.monotonic_ns()}",
        sent_file=str(folder / "sent.json"),
        rate=case.rate,
        register=not bench.registered,
    )
    (folder / "order.json").write_text(json.dumps(asdict(order)), encoding="utf-8")
    generator = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "simulations.wire.telemetry_load",
        str(folder / "order.json"),
        stdout=asyncio.subprocess.PIPE,
        env=dict(os.environ),
    )
    try:
        result = await _conduct(bench, case, generator)
    finally:
        with suppress(ProcessLookupError):
            generator.kill()
        await generator.wait()
    bench.registered = True
    sent = json.loads((folder / "sent.json").read_text(encoding="utf-8"))
    compared = await asyncio.to_thread(compared_with_database, bench.url, order, sent)
    return _told(bench, case, result, compared)


async def _conduct(bench: _Bench, case: IngestCase, generator: asyncio.subprocess.Process) -> dict[str, Any]:
    """Follow the generator through a case; what it said at the end, and what the others used meanwhile."""
    setup, stream = bench.setup, generator.stdout
    if stream is None:
        raise VppError("the load generator has no output")
    used: dict[str, float] = {}
    breaking: asyncio.Task[None] | None = None
    while line := await stream.readline():
        said = json.loads(line)
        if said["said"] == "ready":
            used = _used(bench)
            if case.restart:
                breaking = asyncio.create_task(_break_broker(bench.broker, setup.warm_up_s + setup.seconds / 2))
        elif said["said"] == "sent":
            took_s = setup.warm_up_s + setup.seconds
            used = {name: max(0.0, value - used[name]) / took_s for name, value in _used(bench).items()}
        elif said["said"] == "done":
            if breaking is not None:
                await breaking
            result: dict[str, Any] = said["result"]
            return result | {f"{name}_cores": round(value, 2) for name, value in used.items()}
    raise VppError("the load generator ended without a word")


def _used(bench: _Bench) -> dict[str, float]:
    pid = bench.broker.pid if isinstance(bench.broker, MosquittoBroker) else os.getpid()  # another after a restart
    writers = sum(cpu_s(child) for child in children(bench.service.pid) if "store/bulk.py" in command_of(child))
    return {"service": cpu_s(bench.service.pid), "writer": writers, "broker": cpu_s(pid or 0)}


async def _break_broker(broker: RunningBroker, after_s: float) -> None:
    """Let the broker die without a chance to write anything down, and come back at the same address."""
    await asyncio.sleep(after_s)
    if isinstance(broker, MosquittoBroker):
        if broker.pid is not None:
            os.kill(broker.pid, signal.SIGKILL)  # its keeper starts it again
    elif isinstance(broker, EmbeddedBroker):
        await broker.stop()
        await asyncio.sleep(BROKER_AWAY_S)
        await broker.start()
    else:
        raise VppError("a broker that somebody else runs cannot be restarted here")


def _told(bench: _Bench, case: IngestCase, result: dict[str, Any], compared: dict[str, int]) -> dict[str, Any]:
    return {
        "name": case.name,
        "resources": bench.setup.resources,
        "aggregators": bench.setup.aggregators,
        "database": "sqlite" if bench.url.startswith("sqlite") else "postgresql",
        "broker": bench.broker.kind,
        "broker_restarted": case.restart,
        "readings_per_message": case.readings_per_message,
        "readings": result["sent_readings"],
        "peak_rss_mb": round(peak_rss_mb(bench.service.pid)),
        **{name: round(value, 4) if isinstance(value, float) else value for name, value in result.items()},
        **compared,
    }


# ---- what is in the database


def compared_with_database(url: str, order: LoadOrder, sent: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Every reading that was sent against every row of the time in which it was: ``lost``, ``duplicated``, ``wrong``
    (another power than was sent).
    """
    number: dict[str, int] = {}
    owners, moments, powers = [], [], []
    for name, device, measured_us, power_kw in sent_rows(order, sent):
        first = len(number)
        number |= {device_name(name, each): first + each for each in range(int(device.max(initial=-1)) + 1)}
        owners.append(first + device)
        moments.append(measured_us)
        powers.append(power_kw)
    owner, moment, power = np.concatenate(owners), np.concatenate(moments), np.concatenate(powers)
    if not len(moment):
        return {"rows": 0, "lost": 0, "duplicated": 0, "wrong": 0}
    low = int(moment.min())
    rows_owner, rows_us, rows_kw = _rows(url, number, low, int(moment.max()))
    wanted, there = (owner * 2**40 + moment - low), (rows_owner * 2**40 + rows_us - low)
    unique, first_at = np.unique(there, return_index=True)
    place = np.searchsorted(unique, wanted)
    hit = (place < len(unique)) & (unique[np.minimum(place, len(unique) - 1)] == wanted) if len(unique) else place < 0
    same = rows_kw[first_at[place[hit]]] == power[hit]
    return {
        "rows": len(there),
        "lost": int((~hit).sum()),
        "duplicated": len(there) - int(hit.sum()),
        "wrong": int((~same).sum()),
    }


def _rows(
    url: str, number: Mapping[str, int], low_us: int, high_us: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Device (by ``number``, -1 for one that nobody sent of), time and power of all rows in [low, high]."""
    names = dict(_fetched(url, "SELECT resource_key, resource_id FROM resources"))
    key_to = np.full(max(names, default=0) + 1, -1, dtype=np.int64)
    for key, name in names.items():
        key_to[key] = number.get(name, -1)
    query = (
        f"SELECT resource_key, measured_at, power_kw FROM readings "  # noqa: S608 - whole numbers
        f"WHERE measured_at >= {low_us} AND measured_at <= {high_us}"
    )
    kept = np.fromiter(_fetched(url, query), dtype=[("key", "i8"), ("us", "i8"), ("kw", "f8")])
    return key_to[kept["key"]], kept["us"], kept["kw"]


def _fetched(url: str, query: str) -> Iterator[Any]:
    if url.startswith("sqlite:///"):
        with closing(sqlite3.connect(f"file:{url.removeprefix('sqlite:///')}?mode=ro", uri=True)) as connection:
            yield from connection.execute(query)
        return
    import psycopg  # noqa: PLC0415 - an extra

    with psycopg.connect(url) as server, server.cursor(name="bench") as cursor:
        cursor.itersize = _MANY
        yield from cursor.execute(query)
