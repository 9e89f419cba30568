"""The coupling rows (M1)-(M5), recomputed from sums of the schedule: what each misses, and what its price does.

A row's excess over its limit is its slack.  In the Lagrangian every row is ``constant + Σ_i weight_i p_i ≤ slack``.
The resources that no row tells apart form a *class* (zone, pillar, and aggregator where a row asks for it), so a row
needs the sums of the classes only, plain or weighted with the reliabilities.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from models.dispatch.check.roster import Codes, Roster
from models.dispatch.problem import DispatchProblem
from models.events import Direction, Event, ScopeKind
from models.intervals import FloatArray
from models.plan import Requirement, RequirementAmount

REBOUND_SPAN = timedelta(hours=6)
CAP_FACTOR, LOW_FACTOR, HIGH_FACTOR = 1.10, 0.9, 1.1

Members = NDArray[np.bool_]


@dataclass
class Sums:
    """Sums of a table over the resources of C classes, (C, T): plain, and weighted with the reliabilities."""

    plain: FloatArray
    weighted: FloatArray

    @classmethod
    def none(cls, classes: int, count: int) -> "Sums":
        """Nothing yet."""
        return cls(np.zeros((classes, count)), np.zeros((classes, count)))

    def add(self, class_of: Codes, reliability: FloatArray, table: FloatArray) -> None:
        """Add a table (n, T) of resources whose classes and reliabilities are given, (n,)."""
        for place, (plain, weighted) in _by_group(class_of, table, reliability):
            self.plain[place] += plain
            self.weighted[place] += weighted


def _by_group(
    groups: Codes, table: FloatArray, reliability: FloatArray
) -> Iterator[tuple[int, tuple[FloatArray, FloatArray]]]:
    order = np.argsort(groups, kind="stable")
    bounds = np.concatenate([[0], np.flatnonzero(np.diff(groups[order])) + 1, [len(order)]])
    for low, high in itertools.pairwise(bounds.tolist()):
        if high > low:
            mine = order[low:high]
            both = np.array([np.ones(len(mine)), reliability[mine]]) @ table[mine]
            yield int(groups[mine[0]]), (both[0], both[1])


@dataclass(frozen=True)
class Classes:
    """C classes of resources, and which of them lie in a scope.

    ``of``: (R,) class of every resource.  ``zone``, ``aggregator``, ``pillar``: (C,) codes of the roster (aggregator −1
    where no row asks for it).
    """

    problem: DispatchProblem
    roster: Roster
    of: Codes
    zone: Codes
    aggregator: Codes
    pillar: Codes

    @classmethod
    def made(cls, problem: DispatchProblem, roster: Roster) -> "Classes":
        """The classes that the rows of a problem need."""
        asked = {event.scope_id for event in problem.events if event.scope_kind is ScopeKind.AGGREGATOR}
        asked |= {row.aggregator_id for row in problem.commitments}
        named = np.array([name in asked for name in roster.aggregators], dtype=np.bool_)
        aggregator = np.where(named[roster.aggregator], roster.aggregator, -1) if named.size else roster.aggregator
        pillars = len(roster.pillars)
        code = (aggregator.astype(np.int64) + 1) * len(roster.zones) * pillars + roster.zone * pillars + roster.pillar
        found, of = np.unique(code, return_inverse=True)
        zone_pillar = found % (len(roster.zones) * pillars)
        return cls(
            problem,
            roster,
            of.astype(np.int32),
            (zone_pillar // pillars).astype(np.int32),
            (found // (len(roster.zones) * pillars) - 1).astype(np.int32),
            (zone_pillar % pillars).astype(np.int32),
        )

    def __len__(self) -> int:
        return len(self.zone)

    def in_zones(self, names: frozenset[str]) -> Members:
        """Classes in one of some zones, (C,)."""
        return np.array([name in names for name in self.roster.zones], dtype=np.bool_)[self.zone]

    def of_aggregator(self, name: str) -> Members:
        """Classes of one aggregator, (C,)."""
        known = self.roster.aggregators
        return np.asarray(self.aggregator == (known.index(name) if name in known else -2))

    def in_scope(self, event: Event) -> Members:
        """Classes that an event's scope contains, (C,)."""
        if event.scope_kind is ScopeKind.CITY:
            return np.ones(len(self), dtype=np.bool_)
        if event.scope_kind is ScopeKind.AREA:
            return self.in_zones(self.problem.areas[event.scope_id])
        if event.scope_kind is ScopeKind.ZONE:
            return self.in_zones(frozenset({event.scope_id}))
        if event.scope_kind is ScopeKind.AGGREGATOR:
            return self.of_aggregator(event.scope_id)
        return np.asarray(self.pillar == self.roster.pillars.index(event.scope_id))

    @cached_property
    def scopes(self) -> dict[str, Members]:
        """Classes in the scope of every event, by its id."""
        return {event.event_id: self.in_scope(event) for event in self.problem.events}


@dataclass(frozen=True)
class Rows:
    """One requirement over the horizon.

    ``constant``: (T,) kW, what the row's left side is without the portfolio, minus its limit; −inf where the row does
    not stand.  ``members``: (C,) classes whose power counts, with ``factor`` and, if ``weighted``, with the
    reliabilities.  ``reference``: (T,) size of the limit, for the tolerance.  ``penalty``: CNY per kWh of slack.
    """

    requirement: Requirement
    event_id: str | None
    scope_kind: ScopeKind
    scope_id: str
    constant: FloatArray
    members: Members
    factor: float
    weighted: bool
    reference: FloatArray
    penalty: float

    def excess(self, power: Sums) -> FloatArray:
        """Slack that a schedule with these sums needs, (T,), never negative."""
        sums = power.weighted if self.weighted else power.plain
        return np.asarray(np.maximum(self.constant + self.factor * (self.members @ sums), 0.0))

    def key(self, start: datetime) -> "RowKey":
        """Name of the row in one interval."""
        return (self.requirement, self.event_id, self.scope_kind, self.scope_id, start)


