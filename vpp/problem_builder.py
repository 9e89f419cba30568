"""From what is registered, measured and forecast to a ``DispatchProblem``: the one place that puts them together.

Two rules matter here.  The *structure* of the problem (which resources, which intervals) stays the same from cycle to
cycle as far as possible, so that the solver may change numbers in place: a device that may not be given orders stays
in the problem with its freedom taken away.  And every number is traceable: registration, reading, or forecast.
"""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from models.dispatch.problem import DispatchProblem, Penalties, RealTimeTerms
from models.events import Commitment, Event
from models.fleet import Fleet, ResourceTable
from models.intervals import FloatArray, IntervalGrid
from models.moments import microseconds
from models.plan import DispatchPlan
from models.records import BaselineTable
from models.resources import (
    CurtailableLoad,
    EvCharger,
    InterruptibleLoad,
    Pv,
    ResourceBase,
    ResourceKind,
    ThermalLoad,
)
from models.telemetry import ChargingSession
from vpp.baseline_table import baseline_on
from vpp.forecasting import CityForecast
from vpp.planning_rows import PlanningRows, empty_places, without_freedom
from vpp.planning_tables import ROW_BY_ROW, PlanningTables, profile_id
from vpp.problem_states import states_of
from vpp.ramp import whole_event
from vpp.resource_live import ResourceLive
from vpp.slow_starts import with_slow_starts
from vpp.state import LiveState

PROFILE_COLUMNS = {
    ResourceKind.CURTAILABLE_LOAD: "baseline_profile",
    ResourceKind.INTERRUPTIBLE_LOAD: "baseline_profile",
    ResourceKind.THERMAL_LOAD: "baseline_profile",
    ResourceKind.PV: "available_profile",
}


