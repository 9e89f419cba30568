"""What one more megawatt would cost: the prices of a plan's requirements, by name and interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from models.events import ScopeKind
from models.intervals import FloatArray, IntervalGrid
from models.plan import Requirement, RequirementAmount

KW_PER_MW = 1000.0
PENALTY_OF: dict[Requirement, str] = {
    Requirement.ZONE_LIMIT: "overload_per_kwh",
    Requirement.REBOUND: "overload_per_kwh",
    Requirement.EVENT_TARGET: "shortfall_per_kwh",
    Requirement.EVENT_CAP: "excess_per_kwh",
    Requirement.COMMITMENT_LOW: "commitment_per_kwh",
    Requirement.COMMITMENT_HIGH: "commitment_per_kwh",
}
"""Which of the plan's penalties bounds the price of a requirement."""
_AT_PENALTY = 1 - 1e-6


@dataclass(frozen=True, slots=True)
class RequirementPrice:
    """One requirement in one interval: one more MW of load (or of target, or one MW less of limit or cap) there.

    ``at_penalty``: the price is the penalty itself, so the requirement is short, or about to be.
    """

    requirement: Requirement
    event_id: str | None
    scope_kind: ScopeKind
    scope_id: str
    start: datetime
    end: datetime
    price_per_kwh: float
    at_penalty: bool

    @property
    def price_per_mwh(self) -> float:
        """CNY for one more MW kept up for one hour."""
        return self.price_per_kwh * KW_PER_MW

    @property
    def one_mw_cny(self) -> float:
        """CNY for one more MW in this interval."""
        return self.price_per_mwh * (self.end - self.start).total_seconds() / 3600


@dataclass(frozen=True, slots=True)
class RequirementSum:
    """One requirement over the horizon: its dearest interval, how long it has a price, and one more MW all along."""

    requirement: Requirement
    event_id: str | None
    scope_kind: ScopeKind
    scope_id: str
    highest: RequirementPrice
    priced_h: float
    one_mw_cny: float


def requirement_prices(
    prices: Sequence[RequirementAmount], grid: IntervalGrid, penalties: Mapping[str, float]
) -> tuple[RequirementPrice, ...]:
    """Every price of a plan above zero, the highest first (then by time and name).

    ``penalties``: the plan's, by name.  A price whose interval the grid does not have is left out.
    """
    end_of = dict(zip(grid.starts, grid.ends, strict=True))
    found = [
        RequirementPrice(
            row.requirement,
            row.event_id,
            row.scope_kind,
            row.scope_id,
            row.interval_start,
            end_of[row.interval_start],
            row.amount,
            row.amount >= _AT_PENALTY * penalties.get(PENALTY_OF[row.requirement], np.inf),
        )
        for row in prices
        if row.amount > 0 and row.interval_start in end_of
    ]
    found.sort(key=lambda row: (-row.price_per_kwh, row.start, row.requirement, row.event_id or "", row.scope_id))
    return tuple(found)


def requirement_sums(rows: Sequence[RequirementPrice]) -> tuple[RequirementSum, ...]:
    """The same by requirement, the dearest over the horizon first."""
    groups: dict[tuple[Requirement, str | None, ScopeKind, str], list[RequirementPrice]] = {}
    for row in rows:
        groups.setdefault((row.requirement, row.event_id, row.scope_kind, row.scope_id), []).append(row)
    found = [
        RequirementSum(
            *name,
            max(members, key=lambda row: row.price_per_kwh),
            sum((row.end - row.start).total_seconds() for row in members) / 3600,
            sum(row.one_mw_cny for row in members),
        )
        for name, members in groups.items()
    ]
    return tuple(sorted(found, key=lambda row: (-row.one_mw_cny, row.requirement, row.event_id or "", row.scope_id)))


def load_price_per_mwh(prices: Sequence[RequirementAmount], grid: IntervalGrid, zones: Sequence[str]) -> FloatArray:
    """CNY per MWh of one more MW of uncontrolled load in every zone and interval, (Z, T), tariff left out.

    Such a load meets the zone's limit and what holds after an event for the whole city; events and commitments count
    only what the portfolio changes.
    """
    place = {name: z for z, name in enumerate(zones)}
    at = {start: t for t, start in enumerate(grid.starts)}
    found = np.zeros((len(zones), len(grid)))
    for row in prices:
        t = at.get(row.interval_start)
        if t is None:
            continue
        if row.requirement is Requirement.ZONE_LIMIT and row.scope_id in place:
            found[place[row.scope_id], t] += KW_PER_MW * row.amount
        elif row.requirement is Requirement.REBOUND:
            found[:, t] += KW_PER_MW * row.amount
    return found
