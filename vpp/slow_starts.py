"""Engines that do not run yet: a start takes minutes, and no zone may count on one before it has been seen.

    off, and the plan in force does not start it now     it runs from the second stretch at the earliest: its order
                                                         leaves with those of this cycle, a stretch ahead
    was to start, and its meter shows nothing yet        the zone's limit is lower by what it may be planned to give in
                                                         the first stretch: who charges there counts on nothing of it

Without that a battery was told to charge beyond its zone's limit against an engine that was to begin in the same
minute.  While an event runs an engine may start at once: then everybody draws less, and late is better than never.
In stretches that are long beside a start (a quiet cycle) nothing changes.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from models.dispatch.problem import DispatchProblem
from models.dispatch.states import StateTable
from models.events import Event
from models.plan import DispatchPlan
from models.resources import ResourceKind
from vpp.ramp import is_guard

START_TAKES_H = 0.25
"""No backup set takes longer; the domain notes (§4) have 5 to 10 minutes for gas and diesel."""


def with_slow_starts(
    problem: DispatchProblem, in_force: DispatchPlan | None, events: Sequence[Event]
) -> DispatchProblem:
    """The problem of a cycle in which an engine's start takes its time; ``events``: as the optimiser sees them."""
    engines = problem.fleet.tables.get(ResourceKind.GENERATOR)
    first_h, states = float(problem.grid.hours[0]), problem.states
    if engines is None or first_h > START_TAKES_H or not isinstance(states, StateTable):
        return problem
    names = [str(name) for name in engines.columns["resource_id"]]
    places = states.find(names)
    on = np.where(places >= 0, states.columns.on[places], np.nan)
    start = problem.grid.start
    running = (each for each in events if each.start <= start < each.end and each.target_kw > 0)
    in_event = any(not is_guard(each.event_id) for each in running)
    off = (places >= 0) & (on == 0)
    told = off & _told(in_force, names, start)

    not_yet = off & ~told & (not in_event)
    if not_yet.any():
        down_h = np.asarray(engines.columns["minimum_down_h"], dtype=np.float64)[not_yet] - first_h
        been_h = states.columns.hours_in_state_h.copy()
        known_h = np.where(np.isnan(been_h[places[not_yet]]), np.inf, been_h[places[not_yet]])
        been_h[places[not_yet]] = np.minimum(known_h, down_h)
        states = StateTable(states.resource_ids, replace(states.columns, hours_in_state_h=been_h))

    limit_kw = problem.zone_limit_kw
    if told.any():
        limit_kw = limit_kw.copy()
        least = np.asarray(engines.columns["power_min_kw"], dtype=np.float64)
        most = np.asarray(engines.columns["power_max_kw"], dtype=np.float64)
        reach_kw = np.minimum(most, np.maximum(least, np.asarray(engines.columns["ramp_kw_per_h"]) * first_h))
        zone_of = {zone: row for row, zone in enumerate(problem.zones)}
        for row in np.flatnonzero(told).tolist():
            limit_kw[zone_of[str(engines.columns["zone_id"][row])], 0] -= reach_kw[row]
    return replace(problem, states=states, zone_limit_kw=limit_kw)


def _told(in_force: DispatchPlan | None, names: Sequence[str], start: datetime) -> NDArray[np.bool_]:
    """Which of the engines ``names`` (n,) the plan in force lets run at ``start``."""
    t = None if in_force is None else in_force.grid.index_at(start)
    if in_force is None or t is None:
        return np.zeros(len(names), dtype=np.bool_)
    rows = [in_force.row_of.get(name) for name in names]
    return np.array([row is not None and in_force.power_kw[row, t] < 0 for row in rows], dtype=np.bool_)
