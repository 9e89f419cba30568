"""``vpp bench dispatch``: one fleet, one solver, every second accounted for; and the same problem by the others.

Clocks: ``load_s`` until the problem stands, validated; ``prepare_s`` compiling or loading the oracles (once a
machine); ``wall_s`` the solve with its certificate and one pass over every device's schedule; ``write_s`` the plan
folder; ``check_s`` the independent check.  Each solver runs in a process of its own.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from adapters.feeds.plan_folder import write_plan_stream
from models.dispatch.check import check_stream
from models.dispatch.fast.explicit.solve import solve_explicit
from models.dispatch.fast.solve import FastSolver
from models.dispatch.problem import DispatchProblem
from models.dispatch.reference.solve import ReferenceSolver, peak_rss_mb
from models.plan_stream import PlanStream
from models.resources import ResourceKind
from vpp.bench.alone import alone
from vpp.bench.conditions import conditions
from vpp.bench.live import changed_problem
from vpp.bench.machine import machine
from vpp.bench.problem import SCOPES, Cycle, Tightness, bench_city, bench_problem

_P = ParamSpec("_P")
_T = TypeVar("_T")

MOST_COMPARED = 10_000
"""Beyond this the monolithic solvers take hours."""
MOST_BOUNDED = 10_000
"""Up to this the check recomputes the lower bound too, as ``vpp check`` does."""
LAST_PLAN_S = 60.0
"""Deadline of the plan that a real-time cycle begins from: it had been there before the cycle."""
_START_S = 300.0
"""What a process may take beyond the solver's deadline, to load and to answer."""


@dataclass(frozen=True)
class BenchCase:
    """What is measured."""

    resources: int
    zones: int = 23
    seed: int = 1
    kinds: tuple[str, ...] | None = None
    cycle: Cycle = Cycle.DAY_AHEAD
    scopes: bool = False
    gap: float = 1e-4
    time_limit_s: float = 600.0
    check: bool = True
    write: bool = True

    @property
    def tightness(self) -> Tightness:
        """The usual events, or those of every scope."""
        return SCOPES if self.scopes else Tightness()

    def problem(self) -> DispatchProblem:
        """The problem of the case."""
        kinds = None if self.kinds is None else [ResourceKind(kind) for kind in self.kinds]
        return bench_problem(
            self.resources,
            seed=self.seed,
            zones=self.zones,
            kinds=kinds,
            cycle=self.cycle,
            tightness=self.tightness,
        )


def bench_dispatch(case: BenchCase, *, compare: bool) -> dict[str, Any]:
    """Everything about one case, as it goes into JSON."""
    measure = measure_day_ahead if case.cycle is Cycle.DAY_AHEAD else measure_real_time
    fast = alone(measure, case, limit_s=2 * case.time_limit_s + LAST_PLAN_S + _START_S)
    found = {"machine": machine(), "case": asdict(case), "fast": fast}
    if compare:
        others = {"reference": measure_reference, "arrays": measure_arrays}
        found["compared"] = {
            name: _beside(fast, alone(work, case, limit_s=case.time_limit_s + _START_S))
            for name, work in others.items()
        }
    return found


def measure_day_ahead(case: BenchCase) -> dict[str, Any]:
    """The fast path, cold."""
    problem, load_s = _timed(case.problem)
    solver = FastSolver()
    _, prepare_s = _timed(solver.prepare, problem)
    return {"load_s": load_s, "prepare_s": prepare_s, **_solved(case, solver, problem)}


def measure_real_time(case: BenchCase) -> dict[str, Any]:
    """The fast path: one solve from cold, then the next cycle's problem with the same solver; the second counts."""
    problem, load_s = _timed(case.problem)
    solver = FastSolver()
    _, prepare_s = _timed(solver.prepare, problem)
    began = time.perf_counter()
    first = solver.solve_stream(problem, deadline_s=max(LAST_PLAN_S, case.time_limit_s), gap=case.gap)
    cold_s = time.perf_counter() - began
    city = bench_city(seed=case.seed, zones=case.zones, cycle=case.cycle, tightness=case.tightness)
    cold = {"cold_wall_s": cold_s, "cold_gap": first.gap, "cold_passes": first.facts.get("passes")}
    changed = changed_problem(problem, first, city, seed=case.seed)
    del first, problem
    return {"load_s": load_s, "prepare_s": prepare_s, **cold, **_solved(case, solver, changed)}


