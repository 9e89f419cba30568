"""A stopped event comes down in steps that follow from the event and the moment alone."""

import itertools
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.events import Event, EventRecord, TargetChange
from models.intervals import IntervalGrid
from models.life_cycle import EventStatus
from tests.live import HOUR, T0
from vpp.ramp import ordered_kw_on, pieces_of, ramp_after

CYCLE = timedelta(minutes=5)
EVENT = Event(event_id="e", start=T0, end=T0 + HOUR, target_kw=400.0, rebound_cap_kw=9.0)
RECORD = EventRecord(event=EVENT, status=EventStatus.EXECUTING, steps=())


def test_it_is_held_until_the_next_cycle_and_falls_by_quarters() -> None:
    ramp = ramp_after(RECORD, T0 + timedelta(minutes=22, seconds=7), CYCLE)
    pieces = [*ramp.held, *ramp.steps]
    minutes = [(piece.end - T0) / timedelta(minutes=1) for piece in pieces]
    assert minutes == [25, 30, 35, 40]
    assert [piece.target_kw for piece in pieces] == [400, 300, 200, 100]
    assert ramp.planned(T0 + timedelta(minutes=31)) == list(ramp.steps[1:])
    (after,) = ramp.planned(T0 + HOUR)
    assert (after.event_id, after.end, after.rebound_cap_kw) == ("e", T0 + timedelta(minutes=40), 9.0)


@pytest.mark.parametrize(("seconds", "held_minutes"), [(0, 5), (5, 5), (300, 5), (301, 10)])
def test_the_cycle_in_which_it_is_stopped_is_held_in_full(seconds: int, held_minutes: int) -> None:
    ramp = ramp_after(RECORD, T0 + timedelta(seconds=seconds), CYCLE)
    assert ramp.held_until == T0 + timedelta(minutes=held_minutes)


@given(st.integers(0, 3599), st.sampled_from([1, 3, 5, 15]))
@settings(max_examples=50, deadline=None)
def test_its_pieces_touch_and_never_leave_the_event(seconds: int, cycle_minutes: int) -> None:
    cycle = timedelta(minutes=cycle_minutes)
    ramp = ramp_after(RECORD, T0 + timedelta(seconds=seconds), cycle)
    pieces = [*ramp.held, *ramp.steps]
    assert pieces[0].start == EVENT.start
    assert all(piece.start < piece.end <= EVENT.end for piece in pieces)
    for before, after in itertools.pairwise(pieces):
        assert after.start == before.end
        assert after.target_kw < before.target_kw
    assert ramp.held_until - (T0 + timedelta(seconds=seconds)) <= cycle


def changed(*changes: tuple[float, float, float]) -> EventRecord:
    """The event changed after so many minutes, from so many kW to so many."""
    made = [
        TargetChange(at=T0, by="li", reason="", before_kw=b, after_kw=a, effective_from=T0 + timedelta(minutes=m))
        for m, b, a in changes
    ]
    event = EVENT.model_copy(update={"target_kw": changes[-1][2]})
    return RECORD.model_copy(update={"event": event, "changes": tuple(made)})


def test_a_change_goes_in_steps_of_at_most_a_quarter_both_ways() -> None:
    down = pieces_of(changed((20, 400, 100)), CYCLE)
    assert [piece.target_kw for piece in down] == [400, 300, 200, 100]
    assert [(piece.start - T0) / timedelta(minutes=1) for piece in down] == [0, 20, 25, 30]
    up = pieces_of(changed((20, 400, 500)), CYCLE)
    assert [piece.target_kw for piece in up] == [400, 500]
    assert [piece.rebound_cap_kw for piece in up] == [None, 9.0]
    assert [piece.event_id for piece in up] == ["e", "e~2"]
    assert (up[0].start, up[-1].end) == (EVENT.start, EVENT.end)


def test_a_change_before_the_start_is_no_step_and_one_on_a_ramp_takes_it_from_there() -> None:
    assert [piece.target_kw for piece in pieces_of(changed((-30, 400, 100)), CYCLE)] == [100]
    twice = pieces_of(changed((20, 400, 100), (25, 100, 340)), CYCLE)
    assert [round(piece.target_kw) for piece in twice] == [400, 300, 340]


def test_the_order_on_a_grid_follows_the_changes_from_the_change_on() -> None:
    grid = IntervalGrid.regular(T0 - HOUR / 2, HOUR / 2, 4)
    ordered = ordered_kw_on(changed((45, 400, 300)), CYCLE, grid)
    assert ordered.tolist() == pytest.approx([0, 400, 350, 0])


def test_a_changed_event_that_is_stopped_comes_down_from_where_it_is() -> None:
    ramp = ramp_after(changed((20, 400, 200)), T0 + timedelta(minutes=22), CYCLE)
    assert [piece.target_kw for piece in ramp.held] == [400, 300]
    assert [piece.target_kw for piece in ramp.steps] == [225, 150, 75]
