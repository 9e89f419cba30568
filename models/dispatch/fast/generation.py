"""Column generation: sweeps and masters in turn, until what is promised and what is proven lie close together.

*Steering.*  In a sweep the shards of a zone are asked one after the other, and after each turn the duals move by what
the answers add to the rows, as if the rest would answer as it did before:

    λ ← clip(λ + η (new answer − last answer of the same shard + value of the rows before / turns))

The sum of these steps over a sweep is η times the rows' values after it: so while λ stays where it was, the rows are
met.  A sweep gives every shard a column at a point of its own, and all these columns *together* nearly meet all rows
at nearly the cost of the bound; what is missing is of the size of one shard in many.  (An incremental subgradient
method whose sum of answers is the primal solution.)  The master then needs few columns.  Its slacks are cheaper at
first, so that its duals stay near while columns are missing.

*Bound.*  A sweep at one point for all gives

    L(λ) = Σ least cost at tariff + duals  +  Σ_n Δ_n λ_n constant_n        (0 ≤ λ_n ≤ penalty_n)

Source: A. Nedić, D. Bertsekas, SIAM J. Optim. 12 (2001) 109 (incremental subgradients); T. Larsson, M. Patriksson,
A.-B. Strömberg, Math. Program. 86 (1999) 283 (ergodic primal solutions); A. Geoffrion, Math. Program. Study 2 (1974) 82
(the bound); A. Pessoa et al., INFORMS J. Comput. 30 (2018) 339 (points between centre and master).
"""

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from models.dispatch.fast.certificate import Bound, bound_of
from models.dispatch.fast.coupling import CouplingRows
from models.dispatch.fast.master import Master, Mix, Pool
from models.dispatch.fast.setting import IndexArray
from models.dispatch.fast.shards import Cut
from models.dispatch.fast.sweeps import Columns, Point, Sweeper
from models.errors import DeadlineError
from models.intervals import FloatArray

_SEED = 11
_FIRST_S = 30.0
"""The first mix may take so many seconds whatever the deadline: without it there is no plan."""
_MEMORY = 0.5
"""Weight of the last answer in what is expected of a shard."""
_LAST = 3
"""Steered sweeps whose mean λ counts."""
_PIECES = 4
"""Pieces of work of one turn."""
_BOUND_EVERY = 3
"""Masters between two looks for a better bound; fewer rows than ``_FEW_ROWS`` are asked every time."""
_FEW_ROWS = 20_000
_STALLED = 6
"""Masters without a better gap, after which more of the same will not help."""
_NEAR = 0.02
"""A row this near to its limit, relative to what moves in it, is in the master from the start."""


@dataclass(frozen=True)
class Fixed:
    """What is handed out already: what it does to every row, (N,), and its cost, CNY."""

    values: FloatArray
    cost_cny: float


@dataclass
class Progress:
    """Where the search is: the best mix, the best bound with its duals, and how it went."""

    mix: Mix
    bound: Bound
    passes: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    def gap(self, scale_of: Callable[[float], float]) -> float:
        """Relative gap of the mix."""
        return max(0.0, self.mix.cost_cny - self.bound.value_cny) / scale_of(self.mix.cost_cny)


