"""Plain sparse arrays: the model as HiGHS takes it, and the draft in which the kinds write their equations.

A kind asks the draft for columns and rows by the array and puts coefficients by the array: no Python object per
device and interval.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from models.dispatch.problem import TIE_BREAK_PER_KWH_H
from models.intervals import FloatArray

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

ROUNDING = 1e-7
"""Bounds that cross by less than this (relative) meet: what is left of adding up the same numbers in two orders."""


@dataclass(frozen=True)
class ExplicitModel:
    """Resources as one mixed-integer program: minimise cost·x, row_low ≤ matrix x ≤ row_high, low ≤ x ≤ high.

    n columns, m rows, R resources, T intervals.  ``cost`` (n,) holds each resource's own cost only, CNY; what power
    costs comes in by ``cost_at``.  Net power of resource i in interval t, kW, is ``net[i T + t] @ x +
    net_constant[i, t]``.  ``owner`` (n,): the resource a column belongs to, by its place in ``resource_ids``.
    ``late`` (n,): kWh drawn after the horizon (virtual slot of a charging stay) per unit of the column.
    ``first``, ``second``: pairs of columns of which at most one may be positive (charge or discharge).
    ``places``: named columns, for who wants to look inside.
    """

    resource_ids: tuple[str, ...]
    hours: FloatArray
    cost: FloatArray
    low: FloatArray
    high: FloatArray
    is_integer: BoolArray
    matrix: sparse.csr_matrix
    row_low: FloatArray
    row_high: FloatArray
    net: sparse.csr_matrix
    net_constant: FloatArray
    owner: IntArray
    late: FloatArray
    first: IntArray
    second: IntArray
    places: Mapping[str, IntArray]
    cost_constant: float = 0.0

    def cost_at(self, price_per_kwh: FloatArray) -> tuple[FloatArray, float]:
        """Own cost + effective prices (R, T) (tariff plus duals), CNY per kWh: cost of every column, and a constant."""
        per_kw = price_per_kwh * self.hours
        cost = self.cost + self.net.T @ per_kw.ravel()
        return np.asarray(cost), self.cost_constant + float((per_kw * self.net_constant).sum())

    def baseline_cost_at(self, price_per_kwh: FloatArray) -> tuple[FloatArray, float]:
        """As ``cost_at`` for the baseline: 1e-6 CNY per kWh more for every hour from the horizon's start."""
        offsets = np.concatenate([[0.0], np.cumsum(self.hours)])
        cost, constant = self.cost_at(price_per_kwh + TIE_BREAK_PER_KWH_H * offsets[:-1])
        return cost + TIE_BREAK_PER_KWH_H * offsets[-1] * self.late, constant

    def power_kw(self, x: FloatArray) -> FloatArray:
        """Net power of every resource in every interval, (R, T)."""
        return np.asarray((self.net @ x).reshape(self.net_constant.shape) + self.net_constant)


