"""The Pyomo model as arrays: compiled once per structure, then only numbers change.

The compiler sees the given values as columns.  They are cut off into a matrix of their own, ``A_given``, so that the
rows read  lo ≤ A x + A_given θ ≤ hi  and new values θ cost one multiplication.  Rows with a single column become
bounds of that column.  Coefficients that are given (ρ, profiles, prices) are written over the places that their
blocks have noted.  Rows and binaries of ``lazy`` equations are marked, so that the solver may leave them out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyomo.environ as pyo
from numpy.typing import NDArray
from pyomo.repn.plugins.standard_form import LinearStandardFormCompiler
from scipy import sparse

from models.dispatch.problem import DispatchProblem
from models.dispatch.reference.city import build_city, given_city
from models.dispatch.reference.given import Given, Note
from models.dispatch.reference.structure import Entry, empty_charger
from models.intervals import FloatArray
from models.resources import ResourceKind

IntArray = NDArray[np.int64]
CITY = -1
"""Owner of what belongs to no resource."""


@dataclass(frozen=True)
class _Patch:
    """Where one block's coefficient of one name stands: ``target`` indices get ``base`` x value[``source``]."""

    name: str
    source: IntArray
    target: IntArray
    base: FloatArray


@dataclass
class Numbers:
    """The program with all given numbers in: minimise cost·x, row_low ≤ A x ≤ row_high, low ≤ x ≤ high."""

    cost: FloatArray
    low: FloatArray
    high: FloatArray
    row_low: FloatArray
    row_high: FloatArray
    values: FloatArray


