"""Column generation: sweeps and masters in turn, until what is promised and what is proven lie close together.

Every pass asks each shard at its own dual point, a random step between the best duals so far (those of the best
bound) and the master's: a pass then adds as many directions as there are shards, and none is far from where it
matters.  A pass at one point for all gives a bound:

    L(λ) = Σ least cost at tariff + duals  +  Σ_n Δ_n λ_n constant_n        (0 ≤ λ_n ≤ penalty_n)

Source: A. Geoffrion, Math. Program. Study 2 (1974) 82 (the bound); A. Pessoa et al., INFORMS J. Comput. 30 (2018) 339
(in-out points).
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from models.dispatch.fast.coupling import CouplingRows
from models.dispatch.fast.master import Master, Mix, Pool
from models.dispatch.fast.shards import Shard
from models.dispatch.fast.sweeps import Columns, Point, Sweeper
from models.intervals import FloatArray

_SEED = 11
_STALL = 6
"""Passes without a better bound or a better mix, after which more of the same will not help."""


@dataclass
class Progress:
    """Where the search is: the best mix, the best bound with its duals, and how it went."""

    mix: Mix
    bound_cny: float
    duals: FloatArray
    passes: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: {"sweeps": 0.0, "master": 0.0})

    def gap(self, scale_of: Callable[[float], float]) -> float:
        """Relative gap of the mix."""
        return max(0.0, self.mix.cost_cny - self.bound_cny) / scale_of(self.mix.cost_cny)


def bound_of(rows: CouplingRows, columns: Columns, duals: FloatArray) -> float:
    """L(λ) from a sweep of the whole fleet at one point, CNY."""
    return float(columns.least_cny.sum() + (rows.hours * duals) @ rows.constant)


class Generator:
    """Column generation over a list of shards."""

    def __init__(
        self,
        rows: CouplingRows,
        shards: Sequence[Shard],
        sweeper: Sweeper,
        *,
        scale_of: Callable[[float], float],
        noise: float,
    ) -> None:
        self.rows, self.shards, self.sweeper = rows, list(shards), sweeper
        self.scale_of, self.noise = scale_of, noise
        self.pool = Pool.empty(rows.intervals, int((rows.zone == -2).sum()))
        self.everyone = np.arange(len(self.shards))
        self.dice = np.random.default_rng(_SEED)
        self._zones = sorted({shard.zone for shard in self.shards})
        self.master: Master | None = None
        self.seconds = {"sweeps": 0.0, "master": 0.0}
        self.passes = 0

    # ---- one pass

    def points(self, duals: FloatArray) -> list[Point]:
        """The same λ for all shards."""
        of_zone = {zone: self.sweeper.point(duals, zone) for zone in self._zones}
        return [of_zone[shard.zone] for shard in self.shards]

    def between(self, center: FloatArray, outside: FloatArray, reach: float) -> list[Point]:
        """A point of its own for every shard, a random step of up to ``reach`` from ``center`` towards ``outside``."""
        inner, outer = self.points(center), self.points(outside)
        steps = self.dice.random(len(self.shards)) * reach
        return [_step(a, b, u) for a, b, u in zip(inner, outer, steps, strict=True)]

    def sweep(self, points: Sequence[Point], noise: float) -> Columns:
        """One column for every shard into the pool."""
        began = time.monotonic()
        columns = self.sweeper.sweep(self.shards, points, noise)
        self.pool.add(self.everyone, columns, points, noise)
        self.passes += 1
        self.seconds["sweeps"] += time.monotonic() - began
        return columns

    def solve_master(self, until: float) -> Mix:
        """The cheapest mix of all columns so far."""
        if self.master is None:
            power = np.abs(self.pool.power_kw).sum(axis=1)
            self.master = Master(
                self.rows,
                self.shards,
                self.pool,
                unit_kw=max(1.0, float(power.sum()) / max(1, len(power)) / self.rows.intervals),
                unit_cny=max(1.0, float(np.abs(self.pool.cost_cny).mean())),
            )
        mix = self.master.solve(until)
        self.seconds["master"] += mix.seconds
        return self.master.forget(mix)

    # ---- the search

    def run(self, start: FloatArray, *, until: float, gap: float, passes: int) -> Progress:
        """Generate from the duals ``start`` until the gap is met, the time is up or nothing moves any more."""
        columns = self.sweep(self.points(start), 0.0)
        best = bound_of(self.rows, columns, start)
        center = start
        if self.noise > 0:
            self.sweep(self.points(start), self.noise)
        self.sweep(self.points(np.zeros_like(start)), self.noise)
        mix = self.solve_master(until)
        stalled, value = 0, np.inf
        while self.passes < passes and time.monotonic() < until:
            if (mix.cost_cny - best) / self.scale_of(mix.cost_cny) <= gap or stalled >= _STALL:
                break
            trial = center + (0.3 if self.passes % 2 else 0.7) * (mix.duals - center)
            columns = self.sweep(self.points(trial), 0.0)
            found = bound_of(self.rows, columns, trial)
            moved = False
            if found > best + 1e-9 * abs(best):
                moved = found > best + 0.01 * gap * self.scale_of(mix.cost_cny)
                best, center = found, trial
            self.sweep(self.between(center, mix.duals, 1.0), self.noise)
            mix = self.solve_master(until)
            moved = moved or mix.cost_cny < value - 0.01 * gap * self.scale_of(mix.cost_cny)
            value = min(value, mix.cost_cny)
            stalled = 0 if moved else stalled + 1
        return Progress(mix, best, center, self.passes, dict(self.seconds))


def _step(inner: Point, outer: Point, share: float) -> Point:
    return Point(
        inner.zone + share * (outer.zone - inner.zone),
        inner.city + share * (outer.city - inner.city),
        inner.classed + share * (outer.classed - inner.classed),
    )
