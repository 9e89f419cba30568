"""The fast solver: the city problem by column generation, for a fleet of any size.

1. The rows are admitted, sorted into blocks and shards, and their baseline is summed (``shards``, ``coupling``).
2. A sample of the fleet, each row standing for many, gives the duals (``generation``); or the last plan does.
3. The whole fleet is asked at the sample's points, and then between them, until the mix is good enough.
4. The mix becomes one schedule per row (``allocation``), and the cost is computed from these schedules.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.dispatch.fast.admitted import admit_columns
from models.dispatch.fast.allocation import Part, mixed, split, supports
from models.dispatch.fast.baseline import Baseline, baseline_of, baseline_prices
from models.dispatch.fast.coupling import Classes, CouplingRows, coupling_rows
from models.dispatch.fast.generation import Generator, Progress
from models.dispatch.fast.handout import Handout, hand_out
from models.dispatch.fast.master import Master, Mix
from models.dispatch.fast.setting import Setting
from models.dispatch.fast.shards import Block, Shard, blocks_of, cut, sample
from models.dispatch.fast.solution import FastSolution, Schedules
from models.dispatch.fast.sweeps import Sweeper, Workers, threads
from models.dispatch.fast.usage import peak_rss_mb
from models.dispatch.fast.warm import LastDuals
from models.dispatch.problem import DispatchProblem
from models.errors import DeadlineError
from models.intervals import FloatArray
from models.plan import Admission, DispatchPlan

SHARDS = 1600
"""Shards of a large fleet: enough that single ones do not matter, few enough that the master stays small."""
SAMPLE_ROWS = 16_000
"""Rows of the sample; fleets of less than twice as many are solved without one."""
NOISE_PER_KWH = 2e-5
"""Spread of the tiny price by which rows with equal choices differ, CNY per kWh."""
MARGIN = 0.1
"""Part of the deadline kept back for handing out and reading out."""
UNMET_KW = 1e-6


@dataclass(frozen=True)
class _City:
    """A problem made ready."""

    problem: DispatchProblem
    setting: Setting
    blocks: list[Block]
    admissions: tuple[Admission, ...]
    sweeper: Sweeper
    baseline: Baseline
    rows: CouplingRows

    def scale(self, cost_cny: float) -> float:
        """Denominator of the gap (dispatch-model §3)."""
        base = self.baseline.cost_cny
        return max(abs(cost_cny - base), 1e-3 * abs(base), 1e-9)


class FastSolver:
    """Solves the city problem of ``models/dispatch/README.md``; keeps the duals of its last plan.

    ``workers``: who sweeps (threads by default).  One call at a time.
    """

    def __init__(self, workers: Workers | None = None) -> None:
        self._workers: Workers = threads() if workers is None else workers
        self._last = LastDuals()

    def solve(self, problem: DispatchProblem, *, deadline_s: float, gap: float = 1e-4) -> DispatchPlan:
        """The best plan found, within ``gap`` if there is time.

        Raises ``DeadlineError`` if there is none ``deadline_s`` seconds from now, ``SolverError`` if a solver fails.
        """
        return self.solve_stream(problem, deadline_s=deadline_s, gap=gap).plan()

    def prepare(self, problem: DispatchProblem) -> None:
        """Compile or load the oracles that the problem needs."""
        tables, _ = admit_columns(problem)
        setting = Setting.of(problem)
        blocks = blocks_of(problem, tables, Classes.of(problem, tables), setting)
        sweeper = Sweeper(problem, setting, blocks, self._workers)
        for b, block in enumerate(blocks):
            sweeper.sums(Shard(b, 0, min(1, len(block)), int(block.zone[0])), sweeper.prices(None, 0.0))

    def solve_stream(self, problem: DispatchProblem, *, deadline_s: float, gap: float = 1e-4) -> FastSolution:
        """As ``solve``, with schedules that are made when they are asked for."""
        began = time.monotonic()
        clock = _Phases(began)
        until = began + deadline_s * (1 - MARGIN)
        city = self._ready(problem, clock)
        start = self._last.find(city.rows)
        rows = sum(len(block) for block in city.blocks)
        seconds = {"sweeps": 0.0, "master": 0.0}
        facts = {"rows": float(rows), "coupling_rows": float(len(city.rows.t))}
        if start is None and rows > 2 * SAMPLE_ROWS:
            first = self._generator(city, sample(city.blocks, SAMPLE_ROWS / rows, 8, SHARDS // 2))
            found = first.run(np.zeros(len(city.rows.t)), until=until, gap=gap / 4, passes=60)
            start = found.duals
            facts["sample_passes"], facts["sample_gap"] = float(found.passes), found.gap(city.scale)
            clock.mark("sample")
        shards = cut(city.blocks, SHARDS)
        generator = self._generator(city, shards)
        start = np.zeros(len(city.rows.t)) if start is None else start
        progress = generator.run(start, until=until, gap=0.3 * gap, passes=80)
        seconds |= progress.seconds
        clock.mark("generation")
        handout = self._allocate(city, generator, progress, until)
        clock.mark("allocation")
        if time.monotonic() - began > deadline_s:
            raise DeadlineError(deadline_s)
        self._last.remember(city.rows, progress.duals)
        facts |= {
            "passes": float(generator.passes),
            "shards": float(len(shards)),
            "columns": float(len(generator.pool)),
        }
        facts["mix_gap"] = progress.gap(city.scale)
        return self._solution(city, progress, handout, clock, {**clock.spans, **seconds}, facts)

    # ---- make ready

    def _ready(self, problem: DispatchProblem, clock: "_Phases") -> _City:
        tables, admissions = admit_columns(problem)
        clock.mark("admission")
        setting = Setting.of(problem)
        classes = Classes.of(problem, tables)
        blocks = blocks_of(problem, tables, classes, setting)
        clock.mark("arrays")
        sweeper = Sweeper(problem, setting, blocks, self._workers)
        baseline = baseline_of(problem, setting, blocks, sweeper, classes)
        rows = coupling_rows(problem, classes, baseline.zone_kw, baseline.class_kw)
        sweeper.couple(rows)
        clock.mark("baseline")
        return _City(problem, setting, blocks, admissions, sweeper, baseline, rows)

    @staticmethod
    def _generator(city: _City, shards: Sequence[Shard]) -> Generator:
        return Generator(city.rows, shards, city.sweeper, scale_of=city.scale, noise=NOISE_PER_KWH)

    # ---- hand out

    @staticmethod
    def _allocate(city: _City, generator: Generator, progress: Progress, until: float) -> Handout:
        mix, pool, shards = progress.mix, generator.pool, generator.shards
        columns = supports(pool, mix.theta, len(shards))
        free = [s for s, shard in enumerate(shards) if city.blocks[shard.block].pricer.mixes]
        bound = [s for s, shard in enumerate(shards) if not city.blocks[shard.block].pricer.mixes]
        parts = split([shards[s] for s in bound], [columns[s] for s in bound], pool, mix.theta)
        parts_of_free = _absorb(city, generator, mix, free, parts, until)
        return hand_out(city.problem, city.blocks, city.sweeper, [*parts, *parts_of_free])

    # ---- read out

    def _solution(
        self,
        city: _City,
        progress: Progress,
        handout: Handout,
        clock: "_Phases",
        phases: dict[str, float],
        facts: dict[str, float],
    ) -> FastSolution:
        rows, problem = city.rows, city.problem
        values = rows.values(handout.zone_kw, handout.class_kw)
        slack = np.maximum(values, 0.0)
        objective = handout.cost_cny + float((rows.penalty * rows.hours) @ slack)
        prices_at = baseline_prices(city.setting, max(1, rows.classes))
        schedules = Schedules(city.blocks, prices_at, problem.baseline_kw, len(problem.fleet.resource_ids))
        return FastSolution(
            grid=problem.grid,
            resource_ids=problem.fleet.resource_ids,
            status="optimal" if objective - progress.bound_cny <= 1e-4 * city.scale(objective) else "feasible",
            objective_cny=objective,
            baseline_cost_cny=city.baseline.cost_cny,
            lower_bound_cny=progress.bound_cny,
            iterations=progress.passes,
            wall_s=time.monotonic() - clock.began,
            penalties=problem.penalties.as_dict(),
            unmet=rows.amounts(values, UNMET_KW),
            prices=rows.amounts(progress.duals, 0.0),
            admissions=city.admissions,
            peak_rss_mb=peak_rss_mb(),
            power_kw=handout.power_kw,
            schedules=schedules,
            phases=phases,
            facts=facts,
        )


def _absorb(
    city: _City, generator: Generator, mix: Mix, free: Sequence[int], parts: Sequence[Part], until: float
) -> list[Part]:
    """The shards that may be mixed, mixed anew so that they make good what rounding the others changed."""
    fixed_values, fixed_cost = sums_of(city.sweeper, parts, city.blocks)
    pool, shards = generator.pool, generator.shards
    if not free:
        return []
    mine = np.isin(pool.shard, free)
    kept_theta = mix.theta[mine]
    pool.keep(mine)
    place = np.full(len(shards), -1, dtype=np.int64)
    place[list(free)] = np.arange(len(free))
    pool.shard = place[pool.shard]
    pool.basic[:] = False
    old = generator.master
    assert old is not None  # noqa: S101 - it has been solved
    master = Master(city.rows, [shards[s] for s in free], pool, old.unit_kw, old.unit_cny)
    master.active = old.active
    master.fixed_values, master.fixed_cost_cny = fixed_values, fixed_cost
    del kept_theta
    again = master.solve(max(until, time.monotonic() + 1.0))
    columns = supports(pool, again.theta, len(free))
    return [mixed(shards[s], own, pool, again.theta) for s, own in zip(free, columns, strict=True)]


def sums_of(sweeper: Sweeper, parts: Sequence[Part], blocks: Sequence[Block]) -> tuple[FloatArray, float]:
    """What parts of one column each do to every coupling row, (N,), and their cost in CNY."""
    rows = sweeper.rows
    assert rows is not None  # noqa: S101 - coupled long ago
    shards = [Shard(part.block, part.first, part.last, int(blocks[part.block].zone[part.first])) for part in parts]
    total = np.zeros(len(rows.t))
    if not shards:
        return total, 0.0
    cost, zone_kw, classed = 0.0, np.zeros((rows.zones, rows.intervals)), np.zeros(int((rows.zone == -2).sum()))
    for noise in sorted({part.noise[0] for part in parts}):
        same = [k for k, part in enumerate(parts) if part.noise[0] == noise]
        columns = sweeper.sweep([shards[k] for k in same], [parts[k].points[0] for k in same], noise)
        np.add.at(zone_kw, np.array([shards[k].zone for k in same]), columns.power_kw)
        classed += columns.classed_kw.sum(axis=0)
        cost += float(columns.cost_cny.sum())
    local, city = rows.zone >= 0, rows.zone == -1
    total[local] = zone_kw[rows.zone[local], rows.t[local]]
    total[city] = zone_kw.sum(axis=0)[rows.t[city]]
    total[rows.zone == -2] = classed
    return total, cost


class _Phases:
    """Seconds from mark to mark."""

    def __init__(self, began: float) -> None:
        self.began, self._last = began, began
        self.spans: dict[str, float] = {}

    def mark(self, name: str) -> None:
        now = time.monotonic()
        self.spans[name] = self.spans.get(name, 0.0) + now - self._last
        self._last = now
