"""The paper and the model say the same: numbers both ways, and one golden LP file per family of equations.

``VPP_WRITE_GOLDEN=1 pytest tests/equations`` writes the golden files anew; read the difference before you commit it.
"""

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyomo.environ as pyo
import pytest

from models.dispatch.problem import DispatchProblem, Penalties, RealTimeTerms
from models.dispatch.reference import charging, city, generation, loads, shifting, storage, thermal
from models.dispatch.reference.city import build_city
from models.dispatch.reference.structure import entries_of
from models.events import Commitment, Event
from models.resources import (
    CurtailableLoad,
    EvSession,
    Generator,
    InterruptibleLoad,
    Pv,
    ResourceBase,
    ShiftableLoad,
    Storage,
    ThermalLoad,
)
from tests.hand import COMMON, at
from tests.hand import city as small_city

GOLDEN = Path(__file__).parent / "golden"

BATTERY: dict[str, Any] = {
    "charge_limit_kw": 10,
    "discharge_limit_kw": 8,
    "energy_min_kwh": 1,
    "energy_max_kwh": 9,
    "energy_start_kwh": 2,
    "energy_end_min_kwh": 3,
    "charge_efficiency": 0.8,
    "discharge_efficiency": 0.5,
    "wear_cost_per_kwh": 0.05,
}
STAY: dict[str, Any] = {
    "session_id": "s",
    "arrival": at(0.5),
    "departure": at(3),
    "energy_needed_kwh": 9,
    "charge_limit_kw": 10,
    "charge_efficiency": 0.9,
}
BOTH_WAYS: dict[str, Any] = {
    "discharge_limit_kw": 5,
    "discharge_efficiency": 0.8,
    "battery_capacity_kwh": 20,
    "battery_start_kwh": 4,
    "wear_cost_per_kwh": 0.02,
}
LOAD: dict[str, Any] = {
    "baseline_profile": "p",
    "baseline_scale_kw": 100,
    "cost_per_kwh": 2,
    "rebound_share": 0.5,
    "rebound_hours_h": 1,
    "notice_h": 1,
}
CURTAIL: dict[str, Any] = {"curtail_share": 0.4, "energy_limit_kwh": 50, "hours_limit_h": 2}
PROCESS: dict[str, Any] = {
    "window_start": at(0),
    "window_end": at(2),
    "energy_kwh": 12,
    "power_min_kw": 2,
    "power_max_kw": 10,
    "preferred_start": at(0),
    "cost_per_kwh": 0.3,
}

CASES: dict[str, tuple[ResourceBase, Any]] = {
    "battery": (Storage(**COMMON, **BATTERY), storage.add_storage),
    "pumped_hydro": (
        Storage(**COMMON, **BATTERY, charge_min_kw=4, discharge_min_kw=3, mode_change_cost=2),
        storage.add_storage,
    ),
    "ev_one_way": (EvSession(**COMMON, **STAY), charging.add_charging),
    "ev_both_ways": (EvSession(**COMMON, **STAY, **BOTH_WAYS), charging.add_charging),
    "curtailable": (CurtailableLoad(**COMMON, **LOAD, **CURTAIL), loads.add_curtailable),
    "curtailable_calls": (
        CurtailableLoad(**COMMON, **LOAD, **CURTAIL, calls_per_day=1, rest_h=1),
        loads.add_curtailable,
    ),
    "interruptible": (
        InterruptibleLoad(**COMMON, **LOAD, block_kw=30, shortest_h=1, longest_h=2, calls_per_day=1, rest_h=1),
        loads.add_interruptible,
    ),
    "shiftable": (ShiftableLoad(**COMMON, **PROCESS), shifting.add_shiftable),
    "shiftable_run": (
        ShiftableLoad(**COMMON, **(PROCESS | {"power_min_kw": 0}), run_profile="r"),
        shifting.add_run,
    ),
    "thermal": (
        ThermalLoad(
            **COMMON,
            baseline_profile="p",
            baseline_scale_kw=10,
            increase_limit_kw=4,
            decrease_limit_kw=6,
            store_low_kwh=3,
            store_high_kwh=2,
            store_end_min_kwh=0,
            decay_per_hour=0.1,
            discomfort_cost_per_kwh=0.1,
        ),
        thermal.add_thermal,
    ),
    "generator": (
        Generator(
            **COMMON,
            power_min_kw=4,
            power_max_kw=10,
            cost_per_kwh=0.5,
            start_cost=1,
            no_load_cost_per_h=0.2,
            ramp_kw_per_h=6,
            minimum_up_h=2,
            minimum_down_h=1,
        ),
        generation.add_generator,
    ),
    "pv": (
        Pv(**COMMON, available_profile="p", available_scale_kw=8, curtail_cost_per_kwh=0.2),
        generation.add_pv,
    ),
}
FAMILIES = {
    "battery": {f"S{k}" for k in range(1, 9)},
    "ev_one_way": {"E1", "E2", "E3", "E4"},
    "ev_both_ways": {f"E{k}" for k in range(1, 14)} - {"E4"},
    "curtailable": {"C1", "C2", "C3", "C4"},
}
"""Variants that leave some of the docstring's equations out, because they need no integers or have another branch."""


