"""Days worked by hand, one or more for every kind: the answer is derived in the test's docstring."""

from dataclasses import replace

import numpy as np
import pytest

from models.dispatch.problem import Penalties, RealTimeTerms, ResourceState
from models.events import Commitment, Direction, Event
from models.plan import Requirement
from models.resources import (
    CurtailableLoad,
    EvSession,
    Generator,
    InterruptibleLoad,
    Pv,
    ShiftableLoad,
    Storage,
    ThermalLoad,
)
from tests.hand import COMMON, at, city, power, solve

BATTERY = Storage(
    **COMMON,
    charge_limit_kw=10,
    discharge_limit_kw=10,
    energy_min_kwh=0,
    energy_max_kwh=8,
    energy_start_kwh=0,
    energy_end_min_kwh=0,
    charge_efficiency=0.8,
    discharge_efficiency=0.5,
    wear_cost_per_kwh=0.0,
)


def test_it_buys_cheap_and_sells_dear_and_pays_for_its_losses() -> None:
    """Prices 0.1 and 1.0, room for 8 kWh: draw 10 kWh (8 kWh arrive), sell 4 kWh (half of 8 is lost).

    Cost 10 · 0.1 - 4 · 1.0 = -3.
    """
    plan = solve(city([BATTERY], [0.1, 1.0]))
    assert power(plan) == pytest.approx([10, -4])
    assert plan.energy_kwh[0] == pytest.approx([8, 0])
    assert plan.objective_cny == pytest.approx(-3)
    assert plan.baseline_kw[0] == pytest.approx([10, -4])


def test_it_never_charges_and_discharges_at_once_though_it_is_paid_to_consume() -> None:
    """Price -1, full at 8 kWh, discharge 5 kW at most, then price 0 where nothing is gained.

    Doing both would burn energy: charge 10, discharge 4 keeps the level and earns 6.  Alone it can earn nothing in a
    single interval, since it is full; discharging would cost.  So it stands still, at cost 0.
    """
    full = BATTERY.model_copy(update={"energy_start_kwh": 8.0, "discharge_limit_kw": 5.0})
    plan = solve(city([full], [-1.0]))
    assert power(plan) == pytest.approx([0])
    assert plan.objective_cny == pytest.approx(0)


def test_the_end_condition_is_bought_at_the_cheapest_hour() -> None:
    """4 kWh at the end need 5 kWh from the grid: at price 0.2, cost 1; nothing to sell for (price 0.3 < 0.2/0.4)."""
    plan = solve(city([BATTERY.model_copy(update={"energy_end_min_kwh": 4.0})], [0.3, 0.2, 0.3]))
    assert power(plan) == pytest.approx([0, 5, 0])
    assert plan.objective_cny == pytest.approx(1)


def test_pumped_hydro_pumps_at_its_minimum_or_not_at_all_and_pays_for_every_change_of_mode() -> None:
    """Pump 6-10 kW, turbine 2-10 kW, prices 0, 1, 0, lossless, room 8 kWh, a change of mode costs 1.

    Pump 8 in the first hour (one change), turbine 8 in the second (one), idle in the third (one): 3 - 8 = -5.
    Staying in turbine mode in the third hour is not possible at its minimum with an empty reservoir.
    """
    hydro = BATTERY.model_copy(
        update={
            "charge_efficiency": 1.0,
            "discharge_efficiency": 1.0,
            "charge_min_kw": 6.0,
            "discharge_min_kw": 2.0,
            "mode_change_cost": 1.0,
        }
    )
    plan = solve(city([hydro], [0.0, 1.0, 0.0]))
    assert power(plan)[:2] == pytest.approx([8, -8])
    assert plan.objective_cny == pytest.approx(-5)
    small = solve(city([hydro.model_copy(update={"energy_max_kwh": 5.0})], [0.0, 1.0, 0.0]))
    assert power(small) == pytest.approx([0, 0, 0])  # 6 kW for an hour do not fit into 5 kWh


CAR = EvSession(
    **COMMON,
    session_id="s",
    arrival=at(0.5),
    departure=at(3),
    energy_needed_kwh=9,
    charge_limit_kw=10,
    charge_efficiency=0.9,
)


def test_a_car_charges_in_its_cheapest_hours_and_only_while_plugged_in() -> None:
    """9 kWh at the battery are 10 kWh from the grid.  Hour 0 is cheapest but plugged in for half: 5 kW; then hour 2."""
    plan = solve(city([CAR], [0.1, 0.9, 0.5, 0.0]))
    assert power(plan) == pytest.approx([5, 0, 5, 0])
    assert plan.objective_cny == pytest.approx(0.5 + 2.5)
    assert plan.energy_kwh[0, :3] == pytest.approx([4.5, 4.5, 9.0])
    assert np.isnan(plan.energy_kwh[0, 3])


