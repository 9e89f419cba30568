"""Problems as bytes: every kind of resource, every optional part, to the last bit; what was changed is refused."""

from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.dispatch.fast.solve import FastSolver
from models.dispatch.problem import DispatchProblem, Penalties, RealTimeTerms, ResourceState
from models.dispatch.problem_record import problem_from_bytes, problem_to_bytes
from models.dispatch.replay import replayed
from models.dispatch.solve_clock import ReplayError
from models.dispatch.solve_record import SolveRecord
from models.dispatch.states import StateColumns, StateTable
from tests.fleets import random_problem


def same(one: Any, other: Any) -> bool:
    """Bit by bit, and arrays in the same order of memory."""
    if isinstance(one, np.ndarray):
        alike = one.dtype == other.dtype and one.shape == other.shape
        alike = alike and one.flags.c_contiguous == other.flags.c_contiguous
        return alike and (one.tolist() == other.tolist() if one.dtype == object else one.tobytes() == other.tobytes())
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(value, other[name]) for name, value in one.items())
    if is_dataclass(one) and not isinstance(one, type):
        return type(one) is type(other) and all(
            same(getattr(one, each.name), getattr(other, each.name)) for each in fields(one)
        )
    return bool(one == other)


def assert_same(one: DispatchProblem, other: DispatchProblem) -> None:
    for each in fields(DispatchProblem):
        if each.name == "states":
            assert dict(one.states) == dict(other.states)
        elif each.name == "areas":
            assert dict(one.areas) == dict(other.areas)
        else:
            assert same(getattr(one, each.name), getattr(other, each.name)), each.name


def real_time(problem: DispatchProblem, seed: int) -> DispatchProblem:
    """As a re-plan has it: a table of baselines, what runs now, states as columns."""
    dice = np.random.default_rng(seed)
    names = problem.fleet.resource_ids
    shape = len(names), len(problem.grid)
    now_kw = np.where(dice.random(shape[0]) < 0.3, np.nan, dice.uniform(-5, 5, shape[0]))
    return replace(
        problem,
        events=tuple(event.model_copy(update={"event_id": f"{event.event_id}~later"}) for event in problem.events),
        commitments=tuple(row.model_copy(update={"event_id": f"{row.event_id}~later"}) for row in problem.commitments),
        baseline_kw=np.asfortranarray(dice.uniform(-3, 9, shape)),
        real_time=RealTimeTerms(now_kw, dice.uniform(-3, 9, shape), np.ones(shape[1])),
        states=StateTable(names, StateColumns.of(problem.states, np.array(names, dtype=object))),
        penalties=Penalties(switch_cost_per_kw=0.01, stray_cost_per_kwh=1 / 3),
    )


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.booleans())
def test_a_problem_comes_back_to_the_last_bit(seed: int, now: bool) -> None:
    problem = random_problem(seed)
    problem = real_time(problem, seed) if now else problem
    data = problem_to_bytes(problem)
    found = problem_from_bytes(data)
    assert_same(problem, found)
    assert problem_to_bytes(found) == data


def test_what_is_known_of_single_resources_comes_back() -> None:
    problem = random_problem(3)
    name = problem.fleet.resource_ids[0]
    state = ResourceState(on=False, calls_used=2, power_kw=0.1, curtailed_history=((0.5, 0.25, 7.0), (0.1, 0.1, 1 / 3)))
    problem = replace(problem, states={name: state})
    assert dict(problem_from_bytes(problem_to_bytes(problem)).states) == {name: state}


@given(st.data())
def test_a_changed_byte_is_found(data: st.DataObject) -> None:
    whole = bytearray(problem_to_bytes(random_problem(1)))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ReplayError, match="the problem of the solve is damaged"):
        problem_from_bytes(bytes(whole))


def test_a_solve_is_made_again_from_nothing_but_bytes() -> None:
    problem = random_problem(5)
    solver = FastSolver(small=0)
    plan = solver.solve(problem, deadline_s=60)
    assert solver.last_record is not None
    kept = problem_to_bytes(problem), solver.last_record.to_bytes()
    again = replayed(problem_from_bytes(kept[0]), SolveRecord.from_bytes(kept[1]))
    assert (again.plan_hash, again.objective_cny) == (plan.plan_hash, plan.objective_cny)
