"""What the service knows of a device now: the newest reading, the session, what was given up, the comfort store."""

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.moments import microseconds
from tests.live import (
    HOUR,
    T0,
    battery,
    charger,
    curtailable,
    generator,
    interruptible,
    reading,
    registered,
    stay,
    thermal,
)
from vpp.resource_live import ResourceLive
from vpp.state import LiveState

DAY = T0 - 4 * HOUR


def live_of(resource: Any) -> tuple[LiveState, ResourceLive]:
    state = LiveState([registered(resource)])
    live = state.get(resource.resource_id)
    assert live is not None
    return state, live


def after(minutes: float) -> datetime:
    return T0 + timedelta(minutes=minutes)


# ---- readings


def test_only_the_newest_reading_of_a_known_device_counts() -> None:
    state, live = live_of(battery())
    assert state.take(reading("battery", 5, 10.0))
    for late in (reading("battery", 5, 11.0), reading("battery", 4, 12.0), reading("stranger", 9, 1.0)):
        assert not state.take(late)
    assert live.latest is not None
    assert live.latest.power_kw == 10.0
    assert len(state) == 1


def test_a_device_is_fresh_for_its_time_to_live_and_no_longer() -> None:
    state, live = live_of(battery())
    assert not live.is_fresh(T0)
    state.take(reading("battery", 0, 10.0))
    assert live.is_fresh(T0 + timedelta(seconds=300))
    assert not live.is_fresh(T0 + timedelta(seconds=301))
    assert [each.resource_id for each in state.stale(T0 + HOUR)] == ["battery"]
    assert state.dispatchable(T0 + HOUR) == []


def test_who_is_unavailable_or_has_just_refused_gets_no_orders() -> None:
    state, live = live_of(battery())
    state.take(reading("battery", 0, 10.0))
    assert state.dispatchable(T0) == [live]
    live.refused_until = after(2)
    assert not live.is_dispatchable(after(1))
    assert live.is_dispatchable(after(2))
    state.take(reading("battery", 3, 10.0, available=False))
    assert not live.is_dispatchable(after(3))


def test_a_changed_registration_keeps_what_was_measured() -> None:
    state, live = live_of(battery())
    state.take(reading("battery", 0, 10.0))
    state.put(registered(battery(), ttl_s=60.0))
    assert state.get("battery") is live
    assert live.record.telemetry_ttl_s == 60.0
    assert live.latest is not None
    state.remove("battery")
    assert state.get("battery") is None


# ---- how long a unit has been running


def test_a_generator_knows_since_when_it_runs_and_since_when_it_stands() -> None:
    state, live = live_of(generator())
    state.take(reading("gas", 0, -0.4))  # the meter's noise is no start
    assert live.problem_state(after(0), DAY).on is False
    state.take(reading("gas", 5, -200.0))
    state.take(reading("gas", 10, -210.0))
    told = live.problem_state(after(35), DAY)
    assert (told.on, told.hours_in_state_h, told.power_kw) == (True, 0.5, -210.0)
    state.take(reading("gas", 40, 0.3))
    told = live.problem_state(after(55), DAY)
    assert (told.on, told.hours_in_state_h) == (False, 0.25)


def test_a_storage_changes_its_mode_between_charging_standing_and_discharging() -> None:
    state, live = live_of(battery())
    since = []
    for minute, power in ((0, 30.0), (5, 0.0), (10, -30.0), (15, -20.0), (20, 30.0)):
        state.take(reading("battery", minute, power, energy_kwh=50.0 + minute))
        since.append(live.mode_since)
    assert since == [None, after(5), after(10), after(10), after(20)]
    told = live.problem_state(after(20), DAY)
    assert (told.energy_kwh, told.on, told.hours_in_state_h) == (70.0, True, 0.0)


# ---- stays


@pytest.mark.parametrize("known", [{}, {"battery_capacity_kwh": 60.0, "battery_start_kwh": 0.0}])
def test_what_a_charger_says_it_delivered_counts_also_where_the_battery_is_known(known: dict[str, float]) -> None:
    state, live = live_of(charger())
    state.take(reading("charger", 0, 7.0, session=stay(**known), energy_kwh=0.0))
    state.take(reading("charger", 30, 7.0, energy_kwh=3.1))
    told = live.problem_state(after(30), DAY)
    assert (told.delivered_kwh, told.energy_kwh) == (3.1, None)


def test_without_a_word_of_energy_it_is_integrated_at_the_battery() -> None:
    state, live = live_of(charger())
    state.take(reading("charger", 0, 0.0, session=stay()))
    state.take(reading("charger", 30, 6.0))
    state.take(reading("charger", 60, -1.0))  # noise below nothing takes nothing away
    assert live.session_delivered_kwh == pytest.approx(6.0 * 0.5 * 0.9)


