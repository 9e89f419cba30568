"""What is ordered over a window: the plan's mean, and all of what was planned for a car that leaves within it."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.plan import DispatchPlan
from models.telemetry import ChargingSession
from tests.live import HOUR, T0, battery, charger, plan_made, reading, registered
from vpp.state import LiveState
from vpp.window_means import Window, window_means

STEP = timedelta(minutes=15)
NAMES = ("charger", "battery")
QUIET = Window(T0, T0 + HOUR, T0 + HOUR)


def plan(charger_kw: list[float]) -> DispatchPlan:
    power_kw = np.array([charger_kw, [4.0, 0.0, 0.0, 0.0]])
    return plan_made(NAMES, power_kw, step=STEP, baseline_kw=1.0)


def means(charger_kw: list[float], stays_min: float | None, window: Window = QUIET) -> tuple[float, float] | None:
    state = LiveState([registered(charger()), registered(battery())])
    if stays_min is not None:
        leaves = T0 + timedelta(minutes=stays_min)
        stay = ChargingSession(session_id="s", arrival=T0 - HOUR, departure=leaves, energy_needed_kwh=5.0)
        state.take(reading("charger", 0, 7.0, session=stay))
    found = window_means(plan(charger_kw), [0, 1], state.rows(NAMES), state.columns, window)
    if found is None:
        return None
    power_kw, baseline_kw = found
    assert baseline_kw == pytest.approx([1.0, 1.0])
    return float(power_kw[0]), float(power_kw[1])


def test_a_car_that_leaves_within_the_hour_is_not_given_the_mean_of_the_hour() -> None:
    """Half an hour at 6 kW is 3 kWh; the mean of 3 kW would be 1.5 kWh until it leaves."""
    assert means([6.0, 6.0, 0.0, 0.0], 30) == pytest.approx((6.0, 1.0))
    assert means([6.0, 0.0, 0.0, 0.0], 30) == pytest.approx((6.0, 1.0)), "ready early; what is missing comes later"


@pytest.mark.parametrize("stays_min", [None, -5, 60, 300])
def test_who_stays_or_is_not_there_is_given_the_mean(stays_min: float | None) -> None:
    assert means([6.0, 6.0, 0.0, 0.0], stays_min) == pytest.approx((3.0, 1.0))


def test_a_car_that_shall_wait_waits_and_a_time_that_is_not_planned_says_nothing() -> None:
    assert means([0.0, 0.0, 0.0, 0.0], 30) == pytest.approx((0.0, 1.0))
    later = Window(T0 + 2 * HOUR, T0 + 3 * HOUR, T0 + 3 * HOUR)
    assert means([6.0, 6.0, 0.0, 0.0], 30, later) is None


@given(st.lists(st.floats(0, 7), min_size=4, max_size=4), st.floats(1, 59))
def test_a_car_that_leaves_can_have_all_that_was_planned_until_then_at_no_more_power_than_planned(
    wished_kw: list[float], stays_min: float
) -> None:
    there_h = np.clip(stays_min / 60 - np.arange(4) * 0.25, 0, 0.25)
    charger_kw = np.where(there_h > 0, wished_kw, 0.0)  # nothing is planned for a car that has gone
    found = means(charger_kw.tolist(), stays_min)
    assert found is not None
    assert found[0] <= charger_kw.max() + 1e-9
    assert found[0] * stays_min / 60 >= charger_kw @ there_h - 1e-9
