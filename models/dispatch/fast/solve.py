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
from models.dispatch.fast.mixing import Mixing
from models.dispatch.fast.setting import IndexArray, Setting
from models.dispatch.fast.shards import Block, Shard, blocks_of, sample_of, strata_of
from models.dispatch.fast.small import Whole, solve_whole
from models.dispatch.fast.solution import FastSolution, Schedules
from models.dispatch.fast.sweeps import Sweeper, Workers, threads
from models.dispatch.fast.usage import peak_rss_mb
from models.dispatch.fast.warm import LastDuals
from models.dispatch.fast.warm_up import warm_up
from models.dispatch.problem import DispatchProblem
from models.intervals import FloatArray
from models.plan import Admission, DispatchPlan

SAMPLE_ROWS = 60_000
"""Rows of the sample; fleets of less than twice as many are solved without one."""
APPROACH = 40
"""Proximal rounds at most."""
HOPE = 0.3
"""What the master may still hope for at the end of them, as a part of the gap asked for."""
SMALL = 8_000
"""Rows times intervals up to which the city is solved whole: 80 devices over a day."""
ROUNDS = 20
"""Masters at most after that."""
SETTLING = 3
"""Further masters at most while what is handed out first is made good."""
NOISE_PER_KWH = 2e-5
"""Spread of the tiny price by which rows with equal choices differ, CNY per kWh."""
NEAR, SEARCH, SETTLE = 0.55, 0.7, 0.85
"""Parts of the deadline by which centre, search and allocation stop; the rest is for handing out."""
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
        city = self._ready(problem, clock)
        rows = sum(len(block) for block in city.blocks)
        if 0 < rows * len(problem.grid) <= self._small:
            return self._solve_whole(city, clock, deadline_s, gap)
        facts = {"rows": float(rows), "coupling_rows": float(len(city.rows.t))}
        generator, progress = self._search(city, deadline_s, gap, clock, facts)
        handout = self._allocate(city, generator, progress, began + SETTLE * deadline_s)
        clock.mark("allocation")
        self._last.remember(city.rows, progress.bound.duals)
        facts["mix_gap"] = progress.gap(city.scale)
        values = city.rows.values(handout.zone_kw, handout.class_kw)
        objective = handout.cost_cny + rows_cost(city.rows, values)
        found = Whole(handout.power_kw, objective, progress.bound, values)
        return self._solution(city, found, round(progress.passes), clock, {**clock.spans, **progress.seconds}, facts)

    def _search(
        self, city: _City, deadline_s: float, gap: float, clock: "_Phases", facts: dict[str, float]
    ) -> tuple[Generator, Progress]:
        """Duals, then a mix with few columns in use: first for a sample of a large fleet, then for all of it."""
        strata = strata_of(city.blocks)
        rows = sum(len(group) for group in strata)
        whole = self._generator(city, strata)
        center = self._last.find(city.rows)
        near, until = clock.began + NEAR * deadline_s, clock.began + SEARCH * deadline_s
        enough_cny = 0.5 * gap * city.scale(city.baseline.cost_cny)
        if rows > 2 * SAMPLE_ROWS:
            sample = self._generator(city, sample_of(strata, max(8, SAMPLE_ROWS // len(strata))))
            sample.stand_for(whole)
            center = sample.steer(near) if center is None else center
            center = sample.approach(center, until=near, rounds=APPROACH, enough=HOPE * gap)
            mix = sample.blend(center, until=until, rounds=3, enough_cny=enough_cny, bound_cny=-np.inf)
            whole.seed(sample.pool, sample.corner(mix, until).theta)
            facts["sample_passes"] = sample.passes
            clock.mark("sample")
        elif center is None:
            center = whole.steer(near)
        else:
            whole.between(center, center)
        center = whole.approach(center, until=near, rounds=APPROACH, enough=HOPE * gap)
        bound = whole.bound_at(center)
        clock.mark("approach")
        enough_cny = 0.5 * gap * city.scale(bound.value_cny)
        mix = whole.blend(center, until=until, rounds=ROUNDS, enough_cny=enough_cny, bound_cny=bound.value_cny)
        mix = whole.corner(mix, until)
        clock.mark("blend")
        facts |= {"passes": whole.passes, "groups": float(len(strata)), "columns": float(len(whole.pool))}
        return whole, Progress(mix, bound, round(whole.passes), whole.seconds)

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

    def _generator(self, city: _City, groups: Sequence[Shard]) -> Generator:
        return Generator(city.rows, groups, city.sweeper, scale_of=city.scale, noise=NOISE_PER_KWH, tell=self._tell)

    # ---- hand out

    def _allocate(self, city: _City, generator: Generator, progress: Progress, until: float) -> Handout:
        """First who takes one schedule, then who mixes by level, then who mixes by power; each makes good the rest."""
        handout = Handout(city.problem, city.blocks, city.sweeper)
        mix, enough = progress.mix, 1e-5 * city.scale(progress.mix.cost_cny)
        for how in (Mixing.NOT, Mixing.BY_LEVEL, Mixing.BY_POWER):
            mixing = [city.blocks[group.block].pricer.mixing for group in generator.groups]
            mine = np.flatnonzero([each is how for each in mixing])
            handout.add(_parts(how, mine, generator, mix.theta))
            rest = np.setdiff1d(np.arange(len(generator.groups)), mine)
            if not rest.size:
                break
            values = city.rows.values(handout.zone_kw, handout.class_kw) - city.rows.constant
            generator = generator.restricted(rest, Fixed(values, handout.cost_cny))
            mix = generator.settle(progress.bound.duals, until=until, rounds=SETTLING, enough_cny=enough)
        handout.finish()
        return handout

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


def _parts(how: Mixing, groups: IndexArray, generator: Generator, theta: FloatArray) -> list[Part]:
    """What the rows of some groups do."""
    columns = supports(generator.pool, theta, len(generator.groups))
    parts: list[Part] = []
    carry: dict[tuple[int, int], float] = {}
    for g in groups.tolist():
        group = generator.groups[g]
        if how is not Mixing.NOT:
            parts.append(mixed(group, columns[g], generator.pool, theta))
            continue
        key = (group.block, group.zone)
        found, carry[key] = split(group, columns[g], generator.pool, theta, carry.get(key, 0.0))
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
