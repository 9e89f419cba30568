"""The indices of one step, and of a direction, worked out by hand; a reading is a minute."""

from dataclasses import replace

import numpy as np
import pytest

from models.capability.explained import Figure, Missing, untold, worst
from models.capability.indices import indices
from models.capability.measured import PowerSeries
from models.capability.programme import FILL, SHAVE, Programme, ProgrammeStep, ResourceClass
from models.capability.step_indices import Held
from tests.unit.models.capability.runs import (
    PLAIN,
    REST,
    SHAVED,
    T0_US,
    UP,
    of,
    programme,
    run,
    shave,
)

NAN = float("nan")


# ---- response


def test_a_spike_is_no_response() -> None:
    spike = [-50.0, 0.0, -50.0, -95.0, -95.0, -95.0, -95.0, -95.0, -95.0, -95.0]
    assert shave(REST + spike, {"response_stays_s": 60}).response_s.value == 60  # a minute is all that is asked
    assert shave([*REST, 0.0, *spike], {"response_stays_s": 0}).response_s.value == 120
    assert shave(REST + spike, {"response_stays_s": 61}).response_s == Figure(180.0, resolution_s=60.0)


def test_a_change_that_never_stays_over_the_threshold_is_no_response() -> None:
    assert shave(REST + [-9.9] * 10).response_s == untold(Missing.NO_RESPONSE)
    assert shave(REST + [-10.0] * 10).response_s.value == 60
    assert shave(REST + [-9.9] * 10, {"response_share": 0.05}).response_s.value == 60
    assert shave(REST + [50.0] * 10).response_s == untold(Missing.NO_RESPONSE)  # it went the other way


def test_a_move_is_counted_from_what_there_was_before_the_order() -> None:
    off = [-20.0] * 5  # the baseline is 20 kW too high
    assert shave(off + [-29.0] * 10).response_s == untold(Missing.NO_RESPONSE)
    assert shave(off + [-31.0] * 10).response_s.value == 60
    drifting = [-40.0, -40.0, 0.0, 0.0, 0.0]
    assert shave(drifting + [-20.0] * 10).response_s == untold(Missing.NO_RESPONSE)  # 4 kW more than the mean of 16
    assert shave(drifting + [-20.0] * 10, {"before_s": 180}).response_s.value == 60


def test_without_a_reading_before_the_order_no_move_is_told() -> None:
    found = shave([NAN] * 5 + SHAVED)
    assert found.response_s == found.ramp_percent_per_min == untold(Missing.NO_READING_BEFORE)
    assert found.deviation.value is not None
    assert found.duration_s.value == 480
    before = run([*REST, *SHAVED], programme((600, SHAVE, 100, 120)), first_s=-300)
    assert indices(before, PLAIN).by_direction[SHAVE].response_s.value == 120  # readings before the test will do


def test_a_hole_before_the_response_is_left_open_in_it() -> None:
    found = shave(REST + [-1.0, NAN] + [-95.0] * 8, {"missing_most": 0.2})
    assert found.response_s == Figure(180.0, resolution_s=120.0)
    assert found.ramp_percent_per_min.value == pytest.approx(100 * 80 / 95 / 2)
    assert found.ramp_percent_per_min.resolution_s == 240
    first = shave(REST + [NAN] + [-95.0] * 9, {"missing_most": 0.2})
    assert first.response_s == Figure(120.0, resolution_s=120.0)


def test_a_smaller_order_is_a_move_back_and_the_same_order_is_none() -> None:
    plan = programme((300, SHAVE, 0, 0), (600, SHAVE, 100, 120), (600, SHAVE, 40, 120))
    found = of(REST + [-100.0] * 10 + [-95.0, -58.0, -40.0] + [-40.0] * 7, plan)
    first, second = (step for _, _, step in found.by_step)
    assert first.response_s == Figure(60.0, resolution_s=60.0)
    assert second.response_s == Figure(120.0, resolution_s=60.0)  # 6 of 60 kW: from 100 to 95 is not yet that
    assert second.ramp_percent_per_min.value == pytest.approx(100 * 0.8 * 60 / 100 / 2)
    same = programme((300, SHAVE, 0, 0), (600, SHAVE, 100, 120), (600, SHAVE, 100, 120))
    told = of(REST + [-100.0] * 20, same)
    assert told.by_step[1][2].response_s == told.by_step[1][2].ramp_percent_per_min == untold(Missing.NO_MOVE_ORDERED)
    assert told.by_direction[SHAVE].response_s.value == 60


# ---- ramp


