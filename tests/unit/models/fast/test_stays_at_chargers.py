"""Several cars at one charger: what each has got, from the charger's power alone."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.dispatch.admissions import admit
from models.dispatch.check import check_plan
from models.dispatch.fast.admitted import admit_columns
from models.dispatch.fast.baseline import baseline_prices
from models.dispatch.fast.coupling import Classes
from models.dispatch.fast.setting import Setting
from models.dispatch.fast.shards import blocks_of
from models.dispatch.fast.solution import Schedules
from models.dispatch.fast.solve import FastSolver
from models.dispatch.fast.sweeps import threads
from models.dispatch.problem import DispatchProblem, ResourceState
from models.dispatch.reference.schedule import energy_kwh
from models.dispatch.reference.structure import entries_of
from models.fleet import Fleet
from models.resources import EvSession, ResourceKind
from tests.fleets import random_problem, situation


def schedules_of(problem: DispatchProblem) -> Schedules:
    tables, _ = admit_columns(problem)
    setting = Setting.of(problem)
    blocks = blocks_of(problem, tables, Classes.of(problem, tables), setting)
    return Schedules(blocks, threads(), baseline_prices(setting, 1), None, len(problem.fleet.resource_ids))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 100_000))
def test_whatever_the_charger_draws_the_cars_get_what_the_reference_says(seed: int) -> None:
    problem = random_problem(
        seed, kinds=(ResourceKind.EV_SESSION, ResourceKind.STORAGE), resources=6, intervals=12, sessions_per_charger=3
    )
    dice = np.random.default_rng(seed)
    states = {name: ResourceState(energy_kwh=3.0, delivered_kwh=2.0) for name in problem.fleet.resource_ids[::2]}
    problem, _ = admit(replace(problem, states=states))
    power = dice.uniform(-20, 60, (6, 12))
    for row, entry in enumerate(entries_of(problem)):
        if entry.kind is ResourceKind.EV_SESSION and not any(stay.is_v2g for stay in entry.rows):
            power[row] = np.abs(power[row])
    shown = schedules_of(problem).energy_of(0, 6, power)
    said = np.array([energy_kwh(entry, power[row], problem) for row, entry in enumerate(entries_of(problem))])
    assert shown == pytest.approx(said, rel=1e-9, abs=1e-9, nan_ok=True)


def two_cars(problem: DispatchProblem, *, both_ways: bool) -> DispatchProblem:
    """One charger: a car until half past two, and from then on another that may feed back."""
    start, like = problem.grid.start, next(problem.fleet.rows(ResourceKind.EV_SESSION))
    one = EvSession(
        **{name: getattr(like, name) for name in ("aggregator_id", "zone_id", "meter_id", "pillar", "tariff_id")},
        resource_id="charger",
        session_id="first",
        arrival=start,
        departure=start + timedelta(hours=2.5),
        energy_needed_kwh=17.0,
        charge_limit_kw=10.0,
        charge_efficiency=0.9,
    )
    way = {"discharge_limit_kw": 10.0, "discharge_efficiency": 0.9, "battery_capacity_kwh": 60.0}
    battery = {"battery_start_kwh": 20.0, "wear_cost_per_kwh": 0.01}
    other = one.model_copy(
        update={
            "session_id": "second",
            "arrival": one.departure,
            "departure": start + timedelta(hours=7.25),
            "energy_needed_kwh": 9.0,
            **((way | battery) if both_ways else {}),
        }
    )
    return replace(problem, fleet=Fleet.from_rows([one, other]))


@pytest.mark.parametrize("both_ways", [False, True])
def test_in_the_interval_they_share_the_one_that_leaves_takes_what_it_lacks(both_ways: bool) -> None:
    problem = two_cars(random_problem(5, kinds=(ResourceKind.EV_SESSION,), resources=1), both_ways=both_ways)
    power = np.zeros((1, 24))
    power[0, :3] = 9.0, 8.0, 4.0
    shown = schedules_of(problem).energy_of(0, 1, power)[0]
    lacking_kwh = 17.0 - 0.9 * 17.0
    second_kwh = (4.0 - lacking_kwh / 0.9) * 0.9 + (20.0 if both_ways else 0.0)
    assert shown[:2] == pytest.approx([8.1, 15.3])
    assert shown[2] == pytest.approx(second_kwh)
    assert shown[7] == pytest.approx(second_kwh)
    assert np.isnan(shown[8:]).all()


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 100_000), blocks_at_once=st.integers(1, 7))
def test_plans_of_busy_chargers_pass_the_checker_and_come_in_blocks_of_any_size(seed: int, blocks_at_once: int) -> None:
    problem = random_problem(
        seed, kinds=(ResourceKind.EV_SESSION,), resources=6, intervals=16, sessions_per_charger=3, events=1
    )
    stream = FastSolver(small=0).solve_stream(problem, deadline_s=60)
    whole = stream.plan()
    assert check_plan(problem, whole).violations == ()
    pieces = list(stream.blocks(blocks_at_once))
    assert [name for piece in pieces for name in piece.resource_ids] == list(problem.fleet.resource_ids)
    for column in ("power_kw", "energy_kwh", "baseline_kw", "baseline_energy_kwh"):
        together = np.concatenate([getattr(piece, column) for piece in pieces])
        assert np.array_equal(together, getattr(whole, column), equal_nan=True)


@pytest.mark.parametrize("small", [0, 10**9])
def test_a_stay_that_is_over_does_not_make_a_charger_shared(small: int) -> None:
    """In real time the next car's power is all its charger's, and the bound counts what it strays."""
    problem = situation(538)
    assert problem.real_time is not None
    rows = [row for row in problem.fleet.rows(ResourceKind.EV_SESSION) if row.resource_id == "r0006"]
    assert [row.departure > problem.grid.start for row in rows] == [False, True]
    plan = FastSolver(small=small).solve(problem, deadline_s=60)
    assert check_plan(problem, plan).violations == ()
