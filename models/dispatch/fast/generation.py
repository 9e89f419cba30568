"""Column generation: sweeps and masters in turn, until what is promised and what is proven lie close together.

*Steering.*  From nothing, duals come from a sweep in which the groups of a zone are asked one after the other, and
after each turn the duals move by what the answers add to the rows, as if the rest would answer as it did before:

    λ ← clip(λ + η (new answer − expected answer + value of the rows before / turns))

(An incremental subgradient method; it finds the size of the duals in a few sweeps.)

*Approaching.*  A proximal bundle method: the master's duals stay near to the best known centre, everybody answers at
them, and the centre moves there if the bound is better.  It ends when the master hopes for no more.

*Mixing.*  Then the master's linear program, with the true penalties, needs few more columns: every group is asked at a
random point between the centre and the master's duals, so that every group learns a direction of its own.

*Bound.*  A sweep at one point for all gives

    L(λ) = Σ least cost at tariff + duals  +  Σ_n Δ_n λ_n constant_n        (0 ≤ λ_n ≤ penalty_n)

Source: A. Nedić, D. Bertsekas, SIAM J. Optim. 12 (2001) 109 (incremental subgradients); C. Lemaréchal, A. Nemirovskii,
Y. Nesterov, Math. Program. 69 (1995) 111 (bundles); A. Geoffrion, Math. Program. Study 2 (1974) 82 (the bound);
A. Pessoa et al., INFORMS J. Comput. 30 (2018) 339 (points between centre and master).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.dispatch.fast.coupling import CouplingRows
from models.dispatch.fast.master import Master, Mix, Pool, size_kw
from models.dispatch.fast.setting import IndexArray
from models.dispatch.fast.shards import Shard
from models.dispatch.fast.sweeps import Columns, Point, Sweeper
from models.dispatch.solve_clock import look, stopwatch
from models.intervals import FloatArray

_SEED = 11
TURNS = 60
"""Turns of a steered sweep: each moves the duals of the next, and is small against all of them."""
STEERING = (3.0, 2.0, 1.5, 1.0, 0.7, 0.5, 0.35, 0.25)
"""How far a row that is off by all that moves in it moves its price, CNY per kWh, sweep by sweep."""
CORRECTING = (0.1, 0.05)
"""The same from a λ that was good for yesterday's problem, or the last cycle's."""
_MEMORY = 0.5
"""Weight of the last answer in what is expected of a group."""
_LAST = 3
"""Steered sweeps whose mean λ counts."""
_PIECES = 4
"""Pieces of work of one turn."""
_PULL = 0.3
"""A row that is off by all that moves in it moves a proximal λ by so much at first, CNY per kWh."""
_LONGER, _SHORTER = 1.5, 0.7
"""What becomes of the pull when the centre moved, and when a step was too long."""
_TOO_LONG = 0.3
"""A step is that if L falls by more than this part of what the master hoped for."""
_FAR, _FURTHER, _FARTHEST = 3.0, 3.0, 15.0
"""A search for a centre ends with a pull no less than the first; until then it is made so many times longer."""
_ROWS = 4
"""Times that a master is solved again because it violated a row that was not in it."""
_KEPT = 16
"""Columns of a group that stay, the cheapest at the newest prices."""
_WIDEST = 12
"""Columns of a group that a corner chooses from."""
DIRECTIONS = 3
"""Directions that every group learns for the next mix."""
_SLOPPY = 0.1
"""A master in the search is solved to this part of the gap that is left."""
_COLD, _WARM = 0.1, 1e-3
"""Which is believed to be so much, as a part of the gap's scale, before the first master, and when one goes on."""


@dataclass(frozen=True)
class Fixed:
    """What is handed out already: what it does to every row, (N,), and its cost, CNY."""

    values: FloatArray
    cost_cny: float


