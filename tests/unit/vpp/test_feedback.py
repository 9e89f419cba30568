"""Feedback stays within its limits, closes the gap, and gives back within the hour what the hour has missed."""

from datetime import timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.events import Direction, Event, ScopeKind
from tests.live import T0
from vpp.feedback import LASTING_LIMITS, OWED_LIMIT, EventFeedback, MeasuredCycle

CHENGDU = ZoneInfo("Asia/Shanghai")
CYCLE = timedelta(minutes=5)
ORDERED_KW = 100.0
HOUR = T0.replace(minute=0, second=0, microsecond=0)


def event(start_min: int = 0, hours: float = 2.0) -> Event:
    start = HOUR + timedelta(minutes=start_min)
    return Event(
        event_id="e",
        direction=Direction.SHAVE,
        scope_kind=ScopeKind.CITY,
        scope_id="city",
        start=start,
        end=start + timedelta(hours=hours),
        target_kw=ORDERED_KW,
        issued_at=start - timedelta(hours=1),
    )


def cycle(k: int, delivered_kw: float, ordered_kw: float = ORDERED_KW) -> MeasuredCycle:
    return MeasuredCycle(HOUR + CYCLE * k, HOUR + CYCLE * (k + 1), ordered_kw, delivered_kw)


@given(st.floats(0, 1e5), st.lists(st.floats(-1e6, 1e6), max_size=24))
@settings(max_examples=50, deadline=None)
def test_the_correction_never_leaves_its_limits(ordered: float, delivered: list[float]) -> None:
    feedback, run = EventFeedback(), event().model_copy(update={"target_kw": ordered})
    low, high = (share * ordered for share in LASTING_LIMITS)
    for k, value in enumerate(delivered):
        feedback.command(ordered)
        feedback.take(cycle(k, value, ordered))
        feedback.owe(HOUR + CYCLE * (k + 1), run, CHENGDU)
        assert low <= feedback.lasting_kw <= high
        assert abs(feedback.owed_kw) <= OWED_LIMIT * ordered
    assert [each.delivered_kw for each in feedback.measured] == delivered


@given(st.lists(st.floats(-500, 500), min_size=1, max_size=20))
def test_what_lasts_moves_towards_what_is_missing(delivered: list[float]) -> None:
    feedback = EventFeedback()
    for k, value in enumerate(delivered):
        before = feedback.lasting_kw
        feedback.command(ORDERED_KW)
        feedback.take(cycle(k, value))
        moved = feedback.lasting_kw - before
        assert moved == 0 or (moved > 0) == (value < ORDERED_KW)


def test_a_fleet_that_does_a_fifth_less_than_it_says_is_brought_to_the_order() -> None:
    feedback, delivered = EventFeedback(), 0.0
    for k in range(24):
        delivered = 0.8 * feedback.command(ORDERED_KW)
        feedback.take(cycle(k, delivered))
        feedback.owe(HOUR + CYCLE * (k + 1), event(), CHENGDU)
    assert delivered == pytest.approx(ORDERED_KW, rel=0.01)


@settings(max_examples=60, deadline=None)
@given(
    falls_at=st.integers(1, 8),
    lost=st.floats(0.0, 0.25),
    noise=st.lists(st.floats(-0.02, 0.02), min_size=12, max_size=12),
)
def test_the_hour_in_which_a_quarter_of_the_devices_falls_silent_is_kept_as_a_whole(
    falls_at: int, lost: float, noise: list[float]
) -> None:
    def hour(*, with_owed: bool) -> float:
        feedback, delivered = EventFeedback(), []
        for k in range(12):
            share = 1 - lost if k >= falls_at else 1.0
            delivered.append(share * feedback.command(ORDERED_KW) * (1 + noise[k]))
            feedback.take(cycle(k, delivered[-1]))
            feedback.owe(HOUR + CYCLE * (k + 1), event(), CHENGDU)
            if not with_owed:
                feedback.owed_kw = 0.0
        return float(np.mean(delivered)) / ORDERED_KW

    kept = hour(with_owed=True)
    assert kept == pytest.approx(1.0, abs=0.02)
    assert abs(kept - 1) <= abs(hour(with_owed=False) - 1) + 0.012, "without it the hour ends further off"


def test_an_hour_owes_nothing_to_the_next_and_nothing_is_owed_outside_the_event() -> None:
    feedback = EventFeedback()
    for k in range(6):
        feedback.note(cycle(k, 90.0))
    feedback.owe(HOUR + timedelta(minutes=30), event(), CHENGDU)
    assert feedback.owed_kw == pytest.approx(10.0)  # half an hour of 10 kW less, half an hour left
    feedback.owe(HOUR + timedelta(minutes=55), event(), CHENGDU)
    assert feedback.owed_kw == pytest.approx(OWED_LIMIT * ORDERED_KW)  # 60 kW would be owed
    for later in (60, 120, 130):
        feedback.owe(HOUR + timedelta(minutes=later), event(), CHENGDU)
        assert feedback.owed_kw == 0.0
    feedback.owe(HOUR - timedelta(minutes=5), event(), CHENGDU)
    assert feedback.owed_kw == 0.0


def test_the_hours_of_an_event_are_those_of_the_markets_clock() -> None:
    # 13:45 to 15:45: the first hour has a quarter only, and what it missed is not owed at 14:10
    feedback, run = EventFeedback(), event(start_min=45)
    feedback.note(MeasuredCycle(HOUR + timedelta(minutes=45), HOUR + timedelta(minutes=50), ORDERED_KW, 40.0))
    feedback.owe(HOUR + timedelta(minutes=50), run, CHENGDU)
    assert feedback.owed_kw == pytest.approx(OWED_LIMIT * ORDERED_KW)
    feedback.owe(HOUR + timedelta(minutes=70), run, CHENGDU)
    assert feedback.owed_kw == 0.0


def test_a_cycle_of_which_nothing_was_commanded_teaches_nothing() -> None:
    feedback = EventFeedback()  # as after a restart: the devices did what they liked
    feedback.take(cycle(0, 0.0))
    assert feedback.lasting_kw == 0.0
    feedback.owe(HOUR + CYCLE, event(), CHENGDU)
    assert feedback.owed_kw > 0, "it is owed all the same"


def test_what_is_off_before_the_event_is_foreseen_for_its_start() -> None:
    feedback = EventFeedback()
    feedback.foresee(100.0, planned_kw=5.0, delivered_kw=-15.0)
    assert feedback.correction_kw == pytest.approx(0.7 * 20.0)
    feedback.foresee(100.0, planned_kw=0.0, delivered_kw=-500.0)
    assert feedback.correction_kw == pytest.approx(40.0)  # never more than its limit
    assert feedback.measured == []  # nothing has been delivered yet
