"""``bench_problem``: a city day of any size whose requirements bind, and can be kept.

Nothing here knows how it will be solved.  Limits come from two schedules that the fleet could follow
(``Undispatched``): where the cheap one peaks above the even one, a zone's limit lies between, constant within each
band of the tariff.  Targets come from what the loads can give for the length of an event's window.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from models.dispatch.problem import DispatchProblem
from models.events import Commitment, Event, ScopeKind
from models.fleet import Column, Fleet
from models.intervals import FloatArray, IntervalGrid
from models.resources import Pillar, ResourceKind
from vpp.bench.city import DAY_START, FIRST_HOUR, PEAK_KW_PER_RESOURCE, City, make_city
from vpp.bench.fleets import Undispatched, make_fleet, undispatched, zone_rows
from vpp.bench.live import live_states


class Cycle(StrEnum):
    """Which horizon."""

    DAY_AHEAD = "day-ahead"
    REAL_TIME = "real-time"


CENTRE = "centre"
"""The area that holds every third zone."""


@dataclass(frozen=True)
class Order:
    """One event: its window in local hours, its scope, its target as a share of what the loads can give.

    ``rebound_cap``: cap of (M4) as a share of the peak before, None for none.
    """

    name: str
    begin: float
    end: float
    target: float
    rebound_cap: float | None
    scope_kind: ScopeKind = ScopeKind.CITY
    scope_id: str = ""


@dataclass(frozen=True)
class Tightness:
    """How hard the limits and events of a benchmark are.

    ``zone``: 0: a zone may draw what the cheapest hours draw, 1: no more than even charging draws.  ``storage``: share
    of a zone's charging power of batteries that its limit has room for.  At noon the load side is asked for less than
    cooling gives up by itself in the dearest hour, so that (M3) holds it back, and the cap after it is low enough to
    bind; in the evening so much is asked for that dear loads are needed.
    """

    zone: float = 0.9
    storage: float = 0.2
    orders: tuple[Order, ...] = (
        Order("noon", 13, 15, 0.25, 0.85),
        Order("noon-loads", 13, 15, 0.25, None, ScopeKind.PILLAR, Pillar.LOAD.value),
        Order("evening", 19, 22, 0.7, 0.7),
    )
    accepted: tuple[tuple[str, str, float], ...] = ()
    """Commitments: event, aggregator, and the share of what its loads can give that it accepted."""

    @property
    def windows(self) -> list[tuple[datetime, datetime]]:
        """Begin and end of every event."""
        return [(local_time(order.begin), local_time(order.end)) for order in self.orders]


SCOPES = Tightness(
    orders=(
        *Tightness().orders,
        Order("noon-buildings", 13, 15, 0.2, None, ScopeKind.AGGREGATOR, "buildings-a"),
        Order("evening-centre", 19, 21, 0.4, None, ScopeKind.AREA, CENTRE),
        Order("evening-zone", 20, 22, 0.5, None, ScopeKind.ZONE, "zone-01"),
    ),
    accepted=(("evening", "industry-a", 0.5), ("evening", "buildings-b", 0.6)),
)
"""The same with events of every scope inside one another, and commitments of two aggregators."""

REBOUND_H = 3.0
"""The loads take back what they gave within so many hours."""
REAL_TIME_HOUR = 12
"""Local hour of the real-time cycle: before the first event, cars at work plugged in."""


def bench_city(
    *, seed: int = 1, zones: int = 23, cycle: Cycle = Cycle.DAY_AHEAD, tightness: Tightness = Tightness()
) -> City:
    """The city of ``bench_problem``, without its fleet."""
    return make_city(np.random.default_rng(seed), _grid(cycle, tightness), zones)


def local_time(hour: float) -> datetime:
    """A local hour of the benchmark's day as an instant."""
    return DAY_START + timedelta(hours=hour - FIRST_HOUR)