class Generator:
    """Column generation over a cut of the fleet."""

    def __init__(
        self,
        rows: CouplingRows,
        cut: Cut,
        sweeper: Sweeper,
        *,
        scale_of: Callable[[float], float],
        noise: float,
        tell: Callable[[str], None] = lambda _: None,
        fixed: Fixed | None = None,
    ) -> None:
        self.rows, self.cut, self.sweeper = rows, cut, sweeper
        self.scale_of, self.noise, self.tell = scale_of, noise, tell
        self.fixed = Fixed(np.zeros(len(rows.t)), 0.0) if fixed is None else fixed
        self.pool = Pool.empty(rows.intervals, int((rows.zone == -2).sum()))
        self._zone_of = np.array([shard.zone for shard in cut.shards], dtype=np.int64)
        self._first_of_group = np.searchsorted(cut.group, np.arange(cut.groups))
        self._turns = [np.flatnonzero(cut.turn == turn) for turn in range(int(cut.turn.max()) + 1)]
        self.master: Master | None = None
        self.seconds = {"sweeps": 0.0, "master": 0.0}
        self.passes = 0
        self._last: Columns | None = None
        self._mix: Mix | None = None
        self._mean: Columns | None = None
        self.near: NDArray[np.bool_] | None = None
        self._dice = np.random.default_rng(_SEED)
        self._local = rows.zone >= 0
        self._city = rows.zone == -1
        self._classed = rows.zone == -2

    # ---- sweeps

    def values(self, columns: Columns) -> FloatArray:
        """Left side of every row, (N,), if every shard does this."""
        zone_kw = np.zeros((self.rows.zones, self.rows.intervals))
        np.add.at(zone_kw, self._zone_of, columns.power_kw)
        return self.rows.constant + self.fixed.values + self._effect(zone_kw, columns.classed_kw.sum(axis=0))

    def _effect(self, zone_kw: FloatArray, classed_kw: FloatArray) -> FloatArray:
        rows = self.rows
        found = np.empty(len(rows.t))
        found[self._local] = zone_kw[rows.zone[self._local], rows.t[self._local]]
        found[self._city] = zone_kw.sum(axis=0)[rows.t[self._city]]
        found[self._classed] = classed_kw
        return found

    def take(self, columns: Columns, points: Sequence[Point]) -> None:
        """A sweep's answers into the pool, one column for every group."""
        first = self._first_of_group
        kw = columns.classed_kw
        classed = np.add.reduceat(kw, first, axis=0) if kw.size else kw
        grouped = Columns(
            np.add.reduceat(columns.power_kw, first, axis=0),
            classed if classed.size else np.empty((len(first), 0)),
            np.add.reduceat(columns.least_cny, first),
            np.add.reduceat(columns.cost_cny, first),
        )
        edges = [*first.tolist(), len(points)]
        sets = [tuple(points[low:high]) for low, high in itertools.pairwise(edges)]
        self.pool.add(np.arange(len(first)), grouped, sets)

    def at(self, duals: FloatArray, noise: float) -> Columns:
        """Everybody at one point: their columns."""
        began = time.monotonic()
        of_zone = self.sweeper.points(duals, noise)
        points = [of_zone[zone] for zone in self._zone_of]
        columns = self.sweeper.sweep(self.cut.shards, points)
        self.take(columns, points)
        self.passes += 1
        self.seconds["sweeps"] += time.monotonic() - began
        return columns

    def bound_at(self, duals: FloatArray) -> Bound:
        """L(λ); needs a cut of the whole fleet."""
        columns = self.at(duals, 0.0)
        return bound_of(self.rows, columns, duals, self.sweeper.blocks, self.sweeper)

    def steer(self, duals: FloatArray, gain: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """A steered sweep from λ ``duals`` with η ``gain`` (N,); the last λ, the mean λ, the rows' values."""
        began = time.monotonic()
        rows, last = self.rows, self._last
        assert last is not None  # noqa: S101 - somebody has answered before
        expected = self._expected(last)
        drift = self.values(expected) / len(self._turns)
        mean = np.zeros_like(drift)
        points: list[Point | None] = [None] * len(self.cut.shards)
        for turn in self._dice.permutation(len(self._turns)):
            members = self._turns[turn]
            mean += duals / len(self._turns)
            of_zone = self.sweeper.points(duals, self.noise)
            own = [of_zone[zone] for zone in self._zone_of[members]]
            answer = self.sweeper.sweep([self.cut.shards[s] for s in members], own, pieces=_PIECES)
            change = np.zeros((rows.zones, rows.intervals))
            np.add.at(change, self._zone_of[members], answer.power_kw - expected.power_kw[members])
            moved = self._effect(change, (answer.classed_kw - expected.classed_kw[members]).sum(axis=0))
            duals = rows.netted(np.clip(duals + gain * (moved + drift), 0.0, rows.penalty))
            for s, point in zip(members.tolist(), own, strict=True):
                points[s] = point
            for name in ("power_kw", "classed_kw", "least_cny", "cost_cny"):
                getattr(last, name)[members] = getattr(answer, name)
        self.take(last, [point for point in points if point is not None])
        self.passes += 1
        self.seconds["sweeps"] += time.monotonic() - began
        return duals, mean, self.values(last)

    def between(self, center: FloatArray, outside: FloatArray) -> None:
        """A sweep in which every shard is asked a random step from ``center`` towards ``outside``."""
        began = time.monotonic()
        inner, outer = self.sweeper.points(center, self.noise), self.sweeper.points(outside, self.noise)
        steps = self._dice.random(len(self.cut.shards))
        points = [_step(inner[z], outer[z], u) for z, u in zip(self._zone_of, steps, strict=True)]
        self.take(self.sweeper.sweep(self.cut.shards, points), points)
        self.passes += 1
        self.seconds["sweeps"] += time.monotonic() - began

    def _expected(self, last: Columns) -> Columns:
        """What every shard is expected to answer: the mean of its answers, late ones weighing more.

        The last answer alone would be an echo: who was asked when prices were high would seem to give way for good.
        """
        if self._mean is None:
            self._mean = Columns(
                *(values.copy() for values in (last.power_kw, last.classed_kw, last.least_cny, last.cost_cny))
            )
        else:
            for known, values in ((self._mean.power_kw, last.power_kw), (self._mean.classed_kw, last.classed_kw)):
                known[:] += _MEMORY * (values - known)
        return self._mean

    def solve_master(self, until: float, ceiling: FloatArray) -> Mix:
        """The cheapest mix of all columns so far, with slacks that cost at most ``ceiling`` (N,) CNY per kWh."""
        if self.master is None:
            power = np.abs(self.pool.power_kw).sum(axis=1)
            zone_of_group = self._zone_of[self._first_of_group]
            self.master = Master(
                self.rows,
                zone_of_group,
                self.pool,
                unit_kw=max(1.0, float(power.sum()) / max(1, len(power)) / self.rows.intervals),
                unit_cny=max(1.0, float(np.abs(self.pool.cost_cny).mean())),
            )
            self.master.fixed_values, self.master.fixed_cost_cny = self.fixed.values, self.fixed.cost_cny
            if self.near is not None:
                self.master.active |= self.near
            elif self._last is not None:
                self.master.active |= self.values(self._last) > -_NEAR / self._scale_of_gain()
        asked = time.monotonic()
        found = self.master.solve(until if self._mix is not None else max(until, asked + _FIRST_S), ceiling)
        self.seconds["master"] += time.monotonic() - asked
        if found is not None:
            self._mix = self.master.forget(found)
        elif self._mix is None:
            raise DeadlineError(until - asked)
        else:  # columns that came since are in no mix
            missing = len(self.pool) - len(self._mix.theta)
            self._mix = replace(self._mix, theta=np.concatenate([self._mix.theta, np.zeros(missing)]))
        return self._mix

    def _scale_of_gain(self) -> FloatArray:
        """1 / kW by which a row's value is large, (N,): what its zone draws; a tenth of a target, or of the city."""
        last = self._last
        assert last is not None  # noqa: S101 - somebody has answered before
        rows = self.rows
        zone_kw = np.zeros((rows.zones, rows.intervals))
        np.add.at(zone_kw, self._zone_of, np.abs(last.power_kw))
        size = zone_kw.mean(axis=1)
        found = np.empty(len(rows.t))
        found[self._local] = size[rows.zone[self._local]]
        found[self._city] = 0.1 * size.sum()
        largest = np.zeros(len(rows.families))
        np.maximum.at(largest, rows.family, np.abs(rows.constant))
        found[self._classed] = 0.1 * largest[rows.family[self._classed]]
        return np.asarray(1.0 / np.maximum(found, 1e-6))

    # ---- the search

    def stand_for(self, whole: "Generator") -> None:
        """Correct a sample by what it misses of the whole fleet when no row has a price.

        What its devices do about prices is then all that the sample must be fair about (a control variate).
        """
        zero = np.zeros(len(self.rows.t))
        theirs, ours = whole.at(zero, 0.0), self.at(zero, 0.0)
        self.fixed = Fixed(self.fixed.values + whole.values(theirs) - self.values(ours), self.fixed.cost_cny)

    def find_duals(self, start: FloatArray, schedule: Sequence[float], until: float) -> FloatArray:
        """λ by steering alone, from ``start``, with falling gains."""
        self._last = self.at(start, self.noise)
        unit = self._scale_of_gain()
        duals, means = start, [start]
        for price in schedule:
            duals, mean, values = self.steer(duals, price * unit)
            means = [*means, mean][-_LAST:]
            self.tell(f"steered at {price:g}: slacks would cost {rows_cost(self.rows, values):.6g}")
            if time.monotonic() > until:
                break
        return self.rows.netted(np.asarray(np.mean(means, axis=0)))

    def run(self, start: FloatArray, schedule: Sequence[float], *, until: float, gap: float, rounds: int) -> Progress:
        """Steer from the duals ``start``, then mix, until the gap is met, the time is up or the rounds are over."""
        center = self.find_duals(start, schedule, until)
        best = self.bound_at(center)
        rows = sum(len(shard) for shard in self.cut.shards)
        every = 1 if rows <= _FEW_ROWS else _BOUND_EVERY
        last_gap, stalled = np.inf, 0
        for k in range(rounds):
            mix = self.solve_master(until, _ceiling(center, self.rows.penalty))
            now = (mix.cost_cny - best.value_cny) / self.scale_of(mix.cost_cny)
            self.tell(
                f"pass {self.passes}: mix {mix.cost_cny:.9g}, bound {best.value_cny:.9g}, gap {now:.3g}, slacks "
                f"{rows_cost(self.rows, mix.values):.4g}, master {mix.seconds:.2f} s, {len(self.pool)} columns"
            )
            stalled = stalled + 1 if now > 0.98 * last_gap else 0
            last_gap = min(last_gap, now)
            if now <= gap or time.monotonic() > until or stalled >= _STALLED:
                break
            if k % every == every - 1:
                trial = self.rows.netted(center + (0.3 if k % 2 else 0.7) * (mix.duals - center))
                found = self.bound_at(trial)
                if found.value_cny > best.value_cny:
                    best, center = found, trial
            self.between(center, mix.duals)
        return Progress(mix, best, self.passes, dict(self.seconds))

    def restricted(self, groups: IndexArray, fixed: Fixed) -> "Generator":
        """A generator over some of the groups, with their columns, beside what is ``fixed``."""
        place = np.full(self.cut.groups, -1, dtype=np.int64)
        place[groups] = np.arange(len(groups))
        own = np.flatnonzero(place[self.cut.group] >= 0)
        part = Cut([self.cut.shards[s] for s in own], place[self.cut.group[own]], self.cut.turn[own])
        made = Generator(
            self.rows, part, self.sweeper, scale_of=self.scale_of, noise=self.noise, tell=self.tell, fixed=fixed
        )
        made.pool, made.master = self.pool.of(place), None
        made.near = None if self.master is None else self.master.active.copy()
        return made

    def settle(self, center: FloatArray, *, until: float, rounds: int, enough_cny: float) -> Mix:
        """The best mix with what is fixed; new columns as long as slacks cost more than ``enough_cny``."""
        mix = self.solve_master(until, self.rows.penalty)
        for _ in range(rounds):
            missed = rows_cost(self.rows, mix.values)
            self.tell(f"settling {self.cut.groups} groups: mix {mix.cost_cny:.9g}, slacks {missed:.4g}")
            if missed <= enough_cny or time.monotonic() > until:
                break
            near = np.minimum(mix.duals, _ceiling(center, self.rows.penalty))
            self.between(center, near)
            mix = self.solve_master(until, self.rows.penalty)
        return mix


def _ceiling(center: FloatArray, penalty: FloatArray) -> FloatArray:
    """What a slack may cost while columns are still missing: enough to avoid it, not so much that duals run wild."""
    return np.minimum(penalty, 3.0 * center + 1.0)


def _step(inner: Point, outer: Point, share: float) -> Point:
    return Point(
        inner.zone + share * (outer.zone - inner.zone),
        inner.by_class + share * (outer.by_class - inner.by_class),
        inner.noise,
    )


def rows_cost(rows: CouplingRows, values: FloatArray) -> float:
    """What the slacks would cost, CNY."""
    return float((rows.penalty * rows.hours) @ np.maximum(values, 0.0))
