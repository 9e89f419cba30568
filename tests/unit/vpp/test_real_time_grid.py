"""The horizon of a re-plan: steps on the marks of the clock, both stretches that are ordered in the first of them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.events import Event
from models.intervals import IntervalGrid
from tests.live import real_time_stage
from tests.unit.vpp.test_feedback import HOUR, event
from vpp.real_time import FINE

MINUTE = timedelta(minutes=1)


def grid(cycle_s: float, now_s: float, events: list[Event]) -> IntervalGrid:
    stage = real_time_stage(timedelta(seconds=cycle_s))
    return stage.grid(HOUR + timedelta(seconds=now_s), events)


@given(st.sampled_from([60.0, 120.0, 150.0, 300.0]), st.integers(0, 120), st.integers(-30, 600))
def test_steps_lie_on_the_marks_of_the_clock(cycle_s: float, cycles: int, start_min: int) -> None:
    order, now = event(start_min), HOUR + timedelta(seconds=cycles * cycle_s)
    made = grid(cycle_s, cycles * cycle_s, [order])
    edges = {edge for edge in (order.start, order.end) if edge > now}
    assert made.start == now
    assert edges <= set(made.edges)
    assert all((edge - HOUR) % FINE == timedelta(0) for edge in made.edges[1:] if edge not in edges)
    assert max(
        end - start for start, end in zip(made.starts, made.ends, strict=True) if end <= now + 2 * 12 * FINE
    ) <= (2 * FINE)
    assert made.end >= max(now + timedelta(hours=14), order.end + timedelta(hours=6))
    ordered = timedelta(seconds=2 * cycle_s)  # this cycle's stretch and the next one's
    if cycle_s <= FINE.total_seconds() / 2 and not any(now < edge < now + ordered for edge in edges):
        assert made.ends[0] >= now + ordered


@pytest.mark.parametrize("now_min", [0, 5, 25])
def test_a_cycle_of_five_minutes_plans_in_steps_of_five(now_min: int) -> None:
    made = grid(300.0, now_min * 60.0, [])
    assert made.edges[:25] == tuple(HOUR + (now_min + 5 * k) * MINUTE for k in range(25))


def test_a_cycle_of_a_minute_has_no_more_steps_than_one_of_five() -> None:
    most = max(len(grid(60.0, 60.0 * minute, [])) for minute in range(30))
    assert most <= max(len(grid(300.0, 300.0 * k, [])) for k in range(6))
