"""A stopped event comes down in steps that follow from the event and the moment alone."""

import itertools
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.events import Event
from tests.live import HOUR, T0
from vpp.ramp import ramp_after

CYCLE = timedelta(minutes=5)
EVENT = Event(event_id="e", start=T0, end=T0 + HOUR, target_kw=400.0, rebound_cap_kw=9.0)


def test_it_is_held_until_the_next_cycle_and_falls_by_quarters() -> None:
    ramp = ramp_after(EVENT, T0 + timedelta(minutes=22, seconds=7), CYCLE)
    pieces = [ramp.held, *ramp.steps]
    minutes = [(piece.end - T0) / timedelta(minutes=1) for piece in pieces]
    assert minutes == [25, 30, 35, 40]
    assert [piece.target_kw for piece in pieces] == [400, 300, 200, 100]
    assert ramp.planned(T0 + timedelta(minutes=31)) == list(ramp.steps[1:])
    (after,) = ramp.planned(T0 + HOUR)
    assert (after.event_id, after.end, after.rebound_cap_kw) == ("e", T0 + timedelta(minutes=40), 9.0)


@pytest.mark.parametrize(("seconds", "held_minutes"), [(0, 5), (5, 5), (300, 5), (301, 10)])
def test_the_cycle_in_which_it_is_stopped_is_held_in_full(seconds: int, held_minutes: int) -> None:
    ramp = ramp_after(EVENT, T0 + timedelta(seconds=seconds), CYCLE)
    assert ramp.held.end == T0 + timedelta(minutes=held_minutes)


@given(st.integers(0, 3599), st.sampled_from([1, 3, 5, 15]))
@settings(max_examples=50, deadline=None)
def test_its_pieces_touch_and_never_leave_the_event(seconds: int, cycle_minutes: int) -> None:
    cycle = timedelta(minutes=cycle_minutes)
    ramp = ramp_after(EVENT, T0 + timedelta(seconds=seconds), cycle)
    pieces = [ramp.held, *ramp.steps]
    assert pieces[0].start == EVENT.start
    assert all(piece.start < piece.end <= EVENT.end for piece in pieces)
    for before, after in itertools.pairwise(pieces):
        assert after.start == before.end
        assert after.target_kw < before.target_kw
    assert ramp.held.end - (T0 + timedelta(seconds=seconds)) <= cycle