def test_a_car_that_leaves_after_the_horizon_may_charge_in_the_virtual_slot_at_the_mean_price() -> None:
    """Prices 0.4, 1.0, mean 0.7; leaves half an hour after the end: the slot takes 5 kWh, hour 0 the other 5.

    Hour 0 alone could take all 10 kWh, at 0.4 < 0.7; with a limit of 6 kW it takes 6, the slot 3, hour 1 1 kWh.
    """
    slow = CAR.model_copy(update={"arrival": at(0), "departure": at(2.5), "charge_limit_kw": 6.0})
    plan = solve(city([slow], [0.4, 1.0]))
    assert power(plan) == pytest.approx([6, 1])
    assert plan.objective_cny == pytest.approx(2.4 + 1.0 + 3 * 0.7)
    assert plan.baseline_cost_cny == pytest.approx(plan.objective_cny)


def test_a_car_that_can_feeds_back_at_the_dear_hour_and_leaves_with_what_it_needs() -> None:
    """Lossless, 5 kWh on arrival, 5 more needed, 10 kW both ways, capacity 10, wear 0.1; prices 1, 0.1.

    Sell the 5 kWh first (wear 0.1), then charge 10: -5 + 0.5 + 1 + 1 = -2.5.
    """
    both = CAR.model_copy(
        update={
            "arrival": at(0),
            "departure": at(2),
            "energy_needed_kwh": 5.0,
            "charge_efficiency": 1.0,
            "discharge_limit_kw": 10.0,
            "battery_capacity_kwh": 10.0,
            "battery_start_kwh": 5.0,
            "wear_cost_per_kwh": 0.1,
        }
    )
    plan = solve(city([both], [1.0, 0.1]))
    assert power(plan) == pytest.approx([-5, 10])
    assert plan.energy_kwh[0] == pytest.approx([0, 10])
    assert plan.objective_cny == pytest.approx(-5 + 0.5 + 1 + 1)


CURTAILABLE = CurtailableLoad(
    **COMMON,
    baseline_profile="p",
    baseline_scale_kw=100,
    cost_per_kwh=2,
    curtail_share=0.4,
    energy_limit_kwh=1000,
    hours_limit_h=10,
)


def test_a_curtailed_load_gives_what_is_ordered_and_takes_part_of_it_back() -> None:
    """Target 30 in hour 1; half of it returns in the two hours after, 7.5 kW each.

    Tariff 1: 4 · 100 - 30 + 15 = 385 kWh, and 30 · 2 = 60 for the curtailment.
    """
    back = CURTAILABLE.model_copy(update={"rebound_share": 0.5, "rebound_hours_h": 2.0})
    plan = solve(city([back], [1.0] * 4, target_kw=[0, 30, 0, 0]))
    assert power(plan) == pytest.approx([100, 70, 107.5, 107.5])
    assert plan.objective_cny == pytest.approx(385 + 60)


def test_equivalent_hours_are_counted_in_full_reductions_and_the_rest_is_a_named_shortfall() -> None:
    """Half an equivalent hour of 40 kW is 20 kWh: 30 are ordered, 10 are missing, at 50 each."""
    short = CURTAILABLE.model_copy(update={"hours_limit_h": 0.5})
    plan = solve(city([short], [1.0] * 2, target_kw=[0, 30]))
    assert power(plan) == pytest.approx([100, 80])
    (missing,) = plan.unmet
    assert missing.requirement is Requirement.EVENT_TARGET
    assert missing.amount == pytest.approx(10)
    assert plan.objective_cny == pytest.approx(180 + 40 + 500)


def test_notice_counts_from_the_hour_of_issue() -> None:
    """Two hours of notice from hour 0: hours 0 and 1 cannot be helped, hour 2 can."""
    slow = CURTAILABLE.model_copy(update={"notice_h": 2.0})
    plan = solve(city([slow], [1.0] * 3, target_kw=[10, 10, 10]))
    assert power(plan) == pytest.approx([100, 100, 90])


