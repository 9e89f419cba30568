"""Sweeps: every shard answers its own prices; only prices go out and aggregates come back.

``Workers`` is the seam: anything that can map a function over lists of shards.  Here it is threads (the oracles
release the GIL); an engine over several machines keeps blocks where their data is and sends the same two things.
"""

import copy
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import numpy as np

from models.dispatch.fast.coupling import CouplingRows
from models.dispatch.fast.plan_sums import add_plans
from models.dispatch.fast.pricing.common import Near, Prices, Sums, empty_sums
from models.dispatch.fast.setting import IndexArray, Setting
from models.dispatch.fast.shards import Block, Shard
from models.dispatch.problem import DispatchProblem
from models.intervals import FloatArray

_T = TypeVar("_T")
_R = TypeVar("_R")
NO_SCHEDULES = np.empty((0, 0))
_FOLLOW_PER_KWH = 10.0
"""What makes a row follow a plan, CNY per kWh: more than any price is worth to it."""


class Workers(Protocol):
    """Whoever runs a function over many pieces of work."""

    def map(self, function: Callable[[_T], _R], work: Iterable[_T], /) -> Iterator[_R]:
        """The answers, in the order of ``work``."""


def cores() -> int:
    """How many cores there are for us."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> Executor:
    """As many threads as there are cores for us."""
    return ThreadPoolExecutor(cores())


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """What duals add to the prices of a zone's rows, CNY per kWh: (T,), and (C, T) times reliability.

    ``duals``: λ (N,) itself, empty if there is none behind it.  ``noise``, ``pull``, ``steady``: as in ``Prices``.
    """

    zone: FloatArray
    by_class: FloatArray
    noise: float = 0.0
    pull: float = 0.0
    steady: float = 0.0
    duals: FloatArray = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True)
class Columns:
    """One aggregate per shard: what its rows do together, times its weight.

    ``power_kw``: (S, T).  ``classed_kw``: (S, K) contribution to each row over classes.  ``least_cny``: (S,) least
    cost at the prices asked.  ``cost_cny``: (S,) what the schedules cost.
    """

    power_kw: FloatArray
    classed_kw: FloatArray
    least_cny: FloatArray
    cost_cny: FloatArray

    def of(self, shards: IndexArray) -> "Columns":
        """Those of some shards."""
        return Columns(*(getattr(self, name)[shards] for name in _NUMBERS))

    def times(self, each: FloatArray) -> "Columns":
        """Every column ``each`` (S,) times."""
        return Columns(*((getattr(self, name).T * each).T for name in _NUMBERS))

    def plus(self, other: "Columns") -> "Columns":
        """The sums of two."""
        return Columns(*(getattr(self, name) + getattr(other, name) for name in _NUMBERS))

    def negative(self) -> "Columns":
        """What takes them back."""
        return Columns(*(-getattr(self, name) for name in _NUMBERS))

    def copied(self) -> "Columns":
        """The same in memory of its own."""
        return Columns(*(getattr(self, name).copy() for name in _NUMBERS))

    def renew(self, shards: IndexArray, answers: "Columns") -> None:
        """Put other answers of some shards in their place."""
        for name in _NUMBERS:
            getattr(self, name)[shards] = getattr(answers, name)


_NUMBERS = ("power_kw", "classed_kw", "least_cny", "cost_cny")


class Sweeper:
    """Asks the oracles about shards at dual points; the rows over classes are numbered 0 ... K − 1."""

    def __init__(
        self, problem: DispatchProblem, setting: Setting, blocks: Sequence[Block], workers: Workers, noise_seed: int = 1
    ) -> None:
        self.blocks, self.workers, self._setting = blocks, workers, setting
        terms, penalties = problem.real_time, problem.penalties
        count = len(setting.hours)
        applies = np.zeros(count) if terms is None else np.asarray(terms.stray_applies, dtype=np.float64)
        self._stray = penalties.stray_cost_per_kwh * applies
        self._switch = penalties.switch_cost_per_kw if terms is not None else 0.0
        dice = np.random.default_rng(noise_seed)
        self._noise = dice.random((1021, count))
        self._silence = np.empty((0, count))
        self.rows: CouplingRows | None = None
        self._classed: IndexArray = np.empty(0, dtype=np.int64)
        self._classed_t: IndexArray = np.empty(0, dtype=np.int64)
        self.classed_weight: FloatArray = np.empty((0, 0))

    @property
    def classes(self) -> int:
        """How many price classes there are (one before any row is known)."""
        return max(1, int(self.classed_weight.shape[1]))

    def moving_cost(self, now_kw: FloatArray, plan_kw: FloatArray, power_kw: FloatArray) -> float:
        """What real time adds for schedules (n, T): switching now, and straying from the day plan."""
        off = np.abs(power_kw - plan_kw) * (self._stray * self._setting.hours)
        return float(self._switch * np.nansum(np.abs(power_kw[:, 0] - now_kw)) + np.nansum(off))

    def couple(self, rows: CouplingRows) -> None:
        """From now on there are rows to serve."""
        self.rows = rows
        self._classed = np.flatnonzero(rows.zone == -2)
        self._classed_t = rows.t[self._classed]
        self.classed_weight = rows.class_weight[self._classed]

    def points(self, duals: FloatArray, noise: float = 0.0, steady: float = 0.0) -> list[Point]:
        """What λ (N,) adds to the prices in every zone, (Z,)."""
        assert self.rows is not None  # noqa: S101 - coupled before the first dual
        zone, by_class = self.rows.prices(duals)
        return [Point(each, by_class, noise, steady=steady, duals=duals) for each in zone]

    def following(self, duals: FloatArray) -> list[Point]:
        """Where every row does what the plan does, as far as it can, (Z,); λ (N,) says what it does else."""
        return [replace(point, pull=_FOLLOW_PER_KWH) for point in self.points(duals)]

    def with_workers(self, workers: Workers) -> "Sweeper":
        """The same, asked by somebody else."""
        made = copy.copy(self)
        made.workers = workers
        return made

    def points_each(self, duals: FloatArray, zone: IndexArray, noise: float, steady: float) -> list[Point]:
        """What each of many λ (P, N) adds to the prices in one zone, (P,)."""
        assert self.rows is not None  # noqa: S101 - coupled before the first dual
        own, by_class = self.rows.prices_each(duals, zone)
        each = zip(own, by_class, duals, strict=True)
        return [Point(alone, classed, noise, steady=steady, duals=asked) for alone, classed, asked in each]

    def prices(self, point: Point, *, real: bool = False) -> Prices:
        """The prices at a dual point; ``real``: staying steady shapes the schedules, and is not paid."""
        setting = self._setting
        return Prices(
            hours=setting.hours,
            tariff=setting.tariffs,
            late=setting.tariff_mean,
            late_cost=setting.tariff_mean,
            zone=point.zone,
            by_class=point.by_class,
            stray=self._stray,
            switch=self._switch,
            noise=point.noise * self._noise if point.noise > 0 else self._silence,
            pull=point.pull,
            steady=point.steady,
            steady_cost=0.0 if real else point.steady,
        )

    @property
    def near_a_plan(self) -> bool:
        """Whether there is a plan to stay near to."""
        return any(block.near.row.size > 0 for block in self.blocks)

    def untouched(self) -> Point:
        """No duals: tariffs alone."""
        count = len(self._setting.hours)
        return Point(np.zeros(count), np.zeros((self.classes, count)))

    def sweep(self, shards: Sequence[Shard], points: Sequence[Point], pieces: int = 64) -> Columns:
        """One column for every shard, each at its own point."""
        work = _balanced([len(shard) * self.blocks[shard.block].pricer.work for shard in shards], pieces)

        def answer(piece: IndexArray) -> list[tuple[int, Any]]:
            return [(s, self._ask(shards[s], self.prices(points[s]))) for s in piece.tolist()]

        count, k = len(self._setting.hours), len(self._classed)
        columns = Columns(*(np.zeros((len(shards), n)) for n in (count, k)), *(np.zeros(len(shards)) for _ in range(2)))
        for part in self.workers.map(answer, work):
            for s, (power, classed, totals) in part:
                weight = shards[s].weight
                columns.power_kw[s] = weight * power
                columns.classed_kw[s] = weight * classed
                columns.least_cny[s], columns.cost_cny[s] = weight * totals[0], weight * totals[1]
        return columns

    def _ask(self, shard: Shard, prices: Prices) -> tuple[FloatArray, FloatArray, FloatArray]:
        sums = self.sums(shard, prices)
        if not self._classed.size:
            return sums.power_kw, np.empty(0), sums.totals
        return sums.power_kw, self.classed(sums.class_kw), sums.totals

    def classed(self, class_kw: FloatArray) -> FloatArray:
        """What sums per class (C, T) do to every row over classes, (K,)."""
        return np.asarray(np.einsum("kc,kc->k", self.classed_weight, class_kw.T[self._classed_t]))

    def planned(self, shards: Sequence[Shard]) -> Columns:
        """What the last plan of every shard's rows (weight 1) adds up to; of its cost, what the tariffs take."""
        count, k = len(self._setting.hours), len(self._classed)

        def add_up(shard: Shard) -> tuple[FloatArray, FloatArray, float]:
            block, sums = self.blocks[shard.block], empty_sums(count, self.classes)
            hours, tariffs, window = self._setting.hours, self._setting.tariffs, block.pricer.window(block.units)
            add_plans(block.members, block.near, shard.first, shard.last, window, hours, tariffs, sums)
            return sums.power_kw, self.classed(sums.class_kw) if k else np.empty(0), float(sums.totals[1])

        found = list(self.workers.map(add_up, shards))
        power_kw, classed_kw, cost_cny = (np.array([each[k] for each in found]) for k in range(3))
        return Columns(power_kw, classed_kw, np.zeros(len(shards)), cost_cny)

    def sums(self, shard: Shard, prices: Prices, power_out: FloatArray = NO_SCHEDULES) -> Sums:
        """Sums of a shard's rows (weight 1) at given prices; schedules into ``power_out`` (rows, T) if it has rows."""
        return self.sums_near(shard, prices, self.blocks[shard.block].near, power_out)

    def sums_near(self, shard: Shard, prices: Prices, near: Near, power_out: FloatArray = NO_SCHEDULES) -> Sums:
        """The same, near to something else."""
        block = self.blocks[shard.block]
        sums = empty_sums(len(self._setting.hours), prices.by_class.shape[0])
        block.pricer.sweep(block.units, block.members, near, shard.first, shard.last, prices, sums, power_out)
        return sums


def _balanced(work: Sequence[float], pieces: int) -> list[IndexArray]:
    """Numbers of the shards in pieces of about equal work, in order."""
    done = np.cumsum(work)
    if not done.size or done[-1] <= 0:
        return []
    place = np.minimum((pieces * (done - np.asarray(work) / 2) / done[-1]).astype(np.int64), pieces - 1)
    return [np.flatnonzero(place == piece) for piece in np.unique(place)]
