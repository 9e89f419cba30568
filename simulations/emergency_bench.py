"""``vpp bench emergency``: from the second person's approval to the first setpoint at a gateway, over a real broker.

The service is the one that ``vpp serve`` runs, in this process, on the machine's clock, with its database in a file;
gateways are clients in a process of their own.  Each emergency is declared with its window open, approved (the clock
starts when the desk is asked), received, and terminated; then every device is as it was.  Registrations and one
reading each are put into the database and the live state directly: how fast those come in is ``vpp bench ingest``.
The runtime's loop does not run: no cycle re-plans between two calls, and none runs beside one.
"""

import asyncio
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from adapters.feeds.city_folder import write_city
from adapters.mqtt.credentials import hash_password, new_password
from models.capacity import connected_kw
from models.errors import VppError
from models.events import Event, EventOrder
from models.reading_columns import ReadingColumns, microseconds
from models.records import AggregatorRecord, RegisteredResourceRecord
from models.resources import CurtailableLoad, EvCharger, InterruptibleLoad, Pillar, Storage, ThermalLoad
from models.telemetry import ChargingSession
from simulations.clock import SystemClock
from simulations.serve_process import free_port
from vpp.city_feed import FolderFeed
from vpp.example_city import example_city
from vpp.heard import NEVER_US
from vpp.housekeeping import keep_what_is_known
from vpp.service import Service
from vpp.settings import load_settings
from vpp.wiring import open_service

PORTION = 20_000
CALLED_SHARE = 0.25
"""So much of what is callable is ordered."""
WINDOW = timedelta(hours=2)
PATIENCE_S = 60.0
QUIET_S = 0.2
LONGEST_S = 600.0
"""A million devices are told one after the other: so long may the last of them wait."""


@dataclass(frozen=True, slots=True)
class EmergencySetup:
    """So many devices of so many aggregators, so many calls; ``broker`` as in the settings."""

    resources: int = 20_000
    aggregators: int = 20
    approvals: int = 200
    time_limit_s: float = 240.0
    broker: str = "auto"
    seed: int = 1


