"""Hypothesis strategies for every kind of resource: valid rows, optional values given or not.

``from tests.strategies import resources``.  Sizes are those of real devices, so that rules on sums of numbers are met.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from models.resources import (
    CurtailableLoad,
    EvSession,
    Generator,
    InterruptibleLoad,
    Pillar,
    Pv,
    ResourceBase,
    ResourceKind,
    ShiftableLoad,
    Storage,
    ThermalLoad,
)

FIRST = datetime(2025, 7, 15, 16, tzinfo=UTC)

identifiers = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:\-]{0,15}", fullmatch=True)
moments = st.integers(0, 86_400_000_000 * 3).map(lambda us: FIRST + timedelta(microseconds=us))
powers = st.floats(0, 1e6)
prices = st.floats(0, 10)
fractions = st.floats(0, 1)
efficiencies = st.floats(0.5, 1)
hours = st.floats(0, 48)


def _row(made: type[ResourceBase], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    common: dict[str, st.SearchStrategy[Any]] = {
        "resource_id": identifiers,
        "aggregator_id": st.from_regex(r"[a-z0-9-]{1,16}", fullmatch=True),
        "zone_id": identifiers,
        "meter_id": identifiers,
        "pillar": st.sampled_from(Pillar),
        "tariff_id": identifiers,
        "reliability_fraction": fractions,
        "is_test": st.booleans(),
    }
    return st.fixed_dictionaries({**common, **fields}).map(lambda values: made(**values))


@st.composite
def storages(draw: st.DrawFn) -> Storage:
    """Batteries and pumped hydro."""
    low, start, high = sorted(draw(st.lists(powers, min_size=3, max_size=3)))
    charge, discharge = draw(powers), draw(powers)
    hydro = draw(st.booleans())
    share = draw(fractions) if hydro else 0.0
    row = _row(
        Storage,
        charge_limit_kw=st.just(charge),
        discharge_limit_kw=st.just(discharge),
        energy_min_kwh=st.just(low),
        energy_max_kwh=st.just(high),
        energy_start_kwh=st.just(start),
        energy_end_min_kwh=st.floats(0, high),
        charge_efficiency=efficiencies,
        discharge_efficiency=efficiencies,
        wear_cost_per_kwh=prices,
        charge_min_kw=st.just(share * charge),
        discharge_min_kw=st.just(share * discharge),
        mode_change_cost=prices if hydro else st.just(0.0),
    )
    made: Storage = draw(row)
    return made


@st.composite
def ev_sessions(draw: st.DrawFn) -> EvSession:
    """V1G with or without a known battery, and V2G."""
    arrival = draw(moments)
    known = draw(st.booleans())
    capacity = draw(st.floats(1, 600)) if known else None
    start = None if capacity is None else draw(fractions) * capacity
    needed = draw(st.floats(0, 200)) if capacity is None or start is None else draw(fractions) * (capacity - start)
    row = _row(
        EvSession,
        session_id=identifiers,
        arrival=st.just(arrival),
        departure=st.integers(1, 86_400_000_000).map(lambda us: arrival + timedelta(microseconds=us)),
        energy_needed_kwh=st.just(needed),
        charge_limit_kw=st.floats(0, 1_000),
        charge_efficiency=efficiencies,
        discharge_limit_kw=st.floats(0, 1_000) if known else st.just(0.0),
        discharge_efficiency=efficiencies,
        battery_capacity_kwh=st.just(capacity),
        battery_start_kwh=st.just(start),
        wear_cost_per_kwh=prices,
    )
    made: EvSession = draw(row)
    return made


def _rebound() -> dict[str, st.SearchStrategy[Any]]:
    return {
        "baseline_profile": identifiers,
        "baseline_scale_kw": powers,
        "cost_per_kwh": prices,
        "notice_h": hours,
        "rest_h": hours,
        "rebound_share": st.floats(0, 2),
        "rebound_hours_h": st.floats(0.1, 24),
    }


def curtailable_loads() -> st.SearchStrategy[CurtailableLoad]:
    """Loads of which a share can be given up."""
    return _row(
        CurtailableLoad,
        **_rebound(),
        curtail_share=fractions,
        energy_limit_kwh=powers,
        hours_limit_h=hours,
        calls_per_day=st.none() | st.integers(0, 24),
    )


@st.composite
def interruptible_loads(draw: st.DrawFn) -> InterruptibleLoad:
    """Loads of which a block is off or on."""
    shortest, longest = sorted(draw(st.lists(st.floats(0.1, 24), min_size=2, max_size=2)))
    row = _row(
        InterruptibleLoad,
        **_rebound(),
        block_kw=powers,
        shortest_h=st.just(shortest),
        longest_h=st.just(longest),
        calls_per_day=st.integers(0, 24),
    )
    made: InterruptibleLoad = draw(row)
    return made


@st.composite
def shiftable_loads(draw: st.DrawFn) -> ShiftableLoad:
    """Processes whose energy inside a window is fixed."""
    start = draw(moments)
    window = timedelta(minutes=draw(st.integers(1, 24 * 60)))
    low, high = sorted(draw(st.lists(powers, min_size=2, max_size=2)))
    window_h = window.total_seconds() / 3600
    row = _row(
        ShiftableLoad,
        window_start=st.just(start),
        window_end=st.just(start + window),
        energy_kwh=st.floats(low * window_h, high * window_h),
        power_min_kw=st.just(low),
        power_max_kw=st.just(high),
        preferred_start=st.none() | st.floats(0, 0.99).map(lambda share: start + share * window),
        run_profile=st.none() | identifiers,
        cost_per_kwh=prices,
    )
    made: ShiftableLoad = draw(row)
    return made


@st.composite
def thermal_loads(draw: st.DrawFn) -> ThermalLoad:
    """Air-conditioning and cold stores."""
    low, high = draw(powers), draw(powers)
    row = _row(
        ThermalLoad,
        baseline_profile=identifiers,
        baseline_scale_kw=powers,
        increase_limit_kw=powers,
        decrease_limit_kw=powers,
        store_low_kwh=st.just(low),
        store_high_kwh=st.just(high),
        store_end_min_kwh=st.floats(-low, high),
        decay_per_hour=st.floats(0, 5),
        discomfort_cost_per_kwh=prices,
    )
    made: ThermalLoad = draw(row)
    return made


@st.composite
def generators(draw: st.DrawFn) -> Generator:
    """Gas peakers, CHP and backup sets."""
    low, high = sorted(draw(st.lists(powers, min_size=2, max_size=2)))
    row = _row(
        Generator,
        power_min_kw=st.just(low),
        power_max_kw=st.just(high),
        cost_per_kwh=prices,
        start_cost=prices,
        no_load_cost_per_h=prices,
        ramp_kw_per_h=powers,
        minimum_up_h=hours,
        minimum_down_h=hours,
        co2_kg_per_kwh=st.floats(0, 2),
    )
    made: Generator = draw(row)
    return made


def pvs() -> st.SearchStrategy[Pv]:
    """Photovoltaic plants."""
    return _row(Pv, available_profile=identifiers, available_scale_kw=powers, curtail_cost_per_kwh=prices)


OF_KIND: dict[ResourceKind, st.SearchStrategy[Any]] = {
    ResourceKind.STORAGE: storages(),
    ResourceKind.EV_SESSION: ev_sessions(),
    ResourceKind.CURTAILABLE_LOAD: curtailable_loads(),
    ResourceKind.INTERRUPTIBLE_LOAD: interruptible_loads(),
    ResourceKind.SHIFTABLE_LOAD: shiftable_loads(),
    ResourceKind.THERMAL_LOAD: thermal_loads(),
    ResourceKind.GENERATOR: generators(),
    ResourceKind.PV: pvs(),
}


def resources() -> st.SearchStrategy[Any]:
    """A resource of any kind."""
    return st.one_of(*OF_KIND.values())
