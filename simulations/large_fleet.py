"""A service with a large fleet of five kinds that was put in directly: what comes over the wire is measured elsewhere.

The service is the one that ``vpp serve`` runs, in this process, on the machine's clock, with its database in a file.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from adapters.feeds.city_folder import write_city
from adapters.mqtt.credentials import hash_password, new_password
from models.capacity import connected_kw
from models.errors import VppError
from models.moments import microseconds
from models.reading_columns import ReadingColumns
from models.records import AggregatorRecord, RegisteredResourceRecord
from models.resources import CurtailableLoad, EvCharger, InterruptibleLoad, Pillar, Storage, ThermalLoad
from models.telemetry import ChargingSession
from simulations.clock import SystemClock
from simulations.serve_process import free_port
from vpp.city_feed import FolderFeed
from vpp.example_city import example_city
from vpp.service import Service
from vpp.settings import load_settings
from vpp.wiring import open_service

PORTION = 20_000


@dataclass(frozen=True, slots=True)
class FleetSize:
    """So many devices of so many aggregators; the same seed gives the same fleet."""

    resources: int
    aggregators: int
    seed: int


@asynccontextmanager
async def filled_service(
    size: FleetSize, folder: Path, broker: str
) -> AsyncIterator[tuple[Service, Mapping[str, str]]]:
    """A service that knows the fleet and has heard everybody once, and the aggregators' passwords; its city lies in
    ``folder/city``, its own files in ``folder/data``.
    """
    clock = SystemClock()
    city = example_city(clock.now(), 3)
    write_city(folder / "city", city)
    overrides = {"service": {"data_dir": folder / "data"}, "mqtt": {"broker": broker, "port": free_port()}}
    passwords = {f"aggregator-{number:03}": new_password() for number in range(size.aggregators)}
    settings, feed = load_settings(None, overrides), FolderFeed(folder / "city")
    async with open_service(settings, clock, feed, solver=_NoSolver()) as service:
        for name, password in passwords.items():
            service.store.add_aggregator(AggregatorRecord(name, name, hash_password(password), created_at=clock.now()))
        await service.broker.refresh()
        fleet = _records(size, list(passwords), city.zones, next(iter(city.tariffs)), clock.now())
        await asyncio.to_thread(_put_into, service, fleet, clock.now())
        yield service, passwords


class _NoSolver:
    """Nobody plans here; who asks is told so."""

    async def solve(self, problem: object, *, deadline_s: float, gap: float = 1e-4) -> Any:
        raise VppError(f"no plan is made in this benchmark: {type(problem).__name__}, {deadline_s:g} s, gap {gap:g}")

    async def prepare(self, problem: object) -> None:
        """Nothing to get ready."""


def _put_into(service: Service, fleet: Iterator[RegisteredResourceRecord], now: datetime) -> None:
    """Registrations into the database and the live state, and one reading of everybody."""
    state = service.state
    while records := list(itertools.islice(fleet, PORTION)):
        count = len(records)
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
    size: FleetSize, names: Sequence[str], zones: Sequence[str], tariff: str, now: datetime
) -> Iterator[RegisteredResourceRecord]:
    """Batteries, chargers and loads in turn, each with numbers of its own; ``names``: of the aggregators."""
    dice = np.random.default_rng(size.seed)
    sizes_kw, costs = dice.uniform(5, 60, size.resources), dice.uniform(0.05, 1.0, size.resources)
    for number in range(size.resources):
        kw, cost = round(float(sizes_kw[number]), 2), round(float(costs[number]), 4)
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
