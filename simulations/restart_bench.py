"""``vpp bench restart``: from the start of ``vpp serve`` after a ``kill -9`` until it is of use, an event running.

The database holds a day: registrations, every device's readings, a car at every charger since ten hours ago, and a
direct call that runs.  It is put in directly, with what the newest cycle would have kept of it; ``vpp serve`` is then
started, killed and started again, as a process of its own on a real broker, until it is ready and until the first order
of a new plan is at a gateway.  The first start is not counted: a service that is started again has run before, and
Python has kept what it compiled.
"""

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from adapters.mqtt.broker import BrokerSettings, open_broker
from adapters.store import Store
from models.errors import VppError
from models.events import EventOrder
from models.life_cycle import EventStatus
from models.moments import microseconds
from models.reading_columns import ReadingColumns
from models.records import ChargedRecord, SessionRecord
from models.resources import EvCharger, RegisteredResource, Storage
from models.telemetry import ChargingSession
from simulations.clock import SystemClock
from simulations.hearing import PATIENCE_S, Hearing, hearing
from simulations.large_fleet import FleetSize, filled_service
from simulations.quiet_logs import quiet_logs
from simulations.serve_process import free_port, undisturbed_service
from vpp.ramp import next_cycle

PLUGGED_IN_SINCE, LEAVES_AFTER = timedelta(hours=10), timedelta(hours=9)
CALLED_KW_PER_DEVICE = 1.0
CYCLE, KEPT_BEFORE = timedelta(minutes=1), timedelta(minutes=5)
BEGINS_AFTER = timedelta(seconds=16)
"""A cycle begins that much after its boundary, when the readings have come in (15 s by default)."""
QUIET_S = 0.5


@dataclass(frozen=True, slots=True)
class RestartSetup:
    """So many devices of so many aggregators, who have reported every ``telemetry_s`` for ``hours``."""

    resources: int = 20_000
    aggregators: int = 20
    telemetry_s: float = 300.0
    hours: float = 24.0
    starts: int = 3
    broker: str = "auto"
    seed: int = 1


