"""From what is registered, measured and forecast to a ``DispatchProblem``: the one place that puts them together.

Two rules matter here.  The *structure* of the problem (which resources, which intervals) stays the same from cycle to
cycle as far as possible, so that the solver may change numbers in place: a device that may not be given orders stays
in the problem with its freedom taken away.  And every number is traceable: registration, reading, or forecast.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from models.dispatch.problem import DispatchProblem, Penalties, RealTimeTerms, ResourceState
from models.events import Commitment, Event
from models.fleet import Fleet
from models.intervals import FloatArray, IntervalGrid
from models.records import BaselineTable
from models.resources import (
    CurtailableLoad,
    EvCharger,
    EvSession,
    InterruptibleLoad,
    Pv,
    ResourceBase,
    ResourceKind,
    ShiftableLoad,
    Storage,
    ThermalLoad,
)
from models.telemetry import ChargingSession
from vpp.forecasting import CityForecast
from vpp.state import LiveState, ResourceLive


def baseline_on(table: BaselineTable, grid: IntervalGrid) -> dict[str, FloatArray]:
    """Every resource's b on another grid (finer intervals inherit the mean power), NaN where the table ends."""
    values = grid.mean_from(table.grid, table.baseline_kw)
    return {name: values[row] for row, name in enumerate(table.resource_ids)}


