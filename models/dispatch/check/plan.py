"""``check_plan`` and ``check_stream``: a plan against its problem, with nothing of solver or model in between.

A plan is checked in blocks of consecutive resources: what is about one device needs its own rows only, what is about
all of them (coupling rows, costs, bound, fingerprints) needs sums, which the blocks add up.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from models.dispatch.check.batches import Block
from models.dispatch.check.bound import LowerBound, Tariffs, baseline_prices, least_of
from models.dispatch.check.claims import Fingerprint, GroupSums, check_claims
from models.dispatch.check.coupling import Classes, Sums, coupling_rows
from models.dispatch.check.horizon import RELATIVE_TOLERANCE, Horizon, tolerance
from models.dispatch.check.report import CheckReport, PlanClaims, Violation
from models.dispatch.check.roster import Roster
from models.dispatch.check.summary import (
    check_admissions,
    check_bound,
    check_penalties,
    check_unmet,
    claims_no_cost,
    compare,
    holes,
    not_finite,
    same_shape,
)
from models.dispatch.check.tables import PROFILED, TableCheck, check_table, profile_of
from models.dispatch.problem import DispatchProblem
from models.intervals import FloatArray
from models.plan import Admission, DispatchPlan
from models.plan_stream import PlanBlock, PlanHead, PlanStream
from models.resources import ResourceKind

BLOCK_ROWS = 4_096
"""Resources that are checked at once: their tables stay in the processor's caches."""

MOST_LISTED = 100_000
"""Violations of devices that the report on a stream lists; whatever follows is counted by resource."""


def check_plan(
    problem: DispatchProblem,
    plan: DispatchPlan,
    *,
    bound: bool = True,
    baseline: bool = True,
    claims: PlanClaims | None = None,
) -> CheckReport:
    """Recompute every limit, sum and cost of ``plan``, and report what is off.

    ``baseline``: also the baseline table (feasible, and as cheap as the oracles can make it; if the problem gives the
    table, its fingerprint).  ``bound``: also the Lagrangian lower bound at the plan's prices, by the oracles.
    ``claims``: what a plan folder says beyond the plan: fingerprints, gap, sums per group.
    """
    return _check(problem, plan, _slices(plan), _Asked(bound, baseline, claims, None))


def check_stream(
    problem: DispatchProblem,
    stream: PlanStream,
    *,
    bound: bool = True,
    baseline: bool = True,
    claims: PlanClaims | None = None,
) -> CheckReport:
    """``check_plan`` for a plan that comes in blocks, in one pass and in memory that does not grow with the tables.

    At most ``MOST_LISTED`` violations of devices are listed; ``CheckReport.unlisted`` counts the other suspects.
    """
    return _check(problem, stream, stream.blocks(BLOCK_ROWS), _Asked(bound, baseline, claims, MOST_LISTED))


def _slices(plan: DispatchPlan) -> Iterator[PlanBlock]:
    """A plan in memory as blocks in its own order, without copies."""
    for first in range(0, len(plan.resource_ids), BLOCK_ROWS):
        rows = slice(first, first + BLOCK_ROWS)
        yield PlanBlock(
            plan.resource_ids[rows],
            plan.power_kw[rows],
            plan.energy_kwh[rows],
            plan.baseline_kw[rows],
            plan.baseline_energy_kwh[rows],
        )


class _Asked:
    """What shall be checked, and how many violations of devices be listed (None: all)."""

    def __init__(self, bound: bool, baseline: bool, claims: PlanClaims | None, most: int | None) -> None:
        self.bound, self.baseline, self.claims = bound, baseline, claims
        self.most = np.inf if most is None else most


def _check(problem: DispatchProblem, head: PlanHead, blocks: Iterable[PlanBlock], asked: _Asked) -> CheckReport:
    found = same_shape(problem, head)
    if not found:
        once = _Pass(problem, head, asked)
        for block in blocks:
            once.add(block)
        found = once.misfits()
        if not found:
            return once.report()
    nan = float("nan")
    return CheckReport(tuple(found), nan, nan, None, head.lower_bound_cny)


