"""What is asked: an order in pieces with its corrections, and commitments in step: the same devices answer for both."""

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.events import Commitment, Direction, Event, ScopeKind
from models.intervals import IntervalGrid
from tests.live import T0
from vpp.asked import LATER, asked_pieces, commitments_in_step
from vpp.feedback import EventFeedback, MeasuredCycle


def event(event_id: str, target_kw: float) -> Event:
    return Event(
        event_id=event_id,
        direction=Direction.SHAVE,
        scope_kind=ScopeKind.CITY,
        scope_id="city",
        start=T0,
        end=T0 + timedelta(hours=1),
        target_kw=target_kw,
        issued_at=T0 - timedelta(hours=1),
    )


def test_commitments_move_with_the_correction_of_their_event_and_with_no_other() -> None:
    events = [event("noon", 100.0), event("evening", 200.0), event("ramp", 0.0)]
    asked = [event("noon", 60.0), event("evening", 200.0), event("ramp", 0.0)]
    rows = [
        Commitment(event_id=name, aggregator_id="a", interval_start=T0, accepted_kw=50.0)
        for name in ("noon", "evening", "ramp", "another")
    ]
    moved = commitments_in_step(rows, events, asked)
    assert [row.accepted_kw for row in moved] == pytest.approx([30.0, 50.0, 50.0, 50.0])
    assert [(row.event_id, row.interval_start) for row in moved] == [(row.event_id, T0) for row in rows]


CYCLE = timedelta(minutes=5)
ZONE = ZoneInfo("Asia/Shanghai")


def running(delivered_kw: float, cycles: int) -> tuple[Event, EventFeedback, IntervalGrid]:
    """An event of two hours that brought so much in each of its first cycles."""
    start = T0.replace(minute=0, second=0, microsecond=0)
    two_hours = {"start": start, "end": start + timedelta(hours=2), "rebound_cap_kw": 9e9}
    order, feedback = event("noon", 100.0).model_copy(update=two_hours), EventFeedback()
    for k in range(cycles):
        feedback.take(MeasuredCycle(start + CYCLE * k, start + CYCLE * (k + 1), 100.0, delivered_kw), None)
    now = start + CYCLE * cycles
    feedback.owe(now, order, ZONE)
    return order, feedback, IntervalGrid.real_time(now, windows=[(order.start, order.end)])


@given(st.floats(60.0, 130.0), st.integers(1, 23))
def test_a_running_event_is_asked_for_once_in_every_interval(delivered_kw: float, cycles: int) -> None:
    order, feedback, grid = running(delivered_kw, cycles)
    pieces = asked_pieces(order, feedback, grid)
    inside = [t for t, at in enumerate(grid.starts) if order.start <= at < order.end]
    assert [sum(bool(grid.inside(each.start, each.end)[t]) for each in pieces) for t in inside] == [1] * len(inside)
    assert [each.rebound_cap_kw for each in pieces] == [None] * (len(pieces) - 1) + [9e9], "the last has the cap"
    assert pieces[0].event_id == "noon"
    rows = [
        Commitment(event_id="noon", aggregator_id="a", interval_start=grid.starts[t], accepted_kw=50.0) for t in inside
    ]
    for row in commitments_in_step(rows, [order], pieces):
        piece = next(each for each in pieces if each.start <= row.interval_start < each.end)
        assert row.event_id == piece.event_id
        assert row.accepted_kw == pytest.approx(0.5 * piece.target_kw)


def test_what_an_hour_owes_is_not_asked_of_the_next() -> None:
    order, feedback, grid = running(90.0, 6)
    owing, later = asked_pieces(order, feedback, grid)
    assert [owing.target_kw, later.target_kw] == pytest.approx([120.0, 100.0])
    assert owing.end == later.start == feedback.good_by
    assert later.event_id == "noon" + LATER


def test_a_plan_that_takes_more_than_it_is_asked_is_asked_for_less_now_and_for_all_later() -> None:
    order, feedback, grid = running(100.0, 6)
    first = asked_pieces(order, feedback, grid)[0].target_kw
    assert first == pytest.approx(100.0)
    assert feedback.taken(first, 110.0) == pytest.approx(10.0), "it takes a tenth more"
    now, later = asked_pieces(order, feedback, grid, again=True)
    assert [now.target_kw, later.target_kw] == pytest.approx([100.0 / 1.1, 100.0])


def test_who_does_not_run_yet_is_asked_for_in_one_piece() -> None:
    order, feedback, grid = running(100.0, 1)
    feedback.lasting_kw = 7.0
    ahead = order.model_copy(update={"start": order.start + timedelta(hours=1)})
    assert [each.target_kw for each in asked_pieces(ahead, feedback, grid)] == [pytest.approx(107.0)]


def test_the_margin_is_kept_for_what_comes_after_and_not_for_what_is_sent_along() -> None:
    order, feedback, grid = running(100.0, 6)
    now, later = asked_pieces(order, feedback, grid, reserve_fraction=0.1)
    assert [now.target_kw, later.target_kw] == pytest.approx([100.0, 100.0 / 0.9])
    order, feedback, grid = running(100.0, 11)  # the hour is over in five minutes, the next has its setpoints already
    now, later = asked_pieces(order, feedback, grid, reserve_fraction=0.1)
    assert [now.target_kw, later.target_kw] == pytest.approx([100.0, 100.0])
