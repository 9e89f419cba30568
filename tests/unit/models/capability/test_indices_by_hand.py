"""The seven indices of small tests, worked out by hand; a change is against the baseline, in a reading of a minute."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from models.capability.assessment import assess
from models.capability.definitions import USUAL
from models.capability.explained import WORDS, Figure, Missing, untold
from models.capability.indices import annual_kwh, indices
from models.capability.measured import PowerSeries
from models.capability.programme import FILL, SHAVE, ResourceClass, standard_programme
from models.capability.step_indices import Held
from tests.unit.models.capability.runs import (
    BY_HAND,
    PLAIN,
    REST,
    SHAVED,
    T0_US,
    UP,
    of,
    programme,
    run,
    shave,
)

NAN = float("nan")


def test_a_whole_test_by_hand() -> None:
    found = of(BY_HAND)
    up, down = found.by_direction[SHAVE], found.by_direction[FILL]
    assert found.regulating_kw == Figure(48 + 95)
    assert found.generating_kw == untold(Missing.NEVER_FED_IN)
    assert found.annual_kwh == untold(Missing.YEAR_TOO_SHORT)
    # 5 kW are under the threshold of 10, 50 in the reading that ends after 120 s are over it
    assert up.response_s == Figure(120.0, resolution_s=60.0)
    assert down.response_s == Figure(60.0, resolution_s=60.0)
    # 10 to 90 % of 100 kW between 60 and 180 s: 80 kW in 2 min, of 143 kW
    assert up.ramp_percent_per_min.value == pytest.approx(100 * 80 / 143 / 2)
    assert up.ramp_percent_per_min.resolution_s == 120
    assert down.ramp_percent_per_min.value == pytest.approx(100 * 40 / 143 / 2)
    # the hold begins after 120 s: one reading of 92, seven of 95
    assert up.deviation.value == pytest.approx((92 + 7 * 95) / 8 / 100 - 1)
    assert down.deviation.value == pytest.approx(48 / 50 - 1)
    assert (up.duration_s.value, down.duration_s.value) == (480, 480)
    assert up.held == Held(100, 92, 480)
    assert down.held == Held(50, 48, 480)
    assert [(number, direction) for number, direction, _ in found.by_step] == [(1, SHAVE), (3, FILL)]


# ---- generating capacity, annual energy, regulating capacity


def test_what_a_generator_feeds_in_is_its_power_whatever_the_baseline() -> None:
    found = of(REST + SHAVED, UP, baseline_kw=-30.0)
    assert found.generating_kw.value == pytest.approx(125)  # 30 as always and 95 more, in seven of ten minutes
    assert found.regulating_kw.value == pytest.approx(95)
    # a load of 91 whose meter turns round for 95 - 91 = 4 kW of an order of 100: that is none
    assert of(REST + SHAVED, UP, baseline_kw=91.0).generating_kw.missing is Missing.NEVER_FED_IN
    assert of(REST + SHAVED, UP, baseline_kw=89.0).generating_kw.value == pytest.approx(6)


def test_a_peak_of_a_minute_is_no_maximum() -> None:
    held = [*[-95.0] * 39, -200.0]  # 2.5 % of the step
    plan = programme((300, SHAVE, 0, 0), (2400, SHAVE, 100, 120))
    assert of(REST + held, plan).regulating_kw.value == pytest.approx(95)
    assert of(REST + held, plan, {"tail_share": 0.02}).regulating_kw.value == pytest.approx(200)
    assert of(REST + held, plan, baseline_kw=0.0).generating_kw.value == pytest.approx(95)


def test_a_baseline_that_falls_by_itself_regulates_nothing() -> None:
    falling = np.linspace(500, 350, 16)
    assert of(REST + [-95.0] * 10, UP, baseline_kw=falling).regulating_kw.value == pytest.approx(95)
    # from 490 in the first minute of the rest to 350 - 95 in the last of the order
    whole = of(REST + [-95.0] * 10, UP, {"regulating_of": "power"}, baseline_kw=falling)
    assert whole.regulating_kw.value == pytest.approx(490 - 255)


def test_a_change_that_is_hardly_one_is_none() -> None:
    assert of(REST + [-5.0] * 10, UP).regulating_kw == untold(Missing.NO_CHANGE)
    assert of(REST + [-5.1] * 10, UP).regulating_kw.value == pytest.approx(5.1)
    assert shave(REST + [-5.0] * 10).ramp_percent_per_min == untold(Missing.NO_CHANGE)


def test_an_ordered_step_without_readings_leaves_the_maximum_open_and_a_rest_does_not() -> None:
    assert of([NAN] * 5 + SHAVED, UP).regulating_kw.value == pytest.approx(90)  # -5 to -95
    for gone in (of(REST + [NAN, NAN] + [-95.0] * 8, UP), of(REST + [-95.0] * 8, UP)):
        assert gone.regulating_kw == gone.generating_kw == untold(Missing.TOO_FEW_READINGS)


def year(power: float, days: int, hours: int = 1) -> PowerSeries:
    count = 24 * days // hours + 1
    return PowerSeries(T0_US + 3_600_000_000 * hours * np.arange(count), np.full(count, power))


@pytest.mark.parametrize(
    ("kind", "kwh"),
    [("DG", 365 * 24 * 2 / 4), ("ES", 365 * 24 * 2 / 4), ("FL", 365 * 24 * 8 * 3 / 4)],
)
def test_a_year_of_a_generator_is_what_it_feeds_in_and_of_a_load_what_it_draws(kind: str, kwh: float) -> None:
    told = year(8.0, 340)
    told.power_kw[1::4] = -2.0  # a quarter of the hours
    assert annual_kwh(ResourceClass(kind), told, PLAIN).value == pytest.approx(kwh)


def test_a_year_is_not_told_from_less_than_most_of_its_days() -> None:
    assert annual_kwh(ResourceClass.FLEXIBLE_LOAD, year(8.0, 330), PLAIN).value == pytest.approx(365 * 24 * 8)
    assert annual_kwh(ResourceClass.FLEXIBLE_LOAD, year(8.0, 329), PLAIN) == untold(Missing.YEAR_TOO_SHORT)
    assert annual_kwh(ResourceClass.FLEXIBLE_LOAD, year(8.0, 340, hours=2), PLAIN) == untold(Missing.YEAR_TOO_SHORT)
    told = year(8.0, 340)
    told.power_kw[24 * 9 : 24 * 20] = NAN  # eleven days
    assert annual_kwh(ResourceClass.FLEXIBLE_LOAD, told, PLAIN) == untold(Missing.YEAR_TOO_SHORT)
    assert of(REST + SHAVED, UP, year=year(8.0, 340)).annual_kwh.value == pytest.approx(365 * 24 * 8)


# ---- the whole assessment


def test_an_assessment_says_when_what_and_from_what() -> None:
    test = run(BY_HAND)
    found = assess(test, PLAIN)
    assert found.started_at == datetime(2025, 7, 16, 5, tzinfo=UTC)
    assert found.ended_at == datetime(2025, 7, 16, 5, 30, tzinfo=UTC)
    assert found.void is None
    assert found.missing_share == 0
    assert found.indices == indices(test, PLAIN)
    assert found.inputs_sha256 == test.sha256(PLAIN)
    assert found.held(SHAVE).kw == pytest.approx(92)
    assert found.held(FILL).kw == pytest.approx(48)


def test_without_definitions_those_of_the_class_are_used() -> None:
    plan = standard_programme(ResourceClass.ENERGY_STORAGE)
    change = [0.0] * 90 + [-100.0] * 366 + [0.0] * 90 + [50.0] * 366
    test = run(change, plan, every_s=10, baseline_kw=0.0)
    usual = USUAL[ResourceClass.ENERGY_STORAGE]
    found = assess(test)
    assert found == assess(test, usual)
    assert found.inputs_sha256 != assess(test, PLAIN).inputs_sha256
    assert found.held(SHAVE).kw == 100
    assert found.held(SHAVE).holds_s == 3600
    assert found.held(FILL).kw == 50
    assert found.indices is not None
    assert found.indices.regulating_kw.value == 150
    assert found.indices.generating_kw.value == 100


@pytest.mark.parametrize(("lost", "void"), [(3, None), (4, Missing.READINGS_MISSING)])
def test_a_test_of_which_too_much_was_not_read_is_void(lost: int, void: Missing | None) -> None:
    # 30 readings; a failed one is a minute, and 3 min of 30 are 10 %
    found = assess(run([NAN] * lost + BY_HAND[lost:]), PLAIN)
    assert found.missing_share == pytest.approx(lost / 30)
    assert found.void is void
    assert (found.indices is None) == (void is not None)
    if void is not None:
        assert found.held(SHAVE).missing is void
        assert found.held(SHAVE).kw is None
    late = assess(run(BY_HAND[: 30 - lost]), PLAIN)
    assert late.missing_share == pytest.approx(lost / 30)
    assert late.void is void


def test_a_test_is_not_void_by_rounding() -> None:
    plan = programme((600, SHAVE, 0, 0), (2400, SHAVE, 100, 120))
    test = run([NAN] * 29 + [-95.0] * 21, plan)
    for most, void in ((0.58, None), (0.57, Missing.READINGS_MISSING)):  # 0.58 of 50 min is a little less than 29 min
        assert assess(test, PLAIN.model_copy(update={"missing_most": most})).void is void


def test_one_reading_of_too_long_a_time_is_time_without_readings() -> None:
    test = run(BY_HAND)
    thin = np.delete(np.arange(31), [11, 12])  # the next stands for three minutes
    kept = replace(
        test,
        series=PowerSeries(test.series.measured_us[thin], test.series.power_kw[thin]),
        baseline_kw=test.baseline_kw[thin],
    )
    assert assess(kept, PLAIN).missing_share == 0
    assert assess(kept, PLAIN.model_copy(update={"longest_span_s": 179.0})).missing_share == pytest.approx(0.1)


def test_readings_before_and_after_the_test_are_no_part_of_it() -> None:
    longer = run([7.0] * 5 + BY_HAND + [300.0] * 9, first_s=-300)
    found, plain = assess(longer, PLAIN).indices, assess(run(BY_HAND), PLAIN).indices
    assert found is not None
    assert found == plain
    lost = assess(run([7.0] * 5 + [NAN] * 4 + BY_HAND[4:] + [300.0] * 9, first_s=-300), PLAIN)
    assert lost.missing_share == pytest.approx(4 / 30)
    assert lost.void is Missing.READINGS_MISSING


def test_every_reason_has_words_in_both_languages() -> None:
    assert list(WORDS) == list(Missing)
    assert len(set(WORDS.values())) == len(WORDS)
    assert untold(Missing.NO_CHANGE).told("en") == "no change seen"
    assert untold(Missing.NO_CHANGE).told("zh") == "未见功率变化"
    assert Figure(12.5).told("en") == "12.5"