def bench_problem(
    resources: int,
    *,
    seed: int = 1,
    zones: int = 23,
    kinds: Iterable[ResourceKind] | None = None,
    cycle: Cycle = Cycle.DAY_AHEAD,
    tightness: Tightness = Tightness(),
) -> DispatchProblem:
    """So many devices in so many zones; the same arguments give the same problem."""
    city = bench_city(seed=seed, zones=zones, cycle=cycle, tightness=tightness)
    fleet = make_fleet(np.random.default_rng([seed, 0]), city, resources, kinds)
    power = undispatched(city, fleet)
    load = _load(city, power, resources)
    return DispatchProblem(
        grid=city.grid,
        fleet=fleet,
        zones=city.zones,
        zone_load_kw=load,
        zone_limit_kw=load + _room(city, fleet, power, tightness),
        tariffs=city.tariffs,
        profiles=city.profiles,
        run_profiles=city.run_profiles,
        areas={CENTRE: _centre(city)},
        events=_events(city, fleet, load, power, tightness),
        commitments=_commitments(city, fleet, tightness),
        states=live_states(np.random.default_rng([seed, 1]), city, fleet) if cycle is Cycle.REAL_TIME else {},
    )


def _grid(cycle: Cycle, tightness: Tightness) -> IntervalGrid:
    if cycle is Cycle.DAY_AHEAD:
        return IntervalGrid.regular(DAY_START, timedelta(minutes=15), 96)
    return IntervalGrid.real_time(local_time(REAL_TIME_HOUR), windows=tightness.windows)


def _load(city: City, power: Undispatched, resources: int) -> FloatArray:
    """Load of the zones without the portfolio, (Z, T), such that both together peak at the city's size."""
    portfolio = power.even_kw.sum(axis=0)
    peak = PEAK_KW_PER_RESOURCE * resources
    low, high = 0.0, peak
    for _ in range(60):
        middle = (low + high) / 2
        total = (middle * city.shape.sum(axis=0) + portfolio).max()
        low, high = (low, middle) if total > peak else (middle, high)
    return np.asarray(low * city.shape)


def _room(city: City, fleet: Fleet, power: Undispatched, tightness: Tightness) -> FloatArray:
    """What the portfolio may draw beside the load, (Z, T): between even and cheapest charging, by tariff band.

    Bands with an event in them have room for everything: a limit that held stores and cars back there would itself be
    a reduction, and (M3) could forbid it.
    """
    room = np.zeros_like(power.even_kw)
    stores, units = _charging_kw(city, fleet)
    rebound = _rebound_room(city, fleet)
    during, after = (
        np.any([(city.hour > order.begin) & (city.hour < order.end + later) for order in tightness.orders], axis=0)
        for later in (0.0, REBOUND_H)
    )
    for band in range(int(city.band[-1]) + 1):
        now = city.band == band
        tight = not during[now].any()
        even, cheapest = power.even_kw[:, now].max(axis=1), power.cheapest_kw[:, now].max(axis=1)
        zone, storage = (tightness.zone, tightness.storage) if tight else (0.0, 1.0)
        level = zone * even + (1 - zone) * np.maximum(even, cheapest) + storage * stores
        room[:, now] = (level + units + (rebound if after[now].any() else 0.0))[:, None]
    return room


def _rebound_room(city: City, fleet: Fleet) -> FloatArray:
    """The most that loads which gave way take back at once, (Z,): a limit below it would forbid using them."""
    room = np.zeros(len(city.zones))
    for kind, table in fleet.tables.items():
        columns = table.columns
        if kind is ResourceKind.CURTAILABLE_LOAD:
            given = columns["curtail_share"] * columns["baseline_scale_kw"]
        elif kind is ResourceKind.INTERRUPTIBLE_LOAD:
            given = columns["block_kw"]
        else:
            continue
        np.add.at(room, zone_rows(city, columns), columns["rebound_share"] * given)
    return room


