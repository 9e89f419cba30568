"""The compiled arrays against Pyomo's own LP file, updates against fresh compiles, and when binaries appear."""

from dataclasses import replace
from pathlib import Path

import highspy
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.dispatch.admissions import admit
from models.dispatch.problem import DispatchProblem, ResourceState
from models.dispatch.reference.city import build_city
from models.dispatch.reference.solve import ReferenceSolver
from models.dispatch.reference.structure import entries_of
from models.intervals import FloatArray
from models.plan import DispatchPlan
from models.resources import ResourceKind, Storage
from tests.fleets import random_problem
from tests.hand import COMMON, city, power


def objective_of_lp_file(problem: DispatchProblem, plan: DispatchPlan, folder: Path) -> float:
    """The whole model, lazy equations included, written by Pyomo and solved by HiGHS from the file."""
    admitted, _ = admit(problem)
    model = build_city(admitted, entries_of(admitted), plan.baseline_kw)
    file = folder / "city.lp"
    model.write(str(file))
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    highs.setOptionValue("mip_rel_gap", 1e-9)
    highs.setOptionValue("threads", 1)
    highs.readModel(str(file))
    highs.run()
    assert highs.getModelStatus() == highspy.HighsModelStatus.kOptimal
    return float(highs.getInfo().objective_function_value)


@pytest.mark.parametrize("seed", range(8))
def test_the_compiled_optimum_is_that_of_the_written_model(seed: int, tmp_path: Path) -> None:
    problem = random_problem(
        seed,
        resources=10,
        intervals=16,
        sessions_per_charger=1 + seed % 3,
        events=seed % 3,
        commitments=seed % 2 == 1,
        negative_prices=seed % 3 == 0,
    )
    plan = ReferenceSolver().solve(problem, deadline_s=60, gap=1e-8)
    written = objective_of_lp_file(problem, plan, tmp_path)
    scale = max(1.0, abs(written))
    assert plan.objective_cny == pytest.approx(written, abs=1e-7 * scale)
    assert plan.lower_bound_cny <= written + 1e-7 * scale


def moved(problem: DispatchProblem, seed: int) -> DispatchProblem:
    """The same structure with other prices, loads, limits, profiles, states, reliability, window and target."""
    dice = np.random.default_rng(seed)

    def shaken(values: FloatArray) -> FloatArray:
        return np.asarray(values * dice.uniform(0.8, 1.2, values.shape))

    states = {}
    for row in problem.fleet.rows():
        if row.kind is ResourceKind.STORAGE:
            level = dice.uniform(row.energy_min_kwh * 0.8, row.energy_max_kwh)
            states[row.resource_id] = ResourceState(energy_kwh=float(level))
        elif row.kind is ResourceKind.THERMAL_LOAD:
            states[row.resource_id] = ResourceState(store_kwh=float(dice.uniform(-0.5, 0.3) * row.store_low_kwh))
        elif row.kind is ResourceKind.CURTAILABLE_LOAD:
            states[row.resource_id] = ResourceState(hours_used_h=0.5, curtailed_history=((0.0, 1.0, 5.0),))
    step = problem.grid.edges[1] - problem.grid.edges[0]
    events = tuple(
        event.model_copy(
            update={"start": event.start + step, "end": event.end + step, "target_kw": event.target_kw * 0.7}
        )
        for event in problem.events
    )
    return replace(
        problem,
        tariffs={name: shaken(values) for name, values in problem.tariffs.items()},
        profiles={name: shaken(values) for name, values in problem.profiles.items()},
        zone_load_kw=shaken(problem.zone_load_kw),
        zone_limit_kw=shaken(problem.zone_limit_kw),
        states=states,
        events=events,
        commitments=(),
    )


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10_000), shake=st.integers(0, 10_000))
def test_an_update_in_place_is_as_good_as_a_fresh_compile(seed: int, shake: int) -> None:
    problem = random_problem(seed, resources=9, intervals=16, events=1)
    other = moved(problem, shake)
    kept = ReferenceSolver()
    kept.solve(problem, deadline_s=60, gap=1e-7)
    updated = kept.solve(other, deadline_s=60, gap=1e-7)
    fresh = ReferenceSolver().solve(other, deadline_s=60, gap=1e-7)
    assert len(kept._kept) == 1
    assert updated.baseline_kw == pytest.approx(fresh.baseline_kw, abs=1e-4)
    scale = max(1.0, abs(fresh.objective_cny))
    assert updated.objective_cny == pytest.approx(fresh.objective_cny, abs=1e-6 * scale)


def test_a_car_that_comes_or_goes_needs_no_new_structure() -> None:
    problem = random_problem(4, kinds=[ResourceKind.EV_SESSION, ResourceKind.STORAGE], resources=8, intervals=12)
    solver = ReferenceSolver()
    solver.solve(problem, deadline_s=60)
    rows = list(problem.fleet.rows())
    gone = next(row for row in rows if row.kind is ResourceKind.EV_SESSION)
    fewer = replace(problem, fleet=type(problem.fleet).from_rows(row for row in rows if row is not gone))
    plan = solver.solve(fewer, deadline_s=60)
    assert len(solver._kept) == 1
    assert gone.resource_id not in plan.resource_ids
    fresh = ReferenceSolver().solve(fewer, deadline_s=60)
    assert plan.objective_cny == pytest.approx(fresh.objective_cny, rel=1e-6)


BATTERY = Storage(
    **COMMON,
    charge_limit_kw=10,
    discharge_limit_kw=10,
    energy_min_kwh=0,
    energy_max_kwh=8,
    energy_start_kwh=8,
    energy_end_min_kwh=0,
    charge_efficiency=0.8,
    discharge_efficiency=0.8,
    wear_cost_per_kwh=0.01,
)


def awake_after(prices: list[float]) -> tuple[set[int], FloatArray]:
    solver = ReferenceSolver()
    plan = solver.solve(city([BATTERY], prices), deadline_s=60)
    (kept,) = solver._kept.values()
    return kept.program.awake, power(plan)


def test_binaries_appear_only_where_the_relaxed_battery_would_gain_by_doing_both() -> None:
    """Effective price below -wear (1+η)/(1-η) = -0.01 · 1.64 / 0.36 = -0.046: at -0.04 none, at -0.5 its own."""
    asleep, _ = awake_after([0.5, -0.04, 0.3])
    assert asleep == set()
    awake, net = awake_after([-0.5, -0.5])
    assert awake == {0}
    # Full at the start and paid to consume: sell 6.4 now (cost 3.2) to take 10 later (5.0): 8 kWh refilled.
    assert net == pytest.approx([-6.4, 10.0])
