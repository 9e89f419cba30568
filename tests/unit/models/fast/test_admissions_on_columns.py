"""Admissions on columns against ``admit`` on rows: the same admissions, the same values, bit for bit."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.dispatch.admissions import admit
from models.dispatch.fast.admitted import admit_columns
from models.dispatch.problem import DispatchProblem, ResourceState
from models.dispatch.states import StateColumns, StateTable
from models.fleet import Column, Fleet
from models.intervals import IntervalGrid
from models.plan import Admission
from models.resources import ResourceKind, Storage
from tests.fleets import random_problem

UNEQUAL = IntervalGrid.real_time(random_problem(0, resources=1).grid.start, span=timedelta(hours=14))


def on_grid(problem: DispatchProblem, grid: IntervalGrid) -> DispatchProblem:
    """The same fleet on another grid, without events; the series are stretched by repetition."""
    index = np.arange(len(grid)) % len(problem.grid)
    return replace(
        problem,
        grid=grid,
        zone_load_kw=problem.zone_load_kw[:, index],
        zone_limit_kw=problem.zone_limit_kw[:, index],
        tariffs={name: values[index] for name, values in problem.tariffs.items()},
        profiles={name: values[index] for name, values in problem.profiles.items()},
        events=(),
        commitments=(),
    )


def near(dice: np.random.Generator, *edges: float) -> float | None:
    """A value at, just beside, or far from one of the edges; or nothing."""
    edge = float(dice.choice(edges))
    step = max(1.0, abs(edge)) * float(dice.choice([0.0, 1e-16, 1e-12, 1e-9, 9e-8, 1.1e-7, 1e-3, 0.3]))
    return None if dice.random() < 0.15 else edge + step * float(dice.choice([-1.0, 1.0]))


def worst_state(row: Any, dice: np.random.Generator, grid: IntervalGrid) -> ResourceState:
    """A state close to where this row's limits begin to be out of reach."""
    span_h = float(grid.offsets_h[-1])
    on = (None, True, False)[int(dice.integers(3))]
    if row.kind is ResourceKind.STORAGE:
        reach = row.charge_limit_kw * row.charge_efficiency * span_h
        end = row.energy_end_min_kwh
        return ResourceState(energy_kwh=near(dice, row.energy_min_kwh, row.energy_max_kwh, end, end - reach, 0.0))
    if row.kind is ResourceKind.EV_SESSION:
        hours = (row.departure - max(row.arrival, grid.start)).total_seconds() / 3600
        target = row.energy_needed_kwh + (row.battery_start_kwh or 0.0) * row.is_v2g
        reach = row.charge_limit_kw * row.charge_efficiency * hours
        back = row.discharge_limit_kw / row.discharge_efficiency * hours
        level = near(dice, target, target - reach, target + back, row.battery_capacity_kwh or 0.0)
        return ResourceState(energy_kwh=level, delivered_kwh=near(dice, target, target - reach, 0.0))
    if row.kind is ResourceKind.THERMAL_LOAD:
        limits = (-row.store_low_kwh, row.store_high_kwh, row.store_end_min_kwh, 0.0, -3 * row.store_low_kwh)
        return ResourceState(store_kwh=near(dice, *limits))
    if row.kind is ResourceKind.SHIFTABLE_LOAD:
        hours = (row.window_end - max(row.window_start, grid.start)).total_seconds() / 3600
        late, early = row.energy_kwh - row.power_max_kw * hours, row.energy_kwh - row.power_min_kw * hours
        return ResourceState(on=on, delivered_kwh=near(dice, 0.0, row.energy_kwh, late, early))
    been_h = near(dice, 0.0, getattr(row, "shortest_h", 1.0), getattr(row, "longest_h", 1.0), 0.5)
    return ResourceState(on=on, hours_in_state_h=been_h, calls_used=1)


def harder(problem: DispatchProblem, dice: np.random.Generator) -> DispatchProblem:
    """The rows themselves close to what can be reached: full ends, short stays, late windows, long blocks."""
    rows = []
    for row in problem.fleet.rows():
        update: dict[str, Any] = {}
        shift = timedelta(hours=float(dice.uniform(-3, 8)))
        if row.kind is ResourceKind.STORAGE and dice.random() < 0.5:
            reach = row.energy_start_kwh + row.charge_limit_kw * row.charge_efficiency * float(
                problem.grid.offsets_h[-1]
            )
            update["energy_end_min_kwh"] = min(row.energy_max_kwh, reach) if dice.random() < 0.5 else row.energy_max_kwh
        elif row.kind is ResourceKind.EV_SESSION and dice.random() < 0.5:
            hours = (row.departure - max(row.arrival, problem.grid.start)).total_seconds() / 3600
            update["energy_needed_kwh"] = row.charge_efficiency * row.charge_limit_kw * max(hours, 0.0)
        elif row.kind is ResourceKind.THERMAL_LOAD and dice.random() < 0.5:
            update["store_end_min_kwh"] = float(dice.choice([row.store_high_kwh, 0.0, 0.5 * row.store_high_kwh]))
        elif row.kind is ResourceKind.SHIFTABLE_LOAD:
            update = {"window_start": row.window_start - shift, "window_end": row.window_end - shift}
        elif row.kind is ResourceKind.INTERRUPTIBLE_LOAD and dice.random() < 0.5:
            update["longest_h"] = row.shortest_h + float(dice.choice([0.0, 0.25, 1e-10]))
        rows.append(row.model_copy(update=update))
    return replace(problem, fleet=Fleet.from_rows(rows))


