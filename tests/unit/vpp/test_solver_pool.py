"""The solver pool with real processes: a deadline that kills, a crash that is survived."""

import asyncio
import contextlib
import os
import signal
import time
from datetime import timedelta

import pytest

from models.dispatch.check import check_plan
from models.dispatch.replay import replayed
from models.dispatch.solve_record import SolveRecord
from models.errors import DeadlineError, SolverError
from tests.fleets import random_problem
from tests.odd_solvers import LateSolver, StubbornSolver, TalkingSolver
from vpp.solver_pool import Make, SolverPool, fast_solver, reference_solver


@pytest.mark.parametrize("make", [fast_solver, reference_solver])
async def test_it_solves_and_keeps_its_worker(make: Make) -> None:
    pool = SolverPool(make)
    try:
        await pool.warm()
        first = pool.worker_pid
        problem = random_problem(2)
        plan = await pool.solve(problem, deadline_s=60)
        again = await pool.solve(problem, deadline_s=60)
        report = check_plan(problem, plan)
        assert report.ok, report.violations
        assert plan.plan_hash == again.plan_hash
        assert pool.worker_pid == first
    finally:
        await pool.close()
    assert pool.worker_pid is None


async def test_what_a_worker_says_is_heard_before_and_during_a_solve_and_its_facts_are_kept() -> None:
    starting: list[str] = []
    solving: list[str] = []
    pool = SolverPool(TalkingSolver, starting=starting.append, solving=solving.append)
    problem = random_problem(1, resources=2)
    try:
        await pool.warm()
        assert (starting, solving) == (["unpacking", "oiling"], [])
        await pool.prepare(problem)
        with pytest.raises(SolverError, match="it only turns"):
            await pool.solve(problem, deadline_s=30)
        assert (starting, solving) == (["unpacking", "oiling"], ["measuring", "turning"])
        assert pool.facts == {"turns": len(problem.zones)}
    finally:
        await pool.close()


async def test_a_deadline_that_is_too_short_fails_in_time_and_the_next_solve_works() -> None:
    pool = SolverPool(reference_solver)
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


async def test_an_answer_that_is_late_counts_within_the_grace_and_only_then() -> None:
    patient, strict = SolverPool(LateSolver, grace_s=20.0), SolverPool(LateSolver, grace_s=0.1)
    problem = random_problem(1, resources=2)
    try:
        with pytest.raises(SolverError, match="late, but here"):
            await patient.solve(problem, deadline_s=0.2)
        assert patient.worker_pid is not None
        with pytest.raises(DeadlineError):
            await strict.solve(problem, deadline_s=0.2)
        assert strict.worker_pid is None
    finally:
        await patient.close()
        await strict.close()


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
    pool = SolverPool(reference_solver)
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


def record_of(pool: SolverPool) -> SolveRecord:
    assert pool.last_record is not None
    return SolveRecord.from_bytes(pool.last_record)


@pytest.mark.parametrize("make", [fast_solver, reference_solver])
async def test_every_answer_has_its_record_and_that_of_a_new_worker_makes_the_same_plan(make: Make) -> None:
    pool, problem = SolverPool(make), random_problem(2)
    try:
        await pool.solve(random_problem(3, resources=6), deadline_s=60)
        first = pool.worker_pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        for _ in range(2):  # from a worker that knows nothing, and from one that knows the first plan
            with contextlib.suppress(SolverError):  # the first may still find the pipe of the killed one
                plan = await pool.solve(problem, deadline_s=60)
                again = await asyncio.to_thread(replayed, problem, record_of(pool))
                assert again.plan_hash == plan.plan_hash
        assert pool.worker_pid not in (None, first)
        with pytest.raises(DeadlineError):
            await pool.solve(problem, deadline_s=1e-9)
        assert pool.last_record is None  # there was no time to ask the worker
    finally:
        await pool.close()


async def test_a_solve_that_fails_has_a_record_and_a_solver_that_makes_none_has_none() -> None:
    pool, problem = SolverPool(reference_solver), random_problem(1, resources=60, intervals=48)
    try:
        with pytest.raises(DeadlineError):
            await pool.solve(problem, deadline_s=0.05)
        if pool.worker_pid is not None:  # it minded its deadline by itself
            with pytest.raises(DeadlineError):
                await asyncio.to_thread(replayed, problem, record_of(pool))
    finally:
        await pool.close()
    silent = SolverPool(TalkingSolver)
    try:
        with pytest.raises(SolverError, match="it only turns"):
            await silent.solve(problem, deadline_s=30)
        assert silent.last_record is None
    finally:
        await silent.close()
