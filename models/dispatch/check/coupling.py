"""The coupling rows (M1)-(M5), recomputed from the schedule: what each misses, and what its price does to a resource.

A row's excess over its limit is its slack.  In the Lagrangian every row is ``constant + Σ_i weight_i p_i ≤
slack``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from models.dispatch.problem import DispatchProblem
from models.events import Direction, Event, ScopeKind
from models.intervals import FloatArray
from models.plan import Requirement, RequirementAmount

REBOUND_SPAN = timedelta(hours=6)
CAP_FACTOR, LOW_FACTOR, HIGH_FACTOR = 1.10, 0.9, 1.1


@dataclass(frozen=True)
class Rows:
    """One requirement over the horizon.

    ``constant``: (T,) kW, what the row's left side is without the portfolio, minus its limit; −inf where the
    row does not stand.  ``weight``: (R,), factor of every resource's power.  ``reference``: (T,) size of the
    limit, for the tolerance.  ``penalty``: CNY per kWh of slack.
    """

    requirement: Requirement
    event_id: str | None
    scope_kind: ScopeKind
    scope_id: str
    constant: FloatArray
    weight: FloatArray
    reference: FloatArray
    penalty: float

    def excess(self, power_kw: FloatArray) -> FloatArray:
        """Slack that the schedule (R, T) needs, (T,), never negative."""
        members = np.flatnonzero(self.weight)
        moved = self.weight[members] @ power_kw[members] if members.size else 0.0
        return np.asarray(np.maximum(self.constant + moved, 0.0))

    def key(self, start: datetime) -> "RowKey":
        """Name of the row in one interval."""
        return (self.requirement, self.event_id, self.scope_kind, self.scope_id, start)


RowKey = tuple[Requirement, str | None, ScopeKind, str, datetime]


def row_key(amount: RequirementAmount) -> RowKey:
    """The name of the row that a plan's line is about."""
    scope = "" if amount.scope_kind is ScopeKind.CITY else amount.scope_id
    return (amount.requirement, amount.event_id, amount.scope_kind, scope, amount.interval_start)


def coupling_rows(problem: DispatchProblem, baseline_kw: FloatArray) -> list[Rows]:
    """Every requirement of the problem, with the baseline (R, T) in its constants."""
    return [
        *_zone_limits(problem),
        *_events(problem, baseline_kw),
        *_rebounds(problem, baseline_kw),
        *_commitments(problem, baseline_kw),
    ]


def _members(problem: DispatchProblem, inside: frozenset[str] | set[str]) -> NDArray[np.bool_]:
    return np.array([name in inside for name in problem.fleet.resource_ids], dtype=np.bool_)


def _reliability(problem: DispatchProblem) -> FloatArray:
    return np.array([problem.attributes[name].reliability_fraction for name in problem.fleet.resource_ids])


def _zone_limits(problem: DispatchProblem) -> Iterator[Rows]:
    """(M1)"""
    zone_of = np.array([problem.attributes[name].zone_id for name in problem.fleet.resource_ids], dtype=object)
    for z, zone in enumerate(problem.zones):
        limit = problem.zone_limit_kw[z]
        if np.isposinf(limit).all():
            continue
        constant = problem.zone_load_kw[z] - limit
        weight = (zone_of == zone).astype(np.float64)
        penalty = problem.penalties.overload_per_kwh
        reference = np.where(np.isinf(limit), 0.0, limit)
        yield Rows(Requirement.ZONE_LIMIT, None, ScopeKind.ZONE, zone, constant, weight, reference, penalty)


