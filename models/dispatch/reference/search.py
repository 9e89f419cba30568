"""The search for whole numbers: relaxed first, then each split resource by itself, branch and bound only if need be."""

from dataclasses import dataclass, field, replace

import numpy as np

from models.dispatch.problem import DispatchProblem
from models.dispatch.reference.compiled import CITY, CompiledCity, Numbers
from models.dispatch.reference.exclusive import doing_both
from models.dispatch.reference.own import OwnPrograms
from models.dispatch.reference.program import Outcome, Program
from models.dispatch.reference.structure import Entry
from models.dispatch.solve_clock import look
from models.errors import DeadlineError, SolverError
from models.intervals import FloatArray
from models.plan import relative_gap

ROUNDS = 8
"""Rounds of waking lazy equations; every round wakes at least one more resource, and few need a second."""
GUESSES = 4
"""Rounds of guessing binaries at the newest duals before branch and bound."""
WHOLE = 1e-7
"""A binary within this of 0 or 1 is whole."""
RESERVE = 3.0
"""Branch and bound leaves time for so many linear programs like the relaxed one."""


@dataclass
class Kept:
    """One compiled structure with its HiGHS, and its resources one by one."""

    city: CompiledCity
    program: Program
    own: OwnPrograms
    chargers: dict[str, Entry] = field(default_factory=dict)


def search(
    kept: Kept,
    numbers: Numbers,
    problem: DispatchProblem,
    entries: list[Entry],
    *,
    until: float,
    gap: float,
    base_cny: float,
    branch: bool,
) -> tuple[Outcome, Outcome]:
    """(the outcome with the bound, the linear program at its binaries that carries the schedule and its duals).

    Solved without the lazy equations; whoever charges and discharges at once and gains by it gets his, and again.
    """
    for _ in range(ROUNDS):
        outcome, final = _whole(kept, numbers, until=until, gap=gap, base_cny=base_cny, branch=branch)
        waking = {i for i, entry in enumerate(entries) if doing_both(kept.city, entry, i, final.x, problem)}
        if not waking - kept.program.awake:
            break
        kept.program.wake(waking)
    return outcome, final


def _whole(
    kept: Kept, numbers: Numbers, *, until: float, gap: float, base_cny: float, branch: bool
) -> tuple[Outcome, Outcome]:
    """As ``search``, for the equations that are awake.

    Without ``branch`` the best guess is the answer, with its honest gap: a re-plan every five minutes has no time for
    branch and bound, and the next one begins from better numbers anyway.
    """
    program = kept.program
    began = look("relaxing")
    relaxed = program.solve(numbers, until=until, integer=False, base_cny=base_cny)
    relaxed_s = look("relaxed") - began
    split = _split(kept, relaxed.x)
    if not split:
        return relaxed, relaxed
    best, lower = _guess(kept, numbers, relaxed, split, until=until, gap=gap, base_cny=base_cny)
    outcome = replace(best, bound=min(lower, best.objective))
    if relative_gap(best.objective, lower, base_cny) <= gap:
        return outcome, best
    if not branch:
        return replace(outcome, status="feasible"), best
    try:
        found = program.solve(
            numbers, until=until - RESERVE * relaxed_s, integer=True, gap=gap, base_cny=base_cny, guess=best.x
        )
    except DeadlineError:
        return replace(outcome, status="feasible"), best
    bound = max(lower, found.bound)
    if found.objective < best.objective - 1e-9 * abs(best.objective):
        best = program.fix_and_solve(numbers, found.x, until=until, base_cny=base_cny)
    status = "optimal" if relative_gap(best.objective, bound, base_cny) <= gap else found.status
    return replace(found, bound=min(bound, best.objective), status=status, objective=best.objective), best


def _split(kept: Kept, x: FloatArray) -> set[int]:
    """Entries with a binary that stands in the program and is neither 0 nor 1."""
    city = kept.city
    awake = np.isin(city.owner, list(kept.program.awake))
    broken = city.integer & (awake | ~city.lazy_column) & (np.abs(x - np.round(x)) > WHOLE)
    return set(np.unique(city.owner[broken]).tolist())


def _guess(
    kept: Kept,
    numbers: Numbers,
    relaxed: Outcome,
    split: set[int],
    *,
    until: float,
    gap: float,
    base_cny: float,
) -> tuple[Outcome, float]:
    """(the best whole solution found by letting split resources decide at the duals, the Lagrangian bound)."""
    city, lower = kept.city, relaxed.objective
    scale = max(abs(relaxed.objective - base_cny), 1e-3 * abs(base_cny))
    within = 0.1 * gap * scale / len(split)
    dual, whole_x = relaxed.row_dual, relaxed.x
    best: Outcome | None = None
    for round_ in range(GUESSES):
        cost = at_prices(city, numbers, dual)
        whole_x = whole_x.copy()
        for i in split:
            mine = city.owner == i
            awake = i in kept.program.awake
            alone, bound = kept.own.solve(
                frozenset({i}), numbers, cost, awake=awake, whole=True, until=until, within=within
            )
            if round_ == 0:
                lower += max(0.0, bound - float(cost[mine] @ relaxed.x[mine]))
            whole_x[mine] = alone[mine]
        found = kept.program.fix_and_solve(numbers, whole_x, until=until, base_cny=base_cny)
        if best is not None and found.objective >= best.objective - 1e-9 * abs(best.objective):
            break
        best = found
        if relative_gap(best.objective, lower, base_cny) <= gap:
            break
        dual = 0.5 * (dual + found.row_dual)
    if best is None:
        raise SolverError("no guess", "the rounds of guessing ended before the first")
    return best, lower


def at_prices(city: CompiledCity, numbers: Numbers, dual: FloatArray) -> FloatArray:
    """Cost of every column when the coupling rows are priced at ``dual`` instead of being there."""
    matrix = city.a.copy()
    matrix.data = numbers.values
    shared = np.where(city.row_owner == CITY, dual, 0.0)
    return np.asarray(numbers.cost - matrix.T @ shared)