class ProblemBuilder:
    """Builds the problems of the day-ahead and the real-time stage from the live state."""

    def __init__(
        self,
        state: LiveState,
        zone: ZoneInfo,
        penalties: Penalties,
        run_profile: Callable[[str, str], FloatArray | None],
    ) -> None:
        """``run_profile``: shape of a run by aggregator and profile id, None if it was never sent."""
        self._state = state
        self._rows = PlanningRows(state, zone, run_profile)
        self._tables = PlanningTables(state)
        self._zone = zone
        self._penalties = penalties

    def day_ahead(
        self,
        grid: IntervalGrid,
        now: datetime,
        city: CityForecast,
        *,
        load_profiles: Mapping[str, FloatArray],
        expected: Mapping[str, Sequence[ChargingSession]],
        events: Sequence[Event] = (),
        commitments: Sequence[Commitment] = (),
        baseline: BaselineTable | None = None,
        reliability: Mapping[str, float] | None = None,
    ) -> DispatchProblem:
        """The market day.  Without ``baseline`` the city's rows are left out: such a problem serves to make b."""
        known = None if baseline is None else baseline_on(baseline, grid)
        part = known if known is not None else self.everyone()  # who came after the day's table waits for the next day
        fleet = self._fleet(grid, now, part, load_profiles, expected, reliability)
        zones = city.zones
        load, limit = np.zeros_like(city.load_kw), np.full_like(city.limit_kw, np.inf)
        baseline_kw = None
        if known is not None:
            baseline_kw = _stacked(known, fleet.resource_ids, grid)
            load, limit = self._without_portfolio(fleet, zones, city, baseline_kw), city.limit_kw
        return DispatchProblem(
            grid=grid,
            fleet=fleet,
            zones=zones,
            zone_load_kw=load,
            zone_limit_kw=limit,
            tariffs=city.tariffs,
            profiles={profile_id(name): values for name, values in load_profiles.items()},
            run_profiles=self._rows.run_profiles(fleet),
            areas=city.areas,
            events=tuple(events),
            commitments=tuple(commitments),
            states=states_of(self._state, self._rows, fleet, now, grid, self._zone),
            penalties=replace(self._penalties, switch_cost_per_kw=0.0, stray_cost_per_kwh=0.0),
            baseline_kw=baseline_kw,
        )

    def shape(
        self, grid: IntervalGrid, city: CityForecast, busiest_day: Mapping[str, int], *, real_time: bool
    ) -> DispatchProblem:
        """A problem of the right shape and no content: what a solver needs to get ready for ``grid``.

        Every charger gets room for two stays more than it has ever seen on one day.
        """
        nothing_kw = np.zeros(len(grid))
        zeros = dict.fromkeys(self.everyone(), nothing_kw)
        everyone = np.ones(len(self._state.columns.measured_us), dtype=np.bool_)
        tables = self._tables.make(everyone, everyone, None, now=grid.start)
        rows: list[ResourceBase] = []
        for live in self._row_by_row():
            resource = live.record.resource
            if isinstance(resource, EvCharger):
                rows.extend(empty_places(resource, grid, busiest_day.get(live.resource_id, 0) + 2))
            else:
                rows.extend(self._rows.of(live, grid, grid.start, (), zeros, None))
        fleet = _merged(tables, rows)
        nothing = np.full((len(fleet.resource_ids), len(grid)), np.nan)
        terms = RealTimeTerms(now_kw=nothing[:, 0], plan_kw=nothing, stray_applies=np.zeros(len(grid)))
        calm = replace(self._penalties, switch_cost_per_kw=0.0, stray_cost_per_kwh=0.0)
        return DispatchProblem(
            grid=grid,
            fleet=fleet,
            zones=city.zones,
            zone_load_kw=city.load_kw,
            zone_limit_kw=city.limit_kw,
            tariffs=city.tariffs,
            profiles={profile_id(name): values for name, values in zeros.items()},
            run_profiles=self._rows.run_profiles(fleet),
            areas=city.areas,
            penalties=self._penalties if real_time else calm,
            baseline_kw=np.zeros((len(fleet.resource_ids), len(grid))),
            real_time=terms if real_time else None,
        )

    def profiles_of(self, table: BaselineTable) -> dict[str, FloatArray]:
        """The profiles that a day's baseline table holds: for PV what the sun gives, for loads their own power."""
        kinds = CurtailableLoad | InterruptibleLoad | ThermalLoad | Pv
        found: dict[str, FloatArray] = {}
        for row, name in enumerate(table.resource_ids):
            live = self._state.get(name)
            if live is not None and isinstance(live.record.resource, kinds):
                found[name] = self._profile(name, table.baseline_kw[row])
        return found

    def everyone(self) -> list[str]:
        """All registered resources."""
        return [live.resource_id for live in self._state]

    def real_time(
        self,
        grid: IntervalGrid,
        now: datetime,
        city: CityForecast,
        *,
        baseline: Mapping[str, FloatArray],
        plan_kw: Mapping[str, FloatArray],
        end_energy_kwh: Mapping[str, float],
        expected: Mapping[str, Sequence[ChargingSession]],
        events: Sequence[Event] = (),
        commitments: Sequence[Commitment] = (),
        reliability: Mapping[str, float] | None = None,
        in_force: DispatchPlan | None = None,
    ) -> DispatchProblem:
        """The rest of the horizon from the measured state; a device that may not be given orders cannot move.

        ``in_force``: what was planned before, by which engines may be starting.
        """
        columns = self._state.columns
        frozen = ~columns.is_dispatchable(now)
        running = {whole_event(event.event_id) for event in events}
        frozen[[live.row for live in self._state if live.opted_out_of and live.opted_out_of & running]] = True
        # who was registered after the day's table was made takes part from the next market day on
        fleet = self._fleet(grid, now, baseline, baseline, expected, reliability, frozen, end_energy_kwh)
        ids = fleet.resource_ids
        rows = self._state.rows(ids)
        baseline_kw = _stacked(baseline, ids, grid)
        # whatever a charger or a battery that does not listen does, it is not ours to promise: neither gain nor loss
        baseline_kw[frozen[rows] & (columns.is_charger | columns.is_storage)[rows]] = 0.0
        empty = np.full(len(grid), np.nan)
        now_kw = self._now_kw(rows, now)
        outside = np.ones(len(grid))
        for event in events:
            outside[grid.inside(event.start, event.end)] = 0.0
        problem = DispatchProblem(
            grid=grid,
            fleet=fleet,
            zones=city.zones,
            zone_load_kw=self._without_portfolio(fleet, city.zones, city, baseline_kw),
            zone_limit_kw=city.limit_kw,
            tariffs=city.tariffs,
            profiles=self._profiles(fleet, baseline),
            run_profiles=self._rows.run_profiles(fleet),
            areas=city.areas,
            events=tuple(events),
            commitments=tuple(commitments),
            states=states_of(self._state, self._rows, fleet, now, grid, self._zone),
            penalties=self._penalties,
            baseline_kw=baseline_kw,
            real_time=RealTimeTerms(
                now_kw=now_kw,
                plan_kw=_stacked({**dict.fromkeys(ids, empty), **plan_kw}, ids, grid),
                stray_applies=outside,
            ),
        )
        return with_slow_starts(problem, in_force, events)

    # ---- pieces

    def _profile(self, name: str, baseline_kw: FloatArray) -> FloatArray:
        """What a resource's own profile is, given its b: b itself, for PV what the sun gives (0 or more)."""
        live = self._state.get(name)
        is_pv = live is not None and isinstance(live.record.resource, Pv)
        return np.maximum(-baseline_kw, 0.0) if is_pv else baseline_kw

    def _profiles(self, fleet: Fleet, baseline: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """The profiles that the tables of ``fleet`` name: b itself, for PV what the sun gives."""
        found: dict[str, FloatArray] = {}
        for kind, column in PROFILE_COLUMNS.items():
            table = fleet.tables.get(kind)
            if table is None:
                continue
            names = zip(table.columns["resource_id"], table.columns[column], strict=True)
            if kind is ResourceKind.PV:
                found |= {profile: np.maximum(-baseline[name], 0.0) for name, profile in names}
            else:
                found |= {profile: baseline[name] for name, profile in names}
        return found

    def _fleet(
        self,
        grid: IntervalGrid,
        now: datetime,
        part: Container[str],
        profiles: Mapping[str, FloatArray],
        expected: Mapping[str, Sequence[ChargingSession]],
        reliability: Mapping[str, float] | None,
        frozen: NDArray[np.bool_] | None = None,
        end_energy_kwh: Mapping[str, float] | None = None,
    ) -> Fleet:
        """Tables of those in ``part``; see ``PlanningTables.make``."""
        count = len(self._state.columns.measured_us)
        takes_part, has_profile = np.zeros(count, dtype=np.bool_), np.zeros(count, dtype=np.bool_)
        for live in self._state:
            takes_part[live.row] = live.resource_id in part
            has_profile[live.row] = live.resource_id in profiles
        tables = self._tables.make(takes_part, has_profile, reliability, frozen, end_energy_kwh, now=now)
        rows: list[ResourceBase] = []
        for live in self._row_by_row():
            if takes_part[live.row]:
                stays = expected.get(live.resource_id, ())
                made = self._rows.of(live, grid, now, stays, profiles, reliability)
                is_frozen = frozen is not None and bool(frozen[live.row])
                rows.extend([without_freedom(row, live) for row in made] if is_frozen else made)
        return _merged(tables, rows)

    def _row_by_row(self) -> Iterator[ResourceLive]:
        return (live for live in self._state if live.kind in ROW_BY_ROW)

    def _now_kw(self, rows: NDArray[np.int64], now: datetime) -> FloatArray:
        """Power that each resource has now: what it is ordered, else what was measured, NaN where it is silent."""
        columns = self._state.columns
        under_order = ~np.isnan(columns.ordered_kw[rows]) & (columns.ordered_until_us[rows] > microseconds(now))
        power = np.where(under_order, columns.ordered_kw[rows], columns.power_kw[rows])
        return np.where(columns.is_fresh(now)[rows], power, np.nan)

    def _without_portfolio(
        self, fleet: Fleet, zones: Sequence[str], city: CityForecast, baseline_kw: FloatArray
    ) -> FloatArray:
        """The load that is not ours: city forecast minus our undispatched b, by zone, (Z, T)."""
        row_of = {name: row for row, name in enumerate(fleet.resource_ids)}
        zone_of = {zone: index for index, zone in enumerate(zones)}
        zone = np.zeros(len(row_of), dtype=np.int64)
        for table in fleet.tables.values():
            where = np.array([row_of[name] for name in table.columns["resource_id"]], dtype=np.int64)
            zone[where] = [zone_of[name] for name in table.columns["zone_id"]]
        ours = np.zeros_like(city.load_kw)
        np.add.at(ours, zone, baseline_kw)
        return np.asarray(city.load_kw - ours)


def _merged(tables: Mapping[ResourceKind, ResourceTable], rows: Sequence[ResourceBase]) -> Fleet:
    """One fleet from tables and rows of other kinds."""
    every = {**tables, **Fleet.from_rows(rows).tables}
    return Fleet({kind: every[kind] for kind in ResourceKind if kind in every})


def _stacked(values: Mapping[str, FloatArray], ids: Sequence[str], grid: IntervalGrid) -> FloatArray:
    return np.array([values[name] for name in ids], dtype=np.float64).reshape(len(ids), len(grid))