def caps_kw(problem: DispatchProblem, event: Event) -> FloatArray:
    """Cap of an event, (T,): its target, or the largest sum of targets of disjoint events that lie inside it."""
    mine = problem.in_scope(event)
    inside = [
        (other, members)
        for other in problem.events
        if other.direction is event.direction and (members := problem.in_scope(other)) <= mine
    ]
    cap = problem.target_kw(event).copy()
    disjoint: list[tuple[frozenset[str], FloatArray]] = [(frozenset(), np.zeros(len(problem.grid)))]
    for other, members in inside:
        target = problem.target_kw(other)
        disjoint += [(union | members, total + target) for union, total in disjoint if not union & members]
    for _, total in disjoint:
        cap = np.maximum(cap, total)
    return cap


def _events(problem: DispatchProblem, baseline_kw: FloatArray) -> Iterator[Rows]:
    """(M2) and (M3)"""
    reliability, penalties = _reliability(problem), problem.penalties
    for event in problem.events:
        sign = 1.0 if event.direction is Direction.SHAVE else -1.0
        weight = sign * reliability * _members(problem, problem.in_scope(event))
        from_baseline = weight @ baseline_kw
        window = problem.grid.inside(event.start, event.end)
        target, cap = problem.target_kw(event), CAP_FACTOR * caps_kw(problem, event)
        scope = "" if event.scope_kind is ScopeKind.CITY else event.scope_id
        what = (event.event_id, event.scope_kind, scope)
        low = np.where(window, target - from_baseline, -np.inf)
        high = np.where(window, from_baseline - cap, -np.inf)
        yield Rows(Requirement.EVENT_TARGET, *what, low, weight, target, penalties.shortfall_per_kwh)
        yield Rows(Requirement.EVENT_CAP, *what, high, -weight, cap, penalties.excess_per_kwh)


def _rebounds(problem: DispatchProblem, baseline_kw: FloatArray) -> Iterator[Rows]:
    """(M4)"""
    city = problem.zone_load_kw.sum(axis=0)
    undisturbed = city + baseline_kw.sum(axis=0)
    for event in problem.events:
        if event.rebound_cap_kw is None or event.direction is not Direction.SHAVE:
            continue
        limit = np.maximum(event.rebound_cap_kw, undisturbed)
        after = problem.grid.overlap_h(event.end, event.end + REBOUND_SPAN) > 1e-9
        constant = np.where(after, city - limit, -np.inf)
        weight = np.ones(len(baseline_kw))
        penalty = problem.penalties.overload_per_kwh
        yield Rows(Requirement.REBOUND, event.event_id, ScopeKind.CITY, "", constant, weight, limit, penalty)


def _commitments(problem: DispatchProblem, baseline_kw: FloatArray) -> Iterator[Rows]:
    """(M5)"""
    events = {event.event_id: event for event in problem.events}
    names = problem.fleet.resource_ids
    aggregator_of = {name: problem.attributes[name].aggregator_id for name in names}
    accepted: dict[tuple[str, str], FloatArray] = {}
    for row in problem.commitments:
        t = problem.grid.index_at(row.interval_start)
        if t is not None and row.event_id in events:
            table = accepted.setdefault((row.event_id, row.aggregator_id), np.full(len(problem.grid), np.nan))
            table[t] = row.accepted_kw
    reliability, penalty = _reliability(problem), problem.penalties.commitment_per_kwh
    for (event_id, aggregator), amount in accepted.items():
        event = events[event_id]
        sign = 1.0 if event.direction is Direction.SHAVE else -1.0
        inside = {name for name in problem.in_scope(event) if aggregator_of[name] == aggregator}
        weight = sign * reliability * _members(problem, inside)
        from_baseline = weight @ baseline_kw
        stands = np.isfinite(amount)
        what = (event_id, ScopeKind.AGGREGATOR, aggregator)
        low = np.where(stands, LOW_FACTOR * amount - from_baseline, -np.inf)
        high = np.where(stands, from_baseline - HIGH_FACTOR * amount, -np.inf)
        size = np.where(stands, amount, 0.0)
        yield Rows(Requirement.COMMITMENT_LOW, *what, low, weight, size, penalty)
        yield Rows(Requirement.COMMITMENT_HIGH, *what, high, -weight, size, penalty)