def _solved(case: BenchCase, solver: FastSolver, problem: DispatchProblem) -> dict[str, Any]:
    began = time.perf_counter()
    solution = solver.solve_stream(problem, deadline_s=case.time_limit_s, gap=case.gap)
    solve_s = time.perf_counter() - began
    _, hand_out_s = _timed(lambda: sum(len(block.resource_ids) for block in solution.blocks()))
    peak_mb = peak_rss_mb()
    answer = {
        "status": solution.status,
        "wall_s": solve_s + hand_out_s,
        "solve_s": solve_s,
        "hand_out_s": hand_out_s,
        "objective_cny": solution.objective_cny,
        "lower_bound_cny": solution.lower_bound_cny,
        "baseline_cost_cny": solution.baseline_cost_cny,
        "gap": solution.gap,
        "reached_gap": solution.gap <= case.gap,
        "iterations": solution.iterations,
        "passes": solution.facts.get("passes"),
        "peak_rss_mb": peak_mb,
        "bytes_per_device": peak_mb * 2**20 / case.resources,
        "resources": len(solution.resource_ids),
        "intervals": len(solution.grid),
        "admissions": len(solution.admissions),
        "phases_s": dict(solution.phases),
        "facts": dict(solution.facts),
        "conditions": conditions(problem, solution),
    }
    if case.write:
        answer |= _written(solution, problem)
    if case.check:
        answer |= _checked(solution, problem)
    return answer


def _written(solution: PlanStream, problem: DispatchProblem) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="vpp-bench-") as folder:
        _, write_s = _timed(write_plan_stream, Path(folder), solution, problem, 0)
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
    return {"write_s": write_s, "plan_mb": size / 1e6}


def _checked(solution: PlanStream, problem: DispatchProblem) -> dict[str, Any]:
    bound = len(solution.resource_ids) <= MOST_BOUNDED
    report, check_s = _timed(check_stream, problem, solution, bound=bound)
    return {
        "check_s": check_s,
        "check_ok": report.ok,
        "violations": len(report.violations),
        "checked_objective_cny": report.objective_cny,
        "checked_lower_bound_cny": report.lower_bound_cny,
    }


def measure_reference(case: BenchCase) -> dict[str, Any]:
    """The same problem by the reference: Pyomo's model and HiGHS; ``wall_s`` with building the model."""
    problem = case.problem()
    plan, wall_s = _timed(ReferenceSolver().solve, problem, deadline_s=case.time_limit_s, gap=case.gap)
    return {
        "status": plan.status,
        "wall_s": wall_s,
        "objective_cny": plan.objective_cny,
        "lower_bound_cny": plan.lower_bound_cny,
        "gap": plan.gap,
        "peak_rss_mb": peak_rss_mb(),
    }


def measure_arrays(case: BenchCase) -> dict[str, Any]:
    """The same problem as plain arrays in HiGHS, without Pyomo; ``wall_s`` with filling the arrays."""
    problem = case.problem()
    found, wall_s = _timed(solve_explicit, problem, deadline_s=case.time_limit_s, gap=case.gap)
    return {
        "status": found.status,
        "wall_s": wall_s,
        "objective_cny": found.objective_cny,
        "lower_bound_cny": found.bound_cny,
        "gap": found.gap,
        "peak_rss_mb": peak_rss_mb(),
    }


def _beside(fast: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Another solver's answer with how much longer it took and how its objective compares."""
    if "failed" in fast or "failed" in other:
        return other
    base, ours, theirs = fast["baseline_cost_cny"], fast["objective_cny"], other["objective_cny"]
    scale = max(abs(ours - base), 1e-3 * abs(base), 1e-9)
    return {
        **other,
        "times_slower": other["wall_s"] / fast["wall_s"],
        "fast_objective_above": (ours - theirs) / scale,
        "fast_objective_relative": (ours - theirs) / max(abs(theirs), 1e-9),
    }


def _timed(work: Callable[_P, _T], *arguments: _P.args, **named: _P.kwargs) -> tuple[_T, float]:
    began = time.perf_counter()
    result = work(*arguments, **named)
    return result, time.perf_counter() - began