def merged_baseline(tables: Sequence[BaselineTable], grid: IntervalGrid) -> dict[str, FloatArray]:
    """Baseline on ``grid`` from the tables of several market days, in their order: a later day wins where it begins.

    Beyond the last table b is what it is a day earlier: good enough for the far end of a horizon, and never judged.
    """
    merged: dict[str, FloatArray] = {}
    for table in tables:
        for name, values in baseline_on(table, grid).items():
            known = merged.get(name)
            merged[name] = values if known is None else np.where(np.isnan(values), known, values)
    if tables and grid.end > tables[-1].grid.end:
        day_earlier = IntervalGrid(tuple(edge - timedelta(days=1) for edge in grid.edges))
        for name, values in baseline_on(tables[-1], day_earlier).items():
            merged[name] = np.where(np.isnan(merged[name]), values, merged[name])
    return {name: values for name, values in merged.items() if not np.isnan(values).any()}


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
        self._run_profile = run_profile
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
        rows: list[ResourceBase] = []
        known = None if baseline is None else baseline_on(baseline, grid)
        for live in self._state:
            if known is not None and live.resource_id not in known:
                continue  # registered after the day's table was made: takes part from the next market day on
            rows.extend(self._rows(live, grid, now, expected.get(live.resource_id, ()), load_profiles, reliability))
        fleet = Fleet.from_rows(rows)
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
            profiles={_profile_id(name): values for name, values in load_profiles.items()},
            run_profiles=self._run_profiles(fleet),
            areas=city.areas,
            events=tuple(events),
            commitments=tuple(commitments),
            states=self._states(fleet, now, grid),
            penalties=replace(self._penalties, switch_cost_per_kw=0.0, stray_cost_per_kwh=0.0),
            baseline_kw=baseline_kw,
        )

    def shape(
        self, grid: IntervalGrid, city: CityForecast, busiest_day: Mapping[str, int], *, real_time: bool
    ) -> DispatchProblem:
        """A problem of the right shape and no content: what a solver needs to get ready for ``grid``.

        Every charger gets room for two stays more than it has ever seen on one day.
        """
        zeros = {name: np.zeros(len(grid)) for name in self.everyone()}
        rows: list[ResourceBase] = []
        for live in self._state:
            resource = live.record.resource
            if isinstance(resource, EvCharger):
                rows.extend(_empty_places(resource, grid, busiest_day.get(live.resource_id, 0) + 2))
            else:
                rows.extend(self._rows(live, grid, grid.start, (), zeros, None))
        fleet = Fleet.from_rows(rows)
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
            profiles={_profile_id(name): values for name, values in zeros.items()},
            run_profiles=self._run_profiles(fleet),
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
    ) -> DispatchProblem:
        """The rest of the horizon from the measured state; a device that may not be given orders cannot move."""
        rows: list[ResourceBase] = []
        frozen: set[str] = set()
        for live in self._state:
            if live.resource_id not in baseline:
                continue  # registered after the day's table was made: takes part from the next market day on
            made = self._rows(live, grid, now, expected.get(live.resource_id, ()), baseline, reliability)
            if not self._may_be_ordered(live, now, events):
                made = [_without_freedom(row, live) for row in made]
                frozen.add(live.resource_id)
            rows.extend(_with_end_energy(row, end_energy_kwh) for row in made)
        fleet = Fleet.from_rows(rows)
        baseline_kw = _stacked(baseline, fleet.resource_ids, grid)
        for row, name in enumerate(fleet.resource_ids):
            live_one = self._state.get(name)
            if name in frozen and live_one is not None and isinstance(live_one.record.resource, EvCharger):
                baseline_kw[row] = 0.0  # whatever it draws, it is not ours to promise: neither gain nor loss
        empty = np.full(len(grid), np.nan)
        now_kw = np.array([self._now_kw(name, now) for name in fleet.resource_ids])
        outside = np.ones(len(grid))
        for event in events:
            outside[grid.inside(event.start, event.end)] = 0.0
        return DispatchProblem(
            grid=grid,
            fleet=fleet,
            zones=city.zones,
            zone_load_kw=self._without_portfolio(fleet, city.zones, city, baseline_kw),
            zone_limit_kw=city.limit_kw,
            tariffs=city.tariffs,
            profiles={_profile_id(name): self._profile(name, values) for name, values in baseline.items()},
            run_profiles=self._run_profiles(fleet),
            areas=city.areas,
            events=tuple(events),
            commitments=tuple(commitments),
            states=self._states(fleet, now, grid),
            penalties=self._penalties,
            baseline_kw=baseline_kw,
            real_time=RealTimeTerms(
                now_kw=now_kw,
                plan_kw=_stacked({**dict.fromkeys(fleet.resource_ids, empty), **plan_kw}, fleet.resource_ids, grid),
                stray_applies=outside,
            ),
        )

    # ---- pieces

    def _profile(self, name: str, baseline_kw: FloatArray) -> FloatArray:
        """What a resource's own profile is, given its b: b itself, for PV what the sun gives (0 or more)."""
        live = self._state.get(name)
        is_pv = live is not None and isinstance(live.record.resource, Pv)
        return np.maximum(-baseline_kw, 0.0) if is_pv else baseline_kw

    def _rows(
        self,
        live: ResourceLive,
        grid: IntervalGrid,
        now: datetime,
        expected: Sequence[ChargingSession],
        profiles: Mapping[str, FloatArray],
        reliability: Mapping[str, float] | None,
    ) -> list[ResourceBase]:
        resource = live.record.resource
        if reliability is not None and live.resource_id in reliability:
            resource = resource.model_copy(update={"reliability_fraction": reliability[live.resource_id]})
        if isinstance(resource, EvCharger):
            return list(self._sessions(live, resource, grid, now, expected))
        if isinstance(resource, CurtailableLoad | InterruptibleLoad | ThermalLoad | Pv) and (
            live.resource_id not in profiles
        ):
            return []  # no profile can be made yet: nothing can be promised
        if isinstance(resource, CurtailableLoad | InterruptibleLoad | ThermalLoad):
            update = {"baseline_profile": _profile_id(live.resource_id), "baseline_scale_kw": 1.0}
            return [resource.model_copy(update=update)]
        if isinstance(resource, Pv):
            update = {"available_profile": _profile_id(live.resource_id), "available_scale_kw": 1.0}
            return [resource.model_copy(update=update)]
        if isinstance(resource, ShiftableLoad):
            return self._process(resource, grid)
        return [resource]

    def _sessions(
        self,
        live: ResourceLive,
        charger: EvCharger,
        grid: IntervalGrid,
        now: datetime,
        expected: Sequence[ChargingSession],
    ) -> Iterable[EvSession]:
        busy_until = now
        made = 0
        if live.session is not None and live.session.departure > grid.start:
            busy_until = live.session.departure
            made += 1
            yield _planned_session(charger, live.session)
        for stay in expected:
            if stay.arrival >= busy_until and stay.arrival < grid.end:
                made += 1
                yield _planned_session(charger, stay)
        if not made:  # an empty place, so that the charger keeps its row in the problem
            yield _empty_place(charger, grid)

    def _process(self, load: ShiftableLoad, grid: IntervalGrid) -> list[ResourceBase]:
        moved = self._on_day(load, grid)
        if load.run_profile is None:
            return [moved]
        if self._run_profile(load.aggregator_id, load.run_profile) is None:
            return []  # the shape of its run was never sent: nothing can be planned
        return [moved.model_copy(update={"run_profile": _run_id(load)})]

    def _run_profiles(self, fleet: Fleet) -> dict[str, FloatArray]:
        found: dict[str, FloatArray] = {}
        for row in fleet.rows(ResourceKind.SHIFTABLE_LOAD):
            live = self._state.get(row.resource_id)
            registered = live.record.resource if live is not None else None
            if row.run_profile and isinstance(registered, ShiftableLoad) and registered.run_profile:
                shape = self._run_profile(registered.aggregator_id, registered.run_profile)
                if shape is not None:
                    found[row.run_profile] = shape
        return found

    def _on_day(self, load: ShiftableLoad, grid: IntervalGrid) -> ShiftableLoad:
        """The daily process of ``load`` on the local day that the grid is in, at the registered clock times."""
        day = grid.start.astimezone(self._zone).date()
        registered = load.window_start.astimezone(self._zone)
        start = registered.replace(year=day.year, month=day.month, day=day.day)
        length = load.window_end - load.window_start
        if start + length <= grid.start:
            start = (registered + timedelta(days=(day - registered.date()).days + 1)).replace(tzinfo=self._zone)
        moved = start.astimezone(UTC) - load.window_start  # not by the clock on the wall: summer time may lie between
        update: dict[str, datetime] = {
            "window_start": load.window_start + moved,
            "window_end": load.window_end + moved,
        }
        if load.preferred_start is not None:
            update["preferred_start"] = load.preferred_start + moved
        return load.model_copy(update=update)

    def _states(self, fleet: Fleet, now: datetime, grid: IntervalGrid) -> dict[str, ResourceState]:
        local = now.astimezone(self._zone)
        day_start = local.replace(hour=0, minute=0, second=0, microsecond=0)
        planning_ahead = grid.start > now + timedelta(hours=1)
        states: dict[str, ResourceState] = {}
        for name in fleet.resource_ids:
            live = self._state.get(name)
            if live is None:
                continue
            if planning_ahead:
                continue  # tomorrow begins at rest: today's levels say little about tomorrow's midnight
            state = live.problem_state(now, day_start)
            registered = live.record.resource
            if isinstance(registered, ShiftableLoad):
                state = live.process_state(now, self._on_day(registered, grid).window_start)
            states[name] = state
        return states

    def _now_kw(self, name: str, now: datetime) -> float:
        live = self._state.get(name)
        if live is None or live.latest is None or not live.is_fresh(now):
            return float("nan")
        return live.ordered_kw if live.is_under_order(now) and live.ordered_kw is not None else live.latest.power_kw

    @staticmethod
    def _may_be_ordered(live: ResourceLive, now: datetime, events: Sequence[Event]) -> bool:
        if not live.is_dispatchable(now):
            return False
        running = {event.event_id.split("~")[0] for event in events}
        return not (live.opted_out_of & running)

    def _without_portfolio(
        self, fleet: Fleet, zones: Sequence[str], city: CityForecast, baseline_kw: FloatArray
    ) -> FloatArray:
        """The load that is not ours: city forecast minus our undispatched b, by zone, (Z, T)."""
        row_of = {name: row for row, name in enumerate(fleet.resource_ids)}
        zone_of = {zone: index for index, zone in enumerate(zones)}
        load = city.load_kw.copy()
        seen: set[str] = set()
        for table in fleet.tables.values():
            for name, zone in zip(table.columns["resource_id"], table.columns["zone_id"], strict=True):
                if name not in seen:
                    seen.add(name)
                    load[zone_of[zone]] -= baseline_kw[row_of[name]]
        return load


