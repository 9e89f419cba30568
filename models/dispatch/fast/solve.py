"""The fast solver: the city problem by column generation, for a fleet of any size.

1. The rows are admitted, sorted into blocks and strata, and their baseline is summed (``city``).
2. A centre is found, duals at which the bound is nearly best; a sample stands for a large fleet (``search``).
3. The mix there becomes one schedule per row (``allocation``), and the cost is computed from these schedules.
"""

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from models.dispatch.fast.baseline import baseline_prices
from models.dispatch.fast.city import City, city_of
from models.dispatch.fast.generation import rows_cost
from models.dispatch.fast.handout import Handout, room_kw
from models.dispatch.fast.search import Limits, Search
from models.dispatch.fast.small import Whole, solve_whole
from models.dispatch.fast.solution import FastSolution, Schedules
from models.dispatch.fast.sweeps import Workers, threads
from models.dispatch.fast.usage import peak_rss_mb
from models.dispatch.fast.warm import LastDuals, LastMix
from models.dispatch.fast.warm_state import warm_facts, warm_of
from models.dispatch.fast.warm_up import warm_up
from models.dispatch.one_thread import one_thread
from models.dispatch.problem import DispatchProblem
from models.dispatch.solve_clock import look, stopwatch, taped
from models.dispatch.solve_record import Facts, Recording, SolveRecord
from models.plan import DispatchPlan

SMALL = 8_000
"""Rows times intervals up to which the city is solved whole: 80 devices over a day."""
UNMET_KW = 1e-6


class FastSolver:
    """Solves the city problem of ``models/dispatch/README.md``; keeps the duals of its last plan.

    ``workers``: who sweeps (threads by default).  ``tell``: hears how it goes.  ``small``: up to so many rows times
    intervals the city is solved whole.  One call at a time.
    """

    def __init__(
        self, workers: Workers | None = None, tell: Callable[[str], None] = lambda _: None, small: int = SMALL
    ) -> None:
        self._workers: Workers = threads() if workers is None else workers
        self._last, self._last_mix = LastDuals(), LastMix()
        self._tell = tell
        self._small = small
        self._recording: Recording | None = None

    @property
    def last_record(self) -> SolveRecord | None:
        """What the last solve hung on, whether a plan came out or not; None before the first."""
        return None if self._recording is None else self._recording.record()

    def solve(self, problem: DispatchProblem, *, deadline_s: float, gap: float = 1e-4) -> DispatchPlan:
        """The best plan found, within ``gap`` if there is time.

        Raises ``DeadlineError`` if a small city, solved whole, has none ``deadline_s`` seconds from now, and
        ``SolverError`` if a solver fails.
        """
        return self.solve_stream(problem, deadline_s=deadline_s, gap=gap).plan()

    def prepare(self, problem: DispatchProblem) -> None:
        """Compile or load the oracles that the problem needs."""
        warm_up(problem, self._tell)

    def recall(self, problem: DispatchProblem, warm: Facts) -> None:  # noqa: ARG002 - λ finds its rows by name
        """Know what another solver knew before it solved ``problem``."""
        self._last, self._last_mix = warm_of(warm)

    def solve_stream(self, problem: DispatchProblem, *, deadline_s: float, gap: float = 1e-4) -> FastSolution:
        """As ``solve``, with schedules that are made when they are asked for."""
        with taped() as tape, one_thread():
            self._recording = Recording("fast", {"small": self._small}, deadline_s, gap, tape)
            return self._solve(problem, self._recording)

    def _solve(self, problem: DispatchProblem, recording: Recording) -> FastSolution:
        deadline_s, gap = recording.deadline_s, recording.gap
        began, clock = look("fast"), _Phases()
        maker = ThreadPoolExecutor(1)  # beside what one core prepares
        room = maker.submit(room_kw, problem)
        maker.shutdown(wait=False)
        city = city_of(problem, self._workers, clock.mark)
        rows = sum(len(block) for block in city.blocks)
        if 0 < rows * len(problem.grid) <= self._small:
            return self._solve_whole(city, clock, deadline_s, gap)
        recording.warm = partial(warm_facts, copy.copy(self._last), copy.copy(self._last_mix))
        now = look("city")
        search = Search(city, Limits(now, deadline_s - (now - began), gap), self._tell, clock.mark)
        handout = Handout(problem, city.blocks, city.sweeper, room.result())
        search.run(self._last.find(city.rows), self._last_mix, handout)
        self._last.remember(city.rows, search.bound.duals)
        self._last_mix.remember(city.rows, search.asked)
        values = city.rows.values(handout.zone_kw, handout.class_kw)
        objective = handout.cost_cny + rows_cost(city.rows, values)
        found = Whole(handout.power_kw, objective, search.bound, values)
        return self._solution(city, found, round(search.facts["passes"]), clock.spans, search.facts)

    def _solve_whole(self, city: City, clock: "_Phases", deadline_s: float, gap: float) -> FastSolution:
        found = solve_whole(
            city.problem, self._schedules(city), city.baseline, city.sweeper, deadline_s=deadline_s, gap=gap
        )
        clock.mark("whole")
        self._last.remember(city.rows, found.bound.duals)
        return self._solution(city, found, 1, clock.spans, {"whole": 1.0})

    # ---- read out

    @staticmethod
    def _schedules(city: City) -> Schedules:
        prices = baseline_prices(city.setting, max(1, city.rows.classes))
        resources, corrected = len(city.problem.fleet.resource_ids), city.baseline.corrected
        return Schedules(city.blocks, city.sweeper.workers, prices, city.problem.baseline_kw, resources, corrected)

    def _solution(
        self,
        city: City,
        found: Whole,
        passes: int,
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
            wall_s=sum(phases.values()),
            penalties=problem.penalties.as_dict(),
            unmet=rows.amounts(found.values, UNMET_KW),
            prices=rows.amounts(found.bound.duals, 0.0),
            admissions=city.admissions,
            peak_rss_mb=peak_rss_mb(),
            power_kw=found.power_kw,
            schedules=self._schedules(city),
            phases=phases,
            facts=facts,
        )


class _Phases:
    """Seconds from mark to mark."""

    def __init__(self) -> None:
        self._last = stopwatch()
        self.spans: dict[str, float] = {}

    def mark(self, name: str) -> None:
        now = stopwatch()
        self.spans[name] = self.spans.get(name, 0.0) + now - self._last
        self._last = now
