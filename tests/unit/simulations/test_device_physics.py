"""Devices by themselves: energy, limits, comfort, and dice that know nothing of orders."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np
import pytest

from simulations.devices.bank import DeviceBank
from simulations.devices.base import DeviceGroup
from simulations.devices.battery import BatteryGroup
from simulations.devices.building import BuildingGroup
from simulations.devices.charger import ChargerGroup
from simulations.devices.dice import keys_of, normal, off_by, smooth, uniform
from simulations.devices.generator import GeneratorGroup
from simulations.devices.industry import InterruptibleGroup
from simulations.devices.process import ProcessGroup
from simulations.devices.pv import PvGroup
from simulations.devices.residential import ResidentialGroup
from simulations.devices.thermal_masses import ThermalMasses
from simulations.scenarios import Scenario
from simulations.scenarios.generator import GeneratedFleet, generate_fleet

Ids = Callable[[str], list[str]]
STEP = timedelta(minutes=5)


def group_of(bank: DeviceBank, name: str) -> DeviceGroup:
    return next(group for group in bank.groups if group.class_id == name)


def order_all(bank: DeviceBank, ids: list[str], power_kw: float | None, start: datetime, end: datetime) -> None:
    for each in ids:
        bank.command(each, power_kw, start, end)


def rows(bank: DeviceBank, ids: list[str]) -> list[int]:
    return [bank.row_of[each] for each in ids]


# ---- dice


def test_dice_depend_on_seed_name_purpose_and_index_alone() -> None:
    keys = keys_of(["a", "b", "c"], 1)
    assert np.array_equal(uniform(keys, "x", 3), uniform(keys, "x", 3))
    assert np.array_equal(uniform(keys[1:2], "x", 3), uniform(keys, "x", 3)[1:2])
    for other in (uniform(keys, "y", 3), uniform(keys, "x", 4), uniform(keys_of(["a", "b", "c"], 2), "x", 3)):
        assert not np.isclose(uniform(keys, "x", 3), other).any()


def test_dice_are_fair() -> None:
    keys = keys_of((f"d{k}" for k in range(20_000)), 7)
    even, bell = uniform(keys, "even"), normal(keys, "bell")
    assert even.min() > 0
    assert even.max() < 1
    assert abs(even.mean() - 0.5) < 0.01
    assert abs(bell.mean()) < 0.03
    assert abs(bell.std() - 1) < 0.03
    assert abs(np.corrcoef(uniform(keys, "even", 1), even)[0, 1]) < 0.03


def test_wandering_noise_is_continuous() -> None:
    keys = keys_of(["a"], 1)
    before, at, behind = (smooth(keys, "w", second, 600.0)[0] for second in (1199.999, 1200.0, 1200.001))
    assert before == pytest.approx(at, abs=1e-4)
    assert behind == pytest.approx(at, abs=1e-4)


def test_truth_lies_ten_to_twenty_percent_off() -> None:
    factors = off_by(keys_of((f"d{k}" for k in range(500)), 1), "size")
    assert ((np.abs(factors - 1) >= 0.10) & (np.abs(factors - 1) <= 0.20)).all()
    assert 0.4 < (factors > 1).mean() < 0.6
    assert (off_by(keys_of(["a", "b"], 1), "size", sign=-1) < 1).all()


# ---- the counterfactual


def test_without_orders_a_copy_of_the_world_lives_the_same_day(bank: DeviceBank, scenario: Scenario) -> None:
    other = bank.copy()
    start, end = bank.now, scenario.local(14)
    bank.advance(end)
    other.advance(end)
    assert np.array_equal(bank.true_power_kw(start, end)[1], other.true_power_kw(start, end)[1])


def test_orders_to_some_change_nothing_for_the_others_nor_who_arrives(
    bank: DeviceBank, scenario: Scenario, ids_of: Ids
) -> None:
    other = bank.copy()
    start, end = bank.now, scenario.local(24)
    ordered = [*ids_of("depot"), *ids_of("hvac"), *ids_of("grid-storage"), *ids_of("factory")]
    for world, gives in ((bank, True), (other, False)):
        world.advance(scenario.local(13))
        if gives:
            order_all(world, ordered, 0.0, scenario.local(13), scenario.local(14))
        world.advance(end)
    untouched = [k for k, name in enumerate(bank.resource_ids) if name not in set(ordered)]
    mine, theirs = bank.true_power_kw(start, end)[1], other.true_power_kw(start, end)[1]
    assert np.array_equal(mine[untouched], theirs[untouched])
    assert not np.allclose(mine[rows(bank, ordered)], theirs[rows(bank, ordered)])
    assert [stay.visit for stay in bank.ended_stays] == [stay.visit for stay in other.ended_stays]


def test_coarse_and_fine_steps_tell_the_same_story(bank: DeviceBank, scenario: Scenario) -> None:
    coarse = bank.copy()
    start, end = bank.now, scenario.local(20)
    bank.advance(end, 60.0)
    coarse.advance(end, 300.0)
    fine_kwh = bank.true_power_kw(start, end)[1].sum() / 12
    assert coarse.true_power_kw(start, end)[1].sum() / 12 == pytest.approx(fine_kwh, rel=0.02)


def test_an_order_ends_by_itself(bank: DeviceBank, scenario: Scenario, ids_of: Ids) -> None:
    ids = ids_of("grid-storage")
    bank.advance(scenario.local(9), 300.0)
    order_all(bank, ids, -50.0, scenario.local(9), scenario.local(9.5))
    bank.advance(scenario.local(10))
    _, power = bank.true_power_kw(scenario.local(9), scenario.local(10))
    assert np.allclose(power[rows(bank, ids), :6], -50.0)
    assert np.allclose(power[rows(bank, ids), 6:], 0.0)


def test_an_order_for_later_waits_and_a_release_frees_at_once(
    bank: DeviceBank, scenario: Scenario, ids_of: Ids
) -> None:
    one = ids_of("grid-storage")[:1]
    bank.advance(scenario.local(9), 300.0)
    order_all(bank, one, -20.0, scenario.local(9), scenario.local(11))
    order_all(bank, one, -40.0, scenario.local(9.25), scenario.local(11))
    bank.advance(scenario.local(9.5))
    order_all(bank, one, None, scenario.local(9.5), scenario.local(11))
    bank.advance(scenario.local(9.75))
    power = bank.true_power_kw(scenario.local(9), scenario.local(9.75))[1][bank.row_of[one[0]]]
    assert power == pytest.approx([-20.0] * 3 + [-40.0] * 3 + [0.0] * 3)


# ---- batteries


@pytest.mark.parametrize("name", ["grid-storage", "user-storage", "telecom"])
def test_a_battery_neither_makes_nor_loses_energy_unaccounted(
    name: str, bank: DeviceBank, scenario: Scenario, ids_of: Ids
) -> None:
    group = group_of(bank, name)
    assert isinstance(group, BatteryGroup)
    bank.advance(scenario.local(8), 300.0)
    before, lost_before = group.energy_kwh.copy(), group.lost_kwh.copy()
    for hour, power in ((8, -1e4), (10, 1e4), (12, -3.0), (14, 2.0)):
        order_all(bank, ids_of(name), power, scenario.local(hour), scenario.local(hour + 2))
        bank.advance(scenario.local(hour + 2))
    _, power_kw = bank.true_power_kw(scenario.local(8), scenario.local(16))
    drawn = power_kw[rows(bank, ids_of(name))].sum(axis=1) / 12
    assert np.allclose(drawn, group.energy_kwh - before + group.lost_kwh - lost_before, atol=1e-6)
    assert (group.lost_kwh > lost_before).all()


def test_a_battery_stays_within_its_true_capacity_and_tapers_at_both_ends(
    bank: DeviceBank, scenario: Scenario, ids_of: Ids
) -> None:
    group = group_of(bank, "grid-storage")
    assert isinstance(group, BatteryGroup)
    ids = ids_of("grid-storage")
    bank.advance(scenario.local(8))
    for power, hour in ((-1e4, 8), (1e4, 12)):
        for step in range(48):
            at = scenario.local(hour) + step * STEP
            order_all(bank, ids, power, at, at + STEP)
            bank.advance(at + STEP)
            assert (group.energy_kwh <= group.truth.capacity_kwh + 1e-9).all()
            assert (group.energy_kwh >= group.truth.floor_fraction * group.truth.capacity_kwh * 0.99).all()
    charging = bank.true_power_kw(scenario.local(12), scenario.local(16))[1][rows(bank, ids)]
    assert (charging[:, 0] > 0.9 * group.truth.charge_limit_kw).all()
    assert (charging[:, -1] < 0.5 * charging[:, 0]).all()
    assert (group.truth.capacity_kwh < 0.91 * group.truth.nameplate_kwh).all()


def test_the_meter_of_a_battery_drifts_away_from_the_truth(bank: DeviceBank, scenario: Scenario, ids_of: Ids) -> None:
    group = group_of(bank, "grid-storage")
    assert isinstance(group, BatteryGroup)
    reading = bank.advance(scenario.local(10))
    believed = reading.energy_kwh[rows(bank, ids_of("grid-storage"))]
    assert (np.abs(believed - group.energy_kwh) > 1.0).all()
    assert (np.abs(group.meter_drift) > 0).all()


# ---- cooling


def test_two_masses_keep_account_of_their_heat() -> None:
    masses = ThermalMasses(np.array([0.5]), np.array([3.0]), np.array([1.0]), np.array([12.0]))
    air, mass = np.array([26.0]), np.array([27.0])
    before = masses.heat_content_kwh(air, mass)
    inflow = 0.0
    for _ in range(1000):
        mean_air = air
        air, mass = masses.after(0.001, air, mass, np.array([0.5 * 35 + 4.0]), np.array([2.0]))
        inflow += 0.001 * (0.5 * 35 + 4.0 + 2.0 - 0.5 * 0.5 * (mean_air[0] + air[0]))
    assert masses.heat_content_kwh(air, mass)[0] - before[0] == pytest.approx(inflow, rel=1e-5)


def test_one_long_step_of_the_masses_equals_many_short_ones() -> None:
    masses = ThermalMasses(np.array([0.5]), np.array([3.0]), np.array([1.0]), np.array([12.0]))
    gains = (np.array([20.0]), np.array([1.0]))
    once = masses.after(1.0, np.array([26.0]), np.array([27.0]), *gains)
    air, mass = np.array([26.0]), np.array([27.0])
    for _ in range(60):
        air, mass = masses.after(1 / 60, air, mass, *gains)
    assert air == pytest.approx(once[0])
    assert mass == pytest.approx(once[1])


def test_a_building_gives_up_power_only_within_comfort_and_takes_some_back(
    bank: DeviceBank, scenario: Scenario, ids_of: Ids
) -> None:
    group = group_of(bank, "hvac")
    assert isinstance(group, BuildingGroup)
    ids = ids_of("hvac")
    bank.advance(scenario.local(13), 300.0)
    own = bank.copy()
    truth = group.truth
    warmest = group.air_celsius.copy()
    for step in range(12):
        at = scenario.local(13) + step * STEP
        order_all(bank, ids, 0.0, at, at + STEP)
        bank.advance(at + STEP)
        warmest = np.maximum(warmest, group.air_celsius)
    bank.advance(scenario.local(17))
    own.advance(scenario.local(17))
    given = (
        own.true_power_kw(scenario.local(13), scenario.local(17))[1]
        - bank.true_power_kw(scenario.local(13), scenario.local(17))[1]
    )
    given = given[rows(bank, ids)].sum(axis=0)
    assert given[:6].mean() > 0
    open_now = group.is_open(13.5) > 0
    assert (warmest[open_now] <= (truth.set_celsius + truth.band_k)[open_now] + 0.35).all()
    assert (warmest[open_now] > (truth.set_celsius + 0.8 * truth.band_k)[open_now]).all()
    returned = -given[12:36].sum() / given[:12].sum()
    assert 0.1 < returned < 0.9


def test_a_building_pre_cools_when_ordered_up_and_not_below_comfort(
    bank: DeviceBank, scenario: Scenario, ids_of: Ids
) -> None:
    group = group_of(bank, "hvac")
    assert isinstance(group, BuildingGroup)
    bank.advance(scenario.local(11), 300.0)
    before = group.air_celsius.copy()
    order_all(bank, ids_of("hvac"), 1e4, scenario.local(11), scenario.local(12.5))
    bank.advance(scenario.local(12.5))
    always = group.is_open(12.0) > 0
    assert (group.air_celsius < before - 0.5)[always].mean() > 0.5
    assert (group.air_celsius > group.truth.set_celsius - group.truth.band_k - 0.35).all()


def test_a_building_at_its_limit_says_so_and_refuses(bank: DeviceBank, scenario: Scenario, ids_of: Ids) -> None:
    group = group_of(bank, "hvac")
    assert isinstance(group, BuildingGroup)
    ids = ids_of("hvac")
    bank.advance(scenario.local(13), 300.0)
    order_all(bank, ids, 0.0, scenario.local(13), scenario.local(16))
    reading = bank.advance(scenario.local(15))
    left = [each for each in ids if not reading.available[bank.row_of[each]]]
    assert left
    objection = bank.command(left[0], 0.0, scenario.local(15), scenario.local(16))
    assert objection is not None
    assert "comfort" in objection


def test_home_air_conditioners_cycle_and_keep_their_rooms(bank: DeviceBank, scenario: Scenario, ids_of: Ids) -> None:
    group = group_of(bank, "home-ac")
    assert isinstance(group, ResidentialGroup)
    switched = 0
    bank.advance(scenario.local(21), 300.0)
    for minute in range(60):
        before = group.is_on.copy()
        bank.advance(scenario.local(21) + timedelta(minutes=minute + 1))
        switched += int((group.is_on != before).sum())
    assert switched > len(group) / 2
    home = group.at_home(scenario.surroundings(scenario.local(21.9).timestamp(), scenario.local(22).timestamp())) > 0
    cool = group.air_celsius[home] < group.truth.set_celsius[home] + 1.5
    assert cool.mean() > 0.9


def test_home_air_conditioners_follow_a_mean_order_by_switching(
    bank: DeviceBank, scenario: Scenario, ids_of: Ids
) -> None:
    ids = ids_of("home-ac")
    bank.advance(scenario.local(21.5), 300.0)
    own = bank.copy()
    own.advance(scenario.local(22))
    before = own.true_power_kw(scenario.local(21.5), scenario.local(22))[1][rows(bank, ids)].mean(axis=1)
    for each, power in zip(ids, before, strict=True):
        bank.command(each, 0.7 * float(power), scenario.local(21.5), scenario.local(22))
    bank.advance(scenario.local(22))
    after = bank.true_power_kw(scenario.local(21.5), scenario.local(22))[1][rows(bank, ids)].mean(axis=1)
    assert after.sum() == pytest.approx(0.7 * before.sum(), rel=0.15)


# ---- chargers


def test_every_car_that_stays_as_said_leaves_with_what_it_needed(bank: DeviceBank, scenario: Scenario) -> None:
    bank.advance(scenario.local(36))
    stays = bank.ended_stays
    assert len(stays) > 30
    patient = [stay for stay in stays if stay.visit.leaves_s == stay.visit.departure_s]
    early = [stay for stay in stays if stay.visit.leaves_s < stay.visit.departure_s]
    assert 0.03 < len(early) / len(stays) < 0.3
    served = [stay.delivered_kwh / stay.visit.needed_kwh for stay in patient]
    assert max(served) < 1 + 1e-6
    assert np.mean([share > 0.95 for share in served]) > 0.85


def test_charging_tapers_above_four_fifths_and_stops_at_the_wish(bank: DeviceBank, scenario: Scenario) -> None:
    group = group_of(bank, "depot")
    assert isinstance(group, ChargerGroup)
    bank.advance(scenario.local(20), 300.0)
    tapered = 0
    for step in range(60):
        socs = np.where(group._visit_columns[2] > 0, group.level_kwh / np.maximum(group._visit_columns[2], 1), 0)
        bank.advance(scenario.local(20) + (step + 1) * STEP)
        power = bank.true_power_kw(bank.now - STEP, bank.now)[1][rows(bank, list(group.resource_ids)), 0]
        high = (socs > 0.85) & (power > 0)
        assert (power[high] < 0.85 * group.truth.charge_limit_kw[high]).all()
        tapered += int(high.sum())
        wish = group._visit_columns[3]
        assert (group.level_kwh <= wish + 1e-6).all()
    assert tapered > 0


def test_v2g_feeds_back_what_the_battery_holds_and_no_more(bank: DeviceBank, scenario: Scenario, ids_of: Ids) -> None:
    group = group_of(bank, "v2g")
    assert isinstance(group, ChargerGroup)
    bank.advance(scenario.local(21.5), 300.0)
    order_all(bank, ids_of("v2g"), -1e3, scenario.local(21.5), scenario.local(26))
    bank.advance(scenario.local(26))
    power = bank.true_power_kw(scenario.local(21.5), scenario.local(26))[1][rows(bank, ids_of("v2g"))]
    assert power.min() < -5
    assert (group.level_kwh >= -1e-9).all()
    assert (power.min(axis=1) >= -group.truth.discharge_limit_kw - 1e-9).all()


# ---- industry, processes, generators, sun, lamps


def test_a_factory_ramps_down_stays_off_its_shortest_time_and_comes_back(
    bank: DeviceBank, scenario: Scenario, ids_of: Ids
) -> None:
    group = group_of(bank, "factory")
    assert isinstance(group, InterruptibleGroup)
    ids = ids_of("factory")
    bank.advance(scenario.local(14), 300.0)
    for step in range(2):
        at = scenario.local(14) + step * STEP
        order_all(bank, ids, 0.0, at, at + STEP)
        bank.advance(at + STEP)
    off = group.is_off.copy()
    assert off.any()
    assert (group.running_share[off] > 0).any()  # still running down
    bank.advance(scenario.local(14.5))
    assert group.is_off[off].all()  # released long ago, but the shortest time is not over
    bank.advance(scenario.local(16.5))
    assert not group.is_off.any()
    assert np.allclose(group.running_share, 1.0)


def test_a_factory_starts_again_by_itself_after_its_longest_time(
    bank: DeviceBank, scenario: Scenario, ids_of: Ids
) -> None:
    group = group_of(bank, "factory")
    assert isinstance(group, InterruptibleGroup)
    bank.advance(scenario.local(10), 300.0)
    order_all(bank, ids_of("factory"), 0.0, scenario.local(10), scenario.local(16))
    bank.advance(scenario.local(11))
    assert group.is_off.any()
    bank.advance(scenario.local(15.5))
    assert (group.in_state_h[group.is_off] < 2.0).all()


def test_the_work_of_a_process_is_done_whatever_is_ordered(bank: DeviceBank, scenario: Scenario, ids_of: Ids) -> None:
    for name in ("pump", "batch"):
        group = group_of(bank, name)
        assert isinstance(group, ProcessGroup)
        order_all(bank, ids_of(name), 0.0, scenario.local(0), scenario.local(24))
    bank.advance(scenario.local(23.5))
    for name in ("pump", "batch"):
        group = group_of(bank, name)
        assert isinstance(group, ProcessGroup)
        assert (group.done_kwh > 0.93 * group.truth.energy_kwh).all()


def test_a_batch_that_has_begun_is_not_broken(bank: DeviceBank, scenario: Scenario, ids_of: Ids) -> None:
    one = ids_of("batch")[0]
    bank.advance(scenario.local(9), 300.0)
    bank.command(one, 1e3, scenario.local(9), scenario.local(9.1))
    bank.advance(scenario.local(10))
    assert bank.command(one, 0.0, scenario.local(10), scenario.local(11)) is not None
    bank.advance(scenario.local(11))
    power = bank.true_power_kw(scenario.local(9), scenario.local(11))[1][bank.row_of[one]]
    assert power[1:].min() > 0


def test_a_backup_set_starts_late_ramps_and_keeps_its_minimum(
    bank: DeviceBank, scenario: Scenario, ids_of: Ids
) -> None:
    group = group_of(bank, "backup")
    assert isinstance(group, GeneratorGroup)
    ids = ids_of("backup")
    bank.advance(scenario.local(13), 300.0)
    order_all(bank, ids, -1e4, scenario.local(13), scenario.local(14))
    bank.advance(scenario.local(13) + timedelta(minutes=1))
    assert (group.output_kw == 0).all()
    bank.advance(scenario.local(13.75))
    running = group.output_kw > 0
    assert running.any()
    assert np.allclose(group.output_kw[running], group.truth.power_max_kw[running], rtol=1e-6)
    bank.advance(scenario.local(14.5))
    assert (group.output_kw == 0).all()


def test_starts_fail_at_about_the_stated_rate(scenario: Scenario) -> None:
    fleet = generate_fleet(scenario, resources=6000, start=scenario.midnight(scenario.day))
    group = group_of(fleet.bank, "backup")
    assert isinstance(group, GeneratorGroup)
    tried = 0
    for hour in range(40):
        start = fleet.bank.now.timestamp() + 3600 * hour
        for index in range(len(group)):
            group.orders.give(index, -1e4, start, start + 900, start)
        group.step(scenario.surroundings(start, start + 60))
        group.step(scenario.surroundings(start + 1800, start + 1860))
        tried += len(group)
    assert 0.005 < group.failed_starts / tried < 0.07


def test_the_sun_is_capped_but_not_made(bank: DeviceBank, scenario: Scenario, ids_of: Ids) -> None:
    group = group_of(bank, "solar")
    assert isinstance(group, PvGroup)
    bank.advance(scenario.local(12), 300.0)
    order_all(bank, ids_of("solar"), -5.0, scenario.local(12), scenario.local(12.5))
    bank.advance(scenario.local(13))
    power = bank.true_power_kw(scenario.local(12), scenario.local(13))[1][rows(bank, ids_of("solar"))]
    assert np.allclose(power[:, :6], -5.0)
    assert (power[:, 6:] < -5.0).all()
    assert (bank.true_power_kw(scenario.local(2), scenario.local(3))[1][rows(bank, ids_of("solar"))] == 0).all()


def test_lamps_burn_in_the_evening_and_dim_to_a_safe_share(bank: DeviceBank, scenario: Scenario, ids_of: Ids) -> None:
    ids = ids_of("lighting")
    bank.advance(scenario.local(21), 300.0)
    order_all(bank, ids, 0.0, scenario.local(21), scenario.local(22))
    bank.advance(scenario.local(23))
    noon = bank.true_power_kw(scenario.local(13), scenario.local(14))[1][rows(bank, ids)]
    dimmed = bank.true_power_kw(scenario.local(21), scenario.local(22))[1][rows(bank, ids)].mean(axis=1)
    full = bank.true_power_kw(scenario.local(22), scenario.local(23))[1][rows(bank, ids)].mean(axis=1)
    assert (noon == 0).all()
    assert (dimmed > 0.05 * full).all()
    assert (dimmed < 0.7 * full).all()


def test_a_day_of_three_hundred_devices_takes_seconds(bank: DeviceBank, scenario: Scenario) -> None:
    began = time.process_time()
    bank.advance(scenario.local(24), 60.0)
    assert time.process_time() - began < 8.0  # 1.2 s on a quiet core; the machine may be shared


def test_a_bank_does_not_step_backwards(bank: DeviceBank) -> None:
    with pytest.raises(ValueError, match="later"):
        bank.advance(bank.now)


def test_every_class_of_the_scenario_is_in_the_fleet(standing_fleet: GeneratedFleet, scenario: Scenario) -> None:
    classes = {group.class_id for group in standing_fleet.bank.groups}
    assert classes == {each.class_id for each in scenario.file.classes}