def _charging_kw(city: City, fleet: Fleet) -> tuple[FloatArray, FloatArray]:
    """Charging power of batteries and of pumped hydro units, (Z,) each."""
    stores, units = np.zeros(len(city.zones)), np.zeros(len(city.zones))
    table = fleet.tables.get(ResourceKind.STORAGE)
    if table is not None:
        columns = table.columns
        pumps = columns["charge_min_kw"] > 0
        np.add.at(stores, zone_rows(city, columns), np.where(pumps, 0.0, columns["charge_limit_kw"]))
        np.add.at(units, zone_rows(city, columns), np.where(pumps, columns["charge_limit_kw"], 0.0))
    return stores, units


def _events(city: City, fleet: Fleet, load: FloatArray, power: Undispatched, tightness: Tightness) -> tuple[Event, ...]:
    peak = float((load + power.even_kw).sum(axis=0).max())
    return tuple(
        Event(
            event_id=order.name,
            scope_kind=order.scope_kind,
            scope_id=order.scope_id,
            start=local_time(order.begin),
            end=local_time(order.end),
            target_kw=order.target * callable_kw(city, fleet, order),
            issued_at=local_time(order.begin - 18),
            rebound_cap_kw=None if order.rebound_cap is None else order.rebound_cap * peak,
        )
        for order in tightness.orders
    )


_GIVING = (ResourceKind.CURTAILABLE_LOAD, ResourceKind.INTERRUPTIBLE_LOAD, ResourceKind.THERMAL_LOAD)


def callable_kw(city: City, fleet: Fleet, order: Order, aggregator: str | None = None) -> float:
    """What the loads in an order's scope (of one aggregator, if named) can give throughout its window, kW.

    Every load at the least of its profile there, its limits of the day spread over the window.
    """
    inside = (city.hour > order.begin) & (city.hour < order.end)
    least = {name: float(values[inside].min()) for name, values in city.profiles.items()}
    hours = order.end - order.begin
    found = 0.0
    for kind, table in fleet.tables.items():
        columns = table.columns
        if kind not in _GIVING:
            continue
        scale = columns["baseline_scale_kw"] * np.array([least[name] for name in columns["baseline_profile"]])
        if kind is ResourceKind.CURTAILABLE_LOAD:
            part = columns["curtail_share"] * scale
            per_hour = columns["energy_limit_kwh"] / hours
            given = np.minimum(per_hour, part * np.minimum(1.0, columns["hours_limit_h"] / hours))
        elif kind is ResourceKind.INTERRUPTIBLE_LOAD:
            given = np.minimum(columns["block_kw"], scale) * np.minimum(1.0, columns["longest_h"] / hours)
        else:
            given = np.minimum(np.minimum(columns["decrease_limit_kw"], scale), columns["store_low_kwh"] / hours)
        members = _members(city, columns, order)
        if aggregator is not None:
            members &= columns["aggregator_id"] == aggregator
        found += float(columns["reliability_fraction"][members] @ given[members])
    return found


def _members(city: City, columns: Mapping[str, Column], order: Order) -> NDArray[np.bool_]:
    """Who is in an order's scope, (n,)."""
    if order.scope_kind is ScopeKind.CITY:
        return np.ones(len(columns["resource_id"]), dtype=np.bool_)
    if order.scope_kind is ScopeKind.AREA:
        return np.isin(zone_rows(city, columns), [city.zones.index(zone) for zone in _centre(city)])
    names = {ScopeKind.ZONE: "zone_id", ScopeKind.AGGREGATOR: "aggregator_id", ScopeKind.PILLAR: "pillar"}
    return np.asarray(columns[names[order.scope_kind]] == order.scope_id)


def _centre(city: City) -> frozenset[str]:
    return frozenset(city.zones[::3])


def _commitments(city: City, fleet: Fleet, tightness: Tightness) -> tuple[Commitment, ...]:
    found = []
    for event_id, aggregator, share in tightness.accepted:
        order = next(order for order in tightness.orders if order.name == event_id)
        accepted = share * callable_kw(city, fleet, order, aggregator)
        window = city.grid.inside(local_time(order.begin), local_time(order.end))
        found += [
            Commitment(event_id=event_id, aggregator_id=aggregator, interval_start=start, accepted_kw=accepted)
            for start, now in zip(city.grid.starts, window, strict=True)
            if now
        ]
    return tuple(found)