def test_one_call_a_day_is_one_contiguous_call() -> None:
    """Two events, hours 0 and 2, one call: it runs through hour 1 (at a hair's breadth) or one event is missed.

    A call through three hours costs 10 · 2 twice and in between next to nothing, since r may be anything above 0.
    """
    once = CURTAILABLE.model_copy(update={"calls_per_day": 1, "rest_h": 1.0})
    events = tuple(Event(event_id=f"e{k}", start=at(k), end=at(k + 1), target_kw=10, issued_at=at(0)) for k in (0, 2))
    plan = solve(city([once], [1.0] * 3, events=events))
    assert power(plan)[[0, 2]] == pytest.approx([90, 90])
    assert not plan.unmet


BLOCK = InterruptibleLoad(
    **COMMON,
    baseline_profile="p",
    baseline_scale_kw=100,
    cost_per_kwh=2,
    block_kw=30,
    shortest_h=2,
    longest_h=2,
    calls_per_day=1,
)


def test_a_block_is_off_for_its_shortest_time_though_one_hour_was_asked() -> None:
    """30 kW for two hours, one of them for nothing: 2 · 30 · 2 = 120 for the block, 340 for the energy."""
    plan = solve(city([BLOCK], [1.0] * 4, target_kw=[0, 0, 30, 0]))
    assert sorted(power(plan)) == pytest.approx([70, 70, 100, 100])
    assert power(plan)[2] == pytest.approx(70)
    assert plan.objective_cny == pytest.approx(340 + 120)


def test_an_interruption_ends_at_its_longest_and_needs_its_rest() -> None:
    """Four hours ordered, two is the longest, one rest hour, two calls: at most hours 0, 1 and 3 ... but 3 has no
    room for its shortest two hours, so the best is two hours of four."""
    twice = BLOCK.model_copy(update={"calls_per_day": 2, "rest_h": 1.0})
    plan = solve(city([twice], [1.0] * 4, target_kw=[30, 30, 30, 30]))
    assert np.count_nonzero(power(plan) < 99) == 2
    assert sum(row.amount for row in plan.unmet) == pytest.approx(60)


def test_a_running_interruption_goes_on_for_its_shortest_time() -> None:
    """Interrupted for an hour already, shortest two: hour 0 stays off, then nothing asks for more."""
    running = city([BLOCK], [1.0] * 3, states={"x": ResourceState(on=True, hours_in_state_h=1.0, calls_used=1)})
    assert power(solve(running)) == pytest.approx([70, 100, 100])


PROCESS = ShiftableLoad(
    **COMMON,
    window_start=at(0),
    window_end=at(3),
    energy_kwh=20,
    power_min_kw=2,
    power_max_kw=10,
    preferred_start=at(0),
    cost_per_kwh=0.0,
)


def test_a_process_runs_at_its_minimum_in_the_dear_hour() -> None:
    """20 kWh in three hours, 2 to 10 kW: the dear hour 1 gets 2, the cheapest 10, the rest 8; hour 3 is outside."""
    plan = solve(city([PROCESS], [0.5, 0.9, 0.1, 0.0]))
    assert power(plan) == pytest.approx([8, 2, 10, 0])


def test_leaving_the_preferred_run_costs_half_of_all_that_moves() -> None:
    """Preferred 10, 10, 0.  Moving 1 kWh to hour 2 saves 0.4 and costs ½ · (1 + 1) · c: it pays for c = 0.3 only.

    At least 2 kWh move in any case (the minimum holds throughout the window).
    """
    stays = solve(city([PROCESS.model_copy(update={"cost_per_kwh": 0.5})], [0.5, 0.5, 0.1]))
    assert power(stays).sum() == pytest.approx(20)
    assert power(stays)[2] == pytest.approx(2)
    assert stays.objective_cny == pytest.approx(18 * 0.5 + 2 * 0.1 + 2 * 0.5)
    moves = solve(city([PROCESS.model_copy(update={"cost_per_kwh": 0.3})], [0.5, 0.5, 0.1]))
    assert power(moves)[2] == pytest.approx(10)


def test_a_run_keeps_its_shape_and_begins_where_it_is_cheapest() -> None:
    """Shape 1, 0.5 at 10 kW; starts 0, 1, 2 cost 10·0.5+5·0.9, 10·0.9+5·0.1, 10·0.1+5·0.2 = 9.5, 9.5, 2."""
    run = PROCESS.model_copy(update={"run_profile": "r", "energy_kwh": 15.0, "power_min_kw": 0.0, "window_end": at(4)})
    plan = solve(city([run], [0.5, 0.9, 0.1, 0.2], run_profiles={"r": np.array([1.0, 0.5])}))
    assert power(plan) == pytest.approx([0, 0, 10, 5])
    assert plan.objective_cny == pytest.approx(2)


