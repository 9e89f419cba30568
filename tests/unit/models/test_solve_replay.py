"""Solves again from their records: the same schedule to the last bit, whatever came before and whenever time was up."""

import os
import pickle
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.dispatch import highs_runs
from models.dispatch.fast.solve import FastSolver
from models.dispatch.highs_runs import Ending, IntArray
from models.dispatch.problem import DispatchProblem, RealTimeTerms
from models.dispatch.reference.solve import ReferenceSolver
from models.dispatch.replay import replayed
from models.dispatch.solve_clock import ReplayError, RunNote
from models.dispatch.solve_record import Facts, SolveRecord, entries_of_tape
from models.errors import SolverError
from models.fleet import Fleet, ResourceTable
from models.plan import DispatchPlan
from models.resources import ResourceKind
from tests.fleets import random_problem, situation

Solver = ReferenceSolver | FastSolver
few = settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def outcome(solver: Solver, problem: DispatchProblem, deadline_s: float = 60, gap: float = 1e-4) -> str:
    """The fingerprint of the plan and its certificate, or the error in words."""
    try:
        return told(solver.solve(problem, deadline_s=deadline_s, gap=gap))
    except SolverError as error:
        return repr(error)


def told(plan: DispatchPlan) -> str:
    return f"{plan.plan_hash} {plan.baseline_hash} {plan.objective_cny!r} {plan.lower_bound_cny!r} {plan.status}"


def again(solver: Solver, problem: DispatchProblem) -> str:
    """The same of the last solve, made again by a solver that knows nothing, from bytes."""
    record = solver.last_record
    assert record is not None
    try:
        return told(replayed(problem, SolveRecord.from_bytes(record.to_bytes())))
    except SolverError as error:
        return repr(error)


def next_cycle(problem: DispatchProblem, plan: DispatchPlan, seed: int) -> DispatchProblem:
    """Near to a plan, at other loads."""
    dice = np.random.default_rng(seed)
    now_kw = plan.power_kw[:, 0] * dice.uniform(0.9, 1.1, len(plan.power_kw))
    return replace(
        problem,
        baseline_kw=plan.baseline_kw,
        real_time=RealTimeTerms(now_kw, plan.power_kw, np.ones(len(problem.grid), dtype=np.bool_)),
        zone_load_kw=problem.zone_load_kw * dice.uniform(0.97, 1.03, problem.zone_load_kw.shape),
        penalties=replace(problem.penalties, switch_cost_per_kw=0.01, stray_cost_per_kwh=0.02),
    )


def make(name: str) -> Solver:
    if name == "reference":
        return ReferenceSolver()
    return FastSolver(small=0) if name == "fast" else FastSolver()


def endings(solver: Solver) -> set[tuple[str, int]]:
    """Who ran HiGHS in the last solve, and how it ended."""
    record = solver.last_record
    assert record is not None
    entries = entries_of_tape(record.tape)
    return {(who, found.ending) for who, found in entries if isinstance(found, RunNote)}


def without_charger(problem: DispatchProblem, name: str) -> DispatchProblem:
    tables = {}
    for kind, table in problem.fleet.tables.items():
        stays = table.columns["resource_id"] != name
        tables[kind] = ResourceTable(kind, {key: values[stays] for key, values in table.columns.items()})
    return replace(problem, fleet=Fleet(tables))


@pytest.mark.parametrize("name", ["reference", "whole", "fast"])
def test_whatever_a_solver_did_before_its_record_makes_the_same_plan(name: str) -> None:
    first = random_problem(11, resources=12, intervals=12, events=1, commitments=True, sessions_per_charger=2)
    other = random_problem(4, resources=9, intervals=12, step=timedelta(minutes=30))
    solver = make(name)
    plan = solver.solve(first, deadline_s=60)
    for k, problem in enumerate((other, next_cycle(first, plan, 1), next_cycle(first, plan, 2), first)):
        found = outcome(solver, problem)
        assert again(solver, problem) == found, k


