"""What a process has done of its work, and when the rest of what is registered is not waited for any more."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.live import HOUR, T0, process
from vpp.process_work import IDLE_CYCLES, ProcessWork

LOAD = process(length=6 * HOUR)
CYCLE = timedelta(minutes=5)


def worked(share: float, hours: int = 5) -> ProcessWork:
    work = ProcessWork()
    for hour in range(hours):
        work.note(T0 + (hour + 1) * HOUR, share * LOAD.energy_kwh / hours)
    return work


def left_kwh(work: ProcessWork, now: datetime, window_start: datetime = T0) -> float:
    used_kwh = work.state(LOAD, now, window_start, 0.0).delivered_kwh
    assert used_kwh is not None
    return LOAD.energy_kwh - used_kwh


def test_all_but_a_fifth_can_be_all_there_is_to_do_and_tomorrow_it_begins_anew() -> None:
    work = ProcessWork()
    for hour in range(5):
        work.note(T0 + (hour + 1) * HOUR, 0.95 * LOAD.energy_kwh / 5)
        assert work.can_be_done(LOAD, T0 + (hour + 1) * HOUR) == (hour == 4)
    assert not work.can_be_done(LOAD, T0 + 24 * HOUR)


def test_who_stands_still_although_told_to_run_has_finished_and_nothing_is_left_to_plan() -> None:
    """Ten per cent of what was registered were left, and were planned again in every cycle of an event."""
    work, now = worked(0.9), T0 + 5 * HOUR
    assert left_kwh(work, now) == pytest.approx(0.1 * LOAD.energy_kwh)
    for _ in range(IDLE_CYCLES):
        assert left_kwh(work, now) > 0
        now += CYCLE
        work.after_cycle(LOAD, now, LOAD.power_max_kw, 0.0)
    assert left_kwh(work, now) == 0
    assert left_kwh(work, now + 24 * HOUR, T0 + 24 * HOUR) == LOAD.energy_kwh, "the next day's work is whole"


@given(
    st.floats(0, 0.79),
    st.lists(st.tuples(st.sampled_from([0.0, 5.0, float("nan")]), st.sampled_from([0.0, 5.0]))),
)
def test_whose_work_cannot_be_done_has_not_finished_whatever_it_does(
    share: float, cycles: list[tuple[float, float]]
) -> None:
    work = worked(share)
    for k, (ordered_kw, power_kw) in enumerate(cycles):
        work.after_cycle(LOAD, T0 + 5 * HOUR + k * CYCLE, ordered_kw, power_kw)
    assert work.finished_at is None


@pytest.mark.parametrize(("ordered_kw", "power_kw"), [(0.0, 0.0), (float("nan"), 0.0), (8.0, 7.9)])
def test_who_pauses_as_told_or_runs_has_not_finished(ordered_kw: float, power_kw: float) -> None:
    work = worked(0.9)
    for k in range(2 * IDLE_CYCLES):
        work.after_cycle(LOAD, T0 + 5 * HOUR + k * CYCLE, ordered_kw, power_kw)
        work.after_cycle(LOAD, T0 + 5 * HOUR + k * CYCLE, LOAD.power_max_kw, 0.0 if k % 2 else LOAD.power_max_kw)
    assert work.finished_at is None
