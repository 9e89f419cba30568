"""Why me, why now: one resource of a plan, looked up in the columns of its fleet, at the prices of the plan.

    effective_t  =  tariff_t  +  Σ_rows weight_row λ_row,t                    CNY per kWh drawn
    worth_t      =  Δ_t · effective_t · (b_t − p_t)                           CNY

with the weights of (M1)-(M5): 1 in a zone's limit and in the rebound cap, ±ρ in event and commitment rows (positive
where drawing less helps).  By Lagrange a plan is best for the city exactly if every schedule is best for its resource
at these prices, so worth less own cost says what following the plan gains against the baseline.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from typing import Any

import numpy as np

from models.dispatch.check.devices import Device, devices_in
from models.dispatch.check.horizon import Horizon
from models.dispatch.check.oracles.least import least_cost_of
from models.dispatch.check.oracles.prices import Prices
from models.dispatch.explain.costs import PROFILED, cost_by_interval_cny, reach_kw, total_cny, unsteady_cny
from models.dispatch.explain.facts import Elsewhere, Explanation, PriceTerm, Reason
from models.dispatch.explain.words import STILL_KW, sentence_en, sentence_zh
from models.dispatch.problem import DispatchProblem
from models.errors import InputError, InputFault
from models.events import Direction, Event, ScopeKind
from models.fleet import Fleet, ResourceTable
from models.intervals import FloatArray
from models.plan import DispatchPlan, Requirement, RequirementAmount
from models.plan_stream import PlanBlock


def schedule_in(plan: DispatchPlan | PlanBlock, resource_id: str) -> tuple[FloatArray, FloatArray]:
    """Power and baseline (T,) of one resource in a plan or a block of one; ``InputError`` if it is not in there."""
    try:
        row = plan.row_of[resource_id] if isinstance(plan, DispatchPlan) else plan.resource_ids.index(resource_id)
    except (KeyError, ValueError) as error:
        raise _unknown("plan", resource_id) from error
    return plan.power_kw[row], plan.baseline_kw[row]


def table_of(fleet: Fleet, resource_id: str) -> ResourceTable:
    """The rows of one resource as a table of its kind (a charger has one per stay); ``InputError`` if unknown.

    No object per device of the fleet is made.
    """
    for kind, table in fleet.tables.items():
        rows = np.flatnonzero(table.columns["resource_id"] == resource_id)
        if rows.size:
            return ResourceTable(kind, {name: column[rows] for name, column in table.columns.items()})
    raise _unknown("portfolio", resource_id)


def _unknown(place: str, resource_id: str) -> InputError:
    return InputError([InputFault(place, "resource_id", resource_id, "must be a resource of the portfolio")])


def explain_resource(
    problem: DispatchProblem,
    resource_id: str,
    power_kw: FloatArray,
    baseline_kw: FloatArray,
    prices: Sequence[RequirementAmount],
    zone: tzinfo,
) -> Explanation:
    """Why one resource draws ``power_kw`` (T,) and not its baseline (T,), interval by interval.

    ``prices``: those of the plan.  ``zone``: for the times in the sentences.  Raises ``InputError`` for a resource that
    the problem does not have, or a schedule that is not as long as the horizon.
    """
    table = table_of(problem.fleet, resource_id)
    for name, values in (("power_kw", power_kw), ("baseline_kw", baseline_kw)):
        if values.shape != (len(problem.grid),):
            rule = f"must have a value in each of the {len(problem.grid)} intervals"
            raise InputError([InputFault("plan", name, values.shape, rule)])
    horizon = Horizon.of(problem)
    device = devices_in(table, horizon)[resource_id]
    terms = _terms(problem, device.row, prices)
    view = _View.of(problem, device, horizon, terms, power_kw, baseline_kw)
    reasons = tuple(view.reason(t, terms[t], zone) for t in range(len(problem.grid)))
    missed, exact = view.missed()
    row = device.row
    return Explanation(
        resource_id,
        device.kind,
        row.zone_id,
        row.aggregator_id,
        str(row.pillar),
        row.tariff_id,
        row.reliability_fraction,
        reasons,
        sum(reason.worth_cny for reason in reasons),
        view.own_total_cny,
        missed,
        exact,
    )


# ---- which rows act on it


def _terms(problem: DispatchProblem, row: Any, prices: Sequence[RequirementAmount]) -> list[tuple[PriceTerm, ...]]:
    events = {event.event_id: event for event in problem.events}
    place = {start: t for t, start in enumerate(problem.grid.starts)}
    found: list[list[PriceTerm]] = [[] for _ in place]
    for price in prices:
        t = place.get(price.interval_start)
        weight = _weight(problem, row, price, events)
        if t is not None and weight != 0 and price.amount > 0:
            what = (price.requirement, price.scope_kind, price.scope_id, price.event_id)
            found[t].append(PriceTerm(*what, price.amount, weight * price.amount))
    return [tuple(sorted(each, key=lambda term: -abs(term.adds_per_kwh))) for each in found]


def _weight(problem: DispatchProblem, row: Any, price: RequirementAmount, events: dict[str, Event]) -> float:
    """By how many kW a row's left side rises with one kW more of this resource (M1)-(M5)."""
    if price.requirement is Requirement.ZONE_LIMIT:
        return 1.0 if row.zone_id == price.scope_id else 0.0
    if price.requirement is Requirement.REBOUND:
        return 1.0
    event = None if price.event_id is None else events.get(price.event_id)
    if event is None or not _contains(problem, event, row):
        return 0.0
    bands = (Requirement.COMMITMENT_LOW, Requirement.COMMITMENT_HIGH)
    if price.requirement in bands and row.aggregator_id != price.scope_id:
        return 0.0
    helps_less = price.requirement in (Requirement.EVENT_TARGET, Requirement.COMMITMENT_LOW)
    shave = event.direction is Direction.SHAVE
    return float(row.reliability_fraction) * (1.0 if helps_less == shave else -1.0)


