from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import InputError
from models.intervals import IntervalGrid
from models.settlement.baseline import (
    METHODS,
    PLANNING_METHOD,
    adjusted,
    baseline_profiles,
    eligible_days,
    placebo_errors,
)
from models.settlement.days import ClockDays, DayClass, clock_profile_on, day_class

SHANGHAI, NEW_YORK = ZoneInfo("Asia/Shanghai"), ZoneInfo("America/New_York")
HOUR = timedelta(hours=1)
FIRST = date(2025, 6, 23)  # a Monday


def history(levels: list[float], zone: ZoneInfo = SHANGHAI, first: date = FIRST) -> ClockDays:
    """One resource; day d draws ``levels[d]`` kW plus a slope over its hours."""
    days = tuple(first + timedelta(days=k) for k in range(len(levels)))
    values = np.array(levels)[None, :, None] + np.arange(24)[None, None, :] / 10
    return ClockDays(days, values, HOUR, zone)


def used_days(found_used: np.ndarray, days: ClockDays) -> list[int]:
    return [days.days[k].day for k in np.flatnonzero(found_used[0])]


def test_the_planning_method_is_the_mean_of_the_last_ten_like_days() -> None:
    past = history([float(k) for k in range(20)])
    target = FIRST + timedelta(days=20)  # a Sunday
    assert day_class(target, ()) is DayClass.WEEKEND
    weekend = baseline_profiles(past, target)
    assert used_days(weekend.days_used, past) == [29, 5, 6, 12]
    monday = baseline_profiles(past, FIRST + timedelta(days=21))
    weekdays = [k for k, day in enumerate(past.days) if day.weekday() < 5][-10:]
    assert list(np.flatnonzero(monday.days_used[0])) == weekdays
    np.testing.assert_allclose(monday.profile[0], np.mean(weekdays) + np.arange(24) / 10)


def test_the_planning_method_knows_nothing_of_the_target_day_or_later() -> None:
    past = history([float(k) for k in range(30)])
    target = FIRST + timedelta(days=21)
    blind = baseline_profiles(past, target)
    blanked = ClockDays(
        past.days,
        np.where(np.array([d >= target for d in past.days])[None, :, None], np.nan, past.values),
        HOUR,
        SHANGHAI,
    )
    np.testing.assert_array_equal(blind.profile, baseline_profiles(blanked, target).profile)


def test_event_days_and_outage_days_are_left_out_per_resource() -> None:
    one = history([10.0] * 14)
    values = np.concatenate([one.values, one.values])
    values[0, 9] += 1000  # an event moved the first resource on day 9
    past = ClockDays(one.days, values, HOUR, SHANGHAI)
    excluded = np.zeros((2, 14), dtype=bool)
    excluded[0, 9] = True
    found = baseline_profiles(past, FIRST + timedelta(days=14), excluded=excluded)
    assert not found.days_used[0, 9]
    assert found.days_used[1, 9]
    np.testing.assert_allclose(found.profile[0], found.profile[1])
    with pytest.raises(InputError, match="excluded"):
        baseline_profiles(past, FIRST + timedelta(days=14), excluded=np.zeros(3, dtype=bool))


def test_holidays_are_weekends_and_make_up_days_are_working_days() -> None:
    national_day, make_up_sunday = date(2025, 10, 1), date(2025, 9, 28)
    assert day_class(national_day, {national_day}) is DayClass.WEEKEND
    assert day_class(make_up_sunday, {national_day}, {make_up_sunday}) is DayClass.WEEKDAY
    past = history([1.0] * 10, first=date(2025, 9, 22))
    allowed = eligible_days(past, date(2025, 10, 9), PLANNING_METHOD, {national_day}, None, {make_up_sunday})
    by_day = dict(zip(past.days, allowed[0], strict=True))
    assert not by_day[national_day]
    assert by_day[make_up_sunday]


def test_too_few_days_give_no_baseline_and_say_so() -> None:
    found = baseline_profiles(history([5.0] * 4), FIRST + timedelta(days=7))
    assert not found.enough[0]
    assert np.isnan(found.profile).all()
    assert not found.days_used.any()


def test_a_day_that_was_half_measured_does_not_serve() -> None:
    past = history([5.0] * 12)
    past.values[0, 3, :12] = np.nan
    found = baseline_profiles(past, FIRST + timedelta(days=14))
    assert not found.days_used[0, 3]
    past.values[0, 4, 7] = np.nan  # one hour of 24: still 90 % measured
    found = baseline_profiles(past, FIRST + timedelta(days=14))
    assert found.days_used[0, 4]
    assert np.isfinite(found.profile).all()


def test_high_and_middle_days_are_ranked_by_the_event_window() -> None:
    past = history([1.0] * 12)
    evening = np.zeros(24, dtype=bool)
    evening[20:22] = True
    weekdays = [k for k, day in enumerate(past.days) if day.weekday() < 5][-10:]
    for rank, k in enumerate(weekdays):
        past.values[0, k, 20:22] += rank
        past.values[0, k, 3] -= 100 * rank  # the whole day ranks the other way round
    target = FIRST + timedelta(days=14)
    high = baseline_profiles(past, target, METHODS["high_5_of_10"], event_slots=evening)
    assert list(np.flatnonzero(high.days_used[0])) == weekdays[5:]
    middle = baseline_profiles(past, target, METHODS["ercot_mid_8_10"], event_slots=evening)
    assert list(np.flatnonzero(middle.days_used[0])) == weekdays[1:9]