def _stacked(values: Mapping[str, FloatArray], ids: Sequence[str], grid: IntervalGrid) -> FloatArray:
    return np.array([values[name] for name in ids], dtype=np.float64).reshape(len(ids), len(grid))


def _profile_id(resource_id: str) -> str:
    return f"of:{resource_id}"


def _run_id(load: ShiftableLoad) -> str:
    return f"{load.aggregator_id}:{load.run_profile}"


def _planned_session(charger: EvCharger, session: ChargingSession) -> EvSession:
    return charger.session(
        session.session_id,
        session.arrival,
        session.departure,
        session.energy_needed_kwh,
        session.battery_capacity_kwh,
        session.battery_start_kwh,
    )


def _empty_place(charger: EvCharger, grid: IntervalGrid) -> EvSession:
    """A stay of a car that wants nothing, at a charger where nobody is expected."""
    return charger.session("none", grid.start, grid.end, 0.0, *_NO_BATTERY).model_copy(update={"charge_limit_kw": 0.0})


def _empty_places(charger: EvCharger, grid: IntervalGrid, count: int) -> list[EvSession]:
    """So many stays one after the other, of cars that want nothing."""
    step = (grid.end - grid.start) / count
    return [
        charger.session(f"none-{k}", grid.start + k * step, grid.start + (k + 1) * step, 0.0, *_NO_BATTERY)
        for k in range(count)
    ]


