"""Unit commitment as others pose it, written as a problem of ours: generators that meet a demand in every interval.

    Σ_g output_{g,t} (+ renewables) = demand_t

(M1) says "≥": the zone's load is the demand and its limit 0, so Σ p ≤ −demand.  The other side comes from one fill
event over the horizon, which needs Σ (p − b) ≥ target.  The given baseline table b is chosen such that Σ b = −demand −
target, and the event then says Σ p ≥ −demand.  Both are priced far above any generator, so slack means infeasible.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from models.dispatch.problem import DispatchProblem, Penalties, ResourceState
from models.events import Direction, Event
from models.fleet import Fleet
from models.intervals import FloatArray, IntervalGrid
from models.resources import Generator, Pillar, Pv, ResourceBase

START = datetime(2025, 1, 1, tzinfo=UTC)
KW_PER_MW = 1000.0
PRICE_OF_SLACK = 20.0
"""CNY per kWh, = 20 000 per MWh."""


def unit(
    name: str,
    *,
    least_mw: float,
    most_mw: float,
    cost_per_mwh: float,
    ramp_mw_per_h: float | None = None,
    start_cost: float = 0.0,
    no_load_cost_per_h: float = 0.0,
    minimum_up_h: float = 0.0,
    minimum_down_h: float = 0.0,
) -> Generator:
    """A generator in the units of the literature; without a ramp it may go anywhere within an hour."""
    return Generator(
        resource_id=name,
        aggregator_id="a",
        zone_id="system",
        meter_id=name,
        pillar=Pillar.SOURCE,
        tariff_id="none",
        power_min_kw=KW_PER_MW * least_mw,
        power_max_kw=KW_PER_MW * most_mw,
        cost_per_kwh=cost_per_mwh / KW_PER_MW,
        start_cost=start_cost,
        no_load_cost_per_h=no_load_cost_per_h,
        ramp_kw_per_h=KW_PER_MW * (most_mw if ramp_mw_per_h is None else ramp_mw_per_h),
        minimum_up_h=minimum_up_h,
        minimum_down_h=minimum_down_h,
    )


def running(output_mw: float, hours: float | None = None) -> ResourceState:
    """A unit that runs when the horizon starts, for so many hours already (None: for long)."""
    return ResourceState(on=True, power_kw=-KW_PER_MW * output_mw, hours_in_state_h=hours)


def standing(hours: float | None = None) -> ResourceState:
    """A unit that is off when the horizon starts, for so many hours already (None: for long)."""
    return ResourceState(on=False, hours_in_state_h=hours)


def balanced(
    units: Sequence[Generator],
    demand_mw: Sequence[float],
    states: dict[str, ResourceState] | None = None,
    renewables_mw: FloatArray | None = None,
) -> DispatchProblem:
    """Hourly problem: the units, and renewables (T,) that may be curtailed for nothing, meet the demand exactly."""
    demand_kw = KW_PER_MW * np.array(demand_mw, dtype=np.float64)
    count = len(demand_kw)
    grid = IntervalGrid.regular(START, timedelta(hours=1), count)
    available_mw = np.zeros(count) if renewables_mw is None else renewables_mw
    renewables = Pv(
        resource_id="renewables",
        aggregator_id="a",
        zone_id="system",
        meter_id="renewables",
        pillar=Pillar.SOURCE,
        tariff_id="none",
        available_profile="available",
        available_scale_kw=KW_PER_MW,
        curtail_cost_per_kwh=0.0,
    )
    rows: list[ResourceBase] = [*units, renewables]
    fleet = Fleet.from_rows(rows)
    target_kw = 0.1 * float(demand_kw.max())
    baseline_kw = np.zeros((len(fleet.resource_ids), count))
    baseline_kw[fleet.resource_ids.index("renewables")] = -demand_kw - target_kw  # at no cost: the gap is of the whole
    return DispatchProblem(
        grid=grid,
        fleet=fleet,
        zones=("system",),
        zone_load_kw=demand_kw[None, :],
        zone_limit_kw=np.zeros((1, count)),
        tariffs={"none": np.zeros(count)},
        profiles={"available": available_mw},
        events=(
            Event(event_id="balance", direction=Direction.FILL, start=grid.start, end=grid.end, target_kw=target_kw),
        ),
        states=states or {},
        penalties=Penalties(overload_per_kwh=PRICE_OF_SLACK, shortfall_per_kwh=PRICE_OF_SLACK),
        baseline_kw=baseline_kw,
    )