class Draft:
    """A model in the making: columns, rows and coefficients, appended by the array.

    Every array that comes in is broadcast; every array of indices that goes out has the broadcast shape.
    """

    def __init__(self, resource_ids: tuple[str, ...], hours: FloatArray) -> None:
        self.resource_ids, self.hours = resource_ids, hours
        self.net_constant = np.zeros((len(resource_ids), len(hours)))
        self.places: dict[str, IntArray] = {}
        self._late: list[tuple[IntArray, float]] = []
        self._columns: list[tuple[IntArray, FloatArray, FloatArray, FloatArray, BoolArray]] = []
        self._rows: list[tuple[FloatArray, FloatArray]] = []
        self._terms: list[tuple[IntArray, IntArray, FloatArray]] = []
        self._net: list[tuple[IntArray, IntArray, FloatArray]] = []
        self._pairs: list[tuple[IntArray, IntArray]] = []
        self._column_count = self._row_count = 0

    def column(
        self,
        owner: IntArray,
        *,
        low: ArrayLike = 0.0,
        high: ArrayLike = np.inf,
        cost: ArrayLike = 0.0,
        integer: bool = False,
        name: str = "",
    ) -> IntArray:
        """New columns, one for every element of the broadcast arguments; their indices."""
        shape = np.broadcast_shapes(owner.shape, np.shape(low), np.shape(high), np.shape(cost))
        size = int(np.prod(shape, dtype=np.int64))
        index = np.arange(self._column_count, self._column_count + size, dtype=np.int64).reshape(shape)
        self._columns.append(
            (
                np.broadcast_to(owner, shape).ravel(),
                _floats(cost, shape),
                _floats(low, shape),
                _floats(high, shape),
                np.full(size, integer),
            )
        )
        self._column_count += size
        if name:
            self.places[name] = index
        return index

    def row(self, shape: tuple[int, ...], *, low: ArrayLike = -np.inf, high: ArrayLike = np.inf) -> IntArray:
        """New rows of this shape, low ≤ what is put into them ≤ high; their indices."""
        size = int(np.prod(shape, dtype=np.int64))
        index = np.arange(self._row_count, self._row_count + size, dtype=np.int64).reshape(shape)
        self._rows.append((_floats(low, shape), _floats(high, shape)))
        self._row_count += size
        return index

    def put(self, row: IntArray, column: IntArray, value: ArrayLike) -> None:
        """Add ``value`` x column to row; zeros leave no trace."""
        self._terms.append(_entries(row, column, value))

    def power(self, resource: IntArray, interval: IntArray, column: IntArray, value: ArrayLike) -> None:
        """Add ``value`` x column to the net power of a resource in an interval, kW."""
        self._net.append(_entries(resource * len(self.hours) + interval, column, value))

    def draws(self, resource: IntArray, column: IntArray, value: ArrayLike) -> None:
        """As ``power`` for columns (n, T) of n resources in all T intervals."""
        self.power(resource[:, None], np.arange(len(self.hours))[None, :], column, value)

    def never_both(self, first: IntArray, second: IntArray) -> None:
        """Note that of each pair of columns only one may be positive."""
        self._pairs.append((first.ravel(), second.ravel()))

    def after_horizon(self, column: IntArray, sign: float) -> None:
        """Note that these columns are kWh drawn (or, with sign -1, fed in) after the horizon."""
        self._late.append((column.ravel(), sign))

    def finish(self) -> ExplicitModel:
        """The model."""
        owner, cost, low, high, integer = (_joined(part) for part in _columns_of(self._columns))
        crossed = (low > high) & (low <= high + ROUNDING * np.maximum(1.0, np.abs(high)))
        low = np.where(crossed, high, low)
        row_low = _joined([part[0] for part in self._rows])
        row_high = _joined([part[1] for part in self._rows])
        late = np.zeros(self._column_count)
        for index, sign in self._late:
            late[index] = sign
        size = self.net_constant.size
        return ExplicitModel(
            resource_ids=self.resource_ids,
            hours=self.hours,
            cost=cost,
            low=low,
            high=high,
            is_integer=integer.astype(np.bool_),
            matrix=_matrix(self._terms, (self._row_count, self._column_count)),
            row_low=row_low,
            row_high=row_high,
            net=_matrix(self._net, (size, self._column_count)),
            net_constant=self.net_constant,
            owner=owner.astype(np.int64),
            late=late,
            first=_joined([pair[0] for pair in self._pairs]).astype(np.int64),
            second=_joined([pair[1] for pair in self._pairs]).astype(np.int64),
            places=self.places,
        )


def _floats(value: ArrayLike, shape: tuple[int, ...]) -> FloatArray:
    return np.broadcast_to(np.asarray(value, dtype=np.float64), shape).flatten()  # a copy: who wrote it may go on


def _entries(row: IntArray, column: IntArray, value: ArrayLike) -> tuple[IntArray, IntArray, FloatArray]:
    rows, columns, values = np.broadcast_arrays(row, column, np.asarray(value, dtype=np.float64))
    there = values.ravel() != 0
    return rows.ravel()[there], columns.ravel()[there], values.ravel()[there]


def _columns_of(parts: list[tuple[IntArray, FloatArray, FloatArray, FloatArray, BoolArray]]) -> list[list[NDArray]]:  # type: ignore[type-arg]
    return [[part[k] for part in parts] for k in range(5)]


def _joined(parts: list[NDArray]) -> NDArray:  # type: ignore[type-arg]
    return np.concatenate(parts) if parts else np.empty(0)


def _matrix(terms: list[tuple[IntArray, IntArray, FloatArray]], shape: tuple[int, int]) -> sparse.csr_matrix:
    rows = _joined([term[0] for term in terms]).astype(np.int64)
    columns = _joined([term[1] for term in terms]).astype(np.int64)
    values = _joined([term[2] for term in terms]).astype(np.float64)
    matrix = sparse.csr_matrix(sparse.coo_matrix((values, (rows, columns)), shape=shape))
    matrix.sort_indices()
    return matrix
