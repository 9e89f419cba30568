"""The whole city as plain arrays in HiGHS: small fleets to optimality, and the yardstick for the fast path."""

from dataclasses import dataclass

import numpy as np

from models.dispatch.admissions import admit
from models.dispatch.fast.explicit.baseline import explicit_baseline
from models.dispatch.fast.explicit.city import ExplicitCity, explicit_city
from models.dispatch.fast.explicit.exclusive import at_net_power, doing_both
from models.dispatch.fast.explicit.model import explicit_model
from models.dispatch.fast.explicit.program import ArrayProgram, ArraySolution
from models.dispatch.fast.explicit.standing import needless_cny
from models.dispatch.fast.explicit.units import Units
from models.dispatch.problem import DispatchProblem
from models.dispatch.solve_clock import look
from models.errors import DeadlineError
from models.intervals import FloatArray
from models.plan import Admission, RequirementAmount, relative_gap

UNMET_KW = 1e-6
"""Slacks above this are listed."""
_WORTHLESS = 1e-12
MARGIN = 0.03
"""Part of the deadline kept back for reading the solution out."""
RESERVE = 2.0
"""Guesses and branch and bound leave time for so many linear programs like the relaxed one."""
SHARE_OF_GUESSES = 0.5
"""Guesses may take this part of the time that is left, each resource its share of it; branch and bound the rest."""
GUESSES = 4
"""Rounds of guessing integers at the newest duals before branch and bound."""


@dataclass(frozen=True)
class ExplicitResult:
    """A schedule of the whole city, its cost and its bound.

    ``power_kw``, ``baseline_kw``: (R, T) in the order of ``problem.fleet.resource_ids`` (the *admitted* problem).
    ``objective_cny``: recomputed from the schedule with every slack at what its row needs (of the relaxed program
    where it was asked for relaxed: then ``power_kw`` may be what no device can do).
    ``prices``: λ = dual / Δ of the last linear program: all integers held at their values, or the relaxation where it
    is whole or asked for.  ``relaxed_prices``: λ of the relaxation, at which a Lagrangian bound is taken best; (N,)
    each, in the order of ``city.rows``.  ``status``: optimal (within the gap) or feasible (time was up).
    """

    problem: DispatchProblem
    city: ExplicitCity
    power_kw: FloatArray
    baseline_kw: FloatArray
    objective_cny: float
    bound_cny: float
    baseline_cost_cny: float
    status: str
    prices: FloatArray
    relaxed_prices: FloatArray
    slack_kw: FloatArray
    admissions: tuple[Admission, ...]
    nodes: int
    build_s: float
    solve_s: float

    @property
    def gap(self) -> float:
        """As that of a plan (``models.plan.relative_gap``)."""
        return relative_gap(self.objective_cny, self.bound_cny, self.baseline_cost_cny)

    @property
    def unmet(self) -> tuple[RequirementAmount, ...]:
        """Requirements that are not met, kW."""
        return self.city.rows.amounts(self.slack_kw, UNMET_KW)

    @property
    def price_rows(self) -> tuple[RequirementAmount, ...]:
        """``prices`` by name, CNY per kWh, where they are not zero."""
        return self.city.rows.amounts(self.prices, _WORTHLESS)


@dataclass(frozen=True)
class _Relaxed:
    """The arrays in HiGHS with all lazy equations that the relaxation asked for, and the relaxation."""

    city: ExplicitCity
    program: ArrayProgram
    solution: ArraySolution
    build_s: float
    solve_s: float


@dataclass(frozen=True)
class _Whole:
    """The linear program at the best integers, the best bound, and whether it is good enough."""

    final: ArraySolution
    bound: float
    is_optimal: bool
    nodes: int = 0


def solve_explicit(
    problem: DispatchProblem,
    *,
    deadline_s: float,
    gap: float = 1e-4,
    relaxed: bool = False,
    guess: bool = True,
    baseline_cost_cny: float | None = None,
) -> ExplicitResult:
    """The cheapest schedule of the city within ``gap`` (as a plan's, ``models.plan``), by HiGHS alone.

    ``relaxed``: the linear program only, integers and lazy equations left out.  ``guess``: give branch and bound a
    start (split resources decide by themselves at the duals), so that there is an incumbent when the deadline
    strikes.  The baseline is ``problem.baseline_kw`` if given; ``baseline_cost_cny`` is what that table costs (it
    scales the gap; left out, the tariff's part of it).

    Raises ``DeadlineError`` if there is nothing ``deadline_s`` seconds from now, ``SolverError`` if HiGHS fails.
    """
    until = look("explicit") + deadline_s * (1 - MARGIN)
    admitted, admissions = admit(problem)
    baseline, base_cny = _baseline(admitted, baseline_cost_cny, until)
    awake: set[str] = set()
    build_s, solve_s, bound = 0.0, 0.0, -np.inf
    while True:  # every round wakes at least one more resource, and few need a second
        first = _relax(admitted, baseline, awake, until=until, base_cny=base_cny, lazy=not relaxed)
        asked = look("asked")
        whole = _Whole(first.solution, first.solution.bound, True)
        if not relaxed:
            whole = _search(first, gap=gap, base_cny=base_cny, until=until, guess=guess)
        build_s, solve_s = build_s + first.build_s, solve_s + first.solve_s + look("searched") - asked
        bound = max(bound, whole.bound)
        waking = doing_both(admitted, first.city.model, first.city.device_part(whole.final.x)) - awake
        if relaxed or not waking:
            break
        awake |= waking
    city, final = first.city, whole.final
    # Relaxed, a car may do both and burn energy: net power alone would not have cost that wear.
    x = final.x if relaxed else at_net_power(city.model, final.x)
    power = city.model.power_kw(city.device_part(x))
    objective = city.cost_of(x) - (0.0 if relaxed else needless_cny(admitted, city.model, city.device_part(x)))
    return ExplicitResult(
        problem=admitted,
        city=city,
        power_kw=power,
        baseline_kw=baseline,
        objective_cny=objective,
        bound_cny=min(bound + base_cny, objective),
        baseline_cost_cny=base_cny,
        status="optimal" if whole.is_optimal else "feasible",
        prices=city.prices(final.row_dual),
        relaxed_prices=city.prices(first.solution.row_dual),
        slack_kw=city.slack_kw(power),
        admissions=admissions,
        nodes=whole.nodes,
        build_s=build_s,
        solve_s=solve_s,
    )


