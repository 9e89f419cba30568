from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import InputError
from models.forecast import LoadForecast, forecast_load
from models.intervals import FloatArray, IntervalGrid

NEW_YORK, SHANGHAI = ZoneInfo("America/New_York"), ZoneInfo("Asia/Shanghai")
HOUR = timedelta(hours=1)


def city(start: datetime, days: int, zone: ZoneInfo, step: timedelta = HOUR) -> FloatArray:
    """A city that repeats itself, day by day."""
    grid = IntervalGrid.regular(start, step, int(timedelta(days=days) / step))
    local = [moment.astimezone(zone) for moment in grid.starts]
    clock = np.array([moment.hour + moment.minute / 60 for moment in local])
    return np.asarray(1e6 * (15 + 5 * np.sin(2 * np.pi * (clock - 9) / 24)))


def forecast(
    kw: FloatArray, start: datetime, decision: datetime, target: IntervalGrid, zone: ZoneInfo, step: timedelta = HOUR
) -> LoadForecast:
    known = int((decision - start) / step)
    return forecast_load(kw[:known], start, step, decision_time=decision, target=target, zone=zone)


@pytest.mark.parametrize("step_minutes", [5, 15, 60])
def test_a_city_that_repeats_itself_is_foreseen_exactly(step_minutes: int) -> None:
    step = timedelta(minutes=step_minutes)
    start = datetime(2025, 5, 1, tzinfo=SHANGHAI)
    kw = city(start, 60, SHANGHAI, step)
    day = date(2025, 6, 25)  # a Wednesday
    target = IntervalGrid.market_day(day, SHANGHAI, step)
    decision = datetime(2025, 6, 24, 10, tzinfo=SHANGHAI)
    found = forecast(kw, start, decision, target, SHANGHAI, step)
    first = int((target.start - start) / step)
    np.testing.assert_allclose(found.kw, kw[first : first + len(target)], rtol=1e-9)
    assert all(like.weekday() < 5 for like in found.like_days)


@pytest.mark.parametrize(("day", "hours"), [("2025-03-09", 23), ("2025-11-02", 25)])
def test_days_on_which_the_clock_changes_get_all_their_hours(day: str, hours: int) -> None:
    wanted = date.fromisoformat(day)
    start = datetime.combine(wanted - timedelta(days=40), datetime.min.time(), NEW_YORK)
    kw = city(start, 45, NEW_YORK)
    target = IntervalGrid.market_day(wanted, NEW_YORK, HOUR)
    decision = datetime.combine(wanted - timedelta(days=1), datetime.min.time(), NEW_YORK).replace(hour=10)
    found = forecast(kw, start, decision, target, NEW_YORK)
    assert len(found.kw) == hours
    first = int((target.start - start) / HOUR)
    np.testing.assert_allclose(found.kw, kw[first : first + hours], rtol=1e-9)


def test_the_level_follows_the_hours_just_measured() -> None:
    start = datetime(2025, 5, 1, tzinfo=SHANGHAI)
    kw = city(start, 60, SHANGHAI)
    target = IntervalGrid.market_day(date(2025, 6, 25), SHANGHAI, HOUR)
    decision = datetime(2025, 6, 24, 10, tzinfo=SHANGHAI)
    warmer = kw.copy()
    warmer[int((decision - start) / HOUR) - 48 :] *= 1.05
    usual, moved = (forecast(x, start, decision, target, SHANGHAI).kw for x in (kw, warmer))
    np.testing.assert_allclose(moved, usual * 1.05, rtol=1e-3)


def test_a_history_that_reaches_beyond_the_decision_is_refused() -> None:
    start = datetime(2025, 5, 1, tzinfo=SHANGHAI)
    kw = city(start, 60, SHANGHAI)
    target = IntervalGrid.market_day(date(2025, 6, 25), SHANGHAI, HOUR)
    with pytest.raises(InputError, match="must end by the decision"):
        forecast_load(
            kw,
            start,
            HOUR,
            decision_time=datetime(2025, 6, 24, tzinfo=SHANGHAI),
            target=target,
            zone=SHANGHAI,
        )