_NO_BATTERY = (0.0, 0.0)
"""Capacity and level of the car that is not there: known, so that a charger that can feed back stays one."""


def _without_freedom(row: ResourceBase, live: ResourceLive) -> ResourceBase:
    """The same resource with nothing to decide: it does what it does by itself, as far as we can know that.

    Only numbers change that the solver can change in place; a process, a generator or a PV plant keeps its freedom
    but no longer counts for any event, so that nothing is gained by using it.
    """
    if isinstance(row, Storage):
        known = live.latest.energy_kwh if live.latest is not None else None
        level = min(max(row.energy_start_kwh if known is None else known, row.energy_min_kwh), row.energy_max_kwh)
        return row.model_copy(update={"energy_min_kwh": level, "energy_max_kwh": level, "energy_end_min_kwh": level})
    if isinstance(row, EvSession):
        return row.model_copy(update={"charge_limit_kw": 0.0, "discharge_limit_kw": 0.0, "energy_needed_kwh": 0.0})
    if isinstance(row, CurtailableLoad):
        return row.model_copy(update={"curtail_share": 0.0})
    if isinstance(row, InterruptibleLoad):
        return row.model_copy(update={"block_kw": 0.0})
    if isinstance(row, ThermalLoad):
        return row.model_copy(update={"increase_limit_kw": 0.0, "decrease_limit_kw": 0.0})
    return row.model_copy(update={"reliability_fraction": 0.0})


def _with_end_energy(row: ResourceBase, end_energy_kwh: Mapping[str, float]) -> ResourceBase:
    """A storage must end at or above the day plan's level at the end of the real-time horizon."""
    if not isinstance(row, Storage) or row.resource_id not in end_energy_kwh:
        return row
    wanted = min(max(end_energy_kwh[row.resource_id], row.energy_min_kwh), row.energy_max_kwh)
    return row.model_copy(update={"energy_end_min_kwh": wanted})