def same(a: Column, b: Column) -> bool:
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fM"))


def assert_as_admit(problem: DispatchProblem) -> tuple[Admission, ...]:
    expected, rows = admit(problem)
    columns, found = admit_columns(problem)
    assert found == rows
    assert list(columns) == list(problem.fleet.tables)
    for kind, table in expected.fleet.tables.items():
        assert list(columns[kind]) == list(table.columns)
        for name, column in table.columns.items():
            assert same(columns[kind][name], column), (kind, name)
    return found


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1_000_000))
def test_columns_and_rows_relax_the_same_from_states_at_the_edge_of_reach(seed: int) -> None:
    dice = np.random.default_rng(seed)
    problem = random_problem(seed, resources=64, intervals=10, events=0, sessions_per_charger=1 + seed % 3)
    if seed % 2:
        problem = on_grid(problem, UNEQUAL)
    problem = harder(problem, dice)
    states = {row.resource_id: worst_state(row, dice, problem.grid) for row in problem.fleet.rows()}
    assert assert_as_admit(replace(problem, states=states))


def test_states_kept_as_a_table_relax_the_same_as_states_one_by_one() -> None:
    dice = np.random.default_rng(5)
    problem = harder(random_problem(5, resources=40, events=0), dice)
    states = {row.resource_id: worst_state(row, dice, problem.grid) for row in problem.fleet.rows()}
    names = np.array(list(states), dtype=object)
    table = StateTable(names.tolist(), StateColumns.of(states, names))
    one_by_one, as_table = (admit_columns(replace(problem, states=each)) for each in (states, table))
    assert one_by_one[1]
    assert one_by_one[1] == as_table[1]
    for kind, columns in one_by_one[0].items():
        assert all(same(column, as_table[0][kind][name]) for name, column in columns.items())


def test_where_all_can_be_reached_the_columns_stay_those_of_the_fleet() -> None:
    problem = random_problem(3, resources=16, events=0)
    reachable = Fleet(
        {
            kind: table
            for kind, table in problem.fleet.tables.items()
            if kind in (ResourceKind.STORAGE, ResourceKind.THERMAL_LOAD, ResourceKind.PV)
        }
    )
    columns, found = admit_columns(replace(problem, fleet=reachable))
    assert found == ()
    assert all(columns[kind] is table.columns for kind, table in reachable.tables.items())


def test_the_fleet_itself_is_never_written_into() -> None:
    dice = np.random.default_rng(9)
    problem = harder(random_problem(9, resources=64, events=0), dice)
    states = {row.resource_id: worst_state(row, dice, problem.grid) for row in problem.fleet.rows()}
    before = {
        kind: {name: column.copy() for name, column in table.columns.items()}
        for kind, table in problem.fleet.tables.items()
    }
    assert admit_columns(replace(problem, states=states))[1]
    for kind, table in problem.fleet.tables.items():
        assert all(same(column, before[kind][name]) for name, column in table.columns.items())


@pytest.mark.parametrize("least_kw", [0.0, 4.5])
def test_a_pump_with_a_minimum_is_not_thought_to_fill_the_last_bit(least_kw: float) -> None:
    base = random_problem(1, resources=1, kinds=[ResourceKind.STORAGE], hydro_share=0.0, events=0)
    (row,) = base.fleet.rows()
    full = {"energy_min_kwh": 0.0, "energy_max_kwh": 10.0, "energy_start_kwh": 1.0, "energy_end_min_kwh": 10.0}
    powers = {"charge_limit_kw": 5.0, "charge_min_kw": least_kw, "charge_efficiency": 1.0}
    unit = Storage(**{**row.model_dump(), **full, **powers})
    found = assert_as_admit(replace(base, fleet=Fleet.from_rows([unit])))
    assert [(row.limit, row.granted) for row in found] == ([("energy_end_min_kwh", 6.0)] if least_kw else [])