async def run_emergency(
    setup: EmergencySetup, folder: Path, told: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """One case as a dictionary for the JSON; ``VppError`` if a call does not arrive."""
    clock = SystemClock()
    city = example_city(clock.now(), 3)
    write_city(folder / "city", city)
    settings = load_settings(
        None, {"service": {"data_dir": folder / "data"}, "mqtt": {"broker": setup.broker, "port": free_port()}}
    )
    names = [f"aggregator-{number:03}" for number in range(setup.aggregators)]
    passwords = {name: new_password() for name in names}
    began = time.monotonic()
    async with open_service(settings, clock, FolderFeed(folder / "city"), solver=_NoSolver()) as service:
        for name, password in passwords.items():
            service.store.add_aggregator(AggregatorRecord(name, name, hash_password(password), created_at=clock.now()))
        await service.broker.refresh()
        await asyncio.to_thread(_fill, service, setup, names, city.zones, next(iter(city.tariffs)), clock.now())
        told(f"{setup.resources:,} devices registered after {time.monotonic() - began:.0f} s")
        linked = asyncio.create_task(service.link.run(), name="mqtt link")
        try:
            await service.link.wait_connected()
            await asyncio.to_thread(service.runtime.emergencies.refresh)
            keep_what_is_known()  # as ``vpp serve`` does
            prepared_s = round(time.monotonic() - began, 1)
            found = await _calls(service, setup, passwords, told)
        finally:
            linked.cancel()
            await asyncio.gather(linked, return_exceptions=True)
    return found | {"prepared_s": prepared_s}


class _NoSolver:
    """Nobody plans here; who asks is told so."""

    async def solve(self, problem: object, *, deadline_s: float, gap: float = 1e-4) -> Any:
        raise VppError(f"no plan is made in this benchmark: {type(problem).__name__}, {deadline_s:g} s, gap {gap:g}")

    async def prepare(self, problem: object) -> None:
        """Nothing to get ready."""


async def _calls(
    service: Service, setup: EmergencySetup, passwords: dict[str, str], told: Callable[[str], None]
) -> dict[str, Any]:
    ear = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "simulations.wire.setpoint_ear",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    if ear.stdin is None or ear.stdout is None:
        raise VppError("the listener has no pipes")
    platform = service.broker.platform
    order = {"host": platform.host, "port": platform.port, "prefix": platform.prefix, "credentials": passwords}
    ear.stdin.write(json.dumps(order).encode() + b"\n")
    await ear.stdin.drain()
    first: list[float] = []
    last: list[float] = []
    told_devices, ordered_kw = 0, 0.0
    try:
        await asyncio.wait_for(ear.stdout.readline(), PATIENCE_S)
        began = time.monotonic()
        for number in range(setup.approvals):
            if number and time.monotonic() - began > setup.time_limit_s:
                break
            event_id = f"call-{number}"
            now = service.clock.now()
            window: dict[str, Any] = {"start": now - timedelta(minutes=5), "end": now + WINDOW}
            if not number:
                whole = Event(event_id="all", target_kw=0.0, **window)
                ordered_kw = CALLED_SHARE * service.runtime.emergencies.callable_kw(whole, now)
            await service.declare([EventOrder(event_id=event_id, ordered_kw=ordered_kw, **window)], "bench-operator")
            asked_at = time.monotonic()
            approving = asyncio.create_task(service.approve([event_id], "bench-approver"))
            arrived = await _arrived(ear.stdout, approving, asked_at)
            await approving
            first.append(arrived[0] - asked_at)
            last.append(arrived[1] - asked_at)
            told_devices = arrived[2]
            await service.terminate(event_id, "bench-operator", "next call")
            _as_before(service)
            if number % 20 == 0:
                heard = f"{told_devices:,} devices by {last[-1]:.2f} s"
                told(f"call {number + 1}: first setpoint after {first[-1]:.3f} s, {heard}")
    finally:
        with suppress(ProcessLookupError):
            ear.terminate()
        await ear.wait()
    return {
        "resources": setup.resources,
        "aggregators": setup.aggregators,
        "approvals": len(first),
        "called": told_devices,
        "first_setpoint_p50_s": _quantile(first, 0.5),
        "first_setpoint_p99_s": _quantile(first, 0.99),
        "first_setpoint_max_s": round(max(first), 4),
        "last_setpoint_p50_s": _quantile(last, 0.5),
        "last_setpoint_max_s": round(max(last), 3),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 0),
        "broker": type(service.broker).__name__.removesuffix("Broker").lower(),
        "ordered_kw": round(ordered_kw, 1),
    }


async def _arrived(
    lines: asyncio.StreamReader, approving: "asyncio.Task[Any]", asked_at: float
) -> tuple[float, float, int]:
    """Moments of the first and the last batch since ``asked_at``, and how many devices they told.

    The approval returns when the last batch is with the broker; a quiet moment after that is the end.
    """
    moments: list[float] = []
    count = 0
    while True:
        try:
            line = await asyncio.wait_for(lines.readline(), QUIET_S)
        except TimeoutError:
            if approving.done():
                approving.result()
                if moments:
                    return moments[0], moments[-1], count
            if time.monotonic() - asked_at > (PATIENCE_S if approving.done() or not moments else LONGEST_S):
                raise VppError(f"no setpoint has arrived in {PATIENCE_S:g} s") from None
            continue
        moment, _, _, told = line.decode().split()
        if float(moment) >= asked_at:
            moments.append(float(moment))
            count += int(told)


def _quantile(values: list[float], share: float) -> float:
    return round(float(np.quantile(values, share)), 4)


def _as_before(service: Service) -> None:
    """Nobody is under order, and no load has been called today."""
    columns = service.state.columns
    rows = np.flatnonzero(columns.ordered_until_us != NEVER_US)
    columns.ordered_kw[rows], columns.ordered_until_us[rows] = np.nan, NEVER_US
    for row in rows[columns.is_load[rows]].tolist():
        live = service.state.at(row)
        if live is not None:
            live.curtailed.clear()
            columns.gave_up[row] = False


