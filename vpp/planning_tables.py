"""Tables of a problem for the many: resources whose row follows from their registration and a few columns.

Batteries, loads, buildings, PV and generators are taken from their registered columns (made once, until somebody
registers anew) and changed column by column.  What has a history of its own in a row, stays of cars and daily
processes, is made row by row in ``vpp.planning_rows``.  Both say the same; a test holds them together.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from models.fleet import Column, ResourceTable
from models.intervals import FloatArray
from models.resources import ResourceKind
from vpp.state import LiveState

LOADS = (ResourceKind.CURTAILABLE_LOAD, ResourceKind.INTERRUPTIBLE_LOAD, ResourceKind.THERMAL_LOAD)
PROFILED = (*LOADS, ResourceKind.PV)
"""Kinds that take part only if the service has made a profile for them."""
ROW_BY_ROW = (ResourceKind.EV_SESSION, ResourceKind.SHIFTABLE_LOAD)

COMFORT_RESERVE_SHARE = 0.1
"""Of its comfort store so much of every building is kept for what no model knows: a thermostat takes back control a
little before the limit that was registered, and then at once and for long."""


def profile_id(resource_id: str) -> str:
    """Name of the profile that the service has made for a load or a PV plant."""
    return f"of:{resource_id}"


@dataclass(frozen=True)
class _Registered:
    """One kind as it is registered: its table, rows in the live state, names of profiles."""

    table: ResourceTable
    rows: NDArray[np.int64]
    profile_ids: Column


class PlanningTables:
    """Makes tables from the live state."""

    def __init__(self, state: LiveState) -> None:
        self._state = state
        self._version = -1
        self._kinds: dict[ResourceKind, _Registered] = {}

    def _registered(self) -> dict[ResourceKind, _Registered]:
        if self._version != self._state.version:
            members: dict[ResourceKind, list[int]] = {}
            records: dict[ResourceKind, list[object]] = {}
            for live in self._state:
                if live.kind not in ROW_BY_ROW:
                    members.setdefault(live.kind, []).append(live.row)
                    records.setdefault(live.kind, []).append(live.record.resource)
            self._kinds = {}
            for kind, rows in members.items():
                table = ResourceTable.from_rows(kind, records[kind])  # type: ignore[arg-type]
                names = np.array([profile_id(name) for name in table.columns["resource_id"]], dtype=object)
                self._kinds[kind] = _Registered(table, np.array(rows, dtype=np.int64), names)
            self._version = self._state.version
        return self._kinds

    def make(
        self,
        takes_part: NDArray[np.bool_],
        has_profile: NDArray[np.bool_],
        reliability: Mapping[str, float] | None,
        frozen: NDArray[np.bool_] | None = None,
        end_energy_kwh: Mapping[str, float] | None = None,
        *,
        now: datetime,
    ) -> dict[ResourceKind, ResourceTable]:
        """Tables of those who take part; the flags are by row of the live state.

        ``has_profile``: a load or PV plant without one is left out.  ``frozen``: these have nothing to decide, and a
        battery among them keeps the level at which it stands ``now``.
        ``end_energy_kwh``: what a storage must hold at the end, as far as its limits allow.
        """
        made: dict[ResourceKind, ResourceTable] = {}
        for kind, known in self._registered().items():
            chosen = takes_part[known.rows] & (has_profile[known.rows] if kind in PROFILED else True)
            if not chosen.any():
                continue
            rows = known.rows[chosen]
            columns = {name: values[chosen] for name, values in known.table.columns.items()}
            names = known.profile_ids[chosen]
            if kind in LOADS:
                columns |= {"baseline_profile": names, "baseline_scale_kw": np.ones(len(rows))}
            elif kind is ResourceKind.PV:
                columns |= {"available_profile": names, "available_scale_kw": np.ones(len(rows))}
            if reliability:
                said = [reliability.get(name, np.nan) for name in columns["resource_id"]]
                given = np.array(said, dtype=np.float64)
                columns["reliability_fraction"] = np.where(np.isnan(given), columns["reliability_fraction"], given)
            held = np.zeros(len(rows), dtype=np.bool_) if frozen is None else frozen[rows]
            if kind is ResourceKind.THERMAL_LOAD:
                columns["store_low_kwh"] = self._warmest(columns, rows)
            if kind is ResourceKind.STORAGE:
                columns |= self._levels(columns, rows, held, end_energy_kwh or {}, now)
            elif held.any():
                _freeze(kind, columns, held)
            made[kind] = ResourceTable(kind, columns)
        return made

    def _warmest(self, columns: Mapping[str, Column], rows: NDArray[np.int64]) -> FloatArray:
        """How far buildings are planned to be taken, (n,) kWh below their baseline: before the reserve, or, where one
        is in it already, no further.
        """
        low, level = columns["store_low_kwh"], self._state.columns.comfort_store_kwh[rows]
        kept = np.maximum((1 - COMFORT_RESERVE_SHARE) * low, -columns["store_end_min_kwh"])
        return np.minimum(low, np.maximum(kept, -level))

    def _levels(
        self,
        columns: Mapping[str, Column],
        rows: NDArray[np.int64],
        frozen: NDArray[np.bool_],
        end_energy_kwh: Mapping[str, float],
        now: datetime,
    ) -> dict[str, Column]:
        """Levels of storage as they really are, not as nameplate and gauge say (``vpp.state_of_health``)."""
        heard, health = self._state.columns, self._state.health.share(rows)
        start, high = health * columns["energy_start_kwh"], health * columns["energy_max_kwh"]
        low = np.minimum(health * heard.floor_kwh[rows], start)
        end = health * columns["energy_end_min_kwh"]
        if frozen.any():
            stored = self._state.health.stored_kwh(rows, now)
            stays = np.where(np.isnan(stored), start, stored)  # kept elsewhere it would charge to get there
            start, low, high, end = (np.where(frozen, stays, level) for level in (start, low, high, end))
        if end_energy_kwh:
            wanted = np.array([end_energy_kwh.get(name, np.nan) for name in columns["resource_id"]], dtype=np.float64)
            end = np.where(np.isnan(wanted), end, np.clip(wanted, low, high))
        return {"energy_start_kwh": start, "energy_min_kwh": low, "energy_max_kwh": high, "energy_end_min_kwh": end}


def _freeze(kind: ResourceKind, columns: dict[str, Column], frozen: NDArray[np.bool_]) -> None:
    """``planning_rows.without_freedom`` for whole columns."""
    nothing = {
        ResourceKind.CURTAILABLE_LOAD: ("curtail_share",),
        ResourceKind.INTERRUPTIBLE_LOAD: ("block_kw",),
        ResourceKind.THERMAL_LOAD: ("increase_limit_kw", "decrease_limit_kw"),
    }
    for name in nothing.get(kind, ("reliability_fraction",)):
        columns[name] = np.where(frozen, 0.0, columns[name])
