"""The master: which mix of the columns found so far is cheapest, and what each coupling row is then worth.

    minimise    Σ_s Σ_k cost_sk θ_sk + Σ_n penalty_n Δ_n slack_n
    subject to  Σ_k θ_sk = 1                                     for every shard s
                constant_n + Σ_s Σ_k value_nsk θ_sk ≤ slack_n    for every coupling row n that matters
                θ, slack ≥ 0

Zone rows enter when a mix violates them; columns that stay out for long leave.  Solved by HiGHS, warm.
Source: G. Dantzig, P. Wolfe, Operations Research 8 (1960) 101; M. Lübbecke, J. Desrosiers, Oper. Res. 53 (2005) 1007.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import highspy
import numpy as np
from numpy.typing import NDArray

from models.dispatch.fast.coupling import CouplingRows
from models.dispatch.fast.setting import IndexArray
from models.dispatch.fast.shards import Shard
from models.dispatch.fast.sweeps import Columns, Point
from models.errors import SolverError
from models.intervals import FloatArray

KEEP = 4
"""A column that was out of so many masters in a row, and dear, leaves."""
_BASIC, _LOWER = highspy.HighsBasisStatus.kBasic, highspy.HighsBasisStatus.kLower


@dataclass
class Pool:
    """All columns: shard, aggregate, cost, the point that they came from, and how long they have been out."""

    shard: IndexArray
    power_kw: FloatArray
    classed_kw: FloatArray
    cost_cny: FloatArray
    points: list[Point]
    noise: FloatArray
    idle: IndexArray
    basic: NDArray[np.bool_]

    @classmethod
    def empty(cls, intervals: int, classed: int) -> "Pool":
        nothing = np.empty(0, dtype=np.int64)
        return cls(
            nothing, np.empty((0, intervals)), np.empty((0, classed)), np.empty(0), [], np.empty(0), nothing.copy(),
            np.empty(0, dtype=np.bool_),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.shard)

    def add(self, shards: IndexArray, columns: Columns, points: Sequence[Point], noise: float) -> None:
        """Take in one column for each of ``shards`` (rows of ``columns`` in the same order)."""
        count = len(shards)
        self.shard = np.concatenate([self.shard, shards])
        self.power_kw = np.concatenate([self.power_kw, columns.power_kw])
        self.classed_kw = np.concatenate([self.classed_kw, columns.classed_kw])
        self.cost_cny = np.concatenate([self.cost_cny, columns.cost_cny])
        self.points += list(points)
        self.noise = np.concatenate([self.noise, np.full(count, noise)])
        self.idle = np.concatenate([self.idle, np.zeros(count, dtype=np.int64)])
        self.basic = np.concatenate([self.basic, np.zeros(count, dtype=np.bool_)])

    def keep(self, kept: NDArray[np.bool_]) -> None:
        """Let all others go."""
        for name in ("shard", "power_kw", "classed_kw", "cost_cny", "noise", "idle", "basic"):
            setattr(self, name, getattr(self, name)[kept])
        self.points = [point for point, stays in zip(self.points, kept, strict=True) if stays]


@dataclass(frozen=True)
class Mix:
    """An answer of the master: θ (columns,), λ (N,) CNY per kWh, row values (N,) and cost in CNY, slack included."""

    theta: FloatArray
    duals: FloatArray
    values: FloatArray
    cost_cny: float
    seconds: float
    simplex_iterations: int


@dataclass
class Master:
    """One linear program over a pool, warm from solve to solve.

    ``fixed_values``: (N,) and ``fixed_cost_cny``: what is decided already and in no column.
    """

    rows: CouplingRows
    shards: Sequence[Shard]
    pool: Pool
    unit_kw: float
    unit_cny: float
    fixed_values: FloatArray = field(init=False)
    fixed_cost_cny: float = 0.0
    active: NDArray[np.bool_] = field(init=False)
    row_basic: NDArray[np.bool_] = field(init=False)
    slack_basic: NDArray[np.bool_] = field(init=False)
    convex_basic: NDArray[np.bool_] = field(init=False)
    fresh: bool = True

    def __post_init__(self) -> None:
        count = len(self.rows.t)
        self.fixed_values = np.zeros(count)
        self.active = self.rows.zone < 0
        self.row_basic = np.ones(count, dtype=np.bool_)
        self.slack_basic = np.zeros(count, dtype=np.bool_)
        self.convex_basic = np.zeros(len(self.shards), dtype=np.bool_)
        self._zone_of = np.array([shard.zone for shard in self.shards], dtype=np.int64)
        self._classed = np.flatnonzero(self.rows.zone == -2)
        self._city = np.flatnonzero(self.rows.zone == -1)

    def values(self, theta: FloatArray) -> FloatArray:
        """Left side of every row, (N,), at the mix θ."""
        rows, pool = self.rows, self.pool
        zone_kw = np.zeros((rows.zones, rows.intervals))
        used = np.flatnonzero(theta)
        np.add.at(zone_kw, self._zone_of[pool.shard[used]], theta[used, None] * pool.power_kw[used])
        found = rows.constant + self.fixed_values
        local = rows.zone >= 0
        found[local] += zone_kw[rows.zone[local], rows.t[local]]
        found[self._city] += zone_kw.sum(axis=0)[rows.t[self._city]]
        found[self._classed] += theta[used] @ pool.classed_kw[used]
        return found

    def solve(self, until: float, rounds: int = 8) -> Mix:
        """The cheapest mix; zone rows that it violates are added, and it is solved again."""
        began, iterations = time.monotonic(), 0
        for _ in range(rounds):
            theta, duals, steps = self._solve_once(until)
            iterations += steps
            values = self.values(theta)
            missing = (values > 1e-6 * np.maximum(1.0, self.unit_kw)) & ~self.active
            if not missing.any():
                break
            # Their neighbours come along: what is pushed out of one interval lands in the next.
            self.active |= missing | ((values > -0.02 * self.unit_kw) & (self.rows.zone >= 0))
        slack = np.maximum(values, 0.0)
        cost = float(self.pool.cost_cny @ theta + (self.rows.penalty * self.rows.hours) @ slack) + self.fixed_cost_cny
        return Mix(theta, duals, values, cost, time.monotonic() - began, iterations)

    def _solve_once(self, until: float) -> tuple[FloatArray, FloatArray, int]:
        rows, pool, shards = self.rows, self.pool, len(self.shards)
        active = np.flatnonzero(self.active)
        lp = self._program(active)
        highs: Any = highspy.Highs()  # type: ignore[no-untyped-call]
        for option, value in (("output_flag", False), ("threads", 1), ("presolve", "off"), ("solver", "simplex")):
            highs.setOptionValue(option, value)
        highs.setOptionValue("time_limit", max(0.2, until - time.monotonic()))
        highs.setOptionValue("simplex_strategy", 4 if not self.fresh else 1)
        highs.passModel(lp)
        if not self.fresh:
            highs.setBasis(self._basis(active))
        highs.run()
        solution, status = highs.getSolution(), highs.getModelStatus()
        if not solution.value_valid:
            raise SolverError("failed", f"the master ended with {highs.modelStatusToString(status)}")
        x = np.asarray(solution.col_value)
        theta = np.maximum(x[: len(pool)], 0.0)
        total = np.bincount(pool.shard, weights=theta, minlength=shards)
        theta /= np.maximum(total, 1e-12)[pool.shard]
        duals = np.zeros(len(rows.t))
        if solution.dual_valid:
            row_dual = np.asarray(solution.row_dual)[shards:]
            duals[active] = np.clip(
                -row_dual * self.unit_cny / self.unit_kw / rows.hours[active], 0.0, rows.penalty[active]
            )
            self._reduced = np.asarray(solution.col_dual)[: len(pool)]
        self._remember(highs.getBasis(), active)
        return theta, duals, int(highs.getInfo().simplex_iteration_count)

    def _program(self, active: IndexArray) -> highspy.HighsLp:
        rows, pool, shards = self.rows, self.pool, len(self.shards)
        place = np.full(len(rows.t), -1, dtype=np.int64)
        place[active] = np.arange(len(active)) + shards
        indices, values, lengths = self._entries(active, place)
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = len(pool) + len(active), shards + len(active)
        lp.col_cost_ = np.concatenate(
            [pool.cost_cny / self.unit_cny, rows.penalty[active] * rows.hours[active] * self.unit_kw / self.unit_cny]
        )
        lp.col_lower_ = np.zeros(lp.num_col_)
        lp.col_upper_ = np.full(lp.num_col_, highspy.kHighsInf)
        constant = (rows.constant + self.fixed_values)[active] / self.unit_kw
        lp.row_lower_ = np.concatenate([np.ones(shards), np.full(len(active), -highspy.kHighsInf)])
        lp.row_upper_ = np.concatenate([np.ones(shards), -constant])
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
        order = np.argsort(self._zone_of[pool.shard], kind="stable")
        for z in range(rows.zones):
            members = order[self._zone_of[pool.shard[order]] == z]
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
            indices[:, 0] = pool.shard[members]
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

    def _basis(self, active: IndexArray) -> highspy.HighsBasis:
        basis = highspy.HighsBasis()
        columns = np.concatenate([self.pool.basic, self.slack_basic[active]])
        rows = np.concatenate([self.convex_basic, self.row_basic[active]])
        basis.col_status = [_BASIC if value else _LOWER for value in columns]
        upper = highspy.HighsBasisStatus.kUpper
        basis.row_status = [_BASIC if value else upper for value in rows]
        basis.valid = True
        return basis

    def _remember(self, basis: highspy.HighsBasis, active: IndexArray) -> None:
        columns = np.array([status == _BASIC for status in basis.col_status], dtype=np.bool_)
        rows = np.array([status == _BASIC for status in basis.row_status], dtype=np.bool_)
        if len(columns) != len(self.pool) + len(active):
            return
        self.pool.basic = columns[: len(self.pool)]
        self.slack_basic[active] = columns[len(self.pool) :]
        self.convex_basic = rows[: len(self.shards)]
        self.row_basic[active] = rows[len(self.shards) :]
        self.fresh = False

    def forget(self, mix: Mix) -> Mix:
        """Let columns go that have been out for long; the mix of those that stay."""
        pool = self.pool
        pool.idle = np.where(mix.theta > 1e-9, 0, pool.idle + 1)
        kept = (pool.idle < KEEP) | pool.basic | (mix.theta > 0)
        pool.keep(kept)
        return replace(mix, theta=mix.theta[kept])