def _fill(
    service: Service, setup: EmergencySetup, names: list[str], zones: tuple[str, ...], tariff: str, now: datetime
) -> None:
    """Registrations into the database and the live state, and one reading of everybody."""
    dice = np.random.default_rng(setup.seed)
    state = service.state
    for low in range(0, setup.resources, PORTION):
        count = min(PORTION, setup.resources - low)
        records = list(_records(dice, range(low, low + count), names, zones, tariff, now))
        refused = service.store.upsert_resources(records)
        if refused:
            raise VppError(f"{len(refused)} registrations are refused")
        for record in records:
            state.put(record)
        made = [record.resource for record in records]
        ids = [each.resource_id for each in made]
        level = [0.7 * each.energy_max_kwh if isinstance(each, Storage) else np.nan for each in made]
        draws = [0.0 if isinstance(each, Storage) else 0.8 * connected_kw(each) for each in made]
        stay = ChargingSession(
            session_id="stay",
            arrival=now - timedelta(hours=1),
            departure=now + timedelta(hours=9),
            energy_needed_kwh=15,
        )
        state.take_columns(
            ReadingColumns(
                ids,
                np.full(count, microseconds(now), dtype=np.int64),
                np.array(draws),
                np.array(level),
                np.full(count, np.nan),
                np.ones(count, dtype=np.bool_),
                np.arange(count, dtype=np.int64),
                {place: stay for place, each in enumerate(made) if isinstance(each, EvCharger)},
            )
        )


def _records(
    dice: np.random.Generator, numbers: range, names: list[str], zones: tuple[str, ...], tariff: str, now: datetime
) -> Iterator[RegisteredResourceRecord]:
    """Batteries, chargers and loads in turn, each with numbers of its own."""
    sizes, costs = dice.uniform(5, 60, len(numbers)), dice.uniform(0.05, 1.0, len(numbers))
    for place, number in enumerate(numbers):
        kw, cost = round(float(sizes[place]), 2), round(float(costs[place]), 4)
        aggregator, zone = names[number % len(names)], zones[number % len(zones)]
        base: dict[str, Any] = {
            "resource_id": f"r-{number:07}",
            "aggregator_id": aggregator,
            "zone_id": zone,
            "meter_id": f"m-{number:07}",
            "tariff_id": tariff,
        }
        load = {**base, "pillar": Pillar.LOAD, "baseline_profile": "p", "baseline_scale_kw": kw}
        made: Storage | EvCharger | CurtailableLoad | InterruptibleLoad | ThermalLoad
        match number % 5:
            case 0:
                energy: dict[str, Any] = {"energy_min_kwh": 0.2 * kw, "energy_max_kwh": 2 * kw, "energy_start_kwh": kw}
                limits: dict[str, Any] = {
                    "charge_limit_kw": kw,
                    "discharge_limit_kw": kw,
                    "energy_end_min_kwh": 0.2 * kw,
                }
                rates: dict[str, Any] = {
                    "charge_efficiency": 0.95,
                    "discharge_efficiency": 0.95,
                    "wear_cost_per_kwh": cost,
                }
                made = Storage(**base, pillar=Pillar.SOURCE, **energy, **limits, **rates)
            case 1:
                made = EvCharger(**base, pillar=Pillar.LOAD, charge_limit_kw=7.0, charge_efficiency=0.9)
            case 2:
                limits = {"curtail_share": 0.3, "energy_limit_kwh": 9 * kw, "hours_limit_h": 4.0}
                made = CurtailableLoad(**load, **limits, cost_per_kwh=cost + 1)
            case 3:
                limits = {"block_kw": kw / 2, "shortest_h": 0.25, "longest_h": 3.0, "calls_per_day": 2}
                made = InterruptibleLoad(**load, **limits, cost_per_kwh=cost + 1)
            case _:
                limits = {"increase_limit_kw": kw / 4, "decrease_limit_kw": kw / 2, "decay_per_hour": 0.3}
                stores: dict[str, Any] = {"store_low_kwh": kw, "store_high_kwh": kw / 2, "store_end_min_kwh": 0.0}
                made = ThermalLoad(**load, **limits, **stores, discomfort_cost_per_kwh=cost)
        rated = connected_kw(made)
        yield RegisteredResourceRecord(made, None, 86_400.0, rated, rated, now)
