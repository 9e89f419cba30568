"""An order beyond what its device was registered with is found, kind by kind, and one within it is not."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from models.intervals import IntervalGrid
from models.resources import RegisteredResource
from simulations.device_limits import broken_limits
from simulations.wire.codec import ReceivedSetpoints
from simulations.wire.record import GatewayRecord, Told

START = datetime(2025, 7, 16, 5, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
GRID = IntervalGrid.regular(START, 5 * MINUTE, 4)
BASELINE_KW = np.array([100.0, 80.0, 120.0, 100.0])
BASE = {
    "resource_id": "d",
    "aggregator_id": "a",
    "zone_id": "z",
    "meter_id": "m",
    "pillar": "load",
    "tariff_id": "t",
}
LOAD = {"baseline_profile": "p", "baseline_scale_kw": 150.0}
REBOUNDABLE = {**LOAD, "cost_per_kwh": 1.0, "rebound_share": 0.5, "rebound_hours_h": 2.0}
KINDS: dict[str, dict[str, Any]] = {
    "storage": {
        "charge_limit_kw": 50.0,
        "discharge_limit_kw": 60.0,
        "energy_min_kwh": 10.0,
        "energy_max_kwh": 100.0,
        "energy_start_kwh": 50.0,
        "energy_end_min_kwh": 10.0,
        "charge_efficiency": 0.9,
        "discharge_efficiency": 0.9,
        "wear_cost_per_kwh": 0.1,
    },
    "ev_session": {"charge_limit_kw": 50.0, "charge_efficiency": 0.9},
    "generator": {
        "power_min_kw": 20.0,
        "power_max_kw": 60.0,
        "cost_per_kwh": 2.0,
        "start_cost": 1.0,
        "no_load_cost_per_h": 1.0,
        "ramp_kw_per_h": 600.0,
        "minimum_up_h": 0.5,
        "minimum_down_h": 0.5,
    },
    "pv": {"available_profile": "p", "available_scale_kw": 60.0, "curtail_cost_per_kwh": 0.4},
    "shiftable_load": {
        "window_start": START,
        "window_end": START + timedelta(hours=10),
        "energy_kwh": 100.0,
        "power_min_kw": 0.0,
        "power_max_kw": 50.0,
    },
    "thermal_load": {
        **LOAD,
        "increase_limit_kw": 30.0,
        "decrease_limit_kw": 40.0,
        "store_low_kwh": 40.0,
        "store_high_kwh": 20.0,
        "store_end_min_kwh": 0.0,
        "decay_per_hour": 0.5,
        "discomfort_cost_per_kwh": 1.0,
    },
    "curtailable_load": {**REBOUNDABLE, "curtail_share": 0.4, "energy_limit_kwh": 100.0, "hours_limit_h": 4.0},
    "interruptible_load": {**REBOUNDABLE, "block_kw": 70.0, "shortest_h": 1.0, "longest_h": 2.0, "calls_per_day": 2},
}
# b is at least 80 kW and at most 120 kW from minute 5 to minute 15
RANGES = {
    "storage": (-60.0, 50.0),
    "ev_session": (0.0, 50.0),
    "generator": (-60.0, 0.0),
    "pv": (-60.0, 0.0),
    "shiftable_load": (0.0, 50.0),
    "thermal_load": (40.0, 150.0),
    "curtailable_load": (48.0, 180.0),
    "interruptible_load": (10.0, 180.0),
}


def found(kind: str, *powers_kw: float | None, **changes: Any) -> tuple[str, ...]:
    row = TypeAdapter(RegisteredResource).validate_python({**BASE, "kind": kind, **KINDS[kind], **changes})
    assert set(KINDS) == set(RANGES)
    record = GatewayRecord()
    window = START + 5 * MINUTE, START + 15 * MINUTE
    for number, power_kw in enumerate(powers_kw):
        record.came.append((START, ReceivedSetpoints(f"c{number}", number, "hash", *window, (("d", power_kw),))))
        # carried out late, its end was cut off: what it may be follows from what it was given for
        record.told.append(Told(START, "d", f"c{number}", number, window[0], START + 6 * MINUTE, power_kw))
    return broken_limits([record], {"d": row}, GRID, {"d": BASELINE_KW})


@pytest.mark.parametrize("kind", RANGES)
def test_an_order_at_a_limit_is_kept_and_one_beyond_it_is_not(kind: str) -> None:
    low, high = RANGES[kind]
    assert found(kind, low, high, None) == ()
    assert found(kind, low - 0.1) == (f"limits: d at 05:00:00 told {low - 0.1:.3f} kW, its limit is {low:.3f} kW",)
    assert found(kind, high + 0.1) == (f"limits: d at 05:00:00 told {high + 0.1:.3f} kW, its limit is {high:.3f} kW",)


def test_only_the_worst_order_of_a_device_is_told_and_how_many_there_were() -> None:
    assert found("storage", 51.0, -70.0, 40.0) == (
        "limits: d at 05:00:00 told -70.000 kW, its limit is -60.000 kW (2 such orders)",
    )


def test_what_runs_above_a_minimum_only_is_not_told_to_run_below_it() -> None:
    assert found("generator", -20.0, 0.0) == ()
    assert found("generator", -12.0) == ("limits: d at 05:00:00 told -12.000 kW, its limit is -20.000 kW",)
    hydro = {"charge_min_kw": 20.0, "discharge_min_kw": 30.0}
    assert found("storage", 20.0, -30.0, 0.0, **hydro) == ()
    assert len(found("storage", 15.0, **hydro)) == len(found("storage", -25.0, **hydro)) == 1


def test_a_limit_follows_from_all_that_a_baseline_was_believed_to_be() -> None:
    row = TypeAdapter(RegisteredResource).validate_python({**BASE, "kind": "thermal_load", **KINDS["thermal_load"]})
    order = Told(START, "d", "c", 1, START, START + MINUTE, 55.0)
    for b_kw, count in ((np.full(4, 100.0), 1), (np.array([np.full(4, 100.0), np.full(4, 95.0)]), 0)):
        assert len(broken_limits([GatewayRecord(told=[order])], {"d": row}, GRID, {"d": b_kw})) == count


def test_a_load_of_unknown_baseline_may_not_be_told_to_feed_in() -> None:
    row = TypeAdapter(RegisteredResource).validate_python({**BASE, "kind": "thermal_load", **KINDS["thermal_load"]})
    order = Told(START, "d", "c", 1, START, START + MINUTE, 1e3)
    assert broken_limits([GatewayRecord(told=[order])], {"d": row}, GRID, {}) == ()
    assert len(broken_limits([GatewayRecord(told=[replace(order, power_kw=-1.0)])], {"d": row}, GRID, {})) == 1
