"""From what is registered, measured and forecast to a ``DispatchProblem``: the one place that puts them together.

Two rules matter here.  The *structure* of the problem (which resources, which intervals) stays the same from cycle to
cycle as far as possible, so that the solver may change numbers in place: a device that may not be given orders stays
in the problem with its freedom taken away.  And every number is traceable: registration, reading, or forecast.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
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
    InterruptibleLoad,
    Pv,
    ResourceBase,
    ShiftableLoad,
    ThermalLoad,
)
from models.telemetry import ChargingSession
from vpp.baseline_table import baseline_on
from vpp.forecasting import CityForecast
from vpp.planning_rows import PlanningRows, empty_places, profile_id, with_end_energy, without_freedom
from vpp.state import LiveState, ResourceLive


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
            rows.extend(self._rows.of(live, grid, now, expected.get(live.resource_id, ()), load_profiles, reliability))
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
            profiles={profile_id(name): values for name, values in load_profiles.items()},
            run_profiles=self._rows.run_profiles(fleet),
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
                rows.extend(empty_places(resource, grid, busiest_day.get(live.resource_id, 0) + 2))
            else:
                rows.extend(self._rows.of(live, grid, grid.start, (), zeros, None))
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
    ) -> DispatchProblem:
        """The rest of the horizon from the measured state; a device that may not be given orders cannot move."""
        rows: list[ResourceBase] = []
        frozen: set[str] = set()
        for live in self._state:
            if live.resource_id not in baseline:
                continue  # registered after the day's table was made: takes part from the next market day on
            made = self._rows.of(live, grid, now, expected.get(live.resource_id, ()), baseline, reliability)
            if not self._may_be_ordered(live, now, events):
                made = [without_freedom(row, live) for row in made]
                frozen.add(live.resource_id)
            rows.extend(with_end_energy(row, end_energy_kwh) for row in made)
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
            profiles={profile_id(name): self._profile(name, values) for name, values in baseline.items()},
            run_profiles=self._rows.run_profiles(fleet),
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
                state = live.process_state(now, self._rows.on_day(registered, grid).window_start)
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