def _baseline(problem: DispatchProblem, cost_cny: float | None, until: float) -> tuple[FloatArray, float]:
    if problem.baseline_kw is None:
        return explicit_baseline(problem, until=until)
    if cost_cny is not None:
        return problem.baseline_kw, cost_cny
    tariff = np.array([problem.tariffs[problem.attributes[name].tariff_id] for name in problem.fleet.resource_ids])
    energy = problem.baseline_kw * tariff.reshape(problem.baseline_kw.shape) * problem.grid.hours
    return problem.baseline_kw, float(energy.sum())


def _relax(
    problem: DispatchProblem, baseline: FloatArray, awake: set[str], *, until: float, base_cny: float, lazy: bool
) -> _Relaxed:
    """Build and solve relaxed; with ``lazy`` whoever charges and discharges at once joins ``awake``, and again."""
    build_s = solve_s = 0.0
    while True:
        start = look("building")
        city = explicit_city(problem, explicit_model(problem, never_both=awake), baseline)
        program = ArrayProgram(city.arrays)
        built = look("built")
        solution = program.solve(until=until, whole=False, offset=city.constant - base_cny)
        build_s, solve_s = build_s + built - start, solve_s + look("relaxed") - built
        waking = doing_both(problem, city.model, city.device_part(solution.x)) - awake if lazy else set()
        if not waking:
            return _Relaxed(city, program, solution, build_s, solve_s)
        awake |= waking


def _search(first: _Relaxed, *, gap: float, base_cny: float, until: float, guess: bool) -> _Whole:
    """Whole numbers for the lazy equations that are awake: guesses, then branch and bound where the gap is too wide."""
    city, program, relaxed = first.city, first.program, first.solution
    fractional = program.fractional(relaxed.x)
    if not fractional.any():
        return _Whole(relaxed, relaxed.bound, True)
    best, bound = None, relaxed.bound
    if guess:
        split = np.unique(city.model.owner[np.flatnonzero(fractional)])
        best, bound = _guess(first, split.tolist(), gap=gap, base_cny=base_cny, until=until)
        if best is not None and _is_close(best, bound, gap, base_cny):
            return _Whole(best, bound, True)
    offset = city.constant - base_cny
    try:
        found = program.solve(
            until=until - RESERVE * first.solve_s,
            whole=True,
            relative_gap=gap,
            absolute_gap=gap * max(1e-3 * abs(base_cny), 1e-6),
            offset=offset,
            start=None if best is None else best.x,
        )
    except DeadlineError:
        if best is None:
            raise
        return _Whole(best, bound, False)
    bound = max(bound, found.bound)
    if best is None or found.objective < best.objective - 1e-9 * abs(best.objective):
        best = program.solve_held(found.x, until=until, offset=offset)
    return _Whole(best, bound, found.status == "optimal" or _is_close(best, bound, gap, base_cny), found.nodes)


def _is_close(best: ArraySolution, bound: float, gap: float, base_cny: float) -> bool:
    """Whether costs that are counted from the baseline's are within the gap of a plan."""
    return relative_gap(best.objective + base_cny, bound + base_cny, base_cny) <= gap


def _guess(
    first: _Relaxed, split: list[int], *, gap: float, base_cny: float, until: float
) -> tuple[ArraySolution | None, float]:
    """(the best whole solution found by letting split resources decide at the duals, the Lagrangian bound).

    None if there was no time for any: branch and bound may still find one.
    """
    city, program, relaxed = first.city, first.program, first.solution
    units, offset = Units(city.model), city.constant - base_cny
    scale = max(abs(relaxed.objective), 1e-3 * abs(base_cny))
    within = 0.1 * gap * scale / len(split)
    prices, x, bound = city.prices(relaxed.row_dual), relaxed.x.copy(), relaxed.bound
    best: ArraySolution | None = None
    ends = SHARE_OF_GUESSES * look("guesses") + (1 - SHARE_OF_GUESSES) * (until - RESERVE * first.solve_s)
    for round_ in range(GUESSES):
        cost, _ = city.model.cost_at(city.effective_prices(prices))
        try:
            for done, i in enumerate(split):
                now = look("guess")
                fair = now + (ends - now) / (len(split) - done)
                choice = units.cheapest(i, cost, until=fair, within=within)
                if round_ == 0:
                    bound += max(0.0, choice.bound - float(cost[choice.columns] @ relaxed.x[choice.columns]))
                x[choice.columns] = choice.x
            found = program.solve_held(x, until=until, offset=offset)
        except DeadlineError:
            break
        if best is not None and found.objective >= best.objective - 1e-9 * abs(best.objective):
            break
        best = found
        if _is_close(best, bound, gap, base_cny):
            break
        prices = 0.5 * (prices + city.prices(found.row_dual))
    return best, bound
