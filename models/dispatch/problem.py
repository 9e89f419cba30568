"""The city dispatch problem as data: everything a solver or the checker needs, validated and picklable.

Conventions: power positive when consuming, kW, mean over [start, end); energy kWh at interval ends; CNY.
Z zones, T intervals, R resources.  See ``models/dispatch/README.md`` for the equations (M1)-(M5).
"""

from collections import Counter
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property

import numpy as np

from models.errors import InputError, InputFault
from models.events import Commitment, Event, ScopeKind
from models.fleet import Fleet
from models.intervals import FloatArray, IntervalGrid
from models.resources import TABLE_NAMES, ResourceKind

TIE_BREAK_PER_KWH_H = 1e-6
"""Added per hour from the start to the price in the baseline problem, so that equal prices have one
answer."""


@dataclass(frozen=True, slots=True)
class Penalties:
    """Price of one kWh of unmet requirement, CNY; written into ``summary.json`` of every plan.

    ``switch_cost_per_kw`` and ``stray_cost_per_kwh`` act in real time only.
    """

    overload_per_kwh: float = 100.0
    shortfall_per_kwh: float = 50.0
    commitment_per_kwh: float = 20.0
    excess_per_kwh: float = 5.0
    switch_cost_per_kw: float = 0.0
    stray_cost_per_kwh: float = 0.0

    def __post_init__(self) -> None:
        wrong = {name: value for name, value in self.as_dict().items() if not 0 <= value < np.inf}
        rule = "must be finite and not negative"
        if wrong:
            raise InputError([InputFault("penalties", name, value, rule) for name, value in wrong.items()])

    def as_dict(self) -> dict[str, float]:
        """Name and value of every penalty."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


@dataclass(frozen=True, slots=True)
class ResourceState:
    """What a re-plan must not forget about one resource; a field that is None says nothing (= at rest).

    ``energy_kwh``: storage or V2G level.  ``delivered_kwh``: V1G energy since arrival.  ``store_kwh``: comfort store.
    ``on``: generator running, interruptible *interrupted*, shiftable run begun, pumped hydro pumping (+) is told by
    ``power_kw``.  ``hours_in_state_h``: how long ``on`` has had its value.  ``hours_used_h``, ``energy_used_kwh``,
    ``calls_used``: already used of the limits of the day.  ``power_kw``: present net power. ``curtailed_history``:
    ((hours before the horizon's start at which the piece ended, its length in h, kW), ...).
    """

    energy_kwh: float | None = None
    store_kwh: float | None = None
    delivered_kwh: float | None = None
    on: bool | None = None
    hours_in_state_h: float | None = None
    hours_used_h: float | None = None
    energy_used_kwh: float | None = None
    calls_used: int | None = None
    power_kw: float | None = None
    curtailed_history: tuple[tuple[float, float, float], ...] = ()


@dataclass(frozen=True)
class RealTimeTerms:
    """What a re-plan stays near to: power now, and the day-ahead plan outside events.

    ``now_kw``: (R,), NaN where unknown.  ``plan_kw``: (R, T), NaN where the plan says nothing.
    ``stray_applies``: (T,), False inside event windows.
    """

    now_kw: FloatArray
    plan_kw: FloatArray
    stray_applies: FloatArray


@dataclass(frozen=True)
class DispatchProblem:
    """One city, one horizon.

    ``zone_load_kw``, ``zone_limit_kw``: (Z, T); load is everything but the portfolio; a limit of +inf is none.
    ``tariffs``, ``profiles``: id → (T,) price per kWh / per-unit value.  ``areas``: id → zone ids. ``run_profiles``:
    id → (K,) per-unit shape of a contiguous run, K intervals from its start, times ``power_max_kw``. ``baseline_kw``:
    (R, T) in the order of ``fleet.resource_ids`` if the market day's table is given, else None and the solver makes
    it.  ``real_time``: extra cost terms of a re-plan.
    """

    grid: IntervalGrid
    fleet: Fleet
    zones: tuple[str, ...]
    zone_load_kw: FloatArray
    zone_limit_kw: FloatArray
    tariffs: Mapping[str, FloatArray]
    profiles: Mapping[str, FloatArray]
    run_profiles: Mapping[str, FloatArray] = field(default_factory=dict)
    areas: Mapping[str, frozenset[str]] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    commitments: tuple[Commitment, ...] = ()
    states: Mapping[str, ResourceState] = field(default_factory=dict)
    penalties: Penalties = Penalties()
    baseline_kw: FloatArray | None = None
    real_time: RealTimeTerms | None = None

    def __post_init__(self) -> None:
        faults = list(self._faults())
        if faults:
            raise InputError(faults)

    def _faults(self) -> Iterator[InputFault]:
        yield from self._shape_faults()
        yield from self._real_time_faults()
        yield from self._identity_faults()
        yield from self._reference_faults()
        yield from self._event_faults()

    def _shape_faults(self) -> Iterator[InputFault]:
        count = len(self.grid)
        yield from self._zone_faults()
        for table, series in (("tariffs", self.tariffs), ("profiles", self.profiles)):
            for name, values in series.items():
                if values.shape != (count,):
                    yield InputFault(table, name, values.shape, f"shape must be {(count,)}")
                elif not np.isfinite(values).all():
                    yield InputFault(table, name, "NaN or infinity", "must be finite in every interval")
        for name, values in self.run_profiles.items():
            if values.ndim != 1 or not values.size or not np.isfinite(values).all():
                rule = "a run must be one finite value or more in a row"
                yield InputFault("profiles", name, values.tolist(), rule)
        if self.baseline_kw is None:
            return
        if self.baseline_kw.shape != (len(self.fleet.resource_ids), count):
            yield InputFault("problem", "baseline_kw", self.baseline_kw.shape, "must have a row per resource")
            return
        for row in np.flatnonzero(~np.isfinite(self.baseline_kw).all(axis=1)):
            name = self.fleet.resource_ids[row]
            yield InputFault("problem", "baseline_kw", name, "must be finite in every interval", int(row) + 1)

    def _zone_faults(self) -> Iterator[InputFault]:
        shape = (len(self.zones), len(self.grid))
        for name, values, most in (
            ("zone_load_kw", self.zone_load_kw, "finite"),
            ("zone_limit_kw", self.zone_limit_kw, "finite or +inf (no limit)"),
        ):
            allowed = np.isfinite(values) | (np.isposinf(values) & (name == "zone_limit_kw"))
            if values.shape != shape:
                yield InputFault("problem", name, values.shape, f"shape must be {shape}")
            elif not allowed.all():
                z, t = (int(k[0]) for k in np.nonzero(~allowed))
                where = f"{values[z, t]} in {self.zones[z]} at {self.grid.starts[t].isoformat()}"
                yield InputFault("problem", name, where, f"must have no holes: {most} everywhere")

    def _real_time_faults(self) -> Iterator[InputFault]:
        if self.real_time is None:
            return
        resources, count = len(self.fleet.resource_ids), len(self.grid)
        for name, shape in (
            ("now_kw", (resources,)),
            ("plan_kw", (resources, count)),
            ("stray_applies", (count,)),
        ):
            values = getattr(self.real_time, name)
            if values.shape != shape:
                yield InputFault("real_time", name, values.shape, f"shape must be {shape}")
            elif np.isinf(values).any():
                yield InputFault("real_time", name, "infinity", "must be finite, or NaN where nothing is known")

    def _identity_faults(self) -> Iterator[InputFault]:
        if len(set(self.zones)) != len(self.zones):
            yield InputFault("system", "zone_id", self.zones, "every zone must be named once")
        ids = [event.event_id for event in self.events]
        for row, name in enumerate(ids, start=1):
            if name in ids[: row - 1]:
                yield InputFault("events", "event_id", name, "must occur once", row)
        kinds_of = Counter(name for rows in self.fleet.tables.values() for name in set(rows.columns["resource_id"]))
        for kind, rows in self.fleet.tables.items():
            # a charger has a row per stay; every other resource has one
            rows_of = Counter(rows.columns["resource_id"]) if kind is not ResourceKind.EV_SESSION else Counter()
            if len(rows_of) == rows_of.total() and kinds_of.total() == len(kinds_of):
                continue
            for row, name in enumerate(rows.columns["resource_id"], start=1):
                if kinds_of[name] > 1 or rows_of[name] > 1:
                    rule = "must occur once in the fleet (only the stays of one charger share its id)"
                    yield InputFault(TABLE_NAMES[kind], "resource_id", name, rule, row)

    def _reference_faults(self) -> Iterator[InputFault]:
        known_ids: dict[str, tuple[str, Container[str]]] = {
            "zone_id": ("system", frozenset(self.zones)),
            "tariff_id": ("tariffs", self.tariffs),
            "baseline_profile": ("profiles", self.profiles),
            "available_profile": ("profiles", self.profiles),
            "run_profile": ("profiles", self.run_profiles),
        }
        for kind, rows in self.fleet.tables.items():
            for column, (table, known) in known_ids.items():
                names = rows.columns.get(column, ())
                if all(not name or name in known for name in set(names)):
                    continue
                for row, name in enumerate(names, start=1):
                    if name and name not in known:
                        rule = f"must be named in the {table} table"
                        yield InputFault(TABLE_NAMES[kind], column, name, rule, row)
        for area, zones in self.areas.items():
            for zone in sorted(zones.difference(self.zones)):
                yield InputFault("areas", "zone_id", zone, f"of area {area} must be named in the system table")

    def _event_faults(self) -> Iterator[InputFault]:
        edges = set(self.grid.edges)
        for row, event in enumerate(self.events, start=1):
            for name, edge in (("start", event.start), ("end", event.end)):
                if self.grid.start < edge < self.grid.end and edge not in edges:
                    yield InputFault("events", name, edge.isoformat(), "must lie on an interval edge", row)
            if event.scope_kind is ScopeKind.AREA and event.scope_id not in self.areas:
                yield InputFault("events", "scope_id", event.scope_id, "must be an area of the areas table", row)
            if event.scope_kind is ScopeKind.ZONE and event.scope_id not in self.zones:
                yield InputFault("events", "scope_id", event.scope_id, "must be a zone of the system table", row)

    @cached_property
    def attributes(self) -> dict[str, "ResourceAttributes"]:
        """Zone, aggregator, pillar, kind, tariff and reliability of every resource, by id."""
        found: dict[str, ResourceAttributes] = {}
        for kind, table in self.fleet.tables.items():
            columns = table.columns
            for index in range(len(table)):
                name = str(columns["resource_id"][index])
                found[name] = ResourceAttributes(
                    kind,
                    str(columns["zone_id"][index]),
                    str(columns["aggregator_id"][index]),
                    str(columns["pillar"][index]),
                    str(columns["tariff_id"][index]),
                    float(columns["reliability_fraction"][index]),
                )
        return found

    def in_scope(self, event: Event) -> frozenset[str]:
        """Ids of the resources that an event's scope contains (``is_test`` resources take part like any other)."""
        return frozenset(
            name
            for name, what in self.attributes.items()
            if event.scope_kind is ScopeKind.CITY
            or (event.scope_kind is ScopeKind.AREA and what.zone_id in self.areas[event.scope_id])
            or (event.scope_kind is ScopeKind.ZONE and what.zone_id == event.scope_id)
            or (event.scope_kind is ScopeKind.AGGREGATOR and what.aggregator_id == event.scope_id)
            or (event.scope_kind is ScopeKind.PILLAR and what.pillar == event.scope_id)
        )

    def target_kw(self, event: Event) -> FloatArray:
        """Target of the event in every interval, (T,), zero outside its window."""
        return np.where(self.grid.inside(event.start, event.end), event.target_kw, 0.0)


@dataclass(frozen=True, slots=True)
class ResourceAttributes:
    """What groups and scopes look at."""

    kind: ResourceKind
    zone_id: str
    aggregator_id: str
    pillar: str
    tariff_id: str
    reliability_fraction: float
