"""Units at the door, and errors that keep their facts on every way."""

import copy
import math
import pickle
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from models import errors, units
from models.errors import (
    DeadlineError,
    DeviceError,
    EventStateError,
    InputError,
    InputFault,
    MessageError,
    RegistrationError,
    SolverError,
    VppError,
)

FAULT = InputFault("events.csv", "target_kw", -5, "must be 0 or more", 3)


@pytest.mark.parametrize(
    ("unit", "good", "bad"),
    [
        (units.Kw, (-5.0, 0.0, 5.0), ()),
        (units.NonNegativeKw, (0.0, 5.0), (-1e-9,)),
        (units.Kwh, (-5.0, 5.0), ()),
        (units.NonNegativeKwh, (0.0,), (-1e-9,)),
        (units.Hours, (0.0,), (-1e-9,)),
        (units.PositiveHours, (1e-9,), (0.0, -1.0)),
        (units.Seconds, (0.0,), (-1.0,)),
        (units.Celsius, (-90.0, 150.0), (-90.1, 150.1)),
        (units.Fraction, (0.0, 1.0), (-0.01, 1.01)),
        (units.Efficiency, (0.01, 1.0), (0.0, 1.01)),
        (units.PricePerKwh, (-0.5, 0.5), ()),
        (units.NonNegativePricePerKwh, (0.0,), (-0.01,)),
        (units.NonNegativeMoney, (0.0,), (-0.01,)),
        (units.Count, (0, 3), (-1, 0.5)),
    ],
)
def test_a_unit_takes_its_range_and_nothing_else(unit: Any, good: tuple[Any, ...], bad: tuple[Any, ...]) -> None:
    door = TypeAdapter[Any](unit)
    for value in good:
        assert door.validate_python(value) == value
    for value in (*bad, math.nan, math.inf, -math.inf, None, "many"):
        with pytest.raises(ValidationError):
            door.validate_python(value)


def test_an_instant_needs_an_offset_and_is_utc_afterwards() -> None:
    door = TypeAdapter[Any](units.UtcTime)
    made = door.validate_python("2025-07-16T00:00:00+08:00")
    assert made == datetime(2025, 7, 15, 16, tzinfo=UTC)
    assert made.tzinfo is UTC
    for naive in ("2025-07-16T00:00:00", "2025-07-16", made.replace(tzinfo=None)):
        with pytest.raises(ValidationError, match="timezone"):
            door.validate_python(naive)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+08:00", "9999-12-31T23:00:00-08:00"])
def test_an_instant_that_utc_cannot_hold_is_refused_like_any_other(text: str) -> None:
    with pytest.raises(ValidationError, match="years 1 to 9999"):
        TypeAdapter[Any](units.UtcTime).validate_python(text)


def test_names_have_a_narrow_alphabet() -> None:
    name, aggregator = TypeAdapter[Any](units.Identifier), TypeAdapter[Any](units.AggregatorId)
    for good in ("a", "Z01", "of:r1", "a.b_c-d", "x" * 128):
        assert name.validate_python(good) == good
    for bad in ("", "-a", ".a", "a b", "a/b", "a+", "x" * 129, "a\n", "电池"):
        with pytest.raises(ValidationError):
            name.validate_python(bad)
    for bad in ("A", "a_b", "a/b", "#", "+", "", "x" * 65, "a\n"):
        with pytest.raises(ValidationError):
            aggregator.validate_python(bad)


def test_a_fault_says_place_row_field_rule_and_value() -> None:
    assert str(FAULT) == "events.csv, row 3, target_kw: must be 0 or more (got -5)"
    assert str(InputFault("grid", "edges", "x" * 500, "r")).endswith("x (got '") is False
    assert len(str(InputFault("grid", "edges", "x" * 5000, "r"))) < 200


def test_an_input_error_keeps_all_faults_and_shows_five() -> None:
    error = MessageError([FAULT] * 8)
    assert len(error.faults) == 8
    assert str(error).count("target_kw") == 5
    assert str(error).endswith("; and 3 more")
    assert str(InputError([FAULT] * 5)).count("more") == 5  # only those of the rule


MADE: list[VppError] = [
    InputError([FAULT]),
    MessageError([FAULT, FAULT]),
    RegistrationError("r1", "meter_id", "m1", "is another's"),
    EventStateError("e1", "draft", "become ended", "only declared may follow"),
    SolverError("infeasible", "why"),
    DeadlineError(3.5),
    DeviceError("r1", "silent"),
    errors.BrokerError("gone"),
    errors.StoreError("locked"),
    errors.AccessError("no"),
]


@pytest.mark.parametrize("error", MADE, ids=lambda error: type(error).__name__)
def test_an_error_from_a_worker_process_has_all_its_facts(error: VppError) -> None:
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert vars(again) == vars(error)


def test_trying_again_makes_sense_only_where_it_says_so() -> None:
    retryable = {type(error).__name__ for error in MADE if error.retryable}
    assert retryable == {"SolverError", "DeadlineError", "DeviceError", "BrokerError", "StoreError"}
    named = {name for name in vars(errors) if name.endswith("Error") and issubclass(getattr(errors, name), VppError)}
    drawn = {word for word in (errors.__doc__ or "").split() if word.endswith("Error")}
    assert named == drawn