def test_a_car_that_feeds_back_is_told_by_its_level_even_at_zero() -> None:
    state, live = live_of(charger(discharge_limit_kw=6.0))
    session = stay(battery_capacity_kwh=60.0, battery_start_kwh=12.0)
    state.take(reading("charger", 0, 7.0, session=session))
    assert live.problem_state(after(0), DAY).energy_kwh == 12.0
    state.take(reading("charger", 5, -6.0, energy_kwh=0.0))
    told = live.problem_state(after(5), DAY)
    assert (told.energy_kwh, told.delivered_kwh) == (0.0, None)


def test_a_v2g_charger_with_an_unknown_battery_is_told_as_v1g() -> None:
    state, live = live_of(charger(discharge_limit_kw=6.0))
    state.take(reading("charger", 0, 7.0, session=stay(battery_start_kwh=12.0), energy_kwh=4.0))
    assert live.problem_state(after(0), DAY).delivered_kwh == 4.0


def test_a_new_car_begins_at_nothing_and_an_unplugged_one_is_gone() -> None:
    state, live = live_of(charger())
    state.take(reading("charger", 0, 7.0, session=stay(), energy_kwh=9.0))
    state.take(reading("charger", 1, 7.0, session=stay(energy_needed_kwh=25.0)))
    assert live.session_delivered_kwh > 9.0  # the same stay with another wish
    assert live.session is not None
    assert live.session.energy_needed_kwh == 25.0
    state.take(reading("charger", 2, 0.0, session=stay(session_id="s2")))
    assert live.session_delivered_kwh == 0.0
    state.take(reading("charger", 3, 0.0, session=None))
    assert [each.session for each in state] == [None]
    assert live.problem_state(after(3), DAY).delivered_kwh is None


# ---- what was given up


def test_pieces_of_one_depth_are_joined_and_count_as_one_call() -> None:
    _, live = live_of(curtailable())
    for k in range(3):
        live.note_curtailed(after(5 * k), after(5 * k + 5), 20.0, 0.5)
    (piece,) = live.curtailed
    assert (piece.start, piece.end, piece.power_kw) == (T0, after(15), 20.0)
    told = live.problem_state(after(15), DAY)
    assert (told.on, told.calls_used) == (True, 1)
    assert told.hours_in_state_h == pytest.approx(0.25)
    assert told.hours_used_h == pytest.approx(0.125)
    assert told.energy_used_kwh == pytest.approx(5.0)
    assert told.curtailed_history == ((0.0, 0.25, 20.0),)


def test_equal_power_at_another_depth_is_counted_at_its_own_depth() -> None:
    _, live = live_of(curtailable())
    live.note_curtailed(T0, after(60), 20.0, 0.5)
    live.note_curtailed(after(60), after(120), 20.0, 1.0)
    told = live.problem_state(after(120), DAY)
    assert told.hours_used_h == pytest.approx(1.5)
    assert (told.calls_used, told.hours_in_state_h) == (1, 2.0)


def test_a_pause_makes_two_calls_and_ends_the_state() -> None:
    _, live = live_of(interruptible())
    live.note_curtailed(T0, after(30), 80.0, 1.0)
    live.note_curtailed(after(60), after(90), 80.0, 1.0)
    told = live.problem_state(after(120), DAY)
    assert (told.on, told.calls_used, told.hours_in_state_h) == (False, 2, 0.5)
    assert told.curtailed_history == ((1.5, 0.5, 80.0), (0.5, 0.5, 80.0))


def test_the_newest_order_counts_and_nothing_is_counted_before_it_happens() -> None:
    _, live = live_of(curtailable())
    live.note_curtailed(T0, after(60), 40.0, 1.0)
    early = live.problem_state(after(15), DAY)
    assert (early.energy_used_kwh, early.on) == (10.0, True)
    assert early.curtailed_history == ((0.0, 0.25, 40.0),)
    live.note_curtailed(after(30), after(60), 10.0, 0.25)  # ordered otherwise in the middle
    assert live.problem_state(after(60), DAY).energy_used_kwh == pytest.approx(40 * 0.5 + 10 * 0.5)
    live.note_curtailed(after(45), after(60), 0.0, 0.0)  # and released early
    told = live.problem_state(after(60), DAY)
    assert told.energy_used_kwh == pytest.approx(40 * 0.5 + 10 * 0.25)
    assert (told.on, told.hours_in_state_h) == (False, 0.25)


