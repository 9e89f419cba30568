"""Who could be called this second: what every device's registration allows, by row of the live state, kept ready.

Reading a million registrations takes seconds, and an emergency has none: the sheet is made when somebody registers,
ahead of any call, and a call only reads columns.  Powers kW, energies kWh, money CNY; NaN: a kind has no such
thing.
"""

from collections.abc import Collection
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from models.dispatch.direct_call import CallOffers
from models.events import Direction, Event, ScopeKind
from models.intervals import FloatArray
from models.moments import microseconds
from models.resources import (
    CurtailableLoad,
    EvCharger,
    Generator,
    InterruptibleLoad,
    ResourceBase,
    ResourceKind,
    Storage,
    ThermalLoad,
)
from vpp.state import LiveState

_KINDS = list(ResourceKind)
_CODE = {kind: code for code, kind in enumerate(_KINDS)}
_COLUMNS = (
    "down_kw",
    "up_kw",
    "low_kwh",
    "high_kwh",
    "gives",
    "takes",
    "cost",
    "share",
    "least_h",
    "most_h",
    "most_kwh",
)
CHARGER_COST_PER_KWH = 0.0
"""A car that leaves as full as it was promised to be loses nothing."""


def _numbers(resource: ResourceBase) -> tuple[float, ...]:
    """The numbers of ``_COLUMNS`` for one registration; all NaN for who is never called."""
    nan = float("nan")
    if isinstance(resource, Storage):
        if resource.is_pumped_hydro or resource.charge_min_kw > 0 or resource.discharge_min_kw > 0:
            return (nan,) * len(_COLUMNS)
        levels = (resource.energy_min_kwh, resource.energy_max_kwh)
        rates = (resource.discharge_efficiency, resource.charge_efficiency)
        limits = (resource.discharge_limit_kw, resource.charge_limit_kw)
        return (*limits, *levels, *rates, resource.wear_cost_per_kwh, nan, 0.0, np.inf, np.inf)
    if isinstance(resource, EvCharger):
        limit = resource.charge_limit_kw
        return (limit, limit, nan, nan, 1.0, resource.charge_efficiency, CHARGER_COST_PER_KWH, nan, 0.0, np.inf, np.inf)
    if isinstance(resource, ThermalLoad):
        levels = (-resource.store_low_kwh, resource.store_high_kwh)
        limits = (resource.decrease_limit_kw, resource.increase_limit_kw)
        return (*limits, *levels, 1.0, 1.0, resource.discomfort_cost_per_kwh, nan, 0.0, np.inf, np.inf)
    if isinstance(resource, CurtailableLoad) and resource.notice_h == 0 and resource.calls_per_day != 0:
        limits = (resource.baseline_scale_kw, 0.0)
        longest = (0.0, resource.hours_limit_h, resource.energy_limit_kwh)
        return (*limits, nan, nan, 1.0, 1.0, resource.cost_per_kwh, resource.curtail_share, *longest)
    if isinstance(resource, InterruptibleLoad) and resource.notice_h == 0 and resource.calls_per_day > 0:
        longest = (resource.shortest_h, resource.longest_h, np.inf)
        return (resource.block_kw, 0.0, nan, nan, 1.0, 1.0, resource.cost_per_kwh, nan, *longest)
    if isinstance(resource, Generator):
        longest = (resource.minimum_up_h, np.inf, np.inf)
        return (resource.power_max_kw, 0.0, nan, nan, 1.0, 1.0, resource.cost_per_kwh, nan, *longest)
    return (nan,) * len(_COLUMNS)


