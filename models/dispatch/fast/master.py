"""The master: which mix of the columns found so far is cheapest, and what each coupling row is then worth.

    minimise    Σ_s Σ_k cost_sk θ_sk + Σ_n penalty_n Δ_n slack_n
    subject to  Σ_k θ_sk = 1                                     for every group s of rows of the fleet
                constant_n + Σ_s Σ_k value_nsk θ_sk ≤ slack_n    for every coupling row n that matters
                θ, slack ≥ 0

``central``: an answer from the middle of all good ones, for prices (``interior``).  ``corner``: one with few columns
in use, for handing out (HiGHS).  Rows enter when a mix violates them.

Source: G. Dantzig, P. Wolfe, Operations Research 8 (1960) 101; M. Lübbecke, J. Desrosiers, Oper. Res. 53 (2005) 1007.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import highspy
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.dispatch.fast import interior
from models.dispatch.fast.coupling import CouplingRows
from models.dispatch.fast.setting import IndexArray
from models.dispatch.fast.sweeps import Columns, Point
from models.dispatch.highs_runs import run
from models.dispatch.solve_clock import look, stopwatch
from models.errors import DeadlineError, SolverError
from models.intervals import FloatArray

_INSIDE = 0.2
"""A row whose value is above minus this share of what is large for it (``size_kw``) is in the next master."""


@dataclass
class Pool:
    """All columns: the group of rows, what it does together, its cost, and the point it was asked at."""

    group: IndexArray
    power_kw: FloatArray
    classed_kw: FloatArray
    cost_cny: FloatArray
    points: list[Point]

    @classmethod
    def empty(cls, intervals: int, classed: int) -> "Pool":
        nothing = np.empty(0, dtype=np.int64)
        return cls(nothing, np.empty((0, intervals)), np.empty((0, classed)), np.empty(0), [])

    def __len__(self) -> int:
        return len(self.group)

    def add(self, groups: IndexArray, columns: Columns, points: Sequence[Point]) -> None:
        """Take in one column for each of ``groups`` (rows of ``columns`` in the same order)."""
        self.take(Pool(groups, columns.power_kw, columns.classed_kw, columns.cost_cny, list(points)))

    @property
    def columns(self) -> Columns:
        """What they do, without names."""
        return Columns(self.power_kw, self.classed_kw, np.zeros(len(self)), self.cost_cny)

    def replace(self, columns: Columns) -> None:
        """Let every column do something else."""
        self.power_kw, self.classed_kw, self.cost_cny = columns.power_kw, columns.classed_kw, columns.cost_cny

    def take(self, other: "Pool") -> None:
        """Take in other columns of the same groups."""
        self.group = np.concatenate([self.group, other.group])
        self.power_kw = np.concatenate([self.power_kw, other.power_kw])
        self.classed_kw = np.concatenate([self.classed_kw, other.classed_kw])
        self.cost_cny = np.concatenate([self.cost_cny, other.cost_cny])
        self.points = [*self.points, *other.points]

    def chosen(self, which: NDArray[np.bool_]) -> "Pool":
        """Some of the columns."""
        points = [point for point, stays in zip(self.points, which, strict=True) if stays]
        group, cost_cny = self.group[which], self.cost_cny[which]
        return Pool(group, self.power_kw[which], self.classed_kw[which], cost_cny, points)

    def mixed(self, theta: FloatArray, groups: int) -> "Pool":
        """What each of the groups does in the mix θ (columns,), as one column; no single point stands behind it."""
        weights = sparse.csr_array((theta, (self.group, np.arange(len(self)))), shape=(groups, len(self)))
        power_kw, classed_kw, cost_cny = (weights @ each for each in (self.power_kw, self.classed_kw, self.cost_cny))
        nowhere = Point(np.empty(0), np.empty((0, 0)))
        return Pool(np.arange(groups), power_kw, classed_kw, cost_cny, [nowhere] * groups)

    def none(self) -> "Pool":
        """No column."""
        return self.chosen(np.zeros(len(self), dtype=np.bool_))

    def of(self, place: IndexArray) -> "Pool":
        """The columns of some groups, renumbered: ``place`` (G,) is a group's new number, −1 if it stays out."""
        made = self.chosen(place[self.group] >= 0)
        made.group = place[made.group]
        return made

    def times(self, ratio: FloatArray) -> "Pool":
        """The same columns of groups that are ``ratio`` (G,) times as large."""
        each = ratio[self.group]
        power_kw, classed_kw = self.power_kw * each[:, None], self.classed_kw * each[:, None]
        return Pool(self.group, power_kw, classed_kw, self.cost_cny * each, list(self.points))


