"""What must never happen on a day, and whether it did: asked of everybody who knows something of it.

    far side      readings and orders lost, doubled, mixed up; the audit trail (``far_side``, ``audit_trail``)
    devices       orders beyond what they were registered with, or beyond what they hold (``device_limits``,
                  ``stored_energy``)
    zones         limits broken by our doing (``zone_limits``)

Broken promises that nobody named, gaps in sequences and the chain of the audit log are read from a day's folder
(``event_days.broken_invariants``).
"""

from collections.abc import Mapping
from datetime import timedelta
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from adapters.store import Store
from models.intervals import FloatArray, IntervalGrid
from models.resources import RegisteredResource, Storage, ThermalLoad
from simulations.audit_trail import EVERY
from simulations.day_result import Truth
from simulations.day_setup import DaySetup
from simulations.device_limits import broken_limits
from simulations.far_side import Watch
from simulations.scenarios.generator import GeneratedFleet
from simulations.stored_energy import KNOWN_FOR, broken_levels, levels_of
from simulations.zone_limits import AHEAD, broken_zones, by_zone, judged_grid, own_masters
from vpp.measurement import MeasuredDay
from vpp.service import Service

_ROW: TypeAdapter[RegisteredResource] = TypeAdapter(RegisteredResource)
_BESIDE = ("action", "fallback_power_kw", "telemetry_ttl_s", "connected_kw", "declared_kw")
"""What a registration says beside the row of the resource."""


def registered(fleet: GeneratedFleet) -> dict[str, RegisteredResource]:
    """The rows of all devices, as their aggregators sent them."""
    rows = (row for changes in fleet.registrations.values() for row in changes)
    made = (_ROW.validate_python({name: row[name] for name in row if name not in _BESIDE}) for row in rows)
    return {each.resource_id: each for each in made}


def broken_on_day(watch: Watch, setup: DaySetup, service: Service, day: MeasuredDay, truth: Truth) -> dict[str, Any]:
    """``broken``: a line for everything that must never happen and did; ``wire``: what became of messages."""
    store, end = service.store, day.grid.end
    found = list(watch.broken(store, end))
    resources, records = registered(setup.generated), watch.records.values()
    b_kw = dict(zip(day.resource_ids, day.baseline_kw, strict=True))
    ratio = _level_before(store, setup, day.grid)
    b_kw |= {name: np.stack([kw, kw * ratio]) for name, kw in b_kw.items() if isinstance(resources[name], ThermalLoad)}
    found += broken_limits(records, resources, day.grid, b_kw)
    batteries = [name for name, each in resources.items() if isinstance(each, Storage)]
    levels = levels_of(store.readings(batteries, watch.since - KNOWN_FOR, end))
    made_at = {each.command_id: each.sent_at for _, each in store.commands(since=watch.since, limit=EVERY)}
    found += broken_levels(records, resources, levels, made_at)
    zone_of = {name: each.zone_id for name, each in resources.items()}
    told = [order for record in records for order in record.told]
    found += _broken_zones(setup, zone_of, day, truth, own_masters(told, day.resource_ids, day.grid))
    return {"broken": found, "wire": watch.counts()}


def _level_before(store: Store, setup: DaySetup, grid: IntervalGrid) -> FloatArray:
    """What the level of air-conditioning was before its last step, relative to what it is, (T,): an order for the time
    after a full hour may have been made before it (``vpp.levels``).
    """
    zone, ratio = setup.generated.scenario.zone, np.ones(len(grid))
    for day in (setup.market_day, setup.market_day + timedelta(days=1)):
        levels = [(each.valid_from, each.factor) for each in store.levels(day)]
        for (_, before), (start, now) in pairwise([(grid.start, 1.0), *levels]):
            holds = [at >= start and at.astimezone(zone).date() == day for at in grid.starts]
            ratio[holds] = before / now
    return ratio


def _broken_zones(
    setup: DaySetup, zone_of: Mapping[str, str], day: MeasuredDay, truth: Truth, own: NDArray[np.bool_]
) -> tuple[str, ...]:
    grid, feed = day.grid, setup.feed
    known = feed.forecast(setup.declare_at, grid)
    of_city_kw = known.load_kw / known.load_kw.sum(axis=0) * setup.facts.scale * setup.city_kw(grid)
    ahead = [
        feed.forecast(start - AHEAD, IntervalGrid((start, end))).load_kw[:, 0]
        for start, end in zip(grid.starts, grid.ends, strict=True)
    ]

    def of_devices(power_kw: FloatArray) -> FloatArray:
        return by_zone(feed.zones, zone_of, day.resource_ids, power_kw)

    came_back_kw = np.where(own, np.maximum(truth.with_kw - day.baseline_kw, 0.0), 0.0)
    tables = (
        np.maximum(of_city_kw, of_devices(truth.without_kw)),
        of_devices(truth.with_kw - truth.without_kw),
        known.limit_kw,
        np.maximum(of_city_kw - np.column_stack(ahead), 0.0)
        + of_devices(np.abs(day.baseline_kw - truth.without_kw) + came_back_kw),
    )
    judged = judged_grid(grid, [(each.start, each.end) for each in setup.orders])
    return broken_zones(judged, feed.zones, *(judged.mean_from(grid, table) for table in tables))
