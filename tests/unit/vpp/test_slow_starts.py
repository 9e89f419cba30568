"""A zone counts on an engine once it has been seen to run, not in the minute in which it is told to start."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from models.dispatch.problem import DispatchProblem, ResourceState
from models.dispatch.states import StateColumns, StateTable
from models.events import Event
from models.fleet import Fleet
from models.intervals import IntervalGrid
from models.plan import DispatchPlan
from models.resources import Generator, Storage
from tests.hand import COMMON, MIDNIGHT, at, power, solve
from vpp.slow_starts import with_slow_starts

STEP = timedelta(minutes=5)
ROOM_KW = 20.0
ENGINE = Generator(
    **COMMON | {"resource_id": "engine"},
    power_min_kw=30,
    power_max_kw=100,
    cost_per_kwh=1.0,
    start_cost=0,
    no_load_cost_per_h=0,
    ramp_kw_per_h=1000,
    minimum_up_h=0.5,
    minimum_down_h=0.5,
)
BATTERY = Storage(
    **COMMON | {"resource_id": "battery"},
    charge_limit_kw=90,
    discharge_limit_kw=90,
    energy_min_kwh=0,
    energy_max_kwh=1000,
    energy_start_kwh=0,
    energy_end_min_kwh=0,
    charge_efficiency=1.0,
    discharge_efficiency=1.0,
    wear_cost_per_kwh=0,
)


def before_a_dear_hour(first: timedelta = STEP, on: bool = False, been_h: float | None = None) -> DispatchProblem:
    """Two steps to charge in, then a price that pays for every engine's hour; 20 kW of room in the zone."""
    edges = (MIDNIGHT, MIDNIGHT + first, MIDNIGHT + first + STEP, MIDNIGHT + first + STEP + timedelta(hours=1))
    fleet = Fleet.from_rows([ENGINE, BATTERY])
    states = {
        "engine": ResourceState(on=on, hours_in_state_h=been_h, power_kw=-50.0 if on else 0.0),
        "battery": ResourceState(energy_kwh=0.0, power_kw=0.0),
    }
    table = StateTable(fleet.resource_ids, StateColumns.of(states, np.array(fleet.resource_ids)))
    return DispatchProblem(
        grid=IntervalGrid(edges),
        fleet=fleet,
        zones=("Z",),
        zone_load_kw=np.full((1, 3), 80.0),
        zone_limit_kw=np.full((1, 3), 80.0 + ROOM_KW),
        tariffs={"t": np.array([0.1, 0.1, 20.0])},
        profiles={},
        states=table,
    )


def in_force(running_kw: float, start_h: float = -1.0) -> DispatchPlan:
    """What was planned before: the engine at ``running_kw``."""
    problem = before_a_dear_hour()
    plan = solve(problem)
    power_kw = plan.power_kw.copy()
    power_kw[plan.row_of["engine"]] = -running_kw
    return replace(plan, power_kw=power_kw, grid=IntervalGrid.regular(at(start_h), timedelta(hours=1), 3))


def test_without_it_a_battery_charges_against_an_engine_that_does_not_run_yet() -> None:
    assert power(solve(before_a_dear_hour()), "battery")[0] > ROOM_KW + 1


def test_an_engine_that_is_off_runs_from_the_second_stretch_at_the_earliest() -> None:
    plan = solve(with_slow_starts(before_a_dear_hour(), in_force(0.0), ()))
    assert power(plan, "engine")[0] == 0.0
    assert power(plan, "battery")[0] <= ROOM_KW + 1e-6
    assert power(plan, "engine")[1] < 0.0


def test_one_that_was_told_to_start_may_but_its_zone_does_not_count_on_it() -> None:
    plan = solve(with_slow_starts(before_a_dear_hour(), in_force(60.0), ()))
    assert power(plan, "engine")[0] < 0.0
    assert power(plan, "battery")[0] <= ROOM_KW + 1e-6
    assert power(plan, "battery")[1] > ROOM_KW + 1


def test_one_that_runs_counts_in_full() -> None:
    problem = before_a_dear_hour(on=True)
    same = with_slow_starts(problem, in_force(60.0), ())
    assert np.array_equal(same.zone_limit_kw, problem.zone_limit_kw)
    assert power(solve(same), "battery")[0] > ROOM_KW + 1


def test_the_time_that_an_engine_must_rest_is_not_cut_short() -> None:
    problem = with_slow_starts(before_a_dear_hour(been_h=0.1), in_force(0.0), ())
    assert problem.states["engine"].hours_in_state_h == pytest.approx(0.1)
    rested = with_slow_starts(before_a_dear_hour(been_h=9.0), in_force(0.0), ())
    assert rested.states["engine"].hours_in_state_h == pytest.approx(0.5 - 5 / 60)


def test_while_an_event_runs_an_engine_starts_at_once() -> None:
    event = Event(event_id="e", start=at(-1), end=at(1), target_kw=10)
    plan = solve(with_slow_starts(before_a_dear_hour(), in_force(0.0), (event,)))
    assert power(plan, "engine")[0] < 0.0
    guard = event.model_copy(update={"event_id": "e~guard"})
    assert power(solve(with_slow_starts(before_a_dear_hour(), in_force(0.0), (guard,))), "engine")[0] == 0.0


def test_in_a_long_stretch_a_start_is_short() -> None:
    problem = before_a_dear_hour(first=timedelta(minutes=30))
    assert with_slow_starts(problem, in_force(0.0), ()) is problem


def test_without_engines_or_without_a_plan_before_nothing_breaks() -> None:
    lone = replace(before_a_dear_hour(), fleet=Fleet.from_rows([BATTERY]))
    assert with_slow_starts(lone, None, ()) is lone
    assert power(solve(with_slow_starts(before_a_dear_hour(), None, ())), "engine")[0] == 0.0
    elsewhere = in_force(60.0, start_h=5.0)
    assert power(solve(with_slow_starts(before_a_dear_hour(), elsewhere, ())), "engine")[0] == 0.0