def test_a_charger_that_has_gone_stays_in_the_compiled_city_and_in_the_record() -> None:
    kinds = (ResourceKind.EV_SESSION, ResourceKind.STORAGE)
    problem = random_problem(2, resources=6, intervals=12, kinds=kinds, sessions_per_charger=3)
    gone = next(iter(problem.fleet.tables[ResourceKind.EV_SESSION].columns["resource_id"]))
    left, solver = without_charger(problem, str(gone)), ReferenceSolver()
    solver.solve(problem, deadline_s=60)
    found = outcome(solver, left)
    record = solver.last_record
    assert record is not None
    standing = {name for name, _, _, row in record.warm.said["chargers"] if row is not None}
    assert standing == {gone}
    assert again(solver, left) == found


@pytest.mark.parametrize("name", ["reference", "whole", "fast"])
@pytest.mark.parametrize("deadline_s", [1e-9, 0.02, 0.3])
def test_a_solve_that_was_cut_short_comes_out_the_same(name: str, deadline_s: float) -> None:
    problem = random_problem(5, resources=14, intervals=24, events=2, hydro_share=0.5)
    solver = make(name)
    found = outcome(solver, problem, deadline_s, 1e-9)
    assert again(solver, problem) == found
    found = outcome(solver, problem, deadline_s, 1e-9)  # from what a solve that was cut leaves behind
    assert again(solver, problem) == found


