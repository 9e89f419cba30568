"""``vpp bench exactness``: the fast path against the reference on small random fleets in every trouble.

For every seed the reference solves the situation to 1e-7, branch and bound included, and the fast path as it comes
(small fleets: whole, as plain arrays), or forced to generate columns as if it were a city of a million.  Reported is
the *true* gap, (UB − reference) over the gap's denominator (dispatch-model §3).  A fault is whatever must not be:

- the independent checker finds something in either plan,
- the bound that the plan claims is not the one the checker recomputes at its prices,
- a bound above the reference's optimum: the printed gap would be smaller than the true one,
- a plan cheaper than what the reference proved to be possible.
"""

import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.dispatch.check import check_plan
from models.dispatch.fast.solve import FastSolver
from models.dispatch.problem import DispatchProblem
from models.dispatch.reference.solve import ReferenceSolver
from models.intervals import FloatArray
from models.plan import DispatchPlan
from vpp.bench.situations import situation

REFERENCE_GAP = 1e-7
WITHIN = (1e-3, 1e-4, 1e-6)
"""Shares of fleets with at most these true gaps are reported."""
FLOOR_SHARE, FLOOR_WITHIN, FLOOR_MEDIAN = 0.95, 1e-3, 1e-6
"""What must hold: this share within this gap, and the median (dispatch-model §4)."""
TOLERANCE = 1e-6
"""Relative to the larger of objective and gap's denominator: what HiGHS and the checker let pass."""
DEADLINE_S = 120.0


@dataclass(frozen=True)
class Outcome:
    """One fleet.  Figures are NaN where a solver broke down.  ``scale_cny``: the gap's denominator.

    ``faults``: what must not be.  ``reference_open``: time was up before the reference was within 1e-7.
    """

    seed: int
    resources: int
    intervals: int
    true_gap: float
    printed_gap: float
    reference_gap: float
    objective_cny: float
    scale_cny: float
    reference_s: float
    fast_s: float
    faults: tuple[str, ...]
    reference_open: bool = False


def exactness(
    seeds: Sequence[int],
    *,
    forced: bool,
    processes: int,
    most_resources: int = 16,
    most_intervals: int = 32,
    told: Callable[[Outcome], None] = lambda _: None,
) -> list[Outcome]:
    """All seeds, in processes of their own; ``told`` hears of each as it is done, in any order."""
    done: dict[int, Outcome] = {}
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        asked = {
            pool.submit(held, seed, forced=forced, most_resources=most_resources, most_intervals=most_intervals): seed
            for seed in seeds
        }
        for future in as_completed(asked):
            seed, error = asked[future], future.exception()
            done[seed] = future.result() if error is None else _broken(seed, f"{type(error).__name__}: {error}")
            told(done[seed])
    return [done[seed] for seed in seeds]


def held(seed: int, *, forced: bool, most_resources: int = 16, most_intervals: int = 32) -> Outcome:
    """The situation of this seed, solved by both."""
    problem = situation(seed, most_resources=most_resources, most_intervals=most_intervals)
    return compared(seed, problem, solved(problem), forced=forced)


def _broken(seed: int, why: str) -> Outcome:
    nan = float("nan")
    return Outcome(seed, 0, 0, nan, nan, nan, nan, nan, nan, nan, (why,))


def solved(problem: DispatchProblem) -> DispatchPlan:
    """The reference's optimum, to 1e-7."""
    return ReferenceSolver(branch=True).solve(problem, deadline_s=DEADLINE_S, gap=REFERENCE_GAP)


def compared(seed: int, problem: DispatchProblem, reference: DispatchPlan, *, forced: bool) -> Outcome:
    """The fast path on this problem, held against the reference's optimum and the checker."""
    with ThreadPoolExecutor(1) as one:
        solver = FastSolver(one, small=0) if forced else FastSolver(one)
        began = time.perf_counter()
        plan = solver.solve(problem, deadline_s=DEADLINE_S)
        fast_s = time.perf_counter() - began
    base = plan.baseline_cost_cny
    scale = max(abs(plan.objective_cny - base), 1e-3 * abs(base), 1e-9)
    above = plan.objective_cny - reference.objective_cny
    slack = TOLERANCE * max(1.0, scale, abs(plan.objective_cny))
    faults = [f"checker: {each}" for each in check_plan(problem, plan).violations]
    faults += [f"checker, reference: {each}" for each in check_plan(problem, reference).violations]
    if plan.lower_bound_cny > reference.objective_cny + slack:
        faults.append(f"bound {plan.lower_bound_cny:.9g} above the optimum {reference.objective_cny:.9g}")
    if plan.objective_cny < reference.lower_bound_cny - slack:
        faults.append(f"objective {plan.objective_cny:.9g} below what is possible, {reference.lower_bound_cny:.9g}")
    return Outcome(
        seed,
        len(problem.fleet.resource_ids),
        len(problem.grid),
        above / scale,
        plan.gap,
        reference.gap,
        plan.objective_cny,
        scale,
        reference.wall_s,
        fast_s,
        tuple(faults),
        reference.status != "optimal",
    )


def summary(outcomes: Sequence[Outcome], *, forced: bool) -> dict[str, Any]:
    """The distribution as JSON."""
    known = [each for each in outcomes if np.isfinite(each.true_gap)]
    true = np.array([each.true_gap for each in known])
    printed = np.array([each.printed_gap for each in known])
    failed = [
        {"seed": each.seed, "resources": each.resources, "intervals": each.intervals, "faults": list(each.faults)}
        for each in outcomes
        if each.faults
    ]
    return {
        "fleets": len(outcomes),
        "mode": "forced column generation" if forced else "as it is",
        "true_gap": _distribution(true) | {"worst_seeds": _worst(known)},
        "printed_gap": _distribution(printed),
        "reference_open_seeds": [each.seed for each in known if each.reference_open],
        "reference_s": sum(each.reference_s for each in known),
        "fast_s": sum(each.fast_s for each in known),
        "violations": sum(len(each.faults) for each in outcomes),
        "failed": failed,
        "holds": holds(outcomes, forced=forced),
    }


def holds(outcomes: Sequence[Outcome], *, forced: bool) -> bool:
    """No fault anywhere; and, where a small fleet is solved as it comes, the floor of dispatch-model §4."""
    if any(each.faults for each in outcomes):
        return False
    true = np.array([each.true_gap for each in outcomes])
    return forced or bool((true <= FLOOR_WITHIN).mean() >= FLOOR_SHARE and np.median(true) <= FLOOR_MEDIAN)


def _distribution(gaps: FloatArray) -> dict[str, Any]:
    if not len(gaps):
        return {}
    return {
        "share_within": {within: float((gaps <= within).mean()) for within in WITHIN},
        "median": float(np.median(gaps)),
        "p95": float(np.quantile(gaps, 0.95)),
        "max": float(gaps.max()),
        "min": float(gaps.min()),
    }


def _worst(outcomes: Sequence[Outcome], count: int = 5) -> list[dict[str, float]]:
    order = sorted(outcomes, key=lambda each: -each.true_gap)[:count]
    return [{"seed": each.seed, "true_gap": each.true_gap, "printed_gap": each.printed_gap} for each in order]
