"""Random small fleets of all kinds: a plan always comes out, physics holds, the baseline is blind."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.dispatch.admissions import admit
from models.dispatch.check import check_plan
from models.dispatch.fast.solve import FastSolver
from models.dispatch.problem import DispatchProblem, ResourceState
from models.dispatch.reference.schedule import own_cost_cny
from models.dispatch.reference.solve import ReferenceSolver
from models.dispatch.reference.structure import entries_of
from models.intervals import FloatArray
from models.plan import DispatchPlan
from models.resources import ResourceKind
from tests.fleets import random_problem, situation

SLACK = 1e-6


def battered(problem: DispatchProblem, seed: int) -> DispatchProblem:
    """States that nobody planned: levels outside limits, late cars, machines in the middle of something."""
    dice = np.random.default_rng(seed)
    states = {}
    for row in problem.fleet.rows():
        state = ResourceState()
        if row.kind is ResourceKind.STORAGE:
            state = ResourceState(energy_kwh=float(dice.uniform(0, 1.1) * row.energy_max_kwh), power_kw=-5.0)
        elif row.kind is ResourceKind.EV_SESSION:
            level = float(dice.uniform(0, 1.2) * (row.battery_capacity_kwh or row.energy_needed_kwh))
            state = ResourceState(energy_kwh=level, delivered_kwh=level)
        elif row.kind is ResourceKind.THERMAL_LOAD:
            state = ResourceState(store_kwh=float(dice.uniform(-1.3, 1.3) * row.store_low_kwh))
        elif row.kind is ResourceKind.GENERATOR:
            on = bool(dice.random() < 0.5)
            state = ResourceState(
                on=on, hours_in_state_h=float(dice.uniform(0, 3)), power_kw=-row.power_max_kw * 1.1 * on
            )
        elif row.kind is ResourceKind.SHIFTABLE_LOAD:
            on = bool(row.run_profile and dice.random() < 0.4)
            state = ResourceState(delivered_kwh=float(dice.uniform(0, 1.1) * row.energy_kwh * (not on)), on=on)
            state = replace(state, hours_in_state_h=0.5) if on else state
        elif row.kind is ResourceKind.INTERRUPTIBLE_LOAD:
            on = bool(dice.random() < 0.5)
            state = ResourceState(on=on, hours_in_state_h=float(dice.uniform(0, 3)), calls_used=1)
        elif row.kind is ResourceKind.CURTAILABLE_LOAD:
            used = float(dice.uniform(0, 3))
            state = ResourceState(
                on=bool(dice.random() < 0.4),
                hours_in_state_h=0.5,
                hours_used_h=used,
                energy_used_kwh=10 * used,
                calls_used=2,
                curtailed_history=((0.0, 1.0, 10.0), (1.0, 0.5, 4.0)),
            )
        states[row.resource_id] = state
    return replace(problem, states=states)


def assert_physics(problem: DispatchProblem, plan: DispatchPlan) -> None:
    admitted, _ = admit(problem)
    for entry in entries_of(admitted):
        net = plan.power_kw[plan.row_of[entry.resource_id]]
        level = plan.energy_kwh[plan.row_of[entry.resource_id]]
        CHECKS[entry.kind](entry.rows, net, level, admitted)


def _storage(rows: list, net: FloatArray, level: FloatArray, problem: DispatchProblem) -> None:
    (row,) = rows
    slack = SLACK * max(1.0, row.energy_max_kwh)
    assert (net <= row.charge_limit_kw + slack).all()
    assert (net >= -row.discharge_limit_kw - slack).all()
    assert (level >= row.energy_min_kwh - slack).all()
    assert (level <= row.energy_max_kwh + slack).all()
    assert level[-1] >= row.energy_end_min_kwh - slack
    assert ((net < slack) | (net >= row.charge_min_kw - slack)).all()
    assert ((net > -slack) | (net <= -row.discharge_min_kw + slack)).all()


def _stay(rows: list, net: FloatArray, level: FloatArray, problem: DispatchProblem) -> None:
    grid = problem.grid
    plugged = sum(grid.overlap_h(row.arrival, row.departure) / grid.hours for row in rows)
    top = max(row.charge_limit_kw for row in rows)
    assert (np.abs(net) <= top * np.asarray(plugged) * 1.2 + SLACK).all()
    for row in rows:
        if not grid.start < row.departure <= grid.end or len(rows) > 1:
            continue
        target = row.energy_needed_kwh + (row.battery_start_kwh if row.is_v2g else 0.0)
        last = np.flatnonzero(np.isfinite(level))[-1]
        assert level[last] == pytest.approx(target, abs=1e-5 * max(1.0, target))


def _curtailable(rows: list, net: FloatArray, level: FloatArray, problem: DispatchProblem) -> None:
    (row,) = rows
    base = problem.profiles[row.baseline_profile] * row.baseline_scale_kw
    assert (net >= base * (1 - row.curtail_share) - SLACK * 1e3).all()


def _interruptible(rows: list, net: FloatArray, level: FloatArray, problem: DispatchProblem) -> None:
    (row,) = rows
    base = problem.profiles[row.baseline_profile] * row.baseline_scale_kw
    assert (net >= np.maximum(base - row.block_kw, 0) - SLACK * 1e3).all()
    if row.rebound_share == 0:
        off = np.abs(net - base) > 1e-4
        assert np.allclose(net[off], np.maximum(base - row.block_kw, 0)[off], atol=1e-5)
        used = 1 if problem.states else 0
        begun = np.count_nonzero(off & ~np.concatenate([[False], off[:-1]]))
        assert begun <= max(0, row.calls_per_day - used) + used


def _shiftable(rows: list, net: FloatArray, level: FloatArray, problem: DispatchProblem) -> None:
    (row,) = rows
    assert (net >= -SLACK).all()
    assert (net <= row.power_max_kw * (1 + SLACK) + SLACK).all()
    if row.window_end <= problem.grid.end and not problem.states and row.window_start >= problem.grid.start:
        assert net @ problem.grid.hours == pytest.approx(row.energy_kwh, rel=1e-6)


def _thermal(rows: list, net: FloatArray, level: FloatArray, problem: DispatchProblem) -> None:
    (row,) = rows
    slack = SLACK * max(1.0, row.store_low_kwh, row.store_high_kwh)
    assert (net >= -SLACK).all()
    assert (level >= -row.store_low_kwh - slack).all()
    assert (level <= row.store_high_kwh + slack).all()
    assert level[-1] >= row.store_end_min_kwh - slack


def _generator(rows: list, net: FloatArray, level: FloatArray, problem: DispatchProblem) -> None:
    (row,) = rows
    out = -net
    slack = SLACK * row.power_max_kw
    assert (out >= -slack).all()
    assert (out <= row.power_max_kw + slack).all()
    assert ((out < slack) | (out >= row.power_min_kw - slack)).all()
    jump = np.maximum(row.power_min_kw, row.ramp_kw_per_h * problem.grid.hours[1:])
    assert (np.abs(np.diff(out)) <= jump + slack).all()


def _pv(rows: list, net: FloatArray, level: FloatArray, problem: DispatchProblem) -> None:
    (row,) = rows
    assert (net <= SLACK).all()
    assert (net >= -problem.profiles[row.available_profile] * row.available_scale_kw - SLACK).all()


CHECKS = {
    ResourceKind.STORAGE: _storage,
    ResourceKind.EV_SESSION: _stay,
    ResourceKind.CURTAILABLE_LOAD: _curtailable,
    ResourceKind.INTERRUPTIBLE_LOAD: _interruptible,
    ResourceKind.SHIFTABLE_LOAD: _shiftable,
    ResourceKind.THERMAL_LOAD: _thermal,
    ResourceKind.GENERATOR: _generator,
    ResourceKind.PV: _pv,
}


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 100_000))
def test_a_plan_always_comes_out_and_keeps_to_physics(seed: int) -> None:
    problem = random_problem(
        seed,
        resources=10,
        intervals=16,
        events=seed % 4,
        commitments=seed % 2 == 0,
        sessions_per_charger=1 + seed % 3,
        negative_prices=seed % 5 == 0,
    )
    plan = ReferenceSolver().solve(problem, deadline_s=60)
    assert plan.lower_bound_cny <= plan.objective_cny
    assert plan.gap <= 1.001e-4
    assert_physics(problem, plan)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 100_000))
def test_a_plan_comes_out_of_any_measured_state_and_every_relaxation_is_named(seed: int) -> None:
    problem = battered(random_problem(seed, resources=16, intervals=12, events=1), seed)
    plan = ReferenceSolver().solve(problem, deadline_s=60)
    again, rows = admit(problem)
    assert plan.admissions == rows
    assert admit(again)[1] == () or all(row.limit == "window_end" for row in admit(again)[1])
    assert_physics(problem, plan)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 100_000))
def test_the_baseline_is_the_free_optimum_and_blind_to_events(seed: int) -> None:
    problem = random_problem(seed, resources=10, intervals=16, events=2)
    plan = ReferenceSolver().solve(problem, deadline_s=60)
    quiet = ReferenceSolver().solve(replace(problem, events=()), deadline_s=60)
    assert plan.baseline_kw == pytest.approx(quiet.baseline_kw, abs=1e-5)
    # Without events and limits the baseline of everything but loads is what the city would do, at the same cost.
    free = replace(problem, events=(), zone_limit_kw=np.full_like(problem.zone_limit_kw, np.inf))
    alone = ReferenceSolver().solve(free, deadline_s=60, gap=1e-7)
    entries = [e for e in entries_of(problem) if e.kind is not ResourceKind.THERMAL_LOAD]
    hours = problem.grid.hours
    for entry in entries:
        base = plan.baseline_kw[plan.row_of[entry.resource_id]]
        here = alone.power_kw[alone.row_of[entry.resource_id]]
        price = problem.tariffs[entry.row.tariff_id] * hours
        if entry.kind in (ResourceKind.CURTAILABLE_LOAD, ResourceKind.INTERRUPTIBLE_LOAD):
            assert here == pytest.approx(base, abs=1e-6)
            continue
        cost = price @ base + own_cost_cny(entry, base, problem)
        assert price @ here + own_cost_cny(entry, here, problem) == pytest.approx(cost, abs=2e-3 * max(1.0, abs(cost)))


def test_who_committed_himself_and_has_no_resource_is_unmet_by_name() -> None:
    problem = random_problem(3, resources=6, intervals=8, events=1, commitments=True)
    rows = tuple(row.model_copy(update={"aggregator_id": "nobody"}) for row in problem.commitments)
    problem = replace(problem, commitments=rows)
    plan = ReferenceSolver().solve(problem, deadline_s=60)
    assert check_plan(problem, plan).violations == ()
    unmet = {row.interval_start: row.amount for row in plan.unmet if row.scope_id == "nobody"}
    assert unmet == pytest.approx({row.interval_start: 0.9 * row.accepted_kw for row in rows})


def test_branch_and_bound_on_request_closes_the_gap_of_a_re_plan() -> None:
    problem = situation(24, most_resources=8, most_intervals=12)
    assert problem.real_time is not None
    guessed = ReferenceSolver().solve(problem, deadline_s=60, gap=1e-7)
    solved = ReferenceSolver(branch=True).solve(problem, deadline_s=60, gap=1e-7)
    assert guessed.status == "feasible"
    assert solved.status == "optimal"
    assert guessed.lower_bound_cny <= solved.lower_bound_cny <= solved.objective_cny <= guessed.objective_cny


@pytest.mark.parametrize("solve", ["reference", "fast"])
def test_who_is_left_running_at_nothing_does_not_count_in_the_objective(solve: str) -> None:
    """Within a wide gap branch and bound stops with units that run without need; the checker reads power alone."""
    for seed in (107, 148):
        problem = situation(seed, most_intervals=16)
        solver = ReferenceSolver() if solve == "reference" else FastSolver(small=10**9)
        assert check_plan(problem, solver.solve(problem, deadline_s=60, gap=1e-2)).violations == ()
