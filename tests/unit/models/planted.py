"""A day with one resource of every make and a schedule worked by hand; nothing here asks a solver or the checker."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from models.dispatch.problem import DispatchProblem
from models.events import Commitment, Event
from models.fleet import Fleet
from models.intervals import FloatArray, IntervalGrid
from models.plan import DispatchPlan, PlanSource, RequirementAmount
from models.resources import (
    CurtailableLoad,
    EvSession,
    Generator,
    InterruptibleLoad,
    Pillar,
    Pv,
    ResourceBase,
    ShiftableLoad,
    Storage,
    ThermalLoad,
)

START = datetime(2025, 7, 15, 22, tzinfo=UTC)
T = 24


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def _common(name: str) -> dict[str, Any]:
    return {
        "resource_id": name, "aggregator_id": "a", "zone_id": "z", "meter_id": f"m-{name}", "pillar": Pillar.LOAD,
        "tariff_id": "t",
    }  # fmt: skip


def _storage(name: str, **more: Any) -> Storage:
    return Storage(
        **_common(name), charge_limit_kw=10, discharge_limit_kw=8, energy_min_kwh=2, energy_max_kwh=60,
        energy_start_kwh=30, energy_end_min_kwh=8, charge_efficiency=0.9, discharge_efficiency=0.8,
        wear_cost_per_kwh=0.05, **more,
    )  # fmt: skip


def _curtailable(name: str, **more: Any) -> CurtailableLoad:
    given: dict[str, Any] = {
        "baseline_profile": "flat", "baseline_scale_kw": 100, "curtail_share": 0.3, "cost_per_kwh": 1.5,
        "energy_limit_kwh": 40, "hours_limit_h": 5, "notice_h": 3,
    }  # fmt: skip
    return CurtailableLoad(**_common(name), **{**given, **more})


def fleet() -> list[ResourceBase]:
    return [
        _storage("battery"),
        _storage("hydro", charge_min_kw=5, discharge_min_kw=4, mode_change_cost=3),
        EvSession(
            **_common("car"), session_id="s-car", arrival=at(2), departure=at(6), energy_needed_kwh=16,
            charge_limit_kw=7, charge_efficiency=0.9,
        ),
        EvSession(
            **_common("part"), session_id="s-part", arrival=at(2.5), departure=at(6), energy_needed_kwh=9,
            charge_limit_kw=7, charge_efficiency=0.9,
        ),
        EvSession(
            **_common("late"), session_id="s-late", arrival=at(22), departure=at(26), energy_needed_kwh=20,
            charge_limit_kw=7, charge_efficiency=0.9,
        ),
        EvSession(
            **_common("v2g"), session_id="s-v2g", arrival=at(1), departure=at(9), energy_needed_kwh=10,
            charge_limit_kw=10, charge_efficiency=0.9, discharge_limit_kw=10, discharge_efficiency=0.9,
            battery_capacity_kwh=40, battery_start_kwh=20, wear_cost_per_kwh=0.1,
        ),
        _curtailable("cut", rebound_share=0.5, rebound_hours_h=2),
        _curtailable("hours", energy_limit_kwh=500, hours_limit_h=1.2),
        _curtailable("calls", calls_per_day=2, rest_h=4),
        InterruptibleLoad(
            **_common("block"), baseline_profile="flat", baseline_scale_kw=100, block_kw=40, cost_per_kwh=1.5,
            shortest_h=2, longest_h=3, calls_per_day=2, rest_h=4, notice_h=3, rebound_share=0.25, rebound_hours_h=1,
        ),
        ShiftableLoad(
            **_common("shift"), window_start=at(4), window_end=at(12), energy_kwh=40, power_min_kw=2, power_max_kw=10,
            preferred_start=at(4), cost_per_kwh=0.1,
        ),
        ShiftableLoad(
            **_common("run"), window_start=at(4), window_end=at(12), energy_kwh=15, power_min_kw=0, power_max_kw=10,
            run_profile="run", preferred_start=at(5), cost_per_kwh=0.1,
        ),
        ThermalLoad(
            **_common("cool"), baseline_profile="dips", baseline_scale_kw=50, increase_limit_kw=10,
            decrease_limit_kw=20, store_low_kwh=15, store_high_kwh=12, store_end_min_kwh=-2, decay_per_hour=0,
            discomfort_cost_per_kwh=0.2,
        ),
        Generator(
            **_common("engine"), power_min_kw=4, power_max_kw=10, cost_per_kwh=1, start_cost=5, no_load_cost_per_h=1,
            ramp_kw_per_h=3, minimum_up_h=2, minimum_down_h=3,
        ),
        Pv(**_common("panel"), available_profile="dips", available_scale_kw=20, curtail_cost_per_kwh=0.1),
    ]  # fmt: skip


def problem() -> DispatchProblem:
    flat = np.ones(T)
    dips = flat.copy()
    dips[20] = 0.0
    event = Event(event_id="e", start=at(10), end=at(11), target_kw=5, issued_at=START)
    return DispatchProblem(
        IntervalGrid.regular(START, timedelta(hours=1), T), Fleet.from_rows(fleet()), ("z",), np.full((1, T), 1000.0),
        np.full((1, T), 1600.0), {"t": np.full(T, 0.6)}, {"flat": flat, "dips": dips},
        run_profiles={"run": np.array([1.0, 0.5])}, events=(event,),
        commitments=(Commitment(event_id="e", aggregator_id="a", interval_start=at(10), accepted_kw=5.0),),
    )  # fmt: skip


def row(values: Mapping[int, float] | None = None, base: float | FloatArray = 0.0) -> FloatArray:
    """A schedule: ``base`` everywhere but in the hours named."""
    found = np.zeros(T) + base
    for hour, value in (values or {}).items():
        found[hour] = value
    return found


def cut(reduced: Mapping[int, float], share: float = 0.0, hours: int = 1) -> FloatArray:
    """A load of 100 kW that gives up so much, and takes its share of it back evenly in the hours after."""
    found = row(base=100.0)
    for hour, amount in reduced.items():
        found[hour] -= amount
        found[hour + 1 : hour + 1 + hours] += share * amount / hours
    return found


def dips() -> FloatArray:
    return row({20: 0.0}, 1.0)


def good() -> dict[str, FloatArray]:
    """A schedule of every resource that keeps all limits, and gives 5 kW in the event's hour."""
    return {
        "battery": row({3: 10, 15: -8}),
        "hydro": row({4: 6, 16: -5}),
        "car": row(dict.fromkeys(range(2, 6), 16 / 0.9 / 4)),
        "part": row(dict.fromkeys(range(3, 6), 10 / 3)),
        "late": row({22: 5, 23: 5}),
        "v2g": row(dict.fromkeys(range(1, 3), 10 / 0.9 / 2)),
        "cut": cut({10: 5}, 0.5, 2),
        "hours": cut({}),
        "calls": cut({8: 5}),
        "block": cut(dict.fromkeys((14, 15), 40), 0.25),
        "shift": row(dict.fromkeys(range(4, 12), 5)),
        "run": row({5: 10, 6: 5}),
        "cool": 50 * dips() + row({1: 3, 2: -4}),
        "engine": row({12: -4, 13: -7, 14: -4}),
        "panel": -20 * dips() + row({9: 1}),
    }


