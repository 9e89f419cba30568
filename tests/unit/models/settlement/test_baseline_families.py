"""Each family on numbers that can be checked by hand."""

from datetime import date, timedelta

import numpy as np
import pytest

from models.settlement.days import ClockDays
from models.settlement.methods.case import BaselineCase
from models.settlement.methods.evaluate import baseline_by
from models.settlement.methods.explained import NoBaseline, Verdict
from models.settlement.methods.learned_morning import learned_morning, ridge
from models.settlement.methods.regression import temperature_parts
from models.settlement.methods.spec import LearnedMorning
from models.settlement.methods.table import method_named
from tests.baseline_days import HOUR, SHANGHAI, clock_days, event_on_next_weekday, flat_days, made, verdicts, weekdays

EVENT = slice(14, 18)


def test_high_four_of_five_leaves_out_the_lowest_and_adds_the_morning() -> None:
    history = flat_days([99, 100, 90, 110, 120, 80])
    case = event_on_next_weekday(history, 108.0)
    found = baseline_by(method_named("pjm_4_5_saa"), case)
    assert verdicts(found) == ["newer_days_suffice", "used", "used", "used", "used", "not_among_highest"]
    # (100 + 90 + 110 + 120) / 4 = 105, and the morning stands 3 above it
    np.testing.assert_allclose(found.kw, 108.0)
    assert found.adjustment is not None
    assert found.adjustment.applied == pytest.approx(3.0)


def test_the_middle_leaves_out_the_highest_and_the_lowest() -> None:
    history = flat_days([10, 50, 20, 20, 20, 20, 20, 20, 20, 20])
    found = baseline_by(method_named("ercot_mid_8_10", 1), event_on_next_weekday(history))
    assert verdicts(found)[:2] == ["not_in_the_middle", "not_in_the_middle"]
    np.testing.assert_allclose(found.kw, 20.0)


def test_weekends_weigh_the_highest_of_three_with_a_half() -> None:
    saturdays = [date(2025, 6, 7) + timedelta(days=7 * k) for k in range(3)]
    history = flat_days([10, 30, 20], saturdays)
    case = event_on_next_weekday(history, day=date(2025, 6, 28))
    found = baseline_by(method_named("caiso_res_5_10"), case)
    np.testing.assert_allclose(found.kw, 0.5 * 30 + 0.3 * 20 + 0.2 * 10)
    assert [each.weight for each in found.days] == pytest.approx([0.2, 0.5, 0.3])


def test_the_meter_before_and_after_is_the_mean_of_both_windows() -> None:
    shown = np.full(24, 7.0)
    shown[10:13], shown[13], shown[19:21] = 30.0, 1000.0, 20.0
    case = event_on_next_weekday(flat_days([1.0]), shown)
    found = baseline_by(method_named("pjm_same_day_3_2"), case)
    np.testing.assert_allclose(found.kw, (3 * 30 + 2 * 20) / 5)
    shown[19:21] = np.nan
    blind = baseline_by(method_named("pjm_same_day_3_2"), event_on_next_weekday(flat_days([1.0]), shown))
    assert blind.missing is NoBaseline.NO_READINGS
    assert np.isnan(blind.kw).all()


def test_fifteen_minutes_before_need_a_meter_that_reads_them() -> None:
    hourly = baseline_by(method_named("jiangsu_2015_realtime"), event_on_next_weekday(flat_days([1.0]), 5.0))
    assert hourly.missing is NoBaseline.NO_READINGS
    quarter = timedelta(minutes=15)
    shown = np.arange(96.0)
    fine = ClockDays(weekdays(1), np.ones((1, 1, 96)), quarter, SHANGHAI)
    found = baseline_by(method_named("jiangsu_2015_realtime"), BaselineCase(fine, date(2025, 6, 3), 14, 18, shown))
    np.testing.assert_allclose(found.kw, 55.0)  # the slot from 13:45 to 14:00


def test_an_hour_that_lies_only_half_in_a_window_is_not_in_it() -> None:
    rule = {"family": "meter_window", "windows": [{"from_h": -2.5, "to_h": -0.5}]}
    found = baseline_by(made(rule), event_on_next_weekday(flat_days([1.0]), np.arange(24.0)))
    np.testing.assert_allclose(found.kw, 12.0)