async def run_restart(
    setup: RestartSetup, folder: Path, told: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """One case as a dictionary for the JSON; ``VppError`` if the event does not go on."""
    with quiet_logs(folder):
        readings, passwords = await _lived_through(setup, folder, told)
    url = f"sqlite:///{folder / 'data' / 'vpp.db'}"
    settings = BrokerSettings(broker=setup.broker, folder=folder / "broker", port=free_port())
    ready_s: list[float] = []
    order_s: list[float] = []
    known: set[str] = set()
    async with open_broker(settings) as broker, AsyncExitStack() as stack:
        for name, password in passwords.items():
            await broker.add_aggregator(name, password)
        ear = await stack.enter_async_context(hearing(broker.platform, passwords))
        service = undisturbed_service(folder, url, broker)
        service.settings["real_time"]["cycle_s"] = CYCLE.total_seconds()
        try:
            for number in range(setup.starts + 1):
                if number:
                    await _a_cycle_is_missed()
                began_s = service.start()
                ready = await asyncio.to_thread(service.wait_ready) - began_s
                order = await _first_order(ear, known, began_s) - began_s
                service.kill()
                if number:
                    ready_s.append(ready)
                    order_s.append(order)
                    told(f"ready {ready:.1f} s after its start, first order of a new plan after {order:.1f} s")
        finally:
            await asyncio.to_thread(service.stop)
    with Store(url) as store:
        running = [each.event.event_id for each in store.events((EventStatus.EXECUTING,))]
    if running != ["call"]:
        raise VppError(f"one event was running, and now these are: {running}")
    return {
        "resources": setup.resources,
        "readings": readings,
        "telemetry_s": setup.telemetry_s,
        "broker": setup.broker,
        "ready_s": [round(each, 2) for each in ready_s],
        "first_order_s": [round(each, 2) for each in order_s],
    }


async def _a_cycle_is_missed() -> None:
    """Return when the next cycle is due: it has then to be run at once after the start."""
    now = SystemClock().now()
    await asyncio.sleep((next_cycle(now, CYCLE) + BEGINS_AFTER - now).total_seconds())


async def _first_order(ear: Hearing, known: set[str], since_s: float) -> float:
    """When the first batch of a plan came that was not ``known`` before; what was sent again does not count."""
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s:
        batch = await ear.batch(QUIET_S)
        if batch is not None and batch.at_s < since_s:
            known.add(batch.plan_hash)  # the service before this one had still sent it
        elif batch is not None and batch.plan_hash not in known:
            first_s = batch.at_s
            while batch is not None:  # let all of it come, so that the next start knows it
                known.add(batch.plan_hash)
                batch = await ear.batch(QUIET_S)
            return first_s
    raise VppError(f"no order of a new plan has come in {PATIENCE_S:g} s")


async def _lived_through(
    setup: RestartSetup, folder: Path, told: Callable[[str], None]
) -> tuple[int, Mapping[str, str]]:
    """A database as a service leaves it that is killed while an event runs; how many readings it holds, and the
    aggregators' passwords.
    """
    size = FleetSize(setup.resources, setup.aggregators, setup.seed)
    async with filled_service(size, folder, setup.broker) as (service, passwords):
        now = service.clock.now()
        told(f"{setup.resources:,} devices registered")
        things = [live.record.resource for live in service.state]
        count = await asyncio.to_thread(_a_day, service.store, setup, things, now, told)
        told(f"{count:,} readings in the database")
        ordered_kw = CALLED_KW_PER_DEVICE * setup.resources
        start, end = now - timedelta(minutes=5), now + timedelta(hours=2)
        order = EventOrder(event_id="call", ordered_kw=ordered_kw, start=start, end=end)
        await service.declare([order], "bench-operator")
        await service.approve(["call"], "bench-approver")
    return count, passwords


def _a_day(
    store: Store,
    setup: RestartSetup,
    things: Sequence[RegisteredResource],
    now: datetime,
    told: Callable[[str], None],
) -> int:
    """Readings of everybody every ``telemetry_s``, oldest first, and the cars that have come meanwhile.

    Only batteries tell a level: what a car has got has to be summed from its charger's readings.
    """
    dice = np.random.default_rng(setup.seed)
    stay = ChargingSession(
        session_id="stay", arrival=now - PLUGGED_IN_SINCE, departure=now + LEAVES_AFTER, energy_needed_kwh=15.0
    )
    ids, count, has_come = [each.resource_id for each in things], len(things), False
    stays = {place: stay for place, each in enumerate(things) if isinstance(each, EvCharger)}
    is_battery = np.array([isinstance(each, Storage) for each in things])
    efficiency = np.array([each.charge_efficiency if isinstance(each, EvCharger) else 0.0 for each in things])
    charged_kwh, rounds = np.zeros(count), int(setup.hours * 3600 / setup.telemetry_s)
    kept_round = math.ceil(KEPT_BEFORE.total_seconds() / setup.telemetry_s)
    for number in range(rounds, -1, -1):
        measured_at = now - number * timedelta(seconds=setup.telemetry_s)
        comes = not has_come and measured_at >= stay.arrival
        has_come |= comes
        readings = ReadingColumns(
            ids,
            np.full(count, microseconds(measured_at), dtype=np.int64),
            dice.uniform(0, 7, count),
            np.where(is_battery, dice.uniform(5, 50, count), np.nan),
            np.full(count, np.nan),
            np.ones(count, dtype=np.bool_),
            np.full(count, rounds - number, dtype=np.int64),
            stays if comes else {},
        )
        store.add_readings(readings, measured_at)
        if has_come and not comes and number >= kept_round:
            charged_kwh += efficiency * readings.power_kw * setup.telemetry_s / 3600
        if number and number % max(1, rounds // 4) == 0:
            told(f"their readings until {measured_at:%H:%M} UTC")
    store.save_sessions([SessionRecord.of(ids[place], stay) for place in stays])
    kept_at = now - kept_round * timedelta(seconds=setup.telemetry_s)
    store.save_charged([ChargedRecord(ids[place], "stay", kept_at, float(charged_kwh[place])) for place in stays])
    return (rounds + 1) * count