class CompiledCity:
    """The arrays of one structure, and where everything stands in them.

    ``owner``, ``row_owner``: index of the entry that a column or row belongs to, ``CITY`` for shared ones.
    ``columns[i]``: name → column indices of the variables of entry i, shaped as in the block (−1 where unused).
    ``rows``: name of a coupling row's family (M1 ...) → row indices, shaped as in the model.
    """

    def __init__(self, problem: DispatchProblem, entries: list[Entry], baseline_kw: FloatArray) -> None:
        self.entries = entries
        model = build_city(problem, entries, baseline_kw, pattern=True)
        fixed = [var for var in model.component_data_objects(pyo.Var) if var.fixed]
        for var in fixed:
            var.unfix()
        form = LinearStandardFormCompiler().write(model, mixed_form=True)
        column = {id(var): k for k, var in enumerate(form.columns)}
        self._split(form, {id(var) for var in fixed})
        row = {id(entry.constraint): k for k, entry in enumerate(form.rows)}
        self._read_patches(model, column, row)
        self._read_places(model, column, row)
        self._find_bounds()

    # ---- compile

    def _split(self, form: Any, given: set[int]) -> None:
        """Cut the columns into variables and given values."""
        matrix = sparse.csr_matrix(form.A)
        matrix.sort_indices()
        is_given = np.array([id(var) in given for var in form.columns], dtype=bool)
        self._place = np.where(is_given, np.cumsum(is_given) - 1, np.cumsum(~is_given) - 1)
        self._is_given = is_given
        self._full = matrix
        self.a_given = sparse.csr_matrix(matrix[:, is_given])
        self.a = sparse.csr_matrix(matrix[:, ~is_given])
        self.a.sort_indices()
        variables = [var for var, known in zip(form.columns, is_given, strict=True) if not known]
        self.low = np.array([-np.inf if var.lb is None else var.lb for var in variables], dtype=np.float64)
        self.high = np.array([np.inf if var.ub is None else var.ub for var in variables], dtype=np.float64)
        self.integer = np.array([var.is_binary() for var in variables], dtype=bool)
        self.rhs = np.asarray(form.rhs, dtype=np.float64)
        self.sense = np.array([entry.bound_type for entry in form.rows], dtype=np.int64)
        self.cost = np.asarray(form.c.todense()).ravel()[~is_given]

    def _read_patches(self, model: Any, column: Mapping[int, int], row: Mapping[int, int]) -> None:
        """Turn the notes of all blocks into arrays of places."""
        count = self.a.shape[1]
        in_row = np.repeat(np.arange(self.a.shape[0]), np.diff(self.a.indptr))
        keys = in_row.astype(np.int64) * count + self.a.indices
        self._patches: dict[int, list[tuple[bool, _Patch]]] = {}
        noted: list[IntArray] = []
        blocks = [(CITY, model.city), *((i, model.resource[i]) for i in range(len(self.entries)))]
        for owner, block in blocks:
            by_name: dict[tuple[str, bool], list[Note]] = {}
            for item in block.notes:
                by_name.setdefault((item.name, item.row is None), []).append(item)
            for (name, in_cost), items in by_name.items():
                cols = np.array([self._place[column[id(item.variable)]] for item in items], dtype=np.int64)
                source = np.array([item.index for item in items], dtype=np.int64)
                if in_cost:
                    patch = _Patch(name, source, cols, self.cost[cols])
                else:
                    rows = np.array([row[id(item.row)] for item in items], dtype=np.int64)
                    target = np.searchsorted(keys, rows * count + cols)
                    patch = _Patch(name, source, target.astype(np.int64), self.a.data[target])
                    noted.append(rows)
                self._patches.setdefault(owner, []).append((in_cost, patch))
        self._noted_rows = np.unique(np.concatenate(noted)) if noted else np.empty(0, dtype=np.int64)

    def _read_places(self, model: Any, column: Mapping[int, int], row: Mapping[int, int]) -> None:
        """Find every variable, given value and coupling row by owner and name."""
        self.owner = np.full(self.a.shape[1], CITY, dtype=np.int64)
        self.row_owner = np.full(self.a.shape[0], CITY, dtype=np.int64)
        self.lazy_row = np.zeros(self.a.shape[0], dtype=bool)
        self.columns: list[dict[str, IntArray]] = []
        self._theta: dict[int, dict[str, IntArray]] = {}
        self.theta_size = self.a_given.shape[1]
        for i in range(len(self.entries)):
            block = model.resource[i]
            self.columns.append(self._read_block(i, block, column))
            for constraint in block.component_objects(pyo.Constraint):
                places = np.array([row[id(item)] for item in constraint.values() if id(item) in row], dtype=np.int64)
                self.row_owner[places] = i
                self.lazy_row[places] = constraint.local_name in block.lazy
        self.city = self._read_block(CITY, model.city, column)
        self.rows: dict[str, IntArray] = {}
        for constraint in model.city.component_objects(pyo.Constraint):
            self.rows[constraint.local_name] = np.array(
                [row.get(id(item), -1) for item in constraint.values()], dtype=np.int64
            )
        # A binary that stands in lazy rows only is lazy with them.
        stands = sparse.csr_matrix((np.ones_like(self.a.data), self.a.indices, self.a.indptr), shape=self.a.shape)
        elsewhere = np.asarray(stands[~self.lazy_row].sum(axis=0)).ravel() > 0
        inside = np.asarray(stands[self.lazy_row].sum(axis=0)).ravel() > 0
        self.lazy_column = inside & ~elsewhere
        self.net = np.array([places["net_kw"] for places in self.columns], dtype=np.int64)

    def _read_block(self, owner: int, block: Any, column: Mapping[int, int]) -> dict[str, IntArray]:
        found: dict[str, IntArray] = {}
        theta: dict[str, IntArray] = {}
        for component in block.component_objects(pyo.Var, descend_into=False):
            at = np.array([column.get(id(item), -1) for item in component.values()], dtype=np.int64)
            known = at >= 0
            places = np.where(known, self._place[at], -1)
            if known.any() and self._is_given[at[known]].all():
                theta[component.local_name] = places
            elif known.any():
                found[component.local_name] = places
                self.owner[places[known]] = owner
        self._theta[owner] = theta
        return found

    def _find_bounds(self) -> None:
        """Rows with one column and no given coefficient are bounds of that column."""
        counts = np.diff(self.a.indptr)
        single = counts == 1
        single[self._noted_rows] = False
        single[self.row_owner == CITY] = False
        self._bound_rows = np.flatnonzero(single)
        self._bound_columns = self.a.indices[self.a.indptr[self._bound_rows]]
        self._bound_factors = self.a.data[self.a.indptr[self._bound_rows]]
        self.kept_rows = np.flatnonzero(~single & (counts > 0))

    # ---- fill in

    def numbers(self, problem: DispatchProblem, entries: list[Entry], baseline_kw: FloatArray) -> Numbers:
        """All given numbers of a problem with this structure; ``entries`` in the order of ``self.entries``."""
        theta = np.zeros(self.theta_size)
        cost, values = self.cost.copy(), self.a.data.copy()
        self._fill(CITY, given_city(problem, entries, baseline_kw), theta, cost, values)
        for i, entry in enumerate(entries):
            writer = self.entries[i].writer
            self._fill(i, writer.given(entry.rows, problem), theta, cost, values)
        room = self.rhs - self.a_given @ theta
        row_low = np.where(self.sense == 1, -np.inf, room)
        row_high = np.where(self.sense == -1, np.inf, room)
        low, high = self.low.copy(), self.high.copy()
        self._apply_bounds(row_low, row_high, low, high)
        return Numbers(cost, low, high, row_low, row_high, values)

    def _fill(self, owner: int, given: Given, theta: FloatArray, cost: FloatArray, values: FloatArray) -> None:
        for name, places in self._theta[owner].items():
            array = np.asarray(given.values[name], dtype=np.float64).ravel()
            known = places >= 0
            theta[places[known]] = array[known]
        for in_cost, patch in self._patches.get(owner, ()):
            array = np.asarray(given.coefficients[patch.name], dtype=np.float64).ravel()
            if in_cost:
                cost[patch.target] = patch.base * array[patch.source]
            else:
                values[patch.target] = patch.base * array[patch.source]

    def _apply_bounds(self, row_low: FloatArray, row_high: FloatArray, low: FloatArray, high: FloatArray) -> None:
        at, factor = self._bound_columns, self._bound_factors
        below, above = row_low[self._bound_rows] / factor, row_high[self._bound_rows] / factor
        swapped = factor < 0
        below, above = np.where(swapped, above, below), np.where(swapped, below, above)
        np.maximum.at(low, at, below)
        np.minimum.at(high, at, above)
        # Bounds that cross by rounding meet.
        crossed = (low > high) & (low <= high + 1e-7 * np.maximum(1.0, np.abs(high)))
        low[crossed] = high[crossed]

    def entries_for(self, problem: DispatchProblem, wanted: Mapping[str, Entry]) -> list[Entry]:
        """The entries of a problem in this structure's order, chargers at which nobody is expected filled in."""
        filled = []
        for made in self.entries:
            entry = wanted.get(made.resource_id)
            if entry is None:
                entry = Entry(made.resource_id, made.kind, empty_charger(made, problem), made.writer, made.shape)
            filled.append(entry)
        return filled


def is_charger(entry: Entry) -> bool:
    """True for entries that a structure may have beyond a problem's needs."""
    return entry.kind is ResourceKind.EV_SESSION
