"""Rows of a problem: every registered resource as the planner shall see it on a grid.

Loads get the profile that the service has made for them, chargers the stays of today and those expected, processes
the window of their day; and what may not be given orders loses its freedom.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from models.fleet import Fleet
from models.intervals import FloatArray, IntervalGrid
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
from vpp.charging_reserve import ready_by
from vpp.planning_tables import profile_id
from vpp.resource_live import ResourceLive
from vpp.state import LiveState

MOST_STAYS = 200_000
"""So many stays are remembered before all are forgotten."""


class PlanningRows:
    """Makes rows from the live state."""

    def __init__(self, state: LiveState, zone: ZoneInfo, run_profile: Callable[[str, str], FloatArray | None]) -> None:
        """``run_profile``: shape of a run by aggregator and profile id, None if it was never sent."""
        self._state = state
        self._zone = zone
        self._run_profile = run_profile
        self._stays: dict[tuple[str, str], tuple[EvCharger, ChargingSession, EvSession]] = {}

    def of(
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
            update = {"baseline_profile": profile_id(live.resource_id), "baseline_scale_kw": 1.0}
            return [resource.model_copy(update=update)]
        if isinstance(resource, Pv):
            update = {"available_profile": profile_id(live.resource_id), "available_scale_kw": 1.0}
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
            yield self._planned(
                charger, live.session, ready_by(charger, live.session, grid.start, live.charge_left_kwh)
            )
        for stay in expected:
            if stay.arrival >= busy_until and stay.arrival < grid.end:
                made += 1
                ready = ready_by(charger, stay, stay.arrival, stay.energy_needed_kwh)
                yield self._planned(charger, stay, ready)
        if not made:  # an empty place, so that the charger keeps its row in the problem
            yield _empty_place(charger, grid)

    def _planned(self, charger: EvCharger, stay: ChargingSession, ready: datetime) -> EvSession:
        """The stay as the planner sees it; the same stay is asked for in every cycle."""
        key = charger.resource_id, stay.session_id
        known = self._stays.get(key)
        if known is None or known[0] is not charger or known[1] is not stay or known[2].departure != ready:
            if len(self._stays) > MOST_STAYS:
                self._stays.clear()
            known = self._stays[key] = (charger, stay, _planned_session(charger, stay, ready))
        return known[2]

    def _process(self, load: ShiftableLoad, grid: IntervalGrid) -> list[ResourceBase]:
        moved = self.on_day(load, grid)
        if load.run_profile is None:
            return [moved]
        if self._run_profile(load.aggregator_id, load.run_profile) is None:
            return []  # the shape of its run was never sent: nothing can be planned
        return [moved.model_copy(update={"run_profile": _run_id(load)})]

    def run_profiles(self, fleet: Fleet) -> dict[str, FloatArray]:
        found: dict[str, FloatArray] = {}
        for row in fleet.rows(ResourceKind.SHIFTABLE_LOAD):
            live = self._state.get(row.resource_id)
            registered = live.record.resource if live is not None else None
            if row.run_profile and isinstance(registered, ShiftableLoad) and registered.run_profile:
                shape = self._run_profile(registered.aggregator_id, registered.run_profile)
                if shape is not None:
                    found[row.run_profile] = shape
        return found

    def on_day(self, load: ShiftableLoad, grid: IntervalGrid) -> ShiftableLoad:
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


def _run_id(load: ShiftableLoad) -> str:
    return f"{load.aggregator_id}:{load.run_profile}"


def _planned_session(charger: EvCharger, session: ChargingSession, ready: datetime) -> EvSession:
    return charger.session(
        session.session_id,
        session.arrival,
        ready,
        session.energy_needed_kwh,
        session.battery_capacity_kwh,
        session.battery_start_kwh,
    )


def _empty_place(charger: EvCharger, grid: IntervalGrid) -> EvSession:
    """A stay of a car that wants nothing, at a charger where nobody is expected."""
    return charger.session("none", grid.start, grid.end, 0.0, *_NO_BATTERY).model_copy(update={"charge_limit_kw": 0.0})


def empty_places(charger: EvCharger, grid: IntervalGrid, count: int) -> list[EvSession]:
    """So many stays one after the other, of cars that want nothing."""
    step = (grid.end - grid.start) / count
    return [
        charger.session(f"none-{k}", grid.start + k * step, grid.start + (k + 1) * step, 0.0, *_NO_BATTERY)
        for k in range(count)
    ]


_NO_BATTERY = (0.0, 0.0)
"""Capacity and level of the car that is not there: known, so that a charger that can feed back stays one."""


_LEVELS = ("energy_start_kwh", "energy_min_kwh", "energy_max_kwh", "energy_end_min_kwh")


def without_freedom(row: ResourceBase, live: ResourceLive) -> ResourceBase:
    """The same resource with nothing to decide: it does what it does by itself, as far as we can know that.

    Only numbers change that the solver can change in place; a process, a generator or a PV plant keeps its freedom
    but no longer counts for any event, so that nothing is gained by using it.
    """
    if isinstance(row, Storage):
        known = live.latest.energy_kwh if live.latest is not None else None
        level = row.energy_start_kwh if known is None else known
        return row.model_copy(update=dict.fromkeys(_LEVELS, level))
    if isinstance(row, EvSession):
        return row.model_copy(update={"charge_limit_kw": 0.0, "discharge_limit_kw": 0.0, "energy_needed_kwh": 0.0})
    if isinstance(row, CurtailableLoad):
        return row.model_copy(update={"curtail_share": 0.0})
    if isinstance(row, InterruptibleLoad):
        return row.model_copy(update={"block_kw": 0.0})
    if isinstance(row, ThermalLoad):
        return row.model_copy(update={"increase_limit_kw": 0.0, "decrease_limit_kw": 0.0})
    return row.model_copy(update={"reliability_fraction": 0.0})


def with_end_energy(row: ResourceBase, end_energy_kwh: Mapping[str, float]) -> ResourceBase:
    """A storage must end at or above the day plan's level at the end of the real-time horizon."""
    if not isinstance(row, Storage) or row.resource_id not in end_energy_kwh:
        return row
    wanted = min(max(end_energy_kwh[row.resource_id], row.energy_min_kwh), row.energy_max_kwh)
    return row.model_copy(update={"energy_end_min_kwh": wanted})
