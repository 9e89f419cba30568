"""Drawing devices as columns: n at a time, no object per device, every parameter of every device different."""

from dataclasses import dataclass
from datetime import UTC
from typing import Any

import numpy as np
from numpy.random import Generator as Dice

from models.fleet import Column, ResourceTable, column_types
from models.intervals import FloatArray, IntervalGrid
from models.resources import RESOURCE_TYPES, ResourceKind
from vpp.bench.city import DAY_START, FIRST_HOUR

Columns = dict[str, Column]


@dataclass(frozen=True)
class Draw:
    """Dice for ``count`` devices, and the horizon that they are drawn for."""

    dice: Dice
    count: int
    grid: IntervalGrid

    def between(self, low: float, high: float) -> FloatArray:
        """Evenly between two values, (n,)."""
        return self.dice.uniform(low, high, self.count)

    def around(self, mean: float, spread: float, low: float, high: float) -> FloatArray:
        """Normally around a mean, cut to [low, high] by drawing evenly there instead, (n,)."""
        values = self.dice.normal(mean, spread, self.count)
        outside = (values < low) | (values > high)
        values[outside] = self.dice.uniform(low, high, int(outside.sum()))
        return np.asarray(values)

    def size(self, low: float, high: float) -> FloatArray:
        """Evenly between the logarithms of two sizes: many small ones, few large ones, (n,)."""
        return np.asarray(np.exp(self.dice.uniform(np.log(low), np.log(high), self.count)))

    def choice(self, names: tuple[str, ...]) -> Column:
        """One of some names each, (n,)."""
        return np.array(names, dtype=object)[self.dice.integers(len(names), size=self.count)]

    def count_of(self, low: int, high: int) -> FloatArray:
        """A whole number from low to high, (n,)."""
        return self.dice.integers(low, high, size=self.count, endpoint=True).astype(np.float64)

    @property
    def first_hour(self) -> float:
        """Local hour at which the horizon starts (the day of the benchmark begins at 6)."""
        return FIRST_HOUR + (self.grid.start - DAY_START).total_seconds() / 3600

    @property
    def last_hour(self) -> float:
        """Local hour at which the horizon ends, past 24."""
        return self.first_hour + float(self.grid.offsets_h[-1])


def moment(hour: FloatArray) -> Column:
    """Local hours of the benchmark's day (24 and more: the next day) as UTC instants, (n,), whole seconds."""
    seconds = np.round((hour - FIRST_HOUR) * 3600).astype("timedelta64[s]")
    start = np.datetime64(DAY_START.astimezone(UTC).replace(tzinfo=None), "us")
    return np.asarray(start + seconds)


def complete(kind: ResourceKind, columns: Columns, count: int) -> Columns:
    """All columns of a kind's table, those that were not drawn at their default."""
    fields = RESOURCE_TYPES[kind].model_fields
    found: Columns = {}
    for name, plain in column_types(kind).items():
        if name in columns:
            found[name] = columns[name]
            continue
        default: Any = fields[name].default
        if plain is bool:
            found[name] = np.full(count, bool(default))
        elif plain in (float, int):
            found[name] = np.full(count, np.nan if default is None else float(default))
        else:
            found[name] = np.full(count, default or "", dtype=object)
    return found


def stacked(kind: ResourceKind, parts: list[Columns]) -> ResourceTable:
    """One table of a kind from its segments' columns."""
    return ResourceTable(kind, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
