"""Coupling rows read out: what is unmet, and what each row's last kW is worth."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from models.dispatch.problem import DispatchProblem
from models.dispatch.reference.compiled import CompiledCity, Numbers
from models.dispatch.reference.structure import committed_aggregators
from models.events import ScopeKind
from models.intervals import FloatArray
from models.plan import Requirement, RequirementAmount

UNMET_KW = 1e-6
"""Slacks above this are listed."""
_WORTHLESS = 1e-12


@dataclass(frozen=True, slots=True)
class _Row:
    requirement: Requirement
    scope_kind: ScopeKind
    scope_id: str
    start: datetime
    event_id: str | None
    row: int
    slack: int
    hours: float


def _rows(city: CompiledCity, problem: DispatchProblem) -> Iterator[_Row]:
    """Every coupling row that stands for something in this problem, with the column of its slack."""
    grid, count = problem.grid, len(problem.grid)
    for z, zone in enumerate(problem.zones):
        for t in range(count):
            at = z * count + t
            yield _Row(
                Requirement.ZONE_LIMIT,
                ScopeKind.ZONE,
                zone,
                grid.starts[t],
                None,
                int(city.rows["M1"][at]),
                int(city.city["overload_kw"][at]),
                float(grid.hours[t]),
            )
    families = (
        (Requirement.EVENT_TARGET, "M2", "shortfall_kw"),
        (Requirement.EVENT_CAP, "M3", "excess_kw"),
        (Requirement.REBOUND, "M4", "rebound_kw"),
    )
    aggregators = committed_aggregators(problem)
    for e, event in enumerate(problem.events):
        for requirement, family, slack in families:
            whole_city = requirement is Requirement.REBOUND
            kind = ScopeKind.CITY if whole_city else event.scope_kind
            name = "" if whole_city else event.scope_id
            for t in range(count):
                at = e * count + t
                row, column = int(city.rows[family][at]), int(city.city[slack][at])
                yield _Row(requirement, kind, name, grid.starts[t], event.event_id, row, column, float(grid.hours[t]))
        for a, aggregator in enumerate(aggregators):
            for t in range(count):
                at = (e * len(aggregators) + a) * count + t
                for side, requirement in enumerate((Requirement.COMMITMENT_LOW, Requirement.COMMITMENT_HIGH)):
                    row = int(city.rows["M5"][2 * at + side])
                    column = int(city.city["low_kw" if side == 0 else "high_kw"][at])
                    yield _Row(
                        requirement,
                        ScopeKind.AGGREGATOR,
                        aggregator,
                        grid.starts[t],
                        event.event_id,
                        row,
                        column,
                        float(grid.hours[t]),
                    )


def slack_amounts(
    city: CompiledCity, numbers: Numbers, problem: DispatchProblem, x: FloatArray
) -> tuple[tuple[RequirementAmount, ...], FloatArray]:
    """The rows that are not met, and ``x`` with every slack at exactly what its row needs."""
    x = x.copy()
    rows = list(_rows(city, problem))
    slacks = np.array([row.slack for row in rows], dtype=np.int64)
    x[slacks] = 0.0
    matrix = city.a.copy()
    matrix.data = numbers.values
    index = np.array([row.row for row in rows], dtype=np.int64)
    value = matrix[index] @ x
    missing = np.maximum(np.maximum(numbers.row_low[index] - value, value - numbers.row_high[index]), 0.0)
    x[slacks] = missing
    found = tuple(
        RequirementAmount(row.requirement, row.scope_kind, row.scope_id, row.start, float(amount), row.event_id)
        for row, amount in zip(rows, missing, strict=True)
        if amount > UNMET_KW
    )
    return found, x


def prices_of(city: CompiledCity, problem: DispatchProblem, row_dual: FloatArray) -> tuple[RequirementAmount, ...]:
    """Row duals / Δ, CNY per kWh, where they are not zero."""
    found = []
    for row in _rows(city, problem):
        price = abs(float(row_dual[row.row])) / row.hours
        if price > _WORTHLESS:
            found.append(
                RequirementAmount(row.requirement, row.scope_kind, row.scope_id, row.start, price, row.event_id)
            )
    return tuple(found)