def test_readings_further_apart_make_a_ramp_slower_never_faster() -> None:
    at_once = REST + [-100.0] * 10
    assert shave(at_once).ramp_percent_per_min == Figure(80.0, resolution_s=120.0)
    fine = run([0.0] * 30 + [-100.0] * 60, UP, every_s=10)
    assert indices(fine, PLAIN).by_direction[SHAVE].ramp_percent_per_min.value == pytest.approx(6 * 80)


def test_a_ramp_that_never_comes_near_the_order_is_not_told() -> None:
    assert shave(REST + [-89.0] * 10).ramp_percent_per_min == untold(Missing.NOT_REACHED)
    assert shave(REST + [-90.0] * 10).ramp_percent_per_min.value is not None
    assert shave(REST + [-89.0] * 10, {"ramp_to": 0.8}).ramp_percent_per_min.value == pytest.approx(100 * 70 / 89)
    slow = [-5.0, -30.0, -60.0] + [-100.0] * 7
    assert shave(REST + slow).ramp_percent_per_min.value == pytest.approx(80 / 3)
    assert shave(REST + slow, {"ramp_from": 0.4}).ramp_percent_per_min.value == pytest.approx(50 / 2)


# ---- deviation, duration, held


def test_ups_and_downs_cancel_in_the_deviation_and_not_in_the_duration() -> None:
    held = [-50.0, -90.0] + [-80.0, -120.0] * 4
    found = shave(REST + held)
    assert found.deviation.value == pytest.approx(0)
    assert found.duration_s == Figure(0.0)
    wider = shave(REST + held, {"block_s": 120})  # two minutes together are 100
    assert wider.duration_s == Figure(480.0)
    assert wider.held.kw == pytest.approx(100)


def test_the_band_has_its_edges_in_it() -> None:
    held = [-50.0, -90.0, -89.0, -90.0, -110.0, -111.0, -100.0, -110.0, -90.0, -89.9]
    assert shave(REST + held).duration_s == Figure(180.0)
    assert shave(REST + held, {"band_high": 1.2}).duration_s == Figure(360.0)
    assert shave(REST + held, {"band_low": 0.85}).duration_s == Figure(240.0)


def test_a_level_that_is_reached_exactly_is_not_missed_by_rounding() -> None:
    plan = programme((300, SHAVE, 0, 0), (600, SHAVE, 0.8, 120))
    found = shave(REST + [-0.08] + [-0.72] * 9, plan=plan, baseline_kw=0.0)  # 0.08 / 0.8 and 0.72 / 0.8 are rounded off
    assert found.response_s.value == 60
    assert found.ramp_percent_per_min.value == pytest.approx(100 * 0.64 / 0.72 / 2)
    assert found.duration_s == Figure(480.0)


def test_the_same_order_said_otherwise_moves_nothing() -> None:
    first = ProgrammeStep(start_s=0, length_s=600, ordered_kw=7)
    again = ProgrammeStep(start_s=600, length_s=600, ordered_share=0.07)  # of 100 kW: 7.000000000000001
    plan = Programme(programme_id="p", resource_class=ResourceClass.FLEXIBLE_LOAD, steps=(first, again))
    assert of([-7.0] * 20, plan).by_step[1][2].response_s == untold(Missing.NO_MOVE_ORDERED)


def test_what_was_held_is_the_lowest_block_within_the_order() -> None:
    assert shave(REST + [-130.0] * 10).held.kw == 100  # nobody asked for more
    assert shave(REST + [0.0, 0.0] + [-99.0] * 7 + [20.0]).held.kw == 0  # and less than nothing is nothing
    assert shave(REST + [0.0, 0.0] + [-99.0] * 7 + [-61.0]).held.kw == pytest.approx(61)


def test_time_without_readings_is_not_held() -> None:
    gap = [-95.0] * 6 + [NAN] + [-95.0] * 3
    found = shave(REST + gap, {"missing_most": 0.15})
    assert found.duration_s == Figure(240.0)
    assert found.held.holds_s == 240  # from two to six minutes of the order
    assert found.held.kw == pytest.approx(95)
    assert found.response_s.value == 60


def test_what_few_readings_show_is_not_told() -> None:
    gone = [-95.0] * 2 + [NAN] + [-95.0] * 7  # 12.5 % of the hold, 10 % of the step
    found = shave(REST + gone)
    assert found.deviation == found.duration_s == untold(Missing.TOO_FEW_READINGS)
    assert found.held.missing is Missing.TOO_FEW_READINGS
    assert found.held.kw is None
    assert found.response_s.value == 60
    for lost in ([NAN, NAN] + [-95.0] * 8, [-95.0] * 8):
        none = shave(REST + lost)
        assert none.response_s == none.ramp_percent_per_min == untold(Missing.TOO_FEW_READINGS)
    rare = indices(run([0.0, -95.0, -95.0], programme((300, SHAVE, 0, 0), (600, SHAVE, 100, 120)), every_s=300), RARE)
    assert rare.by_direction[SHAVE].deviation == untold(Missing.TOO_FEW_READINGS)
    two = RARE.model_copy(update={"least_readings": 2})
    enough = indices(run([0.0, -95.0, -95.0], programme((300, SHAVE, 0, 0), (600, SHAVE, 100, 120)), every_s=300), two)
    assert enough.by_direction[SHAVE].deviation.value == pytest.approx(-0.05)


