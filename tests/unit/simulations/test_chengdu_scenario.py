"""The scenario file and the fleets made of it."""

import tomllib
from datetime import timedelta
from importlib.resources import files
from typing import Any, get_args

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from models.errors import InputError
from models.intervals import IntervalGrid
from models.resources import RegisteredResource, ResourceKind
from simulations.scenarios import Scenario, load_scenario
from simulations.scenarios.callable import callable_in_windows, table
from simulations.scenarios.generator import GeneratedFleet, generate_fleet
from simulations.scenarios.sizes import connected_sizes
from simulations.scenarios.types import Figure, ScenarioFile

GATEWAY_COLUMNS = {"action", "fallback_power_kw", "telemetry_ttl_s", "connected_kw", "declared_kw"}


def text_of_the_file() -> dict[str, Any]:
    return tomllib.loads((files("simulations.scenarios") / "chengdu_2025_07_16.toml").read_text(encoding="utf-8"))


def day_grid(scenario: Scenario, minutes: int) -> IntervalGrid:
    return IntervalGrid.market_day(scenario.day, scenario.zone, timedelta(minutes=minutes))


# ---- load and weather


def test_both_published_peaks_are_met_in_time_and_height(scenario: Scenario) -> None:
    assert scenario.load_kw(scenario.local(13 + 11 / 60)) == pytest.approx(22.01e6, rel=1e-9)
    assert scenario.load_kw(scenario.local(21 + 26 / 60)) == pytest.approx(22.13e6, rel=1e-9)
    moments = [scenario.local(k / 60) for k in range(24 * 60)]
    load = np.array([scenario.load_kw(moment) for moment in moments])
    assert int(load.argmax()) == 21 * 60 + 26
    assert int(load[: 18 * 60].argmax()) == 13 * 60 + 11
    assert scenario.peak_kw == pytest.approx(load.max())


def test_the_night_is_low_and_the_saddle_lies_between_18_and_20(scenario: Scenario) -> None:
    load = scenario.mean_load_kw(day_grid(scenario, 15))
    assert 3 < load.argmin() / 4 < 7
    assert 0.6 < load.min() / scenario.peak_kw < 0.7
    between_peaks = load[14 * 4 : 21 * 4]
    assert 18 <= 14 + between_peaks.argmin() / 4 <= 20


def test_means_of_the_load_are_exact_on_any_grid(scenario: Scenario) -> None:
    fine, coarse = day_grid(scenario, 1), day_grid(scenario, 60)
    assert scenario.mean_load_kw(coarse) == pytest.approx(scenario.mean_load_kw(fine).reshape(24, 60).mean(axis=1))


def test_the_heat_wave_builds_up_and_passes_forty_degrees(scenario: Scenario) -> None:
    def hottest(day: Any) -> float:
        return max(scenario.outdoor_celsius(scenario.local(hour, day)) for hour in range(24))

    assert hottest(scenario.day) > 40
    days = [hottest(day) for day in scenario.earlier_days]
    assert days[-1] > days[0] + 4
    assert len(days) >= 10
    assert len({round(day, 3) for day in days}) == len(days)
    peaks = [
        scenario.mean_load_kw(IntervalGrid.market_day(day, scenario.zone, timedelta(hours=1))).max()
        for day in scenario.earlier_days
    ]
    assert max(peaks) < scenario.peak_kw


def test_nights_are_dark_and_weekends_no_workdays(scenario: Scenario) -> None:
    night = scenario.surroundings(scenario.local(2).timestamp(), scenario.local(2.1).timestamp())
    noon = scenario.surroundings(scenario.local(13).timestamp(), scenario.local(13.1).timestamp())
    assert night.sun_fraction == 0
    assert noon.sun_fraction > 0.98
    for day in scenario.earlier_days:
        around = scenario.surroundings(scenario.local(12, day).timestamp(), scenario.local(12.1, day).timestamp())
        assert around.workday == (day.weekday() < 5)
        assert around.hour == pytest.approx(12.05)


# ---- prices


def test_prices_follow_the_summer_periods(scenario: Scenario) -> None:
    prices = scenario.prices(day_grid(scenario, 60))
    flat = 0.65
    expected = {}
    for hour in range(24):
        peak, valley = 11 <= hour < 18 or 20 <= hour < 23, 1 <= hour < 7
        critical = hour == 13 or 21 <= hour < 23
        expected[hour] = flat * (1.6 * (1.2 if critical else 1.0) if peak else 0.4 if valley else 1.0)
    assert prices["large-industry"] == pytest.approx([expected[hour] for hour in range(24)])
    without = [min(expected[hour], flat * 1.6) for hour in range(24)]
    assert prices["commercial"] == pytest.approx(without)
    for name in ("residential", "charging-contract", "grid-storage", "public-lighting"):
        assert np.ptp(prices[name]) == 0


