"""What every screen takes and gives: n resources of one kind as columns, and who is to be looked at again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.dispatch.check.horizon import RELATIVE_TOLERANCE, Horizon
from models.dispatch.states import StateColumns
from models.fleet import Column
from models.intervals import FloatArray

BoolArray = NDArray[np.bool_]
IndexArray = NDArray[np.intp]

STRICTER = 0.99
"""A screen allows this part of a tolerance, so that rounding never hides what the check of one device would find."""


class Granted(NamedTuple):
    """One limit of n resources, as asked and as relaxed to what their measured states still allow."""

    limit: str
    asked: FloatArray
    granted: FloatArray


@dataclass(frozen=True)
class Batch:
    """n resources of one kind: portfolio columns (n,) with limits as admitted, states, what was relaxed.

    ``odd``: resources that only the check of one device understands; their columns here are as asked.
    """

    columns: Mapping[str, Column]
    state: StateColumns
    horizon: Horizon
    granted: tuple[Granted, ...] = ()
    odd: BoolArray = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))

    def __len__(self) -> int:
        return len(self.columns["resource_id"])

    def rows(self, which: IndexArray) -> "Batch":
        """Some of the resources, limits as admitted."""
        columns = {name: values[which] for name, values in self.columns.items()}
        return Batch(columns, self.state.rows(which), self.horizon, (), self.odd[which])

    def number(self, name: str) -> FloatArray:
        """A column of numbers, (n,)."""
        return np.asarray(self.columns[name], dtype=np.float64)

    def upright(self, name: str) -> FloatArray:
        """A column of numbers, (n, 1), to meet tables (n, T)."""
        return self.number(name)[:, None]

    def series(self, which: str, scale: str) -> FloatArray:
        """Profile x scale of every resource, (n, T)."""
        return by_name(self.horizon.profiles, self.columns[which]) * self.upright(scale)


class Screened(NamedTuple):
    """What a schedule (n, T) of n resources of one kind comes to.

    ``suspect``: may pass a limit.  ``own_cost``: CNY, everything but the tariff.  ``late_kwh``: drawn in virtual slots
    after the horizon.  ``energy_kwh``: (n, T), the energy column as it ought to be, NaN where it may say anything; None
    if the kind has none.  All but ``energy_kwh`` are (n,).
    """

    suspect: BoolArray
    own_cost: FloatArray
    late_kwh: FloatArray
    energy_kwh: FloatArray | None = None


def margin(limit: Any) -> Any:
    """What a screen allows beyond a limit, element by element."""
    return STRICTER * RELATIVE_TOLERANCE * np.maximum(1.0, np.abs(limit))


def above(got: FloatArray, limit: FloatArray) -> BoolArray:
    """Whose numbers (n,) or tables (n, T) pass an upper limit."""
    bad = np.asarray(got > limit + margin(limit))
    return bad if bad.ndim == 1 else np.asarray(bad.any(axis=1))


def below(got: FloatArray, limit: FloatArray) -> BoolArray:
    """Whose numbers (n,) or tables (n, T) pass a lower limit."""
    bad = np.asarray(got < limit - margin(limit))
    return bad if bad.ndim == 1 else np.asarray(bad.any(axis=1))


def by_name(series: Mapping[str, FloatArray], names: Column) -> FloatArray:
    """The series (T,) that each of n names means, (n, T)."""
    rows = {name: row for row, name in enumerate(series)}
    if not rows or not len(names):
        return np.empty((len(names), len(next(iter(series.values()), ()))))
    return np.array(list(series.values()))[np.fromiter(map(rows.__getitem__, names), np.intp, len(names))]


def or_else(values: FloatArray, default: float | FloatArray) -> FloatArray:
    """Numbers that may be missing (NaN), with a default."""
    return np.where(np.isnan(values), default, values)