def _contains(problem: DispatchProblem, event: Event, row: Any) -> bool:
    """Whether an event's scope contains a resource."""
    if event.scope_kind is ScopeKind.AREA:
        return row.zone_id in problem.areas[event.scope_id]
    named = {
        ScopeKind.CITY: event.scope_id,
        ScopeKind.ZONE: row.zone_id,
        ScopeKind.AGGREGATOR: row.aggregator_id,
        ScopeKind.PILLAR: str(row.pillar),
    }
    return bool(named[event.scope_kind] == event.scope_id)


# ---- what it does, and what that is worth


@dataclass(frozen=True)
class _View:
    """One resource with everything by interval, (T,) each."""

    problem: DispatchProblem
    device: Device
    horizon: Horizon
    tariff: FloatArray
    effective: FloatArray
    power: FloatArray
    baseline: FloatArray
    own_cny: FloatArray
    own_total_cny: float
    low: FloatArray
    high: FloatArray

    @classmethod
    def of(
        cls,
        problem: DispatchProblem,
        device: Device,
        horizon: Horizon,
        terms: Sequence[tuple[PriceTerm, ...]],
        power: FloatArray,
        baseline: FloatArray,
    ) -> "_View":
        tariff = problem.tariffs[device.row.tariff_id]
        effective = tariff + np.array([sum(term.adds_per_kwh for term in each) for each in terms])
        late = horizon.mean(tariff)
        index = problem.fleet.resource_ids.index(device.resource_id) if problem.real_time is not None else 0
        unsteady = unsteady_cny(problem, index, power) - unsteady_cny(problem, index, baseline)
        own = cost_by_interval_cny(device, power, horizon) + unsteady
        total = total_cny(device, power, late, horizon) + float(unsteady.sum())
        if device.kind not in PROFILED:
            own = own - cost_by_interval_cny(device, baseline, horizon)
            total -= total_cny(device, baseline, late, horizon)
        low, high = reach_kw(device, horizon)
        return cls(problem, device, horizon, tariff, effective, power, baseline, own, total, low, high)

    def reason(self, t: int, terms: tuple[PriceTerm, ...], zone: tzinfo) -> Reason:
        """Interval t, with its sentences."""
        change = float(self.power[t] - self.baseline[t])
        start, end = self._edges(t)
        reason = Reason(
            start,
            end,
            float(self.tariff[t]),
            terms,
            float(self.effective[t]),
            float(self.baseline[t]),
            float(self.power[t]),
            float(self.horizon.hours[t] * self.effective[t] * -change),
            float(self.own_cny[t]),
            bool(self.high[t] - self.low[t] > STILL_KW),
            self._elsewhere(change),
            self._taken_back(change),
        )
        return replace(reason, zh=sentence_zh(reason, zone), en=sentence_en(reason, zone))

    def _edges(self, t: int) -> tuple[datetime, datetime]:
        return self.problem.grid.starts[t], self.problem.grid.ends[t]

    def _elsewhere(self, change: float) -> Elsewhere | None:
        """The best interval with room for a change of this direction in which there is none."""
        if abs(change) <= STILL_KW:
            return None
        moved = self.power - self.baseline
        if change < 0:
            free = (moved >= -STILL_KW) & (self.baseline - self.low > STILL_KW)
            best = np.where(free, self.effective, -np.inf).argmax()
        else:
            free = (moved <= STILL_KW) & (self.high - self.baseline > STILL_KW)
            best = np.where(free, self.effective, np.inf).argmin()
        return Elsewhere(*self._edges(int(best)), float(self.effective[best])) if free.any() else None

    def _taken_back(self, change: float) -> float | None:
        """Mean effective price at which the opposite change takes place, weighted with its energy."""
        if abs(change) <= STILL_KW:
            return None
        moved = (self.power - self.baseline) * -np.sign(change)
        energy = self.horizon.hours * np.where(moved > STILL_KW, moved, 0.0)
        return float(energy @ self.effective / energy.sum()) if energy.any() else None

    def missed(self) -> tuple[float | None, bool]:
        """Cost of the schedule at the effective prices less the least there is, and whether that is exact."""
        if self.problem.real_time is not None:
            return None, False
        late = self.horizon.mean(self.tariff)
        cost = float((self.horizon.hours * self.effective) @ self.power)
        cost += total_cny(self.device, self.power, late, self.horizon)
        least = least_cost_of(self.device, Prices(self.effective, late), self.horizon)
        return cost - least.cost, least.exact