def test_days_of_odd_energy_are_dropped_by_the_similar_day_rule() -> None:
    levels = [100.0] * 12
    levels[10] = 200.0
    past = history(levels)
    found = baseline_profiles(past, FIRST + timedelta(days=14), METHODS["cn_similar_5"])
    assert not found.days_used[0, 10]
    assert found.days_used.sum() == 4


def test_every_method_carries_its_source_and_claims_no_verification() -> None:
    assert {"caiso_10_10", "cn_similar_5", "ercot_mid_8_10", "nyiso_5_10"} <= set(METHODS)
    for method in METHODS.values():
        assert method.source
        assert not method.verified
        assert method.weekday.take <= method.weekday.of
        assert method.weekday.minimum <= method.weekday.of


@settings(max_examples=50, deadline=None)
@given(
    levels=st.lists(st.floats(0, 1e5), min_size=12, max_size=40),
    method_id=st.sampled_from(sorted(METHODS)),
    factor=st.floats(0.1, 10),
)
def test_a_baseline_lies_between_its_days_and_scales_with_them(
    levels: list[float], method_id: str, factor: float
) -> None:
    past = history(levels)
    target = FIRST + timedelta(days=len(levels))
    found = baseline_profiles(past, target, METHODS[method_id])
    if not found.enough[0]:
        return
    chosen = past.values[0][found.days_used[0]]
    if not len(chosen):
        return
    assert (found.profile[0] >= chosen.min(axis=0) - 1e-6).all()
    assert (found.profile[0] <= chosen.max(axis=0) + 1e-6).all()
    scaled = ClockDays(past.days, past.values * factor, HOUR, SHANGHAI)
    again = baseline_profiles(scaled, target, METHODS[method_id])
    if (again.days_used == found.days_used).all():
        np.testing.assert_allclose(again.profile, found.profile * factor, rtol=1e-9)


def test_the_same_day_adjustment_is_clipped_and_leaves_those_without_readings_alone() -> None:
    base = np.full((4, 6), 100.0)
    metered = np.array([[110.0] * 6, [300.0] * 6, [10.0] * 6, [np.nan] * 6])
    window = np.array([True, True, False, False, False, False])
    moved, factor = adjusted(base, metered, window, 0.2)
    np.testing.assert_allclose(factor, [1.1, 1.2, 0.8, 1.0])
    np.testing.assert_allclose(moved, base * factor[:, None])


@pytest.mark.parametrize(("month", "day", "hours"), [(3, 9, 23), (11, 2, 25), (7, 16, 24)])
def test_days_of_23_and_25_hours_go_to_the_clock_and_back(month: int, day: int, hours: int) -> None:
    grid = IntervalGrid.market_day(date(2025, month, day), NEW_YORK, timedelta(minutes=15))
    local = [start.astimezone(NEW_YORK) for start in grid.starts]
    values = np.array([[moment.hour + moment.minute / 60 for moment in local]])
    days = ClockDays.from_grid(grid, values, NEW_YORK, timedelta(minutes=15))
    assert days.values.shape == (1, 1, 96)
    assert int(days.exists().sum()) == min(4 * hours, 96)
    assert np.isnan(days.values).sum() == (4 if hours == 23 else 0)
    back = days.on_grid(np.nan_to_num(days.values[:, 0]), grid)
    assert back.shape == (1, 4 * hours)
    np.testing.assert_allclose(back, values)


def test_the_spring_day_counts_as_fully_measured() -> None:
    grid = IntervalGrid.regular(datetime(2025, 3, 3, tzinfo=NEW_YORK), HOUR, 14 * 24)
    days = ClockDays.from_grid(grid, np.ones((1, len(grid))), NEW_YORK, HOUR)
    found = baseline_profiles(days, date(2025, 3, 16), METHODS["ten_of_ten"])
    assert [d.day for d, used in zip(days.days, found.days_used[0], strict=True) if used] == [8, 9, 15]
    np.testing.assert_allclose(found.profile, 1.0)


def test_a_profile_on_coarser_or_shifted_intervals_keeps_its_energy() -> None:
    profile = np.arange(96.0)[None, :]
    start = datetime(2025, 7, 16, 6, 5, tzinfo=SHANGHAI)
    fine = IntervalGrid.regular(start, timedelta(minutes=5), 288)
    coarse = IntervalGrid.regular(start, timedelta(minutes=30), 48)
    step = timedelta(minutes=15)
    a = clock_profile_on(profile, fine, SHANGHAI, step) @ fine.hours
    b = clock_profile_on(profile, coarse, SHANGHAI, step) @ coarse.hours
    np.testing.assert_allclose(a, b)
    np.testing.assert_allclose(a, profile.sum() / 4)


def test_placebo_errors_are_bias_and_relative_root_mean_square() -> None:
    rrmse, bias = placebo_errors([np.array([110.0, 90.0])], [np.array([100.0, 100.0])])
    assert rrmse == pytest.approx(0.1)
    assert bias == pytest.approx(0.0)