class _Pass:
    """One pass over the blocks of a plan: violations found so far, and sums."""

    def __init__(self, problem: DispatchProblem, head: PlanHead, asked: _Asked) -> None:
        self.problem, self.head, self.asked = problem, head, asked
        self.horizon = Horizon.of(problem)
        self.roster = Roster.of(problem)
        self.tariffs = Tariffs.of(problem)
        self.classes = Classes.made(problem, self.roster)
        shape = (len(self.classes), len(problem.grid))
        self.power, self.baseline = Sums.none(*shape), Sums.none(*shape)
        self.bound: LowerBound | None = None
        if asked.bound:
            rows = coupling_rows(self.classes, Sums.none(*shape))
            self.bound = LowerBound.at(head, problem, self.tariffs, self.classes, rows)
        self.group_sums = None if asked.claims is None else GroupSums(self.roster, shape[1])
        self.plan_hash, self.baseline_hash = Fingerprint(problem.grid), Fingerprint(problem.grid)
        self.cost = self.baseline_cost = 0.0
        self.admissions: list[Admission] = []
        self.setpoints: list[Violation] = []
        self.baselines: list[Violation] = []
        self.leasts: list[Violation] = []
        self.unlisted = 0
        self.count = 0
        self.foreign = False
        self.holes = {"power_kw": 0, "baseline_kw": 0}

    def misfits(self) -> list[Violation]:
        """What makes every other check idle: foreign resources, holes."""
        names = self.problem.fleet.resource_ids
        if self.foreign or self.count != len(names):
            off = abs(self.count - len(names))
            return [Violation("plan", "plan", "resource_ids", None, off, len(names), self.count)]
        return [not_finite(name, count) for name, count in self.holes.items() if count]

    def add(self, given: PlanBlock) -> None:
        """Check one block, and add it to the sums."""
        first = self.count
        self.count += len(given.resource_ids)
        self.foreign |= given.resource_ids != self.problem.fleet.resource_ids[first : self.count]
        for name in self.holes:
            self.holes[name] += holes(getattr(given, name))
        if self.foreign or any(self.holes.values()):
            return
        block = Block.of(self.roster, self.horizon, first, self.count)
        done = check_table(block, given.power_kw, given.energy_kwh, "setpoints", self._listing())
        self.setpoints += done.violations
        self.unlisted += done.unlisted
        self.cost += self._table_cost(block, done, given.power_kw) + self._real_time_cost(block, given.power_kw)
        self.admissions += block.admissions()
        table = self._add_baseline(block, given)
        part = slice(first, self.count)
        class_of, reliability = self.classes.of[part], self.roster.reliability[part]
        self.power.add(class_of, reliability, given.power_kw)
        self.baseline.add(class_of, reliability, table)
        self.plan_hash.add(given.resource_ids, given.power_kw)
        self.baseline_hash.add(given.resource_ids, given.baseline_kw)
        if self.group_sums is not None:
            self.group_sums.add(first, given.baseline_kw, given.power_kw)
        if self.bound is not None:
            self.bound.add(block)

    def _listing(self) -> bool:
        return len(self.setpoints) + len(self.baselines) + len(self.leasts) < self.asked.most

    def _add_baseline(self, block: Block, given: PlanBlock) -> FloatArray:
        """Check the baseline of a block; returns the table (n, T) that counts."""
        table = self.problem.baseline_kw
        if table is not None:
            table = table[block.first : block.last]
            if self._listing():
                self.baselines += self._unlike_given(block, table, given.baseline_kw)
            else:
                self.unlisted += int(np.any(table != given.baseline_kw, axis=1).sum())
            return table
        if self.asked.baseline:
            done = check_table(block, given.baseline_kw, given.baseline_energy_kwh, "baseline", self._listing())
            self.baselines += done.violations
            self.unlisted += done.unlisted
            self.baseline_cost += self._table_cost(block, done, given.baseline_kw)
            leasts = self._not_least(block, done, given.baseline_kw)
            if self._listing():
                self.leasts += leasts
            else:
                self.unlisted += len({item.subject for item in leasts})
        return given.baseline_kw

    def _unlike_given(self, block: Block, table: FloatArray, said: FloatArray) -> list[Violation]:
        """The table of the market day is given: the plan must carry it unchanged."""
        found = []
        for row, t in np.argwhere(table != said):
            what = (self._name(block, row), self._kind(block, row), "baseline_given", self.problem.grid.starts[t])
            off = abs(float(said[row, t]) - float(table[row, t]))
            found.append(Violation(*what, off, float(table[row, t]), float(said[row, t]), "baseline"))
        return found

    def _not_least(self, block: Block, done: TableCheck, power_kw: FloatArray) -> list[Violation]:
        """A load's baseline is its profile; any other's is as cheap as can be, the tie-breaking term included."""
        found: list[tuple[int, Violation]] = []
        starts, hours = self.problem.grid.starts, self.horizon.hours
        for group in block.groups:
            power, kind = power_kw[group.places], group.kind.value
            if group.kind in PROFILED:
                profile = profile_of(group)
                for row, t in np.argwhere(np.abs(power - profile) > tolerance(profile)):
                    place, ours, said = int(group.places[row]), float(profile[row, t]), float(power[row, t])
                    what = (self._name(block, place), kind, "baseline_profile", starts[t])
                    found.append((place, Violation(*what, abs(said - ours), ours, said, "baseline")))
                continue
            prices = baseline_prices(self.tariffs, block, group)
            least, exact = least_of(block, group, prices)
            cost = np.einsum("nt,nt->n", prices.per_kwh * hours, power) + done.own_cost[group.places]
            cost += prices.late_per_kwh * done.late_kwh[group.places]
            slack = RELATIVE_TOLERANCE * np.maximum(1.0, np.abs(least))
            wrong = (exact & (np.abs(cost - least) > slack)) | (cost < least - slack)
            for row in np.flatnonzero(wrong & ~done.bad[group.places]):
                place, ours, said = int(group.places[row]), float(least[row]), float(cost[row])
                what = (self._name(block, place), kind, "baseline_cost", None)
                found.append((place, Violation(*what, abs(said - ours), ours, said, "baseline")))
        return [violation for _, violation in sorted(found, key=lambda entry: entry[0])]

    def _name(self, block: Block, place: int) -> str:
        return self.problem.fleet.resource_ids[block.first + place]

    def _kind(self, block: Block, place: int) -> str:
        kind: ResourceKind = self.roster.kinds[self.roster.kind[block.first + place]]
        return kind.value

    def _table_cost(self, block: Block, done: TableCheck, power_kw: FloatArray) -> float:
        """Tariff, own costs, and what is drawn after the horizon at the tariff's mean."""
        code = self.roster.tariff[block.first : block.last]
        cost = float(np.einsum("nt,nt->", (self.tariffs.per_kwh * self.horizon.hours)[code], power_kw))
        return cost + float(done.own_cost.sum()) + float(self.tariffs.mean[code] @ done.late_kwh)

    def _real_time_cost(self, block: Block, power_kw: FloatArray) -> float:
        """What switching now, and straying from the day plan outside events, costs a re-plan."""
        terms, penalties = self.problem.real_time, self.problem.penalties
        if terms is None:
            return 0.0
        part = slice(block.first, block.last)
        switched = np.nansum(np.abs(power_kw[:, 0] - terms.now_kw[part]))
        away = np.abs(power_kw - terms.plan_kw[part])
        strayed = np.where(np.isnan(away), 0.0, away).sum(axis=0) @ (terms.stray_applies * self.horizon.hours)
        return float(penalties.switch_cost_per_kw * switched + penalties.stray_cost_per_kwh * strayed)

    def report(self) -> CheckReport:
        """Everything that the sums decide, and the violations in order."""
        problem, head = self.problem, self.head
        rows = coupling_rows(self.classes, self.baseline)
        slack_cost, unmet = check_unmet(problem, rows, self.power, head)
        objective, baseline_cost = self.cost + slack_cost, head.baseline_cost_cny
        found = [*self.setpoints, *check_admissions(self.admissions, head), *unmet]
        found += [] if claims_no_cost(head) else compare("objective_cny", head.objective_cny, objective)
        found += [*self.baselines, *self.leasts]
        if problem.baseline_kw is None and self.asked.baseline:
            baseline_cost = self.baseline_cost
            found += compare("baseline_cost_cny", head.baseline_cost_cny, baseline_cost)
        found += check_penalties(problem, head)
        own_bound: float | None = None
        kinds: dict[str, str] = {}
        if self.bound is not None:
            own_bound, kinds = self.bound.close(rows), self.bound.kinds
            found += check_bound(head, objective, own_bound)
        report = CheckReport(
            tuple(found),
            objective,
            baseline_cost,
            own_bound,
            head.lower_bound_cny,
            kinds,
            self.plan_hash.hexdigest(),
            self.baseline_hash.hexdigest(),
            self.unlisted,
        )
        if self.asked.claims is None or self.group_sums is None:
            return report
        return replace(report, violations=(*found, *check_claims(head, self.asked.claims, self.group_sums, report)))