def test_working_days_and_weekends_are_not_mixed_up() -> None:
    start = datetime(2025, 5, 1, tzinfo=SHANGHAI)
    kw = city(start, 60, SHANGHAI)
    weekday = np.array([(start + HOUR * k).weekday() for k in range(len(kw))])
    kw = np.where(weekday >= 5, 0.7, 1.0) * kw
    for day, level in ((date(2025, 6, 20), 1.0), (date(2025, 6, 21), 0.7), (date(2025, 6, 22), 0.7)):
        target = IntervalGrid.market_day(day, SHANGHAI, HOUR)
        found = forecast(kw, start, target.start - timedelta(hours=14), target, SHANGHAI)
        assert found.kw.max() == pytest.approx(20e6 * level, rel=0.02)


def test_a_silent_meter_before_the_decision_does_not_stop_the_forecast() -> None:
    start = datetime(2025, 5, 1, tzinfo=SHANGHAI)
    kw = city(start, 60, SHANGHAI)
    target = IntervalGrid.market_day(date(2025, 6, 25), SHANGHAI, HOUR)
    decision = datetime(2025, 6, 24, 10, tzinfo=SHANGHAI)
    whole = forecast(kw, start, decision, target, SHANGHAI).kw
    for hours in (7, 60):
        known = int((decision - start) / HOUR)
        silent = kw.copy()
        silent[known - hours : known] = np.nan
        np.testing.assert_allclose(forecast(silent, start, decision, target, SHANGHAI).kw, whole, rtol=1e-9)


def test_too_little_history_is_named() -> None:
    start = datetime(2025, 6, 20, tzinfo=SHANGHAI)
    kw = city(start, 5, SHANGHAI)
    target = IntervalGrid.market_day(date(2025, 6, 25), SHANGHAI, HOUR)
    with pytest.raises(InputError, match="at least 3 whole days like 2025-06-25"):
        forecast(kw, start, datetime(2025, 6, 24, 10, tzinfo=SHANGHAI), target, SHANGHAI)
    with pytest.raises(InputError, match="at least one day"):
        forecast(kw, start, start + HOUR, target, SHANGHAI)


def test_days_with_holes_do_not_serve_as_like_days() -> None:
    start = datetime(2025, 5, 1, tzinfo=SHANGHAI)
    kw = city(start, 60, SHANGHAI)
    kw[24 * 53 + 5] = np.nan  # 23 June
    target = IntervalGrid.market_day(date(2025, 6, 25), SHANGHAI, HOUR)
    found = forecast(kw, start, datetime(2025, 6, 24, 10, tzinfo=SHANGHAI), target, SHANGHAI)
    assert date(2025, 6, 23) not in found.like_days
    assert date(2025, 6, 20) in found.like_days
    assert np.isfinite(found.kw).all()


def test_intervals_that_reach_past_midnight_take_part_of_both_days() -> None:
    start = datetime(2025, 5, 1, tzinfo=SHANGHAI)
    kw = city(start, 60, SHANGHAI)
    odd = IntervalGrid.regular(datetime(2025, 6, 25, 0, 30, tzinfo=SHANGHAI), HOUR, 48)
    found = forecast(kw, start, datetime(2025, 6, 24, 10, tzinfo=SHANGHAI), odd, SHANGHAI)
    first = int((odd.start - start) / HOUR)
    halves = (kw[first : first + 48] + kw[first + 1 : first + 49]) / 2
    np.testing.assert_allclose(found.kw, halves, rtol=1e-9)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), factor=st.floats(0.01, 100))
def test_forecasts_scale_with_the_city(seed: int, factor: float) -> None:
    start = datetime(2025, 5, 1, tzinfo=SHANGHAI)
    kw = city(start, 50, SHANGHAI) * np.random.default_rng(seed).uniform(0.9, 1.1, 24 * 50)
    target = IntervalGrid.market_day(date(2025, 6, 15), SHANGHAI, HOUR)
    decision = datetime(2025, 6, 14, 9, tzinfo=SHANGHAI)
    one = forecast(kw, start, decision, target, SHANGHAI).kw
    other = forecast(kw * factor, start, decision, target, SHANGHAI).kw
    np.testing.assert_allclose(other, one * factor, rtol=1e-9)