def test_limits_of_a_day_begin_at_midnight_but_a_call_goes_on_over_it() -> None:
    _, live = live_of(curtailable())
    midnight = T0
    live.note_curtailed(midnight - HOUR, midnight, 30.0, 1.0)
    live.note_curtailed(midnight, midnight + HOUR, 20.0, 0.5)
    told = live.problem_state(midnight + HOUR, midnight)
    assert (told.hours_used_h, told.energy_used_kwh, told.calls_used) == (0.5, 20.0, 1)
    assert told.hours_in_state_h == 2.0
    across = ResourceLive(registered(curtailable()))
    across.note_curtailed(midnight - HOUR, midnight + HOUR, 20.0, 0.5)
    assert across.problem_state(midnight + HOUR, midnight).energy_used_kwh == 20.0


def test_a_load_at_rest_says_so() -> None:
    _, live = live_of(interruptible())
    told = live.problem_state(T0, DAY)
    assert (told.on, told.calls_used, told.hours_used_h, told.curtailed_history) == (False, 0, 0, ())
    live.note_curtailed(after(5), after(5), 20.0, 1.0)
    live.note_curtailed(after(5), after(10), 0.0, 0.0)
    assert live.curtailed == []
    live.note_curtailed(T0, after(10), 20.0, 1.0)
    live.note_curtailed(T0 + 30 * HOUR, T0 + 31 * HOUR, 20.0, 1.0)
    assert len(live.curtailed) == 1  # yesterday's is forgotten


orders = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 30), st.sampled_from([0.0, 10.0, 40.0])), max_size=12)


@given(orders)
@settings(max_examples=50, deadline=None)
def test_what_was_given_up_is_what_the_newest_order_of_each_minute_said(raw: list[tuple[int, int, float]]) -> None:
    live = ResourceLive(registered(curtailable()))
    minutes = np.zeros(120)
    for start, length, power in sorted(raw, key=lambda order: order[0]):
        live.note_curtailed(after(start), after(start + length), power, power / 40.0)
        minutes[start:] = 0.0
        minutes[start : start + length] = power
    told = live.problem_state(after(120), DAY)
    assert told.energy_used_kwh == pytest.approx(minutes.sum() / 60)
    assert told.hours_used_h == pytest.approx(minutes.sum() / 40 / 60)
    assert told.calls_used == int(((minutes > 0) & (np.concatenate([[0.0], minutes[:-1]]) == 0)).sum())
    ends = [piece.end for piece in live.curtailed]
    assert ends == sorted(ends)


# ---- comfort


@given(st.floats(0, 3), st.lists(st.tuples(st.floats(0.01, 1), st.floats(-30, 20)), min_size=1, max_size=6))
@settings(max_examples=50, deadline=None)
def test_the_comfort_store_follows_its_equation_and_stays_in_its_limits(
    decay: float, steps: list[tuple[float, float]]
) -> None:
    live = ResourceLive(registered(thermal(decay_per_hour=decay)))
    level = 0.0
    for hours, moved in steps:
        live.advance_comfort(hours, moved)
        small = hours / 2000  # Euler, an equation of its own: ds/dt = u - decay s
        for _ in range(2000):
            level += small * (moved - decay * level)
        level = min(max(level, -40.0), 25.0)
        assert live.comfort_store_kwh == pytest.approx(level, abs=0.05)


def test_a_measured_comfort_store_is_believed() -> None:
    state, live = live_of(thermal())
    live.advance_comfort(1.0, -20.0)
    state.take(reading("cool", 0, 80.0, energy_kwh=-3.5))
    assert live.problem_state(after(0), DAY).store_kwh == -3.5
    _, other = live_of(battery())
    other.advance_comfort(1.0, -20.0)
    assert other.comfort_store_kwh == 0.0


@given(st.floats(-200, 200), st.floats(0, 300), st.floats(-20, 120), st.booleans())
def test_what_is_stored_moves_on_with_the_power_until_the_next_reading(
    power_kw: float, age_s: float, told_kwh: float, ordered: bool
) -> None:
    """A battery of 0 to 100 kWh, 0.95 each way, never beyond its limits unless it said so itself."""
    resource = battery().model_copy(
        update={"energy_min_kwh": 0.0, "energy_max_kwh": 100.0, "charge_efficiency": 0.95, "discharge_efficiency": 0.95}
    )
    state, live = live_of(resource)
    state.take(reading("battery", 0, 0.0 if ordered else power_kw, energy_kwh=told_kwh))
    now = T0 + timedelta(seconds=age_s)
    if ordered:
        state.columns.ordered_kw[live.row] = power_kw
        state.columns.ordered_until_us[live.row] = microseconds(now)
    stored_kwh = live.problem_state(now, DAY).energy_kwh
    assert stored_kwh is not None
    into_kw = power_kw * 0.95 if power_kw > 0 else power_kw / 0.95
    free_kwh = told_kwh + into_kw * round(age_s * 1e6) / 3.6e9
    assert stored_kwh == pytest.approx(min(max(free_kwh, min(0.0, told_kwh)), max(100.0, told_kwh)), abs=1e-9)