def baseline() -> dict[str, FloatArray]:
    """What the same resources would do in the event's hour otherwise (only that hour and the loads matter here)."""
    return {
        **good(),
        "cut": cut({}), "calls": cut({}), "block": cut({}), "cool": 50 * dips(), "panel": -20 * dips(),
        "engine": row(), "battery": row(), "hydro": row(),
    }  # fmt: skip


def energies(power: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """The energy column by hand: levels, delivered energy, comfort store."""

    def level(values: FloatArray, start: float, charge: float, discharge: float) -> FloatArray:
        return start + np.cumsum(np.where(values > 0, values * charge, values / discharge))

    found = {name: np.full(T, np.nan) for name in power}
    for name in ("battery", "hydro"):
        found[name] = level(power[name], 30, 0.9, 0.8)
    for name, first, last in (("car", 2, 6), ("part", 2, 6), ("late", 22, 24), ("v2g", 1, 9)):
        begin, out = (20.0, 0.9) if name == "v2g" else (0.0, 1.0)
        found[name][first:last] = level(power[name], begin, 0.9, out)[first:last]
    found["cool"] = np.cumsum(power["cool"] - 50 * dips())
    return found


def good_cost() -> float:
    """The objective of ``good`` by hand, CNY."""
    tariff = 0.6 * sum(float(values.sum()) for values in good().values())
    late = 0.6 * 11 / 0.9
    wear = 0.05 * (10 + 8 + 6 + 5) + 0.1 * 10 / 0.9
    modes = 3 * 4
    reductions = 1.5 * (5 + 5 + 80)
    preferred = 0.1 * 0.5 * (4 * 5 + 4 * 5)
    discomfort, curtailed = 0.2 * 4, 0.1 * 1
    engine = 15 * 1 + 5 + 3 * 1
    return tariff + late + wear + modes + reductions + preferred + discomfort + curtailed + engine


def plan(
    of: DispatchProblem,
    power: Mapping[str, FloatArray] | None = None,
    *,
    unmet: tuple[RequirementAmount, ...] = (),
    objective_cny: float | None = None,
    energy: Mapping[str, FloatArray] | None = None,
    **more: Any,
) -> DispatchPlan:
    """A plan of ``power`` (by default ``good``) with its energies and the good schedule's cost."""
    power = good() if power is None else power
    energy = energies(power) if energy is None else energy
    ids, base = of.fleet.resource_ids, baseline()
    fields: dict[str, Any] = {
        "status": "optimal", "source": PlanSource.REFERENCE, "baseline_cost_cny": 0.0, "lower_bound_cny": -1e6,
        "iterations": 1, "wall_s": 0.0, "penalties": of.penalties.as_dict(),
    }  # fmt: skip
    return DispatchPlan(
        grid=of.grid,
        resource_ids=ids,
        power_kw=np.array([power[name] for name in ids]),
        energy_kwh=np.array([energy[name] for name in ids]),
        baseline_kw=np.array([base[name] for name in ids]),
        baseline_energy_kwh=np.array([energies(base)[name] for name in ids]),
        objective_cny=good_cost() if objective_cny is None else objective_cny,
        unmet=unmet,
        **{**fields, **more},
    )
