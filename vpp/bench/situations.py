"""Situations: small random fleets in every trouble at once, from a seed; what the exactness of a solver is held to.

A situation is a ``random_problem`` with one to four events of any scope and direction (half of them at the same
time), commitments, tight or absent limits, negative prices, measured states, unequal real-time grids that stay near a
plan, several stays per charger, and sometimes a baseline table that is given.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np

from models.dispatch.problem import DispatchProblem, Penalties, RealTimeTerms, ResourceState
from models.events import Commitment, Direction, Event, ScopeKind
from models.intervals import FloatArray, IntervalGrid
from models.resources import Pillar, ResourceKind
from vpp.bench.small_fleets import AGGREGATORS, ALL_KINDS, random_problem

STEPS_MIN = (5, 5, 5, 15, 30, 30, 60, 45, 20, 30)
"""Lengths of a re-plan's intervals, over and over."""


def situation(seed: int, *, most_resources: int = 16, most_intervals: int = 32) -> DispatchProblem:
    """The problem of this seed: 3 to ``most_resources`` devices, 8 to ``most_intervals`` intervals."""
    dice = np.random.default_rng([seed, 20_033])
    few = tuple(dice.permutation(np.array(ALL_KINDS, dtype=object))[: dice.integers(1, 5)])
    problem = random_problem(
        seed,
        kinds=ALL_KINDS if dice.random() < 0.6 else few,
        resources=int(dice.integers(3, most_resources + 1)),
        intervals=int(dice.integers(8, most_intervals + 1)),
        zones=int(dice.integers(1, 4)),
        step=timedelta(minutes=int(dice.choice([15, 30, 60]))),
        sessions_per_charger=int(dice.choice([1, 1, 2, 3])),
        negative_prices=bool(dice.random() < 0.3),
        hydro_share=0.3,
    )
    problem = _with_events(problem, dice)
    problem = _with_limits(problem, dice)
    if dice.random() < 0.4:
        problem = replace(problem, states=_states(problem, dice))
    if dice.random() < 0.35:
        problem = _near_a_plan(_uneven(problem), dice)
    if dice.random() < 0.25:
        problem = replace(problem, baseline_kw=np.round(_usual_kw(problem, dice), 3))
    return problem


# ---- requirements


def _with_events(problem: DispatchProblem, dice: np.random.Generator) -> DispatchProblem:
    """One to four events; each has its own window or that of the first."""
    events: list[Event] = []
    for k in range(int(dice.integers(1, 5))):
        events.append(_event(problem, k, events[0] if events and dice.random() < 0.5 else None, dice))
    accepted: tuple[Commitment, ...] = ()
    if dice.random() < 0.5:
        accepted = tuple(_commitments(problem, events, dice))
    return replace(problem, events=tuple(events), commitments=accepted)


def _event(problem: DispatchProblem, k: int, first: Event | None, dice: np.random.Generator) -> Event:
    edges, count = problem.grid.edges, len(problem.grid)
    low = int(dice.integers(0, count - 2))
    high = int(dice.integers(low + 1, min(count, low + 6) + 1))
    start, end = (edges[low], edges[high]) if first is None else (first.start, first.end)
    scopes = (
        (ScopeKind.CITY, "", 1.0),
        (ScopeKind.AREA, "north", 0.6),
        (ScopeKind.ZONE, str(dice.choice(problem.zones)), 0.4),
        (ScopeKind.AGGREGATOR, str(dice.choice(AGGREGATORS)), 0.4),
        (ScopeKind.PILLAR, str(dice.choice([Pillar.LOAD.value, Pillar.SOURCE.value])), 0.6),
    )
    kind, name, share = scopes[int(dice.integers(0, len(scopes)))]
    shave = dice.random() < 0.7
    load = float(problem.zone_load_kw.sum(axis=0).max())
    return Event(
        event_id=f"e{k}",
        direction=Direction.SHAVE if shave else Direction.FILL,
        scope_kind=kind,
        scope_id=name,
        start=start,
        end=end,
        target_kw=float(len(problem.fleet) * share * dice.choice([0.0, dice.uniform(1, 12), dice.uniform(12, 40)])),
        issued_at=problem.grid.start - timedelta(hours=float(dice.choice([0.0, 0.5, 2.0]))),
        rebound_cap_kw=load * dice.uniform(0.8, 1.2) if shave and dice.random() < 0.5 else None,
    )


