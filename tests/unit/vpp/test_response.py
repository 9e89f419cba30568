"""Devices that need minutes are told earlier, so that the mean of a cycle is what the plan says."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.live import battery, curtailable, registered, thermal
from vpp.response import ResponseTimes
from vpp.state import LiveState

CYCLE = timedelta(minutes=5)
CYCLE_MIN = 5.0


def state() -> LiveState:
    made = LiveState([])
    for resource in (curtailable("hall-1"), curtailable("hall-2"), thermal("cool"), battery("cell")):
        made.put(registered(resource))
    return made


def lacks_of_a_step(takes_min: float, led_min: float) -> float:
    """Mean share that is missing in the cycle after a step, of a device that goes there in a straight line."""
    minutes = np.linspace(0.0, CYCLE_MIN, 2001) + led_min
    return float(1.0 - np.clip(minutes / max(takes_min, 1e-9), 0.0, 1.0).mean())


@given(takes_min=st.floats(0.0, 5.0))
def test_who_follows_in_a_straight_line_brings_his_mean_after_a_few_steps(takes_min: float) -> None:
    known = ResponseTimes(state().columns, CYCLE)
    rows, on = np.array([0]), np.ones(1, dtype=np.bool_)
    lacking = 0.0
    for _ in range(8):
        known.learn("e", rows, np.zeros(1), np.zeros(1), on)
        led_min = float(known.leads(1.0)(rows, np.array([50.0]), np.array([50.0]))[0]) / 60.0
        lacking = lacks_of_a_step(takes_min, led_min)
        known.leads(1.0)  # the cycle that was led has come
        known.learn("e", rows, np.array([50.0]), np.array([50.0 * (1 - lacking)]), on)
    assert led_min in (0.0, 2.5, 5.0)
    assert lacking <= 0.25 + 1e-3, "no more than the leads are coarse"
    assert lacking <= lacks_of_a_step(takes_min, 0.0) + 1e-9


def test_a_new_device_is_led_as_its_kind_and_nobody_who_lets_go_or_is_not_known() -> None:
    known = ResponseTimes(state().columns, CYCLE)
    halls, everyone = np.array([0]), np.arange(4)
    on = np.ones(1, dtype=np.bool_)
    known.learn("e", halls, np.zeros(1), np.zeros(1), on)
    known.learn("e", halls, np.array([80.0]), np.array([40.0]), on)
    assert known.share(everyone) == pytest.approx([0.5, 0.5, 0.0, 0.0])
    kw = np.array([30.0, 30.0, 30.0, 30.0])
    assert known.leads(1.0)(everyone, kw, kw) == pytest.approx([150.0, 150.0, 0.0, 0.0])
    assert known.leads(1.0)(everyone, kw, -kw) == pytest.approx([0.0] * 4), "what lets go does so in time"
    assert known.leads(-1.0)(everyone, -kw, -kw) == pytest.approx([150.0, 150.0, 0.0, 0.0]), "valley filling"
    assert known.leads(0.0)(everyone, kw, kw) == pytest.approx([0.0] * 4), "no event, nobody early"
    assert known.leads(1.0)(everyone, kw, 0.1 * kw) == pytest.approx([0.0] * 4), "that is no step"


def test_who_begins_early_is_early_and_not_too_much() -> None:
    known = ResponseTimes(state().columns, CYCLE)
    rows, on = np.array([0, 2]), np.ones(2, dtype=np.bool_)
    known.learn("e", rows, np.zeros(2), np.zeros(2), on)
    known.learn("e", rows, np.array([80.0, 10.0]), np.array([40.0, 10.0]), on)
    assert known.early_kw(rows, np.zeros(2), np.array([30.0, 30.0])) == 0.0, "nobody was told to"
    known.leads(1.0)(rows, np.array([55.0, 55.0]), np.array([50.0, 50.0]))
    assert known.early_kw(rows, np.array([5.0, 5.0]), np.array([27.0, 30.0])) == pytest.approx(22.0)
    assert known.early_kw(rows, np.array([5.0, 5.0]), np.array([90.0, 30.0])) == pytest.approx(25.0), (
        "no more than half"
    )
    assert known.early_kw(rows, np.array([5.0, 5.0]), np.array([0.0, 30.0])) == 0.0


@pytest.mark.parametrize("moved_kw", [-500.0, 500.0])
def test_a_share_stays_between_nothing_and_a_cycle(moved_kw: float) -> None:
    known = ResponseTimes(state().columns, CYCLE)
    rows, on = np.array([2]), np.ones(1, dtype=np.bool_)
    for planned in (0.0, 20.0, 0.0, 20.0):
        known.learn("e", rows, np.array([planned]), np.array([moved_kw]), on)
    assert 0.0 <= known.share(rows)[0] <= 1.0


def test_a_step_that_is_lost_in_the_noise_and_a_reading_that_does_not_count_teach_nothing() -> None:
    known = ResponseTimes(state().columns, CYCLE)
    rows = np.array([0, 1])
    known.learn("e", rows, np.array([100.0, 0.0]), np.zeros(2), np.ones(2, dtype=np.bool_))
    known.learn("e", rows, np.array([110.0, 90.0]), np.zeros(2), np.array([True, False]))
    assert known.share(rows) == pytest.approx([0.0, 0.0])


def test_devices_that_register_meanwhile_are_known_as_nothing_yet() -> None:
    live = state()
    known = ResponseTimes(live.columns, CYCLE)
    known.learn("e", np.array([0]), np.zeros(1), np.zeros(1), np.ones(1, dtype=np.bool_))
    for number in range(2000):
        live.put(registered(curtailable(f"new-{number}")))
    rows = np.array([0, 2003])
    known.learn("e", rows, np.array([40.0, 40.0]), np.array([10.0, 0.0]), np.ones(2, dtype=np.bool_))
    assert known.share(rows) == pytest.approx([0.75, 0.75])
