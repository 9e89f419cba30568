"""A car that cannot get its energy any more is named also when its charger is not heard."""

from datetime import timedelta
from typing import Any

import pytest

from models.plan import Admission
from tests.live import HOUR, T0, charger, reading, registered, stay
from vpp.cars_out_of_sight import cars_out_of_sight
from vpp.state import LiveState

LATER = T0 + timedelta(minutes=40)


def seen(**session: Any) -> list[Admission]:
    state = LiveState([registered(charger("car"))])
    state.take(reading("car", 0, 0.0, session=stay(**session)))
    return cars_out_of_sight(state, LATER)


def test_who_would_need_more_than_full_power_since_it_was_heard_is_named() -> None:
    (found,) = seen(departure=T0 + 2 * HOUR, energy_needed_kwh=20.0)
    assert (found.resource_id, found.limit, found.asked) == ("car", "energy_needed_kwh", 20.0)
    assert found.granted == pytest.approx(14.0)  # two hours of 7 kW
    assert "not heard" in found.reason


@pytest.mark.parametrize(
    "session",
    [
        {"departure": T0 + 2 * HOUR, "energy_needed_kwh": 13.9},
        {"departure": LATER - timedelta(minutes=1), "energy_needed_kwh": 20.0},  # it has left
    ],
)
def test_who_can_still_get_it_is_not(session: dict[str, Any]) -> None:
    assert seen(**session) == []


def test_a_charger_that_is_heard_is_the_plans_business() -> None:
    state = LiveState([registered(charger("car"))])
    state.take(reading("car", 0, 0.0, session=stay(departure=T0 + 2 * HOUR, energy_needed_kwh=20.0)))
    assert cars_out_of_sight(state, T0 + timedelta(seconds=30)) == []
