"""b of real stays: the cheapest charging, never outside the stay, and 0 when nobody is there."""

from datetime import date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from models.dispatch.problem import TIE_BREAK_PER_KWH_H
from models.intervals import FloatArray, IntervalGrid
from tests.live import HOUR, T0, charger, reading, registered, stay
from vpp.session_baseline import SessionBaselines, cheapest_charging
from vpp.state import LiveState

GRID = IntervalGrid.regular(T0 - HOUR, timedelta(minutes=15), 48)


def flat(_name: str, _day: date) -> FloatArray:
    return np.full(288, 0.6)


def even(_start: datetime, count: int) -> FloatArray:
    return np.ones(count)


@given(
    st.integers(0, 3600),
    st.integers(60, 9000),
    st.floats(0, 20),
    st.lists(st.sampled_from([-0.1, 0.3, 0.6, 1.1]), min_size=40, max_size=40),
)
@settings(max_examples=50, deadline=None)
def test_it_is_the_cheapest_charging_that_a_linear_program_finds(
    late_s: int, stay_s: int, needed: float, prices: list[float]
) -> None:
    session = stay(
        arrival=T0 + timedelta(seconds=late_s),
        departure=T0 + timedelta(seconds=late_s + stay_s),
        energy_needed_kwh=needed,
    )
    made = cheapest_charging(session, charger(), lambda _start, count: np.array(prices[:count]))
    grid = IntervalGrid.regular(made.start, timedelta(minutes=5), len(made.baseline_kw))
    energy = made.baseline_kw * grid.hours
    room = 7.0 * grid.overlap_h(session.arrival, session.departure)
    wanted = min(needed / 0.9, 7.0 * stay_s / 3600)
    assert energy.sum() == pytest.approx(wanted)  # exact, or all that fits
    assert (energy >= 0).all()
    assert (energy <= room + 1e-9).all()  # nothing outside the stay
    price = np.array(prices[: len(grid)]) + TIE_BREAK_PER_KWH_H * grid.tau_h
    best = linprog(
        price, A_eq=np.ones((1, len(grid))), b_eq=[energy.sum()], bounds=list(zip(0 * room, room + 1e-12, strict=True))
    )
    assert best.success
    assert price @ energy <= best.fun + 5e-6  # HiGHS keeps its rows and bounds to 1e-7 kWh each


def test_among_equal_prices_the_earlier_interval_comes_first() -> None:
    made = cheapest_charging(stay(energy_needed_kwh=6.3), charger(), even)
    assert made.baseline_kw[:12] == pytest.approx(np.full(12, 7.0))
    assert made.baseline_kw[12:].sum() == pytest.approx(0.0)


def test_a_stay_that_begins_between_steps_draws_nothing_before() -> None:
    session = stay(arrival=T0 + timedelta(minutes=3), departure=T0 + timedelta(minutes=11), energy_needed_kwh=99)
    made = cheapest_charging(session, charger(), even)
    assert made.start == T0
    assert made.baseline_kw == pytest.approx([7.0 * 2 / 5, 7.0, 7.0 / 5])


def test_a_stay_over_midnight_has_the_prices_of_both_days() -> None:
    asked: list[date] = []

    def cheap_tomorrow(_name: str, day: date) -> FloatArray:
        asked.append(day)
        return np.full(288, 0.9) if day == T0.date() else np.concatenate([np.full(12, 0.5), np.full(276, 0.2)])

    baselines = SessionBaselines(cheap_tomorrow)
    midnight = T0.replace(hour=0) + timedelta(days=1)
    over = stay(arrival=midnight - 2 * HOUR, departure=midnight + 3 * HOUR, energy_needed_kwh=6.3)
    baselines.plugged_in(charger(), over)
    drawn_kw = baselines.on("charger", IntervalGrid.regular(midnight - 2 * HOUR, HOUR, 5))
    assert asked == [T0.date(), midnight.date()]
    assert drawn_kw == pytest.approx([0, 0, 0, 7.0, 0])  # the first cheap hour of tomorrow, none of the dearer


def test_b_on_another_grid_conserves_energy_and_is_zero_where_no_car_is() -> None:
    baselines = SessionBaselines(flat)
    baselines.plugged_in(charger(), stay(energy_needed_kwh=18.0))
    b = baselines.on("charger", GRID)
    assert b @ GRID.hours == pytest.approx(20.0)
    assert (b[GRID.overlap_h(T0, T0 + 6 * HOUR) == 0] == 0).all()
    assert (baselines.on("other", GRID) == 0).all()


def test_a_changed_wish_changes_nothing_any_more() -> None:
    baselines = SessionBaselines(flat)
    baselines.plugged_in(charger(), stay())
    before = baselines.on("charger", GRID)
    baselines.plugged_in(charger(), stay(energy_needed_kwh=1.0))
    assert np.array_equal(baselines.on("charger", GRID), before)


def test_from_the_moment_the_car_leaves_b_is_zero() -> None:
    baselines = SessionBaselines(flat)
    baselines.plugged_in(charger(), stay(energy_needed_kwh=37.8))  # 6 h at full power
    left = T0 + timedelta(minutes=62)
    for _ in range(2):  # told twice, counted once
        baselines.unplugged("charger", left)
    b = baselines.on("charger", GRID)
    assert b @ GRID.hours == pytest.approx(7.0 * 62 / 60)
    assert (b[GRID.overlap_h(T0, left) == 0] == 0).all()
    baselines.unplugged("charger", left + 9 * HOUR)
    assert np.array_equal(baselines.on("charger", GRID), b)


def test_one_car_at_a_time() -> None:
    baselines = SessionBaselines(flat)
    baselines.plugged_in(charger(), stay(energy_needed_kwh=37.8))
    second = stay(session_id="s2", arrival=T0 + 2 * HOUR, departure=T0 + 7 * HOUR, energy_needed_kwh=31.5)
    baselines.plugged_in(charger(), second)  # nobody said that the first has left
    b = baselines.on("charger", GRID)
    assert b.max() <= 7.0 + 1e-9
    assert b @ GRID.hours == pytest.approx(7.0 * 7)


def test_old_stays_are_forgotten() -> None:
    baselines = SessionBaselines(flat)
    baselines.plugged_in(charger(), stay())
    later = stay(session_id="s2", arrival=T0 + 60 * HOUR, departure=T0 + 61 * HOUR)
    baselines.plugged_in(charger(), later)
    assert (baselines.on("charger", GRID) == 0).all()


def test_planning_takes_the_real_stay_for_the_forecast_one_and_keeps_later_ones() -> None:
    state = LiveState([registered(charger()), registered(charger("empty"))])
    state.take(reading("charger", 0, 7.0, session=stay()))
    baselines = SessionBaselines(flat)
    baselines.plugged_in(charger(), stay())
    table = {name: np.full(len(GRID), 3.0) for name in ("charger", "empty", "building")}
    to_come = stay(session_id="x", arrival=T0 + 8 * HOUR, departure=T0 + 10 * HOUR)
    meant = stay(session_id="y", arrival=T0 + HOUR, departure=T0 + 3 * HOUR)
    made = baselines.overlay(table, GRID, state, {"charger": [meant, to_come], "empty": []})
    later = GRID.overlap_h(to_come.arrival, to_come.departure) > 0
    assert (made["charger"][later] == 3.0).all()
    assert np.array_equal(made["charger"][~later], baselines.on("charger", GRID)[~later])
    assert (made["empty"] == 0).all()  # whoever is not plugged in, nor expected, has b = 0
    assert np.array_equal(made["building"], table["building"])
