"""A fleet's model cut into its resources: each by itself at prices, for guesses of integers and bounds (Lagrange)."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from models.dispatch.fast.explicit.draft import ExplicitModel, IntArray
from models.dispatch.fast.explicit.program import ArrayProgram, Arrays
from models.intervals import FloatArray


@dataclass(frozen=True)
class UnitChoice:
    """What one resource does by itself: its columns, their values, and a lower bound of their cost."""

    columns: IntArray
    x: FloatArray
    bound: float


class Units:
    """The resources of one model, cut out one by one: no row of a model has columns of two resources."""

    def __init__(self, model: ExplicitModel) -> None:
        self.model = model
        count = len(model.resource_ids)
        filled = np.flatnonzero(np.diff(model.matrix.indptr) > 0)
        row_owner = model.owner[model.matrix.indices[model.matrix.indptr[filled]]]
        by_row = np.argsort(row_owner, kind="stable")
        self._rows = filled[by_row]
        self._row_first = np.searchsorted(row_owner[by_row], np.arange(count + 1))
        self._columns = np.argsort(model.owner, kind="stable")
        self._column_first = np.searchsorted(model.owner[self._columns], np.arange(count + 1))

    def columns_of(self, resource: int) -> IntArray:
        """Columns of one resource, by its place."""
        first, last = self._column_first[resource : resource + 2]
        return np.asarray(self._columns[first:last])

    def cheapest(self, resource: int, cost: FloatArray, *, until: float, within: float) -> UnitChoice:
        """The cheapest whole schedule of one resource at ``cost`` (n,) of the model's columns, ``within`` CNY."""
        model, columns = self.model, self.columns_of(resource)
        first, last = self._row_first[resource : resource + 2]
        rows = self._rows[first:last]
        arrays = Arrays(
            cost[columns],
            model.low[columns],
            model.high[columns],
            model.is_integer[columns],
            _cut(model.matrix, rows, columns),
            model.row_low[rows],
            model.row_high[rows],
        )
        found = ArrayProgram(arrays).solve(until=until, whole=True, absolute_gap=max(1e-6, within))
        return UnitChoice(columns, found.x, found.bound)


def _cut(matrix: sparse.csr_matrix, rows: IntArray, columns: IntArray) -> sparse.csr_matrix:
    """The rows, all of whose columns are among ``columns`` (rising)."""
    part = matrix[rows]
    indices = np.searchsorted(columns, part.indices)
    return sparse.csr_matrix((part.data, indices, part.indptr), shape=(len(rows), len(columns)))
