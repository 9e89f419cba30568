"""States as columns: what is known about a million resources at the horizon's start, without a million objects."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.dispatch.problem import DispatchProblem, ResourceState
from models.intervals import FloatArray
from models.resources import ResourceKind

NUMBERS = (
    "energy_kwh",
    "store_kwh",
    "delivered_kwh",
    "on",
    "hours_in_state_h",
    "hours_used_h",
    "energy_used_kwh",
    "calls_used",
    "power_kw",
)
"""Every field of ``ResourceState`` that is one number (``on`` is 0 or 1)."""


@dataclass(frozen=True)
class StateColumns:
    """The states of n rows; every number is (n,), NaN where nothing is known.

    The pieces that were curtailed before the horizon: row i has ``history[history_first[i]:history_first[i + 1]]``,
    each (hours before the horizon's start at which the piece ended, its length in h, kW).
    """

    energy_kwh: FloatArray
    store_kwh: FloatArray
    delivered_kwh: FloatArray
    on: FloatArray
    hours_in_state_h: FloatArray
    hours_used_h: FloatArray
    energy_used_kwh: FloatArray
    calls_used: FloatArray
    power_kw: FloatArray
    history_first: NDArray[np.int64]
    history: FloatArray

    @classmethod
    def of(cls, states: Mapping[str, ResourceState], names: NDArray[Any]) -> "StateColumns":
        """The states of the resources ``names`` (n,), in that order."""
        if not states:
            return cls.unknown(len(names))
        if isinstance(states, StateTable):
            return states.take(names)
        found = [states.get(name) for name in names]
        columns = {
            field: np.array([_number(state, field) for state in found], dtype=np.float64).reshape(len(names))
            for field in NUMBERS
        }
        pieces = [() if state is None else state.curtailed_history for state in found]
        first = np.concatenate([[0], np.cumsum([len(each) for each in pieces])]).astype(np.int64)
        history = np.array([piece for each in pieces for piece in each], dtype=np.float64).reshape(-1, 3)
        return cls(**columns, history_first=first, history=history)

    @classmethod
    def unknown(cls, count: int) -> "StateColumns":
        """Nothing is known about ``count`` rows."""
        nothing = np.full(count, np.nan)
        return cls(
            **dict.fromkeys(NUMBERS, nothing),
            history_first=np.zeros(count + 1, dtype=np.int64),
            history=np.empty((0, 3)),
        )

    @cached_property
    def _silent(self) -> frozenset[str]:
        """The numbers that are known of nobody."""
        return frozenset(name for name in NUMBERS if np.isnan(getattr(self, name)).all())

    def rows(self, index: NDArray[np.int64]) -> "StateColumns":
        """The states of some rows, −1 for a row about which nothing is known."""
        unknown = np.full(len(index), np.nan)
        # the last place of a column, which −1 means, says nothing; many columns say nothing at all
        numbers = {
            name: unknown if name in self._silent else np.append(getattr(self, name), np.nan)[index] for name in NUMBERS
        }
        if not len(self.history):
            return StateColumns(**numbers, history_first=np.zeros(len(index) + 1, dtype=np.int64), history=self.history)
        length = np.where(index >= 0, np.diff(self.history_first)[index], 0)
        first = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
        begin = np.repeat(self.history_first[:-1][index] - first[:-1], length)
        return StateColumns(**numbers, history_first=first, history=self.history[begin + np.arange(first[-1])])


def _number(state: ResourceState | None, field: str) -> float:
    value = None if state is None else getattr(state, field)
    return np.nan if value is None else float(value)


class StateTable(Mapping[str, ResourceState]):
    """States by resource id, kept as columns; a ``ResourceState`` is made when somebody asks for one."""

    def __init__(self, resource_ids: Sequence[str], columns: StateColumns) -> None:
        if len(columns.energy_kwh) != len(resource_ids):
            raise ValueError(f"{len(resource_ids)} resources, {len(columns.energy_kwh)} states")
        self.resource_ids, self.columns = resource_ids, columns

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return dict(zip(self.resource_ids, range(len(self.resource_ids)), strict=True))

    def take(self, names: NDArray[Any]) -> StateColumns:
        """The states of the resources ``names`` (n,), in that order."""
        return self.columns.rows(self.find(names.tolist()))

    def find(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Row of every name (n,) here, −1 where there is none."""
        if len(names) == len(self.resource_ids) and tuple(names) == tuple(self.resource_ids):
            return np.arange(len(names), dtype=np.int64)
        return np.fromiter(map(self._row_of.get, names, itertools.repeat(-1)), dtype=np.int64, count=len(names))

    def __getitem__(self, name: str) -> ResourceState:
        row = self._row_of[name]
        numbers = {field: float(getattr(self.columns, field)[row]) for field in NUMBERS}
        values: dict[str, Any] = {field: None if np.isnan(value) else value for field, value in numbers.items()}
        values["on"] = None if values["on"] is None else bool(values["on"])
        values["calls_used"] = None if values["calls_used"] is None else int(values["calls_used"])
        first, last = self.columns.history_first[row : row + 2]
        history = tuple((float(a), float(b), float(c)) for a, b, c in self.columns.history[first:last])
        return ResourceState(**values, curtailed_history=history)

    def __iter__(self) -> Iterator[str]:
        return iter(self.resource_ids)

    def __len__(self) -> int:
        return len(self.resource_ids)


class FleetStates:
    """The states of a problem's resources, table by table; every name is looked up once."""

    def __init__(self, problem: DispatchProblem) -> None:
        self._fleet, self._states = problem.fleet, problem.states
        self._known: dict[ResourceKind, StateColumns] = {}

    @cached_property
    def _row_of(self) -> NDArray[np.int64] | None:
        """Row of every resource of the fleet in the table of states, (R,); None if they are no table."""
        return self._states.find(self._fleet.resource_ids) if isinstance(self._states, StateTable) else None

    def of(self, kind: ResourceKind) -> StateColumns:
        """The states of the rows of a kind's table, in its order."""
        if kind not in self._known:
            self._known[kind] = self._find(kind)
        return self._known[kind]

    def _find(self, kind: ResourceKind) -> StateColumns:
        table = self._fleet.tables[kind]
        if not self._states:
            return StateColumns.unknown(len(table))
        if isinstance(self._states, StateTable) and self._row_of is not None:
            return self._states.columns.rows(self._row_of[self._fleet.rows_of(kind)])
        return StateColumns.of(self._states, table.columns["resource_id"])