def test_a_price_of_a_long_interval_is_its_mean_over_time(scenario: Scenario) -> None:
    grid = IntervalGrid.regular(scenario.local(22.5), timedelta(hours=1), 1)
    assert scenario.prices(grid)["commercial"][0] == pytest.approx(0.5 * 0.65 * 1.6 + 0.5 * 0.65)


def test_large_industry_alone_pays_the_critical_price(scenario: Scenario) -> None:
    assert {tariff.tariff_id for tariff in scenario.file.tariffs if tariff.critical} == {"large-industry"}


# ---- what is in the file


def test_every_figure_names_its_source_or_is_called_an_assumption() -> None:
    def check(value: Any, place: str) -> int:
        if isinstance(value, dict):
            told = ("source" in value) + (value.get("assumption") is True)
            if "value" in value or "gw" in value:
                assert told == 1, place
                return 1
            return sum(check(inside, f"{place}.{name}") for name, inside in value.items())
        if isinstance(value, list):
            return sum(check(inside, place) for inside in value)
        return 0

    assert check(text_of_the_file(), "") > 60


def test_a_figure_without_origin_is_refused() -> None:
    with pytest.raises(ValidationError, match="source"):
        Figure(value=1.0)
    with pytest.raises(ValidationError, match="source"):
        Figure(value=1.0, source="somewhere", assumption=True)
    broken = text_of_the_file()
    del broken["zones"][0]["share"]["assumption"]
    with pytest.raises(ValidationError, match="source"):
        ScenarioFile.model_validate(broken)


def test_zones_must_sum_to_the_city_and_classes_name_what_exists() -> None:
    broken = text_of_the_file()
    broken["zones"][0]["share"]["value"] += 0.01
    with pytest.raises(ValidationError, match="sum to 1"):
        ScenarioFile.model_validate(broken)
    broken = text_of_the_file()
    broken["classes"][0]["tariff_id"] = "none"
    with pytest.raises(ValidationError, match="tariff_id"):
        ScenarioFile.model_validate(broken)


def test_an_unknown_scenario_portfolio_or_too_small_a_fleet_is_refused(scenario: Scenario) -> None:
    with pytest.raises(InputError, match="chengdu-2025-07-16"):
        load_scenario("atlantis")
    with pytest.raises(InputError, match="2024, 2030"):
        generate_fleet(scenario, "1999")
    with pytest.raises(InputError, match="at least"):
        generate_fleet(scenario, resources=10)


def test_there_are_23_zones_and_7_aggregators_in_two_languages(scenario: Scenario) -> None:
    file = scenario.file
    assert len(file.zones) == 23
    assert len(file.aggregators) == 7
    names = [(each.name_en, each.name_zh) for each in file.zones]
    names += [(each.name_en, each.name_zh) for each in file.aggregators]
    for english, chinese in names:
        assert english.isascii()
        assert not chinese.isascii()
    limits = scenario.zone_limits_kw
    assert limits.sum() > 1.1 * scenario.peak_kw


def test_the_class_mix_sums_to_what_was_assumed(scenario: Scenario) -> None:
    by_aggregator: dict[str, float] = {}
    for each in scenario.file.classes:
        by_aggregator[each.aggregator_id] = by_aggregator.get(each.aggregator_id, 0) + each.tested_mw
    assert sum(by_aggregator.values()) == pytest.approx(1130)
    assert by_aggregator["public-buildings"] == 350
    assert by_aggregator["charging-swapping"] == 200
    assert by_aggregator["storage-stations"] == 200
    assert by_aggregator["industry"] == 200 + 40
    assert by_aggregator["telecom"] == 60
    assert by_aggregator["residential-ac"] == 60
    assert by_aggregator["public-lighting"] == 20


# ---- fleets


def test_a_fleet_is_the_same_twice_and_another_with_another_seed(scenario: Scenario) -> None:
    one, two, other = (generate_fleet(scenario, resources=150, seed=seed) for seed in (5, 5, 6))
    assert one.registrations == two.registrations
    assert one.registrations != other.registrations


@pytest.mark.parametrize("resources", [120, 300, 1000])
def test_a_fleet_has_as_many_resources_as_asked_of_all_eight_kinds(scenario: Scenario, resources: int) -> None:
    fleet = generate_fleet(scenario, resources=resources)
    rows = [row for changes in fleet.registrations.values() for row in changes]
    assert len(rows) == len({row["resource_id"] for row in rows}) == fleet.resources == resources
    assert len({row["meter_id"] for row in rows}) == resources
    assert set(fleet.bank.resource_ids) == {row["resource_id"] for row in rows}
    counts = {kind: sum(row["kind"] == kind.value for row in rows) for kind in ResourceKind}
    assert min(counts.values()) >= 3
    integer = [row for row in rows if row["kind"] in {"interruptible_load", "generator"} or "run_profile" in row]
    assert len(integer) >= 0.04 * 300 if resources <= 300 else len(integer) >= 12


