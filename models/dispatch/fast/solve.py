"""The fast solver: the city problem by column generation, for a fleet of any size.

1. The rows are admitted, sorted into blocks and shards, and their baseline is summed (``shards``, ``coupling``).
2. A sample of the fleet, each row standing for many, gives the duals (``generation``); or the last plan does.
3. The whole fleet is asked at the sample's points, and then between them, until the mix is good enough.
4. The mix becomes one schedule per row (``allocation``), and the cost is computed from these schedules.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from models.dispatch.fast.admitted import admit_columns
from models.dispatch.fast.allocation import Part, mixed, split, supports
from models.dispatch.fast.baseline import Baseline, baseline_of, baseline_prices
from models.dispatch.fast.coupling import Classes, CouplingRows, coupling_rows
from models.dispatch.fast.generation import Fixed, Generator, Progress, rows_cost
from models.dispatch.fast.handout import Handout
from models.dispatch.fast.master import Pool
from models.dispatch.fast.mixing import Mixing
from models.dispatch.fast.setting import IndexArray, Setting
from models.dispatch.fast.shards import Block, Cut, Shard, blocks_of, cut
from models.dispatch.fast.small import Whole, solve_whole
from models.dispatch.fast.solution import FastSolution, Schedules
from models.dispatch.fast.sweeps import Sweeper, Workers, threads
from models.dispatch.fast.usage import peak_rss_mb
from models.dispatch.fast.warm import LastDuals
from models.dispatch.fast.warm_up import warm_up
from models.dispatch.problem import DispatchProblem
from models.intervals import FloatArray
from models.plan import Admission, DispatchPlan

TURNS = 200
"""Shards of a zone: each moves the duals of the next, and is small against all of them."""
GROUPS = 24
"""Columns of a zone in the master, for every sweep."""
SAMPLE_ROWS = 60_000
"""Rows of the sample; fleets of less than twice as many are solved without one."""
COLD = (3.0, 2.0, 1.5, 1.0, 0.7, 0.5, 0.35, 0.25, 0.17, 0.12, 0.08, 0.05)
"""How far a row that is off by all that moves in it moves its price, CNY per kWh, sweep by sweep."""
AFTER_SAMPLE = (0.7, 0.4, 0.2, 0.1, 0.05)
"""The same when a sample's duals are known, ..."""
WARM = (0.4, 0.2, 0.1)
"""... or the last plan's."""
SMALL = 8_000
"""Rows times intervals up to which the city is solved whole: 80 devices over a day."""
ROUNDS = 60
"""Masters at most."""
SETTLING = 3
"""Further masters at most while what is handed out first is made good."""
NOISE_PER_KWH = 2e-5
"""Spread of the tiny price by which rows with equal choices differ, CNY per kWh."""
SEARCH, SETTLE = 0.7, 0.85
"""Parts of the deadline by which the search and then the allocation stop; the rest is for handing out."""
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

    ``workers``: who sweeps (threads by default).  ``tell``: hears how it goes.  ``small``: up to so many rows times
    intervals the city is solved whole.  One call at a time.
    """

    def __init__(
        self, workers: Workers | None = None, tell: Callable[[str], None] = lambda _: None, small: int = SMALL
    ) -> None:
        self._workers: Workers = threads() if workers is None else workers
        self._last = LastDuals()
        self._tell = tell
        self._small = small

    def solve(self, problem: DispatchProblem, *, deadline_s: float, gap: float = 1e-4) -> DispatchPlan:
        """The best plan found, within ``gap`` if there is time.

        Raises ``DeadlineError`` if there is none ``deadline_s`` seconds from now, ``SolverError`` if a solver fails.
        """
        return self.solve_stream(problem, deadline_s=deadline_s, gap=gap).plan()

    def prepare(self, problem: DispatchProblem) -> None:
        """Compile or load the oracles that the problem needs."""
        warm_up(problem, self._tell)

    def solve_stream(self, problem: DispatchProblem, *, deadline_s: float, gap: float = 1e-4) -> FastSolution:
        """As ``solve``, with schedules that are made when they are asked for."""
        began = time.monotonic()
        clock = _Phases(began)
        until = began + SEARCH * deadline_s
        city = self._ready(problem, clock)
        rows = sum(len(block) for block in city.blocks)
        if 0 < rows * len(problem.grid) <= self._small:
            return self._solve_whole(city, clock, deadline_s, gap)
        start = self._last.find(city.rows)
        seconds = {"sweeps": 0.0, "master": 0.0}
        facts = {"rows": float(rows), "coupling_rows": float(len(city.rows.t))}
        zero = np.zeros(len(city.rows.t))
        schedule: Sequence[float] = WARM if start is not None else COLD
        generator = self._generator(city, cut(city.blocks, turns=TURNS, groups=GROUPS))
        if start is None and rows > 2 * SAMPLE_ROWS:
            first = self._generator(city, cut(city.blocks, turns=TURNS, groups=1, fraction=SAMPLE_ROWS / rows))
            first.stand_for(generator)
            start, schedule = first.find_duals(zero, COLD, until), AFTER_SAMPLE
            facts["sample_passes"] = float(first.passes)
            clock.mark("sample")
        start = zero if start is None else start
        progress = generator.run(start, schedule, until=until, gap=0.5 * gap, rounds=ROUNDS)
        seconds |= progress.seconds
        clock.mark("generation")
        handout = self._allocate(city, generator, progress, began + SETTLE * deadline_s)
        clock.mark("allocation")
        self._last.remember(city.rows, progress.bound.duals)
        facts |= {
            "passes": float(generator.passes),
            "shards": float(len(generator.cut.shards)),
            "columns": float(len(generator.pool)),
        }
        facts["mix_gap"] = progress.gap(city.scale)
        values = city.rows.values(handout.zone_kw, handout.class_kw)
        objective = handout.cost_cny + rows_cost(city.rows, values)
        found = Whole(handout.power_kw, objective, progress.bound, values)
        return self._solution(city, found, progress.passes, clock, {**clock.spans, **seconds}, facts)

    def _solve_whole(self, city: _City, clock: "_Phases", deadline_s: float, gap: float) -> FastSolution:
        found = solve_whole(
            city.problem, self._schedules(city), city.baseline, city.sweeper, deadline_s=deadline_s, gap=gap
        )
        clock.mark("whole")
        self._last.remember(city.rows, found.bound.duals)
        return self._solution(city, found, 1, clock, clock.spans, {"whole": 1.0})

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

    def _generator(self, city: _City, cut_: Cut) -> Generator:
        return Generator(city.rows, cut_, city.sweeper, scale_of=city.scale, noise=NOISE_PER_KWH, tell=self._tell)

    # ---- hand out

    def _allocate(self, city: _City, generator: Generator, progress: Progress, until: float) -> Handout:
        """First who takes one schedule, then who mixes by level, then who mixes by power; each makes good the rest."""
        handout = Handout(city.problem, city.blocks, city.sweeper)
        mix, enough = progress.mix, 1e-5 * city.scale(progress.mix.cost_cny)
        for how in (Mixing.NOT, Mixing.BY_LEVEL, Mixing.BY_POWER):
            shards, mixing = self._by_group(city, generator)
            mine = np.flatnonzero([each is how for each in mixing])
            columns = supports(generator.pool, mix.theta, len(shards))
            handout.add(_parts(how, mine, shards, columns, generator.pool, mix.theta))
            rest = np.setdiff1d(np.arange(len(shards)), mine)
            if not rest.size:
                break
            values = city.rows.values(handout.zone_kw, handout.class_kw) - city.rows.constant
            generator = generator.restricted(rest, Fixed(values, handout.cost_cny))
            mix = generator.settle(progress.bound.duals, until=until, rounds=SETTLING, enough_cny=enough)
        handout.finish()
        return handout

    @staticmethod
    def _by_group(city: _City, generator: Generator) -> tuple[list[list[Shard]], list[Mixing]]:
        the_cut = generator.cut
        edges = np.searchsorted(the_cut.group, np.arange(1, the_cut.groups))
        shards = [[the_cut.shards[s] for s in own] for own in np.split(np.arange(len(the_cut.shards)), edges)]
        return shards, [city.blocks[own[0].block].pricer.mixing for own in shards]

    # ---- read out

    @staticmethod
    def _schedules(city: _City) -> Schedules:
        prices = baseline_prices(city.setting, max(1, city.rows.classes))
        resources, corrected = len(city.problem.fleet.resource_ids), city.baseline.corrected
        return Schedules(city.blocks, prices, city.problem.baseline_kw, resources, corrected)

    def _solution(
        self,
        city: _City,
        found: Whole,
        passes: int,
        clock: "_Phases",
        phases: dict[str, float],
        facts: dict[str, float],
    ) -> FastSolution:
        rows, problem, objective = city.rows, city.problem, found.objective_cny
        rounding = 1e-9 * max(1.0, abs(objective))
        return FastSolution(
            grid=problem.grid,
            resource_ids=problem.fleet.resource_ids,
            status="optimal" if objective - found.bound.value_cny <= 1e-4 * city.scale(objective) else "feasible",
            objective_cny=objective,
            baseline_cost_cny=city.baseline.cost_cny,
            lower_bound_cny=min(found.bound.value_cny, objective) - rounding,
            iterations=passes,
            wall_s=time.monotonic() - clock.began,
            penalties=problem.penalties.as_dict(),
            unmet=rows.amounts(found.values, UNMET_KW),
            prices=rows.amounts(found.bound.duals, 0.0),
            water_values={problem.fleet.resource_ids[row]: value for row, value in found.bound.water.items()},
            admissions=city.admissions,
            peak_rss_mb=peak_rss_mb(),
            power_kw=found.power_kw,
            schedules=self._schedules(city),
            phases=phases,
            facts=facts,
        )


def _parts(
    how: Mixing,
    groups: IndexArray,
    shards: Sequence[Sequence[Shard]],
    columns: Sequence[IndexArray],
    pool: Pool,
    theta: FloatArray,
) -> list[Part]:
    """What the rows of ``groups`` do."""
    parts: list[Part] = []
    carry: dict[tuple[int, int], float] = {}
    for g in groups.tolist():
        if how is not Mixing.NOT:
            parts += mixed(shards[g], columns[g], pool, theta)
            continue
        key = (shards[g][0].block, shards[g][0].zone)
        found, carry[key] = split(shards[g], columns[g], pool, theta, carry.get(key, 0.0))
        parts += found
    return parts


class _Phases:
    """Seconds from mark to mark."""

    def __init__(self, began: float) -> None:
        self.began, self._last = began, began
        self.spans: dict[str, float] = {}

    def mark(self, name: str) -> None:
        now = time.monotonic()
        self.spans[name] = self.spans.get(name, 0.0) + now - self._last
        self._last = now
