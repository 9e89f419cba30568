"""What was measured: broken inputs are refused by name, orders are put on the clock, and all is in the fingerprint."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.canonical import canonical_json
from models.capability.assessment import assess
from models.capability.measured import MeasuredTest, PowerSeries
from models.capability.programme import FILL, SHAVE, ResourceClass, standard_programme
from models.errors import InputError
from tests.unit.models.capability.runs import BY_HAND, PLAIN, T0_US, programme, run

S = 1_000_000


@pytest.mark.parametrize(
    ("times", "power", "field", "rule", "row"),
    [
        ([0.0, 1.0], [1, 2], "measured_us", "whole microseconds", None),
        ([0, 1], [1, 2, 3], "power_kw", "of one shape", None),
        ([[0, 1]], [[1, 2]], "power_kw", "of one shape", None),
        ([0, 2, 2], [1, 2, 3], "measured_us", "strictly rising", 3),
        ([0, 2, 1], [1, 2, 3], "measured_us", "strictly rising", 3),
        ([0, 1, 2], [1, np.inf, 3], "power_kw", "must be a number", 2),
        ([0, 1, 2], [1, 2, -2e9], "power_kw", "at most 1e\\+09 kW either way", 3),
    ],
)
def test_a_broken_series_is_refused(times: Any, power: Any, field: str, rule: str, row: int | None) -> None:
    with pytest.raises(InputError, match=rule) as caught:
        PowerSeries(np.array(times), np.array(power))
    fault = caught.value.faults[0]
    assert (fault.place, fault.field, fault.row) == ("capability test", field, row)


def test_a_reading_that_failed_may_be_not_a_number_but_a_baseline_may_not() -> None:
    test = run([np.nan, *BY_HAND[1:]], baseline_kw=0)
    assert np.isnan(test.series.power_kw[1])
    with pytest.raises(InputError, match="must be a number") as caught:
        replace(test, baseline_kw=np.where(np.arange(31) == 3, np.nan, 1.0))
    assert (caught.value.faults[0].field, caught.value.faults[0].row) == ("baseline_kw", 4)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"baseline_kw": np.zeros(3)}, "must be of the readings' shape"),
        ({"declared_shave_kw": -1.0}, "must not be negative"),
        ({"declared_fill_kw": float("nan")}, "must not be negative"),
        ({"declared_fill_kw": 2e9}, "at most"),
    ],
)
def test_a_broken_test_is_refused(change: dict[str, Any], rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        replace(run(BY_HAND), **change)


def test_a_programme_of_shares_needs_something_declared() -> None:
    plan = standard_programme(ResourceClass.FLEXIBLE_LOAD)
    assert run([0] * 5, plan).largest_order_kw == 100
    for declared in (0.0, 1e-9):
        with pytest.raises(InputError, match="must be declared"):
            run([0] * 5, plan, declared_shave_kw=declared)


def test_the_steps_stand_on_the_clock_with_what_of_each_order_is_new() -> None:
    plan = programme((60, SHAVE, 0, 0), (120, SHAVE, 100, 30), (60, SHAVE, 40, 0), (60, FILL, 50, 0), (60, FILL, 0, 0))
    steps = run([0.0], plan).steps
    clock = [[(at - T0_US) // S for at in (step.start_us, step.hold_us, step.end_us)] for step in steps]
    assert clock == [[0, 0, 60], [60, 90, 180], [180, 180, 240], [240, 240, 300], [300, 300, 360]]
    assert [step.ordered_kw for step in steps] == [0, 100, 40, 50, 0]
    # shave 100 after nothing; 60 of it taken back; from 40 less to 50 more; 50 taken back
    assert [step.move_kw for step in steps] == [0, 100, -60, 90, -50]
    assert [step.is_rest for step in steps] == [True, False, False, False, True]


def test_a_share_is_of_what_is_declared_in_its_direction() -> None:
    test = run([0.0], standard_programme(ResourceClass.ENERGY_STORAGE), declared_shave_kw=80.0, declared_fill_kw=30.0)
    assert [step.ordered_kw for step in test.steps] == [0, 80, 0, 30]


@pytest.mark.parametrize(
    "change",
    [
        {"resource_id": "r2"},
        {"start_us": T0_US + 1},
        {"declared_shave_kw": 101.0},
        {"declared_fill_kw": 51.0},
        {"baseline_kw": np.full(31, 200.5)},
        {"series": PowerSeries(T0_US + 60 * S * np.arange(31), np.full(31, 1.0))},
        {"year": PowerSeries(np.array([0, 1]), np.array([1.0, 1.0]))},
        {"programme": programme((300, SHAVE, 0, 0), (600, SHAVE, 101, 120))},
    ],
)
def test_whatever_a_figure_follows_from_is_in_the_fingerprint(change: dict[str, Any]) -> None:
    test = run(BY_HAND)
    assert replace(test, **change).sha256(PLAIN) != test.sha256(PLAIN)
    assert run(BY_HAND).sha256(PLAIN) == test.sha256(PLAIN)
    assert test.sha256(PLAIN.model_copy(update={"band_low": 0.8})) != test.sha256(PLAIN)


@pytest.mark.parametrize("year", [None, PowerSeries(np.array([0, 1]), np.array([1.0, np.nan]))])
def test_a_test_can_be_made_again_from_its_facts(year: PowerSeries | None) -> None:
    test = run([np.nan, *BY_HAND[1:]], year=year)
    again = MeasuredTest.from_facts(json.loads(canonical_json(test.facts())))
    assert again.sha256(PLAIN) == test.sha256(PLAIN)
    assert assess(again, PLAIN) == assess(test, PLAIN)
