"""The reference solver: the whole city as one program, in Pyomo's equations and HiGHS's hands."""

import gc
import resource
import sys
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np

from models.dispatch.admissions import admit
from models.dispatch.one_thread import one_thread
from models.dispatch.problem import DispatchProblem
from models.dispatch.reference.baseline import make_baseline
from models.dispatch.reference.city import given_city
from models.dispatch.reference.compiled import CompiledCity, Numbers, is_charger
from models.dispatch.reference.own import OwnPrograms
from models.dispatch.reference.program import Outcome, Program
from models.dispatch.reference.requirements import prices_of, slack_amounts
from models.dispatch.reference.schedule import energy_kwh, own_cost_cny, standing_cost_cny
from models.dispatch.reference.search import Kept, search
from models.dispatch.reference.structure import Entry, Shape, city_key, covers, entries_of
from models.dispatch.reference.warm_state import chargers_of, warm_facts, warm_of
from models.dispatch.solve_clock import look, stopwatch, taped
from models.dispatch.solve_record import Facts, Recording, SolveRecord
from models.intervals import FloatArray
from models.plan import Admission, DispatchPlan, PlanSource

CACHED = 12
"""Compiled structures kept: real time goes through the phases of the half hour."""
MARGIN = 0.03
"""Part of the deadline kept back for reading the solution out."""


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Pyomo makes millions of objects that all stay: looking for garbage among them costs a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class ReferenceSolver:
    """Solves the city problem of ``models/dispatch/README.md``; keeps what it has compiled.

    One call at a time; use one solver per process.  ``branch``: branch and bound in real time too, for which a re-plan
    every five minutes has no time.
    """

    def __init__(self, *, branch: bool = False) -> None:
        self._branch = branch
        self._kept: OrderedDict[Shape, Kept] = OrderedDict()
        self._chargers: dict[str, Entry] = {}
        self._recording: Recording | None = None

    @property
    def last_record(self) -> SolveRecord | None:
        """What the last solve hung on, whether a plan came out or not; None before the first."""
        return None if self._recording is None else self._recording.record()

    def solve(self, problem: DispatchProblem, *, deadline_s: float, gap: float = 1e-4) -> DispatchPlan:
        """The cheapest plan within ``gap``.

        Raises ``DeadlineError`` if there is none ``deadline_s`` seconds from now, ``SolverError`` if the solver fails.
        """
        with taped() as tape, one_thread():
            self._recording = Recording("reference", {"branch": self._branch}, deadline_s, gap, tape)
            return self._solve(problem, self._recording)

    def _solve(self, problem: DispatchProblem, recording: Recording) -> DispatchPlan:
        began, gap = stopwatch(), recording.gap
        until = look("reference") + recording.deadline_s * (1 - MARGIN)
        admitted, admissions = admit(problem)
        wanted = {entry.resource_id: entry for entry in entries_of(admitted)}
        kept = self._compiled(admitted, wanted)
        city = kept.city
        recording.warm = partial(warm_facts, kept.program.begin(), kept.chargers, admitted)
        entries = city.entries_for(admitted, wanted)
        baseline = self._baseline(kept, admitted, entries, until)
        numbers = city.numbers(admitted, entries, baseline)
        base_cny = self._baseline_cost(admitted, entries, baseline)
        branch = self._branch or problem.real_time is None
        outcome, final = search(
            kept, numbers, admitted, entries, until=until, gap=gap, base_cny=base_cny, branch=branch
        )
        return self._plan(
            kept,
            numbers,
            admitted,
            entries,
            baseline,
            base_cny,
            outcome,
            final,
            admissions,
            stopwatch() - began,
        )

    def prepare(self, problem: DispatchProblem) -> None:
        """Compile the structure of ``problem`` if it is not known yet, so that the first solve need not."""
        admitted, _ = admit(problem)
        self._compiled(admitted, {entry.resource_id: entry for entry in entries_of(admitted)})

    def recall(self, problem: DispatchProblem, warm: Facts) -> None:
        """Know what another solver knew before it solved ``problem``."""
        admitted, _ = admit(problem)
        wanted = {entry.resource_id: entry for entry in entries_of(admitted)}
        self._chargers = chargers_of(warm, wanted, admitted)
        self._compile(admitted, wanted, list(self._chargers.values())).program.begin(warm_of(warm))

    def rest(self) -> None:
        """Between two solves: make ready what the record of the next one asks for."""
        for kept in self._kept.values():
            kept.program.rest()

    # ---- compile, or find

    def _compiled(self, problem: DispatchProblem, wanted: dict[str, Entry]) -> Kept:
        chargers = {name: entry for name, entry in wanted.items() if is_charger(entry)}
        key = city_key(problem, list(wanted.values()))
        kept = self._kept.get(key)
        if kept is not None and self._has_room(kept, chargers):
            self._kept.move_to_end(key)
            return kept
        return self._compile(problem, wanted, self._remember(problem, chargers))

    def _compile(self, problem: DispatchProblem, wanted: dict[str, Entry], chargers: list[Entry]) -> Kept:
        key = city_key(problem, list(wanted.values()))
        entries = [*(entry for entry in wanted.values() if not is_charger(entry)), *chargers]
        entries.sort(key=lambda entry: entry.resource_id.encode())
        with _without_garbage_collection():
            city = CompiledCity(problem, entries, np.zeros((len(entries), len(problem.grid))))
        kept = Kept(
            city, Program(city), OwnPrograms(city), {entry.resource_id: entry for entry in entries if is_charger(entry)}
        )
        self._kept[key] = kept
        self._kept.move_to_end(key)
        while len(self._kept) > CACHED:
            self._kept.popitem(last=False)
        return kept

    @staticmethod
    def _has_room(kept: Kept, chargers: dict[str, Entry]) -> bool:
        return all(name in kept.chargers and covers(kept.chargers[name], entry) for name, entry in chargers.items())

    def _remember(self, problem: DispatchProblem, chargers: dict[str, Entry]) -> list[Entry]:
        """The chargers of this problem, and those of earlier ones whose cars may come again."""
        if not chargers:
            return []
        for name, entry in chargers.items():
            known = self._chargers.get(name)
            if known is None or not covers(known, entry):
                self._chargers[name] = entry
        usable = {
            name: entry
            for name, entry in self._chargers.items()
            if name in chargers or (entry.row.zone_id in problem.zones and len(self._chargers) <= 4 * len(chargers))
        }
        return [entry for name, entry in usable.items() if name in chargers or name not in problem.attributes]

    # ---- solve

    def _baseline(self, kept: Kept, problem: DispatchProblem, entries: list[Entry], until: float) -> FloatArray:
        if problem.baseline_kw is None:
            return make_baseline(kept.own, problem, entries, until=until)
        position = {name: i for i, name in enumerate(problem.fleet.resource_ids)}
        baseline = np.zeros((len(entries), len(problem.grid)))
        for i, entry in enumerate(entries):
            if entry.resource_id in position:
                baseline[i] = problem.baseline_kw[position[entry.resource_id]]
        return baseline

    @staticmethod
    def _baseline_cost(problem: DispatchProblem, entries: list[Entry], baseline: FloatArray) -> float:
        """Tariffs and own costs of the baseline, CNY, no penalties."""
        prices = given_city(problem, entries, baseline).coefficients["price_per_kwh"]
        own = sum(own_cost_cny(entry, baseline[i], problem) for i, entry in enumerate(entries))
        return float((prices * baseline).sum() + own)

    # ---- read out

    def _plan(
        self,
        kept: Kept,
        numbers: Numbers,
        problem: DispatchProblem,
        entries: list[Entry],
        baseline: FloatArray,
        base_cny: float,
        outcome: Outcome,
        final: Outcome,
        admissions: tuple[Admission, ...],
        wall_s: float,
    ) -> DispatchPlan:
        city, index = kept.city, {entry.resource_id: i for i, entry in enumerate(entries)}
        order = [index[name] for name in problem.fleet.resource_ids]
        x = clean(city, final.x, entries)
        power = x[city.net]
        unmet, x = slack_amounts(city, numbers, problem, x)
        objective = float(numbers.cost @ x) - _needless_cny(city, numbers, problem, entries, x)
        slack = 1e-9 * max(1.0, abs(objective), abs(base_cny))
        shown = [energy_kwh(entries[i], power[i], problem) for i in order]
        shown_base = [energy_kwh(entries[i], baseline[i], problem) for i in order]
        shape = (len(order), len(problem.grid))
        return DispatchPlan(
            grid=problem.grid,
            resource_ids=problem.fleet.resource_ids,
            power_kw=power[order],
            energy_kwh=np.array(shown).reshape(shape),
            baseline_kw=baseline[order],
            baseline_energy_kwh=np.array(shown_base).reshape(shape),
            status=outcome.status,
            source=PlanSource.REFERENCE,
            objective_cny=objective,
            baseline_cost_cny=base_cny,
            lower_bound_cny=min(outcome.bound, objective) - slack,
            iterations=max(1, outcome.nodes),
            wall_s=wall_s,
            penalties=problem.penalties.as_dict(),
            unmet=unmet,
            prices=prices_of(city, problem, final.row_dual),
            admissions=admissions,
            peak_rss_mb=peak_rss_mb(),
        )


def _needless_cny(
    city: CompiledCity, numbers: Numbers, problem: DispatchProblem, entries: list[Entry], x: FloatArray
) -> float:
    """What units pay for running at 0 kW, or standing in a mode, without need, CNY."""
    found = 0.0
    for i, entry in enumerate(entries):
        names, cheapest = standing_cost_cny(entry, x[city.net[i]], problem)
        paid = sum(float(numbers.cost[city.columns[i][name]] @ x[city.columns[i][name]]) for name in names)
        found += max(0.0, paid - cheapest)
    return found


def clean(city: CompiledCity, x: FloatArray, entries: list[Entry]) -> FloatArray:
    """The solution with batteries at their net power: what charges and discharges at once at no gain does neither."""
    x = x.copy()
    for places in city.columns:
        if "discharge_kw" not in places:
            continue
        charge, discharge = places["charge_kw"], places["discharge_kw"]
        both = np.minimum(x[charge], x[discharge])
        both[(charge < 0) | (discharge < 0)] = 0.0
        x[charge] -= both
        x[discharge] -= both
    return x


def peak_rss_mb() -> float:
    """Largest resident memory of this process so far, MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)