RowKey = tuple[Requirement, str | None, ScopeKind, str, datetime]


def row_key(amount: RequirementAmount) -> RowKey:
    """The name of the row that a plan's line is about."""
    scope = "" if amount.scope_kind is ScopeKind.CITY else amount.scope_id
    return (amount.requirement, amount.event_id, amount.scope_kind, scope, amount.interval_start)


def coupling_rows(classes: Classes, baseline: Sums) -> list[Rows]:
    """Every requirement of the problem, with the baseline's sums in its constants."""
    return [
        *_zone_limits(classes),
        *_events(classes, baseline),
        *_rebounds(classes, baseline),
        *_commitments(classes, baseline),
    ]


def _zone_limits(classes: Classes) -> Iterator[Rows]:
    """(M1)"""
    problem = classes.problem
    for z, zone in enumerate(problem.zones):
        limit = problem.zone_limit_kw[z]
        if np.isposinf(limit).all():
            continue
        constant = problem.zone_load_kw[z] - limit
        members = np.asarray(classes.zone == z)
        penalty = problem.penalties.overload_per_kwh
        reference = np.where(np.isinf(limit), 0.0, limit)
        what = (Requirement.ZONE_LIMIT, None, ScopeKind.ZONE, zone)
        yield Rows(*what, constant, members, 1.0, False, reference, penalty)


def caps_kw(classes: Classes, event: Event) -> FloatArray:
    """Cap of an event, (T,): its target, or the largest sum of targets of disjoint events that lie inside it."""
    problem, mine = classes.problem, classes.scopes[event.event_id]
    inside = [
        (other, classes.scopes[other.event_id])
        for other in problem.events
        if other.direction is event.direction and not (classes.scopes[other.event_id] & ~mine).any()
    ]
    cap = problem.target_kw(event).copy()
    disjoint: list[tuple[Members, FloatArray]] = [(np.zeros(len(classes), dtype=np.bool_), np.zeros(len(problem.grid)))]
    for other, members in inside:
        target = problem.target_kw(other)
        disjoint += [(union | members, total + target) for union, total in disjoint if not (union & members).any()]
    for _, total in disjoint:
        cap = np.maximum(cap, total)
    return cap


def _events(classes: Classes, baseline: Sums) -> Iterator[Rows]:
    """(M2) and (M3)"""
    problem, penalties = classes.problem, classes.problem.penalties
    for event in problem.events:
        sign = 1.0 if event.direction is Direction.SHAVE else -1.0
        members = classes.scopes[event.event_id]
        from_baseline = sign * (members @ baseline.weighted)
        window = problem.grid.inside(event.start, event.end)
        target, cap = problem.target_kw(event), CAP_FACTOR * caps_kw(classes, event)
        scope = "" if event.scope_kind is ScopeKind.CITY else event.scope_id
        what = (event.event_id, event.scope_kind, scope)
        low = np.where(window, target - from_baseline, -np.inf)
        high = np.where(window, from_baseline - cap, -np.inf)
        yield Rows(Requirement.EVENT_TARGET, *what, low, members, sign, True, target, penalties.shortfall_per_kwh)
        yield Rows(Requirement.EVENT_CAP, *what, high, members, -sign, True, cap, penalties.excess_per_kwh)


def _rebounds(classes: Classes, baseline: Sums) -> Iterator[Rows]:
    """(M4)"""
    problem = classes.problem
    city = problem.zone_load_kw.sum(axis=0)
    undisturbed = city + baseline.plain.sum(axis=0)
    for event in problem.events:
        if event.rebound_cap_kw is None or event.direction is not Direction.SHAVE:
            continue
        limit = np.maximum(event.rebound_cap_kw, undisturbed)
        after = problem.grid.overlap_h(event.end, event.end + REBOUND_SPAN) > 1e-9
        constant = np.where(after, city - limit, -np.inf)
        members = np.ones(len(classes), dtype=np.bool_)
        penalty = problem.penalties.overload_per_kwh
        what = (Requirement.REBOUND, event.event_id, ScopeKind.CITY, "")
        yield Rows(*what, constant, members, 1.0, False, limit, penalty)


def _commitments(classes: Classes, baseline: Sums) -> Iterator[Rows]:
    """(M5)"""
    problem = classes.problem
    events = {event.event_id: event for event in problem.events}
    accepted: dict[tuple[str, str], FloatArray] = {}
    for row in problem.commitments:
        t = problem.grid.index_at(row.interval_start)
        if t is not None and row.event_id in events:
            table = accepted.setdefault((row.event_id, row.aggregator_id), np.full(len(problem.grid), np.nan))
            table[t] = row.accepted_kw
    penalty = problem.penalties.commitment_per_kwh
    for (event_id, aggregator), amount in accepted.items():
        sign = 1.0 if events[event_id].direction is Direction.SHAVE else -1.0
        members = classes.scopes[event_id] & classes.of_aggregator(aggregator)
        from_baseline = sign * (members @ baseline.weighted)
        stands = np.isfinite(amount)
        what = (event_id, ScopeKind.AGGREGATOR, aggregator)
        low = np.where(stands, LOW_FACTOR * amount - from_baseline, -np.inf)
        high = np.where(stands, from_baseline - HIGH_FACTOR * amount, -np.inf)
        size = np.where(stands, amount, 0.0)
        yield Rows(Requirement.COMMITMENT_LOW, *what, low, members, sign, True, size, penalty)
        yield Rows(Requirement.COMMITMENT_HIGH, *what, high, members, -sign, True, size, penalty)