def problem_of(row: ResourceBase) -> DispatchProblem:
    return small_city(
        [row], [0.5, -0.2, 0.9], profile=[1.0, 0.8, 0.9], run_profiles={"r": np.array([0.8, 0.4])}, load_kw=5.0
    )


def whole_city() -> DispatchProblem:
    """One room, one event with a commitment and a rebound cap, in real time: every M row there is."""
    event = Event(event_id="e", start=at(0), end=at(1), target_kw=3, rebound_cap_kw=12.0)
    accepted = Commitment(event_id="e", aggregator_id="a", interval_start=at(0), accepted_kw=2)
    terms = RealTimeTerms(np.array([9.0]), np.array([[10.0, 11.0]]), np.array([0.0, 1.0]))
    return small_city(
        [CASES["thermal"][0]],
        [0.5, 0.9],
        load_kw=5.0,
        limit_kw=16.0,
        events=(event,),
        commitments=(accepted,),
        real_time=terms,
        penalties=Penalties(switch_cost_per_kw=0.1, stray_cost_per_kwh=0.2),
    )


def numbered(docstring: str) -> list[str]:
    return re.findall(r"^ *\(([A-Z]\d+)\) ", docstring, flags=re.MULTILINE)


def constraints(block: Any) -> list[tuple[str, str]]:
    return [(c.local_name, c.doc) for c in block.component_objects(pyo.Constraint, descend_into=False)]


def built(problem: DispatchProblem) -> Any:
    baseline = np.array([[10.0] * len(problem.grid)])
    return build_city(problem, entries_of(problem), baseline)


@pytest.mark.parametrize("name", CASES)
def test_every_numbered_equation_is_in_the_model_and_every_constraint_in_the_docstring(name: str) -> None:
    row, writer = CASES[name]
    found = constraints(built(problem_of(row)).resource[0])
    assert [f"({local})" for local, _ in found] == [doc for _, doc in found]
    numbers = numbered(writer.__doc__)
    expected = [number for number in numbers if number in FAMILIES.get(name, set(numbers))]
    assert [local for local, _ in found] == expected


def test_every_equation_of_the_city_is_in_the_model_and_in_order() -> None:
    found = constraints(built(whole_city()).city)
    assert [local for local, _ in found] == numbered(city.build_city.__doc__ or "") == [f"M{k}" for k in range(1, 8)]
    assert all(doc == f"({local})" for local, doc in found)


@pytest.mark.parametrize("name", [*CASES, "city"])
def test_the_written_model_is_the_golden_one(name: str, tmp_path: Path) -> None:
    problem = whole_city() if name == "city" else problem_of(CASES[name][0])
    model = built(problem)
    written = tmp_path / f"{name}.lp"
    model.write(str(written), io_options={"symbolic_solver_labels": True})
    golden = GOLDEN / f"{name}.lp"
    if os.environ.get("VPP_WRITE_GOLDEN"):
        golden.write_bytes(written.read_bytes())
    assert written.read_text(encoding="utf-8") == golden.read_text(encoding="utf-8")


def test_the_step_of_the_grid_is_in_the_golden_files() -> None:
    """The golden problems are hourly: an equation that forgot Δ would not show.  Halve the step and see it change."""
    row = CASES["battery"][0]
    hourly = problem_of(row)
    assert hourly.grid.hours == pytest.approx(1.0)
    half = type(hourly.grid).regular(hourly.grid.start, timedelta(minutes=30), 3)
    model = build_city(
        DispatchProblem(
            grid=half,
            fleet=hourly.fleet,
            zones=hourly.zones,
            zone_load_kw=hourly.zone_load_kw,
            zone_limit_kw=hourly.zone_limit_kw,
            tariffs=hourly.tariffs,
            profiles=hourly.profiles,
        ),
        entries_of(hourly),
        np.zeros((1, 3)),
    )
    block = model.resource[0]
    block.energy_kwh[0], block.energy_kwh[1] = 0.0, 4.0
    block.charge_kw[1], block.discharge_kw[1] = 10.0, 0.0
    assert pyo.value(block.S2[1].body) - pyo.value(block.S2[1].upper) == pytest.approx(0.0, abs=1e-9)
