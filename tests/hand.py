"""Small cities for days worked by hand: one zone, hourly intervals, few resources."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from models.dispatch.problem import DispatchProblem
from models.dispatch.reference.solve import ReferenceSolver
from models.events import Event
from models.fleet import Fleet
from models.intervals import FloatArray, IntervalGrid
from models.plan import DispatchPlan
from models.resources import Pillar, ResourceBase

MIDNIGHT = datetime(2025, 7, 16, tzinfo=UTC)
COMMON: dict[str, Any] = {
    "resource_id": "x",
    "aggregator_id": "a",
    "zone_id": "Z",
    "meter_id": "m",
    "pillar": Pillar.LOAD,
    "tariff_id": "t",
}


def at(hours: float) -> datetime:
    """So many hours after the horizon's start."""
    return MIDNIGHT + timedelta(hours=hours)


def city(
    rows: Sequence[ResourceBase],
    prices: Sequence[float],
    *,
    profile: Sequence[float] | None = None,
    limit_kw: float = np.inf,
    load_kw: float = 0.0,
    target_kw: Sequence[float] | None = None,
    event_id: str = "e",
    **more: Any,
) -> DispatchProblem:
    """Hourly problem; a positive run of ``target_kw`` becomes one city event of that (constant) target."""
    count = len(prices)
    events: tuple[Event, ...] = more.pop("events", ())
    if target_kw is not None:
        hit = np.flatnonzero(target_kw)
        events = (
            Event(
                event_id=event_id,
                start=at(float(hit[0])),
                end=at(float(hit[-1] + 1)),
                target_kw=target_kw[hit[0]],
                issued_at=at(0),
            ),
        )
    return DispatchProblem(
        grid=IntervalGrid.regular(MIDNIGHT, timedelta(hours=1), count),
        fleet=Fleet.from_rows(rows),
        zones=("Z",),
        zone_load_kw=np.full((1, count), load_kw),
        zone_limit_kw=np.full((1, count), limit_kw),
        tariffs={"t": np.array(prices, dtype=np.float64)},
        profiles={"p": np.ones(count) if profile is None else np.array(profile, dtype=np.float64)},
        events=events,
        **more,
    )


def solve(problem: DispatchProblem, gap: float = 1e-7) -> DispatchPlan:
    """Solved to the last digit by a fresh reference solver."""
    return ReferenceSolver().solve(problem, deadline_s=60, gap=gap)


def power(plan: DispatchPlan, resource_id: str = "x") -> FloatArray:
    """Net power of a resource."""
    return plan.power_kw[plan.row_of[resource_id]]