def test_rolling_forgets_a_tenth_a_day() -> None:
    history = flat_days([100, 100, 100, 100, 100, 200, 150])
    found = baseline_by(
        made({"family": "rolling", "keep_fraction": 0.9, "start_days": 5, "look_back_days": 90}),
        event_on_next_weekday(history),
    )
    # 100 -> 0.9 * 100 + 0.1 * 200 = 110 -> 0.9 * 110 + 0.1 * 150 = 114
    np.testing.assert_allclose(found.kw, 114.0)
    assert sum(each.weight for each in found.days) == pytest.approx(1.0)
    assert found.days[5].weight == pytest.approx(0.09)


def test_the_nearest_days_are_those_of_like_heat() -> None:
    history = flat_days([10, 20, 30, 40, 50, 60])
    celsius = flat_days([20, 31, 29, 35, 30, 12, 30], weekdays(7))
    case = event_on_next_weekday(history, temperature_celsius=celsius)
    found = baseline_by(method_named("caiso_weather_4"), case)
    assert verdicts(found) == ["less_alike", "used", "used", "used", "used", "less_alike"]
    np.testing.assert_allclose(found.kw, (20 + 30 + 40 + 50) / 4)
    assert found.days[0].fact == pytest.approx(10.0)
    assert baseline_by(method_named("caiso_weather_4"), event_on_next_weekday(history)).missing is (
        NoBaseline.NO_TEMPERATURE
    )


def test_a_match_day_is_alike_outside_of_the_event() -> None:
    history = clock_days(np.array([[10.0] * 24, [50.0] * 24, [20.0] * 24, [12.0] * 24]))
    history.values[0, :, EVENT] = [[1], [2], [3], [4]]
    history.values[0, 0, [13, 18]] = 1e4  # within an hour of the event: nobody looks there
    found = baseline_by(method_named("pjm_match_day_3"), event_on_next_weekday(history, 11.0))
    assert verdicts(found) == ["used", "less_alike", "used", "used"]
    np.testing.assert_allclose(found.kw[EVENT], (1 + 3 + 4) / 3)


def test_a_control_group_stands_for_those_who_were_called() -> None:
    days = weekdays(11)
    history = flat_days([20.0] * 10, days[:10])
    control = ClockDays(days, np.full((12, 11, 24), 10.0), HOUR, SHANGHAI)
    control.values[:, 10] = 13.0
    rule = {"family": "control_group", "minimum_customers": 12, "scale": "history", "balance_days": 10}
    rule |= {"look_back_days": 60, "tolerance": 0.1, "z": 1.645}
    case = event_on_next_weekday(history, 28.0, control_kw=control, called_customers=2)
    np.testing.assert_allclose(baseline_by(made(rule), case).kw, 26.0)
    np.testing.assert_allclose(baseline_by(made(rule | {"scale": "count"}), case).kw, 26.0)
    differences = {"kind": "additive", "windows": [{"from_h": -4, "to_h": -1}]}
    np.testing.assert_allclose(baseline_by(made(rule, differences), case).kw, 28.0)
    three = event_on_next_weekday(history, 28.0, control_kw=control, called_customers=3)
    assert baseline_by(made(rule | {"scale": "count"}), three).missing is NoBaseline.NOT_BALANCED
    control.values[0, 3] = np.nan  # one of the twelve was not measured on one of the days
    assert baseline_by(made(rule), case).missing is NoBaseline.TOO_FEW_CUSTOMERS


def test_a_group_that_agrees_only_by_chance_is_not_balanced() -> None:
    days = weekdays(11)
    history = flat_days([10.0, 30.0] * 5, days[:10])
    control = ClockDays(days, np.full((12, 11, 24), 20.0), HOUR, SHANGHAI)
    case = event_on_next_weekday(history, control_kw=control)
    assert baseline_by(method_named("control_scaled"), case).missing is NoBaseline.NOT_BALANCED


def test_a_regression_finds_the_slope_that_made_the_data() -> None:
    days = weekdays(31)
    celsius = np.random.default_rng(1).uniform(12, 34, (31, 24))
    weekday = np.array([day.weekday() for day in days])
    load = 100 + 10 * weekday[:, None] + np.arange(24) + 5 * np.maximum(celsius - 20, 0)
    case = event_on_next_weekday(clock_days(load[:30], days[:30]), temperature_celsius=clock_days(celsius, days))
    found = baseline_by(method_named("regression_tow_t"), case)
    np.testing.assert_allclose(found.kw, load[30], atol=1e-6)
    assert len(found.days_used) == 30


