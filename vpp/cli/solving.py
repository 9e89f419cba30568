"""Who makes the plan that ``vpp plan`` asks for: a worker with a deadline that holds, or the fast path as a stream."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from models.dispatch.problem import DispatchProblem
from models.plan import DispatchPlan
from models.plan_stream import PlanStream
from vpp.solver_pool import SolverPool, fast_facts, fast_solver, reference_solver

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Made:
    """A plan in memory or as a stream, and how it was made (empty: the solver tells nothing)."""

    plan: DispatchPlan | PlanStream
    facts: Mapping[str, Any] = field(default_factory=dict)


def solve_in_worker(
    problem: DispatchProblem, *, is_fast: bool, deadline_s: float, gap: float, starting: Tell, solving: Tell
) -> Made:
    """The plan of a worker process, which is killed at its deadline; ``SolverError`` if there is none.

    ``starting`` hears what comes before the solve, ``solving`` how it goes.
    """

    async def work() -> Made:
        make = fast_solver if is_fast else reference_solver
        pool = SolverPool(make, starting=starting, solving=solving)
        try:
            await pool.warm()
            solving("solving")
            plan = await pool.solve(problem, deadline_s=deadline_s, gap=gap)
            return Made(plan, pool.facts)
        finally:
            await pool.close()

    return asyncio.run(work())


def solve_as_stream(problem: DispatchProblem, *, deadline_s: float, gap: float, starting: Tell, solving: Tell) -> Made:
    """The fast path in this process, its schedules made when they are asked for: no million of them is copied through
    a pipe.  The fast solver minds the deadline by itself; ``SolverError`` if it fails.
    """
    from models.dispatch.fast.solve import FastSolver  # noqa: PLC0415 - a small plan's process need not load it
    from vpp.warm_up import ready_oracles  # noqa: PLC0415

    ready_oracles(starting)
    solving("solving")
    found = FastSolver(tell=solving).solve_stream(problem, deadline_s=deadline_s, gap=gap)
    return Made(found, fast_facts(found.phases, found.facts))
