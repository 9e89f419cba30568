"""Registered resources and their readings, for tests of what the service remembers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from adapters.store import Store
from models.capacity import connected_kw, declared_kw
from models.intervals import FloatArray, IntervalGrid
from models.plan import DispatchPlan, PlanSource
from models.records import AggregatorRecord, RegisteredResourceRecord
from models.resources import (
    CurtailableLoad,
    EvCharger,
    Generator,
    InterruptibleLoad,
    Pillar,
    Pv,
    RegisteredResource,
    ShiftableLoad,
    Storage,
    ThermalLoad,
)
from models.telemetry import ChargingSession, Reading
from vpp.real_time import RealTimeStage

T0 = datetime(2025, 7, 16, 4, tzinfo=UTC)
HOUR = timedelta(hours=1)


def common(name: str) -> dict[str, Any]:
    return {
        "resource_id": name,
        "aggregator_id": "agg",
        "zone_id": "Z00",
        "meter_id": f"m-{name}",
        "pillar": Pillar.LOAD,
        "tariff_id": "tou",
    }


def battery(name: str = "battery") -> Storage:
    return Storage(
        **common(name),
        charge_limit_kw=50.0,
        discharge_limit_kw=40.0,
        energy_min_kwh=10.0,
        energy_max_kwh=100.0,
        energy_start_kwh=50.0,
        energy_end_min_kwh=20.0,
        charge_efficiency=0.95,
        discharge_efficiency=0.95,
        wear_cost_per_kwh=0.05,
    )


def charger(name: str = "charger", *, discharge_limit_kw: float = 0.0) -> EvCharger:
    return EvCharger(**common(name), charge_limit_kw=7.0, charge_efficiency=0.9, discharge_limit_kw=discharge_limit_kw)


def curtailable(name: str = "load") -> CurtailableLoad:
    return CurtailableLoad(
        **common(name),
        baseline_profile="p",
        baseline_scale_kw=100.0,
        curtail_share=0.4,
        cost_per_kwh=2.0,
        energy_limit_kwh=500.0,
        hours_limit_h=4.0,
        rebound_share=0.5,
        rebound_hours_h=2.0,
    )


def interruptible(name: str = "block") -> InterruptibleLoad:
    return InterruptibleLoad(
        **common(name),
        baseline_profile="p",
        baseline_scale_kw=100.0,
        block_kw=80.0,
        cost_per_kwh=2.0,
        shortest_h=0.5,
        longest_h=2.0,
        calls_per_day=2,
    )


def thermal(name: str = "cool", *, decay_per_hour: float = 0.3) -> ThermalLoad:
    return ThermalLoad(
        **common(name),
        baseline_profile="p",
        baseline_scale_kw=100.0,
        increase_limit_kw=20.0,
        decrease_limit_kw=30.0,
        store_low_kwh=40.0,
        store_high_kwh=25.0,
        store_end_min_kwh=0.0,
        decay_per_hour=decay_per_hour,
        discomfort_cost_per_kwh=0.5,
    )


def generator(name: str = "gas") -> Generator:
    return Generator(
        **common(name),
        power_min_kw=100.0,
        power_max_kw=500.0,
        cost_per_kwh=1.2,
        start_cost=50.0,
        no_load_cost_per_h=5.0,
        ramp_kw_per_h=1000.0,
        minimum_up_h=1.0,
        minimum_down_h=1.0,
    )


def pv(name: str = "sun") -> Pv:
    return Pv(**common(name), available_profile="sun", available_scale_kw=300.0, curtail_cost_per_kwh=0.4)


def process(name: str = "wash", *, start: datetime = T0, length: timedelta = 6 * HOUR) -> ShiftableLoad:
    return ShiftableLoad(
        **common(name),
        window_start=start,
        window_end=start + length,
        energy_kwh=20.0,
        power_min_kw=0.0,
        power_max_kw=10.0,
        preferred_start=start + HOUR,
    )


def registered(resource: RegisteredResource, *, ttl_s: float = 300.0) -> RegisteredResourceRecord:
    return RegisteredResourceRecord(
        resource=resource,
        fallback_power_kw=None,
        telemetry_ttl_s=ttl_s,
        connected_kw=connected_kw(resource),
        declared_kw=declared_kw(resource),
        registered_at=T0 - 24 * HOUR,
    )


@contextmanager
def store_of(folder: Path, *resources: RegisteredResource) -> Iterator[Store]:
    """A store of its own that knows these resources."""
    with Store(f"sqlite:///{folder / 'test.db'}") as made:
        made.migrate()
        made.add_aggregator(AggregatorRecord("agg", "", "hash", T0))
        assert made.upsert_resources([registered(each) for each in resources]) == {}
        yield made


def stay(**changes: Any) -> ChargingSession:
    fields = {"session_id": "s1", "arrival": T0, "departure": T0 + 6 * HOUR, "energy_needed_kwh": 20.0}
    return ChargingSession(**{**fields, **changes})


def reading(name: str, minutes: float, power_kw: float, **more: Any) -> Reading:
    return Reading(resource_id=name, measured_at=T0 + timedelta(minutes=minutes), power_kw=power_kw, **more)


def real_time_stage(cycle: timedelta, **changes: Any) -> RealTimeStage:
    """The stage of a service that has no neighbours but those in ``changes``."""
    nobody: Any = SimpleNamespace(columns=None)
    neighbours: dict[str, Any] = dict.fromkeys(("clock", "state", "feed", "builder", "solver"), nobody)
    rules = {"zone": ZoneInfo("Asia/Shanghai"), "deadline_s": 30.0, "gap": 0.01, "on_plan": lambda *_: None}
    return RealTimeStage(cycle=cycle, **{**neighbours, **rules, **changes})


def plan_made(
    names: Sequence[str], power_kw: FloatArray, *, start: datetime = T0, step: timedelta, baseline_kw: float = 0.0
) -> DispatchPlan:
    """A solver's plan of so much power, (n, T), and no other content."""
    return DispatchPlan(
        grid=IntervalGrid.regular(start, step, power_kw.shape[1]),
        resource_ids=tuple(names),
        power_kw=power_kw,
        energy_kwh=power_kw,
        baseline_kw=np.full_like(power_kw, baseline_kw),
        baseline_energy_kwh=power_kw,
        status="optimal",
        source=PlanSource.REFERENCE,
        objective_cny=0.0,
        baseline_cost_cny=0.0,
        lower_bound_cny=0.0,
        iterations=1,
        wall_s=0.0,
        penalties={},
    )
