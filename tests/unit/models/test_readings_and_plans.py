"""Readings, stays, plans, their fingerprint and their gap."""

import hashlib
import math
import struct
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from models.intervals import IntervalGrid
from models.plan import DispatchPlan, PlanSource, Setpoint, SetpointBatch, relative_gap, schedule_hash
from models.telemetry import ChargingSession, Reading

T0 = datetime(2025, 7, 16, 5, tzinfo=UTC)
STAY: dict[str, Any] = {"session_id": "s", "arrival": T0, "departure": T0 + timedelta(hours=4), "energy_needed_kwh": 20}
READING: dict[str, Any] = {"resource_id": "r1", "measured_at": T0, "power_kw": 5.0}
GRID = IntervalGrid.regular(T0, timedelta(minutes=15), 3)


def fault(made: type[Any], **values: Any) -> Any:
    with pytest.raises(ValidationError) as caught:
        made(**values)
    (error,) = caught.value.errors()
    return error


@pytest.mark.parametrize("field", ["power_kw", "energy_kwh", "temperature_celsius"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "warm"])
def test_a_reading_holds_finite_numbers_only(field: str, value: Any) -> None:
    assert fault(Reading, **{**READING, field: value})["loc"] == (field,)


def test_a_reading_has_an_aware_time_a_sequence_and_no_other_words() -> None:
    assert fault(Reading, **{**READING, "measured_at": T0.replace(tzinfo=None)})["loc"] == ("measured_at",)
    assert fault(Reading, **READING, sequence=-1)["loc"] == ("sequence",)
    assert fault(Reading, **READING, temperature_celsius=200)["loc"] == ("temperature_celsius",)
    assert fault(Reading, **READING, voltage_v=230)["type"] == "extra_forbidden"


def test_no_word_of_a_session_is_not_the_word_that_there_is_none() -> None:
    assert not Reading(**READING).says_session
    unplugged = Reading(**READING, session=None)
    assert unplugged.says_session
    assert unplugged.session is None
    assert Reading.model_validate_json(unplugged.model_dump_json(exclude_unset=True)).says_session


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"departure": T0}, "departure: must be later than arrival (got '2025-07-16T05:00:00+00:00')"),
        (
            {"battery_capacity_kwh": 50, "battery_start_kwh": 51},
            "battery_start_kwh: must be at most battery_capacity_kwh (got 51.0)",
        ),
        (
            {"battery_capacity_kwh": 50, "battery_start_kwh": 31},
            "energy_needed_kwh: must fit: battery_start_kwh + it at most battery_capacity_kwh (got 20.0)",
        ),
    ],
)
def test_a_stay_that_could_not_be_planned_is_refused_at_the_door(changes: dict[str, Any], rule: str) -> None:
    assert rule in fault(ChargingSession, **{**STAY, **changes})["msg"]
    assert rule in fault(Reading, **READING, session={**STAY, **changes})["msg"]


def test_a_stay_may_just_fit_and_need_not_know_its_battery() -> None:
    assert ChargingSession(**STAY, battery_capacity_kwh=50, battery_start_kwh=30).battery_start_kwh == 30
    assert ChargingSession(**STAY, battery_start_kwh=900).battery_capacity_kwh is None


# ---- fingerprint


def by_hand(starts: list[datetime], rows: list[tuple[str, list[float]]]) -> str:
    """The rule of the plan folder, byte by byte with ``struct``: rows must come in byte order."""
    text = b"".join(
        struct.pack("<q", ((start - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1))) for start in starts
    )
    for name, values in rows:
        text += name.encode("utf-8") + b"\x00" + b"".join(struct.pack("<d", value) for value in values)
    return hashlib.sha256(text).hexdigest()


def test_the_fingerprint_is_the_one_computed_by_hand() -> None:
    power = np.array([[1.5, -0.0, -2.25], [0.0, 3.0, 1e-300]])
    expected = by_hand(list(GRID.starts), [("B2", [0.0, 3.0, 1e-300]), ("b10", [1.5, 0.0, -2.25])])
    assert schedule_hash(GRID, ["b10", "B2"], power) == expected


def test_the_fingerprint_of_a_known_plan_never_changes() -> None:
    # sha256 of 8 bytes 1752642000000000 (<q), "a", 0x00, 1.0 (<d): from sha256sum
    grid = IntervalGrid.regular(T0, timedelta(hours=1), 1)
    assert (
        schedule_hash(grid, ["a"], np.array([[1.0]]))
        == "f77f4f48fd4aa05540cc9d04affa9ee1bb1f596b20c838fdd3034d6d36085488"
    )


