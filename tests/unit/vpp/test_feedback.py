"""Feedback stays within its limits, closes the gap, and gives back within the hour what the hour has missed."""

from datetime import timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.events import Direction, Event, ScopeKind
from models.moments import microseconds
from tests.live import T0
from vpp.feedback import LASTING_LIMITS, OWED_LIMIT, Contributions, EventFeedback, MeasuredCycle
from vpp.ramp_up import RampUp

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
        feedback.take(cycle(k, value, ordered), ordered + feedback.correction_kw)
        feedback.owe(HOUR + CYCLE * (k + 1), run, CHENGDU)
        assert low <= feedback.lasting_kw <= high
        assert abs(feedback.owed_kw) <= OWED_LIMIT * ordered
    assert [each.delivered_kw for each in feedback.measured] == delivered


@given(st.lists(st.floats(-500, 500), min_size=1, max_size=20))
def test_what_lasts_moves_towards_what_was_planned_and_did_not_come(delivered: list[float]) -> None:
    feedback = EventFeedback()
    for k, value in enumerate(delivered):
        before, planned = feedback.lasting_kw, ORDERED_KW + feedback.lasting_kw
        feedback.take(cycle(k, value), planned)
        moved = feedback.lasting_kw - before
        assert moved == 0 or (moved > 0) == (value < ORDERED_KW)


def test_a_fleet_that_does_a_fifth_less_than_it_says_is_brought_to_the_order() -> None:
    feedback, delivered = EventFeedback(), 0.0
    for k in range(24):
        planned = ORDERED_KW + feedback.correction_kw
        delivered = 0.8 * planned
        feedback.take(cycle(k, delivered), planned)
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
            planned = ORDERED_KW + feedback.correction_kw
            delivered.append(share * planned * (1 + noise[k]))
            feedback.take(cycle(k, delivered[-1]), planned)
            feedback.owe(HOUR + CYCLE * (k + 1), event(), CHENGDU)
            if not with_owed:
                feedback.owed_kw = 0.0
        return float(np.mean(delivered)) / ORDERED_KW

    kept = hour(with_owed=True)
    assert kept == pytest.approx(1.0, abs=0.02)
    assert abs(kept - 1) <= abs(hour(with_owed=False) - 1) + 0.012, "without it the hour ends further off"


def test_what_those_brought_who_are_not_in_the_next_plan_is_no_excess() -> None:
    """A hall that has become too warm brought its 30 kW once more: nobody may be told to bring 30 kW less for it."""
    feedback = EventFeedback()
    feedback.take(cycle(0, ORDERED_KW), ORDERED_KW)
    feedback.take(cycle(1, ORDERED_KW), ORDERED_KW - 30.0, gone_kw=30.0)
    assert feedback.lasting_kw == pytest.approx(0.0)
    assert [each.delivered_kw for each in feedback.measured] == [ORDERED_KW] * 2, "the hour has it all the same"


def test_an_hour_owes_nothing_to_the_next_and_nothing_is_owed_outside_the_event() -> None:
    feedback = EventFeedback()
    for k in range(6):
        feedback.take(cycle(k, 95.0), None)
    feedback.owe(HOUR + timedelta(minutes=30), event(), CHENGDU)
    assert feedback.owed_kw == pytest.approx(10.0)  # half an hour of 5 kW less, made good in half of what is left
    assert feedback.good_by == HOUR + timedelta(minutes=45)
    feedback.owe(HOUR + timedelta(minutes=55), event(), CHENGDU)
    assert feedback.owed_kw == pytest.approx(OWED_LIMIT * ORDERED_KW)  # 30 kW would be owed
    for later in (60, 120, 130):
        feedback.owe(HOUR + timedelta(minutes=later), event(), CHENGDU)
        assert feedback.owed_kw == 0.0
    feedback.owe(HOUR - timedelta(minutes=5), event(), CHENGDU)
    assert feedback.owed_kw == 0.0


