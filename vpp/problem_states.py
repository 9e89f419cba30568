"""What a re-plan must not forget, as columns: from the live state to ``DispatchProblem.states``.

Buildings, batteries and PV are many and their states follow from what was last heard; the few others (loads with pieces
that were cut, cars, processes, generators) are asked one by one.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from models.dispatch.problem import ResourceState
from models.dispatch.states import NUMBERS, StateColumns, StateTable
from models.fleet import Fleet
from models.intervals import FloatArray, IntervalGrid
from models.moments import microseconds
from models.resources import ResourceKind, ShiftableLoad
from vpp.heard import NEVER_US
from vpp.planning_rows import PlanningRows
from vpp.state import LiveState

IN_COLUMNS = (ResourceKind.THERMAL_LOAD, ResourceKind.STORAGE, ResourceKind.PV)


def states_of(
    state: LiveState, planning: PlanningRows, fleet: Fleet, now: datetime, grid: IntervalGrid, zone: ZoneInfo
) -> Mapping[str, ResourceState]:
    """States of all resources of ``fleet``; none if the plan begins later than in an hour: tomorrow begins at rest,
    today's levels say little about tomorrow's midnight.
    """
    if grid.start > now + timedelta(hours=1):
        return {}
    ids = tuple(name for name in fleet.resource_ids if state.get(name) is not None)
    rows, heard = state.rows(ids), state.columns
    nothing = np.full(len(ids), np.nan)
    numbers: dict[str, FloatArray] = {name: nothing.copy() for name in NUMBERS}
    numbers["power_kw"] = heard.power_kw[rows].copy()
    thermal, storage = heard.is_thermal[rows], heard.is_storage[rows]
    numbers["store_kwh"][thermal] = heard.comfort_store_kwh[rows][thermal]
    numbers["energy_kwh"][storage] = state.health.stored_kwh(rows[storage], now)
    known = storage & (heard.measured_us[rows] != NEVER_US)
    numbers["on"][known] = heard.modes_of(rows, heard.power_kw[rows])[known] != 0
    since_us = heard.mode_since_us[rows]
    timed = storage & (since_us != NEVER_US)
    numbers["hours_in_state_h"][timed] = np.maximum(0.0, (microseconds(now) - since_us[timed]) / 3.6e9)
    day_start = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    pieces: dict[int, tuple[tuple[float, float, float], ...]] = {}
    for place, name in enumerate(ids):
        live = state.get(name)
        if live is None or live.kind in IN_COLUMNS:
            continue
        registered = live.record.resource
        if isinstance(registered, ShiftableLoad):
            power_kw = live.latest.power_kw if live.latest is not None else None
            one = live.work.state(registered, now, planning.on_day(registered, grid).window_start, power_kw)
        else:
            one = live.problem_state(now, day_start)
        for field in NUMBERS:
            value = getattr(one, field)
            numbers[field][place] = np.nan if value is None else float(value)
        if one.curtailed_history:
            pieces[place] = one.curtailed_history
    lengths = np.array([len(pieces.get(place, ())) for place in range(len(ids))], dtype=np.int64)
    history = np.array([piece for place in sorted(pieces) for piece in pieces[place]], dtype=np.float64).reshape(-1, 3)
    first = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return StateTable(ids, StateColumns(**numbers, history_first=first, history=history))
