"""Small fleets: where a single device matters, the city is solved whole, as plain arrays; the certificate stays ours.

The bound that a plan claims is the Lagrangian one at its prices, which the checker can repeat; branch and bound knows a
better one, but nobody could recompute it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.dispatch.fast.baseline import Baseline
from models.dispatch.fast.certificate import Bound, bound_of
from models.dispatch.fast.coupling import CouplingRows
from models.dispatch.fast.explicit.solve import solve_explicit
from models.dispatch.fast.shards import cut
from models.dispatch.fast.solution import Schedules
from models.dispatch.fast.sweeps import Sweeper
from models.dispatch.problem import DispatchProblem
from models.intervals import FloatArray

STEPS = 0.9
"""Part of the deadline that branch and bound may use."""


@dataclass(frozen=True)
class Whole:
    """A schedule of the whole city, (R, T) kW, its cost with all slacks, L(λ) with its λ, and the rows' values (N,)."""

    power_kw: FloatArray
    objective_cny: float
    bound: Bound
    values: FloatArray


def solve_whole(
    problem: DispatchProblem,
    schedules: Schedules,
    baseline: Baseline,
    sweeper: Sweeper,
    *,
    deadline_s: float,
    gap: float,
) -> Whole:
    """Solve the city as one mixed-integer program, on the baseline that is ours.

    Raises ``DeadlineError`` if there is nothing in time, ``SolverError`` if HiGHS fails.
    """
    resources = len(problem.fleet.resource_ids)
    table = problem.baseline_kw if problem.baseline_kw is not None else schedules.baseline(0, resources)[0]
    found = solve_explicit(
        replace(problem, baseline_kw=table),
        deadline_s=STEPS * deadline_s,
        gap=gap,
        baseline_cost_cny=baseline.cost_cny,
    )
    assert sweeper.rows is not None  # noqa: S101 - coupled long ago
    bound = _best_bound(sweeper, sweeper.rows, (found.prices, found.relaxed_prices))
    return Whole(found.power_kw, found.objective_cny, bound, found.slack_kw)


def _best_bound(sweeper: Sweeper, rows: CouplingRows, tries: Sequence[FloatArray]) -> Bound:
    """The best Lagrangian bound."""
    shards = cut(sweeper.blocks, 8)
    best: Bound | None = None
    for duals in (*tries, 0.5 * (tries[0] + tries[-1]), np.zeros(len(rows.t))):
        allowed = rows.netted(np.clip(duals, 0.0, rows.penalty))
        of_zone = sweeper.points(allowed)
        columns = sweeper.sweep(shards, [of_zone[shard.zone] for shard in shards])
        found = bound_of(rows, columns, allowed)
        if best is None or found.value_cny > best.value_cny:
            best = found
    assert best is not None  # noqa: S101 - zero is always tried
    return best