def test_the_hours_of_an_event_are_those_of_the_markets_clock() -> None:
    # 13:45 to 15:45: the first hour has a quarter only, and what it missed is not owed at 14:10
    feedback, run = EventFeedback(), event(start_min=45)
    feedback.take(MeasuredCycle(HOUR + timedelta(minutes=45), HOUR + timedelta(minutes=50), ORDERED_KW, 40.0), None)
    feedback.owe(HOUR + timedelta(minutes=50), run, CHENGDU)
    assert feedback.owed_kw == pytest.approx(OWED_LIMIT * ORDERED_KW)
    feedback.owe(HOUR + timedelta(minutes=70), run, CHENGDU)
    assert feedback.owed_kw == 0.0


def test_a_cycle_of_which_nothing_is_known_but_what_came_teaches_nothing() -> None:
    feedback = EventFeedback()  # the ramps of the first cycle, or what was before a restart
    feedback.take(cycle(0, 0.0), None)
    assert feedback.lasting_kw == 0.0
    feedback.owe(HOUR + CYCLE, event(), CHENGDU)
    assert feedback.owed_kw > 0, "it is owed all the same"


def test_what_older_orders_bring_while_a_plan_has_nobody_teaches_nothing() -> None:
    feedback = EventFeedback()  # cut off for two cycles: the plan has nobody, devices go on with what they last heard
    feedback.take(cycle(0, 0.95 * ORDERED_KW), 0.0)
    assert feedback.lasting_kw == 0.0


@settings(max_examples=40, deadline=None)
@given(most=st.floats(20, 95), least=st.floats(105, 180))
def test_where_devices_can_do_no_more_or_no_less_nothing_runs_away(most: float, least: float) -> None:
    for can in (lambda wanted: min(wanted, most), lambda wanted: max(wanted, least)):
        feedback = EventFeedback()
        for k in range(20):
            planned = can(feedback.ask(ORDERED_KW))
            feedback.take(cycle(k, planned), planned)
        assert abs(feedback.lasting_kw) <= 0.1 * planned + 1e-9, "what the band hides, and no more"


def test_a_plan_that_takes_more_than_it_was_asked_because_it_is_cheap_is_held_to_the_order() -> None:
    feedback = EventFeedback()
    for k in range(12):
        most = (
            1.1 if k < 6 else 1.0
        )  # the optimiser's own choice: the band is free, and later it has nothing cheap left
        asked = feedback.ask(ORDERED_KW)
        feedback.taken(asked, most * asked)
        if feedback.can_ask_again:
            asked = feedback.ask_again()
            feedback.taken(asked, most * asked)
            assert not feedback.can_ask_again, "one more time is enough"
        planned = most * asked
        feedback.take(cycle(k, planned), planned)
        assert planned == pytest.approx(ORDERED_KW, rel=0.01)
    assert feedback.lasting_kw == pytest.approx(0.0, abs=1.0), "it is no lack of the devices"


def test_a_plan_that_goes_by_steps_is_asked_for_what_lies_between() -> None:
    feedback = EventFeedback()
    asked, off = feedback.ask(ORDERED_KW), list[float]()
    while len(off) < 4:
        off.append(feedback.taken(asked, 1.1 * asked if asked > 98 else asked))
        if not feedback.can_ask_again:
            break
        asked = feedback.ask_again()
    assert off == pytest.approx([10.0, 100 - 100 / 1.1, 100 - (100 + 100 / 1.1) / 2, 2.27], abs=0.01)


def test_what_cannot_be_more_is_not_asked_for_again() -> None:
    feedback = EventFeedback()
    assert feedback.taken(feedback.ask(ORDERED_KW), 80.0) == pytest.approx(20.0)
    assert not feedback.can_ask_again, "it was asked for all that is wanted"


def test_a_lack_is_made_good_and_an_excess_given_back_in_half_of_what_is_left() -> None:
    for delivered_kw, owed_kw in ((96.0, 8.0), (104.0, -8.0)):
        feedback = EventFeedback()
        for k in range(6):
            feedback.take(cycle(k, delivered_kw), None)
        feedback.owe(HOUR + timedelta(minutes=30), event(), CHENGDU)
        assert feedback.owed_kw == pytest.approx(owed_kw)
        assert feedback.later_kw(ORDERED_KW) == ORDERED_KW, "the next hour owes nothing"


