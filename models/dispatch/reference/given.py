"""Given numbers: what changes from solve to solve while the equations stay.

Two ways in.  A number that stands alone in an equation (a limit, a level at the start) is a Pyomo variable that is
*fixed*: an equation names it like any other, and the compiled form moves it to the right-hand side, so that a new
value costs one multiplication.  A number that multiplies a variable (a *coefficient*) is a plain float, and ``note``
remembers where it stands, so that the compiled form can overwrite it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pyomo.environ as pyo

from models.dispatch.problem import DispatchProblem, ResourceState
from models.intervals import FloatArray

AT_REST = ResourceState()


@dataclass(frozen=True, slots=True)
class Given:
    """The given numbers of one block, any shapes.

    ``values`` stand alone, ``coefficients`` multiply a variable, ``constants`` belong to the structure: they never
    change without a new one.
    """

    values: Mapping[str, FloatArray | float]
    coefficients: Mapping[str, FloatArray] = field(default_factory=dict)
    constants: Mapping[str, FloatArray] = field(default_factory=dict)

    def ones(self) -> "Given":
        """The same with every coefficient 1, so that none is lost as a zero when the pattern is compiled."""
        placeholders = {name: np.ones_like(array) for name, array in self.coefficients.items()}
        return Given(self.values, placeholders, self.constants)


@dataclass(frozen=True, slots=True)
class Note:
    """A coefficient's place: ``factor`` x ``coefficients[name].flat[index]`` multiplies ``variable`` in ``row``.

    A row of None is the objective.
    """

    name: str
    index: int
    row: Any
    variable: Any


class Writer(Protocol):
    """What every kind of resource has: which numbers shape its equations, which are given, and the equations."""

    def shape(self, rows: list[Any], problem: DispatchProblem) -> tuple[Any, ...]:
        """Everything that is written into the equations as a plain number; part of the structure's key."""

    def given(self, rows: list[Any], problem: DispatchProblem) -> Given:
        """The given numbers of these rows (one, or the sessions of one charger) in this problem."""

    def add(self, block: Any, rows: list[Any], hours: list[float], given: Given) -> None:
        """Write the equations."""


def hold(block: Any, given: Given) -> None:
    """Put every given value on the block as a fixed variable of the same name."""
    block.notes = []
    for name, value in given.values.items():
        array = np.asarray(value, dtype=np.float64)
        if array.ndim == 0:
            block.add_component(name, pyo.Var(initialize=float(array)))
            block.find_component(name).fix()
            continue
        sets = [pyo.RangeSet(0, size - 1) for size in array.shape]
        block.add_component(name, pyo.Var(*sets))
        variable = block.find_component(name)
        for index in np.ndindex(array.shape):
            variable[index if array.ndim > 1 else index[0]].fix(float(array[index]))


def note(block: Any, name: str, index: int, row: Any, variable: Any) -> None:
    """Remember that ``coefficients[name].flat[index]`` multiplies ``variable`` in the constraint ``row``
    (None: in the objective).
    """
    block.notes.append(Note(name, index, row, variable))


def state_of(problem: DispatchProblem, resource_id: str) -> ResourceState:
    """What is known about a resource at the horizon's start; at rest if nothing."""
    return problem.states.get(resource_id, AT_REST)


def notice_ends_h(problem: DispatchProblem, notice_h: float) -> float:
    """T0 + notice, hours from the horizon's start: T0 is the earliest ``issued_at``, else the start of the horizon."""
    issued = [event.issued_at for event in problem.events if event.issued_at is not None]
    first_h = min((problem.grid.hours_since_start(moment) for moment in issued), default=0.0)
    return first_h + notice_h