ROOM = ThermalLoad(
    **COMMON,
    baseline_profile="p",
    baseline_scale_kw=10,
    increase_limit_kw=4,
    decrease_limit_kw=6,
    store_low_kwh=3,
    store_high_kwh=2,
    store_end_min_kwh=0,
    decay_per_hour=0.0,
    discomfort_cost_per_kwh=0.1,
)


def test_a_room_is_cooled_before_the_dear_hour_and_is_comfortable_at_the_end() -> None:
    """Prices 0.1, 1, 0.1 without leakage: cool ahead by 2 (store high), go down to -3 (5 less), then 3 more.

    Energy 12·0.1 + 5·1 + 13·0.1 = 7.5 and discomfort 5 · 0.1.
    """
    plan = solve(city([ROOM], [0.1, 1.0, 0.1]))
    assert power(plan) == pytest.approx([12, 5, 13])
    assert plan.energy_kwh[0] == pytest.approx([2, -3, 0])
    assert plan.objective_cny == pytest.approx(7.5 + 0.5)
    assert plan.baseline_kw[0] == pytest.approx([10, 10, 10])


def test_what_was_cooled_ahead_leaks() -> None:
    """Decay ln 2 per hour: half is lost in an hour.  2 kW more store 2 · 0.5 / ln 2 kWh; half stays."""
    leaky = ROOM.model_copy(update={"decay_per_hour": float(np.log(2))})
    plan = solve(city([leaky], [0.1, 1.0, 0.1]))
    change = power(plan) - 10
    level = 0.0
    for t in range(3):
        level = 0.5 * level + 0.5 / np.log(2) * change[t]
        assert plan.energy_kwh[0, t] == pytest.approx(level)


ENGINE = Generator(
    **COMMON,
    power_min_kw=4,
    power_max_kw=10,
    cost_per_kwh=0.5,
    start_cost=1,
    no_load_cost_per_h=0.2,
    ramp_kw_per_h=6,
    minimum_up_h=2,
    minimum_down_h=1,
)


def test_an_engine_starts_where_it_pays_and_stays_on_for_its_minimum_time() -> None:
    """Prices 0, 0, 2, 0, and 2 hours at least.  Start jump max(4, 6) = 6, stop jump 6.

    One hour at 2 earns (2 - 0.5) per kWh; starting in hour 1 at 4 reaches 10 in hour 2 (+6), then it may not stop from
    10 (stop jump 6), so hour 3 is on at 4: costs -10·1.5 + (4 + 4)·0.5 + 3·0.2 + 1 = -9.4.  Hours 2-3: 6 then 4:
    -6·1.5 + 4·0.5 + 2·0.2 + 1 = -5.6.  Hours 1-2: from 6 in hour 2 down to 0: -6·1.5+2+.4+1 = -5.6.
    """
    plan = solve(city([ENGINE], [0.0, 0.0, 2.0, 0.0]))
    assert power(plan) == pytest.approx([0, -4, -10, -4])
    assert plan.objective_cny == pytest.approx(-9.4)


def test_an_engine_that_runs_may_not_stop_before_its_time() -> None:
    """On for an hour of two at 4 kW, price 0: on in hour 0 at its minimum, off after: 4 · 0.5 + 0.2 = 2.2."""
    state = {"x": ResourceState(on=True, hours_in_state_h=1.0, power_kw=-4.0)}
    plan = solve(city([ENGINE], [0.0, 0.0], states=state))
    assert power(plan) == pytest.approx([-4, 0])
    assert plan.objective_cny == pytest.approx(2.2)


def test_the_sun_is_curtailed_only_where_feeding_in_costs_more() -> None:
    """Price -0.5 against a price of 0.2 for curtailing: curtail; at -0.1: feed in and pay."""
    plant = Pv(**COMMON, available_profile="p", available_scale_kw=8, curtail_cost_per_kwh=0.2)
    plan = solve(city([plant], [0.6, -0.5, -0.1]))
    assert power(plan) == pytest.approx([-8, 0, -8])
    assert plan.objective_cny == pytest.approx(-4.8 + 8 * 0.2 + 0.8)