RARE = PLAIN.model_copy(update={"longest_span_s": 300.0})


@pytest.mark.parametrize("missing_most", [0.1, 0.3, 0.7])
def test_holes_in_every_block_that_are_just_small_enough_leave_all_of_them_known(missing_most: float) -> None:
    every = np.concatenate([[0, 300], *([end - 60 * (1 - missing_most), end] for end in range(360, 901, 60))])
    power = np.where(np.arange(len(every)) % 2, 100.0, np.nan)  # the first part of every minute failed
    power[1] = 200.0
    series = PowerSeries(T0_US + np.round(10**6 * every).astype(np.int64), power)
    holed = replace(run(REST, UP), series=series, baseline_kw=np.full(len(every), 200.0))
    found = indices(holed, RARE.model_copy(update={"missing_most": missing_most})).by_direction[SHAVE]
    assert found.duration_s == Figure(480.0)
    assert found.held == Held(100, 100, 480)


# ---- directions


def test_a_direction_is_judged_by_its_worst_step() -> None:
    rest, order = (300, SHAVE, 0, 0), (600, SHAVE, 100, 120)
    fast, slow = [-100.0] * 10, [-5.0, -50.0] + [-105.0] * 2 + [-96.0, -98.0, -120.0, -120.0, -120.0, -120.0]
    for pair in ([fast, slow], [slow, fast]):
        found = of(REST + pair[0] + REST + pair[1], programme(rest, order, rest, order)).by_direction[SHAVE]
        assert found.response_s.value == 120
        assert found.ramp_percent_per_min.value == pytest.approx(100 * 80 / 120 / 2)
        assert found.deviation.value == pytest.approx((105 * 2 + 96 + 98 + 120 * 4) / 800 - 1)
        assert found.duration_s.value == 240
        assert found.held.kw == pytest.approx(96)
    never = of(REST + fast + REST + [0.0] * 10, programme(rest, order, rest, order)).by_direction[SHAVE]
    assert never.response_s == untold(Missing.NO_RESPONSE)
    assert never.ramp_percent_per_min == untold(Missing.NOT_REACHED)
    assert never.held.kw == 0


def test_deviations_to_either_side_are_compared_by_size() -> None:
    under, over = Figure(-0.3), Figure(0.2)
    assert worst([under, over], abs) == worst([over, under], abs) == under
    assert worst([untold(Missing.NO_MOVE_ORDERED)], abs) == untold(Missing.NO_MOVE_ORDERED)
    plan = programme((300, SHAVE, 0, 0), (600, SHAVE, 100, 120), (600, SHAVE, 50, 120), (600, SHAVE, 100, 120))
    for first, last, most in ((-70.0, -120.0, -0.3), (-120.0, -70.0, -0.3), (-90.0, -120.0, 0.2)):
        found = of(REST + [first] * 10 + [-50.0] * 10 + [last] * 10, plan).by_direction[SHAVE]
        assert found.deviation.value == pytest.approx(most)


def test_what_was_held_is_that_of_the_largest_order() -> None:
    plan = programme((300, SHAVE, 0, 0), (600, SHAVE, 40, 120), (600, SHAVE, 100, 120), (300, SHAVE, 100, 0))
    found = of(REST + [-40.0] * 10 + [-100.0] * 10 + [-90.0] * 5, plan).by_direction[SHAVE]
    assert found.held == Held(100, 90, 300)
    lost = of(REST + [-40.0] * 10 + [NAN] * 10 + [-90.0] * 5, plan).by_direction[SHAVE]
    assert (lost.held.ordered_kw, lost.held.missing) == (100, Missing.TOO_FEW_READINGS)


def test_a_direction_in_which_nothing_was_ordered_has_no_figures() -> None:
    down = of(REST + SHAVED, UP).by_direction[FILL]
    figures = (down.response_s, down.ramp_percent_per_min, down.deviation, down.duration_s)
    assert all(figure == untold(Missing.NOT_ORDERED) for figure in figures)
    assert down.held.missing is Missing.NOT_ORDERED
