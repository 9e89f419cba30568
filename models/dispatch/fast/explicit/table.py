"""The rows of one kind as arrays, with their measured states beside them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.dispatch.fast.explicit.draft import BoolArray, IntArray
from models.dispatch.problem import DispatchProblem
from models.dispatch.states import StateColumns
from models.intervals import FloatArray
from models.resources import ResourceKind

EPS = 1e-9
"""Hours and energies that are equal within this are equal."""


@dataclass(frozen=True)
class KindTable:
    """n rows of one kind: ``at`` (n,) places of their resources, columns, states.

    ``table["charge_limit_kw"]`` is a column (n,); NaN, NaT or "" where it is not given.
    """

    problem: DispatchProblem
    at: IntArray
    columns: Mapping[str, Any]
    states: StateColumns

    def __len__(self) -> int:
        return len(self.at)

    def __getitem__(self, name: str) -> Any:
        return self.columns[name]

    def part(self, chosen: BoolArray) -> "KindTable":
        """The chosen rows only."""
        columns = {name: values[chosen] for name, values in self.columns.items()}
        return KindTable(self.problem, self.at[chosen], columns, self.states.rows(np.flatnonzero(chosen)))

    def state(self, name: str, default: float = np.nan) -> FloatArray:
        """One number of every state, (n,), ``default`` where it is not known; True is 1."""
        values: FloatArray = getattr(self.states, name)
        return np.where(np.isnan(values), default, values)

    def since_start_h(self, name: str) -> FloatArray:
        """A column of times as hours from the horizon's start, (n,); NaN where not given."""
        start = np.datetime64(self.problem.grid.start.replace(tzinfo=None), "us")
        moments = np.asarray(self.columns[name], dtype="datetime64[us]")
        spans = (moments - start).astype(np.int64) / 1e6 / 3600
        return np.where(np.isnat(moments), np.nan, spans)

    def series(self, series: Mapping[str, FloatArray], name: str) -> FloatArray:
        """The series that a column of ids names, (n, T)."""
        count = len(self.problem.grid)
        names, inverse = np.unique(self.columns[name].astype(str), return_inverse=True)
        values = np.array([series.get(each, np.zeros(count)) for each in names]).reshape(len(names), count)
        return np.asarray(values[inverse])

    def load_kw(self) -> FloatArray:
        """b: profile x scale, (n, T)."""
        return np.asarray(self.series(self.problem.profiles, "baseline_profile") * self["baseline_scale_kw"][:, None])


def overlap_h(problem: DispatchProblem, first_h: FloatArray, last_h: FloatArray) -> FloatArray:
    """Hours of every interval inside [first, last), which are hours from the horizon's start, (n, T)."""
    edges = problem.grid.offsets_h
    inside = np.minimum(edges[1:], last_h[:, None]) - np.maximum(edges[:-1], first_h[:, None])
    return np.asarray(np.clip(inside, 0.0, None))


def kind_table(problem: DispatchProblem, kind: ResourceKind, place: Mapping[str, int]) -> KindTable | None:
    """The rows of one kind whose resources have a place; None if there are none."""
    table = problem.fleet.tables.get(kind)
    if table is None:
        return None
    names = table.columns["resource_id"]
    at = np.array([place.get(str(name), -1) for name in names], dtype=np.int64)
    chosen = at >= 0
    if not chosen.any():
        return None
    columns = {name: values[chosen] for name, values in table.columns.items()}
    return KindTable(problem, at[chosen], columns, StateColumns.of(problem.states, names[chosen]))
