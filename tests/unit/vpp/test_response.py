"""Devices that need minutes are told earlier, so that the mean of a cycle is what the plan says."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.live import T0, battery, charger, curtailable, registered, thermal
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


def after_a_step(known: ResponseTimes, rows: list[int], lacking: float, *, counts: bool = True) -> None:
    """Every one of ``rows`` was to bring 80 kW more than before, and lacked this share of it."""
    step_kw, on = np.full(len(rows), 80.0), np.full(len(rows), counts)
    known.learn(np.array(rows), step_kw, step_kw, step_kw * (1 - lacking), on)


@given(takes_min=st.floats(0.0, 5.0))
def test_who_follows_in_a_straight_line_brings_his_mean_after_a_few_steps(takes_min: float) -> None:
    known = ResponseTimes(state().columns, CYCLE)
    rows, kw, now = np.array([0]), np.array([50.0]), T0
    lacking = 0.0
    for _ in range(8):
        led_min = float(known.leads(now, 1.0)(rows, kw, kw)[0]) / 60.0
        lacking = lacks_of_a_step(takes_min, led_min)
        known.leads(now + CYCLE, 1.0)  # the cycle that was led has come
        after_a_step(known, [0], lacking)
        now += 2 * CYCLE
    assert led_min in (0.0, 2.5, 5.0)
    assert lacking <= 0.25 + 1e-3, "no more than the leads are coarse"
    assert lacking <= lacks_of_a_step(takes_min, 0.0) + 1e-9


def test_a_new_device_is_led_as_its_kind_and_nobody_who_lets_go_or_is_not_known() -> None:
    known, everyone, kw = ResponseTimes(state().columns, CYCLE), np.arange(4), np.full(4, 30.0)
    after_a_step(known, [0], 0.5)
    assert known.share(everyone) == pytest.approx([0.5, 0.5, 0.0, 0.0])
    assert known.leads(T0, 1.0)(everyone, kw, kw) == pytest.approx([150.0, 150.0, 0.0, 0.0])
    assert known.leads(T0, 1.0)(everyone, kw, -kw) == pytest.approx([0.0] * 4), "what lets go does so in time"
    assert known.leads(T0, -1.0)(everyone, -kw, -kw) == pytest.approx([150.0, 150.0, 0.0, 0.0]), "valley filling"
    assert known.leads(T0, 0.0)(everyone, kw, kw) == pytest.approx([0.0] * 4), "no event, nobody early"
    assert known.leads(T0, 1.0)(everyone, kw, 0.1 * kw) == pytest.approx([0.0] * 4), "that is no step"


def test_a_charger_is_never_led_whatever_its_meter_shows() -> None:
    """An early beginning is in no plan: the car would leave without it."""
    both = LiveState([registered(charger()), registered(charger("other"))])
    known, rows, kw = ResponseTimes(both.columns, CYCLE), np.arange(2), np.full(2, 30.0)
    after_a_step(known, [0], 0.9)
    assert known.share(rows) == pytest.approx([0.0, 0.0])
    known._share[:] = 0.5  # as an older version of the service might have learned it
    assert known.leads(T0, 1.0)(rows, kw, kw) == pytest.approx([0.0, 0.0])
    assert not both.columns.begins_early.any()


def test_batteries_follow_at_once_and_are_never_led() -> None:
    known, everyone, kw = ResponseTimes(state().columns, CYCLE), np.arange(4), np.full(4, 30.0)
    after_a_step(known, [3], 0.9)
    assert known.share(everyone) == pytest.approx([0.0] * 4)
    assert known.leads(T0, 1.0)(everyone, kw, kw) == pytest.approx([0.0] * 4)


def test_who_was_led_in_vain_is_not_led_on_and_on() -> None:
    """The next cycle is always asked for more than this one: what it plans for later, it never plans for now."""
    known, rows, kw = ResponseTimes(state().columns, CYCLE), np.array([0]), np.array([60.0])
    after_a_step(known, [0], 0.9)
    assert known.leads(T0, 1.0)(rows, kw, kw) == pytest.approx([300.0])
    assert known.leads(T0 + CYCLE, 1.0)(rows, kw, kw) == pytest.approx([0.0]), "nothing of it is in this cycle's plan"
    assert known.leads(T0 + 2 * CYCLE, 1.0)(rows, kw, kw) == pytest.approx([300.0]), "a new step, a new lead"
    assert known.leads(T0 + 3 * CYCLE, 1.0)(rows, 2 * kw, kw) == pytest.approx([300.0]), "it came, and the next is due"


def test_a_cycle_that_plans_again_leads_the_same_cycle() -> None:
    known, rows, kw = ResponseTimes(state().columns, CYCLE), np.array([0]), np.array([50.0])
    after_a_step(known, [0], 0.5)
    known.leads(T0, 1.0)(rows, kw, kw)
    known.leads(T0 + CYCLE, 1.0)(rows, kw, 0 * kw)
    known.leads(T0 + CYCLE, 1.0)(rows, kw, 0 * kw)  # a direct call has overtaken it
    after_a_step(known, [0], 0.0)
    assert known.share(rows) == pytest.approx([0.5]), "it lacked nothing because it was led"


def test_who_begins_early_is_early_and_not_too_much() -> None:
    live = state()
    known, rows, planned_kw = ResponseTimes(live.columns, CYCLE), np.array([0, 2]), np.array([5.0, 5.0])
    after_a_step(known, [0], 0.5)
    after_a_step(known, [2], 0.0)
    assert known.early_kw(rows, np.zeros(2), np.array([30.0, 30.0])) == 0.0, "nobody was told to"
    known.leads(T0, 1.0)(rows, np.array([55.0, 55.0]), np.array([50.0, 50.0]))
    assert live.columns.begins_early[:4].tolist() == [True, False, False, False]
    for moved_kw, early_kw in ((27.0, 22.0), (90.0, 25.0), (0.0, 0.0)):  # no more than half of 50 kW
        assert known.early_kw(rows, planned_kw, np.array([moved_kw, 30.0])) == pytest.approx(early_kw)
    known.leads(T0 + CYCLE, 1.0)
    assert not live.columns.begins_early.any(), "that was the cycle before"


@pytest.mark.parametrize("lacking", [-5.0, 7.0])
def test_a_share_stays_between_nothing_and_a_cycle(lacking: float) -> None:
    known = ResponseTimes(state().columns, CYCLE)
    for _ in range(3):
        after_a_step(known, [2], lacking)
        assert 0.0 <= known.share(np.array([2]))[0] <= 1.0


def test_a_step_that_is_lost_in_the_noise_and_a_reading_that_does_not_count_teach_nothing() -> None:
    known, rows = ResponseTimes(state().columns, CYCLE), np.array([0, 1])
    known.learn(rows, np.array([110.0, 90.0]), np.array([10.0, -20.0]), np.zeros(2), np.ones(2, dtype=np.bool_))
    after_a_step(known, [0, 1], 0.7, counts=False)
    assert known.share(rows) == pytest.approx([0.0, 0.0])


def test_devices_that_register_meanwhile_are_known_as_their_kind() -> None:
    live = state()
    known = ResponseTimes(live.columns, CYCLE)
    after_a_step(known, [0], 0.75)
    for number in range(2000):
        live.put(registered(curtailable(f"new-{number}")))
    assert known.share(np.array([0, 2003])) == pytest.approx([0.75, 0.75])