def test_parts_of_a_temperature_add_up_to_it() -> None:
    celsius = np.array([-5.0, 10.0, 17.0, 40.0])
    parts = temperature_parts(celsius, (10.0, 15.0, 30.0))
    np.testing.assert_allclose(parts.sum(axis=-1) + 10, celsius)
    np.testing.assert_allclose(parts[2], [0, 5, 2, 0])
    np.testing.assert_allclose(temperature_parts(celsius, ())[:, 0], celsius)


def test_a_device_with_its_own_meter_has_its_schedule_and_a_firm_level_its_reference() -> None:
    plan = np.arange(24.0)
    history = flat_days([1.0])
    assert (
        baseline_by(method_named("generator_output"), event_on_next_weekday(history, schedule_kw=plan)).kw == plan
    ).all()
    assert (baseline_by(method_named("firm_level"), event_on_next_weekday(history, firm_kw=40.0)).kw == 40).all()
    missing = {
        baseline_by(method_named(name), event_on_next_weekday(history)).missing
        for name in ("generator_output", "firm_level")
    }
    assert missing == {NoBaseline.NO_SCHEDULE, NoBaseline.NO_FIRM_LEVEL}


LEARNED = {
    "family": "learned_morning",
    "days": {
        "weekday": {"take": 1, "of": 1, "minimum": 1},
        "weekend": {"take": 1, "of": 1, "minimum": 1},
        "pick": "all",
        "look_back_days": 10,
    },
    "morning": {"from_h": -4, "to_h": -1},
    "signals": ["level"],
    "ridge_days": 2,
    "minimum_learning_days": 2,
    "learning_look_back_days": 60,
}


def test_half_of_a_morning_that_always_halves_is_carried_as_the_ridge_allows() -> None:
    # Every day's morning stands 8 above the day before, and its event's hours 4: half of what the morning said.
    values = np.array([[8.0 * k] * 24 for k in range(5)])
    values[:, EVENT] = np.array([4.0 * k for k in range(5)])[:, None]
    shown = np.full(24, values[-1, 0] + 8)
    found = baseline_by(made(LEARNED), event_on_next_weekday(clock_days(values), shown))
    # Four days of the past: the fit of -1/2 counts 4 / (4 + 2), so 1 - 1/3 of the 8 kW is carried.
    np.testing.assert_allclose(found.kw[EVENT], 16 + 8 * (1 - 0.5 * 4 / 6))
    np.testing.assert_allclose(found.kw[10:13], 40.0)
    (fact,) = found.learned
    assert fact.signal_kw == pytest.approx(8.0)
    assert fact.learning_days == 4
    assert fact.carried_kw == pytest.approx(-8 * 0.5 * 4 / 6)


def test_without_days_to_learn_from_the_whole_morning_is_carried() -> None:
    rule = LearnedMorning.model_validate(LEARNED | {"minimum_learning_days": 9})
    found = learned_morning(event_on_next_weekday(flat_days([10, 30, 20]), 27.0), rule)
    assert found.kw is not None
    np.testing.assert_allclose(found.kw, 27.0)


def test_the_trend_is_last_hour_against_first() -> None:
    found = baseline_by(
        made(LEARNED | {"signals": ["level", "trend"]}), event_on_next_weekday(flat_days([10] * 6), np.arange(24.0))
    )
    assert [fact.name for fact in found.learned] == ["level", "trend"]
    assert found.learned[1].signal_kw == pytest.approx(2.0)
    assert "上午" in found.learned[1].told("zh")


def test_a_ridge_shrinks_by_days() -> None:
    x, y = np.full((6, 1), 3.0), np.full((6, 2), 1.5)
    np.testing.assert_allclose(ridge(x, y, 2.0), [[0.5 * 6 / 8, 0.5 * 6 / 8]])
    np.testing.assert_allclose(ridge(np.zeros((6, 1)), y, 2.0), 0.0)


def test_a_morning_that_was_not_measured_gives_none() -> None:
    found = baseline_by(made(LEARNED), event_on_next_weekday(flat_days([10] * 6)))
    assert found.missing is NoBaseline.NO_READINGS
    assert found.days[-1].verdict is Verdict.USED