def test_who_is_on_the_way_to_a_new_order_is_not_bought_twice() -> None:
    """Five devices bring 20 kW each; one stops, and who takes its place needs two cycles to get there."""
    feedback, delivered = EventFeedback(), []
    rows = np.arange(8)
    power_kw, hall = np.zeros(8), 5
    for k in range(12):
        asked = feedback.ask(ORDERED_KW)
        order_kw = np.array([20.0] * 5 + [0.0] * 3) if k < 3 else np.array([20.0] * 4 + [0.0] + [20.0] + [0.0] * 2)
        order_kw[6] = max(0.0, asked - order_kw.sum())  # whatever more is asked
        power_kw[:5] = order_kw[:5]
        power_kw[hall:] += np.clip(order_kw[hall:] - power_kw[hall:], -8.0, 8.0)
        delivered.append(float(power_kw.sum()))
        lacking = feedback.ramp_up.on_the_way_kw(rows, order_kw, power_kw)
        feedback.take(cycle(k, delivered[-1]), float(order_kw.sum()), None, rows, float(lacking.sum()))
    assert power_kw[6] <= 4.0, "no second machine for the one that is starting"
    assert max(delivered) <= ORDERED_KW + 4.0
    assert delivered[-1] == pytest.approx(ORDERED_KW, rel=0.01)


@given(st.lists(st.tuples(st.floats(-50, 50), st.floats(-60, 60)), min_size=1, max_size=8))
def test_what_is_on_the_way_lies_between_the_orders_and_an_old_order_has_been_reached(
    cycles: list[tuple[float, float]],
) -> None:
    ramp, rows, planned = RampUp(), np.array([3]), [0.0, 0.0]
    for order_kw, moved_kw in cycles:
        lacks = float(ramp.on_the_way_kw(rows, np.array([order_kw]), np.array([moved_kw]))[0])
        low, high = min(*planned[-2:], order_kw), max(*planned[-2:], order_kw)
        assert order_kw - high - 1e-9 <= lacks <= order_kw - low + 1e-9
        assert order_kw - lacks == pytest.approx(min(max(moved_kw, low), high))
        planned.append(order_kw)
    for _ in range(3):
        last = float(ramp.on_the_way_kw(rows, np.array([40.0]), np.array([0.0]))[0])
    assert last == 0.0, "who is not there by now does not come"


@pytest.mark.parametrize(("cycle_min", "cycles"), [(5, 2), (1, 10), (10, 2), (4, 3)])
def test_a_machine_is_on_its_way_for_ten_minutes_however_short_the_cycle_is(cycle_min: int, cycles: int) -> None:
    ramp, rows = RampUp(timedelta(minutes=cycle_min)), np.array([0])
    lacking = [float(ramp.on_the_way_kw(rows, np.array([40.0]), np.array([0.0]))[0]) for _ in range(cycles + 2)]
    assert lacking == [40.0] * cycles + [0.0] * 2


def test_what_those_did_not_bring_who_are_set_aside_is_bought_once() -> None:
    """A third of the devices falls silent; the plan is without them two cycles later."""
    feedback, delivered = EventFeedback(), []
    everyone, others = np.arange(3), np.arange(2)
    for k in range(10):
        silent, aside = k >= 2, k >= 4
        planned = ORDERED_KW + feedback.lasting_kw
        delivered.append(planned * (2 / 3 if silent and not aside else 1.0))
        trusted = others if k + 1 >= 4 else everyone  # who is in the next plan
        counts = planned if aside or not silent else planned * (1.0 if len(trusted) == 3 else 2 / 3)
        feedback.take(cycle(k, delivered[-1]), counts, None, trusted)
    assert delivered[4] == pytest.approx(ORDERED_KW, rel=0.01), "not a third too much"
    assert delivered[5:] == pytest.approx([ORDERED_KW] * 5, rel=0.01)