def size_kw(rows: CouplingRows, zone_of_group: IndexArray, pool: Pool) -> FloatArray:
    """What is large for a row, (N,) kW: what its zone draws; a tenth of a target, or of the city."""
    share = len(zone_of_group) / max(1, len(pool)) / rows.intervals
    size = share * np.bincount(
        zone_of_group[pool.group], weights=np.abs(pool.power_kw).sum(axis=1), minlength=rows.zones
    )
    found = np.full(len(rows.t), 0.1 * size.sum())
    local, classed = rows.zone >= 0, rows.zone == -2
    found[local] = size[rows.zone[local]]
    largest = np.zeros(len(rows.families))
    np.maximum.at(largest, rows.family, np.abs(rows.constant))
    found[classed] = 0.1 * largest[rows.family[classed]]
    return np.asarray(np.maximum(found, 1e-6))


@dataclass(frozen=True)
class Mix:
    """An answer of the master: θ (columns,), λ (N,) CNY per kWh, row values (N,) and cost in CNY, slack included.

    ``reduced``: (columns,) reduced costs, CNY, of a central answer.  ``model_cny``: its dual's value without the
    proximal term: what L(λ) could be as far as the columns know.
    """

    theta: FloatArray
    duals: FloatArray
    values: FloatArray
    cost_cny: float
    seconds: float
    steps: int
    reduced: FloatArray = field(default_factory=lambda: np.empty(0))
    model_cny: float = 0.0


