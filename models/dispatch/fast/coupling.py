"""The coupling rows (M1)-(M5) over classes of resources: what a price does to whom, and what a schedule does to a row.

Every row is written as ``constant + Σ weight · p ≤ slack``.  A resource enters a zone limit and a rebound row with
weight 1, and event and commitment rows with plus or minus its reliability.  Resources that stand in the same event
and commitment rows form a *price class*, so that nothing here is as long as the fleet.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.dispatch.fast.setting import IndexArray
from models.dispatch.problem import DispatchProblem
from models.events import Direction, Event, ScopeKind
from models.fleet import Column, numbered
from models.intervals import FloatArray
from models.plan import Requirement, RequirementAmount
from models.resources import Pillar, ResourceKind

REBOUND_H = 6.0
BAND_LOW, BAND_HIGH = 0.9, 1.1
_EPS_H = 1e-9
_PILLARS = tuple(pillar.value for pillar in Pillar)

Attributes = tuple[IndexArray, IndexArray, IndexArray]
"""Rows of zone, aggregator and pillar of a table's rows, (n,) each."""


@dataclass(frozen=True)
class Classes:
    """Who stands in which rows: Z zones, A aggregators, two pillars, E events, C price classes.

    ``class_of``: (Z, A, 2) price class of a resource by its zone, aggregator and pillar.  ``member``: (E, C) whether
    the class is in the event's scope.  ``aggregator_of``: (C,) row of the one committed aggregator of the class, else
    −1.
    """

    zones: tuple[str, ...]
    aggregators: tuple[str, ...]
    class_of: IndexArray
    member: NDArray[np.bool_]
    aggregator_of: IndexArray
    inside: NDArray[np.bool_]
    """(E, Z, A, 2) the scope of every event over attributes that occur in the fleet."""
    attributes_of: Mapping[ResourceKind, Attributes]
    """What ``attributes`` says of the fleet's tables."""

    @classmethod
    def of(cls, problem: DispatchProblem, tables: Mapping[ResourceKind, Mapping[str, Column]]) -> "Classes":
        """The classes of a problem's resources."""
        aggregators = tuple(sorted({name for table in tables.values() for name in set(table["aggregator_id"])}))
        attributes_of = {kind: _attributes(table, problem.zones, aggregators) for kind, table in tables.items()}
        shape = (len(problem.zones), max(1, len(aggregators)), len(_PILLARS))
        inside = np.array([_inside(problem, event, aggregators, shape) for event in problem.events], dtype=np.bool_)
        inside = inside.reshape(len(problem.events), *shape)
        committed = {row.aggregator_id for row in problem.commitments}
        place = np.array([a if name in committed else -1 for a, name in enumerate(aggregators)] or [-1])
        signature = np.concatenate(
            [
                inside.reshape(len(problem.events), math.prod(shape)).T.astype(np.int64),
                np.tile(place[:, None], (shape[0], 1, shape[2])).reshape(-1, 1),
            ],
            axis=1,
        )
        unique, inverse = np.unique(signature, axis=0, return_inverse=True)
        return cls(
            problem.zones,
            aggregators,
            inverse.reshape(shape).astype(np.int64),
            unique[:, :-1].T.astype(np.bool_),
            unique[:, -1],
            inside & _occurs(attributes_of.values(), shape),
            attributes_of,
        )

    def attributes(self, table: Mapping[str, Column]) -> Attributes:
        """Rows of zone, aggregator and pillar of a table's rows, (n,) each."""
        return _attributes(table, self.zones, self.aggregators)


def _attributes(table: Mapping[str, Column], zones: Sequence[str], aggregators: Sequence[str]) -> Attributes:
    found = []
    for column, names in (("zone_id", zones), ("aggregator_id", aggregators), ("pillar", _PILLARS)):
        row_of: dict[Any, int] = {name: row for row, name in enumerate(names)}
        number, values = numbered(table[column])
        found.append(np.array([row_of[value] for value in values], dtype=np.int64)[number])
    return found[0], found[1], found[2]