def _commitments(problem: DispatchProblem, events: list[Event], dice: np.random.Generator) -> list[Commitment]:
    made = []
    for event in events:
        for name in dice.permutation(np.array(AGGREGATORS))[: dice.integers(1, 4)]:
            share = event.target_kw * dice.uniform(0.0, 0.5)
            inside = problem.grid.inside(event.start, event.end) & (dice.random(len(problem.grid)) < 0.9)
            made += [
                Commitment(event_id=event.event_id, aggregator_id=str(name), interval_start=start, accepted_kw=share)
                for start, chosen in zip(problem.grid.starts, inside, strict=True)
                if chosen
            ]
    return made


def _with_limits(problem: DispatchProblem, dice: np.random.Generator) -> DispatchProblem:
    """Limits as they are, nearer, missing here and there, or none at all."""
    limit = problem.zone_limit_kw.copy()
    how = dice.random()
    if how < 0.5:
        room = limit - problem.zone_load_kw
        limit = problem.zone_load_kw + room * dice.uniform(-0.1, 0.8, (len(limit), 1))
    elif how < 0.7:
        limit[dice.random(limit.shape) < 0.5] = np.inf
    elif how < 0.8:
        limit[:] = np.inf
    return replace(problem, zone_limit_kw=limit)


# ---- what was measured


def _states(problem: DispatchProblem, dice: np.random.Generator) -> dict[str, ResourceState]:
    """What three in four resources report: mostly what was planned, sometimes what nobody did."""
    found = {}
    for row in problem.fleet.rows():
        if row.resource_id not in found and dice.random() < 0.75:
            found[row.resource_id] = _STATES[row.kind](row, dice)
    return found


def _storage_state(row: Any, dice: np.random.Generator) -> ResourceState:
    low, high = (-0.02, 1.1) if dice.random() < 0.3 else (0.1, 0.95)
    power = float(dice.choice([0.0, 1.0, -1.0]) * row.charge_limit_kw * 0.5)
    return ResourceState(energy_kwh=max(0.0, float(dice.uniform(low, high) * row.energy_max_kwh)), power_kw=power)


def _charger_state(row: Any, dice: np.random.Generator) -> ResourceState:
    most = row.battery_capacity_kwh if row.is_v2g else row.energy_needed_kwh
    level = float(dice.uniform(0.0, 1.1 if dice.random() < 0.3 else 0.7) * most)
    return ResourceState(energy_kwh=level) if row.is_v2g else ResourceState(delivered_kwh=level)


def _thermal_state(row: Any, dice: np.random.Generator) -> ResourceState:
    wide = 1.3 if dice.random() < 0.3 else 0.6
    return ResourceState(store_kwh=float(dice.uniform(-wide, wide) * row.store_low_kwh))


def _generator_state(row: Any, dice: np.random.Generator) -> ResourceState:
    on = bool(dice.random() < 0.6)
    gives = float(dice.uniform(0.9 * row.power_min_kw, 1.05 * row.power_max_kw)) if on else 0.0
    return ResourceState(on=on, hours_in_state_h=float(dice.uniform(0, 3)), power_kw=-gives)


def _shiftable_state(row: Any, dice: np.random.Generator) -> ResourceState:
    if row.run_profile and dice.random() < 0.5:
        return ResourceState(on=True, hours_in_state_h=float(dice.choice([0.25, 0.5, 1.0])))
    return ResourceState(delivered_kwh=float(dice.uniform(0, 1.05) * row.energy_kwh * (not row.run_profile)))


def _interruptible_state(row: Any, dice: np.random.Generator) -> ResourceState:
    return ResourceState(
        on=bool(dice.random() < 0.5),
        hours_in_state_h=float(dice.uniform(0, 3)),
        calls_used=int(dice.integers(0, row.calls_per_day + 1)),
        curtailed_history=_history(row, dice),
    )


def _curtailable_state(row: Any, dice: np.random.Generator) -> ResourceState:
    used = float(dice.uniform(0, 2))
    return ResourceState(
        on=bool(dice.random() < 0.4),
        hours_in_state_h=float(dice.uniform(0, 2)),
        hours_used_h=used,
        energy_used_kwh=0.1 * used * row.baseline_scale_kw,
        calls_used=int(dice.integers(0, 3)),
        curtailed_history=_history(row, dice),
    )


