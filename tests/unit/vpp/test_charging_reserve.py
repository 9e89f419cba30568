"""The time that is kept in hand before a car leaves, and that it is used when it is needed."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.telemetry import ChargingSession
from tests.live import HOUR, T0, charger, reading, registered
from vpp.charging_reserve import RESERVE_LEAST, RESERVE_SHARE, charging_reserve, ready_by
from vpp.state import LiveState

CHARGER = charger()  # 7 kW, 0.9
FULL_KW = 0.9 * 7.0


def stay(hours: float, needed_kwh: float) -> ChargingSession:
    return ChargingSession(
        session_id="s", arrival=T0, departure=T0 + timedelta(hours=hours), energy_needed_kwh=needed_kwh
    )


@given(st.floats(0.1, 24), st.floats(0, 100), st.floats(0, 1), st.floats(0, 24))
def test_it_costs_at_most_the_spare_time_and_never_a_kwh(
    hours: float, needed_kwh: float, done: float, gone_h: float
) -> None:
    car = stay(hours, needed_kwh)
    work = timedelta(hours=needed_kwh / FULL_KW)
    spare = max(timedelta(0), car.departure - car.arrival - work)
    reserve = charging_reserve(CHARGER, car)
    assert timedelta(0) <= reserve <= spare + timedelta(seconds=1)
    assert reserve <= RESERVE_SHARE * work + RESERVE_LEAST
    now, left_kwh = T0 + timedelta(hours=min(gone_h, hours)), (1 - done) * needed_kwh
    ready = ready_by(CHARGER, car, now, left_kwh)
    assert car.arrival <= ready <= car.departure
    can_kwh = FULL_KW * (car.departure - now).total_seconds() / 3600
    before_kwh = FULL_KW * (ready - now).total_seconds() / 3600
    assert before_kwh >= min(left_kwh, can_kwh) - 1e-6, "the reserve may never make a promise impossible"


def test_a_long_stay_is_ready_early_and_what_is_missing_then_is_charged_without_a_pause() -> None:
    car = stay(10.0, FULL_KW)  # an hour of work
    early = car.departure - timedelta(minutes=25)
    assert ready_by(CHARGER, car, T0, FULL_KW) == early
    assert ready_by(CHARGER, car, early - timedelta(minutes=5), 0.1) == early
    late = ready_by(CHARGER, car, early - timedelta(minutes=5), FULL_KW / 6)  # ten minutes of work: it has been slower
    assert timedelta(minutes=5) <= late - early <= timedelta(minutes=6.5), "no minute of the reserve is for waiting"
    assert ready_by(CHARGER, car, car.departure - timedelta(minutes=5), FULL_KW) == car.departure
    assert early < ready_by(CHARGER, car, early, 0.1) < early + timedelta(minutes=3)


def test_a_car_without_need_or_without_time_has_no_reserve() -> None:
    assert charging_reserve(CHARGER, stay(5.0, 0.0)) == timedelta(0)
    assert charging_reserve(CHARGER, stay(1.0, 2 * FULL_KW)) == timedelta(0)


def test_what_a_car_still_needs_follows_from_what_was_heard() -> None:
    state = LiveState([registered(CHARGER)])
    live = state.get("charger")
    assert live is not None
    assert live.charge_left_kwh == 0.0
    car = stay(5.0, 10.0)
    state.take(reading("charger", 0, 7.0, session=car, energy_kwh=4.0))
    assert live.charge_left_kwh == pytest.approx(6.0)
    two_way = charger("two-way", discharge_limit_kw=7.0)
    state.put(registered(two_way))
    back = state.get("two-way")
    assert back is not None
    known = car.model_copy(update={"battery_capacity_kwh": 60.0, "battery_start_kwh": 20.0})
    state.take(reading("two-way", 0, 7.0, session=known, energy_kwh=27.0))
    assert back.charge_left_kwh == pytest.approx(3.0)
    assert car.departure - car.arrival == 5 * HOUR