def test_every_registration_is_valid_by_the_types_of_the_house(scenario: Scenario) -> None:
    resource: TypeAdapter[Any] = TypeAdapter(RegisteredResource)
    fleet = generate_fleet(scenario, resources=400)
    assert get_args(RegisteredResource)
    for aggregator, changes in fleet.registrations.items():
        for row in changes:
            parsed = resource.validate_python({key: row[key] for key in row if key not in GATEWAY_COLUMNS})
            assert parsed.aggregator_id == aggregator
            assert row["action"] == "update"
            assert row["declared_kw"] <= row["connected_kw"]
            assert row["fallback_power_kw"] is None
            for column in ("baseline_profile", "available_profile", "run_profile"):
                assert row.get(column) is None or row[column] in fleet.profiles
    for profile in fleet.profiles.values():
        assert len(profile["interval_start"]) == len(profile["values"])
        assert np.isfinite(profile["values"]).all()
        assert min(profile["values"]) >= 0


def test_devices_keep_real_sizes(scenario: Scenario) -> None:
    sizes = connected_sizes(scenario.file.classes, 2000, 3)
    for each in scenario.file.classes:
        low, high = each.size_kw
        assert sizes[each.class_id].min() >= low
        assert sizes[each.class_id].max() <= high
    assert set(sizes["home-charger"]) == {7.0}


def test_the_mix_is_met_closely_by_a_large_fleet(scenario: Scenario) -> None:
    sizes = connected_sizes(scenario.file.classes, 5000, 3)
    tested = {each.class_id: sizes[each.class_id].sum() * each.tested_share for each in scenario.file.classes}
    for each in scenario.file.classes:
        share = tested[each.class_id] / sum(tested.values())
        assert share == pytest.approx(each.tested_mw / 1130, abs=0.003)


def test_costs_of_response_lie_above_every_price(scenario: Scenario) -> None:
    highest = max(values.max() for values in scenario.prices(day_grid(scenario, 60)).values())
    fleet = generate_fleet(scenario)
    for row in (row for changes in fleet.registrations.values() for row in changes):
        if row["kind"] in {"curtailable_load", "interruptible_load", "generator"}:
            assert row["cost_per_kwh"] > highest


def test_the_scale_is_connected_over_connected(scenario: Scenario, standing_fleet: GeneratedFleet) -> None:
    factor = scenario.file.portfolios["2030"].factor.value
    full = sum(each.tested_mw * 1000 * factor / each.tested_share for each in scenario.file.classes)
    rows = [row for changes in standing_fleet.registrations.values() for row in changes]
    assert standing_fleet.scale == pytest.approx(sum(row["connected_kw"] for row in rows) / full)
    assert standing_fleet.target_kw == pytest.approx(0.05 * 22.13e6 * standing_fleet.scale)


def test_pumped_hydro_is_off_and_can_be_switched_on(scenario: Scenario) -> None:
    assert not [name for name in generate_fleet(scenario).bank.resource_ids if name.startswith("pumped")]
    switched = text_of_the_file()
    switched["pumped_hydro"]["power_mw"]["value"] = 1800.0
    with_hydro = generate_fleet(Scenario(ScenarioFile.model_validate(switched)))
    row = next(row for row in with_hydro.registrations["storage-stations"] if row["resource_id"].startswith("pumped"))
    assert row["connected_kw"] == pytest.approx(1.8e6 * with_hydro.scale)
    assert row["charge_min_kw"] > 0


def test_2030_can_answer_five_percent_in_both_windows_with_margin(
    standing_fleet: GeneratedFleet, scenario: Scenario
) -> None:
    found = callable_in_windows(standing_fleet)
    print("\n" + table(standing_fleet, found))  # noqa: T201 - the table is what a reader of this test wants
    margin = 1 + scenario.file.target.margin_fraction.value
    assert set(found) == {"midday", "evening"}
    for one in found.values():
        assert one.worst_hour_kw >= margin * standing_fleet.target_kw
    assert found["midday"].by_class_kw["lighting"] == 0
    assert found["evening"].by_class_kw["lighting"] > 0
    assert (
        abs(found["evening"].by_class_kw["user-storage"]) < 0.1 * standing_fleet.connected_kw_by_class["user-storage"]
    )


def test_2024_honestly_falls_short(scenario: Scenario) -> None:
    fleet = generate_fleet(scenario, "2024", start=scenario.midnight(scenario.earlier_days[-1]))
    tested_mw = sum(fleet.tested_kw_by_class.values()) / fleet.scale / 1000
    assert tested_mw == pytest.approx(400, rel=0.15)
    for one in callable_in_windows(fleet).values():
        assert one.worst_hour_kw < 0.6 * fleet.target_kw