def _history(row: Any, dice: np.random.Generator) -> tuple[tuple[float, float, float], ...]:
    size = 0.2 * row.baseline_scale_kw
    return ((0.0, 1.0, size), (1.0, 0.5, 0.5 * size)) if dice.random() < 0.7 else ()


def _pv_state(row: Any, dice: np.random.Generator) -> ResourceState:
    return ResourceState(power_kw=float(-dice.random() * row.available_scale_kw))


_STATES: dict[ResourceKind, Callable[[Any, np.random.Generator], ResourceState]] = {
    ResourceKind.STORAGE: _storage_state,
    ResourceKind.EV_SESSION: _charger_state,
    ResourceKind.CURTAILABLE_LOAD: _curtailable_state,
    ResourceKind.INTERRUPTIBLE_LOAD: _interruptible_state,
    ResourceKind.SHIFTABLE_LOAD: _shiftable_state,
    ResourceKind.THERMAL_LOAD: _thermal_state,
    ResourceKind.GENERATOR: _generator_state,
    ResourceKind.PV: _pv_state,
}


# ---- real time


def _uneven(problem: DispatchProblem) -> DispatchProblem:
    """The same problem on intervals of unequal length; events and windows keep the intervals that they had."""
    grid, count = problem.grid, len(problem.grid)
    minutes = np.concatenate([[0], np.cumsum([STEPS_MIN[k % len(STEPS_MIN)] for k in range(count)])])
    edges = tuple(grid.start + timedelta(minutes=int(each)) for each in minutes)
    moved = dict(zip(grid.edges, edges, strict=True))
    events = tuple(
        event.model_copy(update={"start": moved[event.start], "end": moved[event.end]}) for event in problem.events
    )
    commitments = tuple(
        row.model_copy(update={"interval_start": moved[row.interval_start]}) for row in problem.commitments
    )
    return replace(problem, grid=IntervalGrid(edges), events=events, commitments=commitments)


def _near_a_plan(problem: DispatchProblem, dice: np.random.Generator) -> DispatchProblem:
    """Stay near what runs now and what was planned, as far as either is known."""
    plan = _usual_kw(problem, dice)
    now = plan[:, 0] * dice.uniform(0.5, 1.5, len(plan))
    now[dice.random(len(now)) < 0.1] = np.nan
    plan[dice.random(plan.shape) < 0.1] = np.nan
    applies = ~np.any([problem.grid.inside(event.start, event.end) for event in problem.events], axis=0)
    costs = Penalties(switch_cost_per_kw=dice.uniform(0, 0.05), stray_cost_per_kwh=dice.uniform(0, 0.1))
    return replace(problem, real_time=RealTimeTerms(now, plan, applies), penalties=costs)


def _usual_kw(problem: DispatchProblem, dice: np.random.Generator) -> FloatArray:
    """What the resources might draw on a usual day, (R, T)."""
    place = {name: row for row, name in enumerate(problem.fleet.resource_ids)}
    found = np.zeros((len(place), len(problem.grid)))
    for row in problem.fleet.rows():
        some = dice.random(len(problem.grid))
        target = found[place[row.resource_id]]
        if row.kind is ResourceKind.EV_SESSION:
            plugged = problem.grid.overlap_h(row.arrival, row.departure) / problem.grid.hours
            target += plugged * row.charge_limit_kw * some
        elif row.kind is ResourceKind.STORAGE:
            target += row.charge_limit_kw * (2 * some - 1) * (some > 0.4)
        elif row.kind is ResourceKind.GENERATOR:
            target -= np.where(some < 0.5, 0.0, row.power_min_kw + (row.power_max_kw - row.power_min_kw) * some)
        elif row.kind is ResourceKind.PV:
            target -= problem.profiles[row.available_profile] * row.available_scale_kw
        elif row.kind is ResourceKind.SHIFTABLE_LOAD:
            target += row.power_max_kw * some * (problem.grid.overlap_h(row.window_start, row.window_end) > 0)
        else:
            target += problem.profiles[row.baseline_profile] * row.baseline_scale_kw * (0.9 + 0.2 * some)
    return found