def test_a_zone_limit_that_cannot_hold_is_an_overload_with_a_name_and_a_price() -> None:
    """100 kW of load under a limit of 95, of which a room can give 3 kWh once: 2 kW are over, at 100 each."""
    still = ROOM.model_copy(update={"store_end_min_kwh": -3.0})
    plan = solve(city([still], [0.0], load_kw=88.0, limit_kw=93.0))
    (over,) = plan.unmet
    assert over.requirement is Requirement.ZONE_LIMIT
    assert over.amount == pytest.approx(2)
    assert plan.objective_cny == pytest.approx(200 + 0.3)
    (price,) = plan.prices
    assert price.amount == pytest.approx(100)


def test_delivery_is_counted_with_reliability_and_not_beyond_the_band() -> None:
    """ρ = 0.5, target 10: 20 kW must be ordered; the band's top is 11 expected, 22 ordered."""
    half = CURTAILABLE.model_copy(update={"reliability_fraction": 0.5})
    plan = solve(city([half], [1.0], target_kw=[10]))
    assert power(plan) == pytest.approx([80])


def test_filling_a_valley_counts_what_is_consumed_more() -> None:
    """A room may take 4 kW more for one hour, up to 2 kWh: 2 of the 3 ordered, 1 missing."""
    fill = Event(event_id="f", direction=Direction.FILL, start=at(0), end=at(1), target_kw=3)
    free = ROOM.model_copy(update={"store_end_min_kwh": -3.0})
    plan = solve(city([free], [0.0], events=(fill,)))
    assert power(plan) == pytest.approx([12])
    assert plan.unmet[0].amount == pytest.approx(1)


def test_after_the_event_the_city_stays_below_its_cap() -> None:
    """What is given up in hour 0 comes back in hour 1, where 110 kW are allowed; 30 kWh may be given up in all.

    r_0 + r_1 ≤ 30 and 100 + r_0 - r_1 ≤ 110: r_0 = 20, r_1 = 10, and 10 of the 30 ordered are missing.
    One kWh more in the event would cost 100 afterwards, and saves 50.
    """
    back = CURTAILABLE.model_copy(update={"rebound_share": 1.0, "rebound_hours_h": 1.0, "energy_limit_kwh": 30.0})
    event = Event(event_id="e", start=at(0), end=at(1), target_kw=30, rebound_cap_kw=110.0)
    plan = solve(city([back], [0.0, 0.0], events=(event,)))
    assert power(plan) == pytest.approx([80, 110])
    (missing,) = plan.unmet
    assert missing.amount == pytest.approx(10)


def test_a_commitment_is_kept_within_its_band() -> None:
    """No target, 20 accepted: at least 18 are delivered, and no more since curtailing costs 2."""
    event = Event(event_id="e", start=at(0), end=at(1), target_kw=0)
    accepted = Commitment(event_id="e", aggregator_id="a", interval_start=at(0), accepted_kw=20)
    plan = solve(city([CURTAILABLE], [0.0], events=(event,), commitments=(accepted,), penalties=Penalties()))
    # With a target of 0, M3 allows 1.10 x 0: 18 kW of excess at 5 are cheaper than the slack of M5 at 20.
    assert power(plan) == pytest.approx([82])


def test_in_real_time_a_setpoint_stays_where_switching_costs_more_than_it_saves() -> None:
    """A battery at rest may earn 10 · 0.05 by charging before 1 h of price 0.15; a switch costs 10 · 0.1."""
    lossless = BATTERY.model_copy(update={"charge_efficiency": 1.0, "discharge_efficiency": 1.0})
    problem = city([lossless], [0.10, 0.15], penalties=Penalties(switch_cost_per_kw=0.1))
    terms = RealTimeTerms(np.array([0.0]), np.full((1, 2), np.nan), np.ones(2))
    assert power(solve(replace(problem, real_time=terms))) == pytest.approx([0, 0])
    free = replace(problem, real_time=terms, penalties=Penalties(switch_cost_per_kw=0.01))
    assert power(solve(free)) == pytest.approx([8, -8])


def test_outside_events_a_replan_strays_only_for_a_reason() -> None:
    """Plan 5, -5; prices 0.1 and 0.2: 3 kWh more each way gain 0.3 and stray by 6 kWh: it pays below 0.05 each."""
    lossless = BATTERY.model_copy(update={"charge_efficiency": 1.0, "discharge_efficiency": 1.0})
    terms = RealTimeTerms(np.array([np.nan]), np.array([[5.0, -5.0]]), np.ones(2))
    for stray, answer in ((0.06, [5, -5]), (0.04, [8, -8])):
        problem = city([lossless], [0.1, 0.2], real_time=terms, penalties=Penalties(stray_cost_per_kwh=stray))
        assert power(solve(problem)) == pytest.approx(answer)