def _occurs(found: Iterable[Attributes], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    occurs = np.zeros(shape, dtype=np.bool_)
    for each in found:
        occurs[each] = True
    return occurs


def _inside(
    problem: DispatchProblem, event: Event, aggregators: Sequence[str], shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Whether an event's scope contains each zone x aggregator x pillar."""
    inside = np.ones(shape, dtype=np.bool_)
    if event.scope_kind is ScopeKind.AREA:
        inside[[zone not in problem.areas[event.scope_id] for zone in problem.zones]] = False
    elif event.scope_kind is ScopeKind.ZONE:
        inside[[zone != event.scope_id for zone in problem.zones]] = False
    elif event.scope_kind is ScopeKind.AGGREGATOR:
        inside[:, [name != event.scope_id for name in aggregators] or [True]] = False
    elif event.scope_kind is ScopeKind.PILLAR:
        inside[:, :, [name != event.scope_id for name in _PILLARS]] = False
    return inside


def caps_kw(problem: DispatchProblem, classes: Classes) -> FloatArray:
    """How much every event may deliver, (E, T): its target, or more where disjoint events lie inside it (§1)."""
    events = problem.events
    targets = np.array([problem.target_kw(event) for event in events]).reshape(len(events), len(problem.grid))
    caps = targets.copy()
    sets = [classes.inside[e].ravel() for e in range(len(events))]
    for e, event in enumerate(events):
        window = problem.grid.inside(event.start, event.end)
        nested = [
            k for k, other in enumerate(events) if other.direction is event.direction and not (sets[k] & ~sets[e]).any()
        ]
        for t in np.flatnonzero(window):
            active = [k for k in nested if problem.grid.inside(events[k].start, events[k].end)[t]]
            caps[e, t] = max(caps[e, t], _largest_disjoint([(sets[k], float(targets[k, t])) for k in active]))
    return caps


def _largest_disjoint(sets: Sequence[tuple[NDArray[np.bool_], float]]) -> float:
    if not sets:
        return 0.0
    (members, value), rest = sets[0], sets[1:]
    chosen = value + _largest_disjoint([each for each in rest if not (each[0] & members).any()])
    return max(_largest_disjoint(rest), chosen)


@dataclass(frozen=True)
class Family:
    """One requirement over the horizon: ``zone`` (a zone's row, −1: the whole city) or ``by_class`` (C,) weights.

    ``constant``: (T,) kW with the baseline in it, −inf where the row does not stand.  ``penalty``: CNY per kWh.
    """

    requirement: Requirement
    scope_kind: ScopeKind
    scope_id: str
    event_id: str | None
    penalty: float
    constant: FloatArray
    zone: int | None = None
    by_class: FloatArray | None = None


@dataclass(frozen=True)
class CouplingRows:
    """All rows of a problem that stand, numbered: N rows.

    ``family``, ``t``: (N,) which requirement, in which interval.  ``constant``: (N,) kW.  ``penalty``: (N,) CNY per
    kWh.  ``hours``: (N,).  Prices λ are per kWh, 0 ≤ λ ≤ penalty.
    """

    families: tuple[Family, ...]
    family: IndexArray
    t: IndexArray
    constant: FloatArray
    penalty: FloatArray
    hours: FloatArray
    zone: IndexArray
    """(N,) the zone of a zone limit, −1 for a row over the whole city, −2 for a row over classes."""
    class_weight: FloatArray
    """(N, C) factor of reliability x power, 0 in rows over zones."""
    zones: int
    intervals: int

    @property
    def classes(self) -> int:
        """How many price classes there are."""
        return int(self.class_weight.shape[1])

    def prices(self, duals: FloatArray) -> tuple[FloatArray, FloatArray]:
        """What λ (N,) adds to the price: (Z, T) to everybody in a zone, and (C, T) times reliability to a class."""
        local, city, classed = self.zone >= 0, self.zone == -1, self.zone == -2
        place = self.zone[local] * self.intervals + self.t[local]
        zone: FloatArray = np.zeros(self.zones * self.intervals)
        zone += np.bincount(place, weights=duals[local], minlength=len(zone))
        zone = zone.reshape(self.zones, self.intervals)
        zone += np.bincount(self.t[city], weights=duals[city], minlength=self.intervals)
        by_class: FloatArray = np.zeros((max(1, self.classes), self.intervals))
        np.add.at(by_class.T, self.t[classed], self.class_weight[classed] * duals[classed, None])
        return zone, by_class

    def prices_each(self, duals: FloatArray, zone: IndexArray) -> tuple[FloatArray, FloatArray]:
        """The same for many λ (P, N), each for one ``zone`` (P,): (P, T), and (P, C, T)."""
        count, width = len(duals), max(1, self.classes)
        own = np.zeros((count, self.intervals))
        city = np.flatnonzero(self.zone == -1)
        np.add.at(own.T, self.t[city], duals[:, city].T)
        for z in np.unique(zone).tolist():
            asked, local = np.flatnonzero(zone == z), np.flatnonzero(self.zone == z)
            own[np.ix_(asked, self.t[local])] += duals[np.ix_(asked, local)]
        by_class = np.zeros((self.intervals, width, count))
        for n in np.flatnonzero(self.zone == -2).tolist():
            by_class[self.t[n]] += self.class_weight[n][:, None] * duals[:, n]
        return own, np.ascontiguousarray(by_class.transpose(2, 1, 0))

    def values(self, zone_kw: FloatArray, class_kw: FloatArray) -> FloatArray:
        """Left side of every row, (N,), given the portfolio's sums per zone (Z, T) and class (C, T)."""
        classed = self.zone == -2
        weighted = np.einsum("nc,nc->n", self.class_weight[classed], class_kw.T[self.t[classed]])
        return np.asarray(self.constant + self.effect(zone_kw, weighted))

    def effect(self, zone_kw: FloatArray, classed_kw: FloatArray) -> FloatArray:
        """What power adds to every row, (N,): per zone (Z, T), and to the K rows over classes, (K,), in their order."""
        found = np.empty(len(self.t))
        local, city = self.zone >= 0, self.zone == -1
        found[local] = zone_kw[self.zone[local], self.t[local]]
        found[city] = zone_kw.sum(axis=0)[self.t[city]]
        found[self.zone == -2] = classed_kw
        return found

    @cached_property
    def _bands(self) -> tuple[IndexArray, IndexArray]:
        """Rows that are the lower and the upper end of the same band."""
        lower = {
            Requirement.EVENT_TARGET: Requirement.EVENT_CAP,
            Requirement.COMMITMENT_LOW: Requirement.COMMITMENT_HIGH,
        }
        names = {(each.requirement, each.event_id, each.scope_id): f for f, each in enumerate(self.families)}
        place = {(int(f), int(t)): n for n, (f, t) in enumerate(zip(self.family, self.t, strict=True))}
        low, high = [], []
        for (requirement, event_id, scope_id), f in names.items():
            other = names.get((lower[requirement], event_id, scope_id)) if requirement in lower else None
            if other is not None:
                for n in np.flatnonzero(self.family == f).tolist():
                    if (other, int(self.t[n])) in place:
                        low.append(n)
                        high.append(place[other, int(self.t[n])])
        return np.array(low, dtype=np.int64), np.array(high, dtype=np.int64)

    def netted(self, duals: FloatArray) -> FloatArray:
        """λ (N,) without what the two ends of a band cancel: the prices stay, and the bound only gains."""
        low, high = self._bands
        both = np.minimum(duals[low], duals[high])
        found = duals.copy()
        found[low] -= both
        found[high] -= both
        return found

    def amounts(self, values: FloatArray, least: float) -> tuple[RequirementAmount, ...]:
        """Rows whose value (N,) is above ``least``, by name."""
        starts, found = self.starts, []
        for n in np.flatnonzero(values > least):
            what = self.families[self.family[n]]
            found.append(
                RequirementAmount(
                    what.requirement,
                    what.scope_kind,
                    what.scope_id,
                    starts[self.t[n]],
                    float(values[n]),
                    what.event_id,
                )
            )
        return tuple(found)

    starts: tuple[Any, ...] = ()


def coupling_rows(
    problem: DispatchProblem, classes: Classes, base_zone_kw: FloatArray, base_class_kw: FloatArray
) -> CouplingRows:
    """The rows, given the baseline's sums: (Z, T) power per zone, (C, T) reliability-weighted power per class."""
    families = [
        *_zone_limits(problem),
        *_events(problem, classes, base_class_kw),
        *_rebounds(problem, base_zone_kw),
        *_commitments(problem, classes, base_class_kw),
    ]
    count, hours = len(problem.grid), problem.grid.hours
    stands = [np.flatnonzero(np.isfinite(family.constant)) for family in families]
    family = np.repeat(np.arange(len(families)), [len(each) for each in stands])
    t = np.concatenate([*stands, np.empty(0)]).astype(np.int64)
    nothing = np.zeros(len(classes.aggregator_of))
    weight = np.array([nothing if each.by_class is None else each.by_class for each in families])
    zone = np.array([-2 if each.zone is None else each.zone for each in families], dtype=np.int64)
    constant = np.array([each.constant for each in families]).reshape(len(families), count)
    penalty = np.array([each.penalty for each in families])
    rows = CouplingRows(
        families=tuple(families),
        family=family,
        t=t,
        constant=constant[family, t],
        penalty=penalty[family],
        hours=hours[t],
        zone=zone[family],
        class_weight=weight.reshape(len(families), len(nothing))[family],
        zones=len(problem.zones),
        intervals=count,
    )
    return replace(rows, starts=tuple(problem.grid.starts))


def _zone_limits(problem: DispatchProblem) -> list[Family]:
    penalty = problem.penalties.overload_per_kwh
    return [
        Family(Requirement.ZONE_LIMIT, ScopeKind.ZONE, name, None, penalty, load - limit, zone=z)
        for z, (name, load, limit) in enumerate(
            zip(problem.zones, problem.zone_load_kw, problem.zone_limit_kw, strict=True)
        )
    ]


def _sign(event: Event) -> float:
    return 1.0 if event.direction is Direction.SHAVE else -1.0


def _events(problem: DispatchProblem, classes: Classes, base_class_kw: FloatArray) -> list[Family]:
    caps, found = caps_kw(problem, classes), []
    for e, event in enumerate(problem.events):
        weight = _sign(event) * classes.member[e].astype(np.float64)
        expected = weight @ base_class_kw
        window = problem.grid.inside(event.start, event.end)
        low = np.where(window, problem.target_kw(event) - expected, -np.inf)
        high = np.where(window, expected - BAND_HIGH * caps[e], -np.inf)
        what = (event.scope_kind, event.scope_id, event.event_id)
        shortfall, excess = problem.penalties.shortfall_per_kwh, problem.penalties.excess_per_kwh
        found.append(Family(Requirement.EVENT_TARGET, *what, shortfall, low, by_class=weight))
        found.append(Family(Requirement.EVENT_CAP, *what, excess, high, by_class=-weight))
    return found


def _rebounds(problem: DispatchProblem, base_zone_kw: FloatArray) -> list[Family]:
    city, found = problem.zone_load_kw.sum(axis=0), []
    for event in problem.events:
        if event.rebound_cap_kw is None or event.direction is not Direction.SHAVE:
            continue
        ceiling = np.maximum(event.rebound_cap_kw, city + base_zone_kw.sum(axis=0))
        end_h, tau_h = problem.grid.hours_since_start(event.end), problem.grid.tau_h
        after = (tau_h >= end_h - _EPS_H) & (tau_h < end_h + REBOUND_H - _EPS_H)
        constant = np.where(after, city - ceiling, -np.inf)
        penalty = problem.penalties.overload_per_kwh
        found.append(Family(Requirement.REBOUND, ScopeKind.CITY, "", event.event_id, penalty, constant, zone=-1))
    return found


def _commitments(problem: DispatchProblem, classes: Classes, base_class_kw: FloatArray) -> list[Family]:
    place = {event.event_id: e for e, event in enumerate(problem.events)}
    accepted: dict[tuple[str, str], FloatArray] = {}
    for row in problem.commitments:
        t = problem.grid.index_at(row.interval_start)
        if t is not None and row.event_id in place:
            key = (row.event_id, row.aggregator_id)
            accepted.setdefault(key, np.full(len(problem.grid), np.nan))[t] = row.accepted_kw
    found = []
    for (event_id, name), amount in accepted.items():
        e = place[event_id]
        of_a = np.array([a >= 0 and classes.aggregators[a] == name for a in classes.aggregator_of])
        weight = _sign(problem.events[e]) * (classes.member[e] & of_a)
        expected = weight @ base_class_kw
        stands = np.isfinite(amount)
        low = np.where(stands, BAND_LOW * amount - expected, -np.inf)
        high = np.where(stands, expected - BAND_HIGH * amount, -np.inf)
        what = (ScopeKind.AGGREGATOR, name, event_id)
        penalty = problem.penalties.commitment_per_kwh
        found.append(Family(Requirement.COMMITMENT_LOW, *what, penalty, low, by_class=weight))
        found.append(Family(Requirement.COMMITMENT_HIGH, *what, penalty, high, by_class=-weight))
    return found
