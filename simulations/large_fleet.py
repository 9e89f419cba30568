"""A large fleet of five kinds put into a service directly: what it sends over the wire is measured elsewhere."""

import itertools
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from models.capacity import connected_kw
from models.errors import VppError
from models.reading_columns import ReadingColumns, microseconds
from models.records import RegisteredResourceRecord
from models.resources import CurtailableLoad, EvCharger, InterruptibleLoad, Pillar, Storage, ThermalLoad
from models.telemetry import ChargingSession
from vpp.service import Service

PORTION = 20_000


def put_into(service: Service, fleet: Iterator[RegisteredResourceRecord], now: datetime) -> None:
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


def fleet_records(
    dice: np.random.Generator, resources: int, names: Sequence[str], zones: Sequence[str], tariff: str, now: datetime
) -> Iterator[RegisteredResourceRecord]:
    """Batteries, chargers and loads in turn, each with numbers of its own; ``names``: of the aggregators."""
    sizes, costs = dice.uniform(5, 60, resources), dice.uniform(0.05, 1.0, resources)
    for number in range(resources):
        kw, cost = round(float(sizes[number]), 2), round(float(costs[number]), 4)
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
