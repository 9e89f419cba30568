"""So much of what a silent process gives up is not bought again that neither meters nor the grid leave the band."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.settlement.performance import BAND
from tests.live import T0, curtailable, interruptible, reading, registered
from tests.unit.vpp.test_asked import CYCLE, ZONE, running
from vpp.asked import asked_pieces
from vpp.feedback import EventFeedback, MeasuredCycle
from vpp.state import LiveState
from vpp.unheard import MOST_SHARE, left_to_them_kw, unheard_kw

AGE = timedelta(minutes=10)


def silent_since(minutes: float, *, told_at: float = 0.0, kw: float = 80.0) -> LiveState:
    """A process of half an hour at least and a load, told to give up 80 kW, heard until then."""
    state = LiveState([registered(interruptible("block")), registered(curtailable("load"))])
    for name in ("block", "load"):
        state.take(reading(name, minutes, 20.0))
        live = state.get(name)
        assert live is not None
        for k in range(2):
            begin = T0 + timedelta(minutes=told_at + 5 * k)
            live.give_up(begin, begin + timedelta(minutes=5), kw, 100.0)
    return state


def found(state: LiveState, minutes: float, rho: float = 0.9) -> float:
    rows = state.rows(["block", "load"])
    return unheard_kw(state, rows, np.full(2, rho), T0 + timedelta(minutes=minutes), AGE)


def test_a_silent_process_counts_until_its_shortest_time_is_over() -> None:
    state = silent_since(5)
    assert found(state, 20) == pytest.approx(0.9 * 80.0)
    assert found(state, 29) == pytest.approx(0.9 * 80.0)
    assert found(state, 30) == 0.0


def test_who_is_heard_or_a_little_late_does_not() -> None:
    assert found(silent_since(15), 20) == 0.0
    assert found(silent_since(10), 20) == 0.0


def test_who_fell_silent_before_it_was_told_does_not() -> None:
    assert found(silent_since(5, told_at=6), 20) == 0.0


def test_who_was_released_before_it_fell_silent_does_not() -> None:
    state = silent_since(12)
    live = state.get("block")
    assert live is not None
    live.give_up(T0 + timedelta(minutes=5), T0 + timedelta(minutes=10), 0.0, 100.0)
    assert found(state, 25) == 0.0


def test_who_was_never_heard_or_never_told_does_not() -> None:
    state = LiveState([registered(interruptible("block")), registered(curtailable("load"))])
    assert found(state, 20) == 0.0
    state.take(reading("block", 0, 20.0))
    assert found(state, 20) == 0.0


@given(st.floats(0.0, 0.16))
def test_neither_what_is_metered_nor_what_is_true_leaves_the_band(share: float) -> None:
    left = left_to_them_kw(share * 500.0, 500.0) / 500.0
    metered, true = 1 - left, 1 - left + share
    assert BAND[0] < metered <= 1.0
    assert true < BAND[1]
    assert left <= MOST_SHARE


def test_an_order_that_runs_is_asked_for_so_much_less_now_and_later() -> None:
    order, feedback, grid = running(100.0, 6)
    whole = asked_pieces(order, feedback, grid)
    feedback.left_kw = 3.0
    assert [piece.target_kw for piece in asked_pieces(order, feedback, grid)] == pytest.approx(
        [piece.target_kw - 3.0 for piece in whole]
    )


def half_an_hour(unheard_kw: float, unheard_now_kw: float, delivered_kw: float = 100.0) -> EventFeedback:
    """An event of 100 kW, half an hour of its hour over: what the silent brought in it, and bring now."""
    order, feedback, _ = running(0.0, 0)
    for k in range(6):
        cycle = MeasuredCycle(order.start + CYCLE * k, order.start + CYCLE * (k + 1), 100.0, delivered_kw, unheard_kw)
        feedback.take(cycle, None)
    feedback.unheard_kw = unheard_now_kw
    feedback.owe(order.start + CYCLE * 6, order, ZONE)
    return feedback


def test_an_hour_leaves_to_the_silent_what_its_mean_asks_for() -> None:
    assert half_an_hour(20.0, 20.0).left_kw == pytest.approx(8.0)  # 13 over the free 7: the most
    assert half_an_hour(0.0, 20.0).left_kw == pytest.approx(3.0)  # fell silent in mid-hour: 10 on average
    assert half_an_hour(20.0, 0.0).left_kw == pytest.approx(3.0)  # and back since
    assert half_an_hour(0.0, 12.0).left_kw == 0.0


def test_what_was_bought_before_they_fell_silent_is_given_back() -> None:
    # half the hour at the whole order, so 3 kW for half an hour are too much, in the quarter of an hour that has to do
    assert half_an_hour(0.0, 20.0).owed_kw == pytest.approx(-3.0 * 0.5 / 0.25)
    assert half_an_hour(20.0, 20.0, 92.0).owed_kw == pytest.approx(0.0)


def test_another_hour_begins_with_what_is_so_then() -> None:
    order, feedback, _ = running(100.0, 12)
    feedback.unheard_kw = 9.0
    feedback.owe(order.start + CYCLE * 12, order, ZONE)
    assert feedback.left_kw == pytest.approx(2.0)
    feedback.owe(order.end + CYCLE, order, ZONE)
    assert feedback.left_kw == 0.0