@pytest.mark.parametrize("name", ["reference", "whole"])
def test_branch_and_bound_that_time_may_have_touched_is_taken_from_the_record(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(highs_runs, "SURELY", -1.0)  # as if it were always late
    problem, solver = situation(107, most_intervals=16), make(name)
    found = outcome(solver, problem, gap=1e-9)
    assert Ending.INCUMBENT in {ending for _, ending in endings(solver)}
    runs: list[int] = []
    ran = highs_runs._note

    def noted(highs: Any, whole: IntArray, *, sure: bool) -> RunNote:
        runs.append(whole.size)
        return ran(highs, whole, sure=sure)

    monkeypatch.setattr(highs_runs, "_note", noted)
    assert again(solver, problem) == found
    assert runs
    assert not any(runs)  # nothing but linear programs was run again


def test_the_city_s_branch_and_bound_cut_by_time_comes_out_the_same() -> None:
    problem = situation(24, most_resources=8, most_intervals=12)
    for deadline_s in (0.2, 0.5, 1.0, 60.0):
        solver = ReferenceSolver(branch=True)
        solver.prepare(problem)
        found = outcome(solver, problem, deadline_s, 1e-12)
        assert again(solver, problem) == found, deadline_s


@few
@given(
    seed=st.integers(0, 100_000),
    deadline_s=st.floats(1e-3, 2.0),
    name=st.sampled_from(["reference", "whole", "fast"]),
)
def test_any_small_fleet_with_any_deadline_comes_out_the_same(seed: int, deadline_s: float, name: str) -> None:
    problem, solver = situation(seed, most_resources=10, most_intervals=12), make(name)
    for given_s in (deadline_s, 60.0, deadline_s):
        found = outcome(solver, problem, given_s)
        assert again(solver, problem) == found, given_s


_CHILD = """
import pickle, sys
from models.dispatch.replay import replayed
from models.dispatch.solve_record import SolveRecord
problem, data = pickle.load(open(sys.argv[1], "rb"))
print(replayed(problem, SolveRecord.from_bytes(data)).plan_hash)
"""


@pytest.mark.parametrize("name", ["fast"])
def test_another_process_with_other_hashes_and_fewer_cores_makes_the_same_plan(name: str, tmp_path: Path) -> None:
    problem = random_problem(8, resources=20, intervals=12, events=2, commitments=True, negative_prices=True)
    solver = make(name)
    plan = solver.solve(problem, deadline_s=20)
    cycle = next_cycle(problem, plan, 3)
    plan, record = solver.solve(cycle, deadline_s=20), solver.last_record
    assert record is not None
    file = tmp_path / "solve.pickle"
    file.write_bytes(pickle.dumps((cycle, record.to_bytes())))
    one_core = ["taskset", "-c", str(min(os.sched_getaffinity(0)))] if hasattr(os, "sched_getaffinity") else []
    for seed in ("1", "2"):
        told_there = subprocess.run(
            [*one_core, sys.executable, "-c", _CHILD, str(file)],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            check=True,
            capture_output=True,
            text=True,
        )
        assert told_there.stdout.strip() == plan.plan_hash


@pytest.mark.slow
def test_a_fleet_of_thousands_comes_out_the_same_day_ahead_and_in_real_time() -> None:
    problem = random_problem(3, resources=2_000, intervals=24, events=2, commitments=True, zones=5)
    solver = FastSolver()
    for deadline_s in (8.0, 0.05):  # of the whole fleet, and behind a sample, keeping to a plan
        plan = solver.solve(problem, deadline_s=deadline_s, gap=1e-3)
        assert again(solver, problem) == told(plan)
        cycle = next_cycle(problem, plan, 5)
        assert again_after(solver, cycle, deadline_s)


def again_after(solver: Solver, problem: DispatchProblem, deadline_s: float) -> bool:
    found = outcome(solver, problem, deadline_s, 1e-3)
    return again(solver, problem) == found


def test_what_the_fast_solver_keeps_is_all_in_its_record() -> None:
    problem = random_problem(9, resources=40, intervals=12, events=1)
    solver = FastSolver(small=0)
    plan = solver.solve(problem, deadline_s=20)
    known = set(vars(solver)) - {"_workers", "_tell", "_small", "_recording"}
    assert known == {"_last", "_last_mix"}
    cycle = next_cycle(problem, plan, 1)
    found, record = outcome(solver, cycle, 20), solver.last_record
    assert record is not None
    assert again(solver, cycle) == found
    nothing = replace(record, warm=Facts())
    with pytest.raises(ReplayError):  # so it is not told anything that does not matter
        replayed(cycle, nothing)


@pytest.mark.parametrize("name", ["reference", "fast"])
def test_a_record_of_another_problem_or_one_that_was_changed_is_noticed(name: str) -> None:
    problem = random_problem(6, resources=12, intervals=12, events=1)
    solver = make(name)
    solver.solve(problem, deadline_s=30)
    record = solver.last_record
    assert record is not None
    with pytest.raises(ReplayError):
        replayed(random_problem(7, resources=15, intervals=12, events=2), record)
    tape = record.tape
    shorter = Facts(tape.said, {**tape.arrays, "who": tape.arrays["who"][:-1], "is_run": tape.arrays["is_run"][:-1]})
    with pytest.raises(ReplayError, match="the record is over"):
        replayed(problem, replace(record, tape=shorter))
    renamed = Facts({"who": [f"{who}?" for who in tape.said["who"]]}, tape.arrays)
    with pytest.raises(ReplayError, match="recorded was"):
        replayed(problem, replace(record, tape=renamed))
    with pytest.raises(ReplayError, match="names a solver"):
        replayed(problem, replace(record, solver="another"))


def test_what_is_otherwise_on_this_machine_stands_in_the_error() -> None:
    problem, solver = random_problem(6, resources=4, intervals=8), ReferenceSolver()
    solver.solve(problem, deadline_s=30)
    record = solver.last_record
    assert record is not None
    older = replace(record, made_with={**record.made_with, "highspy": "0.1"})
    assert replayed(problem, older).status == "optimal"
    with pytest.raises(ReplayError, match=r"highspy: '0\.1', here"):
        replayed(random_problem(7, resources=9, intervals=8), older)