@given(st.permutations(range(4)), st.integers(0, 3), st.integers(0, 2))
@settings(max_examples=30, deadline=None)
def test_the_fingerprint_ignores_the_order_of_rows_and_sees_every_value(order: list[int], row: int, t: int) -> None:
    names = ["r1", "r10", "R2", "é"]
    power = np.arange(12.0).reshape(4, 3) - 5
    made = schedule_hash(GRID, names, power)
    assert schedule_hash(GRID, [names[k] for k in order], power[order]) == made
    changed = power.copy()
    changed[row, t] = np.nextafter(changed[row, t], np.inf)
    assert schedule_hash(GRID, names, changed) != made
    assert schedule_hash(GRID, [*names[:row], names[row] + "x", *names[row + 1 :]], power) != made
    later = IntervalGrid.regular(T0 + timedelta(microseconds=1), timedelta(minutes=15), 3)
    assert schedule_hash(later, names, power) != made


def test_minus_zero_is_zero() -> None:
    assert schedule_hash(GRID, ["a"], np.zeros((1, 3))) == schedule_hash(GRID, ["a"], -np.zeros((1, 3)))


# ---- gap


@pytest.mark.parametrize(
    ("objective", "bound", "baseline", "gap"),
    [
        (110.0, 109.0, 100.0, 0.1),  # over what the plan changes, not over the whole
        (1000.5, 1000.0, 1000.0, 0.5),  # ... but over a thousandth of the baseline's cost at least
        (-10.0, -11.0, 0.0, 0.1),
        (5.0, 5.0, 5.0, 0.0),
        (5.0, 5.1, 10.0, 0.0),  # a bound above by rounding is no negative gap
        (0.0, 0.0, 0.0, 0.0),
        (1.0, -math.inf, 0.0, math.inf),
    ],
)
def test_the_gap_is_over_what_the_plan_changes(objective: float, bound: float, baseline: float, gap: float) -> None:
    assert relative_gap(objective, bound, baseline) == pytest.approx(gap)


def test_a_plan_without_known_cost_has_no_gap_least_of_all_zero() -> None:
    for known in [(math.nan, 0.0, 0.0), (1.0, math.nan, 0.0), (1.0, 0.0, math.nan), (math.nan, -math.inf, math.nan)]:
        assert math.isnan(relative_gap(*known))
    assert math.isnan(relative_gap(math.inf, 0.0, 0.0))


def plan(**changes: Any) -> DispatchPlan:
    fields: dict[str, Any] = {
        "grid": GRID,
        "resource_ids": ("a", "b"),
        **dict.fromkeys(("power_kw", "energy_kwh", "baseline_kw", "baseline_energy_kwh"), np.zeros((2, 3))),
        "status": "optimal",
        "source": PlanSource.REFERENCE,
        "objective_cny": 110.0,
        "baseline_cost_cny": 100.0,
        "lower_bound_cny": 109.0,
        "iterations": 1,
        "wall_s": 0.1,
        "penalties": {},
    }
    return DispatchPlan(**{**fields, **changes})


def test_a_plan_knows_its_rows_gap_and_fingerprints() -> None:
    made = plan(power_kw=np.ones((2, 3)))
    assert made.row_of == {"a": 0, "b": 1}
    assert made.gap == pytest.approx(0.1)
    assert made.plan_hash == schedule_hash(GRID, ("a", "b"), np.ones((2, 3)))
    assert made.baseline_hash == schedule_hash(GRID, ("a", "b"), np.zeros((2, 3)))


@pytest.mark.parametrize("field", ["power_kw", "energy_kwh", "baseline_kw", "baseline_energy_kwh"])
def test_a_plan_of_the_wrong_shape_is_refused_by_name(field: str) -> None:
    with pytest.raises(ValueError, match=rf"{field}: shape \(3, 2\), expected \(2, 3\)"):
        plan(**{field: np.zeros((3, 2))})


def test_setpoints_are_finite_or_a_release() -> None:
    assert Setpoint(resource_id="a", power_kw=None).power_kw is None
    assert fault(Setpoint, resource_id="a", power_kw=math.nan)["loc"] == ("power_kw",)
    batch: dict[str, Any] = {
        "command_id": "c",
        "aggregator_id": "a",
        "sequence": 1,
        "plan_hash": "h",
        "valid_from": T0,
        "setpoints": (),
    }
    assert fault(SetpointBatch, **batch, valid_until=T0.replace(tzinfo=None))["loc"] == ("valid_until",)