@dataclass
class Master:
    """One linear program over a pool.

    ``zone_of_group``: (G,).  ``fixed_values``: (N,) and ``fixed_cost_cny``: what is decided already and in no column.
    ``active``: (N,) rows that are in the program; others enter when a mix violates them.  At first those that matter
    where every group does a bit of all it can.
    """

    rows: CouplingRows
    zone_of_group: IndexArray
    pool: Pool
    fixed_values: FloatArray
    fixed_cost_cny: float
    active: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        rows, pool = self.rows, self.pool
        power = np.abs(pool.power_kw).sum(axis=1)
        self.unit_kw = max(1.0, float(power.sum()) / max(1, len(power)) / rows.intervals)
        self.unit_cny = max(1.0, float(np.abs(pool.cost_cny).mean()))
        self._classed = np.flatnonzero(rows.zone == -2)
        self._city = np.flatnonzero(rows.zone == -1)
        even = 1.0 / np.bincount(pool.group, minlength=len(self.zone_of_group))[pool.group]
        self.active = self.near(self.values(np.asarray(even)))

    @property
    def residual_kw(self) -> float:
        """By so much a central mix may miss a row, kW: the interior method is no more exact."""
        return interior.FEASIBLE * self.unit_kw

    def near(self, values: FloatArray) -> NDArray[np.bool_]:
        """Rows (N,) that matter, or nearly, where they have these ``values`` (N,)."""
        return np.asarray(values > -_INSIDE * size_kw(self.rows, self.zone_of_group, self.pool))

    def values(self, theta: FloatArray) -> FloatArray:
        """Left side of every row, (N,), at the mix θ."""
        rows, pool = self.rows, self.pool
        zone_of = self.zone_of_group[pool.group]
        weights = sparse.csr_array((theta, (zone_of, np.arange(len(pool)))), shape=(rows.zones, len(pool)))
        return rows.constant + self.fixed_values + rows.effect(weights @ pool.power_kw, theta @ pool.classed_kw)

    def central(
        self,
        price: FloatArray,
        start: FloatArray,
        *,
        tolerance_cny: float,
        center: FloatArray | None = None,
        give_kw: FloatArray | None = None,
        run: Callable[..., Iterator[Any]] = map,
    ) -> Mix:
        """A central mix at slacks' ``price`` (N,) CNY per kWh, to ``tolerance_cny``, from duals ``start`` (N,).

        ``center``: (N,) duals to stay near to; ``give_kw``: (N,) by how much a row gives way for each CNY per kWh that
        its λ is off the centre.  ``run``: like ``map``, for the zones.
        """
        began, rows, pool = stopwatch(), self.rows, self.pool
        middle = np.zeros(len(rows.t)) if center is None else center
        give = np.zeros(len(rows.t)) if give_kw is None else give_kw
        scale = rows.hours * self.unit_kw / self.unit_cny
        limit = -(rows.constant + self.fixed_values) / self.unit_kw
        penalty = np.maximum(price, 1e-9 * max(1.0, float(price.max(initial=0.0)))) * scale
        shared = np.concatenate([self._city, self._classed])
        shared = shared[self.active[shared]]
        classed = np.flatnonzero(self.active[self._classed])
        city_t = rows.t[shared[rows.zone[shared] == -1]]

        def ends(at: IndexArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
            return limit[at], penalty[at], middle[at] * scale[at], give[at] / self.unit_kw / scale[at]

        blocks, members_of, locals_of = [], [], []
        zone_of = self.zone_of_group[pool.group]
        for zone in np.unique(self.zone_of_group).tolist():
            members = np.flatnonzero(zone_of == zone)
            members = members[np.argsort(pool.group[members], kind="stable")]
            _, group = np.unique(pool.group[members], return_inverse=True)
            local = np.flatnonzero((rows.zone == zone) & self.active)
            power = pool.power_kw[members] / self.unit_kw
            entries = np.concatenate(
                [
                    power[:, rows.t[local]],
                    power[:, city_t],
                    pool.classed_kw[members][:, classed] / self.unit_kw,
                ],
                axis=1,
                dtype=np.float64,
            )
            blocks.append(interior.Block(entries, pool.cost_cny[members] / self.unit_cny, group, *ends(local)))
            members_of.append(members)
            locals_of.append(local)
        found = interior.solve_interior(
            blocks,
            interior.Rows(*ends(shared)),
            [(start * scale)[local] for local in locals_of],
            (start * scale)[shared],
            tolerance_cny / self.unit_cny,
            run,
        )
        x, reduced, duals = np.zeros(len(pool)), np.zeros(len(pool)), np.zeros(len(rows.t))
        for z, (members, local) in enumerate(zip(members_of, locals_of, strict=True)):
            x[members], reduced[members] = found.theta[z], found.reduced[z]
            duals[local] = found.local[z]
        duals[shared] = found.shared
        theta = self._theta(x)
        values = self.values(theta)
        self.active |= values > 1e-6 * max(1.0, self.unit_kw)
        return Mix(
            theta,
            np.clip(duals / scale, 0.0, rows.penalty),
            values,
            self._cost(theta, values),
            stopwatch() - began,
            found.steps,
            reduced * self.unit_cny,
            found.bound * self.unit_cny + self.fixed_cost_cny,
        )

    def _cost(self, theta: FloatArray, values: FloatArray) -> float:
        slack = np.maximum(values, 0.0)
        weight = self.rows.penalty * self.rows.hours
        return float(self.pool.cost_cny @ theta + weight @ slack) + self.fixed_cost_cny

    def corner(self, until: float = math.inf, rounds: int = 8) -> Mix | None:
        """The cheapest mix with few columns in use; zone rows that it violates are added, and it is solved again.

        None if there was no time ``until`` then (``look``).  Raises ``SolverError`` if HiGHS fails.
        """
        began, iterations = stopwatch(), 0
        price = self.rows.penalty
        self.active |= self.rows.zone < 0
        order = np.flatnonzero(self.active)
        highs: Any = highspy.Highs()  # type: ignore[no-untyped-call]
        # An interior method first: it does not mind how many columns there are; then the simplex method, warm.
        for option, value in (("output_flag", False), ("threads", 1), ("presolve", "on"), ("solver", "ipm")):
            highs.setOptionValue(option, value)
        highs.passModel(self._program(order, price))
        for _ in range(rounds):
            try:
                run(highs, "corner", until - look("corner"))
            except DeadlineError:
                return None
            solution, status = highs.getSolution(), highs.getModelStatus()
            if not solution.value_valid:
                raise SolverError("failed", f"the master ended with {highs.modelStatusToString(status)}")
            iterations += int(highs.getInfo().simplex_iteration_count)
            theta = self._theta(np.asarray(solution.col_value))
            values = self.values(theta)
            missing = (values > 1e-6 * max(1.0, self.unit_kw)) & ~self.active
            if not missing.any():
                break
            entering = np.flatnonzero(missing)
            self._let_in(highs, entering, price)
            order = np.concatenate([order, entering])
            self.active |= missing
        duals = np.zeros(len(self.rows.t))
        if solution.dual_valid:
            row_dual = np.asarray(solution.row_dual)[len(self.zone_of_group) :][: len(order)]
            scaled = -row_dual * self.unit_cny / self.unit_kw / self.rows.hours[order[: len(row_dual)]]
            duals[order[: len(row_dual)]] = np.clip(scaled, 0.0, self.rows.penalty[order[: len(row_dual)]])
        reduced = np.asarray(solution.col_dual)[: len(self.pool)] * self.unit_cny
        return Mix(theta, duals, values, self._cost(theta, values), stopwatch() - began, iterations, reduced)

    def _theta(self, x: FloatArray) -> FloatArray:
        theta = np.maximum(x[: len(self.pool)], 0.0)
        total = np.bincount(self.pool.group, weights=theta, minlength=len(self.zone_of_group))
        return np.asarray(theta / np.maximum(total, 1e-12)[self.pool.group])

    def _let_in(self, highs: Any, entering: IndexArray, price: FloatArray) -> None:
        """Add rows with their slacks to the program that HiGHS holds, which stays warm."""
        rows, pool = self.rows, self.pool
        first = highs.getNumCol()
        for k, n in enumerate(entering.tolist()):
            cost = price[n] * rows.hours[n] * self.unit_kw / self.unit_cny
            highs.addCol(cost, 0.0, highspy.kHighsInf, 0, np.empty(0, np.int32), np.empty(0))
            members = np.flatnonzero(self.zone_of_group[pool.group] == rows.zone[n])
            power = pool.power_kw[members, rows.t[n]] / self.unit_kw
            index = np.concatenate([members, [first + k]]).astype(np.int32)
            value = np.concatenate([power, [-1.0]])
            upper = -(rows.constant[n] + self.fixed_values[n]) / self.unit_kw
            highs.addRow(-highspy.kHighsInf, upper, len(index), index, value)
        highs.setOptionValue("solver", "simplex")

    def _program(self, active: IndexArray, price: FloatArray) -> highspy.HighsLp:
        rows, pool, groups = self.rows, self.pool, len(self.zone_of_group)
        place = np.full(len(rows.t), -1, dtype=np.int64)
        place[active] = np.arange(len(active)) + groups
        indices, values, lengths = self._entries(active, place)
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = len(pool) + len(active), groups + len(active)
        slack_cost = price[active] * rows.hours[active] * self.unit_kw / self.unit_cny
        lp.col_cost_ = np.concatenate([pool.cost_cny / self.unit_cny, slack_cost])
        lp.col_lower_ = np.zeros(lp.num_col_)
        lp.col_upper_ = np.full(lp.num_col_, highspy.kHighsInf)
        constant = (rows.constant + self.fixed_values)[active] / self.unit_kw
        lp.row_lower_ = np.concatenate([np.ones(groups), np.full(len(active), -highspy.kHighsInf)])
        lp.row_upper_ = np.concatenate([np.ones(groups), -constant])
        lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        lp.a_matrix_.start_ = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        lp.a_matrix_.index_ = indices.astype(np.int32)
        lp.a_matrix_.value_ = values
        return lp

    def _entries(self, active: IndexArray, place: IndexArray) -> tuple[IndexArray, FloatArray, IndexArray]:
        """The columns' entries, column by column: convexity, zone rows, city rows, rows over classes; then slacks."""
        rows, pool = self.rows, self.pool
        zone_rows: list[tuple[IndexArray, IndexArray]] = []
        for z in range(rows.zones):
            local = active[rows.zone[active] == z]
            zone_rows.append((place[local], rows.t[local]))
        city = active[rows.zone[active] == -1]
        classed = np.flatnonzero(self.active[self._classed])
        classed_place = place[self._classed[classed]]
        index_parts, value_parts = [], []
        lengths = np.empty(len(pool), dtype=np.int64)
        order = np.argsort(self.zone_of_group[pool.group], kind="stable")
        for z in range(rows.zones):
            members = order[self.zone_of_group[pool.group[order]] == z]
            if not members.size:
                continue
            where, t = zone_rows[z]
            index = np.concatenate([np.zeros(1, np.int64), where, place[city], classed_place])
            block = np.empty((len(members), len(index)))
            block[:, 0] = 1.0
            scaled = 1 / self.unit_kw
            block[:, 1 : 1 + len(t)] = pool.power_kw[np.ix_(members, t)] * scaled
            block[:, 1 + len(t) : 1 + len(t) + len(city)] = pool.power_kw[np.ix_(members, rows.t[city])] * scaled
            block[:, 1 + len(t) + len(city) :] = pool.classed_kw[np.ix_(members, classed)] * scaled
            indices = np.repeat(index[None, :], len(members), axis=0)
            indices[:, 0] = pool.group[members]
            index_parts.append((members, indices))
            value_parts.append(block)
            lengths[members] = len(index)
        starts = np.concatenate([[0], np.cumsum(lengths)])
        total = int(starts[-1])
        all_index, all_value = np.empty(total, dtype=np.int64), np.empty(total)
        for (members, indices), block in zip(index_parts, value_parts, strict=True):
            at = starts[members][:, None] + np.arange(block.shape[1])
            all_index[at], all_value[at] = indices, block
        keep = all_value != 0.0
        owner = np.repeat(np.arange(len(pool)), lengths)
        lengths = np.bincount(owner[keep], minlength=len(pool)) if len(pool) else lengths
        return (
            np.concatenate([all_index[keep], place[active]]),
            np.concatenate([all_value[keep], np.full(len(active), -1.0)]),
            np.concatenate([lengths, np.ones(len(active), dtype=np.int64)]),
        )