def test_what_a_cycle_delivered_is_counted_again_with_what_is_known_later() -> None:
    feedback, cycle_us = EventFeedback(), CYCLE // timedelta(microseconds=1)
    end_us = microseconds(HOUR + CYCLE)
    rows, baseline_kw = np.array([2, 0, 1, 3]), np.full(4, 60.0)

    def take(k: int, *reported: bool) -> None:
        moved_kw = np.array([50.0, 30.0, 20.0, 10.0])
        counted = Contributions(rows, moved_kw, np.array(reported), baseline_kw)
        feedback.take(cycle(k, float(moved_kw.sum())), None, counted)

    honest, liar = np.zeros(4, dtype=np.bool_), np.array([False, False, True, False])
    power_kw = np.array([25.0, 0.0, 0.0, 0.0])
    take(0, True, False, False, False)
    feedback.look_back(np.array([end_us - cycle_us, 0, end_us, end_us - cycle_us]), power_kw, honest)
    assert feedback.measured[0].delivered_kw == pytest.approx(110.0), "the others are on their way"
    take(1, True, True, True, True)
    newest = np.array([end_us, 0, end_us + cycle_us, end_us + cycle_us])
    feedback.look_back(newest, power_kw, honest)
    # row 0 was late and says 60 - 25; row 1 never came; row 3 has said something newer meanwhile, 60 - 0
    assert [each.delivered_kw for each in feedback.measured] == pytest.approx([50 + 35 + 60, 110])
    feedback.look_back(newest, power_kw, liar)
    assert [each.delivered_kw for each in feedback.measured] == pytest.approx([35 + 60, 60])
    for k in range(2, 5):
        take(k, True, True, True, True)
    feedback.look_back(newest, power_kw, np.ones(4, dtype=np.bool_))
    counted = [each.delivered_kw for each in feedback.measured]
    assert counted == pytest.approx([95, 60, 0, 0, 0]), "three cycles back, no more"


def test_what_is_off_before_the_event_is_foreseen_for_its_start() -> None:
    feedback = EventFeedback()
    feedback.foresee(100.0, planned_kw=5.0, delivered_kw=-15.0)
    assert feedback.correction_kw == pytest.approx(0.7 * 20.0)
    feedback.foresee(100.0, planned_kw=0.0, delivered_kw=-500.0)
    assert feedback.correction_kw == pytest.approx(40.0)  # never more than its limit
    assert feedback.measured == []  # nothing has been delivered yet


@pytest.mark.parametrize("minutes", [1, 5])
def test_a_short_cycle_has_learned_as_much_after_the_same_time(minutes: int) -> None:
    feedback, length = EventFeedback(), timedelta(minutes=minutes)
    for k in range(10 // minutes):
        measured = MeasuredCycle(HOUR + k * length, HOUR + (k + 1) * length, ORDERED_KW, ORDERED_KW - 20.0)
        feedback.take(measured, ORDERED_KW)
    assert feedback.lasting_kw == pytest.approx(20.0 * (1 - 0.3**2))


def test_cycles_between_two_readings_are_compared_with_the_reading_that_covers_them() -> None:
    """Planned 100, 110, 120, 110, 100 kW minute by minute, and the reading says 108 of all five: nothing is amiss."""
    feedback, planned_kw = EventFeedback(), [100.0, 110.0, 120.0, 110.0, 100.0]
    for k, kw in enumerate(planned_kw):
        start, is_last = HOUR + timedelta(minutes=k), k == len(planned_kw) - 1
        measured = MeasuredCycle(start, start + timedelta(minutes=1), ORDERED_KW, 108.0 if is_last else kw)
        feedback.take(measured, kw, is_reported=is_last)
    assert feedback.lasting_kw == pytest.approx(0.0)


def test_what_stands_in_readings_still_to_come_is_not_taken_for_missing() -> None:
    """Three minutes without a reading, of devices that report every five; of who has not come after five it is."""
    feedback, rows, kw = EventFeedback(), np.array([0]), np.array([50.0])
    newest_us = np.array([microseconds(HOUR)])
    for k in range(7):
        start = HOUR + timedelta(minutes=k)
        measured = MeasuredCycle(start, start + timedelta(minutes=1), ORDERED_KW, 50.0)
        counted = Contributions(rows, kw.copy(), np.array([False]), np.array([100.0]))
        feedback.take(measured, 50.0, counted, rows, is_reported=False)
        feedback.look_back(newest_us, np.array([50.0]), np.array([False]))
    assert [each.delivered_kw for each in feedback.measured] == [0.0, 0.0, *[50.0] * 5]
    newest_us[0] = microseconds(HOUR + timedelta(minutes=7))
    feedback.look_back(newest_us, np.array([60.0]), np.array([False]))
    assert [each.delivered_kw for each in feedback.measured] == [40.0] * 7
