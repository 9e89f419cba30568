"""Fleets for the plain arrays, and what the reference model says about them.

``from tests.unit.models.fast.explicit_cases import ...``.  The reference's own compiled Pyomo model answers, not its
search: relaxed or whole, with every equation that is lazy there left out or put in.
"""

import time
from dataclasses import replace
from datetime import timedelta

import numpy as np

from models.dispatch.admissions import admit
from models.dispatch.fast.explicit.draft import ExplicitModel
from models.dispatch.fast.explicit.program import ArrayProgram, arrays_of
from models.dispatch.problem import DispatchProblem
from models.dispatch.reference.compiled import CompiledCity
from models.dispatch.reference.program import Program
from models.dispatch.reference.structure import entries_of
from models.intervals import FloatArray, IntervalGrid

STEPS_MIN = (5, 15, 30, 60, 60, 45, 20)


def uneven(problem: DispatchProblem) -> DispatchProblem:
    """The same problem on intervals of unequal length; events keep the intervals that they had."""
    grid, count = problem.grid, len(problem.grid)
    minutes = np.concatenate([[0], np.cumsum([STEPS_MIN[k % len(STEPS_MIN)] for k in range(count)])])
    edges = tuple(grid.start + timedelta(minutes=int(each)) for each in minutes)
    moved = dict(zip(grid.edges, edges, strict=True))
    events = tuple(
        event.model_copy(update={"start": moved[event.start], "end": moved[event.end]}) for event in problem.events
    )
    commitments = tuple(
        row.model_copy(update={"interval_start": moved[row.interval_start]}) for row in problem.commitments
    )
    return replace(problem, grid=IntervalGrid(edges), events=events, commitments=commitments)


class ReferenceArrays:
    """The reference's model of an admitted problem, at any baseline and prices."""

    def __init__(self, problem: DispatchProblem, baseline_kw: FloatArray | None = None) -> None:
        self.problem, _ = admit(problem)
        self.entries = entries_of(self.problem)
        shape = (len(self.entries), len(self.problem.grid))
        baseline = np.zeros(shape) if baseline_kw is None else baseline_kw
        self.city = CompiledCity(self.problem, self.entries, baseline)
        self.numbers = self.city.numbers(self.problem, self.entries, baseline)

    def alone_at(self, price_per_kwh: FloatArray) -> None:
        """From now on nothing is coupled, and power costs this much, (R, T)."""
        shared = self.city.row_owner == -1
        self.numbers.row_low[shared], self.numbers.row_high[shared] = -np.inf, np.inf
        tariff = np.array([self.problem.tariffs[entry.row.tariff_id] for entry in self.entries])
        self.numbers.cost[self.city.net] += (price_per_kwh - tariff) * self.problem.grid.hours

    def least_cost(self, *, whole: bool, awake: bool) -> float:
        """The optimum; ``awake``: with S6-S8 and E10-E13 of everybody in."""
        program = Program(self.city)
        if awake:
            program.wake(set(range(len(self.entries))))
        return program.solve(self.numbers, until=time.monotonic() + 60, integer=whole, gap=1e-9).objective


def cheapest(model: ExplicitModel, price_per_kwh: FloatArray, *, whole: bool) -> float:
    """The plain arrays' optimum of uncoupled resources at prices (R, T)."""
    cost, constant = model.cost_at(price_per_kwh)
    program = ArrayProgram(arrays_of(model, cost))
    return program.solve(until=time.monotonic() + 60, whole=whole, absolute_gap=1e-9, offset=constant).objective
