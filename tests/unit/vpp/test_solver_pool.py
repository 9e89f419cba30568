"""The solver pool with real processes: a deadline that kills, a crash that is survived."""

import asyncio
import os
import signal
import time
from datetime import timedelta

import pytest

from models.dispatch.problem import DispatchProblem
from models.errors import DeadlineError, SolverError
from models.plan import DispatchPlan
from tests.fleets import random_problem
from vpp.solver_pool import SolverPool


class StubbornSolver:
    """Minds no deadline at all: it sleeps as long as the problem has zones times a minute, then crashes or not."""

    def solve(self, problem: DispatchProblem, *, deadline_s: float, gap: float = 1e-4) -> DispatchPlan:
        time.sleep(60 * len(problem.zones))
        raise SolverError("unreachable")

    def prepare(self, problem: DispatchProblem) -> None:
        raise SolverError("there is nothing to prepare")


async def test_it_solves_and_keeps_its_worker() -> None:
    pool = SolverPool()
    try:
        await pool.warm()
        first = pool.worker_pid
        plan = await pool.solve(random_problem(2), deadline_s=60)
        again = await pool.solve(random_problem(2), deadline_s=60)
        assert plan.status == "optimal"
        assert plan.plan_hash == again.plan_hash
        assert pool.worker_pid == first
    finally:
        await pool.close()
    assert pool.worker_pid is None


async def test_a_deadline_that_is_too_short_fails_in_time_and_the_next_solve_works() -> None:
    pool = SolverPool()
    try:
        await pool.warm()
        big = random_problem(1, resources=120, intervals=120, step=timedelta(minutes=15))
        began = time.monotonic()
        with pytest.raises(DeadlineError):
            await pool.solve(big, deadline_s=0.3)
        assert time.monotonic() - began < 10.0
        plan = await pool.solve(random_problem(3, resources=4), deadline_s=60)
        assert plan.status == "optimal"
    finally:
        await pool.close()


async def test_a_worker_that_minds_no_deadline_is_killed_without_blocking_the_loop() -> None:
    pool = SolverPool(StubbornSolver)
    beats = 0

    async def heart() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0.02)
            beats += 1

    beating = asyncio.create_task(heart())
    try:
        await pool.warm()
        pid = pool.worker_pid
        assert pid is not None
        began, beats = time.monotonic(), 0
        with pytest.raises(DeadlineError):
            await pool.solve(random_problem(1, resources=2), deadline_s=0.5)
        assert time.monotonic() - began < 8.0
        assert beats > 10
        assert pool.worker_pid is None
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    finally:
        beating.cancel()
        await pool.close()


async def test_a_worker_that_dies_is_an_error_once_and_replaced() -> None:
    pool = SolverPool()
    try:
        await pool.warm()
        first = pool.worker_pid
        assert first is not None
        solving = asyncio.create_task(pool.solve(random_problem(1, resources=120, intervals=120), deadline_s=60))
        await asyncio.sleep(0.5)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(SolverError, match="crashed"):
            await solving
        plan = await pool.solve(random_problem(3, resources=4), deadline_s=60)
        assert plan.status == "optimal"
        assert pool.worker_pid != first
    finally:
        await pool.close()