class Generator:
    """Column generation over groups of rows, of a whole fleet or of a sample of it."""

    def __init__(
        self,
        rows: CouplingRows,
        groups: Sequence[Shard],
        sweeper: Sweeper,
        *,
        scale_of: Callable[[float], float],
        noise: float,
        tell: Callable[[str], None] = lambda _: None,
        fixed: Fixed | None = None,
        steady: float = 0.0,
    ) -> None:
        """``steady``: as in ``Prices``, for every answer of these groups."""
        self.rows, self.groups, self.sweeper = rows, list(groups), sweeper
        self.scale_of, self.noise, self.steady, self.tell = scale_of, noise, steady, tell
        self.fixed = Fixed(np.zeros(len(rows.t)), 0.0) if fixed is None else fixed
        self.pool = Pool.empty(rows.intervals, int((rows.zone == -2).sum()))
        self.seconds = {"sweeps": 0.0, "master": 0.0}
        self.passes = 0.0
        self.known_cny = -np.inf
        self._zone_of = np.array([group.zone for group in self.groups], dtype=np.int64)
        self._count = sum(len(group) for group in self.groups)
        self._active: NDArray[np.bool_] | None = None
        self._all = np.arange(len(self.groups))
        self._dice = np.random.default_rng(_SEED)

    # ---- sweeps

    def _sweep(self, points: Sequence[Point], members: IndexArray | None = None, pieces: int = 64) -> Columns:
        """What some groups answer, everybody if ``members`` (n,) is not given."""
        began = stopwatch()
        groups = self.groups if members is None else [self.groups[g] for g in members.tolist()]
        columns = self.sweeper.sweep(groups, points, pieces)
        self.seconds["sweeps"] += stopwatch() - began
        self.passes += sum(len(group) for group in groups) / max(1, self._count)
        return columns

    def _take(self, columns: Columns, points: Sequence[Point], members: IndexArray | None = None) -> None:
        self.pool.add(self._all if members is None else members, columns, points)

    def _points(self, duals: FloatArray, noise: float) -> list[Point]:
        of_zone = self.sweeper.points(duals, noise, self.steady)
        return [of_zone[zone] for zone in self._zone_of]

    def values(self, columns: Columns) -> FloatArray:
        """Left side of every row, (N,), if every group does this."""
        return self.rows.constant + self.fixed.values + self.effect(columns)

    def effect(self, columns: Columns) -> FloatArray:
        """What one column of every group adds to every row, (N,)."""
        zone_kw = np.zeros((self.rows.zones, self.rows.intervals))
        np.add.at(zone_kw, self._zone_of, columns.power_kw)
        return self.rows.effect(zone_kw, columns.classed_kw.sum(axis=0))

    def at(self, duals: FloatArray) -> Columns:
        """Everybody at one point."""
        return self._sweep(self._points(duals, 0.0))

    def lower(self, columns: Columns, duals: FloatArray) -> float:
        """L(λ) of these groups, CNY, for the search: with what their answers cost, not with what is proven of them."""
        paid = columns.cost_cny.sum() + self.fixed.cost_cny
        return float(paid + (self.rows.hours * duals) @ self.values(columns))

    def between(self, center: FloatArray, outside: FloatArray) -> None:
        """A sweep in which every group is asked a random step from ``center`` towards ``outside``."""
        inner, outer = self._points(center, self.noise), self._points(outside, self.noise)
        steps = self._dice.random(len(self.groups))
        points = [_step(a, b, share) for a, b, share in zip(inner, outer, steps.tolist(), strict=True)]
        self._take(self._sweep(points), points)

    def weighted(self, weight: FloatArray, fixed: Fixed) -> "Generator":
        """The same groups, with their columns, where a row counts ``weight`` (G,) times, beside what is ``fixed``."""
        ratio = weight / np.array([group.weight for group in self.groups])
        made = self._beside(
            [replace(group, weight=w) for group, w in zip(self.groups, weight.tolist(), strict=True)], fixed
        )
        made.pool = self.pool.times(ratio)
        return made

    def size_kw(self) -> FloatArray:
        """What is large for a row, (N,) kW."""
        return size_kw(self.rows, self._zone_of, self.pool)

    # ---- steering

    def steer(self, until: float, start: FloatArray | None = None) -> FloatArray:
        """λ from nothing, or from a ``start`` (N,) nearby, by steered sweeps with falling gains.

        Their answers are columns.
        """
        duals = np.zeros(len(self.rows.t)) if start is None else start
        points = self._points(duals, self.noise)
        last = self._sweep(points)
        self._take(last, points)
        expected = last.copied()
        unit, means = 1.0 / self.size_kw(), [duals]
        for k, price in enumerate(STEERING if start is None else CORRECTING):
            if k:  # the last answer alone would be an echo: who was asked at high prices would give way for good
                expected.power_kw[:] += _MEMORY * (last.power_kw - expected.power_kw)
                expected.classed_kw[:] += _MEMORY * (last.classed_kw - expected.classed_kw)
            duals, mean = self._steered(duals, price * unit, last, expected)
            means = [*means, mean][-_LAST:]
            self.tell(f"steered at {price:g}: slacks would cost {rows_cost(self.rows, self.values(last)):.6g}")
            if look("steer") > until:
                break
        return self.rows.netted(np.asarray(np.mean(means, axis=0)))

    def _steered(
        self, duals: FloatArray, gain: FloatArray, last: Columns, expected: Columns
    ) -> tuple[FloatArray, FloatArray]:
        """One steered sweep from λ ``duals`` with η ``gain`` (N,); the last λ and the mean λ; ``last`` is renewed."""
        rows, turns = self.rows, self._turns()
        drift = self.values(expected) / len(turns)
        mean = np.zeros_like(drift)
        points: list[Point | None] = [None] * len(self.groups)
        for members in turns:
            mean += duals / len(turns)
            of_zone = self.sweeper.points(duals, self.noise, self.steady)
            own = [of_zone[zone] for zone in self._zone_of[members]]
            answer = self._sweep(own, members, _PIECES)
            change = np.zeros((rows.zones, rows.intervals))
            np.add.at(change, self._zone_of[members], answer.power_kw - expected.power_kw[members])
            moved = rows.effect(change, (answer.classed_kw - expected.classed_kw[members]).sum(axis=0))
            duals = rows.netted(np.clip(duals + gain * (moved + drift), 0.0, rows.penalty))
            for g, point in zip(members.tolist(), own, strict=True):
                points[g] = point
            last.renew(members, answer)
        self._take(last, [point for point in points if point is not None])
        return duals, mean

    def _turns(self) -> list[IndexArray]:
        """Groups in random order, spread evenly over the turns, zone by zone."""
        turn = np.empty(len(self.groups), dtype=np.int64)
        for zone in np.unique(self._zone_of):
            own = np.flatnonzero(self._zone_of == zone)
            turn[own] = self._dice.permutation(len(own)) * TURNS // max(TURNS, len(own))
        return [found for t in range(TURNS) if (found := np.flatnonzero(turn == t)).size]

    def follow(self, duals: FloatArray) -> None:
        """Everybody's schedule nearest to the plan there was, as columns: they keep the rows that it kept."""
        of_zone = self.sweeper.following(duals)
        points = [of_zone[zone] for zone in self._zone_of]
        self._take(self._sweep(points), points)

    def recall(self, asked: FloatArray, groups: IndexArray) -> None:
        """Columns of ``groups`` (P,) at λ ``asked`` (P, N), which were good ones before."""
        points = self.sweeper.points_each(asked, self._zone_of[groups], self.noise, self.steady)
        self._take(self._sweep(points, groups), points, groups)

    # ---- masters

    def _master(self, inside_kw: FloatArray | float = 0.0) -> Master:
        master = Master(self.rows, self._zone_of, self.pool, self.fixed.values + inside_kw, self.fixed.cost_cny)
        if self._active is not None:
            master.active = self._active
        return master

    def _central(
        self,
        price: FloatArray,
        start: FloatArray,
        tolerance_cny: float,
        inside_kw: FloatArray | float = 0.0,
        **near: FloatArray,
    ) -> Mix:
        began = stopwatch()
        master = self._master(inside_kw)
        for _ in range(1 if near else _ROWS):
            known = int(master.active.sum())
            mix = master.central(price, start, tolerance_cny=tolerance_cny, run=self.sweeper.workers.map, **near)
            if int(master.active.sum()) == known:
                break
        self._active = master.near(mix.values)
        self.seconds["master"] += stopwatch() - began
        return mix

    def _prune(self, mix: Mix, most: int = _KEPT) -> None:
        """Let columns go that are dearer than the ``most`` cheapest of their group."""
        kept = _rank(self.pool.group, mix.reduced) < most
        if not kept.all():
            self.pool = self.pool.chosen(kept)

    def approach(self, center: FloatArray, *, until: float, rounds: int, enough: float) -> tuple[FloatArray, Columns]:
        """A better centre, with everybody's answers at it.

        Proximal rounds, until the master hopes for no more than ``enough`` of the gap's scale.  Every answer is a
        column, and ``known_cny`` is L at the centre.
        """
        at_first = _COLD if self.known_cny == -np.inf else _WARM
        answers = self.learn(center)
        self.known_cny = self.lower(answers, center)
        pull, duals = _PULL, center
        left = at_first * self.scale_of(self.known_cny)
        for k in range(rounds):
            if look("approach") > until:
                break
            price, give = self.tame(self.rows.penalty, center), self.size_kw() / pull
            mix = self._central(price, duals, _SLOPPY * left, center=center, give_kw=give)
            if k:
                self._prune(mix)
            duals = self.rows.netted(mix.duals)
            columns = self.learn(duals)
            found, hope = self.lower(columns, duals), mix.model_cny - self.known_cny
            self.tell(
                f"approach {k}: bound {self.known_cny:.9g}, here {found:.9g}, hope {hope:.4g}, pull {pull:.3g}, "
                f"{len(self.pool)} columns, {mix.steps} steps in {mix.seconds:.2f} s"
            )
            if found > self.known_cny:
                center, answers, self.known_cny, pull = duals, columns, found, min(pull * _LONGER, _FARTHEST)
            elif self.known_cny - found > _TOO_LONG * hope:
                pull *= _SHORTER
            left = max(hope, 1e-6 * self.scale_of(self.known_cny))
            if hope <= enough * self.scale_of(self.known_cny):
                if pull >= _FAR:
                    break
                pull *= _FURTHER  # the master may hope for little because it may not look far
        return center, answers

    def learn(self, duals: FloatArray) -> Columns:
        """Everybody's answers at one point, as columns."""
        columns = self.at(duals)
        self._take(columns, self._points(duals, 0.0))
        return columns

    @staticmethod
    def tame(duals: FloatArray, center: FloatArray) -> FloatArray:
        """λ (N,) no further above the centre than it takes to avoid a slack while columns are missing."""
        return np.minimum(duals, 3.0 * center + 1.0)

    def blend(
        self, center: FloatArray, *, until: float, rounds: int, enough_cny: float, directions: int = DIRECTIONS
    ) -> Mix:
        """The cheapest mix: masters with the true penalties and columns between the centre and their duals.

        Ends when the mix costs no more than ``enough_cny`` above ``known_cny``, or gains less than a third of that.
        """
        bound_cny = self.known_cny
        best, duals = np.inf, center
        while True:
            mix = self._central(self.rows.penalty, duals, _SLOPPY * enough_cny)
            missed = rows_cost(self.rows, mix.values)
            self.tell(
                f"mix {mix.cost_cny:.9g}, {mix.cost_cny - bound_cny:.4g} above the bound, slacks {missed:.4g}, "
                f"{len(self.pool)} columns, {mix.steps} steps in {mix.seconds:.2f} s"
            )
            rounds -= 1
            stalled = best - mix.cost_cny < enough_cny / 3
            if mix.cost_cny - bound_cny <= enough_cny or stalled or rounds <= 0 or look("blend") > until:
                return mix
            best, duals = mix.cost_cny, mix.duals
            self._prune(mix, 2 * _KEPT)  # true penalties forgive less
            for _ in range(directions):
                self.between(center, duals)

    def exact(self, duals: FloatArray, tolerance_cny: float) -> Mix:
        """The cheapest mix of the columns there are, from duals (N,) near to the best.

        The last digit of a row costs as much as any other, so rows are kept from a little inside.
        """
        inside_kw = np.full(len(self.rows.t), self._master().residual_kw)
        mix = self._central(self.rows.penalty, duals, tolerance_cny, inside_kw)
        values = mix.values - inside_kw
        saved_cny = rows_cost(self.rows, mix.values) - rows_cost(self.rows, values)
        mix = replace(mix, values=values, cost_cny=mix.cost_cny - saved_cny)
        self.tell(f"exact {mix.cost_cny:.9g}, slacks {rows_cost(self.rows, values):.4g}, {mix.seconds:.2f} s")
        return mix

    def thinned(self, mix: Mix, until: float) -> Mix:
        """A mix no worse with few columns in use, chosen among the heaviest of every group and what it does in ``mix``.

        (The heaviest alone may leave no way to keep every row.)  Handing out asks every row once for each column, and
        a central mix uses nearly all.  Only columns in use stay.  If there is no time, ``mix`` itself.
        """
        pool = self.pool
        rank = _rank(pool.group, -mix.theta)
        heavy = rank < _WIDEST
        self.pool = pool.chosen(heavy)
        few = len(self.pool)
        self.pool.take(pool.mixed(mix.theta, len(self.groups)))
        found = self.corner(until)
        self.pool = pool
        if found is None:
            return mix
        theta = found.theta[few:][pool.group] * mix.theta
        theta[heavy] += found.theta[:few]
        used = (rank == 0) | (theta > 0)
        self.pool = pool.chosen(used)
        return replace(found, theta=theta[used], reduced=np.zeros(int(used.sum())))

    def heaviest(self, mix: Mix, most: int, tolerance_cny: float) -> Mix:
        """The cheapest mix of the ``most`` heaviest columns of every group, if it keeps rows as well; else ``mix``."""
        pool = self.pool
        self.pool = pool.chosen(_rank(pool.group, -mix.theta) < most)
        found = self.exact(mix.duals, tolerance_cny)
        if rows_cost(self.rows, found.values) <= rows_cost(self.rows, mix.values) + tolerance_cny:
            return found
        self.pool = pool
        return mix

    def corner(self, until: float) -> Mix | None:
        """The cheapest mix of the columns there are, with few in use; None if there is no time."""
        began = stopwatch()
        found = self._master().corner(until)
        self.seconds["master"] += stopwatch() - began
        if found is not None:
            missed = rows_cost(self.rows, found.values)
            self.tell(f"corner {found.cost_cny:.9g}, slacks {missed:.4g}, {found.seconds:.2f} s")
        return found

    def restricted(self, groups: IndexArray, fixed: Fixed) -> "Generator":
        """A generator over some of the groups, with their columns, beside what is ``fixed``."""
        place = np.full(len(self.groups), -1, dtype=np.int64)
        place[groups] = np.arange(len(groups))
        made = self._beside([self.groups[g] for g in groups], fixed)
        made.pool = self.pool.of(place)
        return made

    def _beside(self, groups: Sequence[Shard], fixed: Fixed) -> "Generator":
        """A generator that goes on where this one is, over other groups."""
        made = Generator(
            self.rows,
            groups,
            self.sweeper,
            scale_of=self.scale_of,
            noise=self.noise,
            tell=self.tell,
            fixed=fixed,
            steady=self.steady,
        )
        made._active, made.known_cny = self._active, self.known_cny
        made.passes, made.seconds = self.passes, self.seconds
        return made


def _rank(group: IndexArray, value: FloatArray) -> IndexArray:
    """Place of every column in its group by rising value, 0 for the first."""
    order = np.lexsort((value, group))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order)) - np.searchsorted(group[order], group[order])
    return rank


def _step(inner: Point, outer: Point, share: float) -> Point:
    return Point(
        inner.zone + share * (outer.zone - inner.zone),
        inner.by_class + share * (outer.by_class - inner.by_class),
        inner.noise,
        steady=inner.steady,
        duals=inner.duals + share * (outer.duals - inner.duals),
    )


def rows_cost(rows: CouplingRows, values: FloatArray) -> float:
    """What the slacks would cost, CNY."""
    return float((rows.penalty * rows.hours) @ np.maximum(values, 0.0))