class CallSheet:
    """Columns by row of the live state, as of ``version`` of it; rows that came later are not on it."""

    def __init__(self, state: LiveState) -> None:
        self._state = state
        self.version = -1
        self._numbers: FloatArray = np.full((len(_COLUMNS), 0), np.nan)
        self._kind: NDArray[np.int8] = np.zeros(0, dtype=np.int8)
        self._zone: NDArray[np.int32] = np.zeros(0, dtype=np.int32)
        self._is_source: NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)
        self._zones: dict[str, int] = {}
        self.names: list[str] = []

    def make(self) -> None:
        """Read all registrations again, if any has changed."""
        state, version = self._state, self._state.version
        if version == self.version:
            return
        lives = list(state)  # a copy: this may run beside registrations
        count = max((live.row for live in lives), default=-1) + 1
        numbers = np.full((count, len(_COLUMNS)), np.nan)
        kind, zone = np.zeros(count, dtype=np.int8), np.full(count, -1, dtype=np.int32)
        is_source, names = np.zeros(count, dtype=np.bool_), [""] * count
        zones = dict(self._zones)
        for live in lives:
            resource, row = live.record.resource, live.row
            numbers[row] = _numbers(resource)
            kind[row], zone[row] = _CODE[resource.kind], zones.setdefault(resource.zone_id, len(zones))
            is_source[row], names[row] = resource.pillar.value == "source", resource.resource_id
        self._numbers, self._kind, self._zone = np.ascontiguousarray(numbers.T), kind, zone
        self._is_source, self.names, self._zones, self.version = is_source, names, zones, version

    def _column(self, name: str, rows: NDArray[np.int64]) -> FloatArray:
        return np.asarray(self._numbers[_COLUMNS.index(name)][rows])

    def in_scope(self, event: Event, area_zones: Collection[str]) -> NDArray[np.int64]:
        """Rows of the sheet that count for an event; ``area_zones``: the zones of its area, if it has one."""
        everyone = np.ones(len(self._kind), dtype=np.bool_)
        if event.scope_kind is ScopeKind.AREA:
            everyone = np.isin(self._zone, [self._zones[name] for name in area_zones if name in self._zones])
        elif event.scope_kind is ScopeKind.ZONE:
            everyone = self._zone == self._zones.get(event.scope_id, -2)
        elif event.scope_kind is ScopeKind.AGGREGATOR:
            code = self._state.columns.owner_code.get(event.scope_id, -2)
            everyone = self._state.columns.owner[: len(everyone)] == code
        elif event.scope_kind is ScopeKind.PILLAR:
            everyone = self._is_source == (event.scope_id == "source")
        return np.flatnonzero(everyone & (self._zone >= 0))

    def offers(
        self,
        rows: NDArray[np.int64],
        direction: Direction,
        standing_kw: FloatArray,
        baseline_kw: FloatArray,
        reliability: FloatArray,
        now: datetime,
        hours: float,
    ) -> CallOffers:
        """What the devices of ``rows`` offer from ``standing_kw`` on, the net power that they are at, (n,)."""
        columns, kind = self._state.columns, self._kind[rows]
        down, up = self._column("down_kw", rows), self._column("up_kw", rows)
        power, energy = np.zeros(len(rows)), np.full(len(rows), np.inf)
        shave = direction is Direction.SHAVE
        store = kind == _CODE[ResourceKind.STORAGE]
        level, health = columns.energy_kwh[rows], self._state.health.share(rows)
        if shave:
            room_kwh = health * np.maximum(0.0, level - columns.floor_kwh[rows]) * self._column("gives", rows)
            reach = -np.minimum(down, room_kwh / hours)  # the lowest net power that lasts
        else:
            room_kwh = health * (self._column("high_kwh", rows) - level) / self._column("takes", rows)
            reach = np.minimum(up, room_kwh / hours)
        power[store] = ((standing_kw - reach) if shave else (reach - standing_kw))[store]
        car = kind == _CODE[ResourceKind.EV_SESSION]
        power[car] = self._cars(rows, standing_kw, up, shave, now, hours)[car]
        building = kind == _CODE[ResourceKind.THERMAL_LOAD]
        comfort = columns.comfort_store_kwh[rows]
        moved = baseline_kw - standing_kw if shave else standing_kw - baseline_kw
        left = (comfort - self._column("low_kwh", rows)) if shave else (self._column("high_kwh", rows) - comfort)
        limit = np.minimum(down, baseline_kw) if shave else up
        power[building] = np.maximum(np.minimum(limit, left / hours) - moved, 0.0)[building]
        if shave:
            fits = (self._column("least_h", rows) <= hours) & (self._column("most_h", rows) >= hours)
            fresh = fits & ~columns.gave_up[rows]
            cut = kind == _CODE[ResourceKind.CURTAILABLE_LOAD]
            most_kwh = self._column("most_kwh", rows)
            power[cut & fresh] = (self._column("share", rows) * baseline_kw)[cut & fresh]
            energy[cut] = most_kwh[cut]
            block = (kind == _CODE[ResourceKind.INTERRUPTIBLE_LOAD]) & fresh & (baseline_kw >= down)
            power[block] = down[block]
            engine = (kind == _CODE[ResourceKind.GENERATOR]) & fresh & (standing_kw > -0.01 * down)
            power[engine] = down[engine]
        power = np.where(np.isfinite(power), np.maximum(power, 0.0), 0.0)
        whole = np.isin(kind, [_CODE[ResourceKind.INTERRUPTIBLE_LOAD], _CODE[ResourceKind.GENERATOR]])
        cost = np.nan_to_num(self._column("cost", rows), nan=np.inf)
        return CallOffers(power, energy, cost, reliability, whole)

    def _cars(
        self,
        rows: NDArray[np.int64],
        standing_kw: FloatArray,
        limit_kw: FloatArray,
        shave: bool,
        now: datetime,
        hours: float,
    ) -> FloatArray:
        """Charging that can wait until after the call and still be done by departure; fill: what can be done now."""
        columns = self._state.columns
        rate = self._column("takes", rows)
        lacking = np.maximum(columns.session_needed_kwh[rows] - columns.session_delivered_kwh[rows], 0.0)
        stays_h = (columns.departure_us[rows].astype(np.float64) - microseconds(now)) / 3.6e9
        here = columns.has_session[rows]
        if shave:
            can_wait = here & ((stays_h - hours) * limit_kw * rate >= lacking)
            return np.where(can_wait, standing_kw, 0.0)
        may_kw = np.minimum(limit_kw, lacking / rate / np.maximum(np.minimum(hours, stays_h), 1e-3))
        return np.where(here & (stays_h > 0), may_kw - standing_kw, 0.0)
