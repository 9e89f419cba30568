"""Connected and declared capacity of every kind, and units that are off by a thousand."""

from typing import Any

import pytest

from models.capacity import LARGEST_KW, SMALLEST_KW, connected_kw, declared_kw, unit_faults
from models.resources import EvCharger, ResourceBase, ResourceKind
from tests.fleets import random_problem

COMMON: dict[str, Any] = {
    "resource_id": "r1",
    "aggregator_id": "industry",
    "zone_id": "Z01",
    "meter_id": "m1",
    "pillar": "load",
    "tariff_id": "tou",
}
CHARGER = EvCharger(**COMMON, charge_limit_kw=60.0, charge_efficiency=0.95, discharge_limit_kw=20.0)
ROWS = {row.kind: row for row in random_problem(5, resources=8).fleet.rows()}
K = ResourceKind
POWERS = {
    K.STORAGE: ("charge_limit_kw", "discharge_limit_kw", "charge_min_kw", "discharge_min_kw"),
    K.EV_SESSION: ("charge_limit_kw", "discharge_limit_kw"),
    K.CURTAILABLE_LOAD: ("baseline_scale_kw",),
    K.INTERRUPTIBLE_LOAD: ("baseline_scale_kw", "block_kw"),
    K.SHIFTABLE_LOAD: ("power_min_kw", "power_max_kw"),
    K.THERMAL_LOAD: ("baseline_scale_kw", "increase_limit_kw", "decrease_limit_kw"),
    K.GENERATOR: ("power_min_kw", "power_max_kw"),
    K.PV: ("available_scale_kw",),
}


def sized(kind: ResourceKind, connected: float) -> ResourceBase:
    """A resource of a kind with that nameplate, all its powers in proportion."""
    row = ROWS[kind]
    share = connected / connected_kw(row)
    energies = {"energy_max_kwh": 2 * connected} if kind is K.STORAGE else {}
    made: ResourceBase = row.model_copy(
        update={**{name: getattr(row, name) * share for name in POWERS[kind]}, **energies}
    )
    assert connected_kw(made) == pytest.approx(connected)
    return made


def test_the_two_registered_capacities_of_every_kind() -> None:
    row = ROWS[K.CURTAILABLE_LOAD].model_copy(
        update={"baseline_scale_kw": 100.0, "curtail_share": 0.3, "rebound_share": 0.5}
    )
    assert (connected_kw(row), declared_kw(row)) == (150.0, 30.0)
    row = ROWS[K.INTERRUPTIBLE_LOAD].model_copy(
        update={"baseline_scale_kw": 100.0, "block_kw": 80.0, "rebound_share": 0.0}
    )
    assert (connected_kw(row), declared_kw(row)) == (100.0, 80.0)
    row = ROWS[K.THERMAL_LOAD].model_copy(
        update={"baseline_scale_kw": 100.0, "increase_limit_kw": 20.0, "decrease_limit_kw": 30.0}
    )
    assert (connected_kw(row), declared_kw(row)) == (120.0, 30.0)
    row = ROWS[K.SHIFTABLE_LOAD].model_copy(update={"power_min_kw": 10.0, "power_max_kw": 50.0})
    assert (connected_kw(row), declared_kw(row)) == (50.0, 40.0)
    row = ROWS[K.STORAGE].model_copy(update={"charge_limit_kw": 40.0, "discharge_limit_kw": 50.0})
    assert (connected_kw(row), declared_kw(row)) == (50.0, 50.0)
    row = ROWS[K.GENERATOR].model_copy(update={"power_max_kw": 500.0})
    assert (connected_kw(row), declared_kw(row)) == (500.0, 500.0)
    row = ROWS[K.PV].model_copy(update={"available_scale_kw": 300.0})
    assert (connected_kw(row), declared_kw(row)) == (300.0, 0.0)
    assert (connected_kw(CHARGER), declared_kw(CHARGER)) == (60.0, 80.0)


@pytest.mark.parametrize("kind", list(K))
def test_resources_of_real_size_are_taken(kind: ResourceKind) -> None:
    for connected in (SMALLEST_KW[kind], 7.0, 100.0, LARGEST_KW[kind]):
        assert unit_faults(kind, sized(kind, connected * (1 + 1e-9 if connected < 1 else 1 - 1e-9)), "register") == []


@pytest.mark.parametrize("kind", list(K))
def test_watts_and_megawatts_in_the_place_of_kilowatts_are_refused(kind: ResourceKind) -> None:
    for connected, rule in (
        (1.01 * LARGEST_KW[kind], "is the unit W instead of kW?"),
        (0.99 * SMALLEST_KW[kind], "is the unit MW instead of kW?"),
    ):
        (fault,) = unit_faults(kind, sized(kind, connected), "register")
        assert (fault.place, fault.field) == ("register", "connected_kw")
        assert fault.value == pytest.approx(connected)
        assert rule in fault.rule
        assert kind.value in fault.rule


def test_an_ordinary_charger_off_by_a_thousand_either_way_is_refused() -> None:
    for factor in (1000.0, 0.001):
        off = CHARGER.model_copy(update={"charge_limit_kw": 60.0 * factor, "discharge_limit_kw": 0.0})
        assert [fault.field for fault in unit_faults(K.EV_SESSION, off, "register")] == ["connected_kw"]


@pytest.mark.parametrize("factor", [1000.0, 0.001])
def test_a_battery_whose_energy_is_off_by_a_thousand_is_refused(factor: float) -> None:
    battery = ROWS[K.STORAGE].model_copy(
        update={"charge_limit_kw": 100.0, "discharge_limit_kw": 100.0, "energy_max_kwh": 200.0 * factor}
    )
    (fault,) = unit_faults(K.STORAGE, battery, "register")
    assert (fault.field, fault.value) == ("energy_max_kwh", 200.0 * factor)
    assert "energy over power must be 0.02 to 500 h" in fault.rule


def test_a_resource_without_power_is_no_mistake_of_units() -> None:
    idle = ROWS[K.STORAGE].model_copy(update={"charge_limit_kw": 0.0, "discharge_limit_kw": 0.0})
    assert unit_faults(K.STORAGE, idle, "register") == []


def test_an_unknown_kind_is_a_mistake_of_ours() -> None:
    with pytest.raises(TypeError, match="unknown kind of resource: ResourceBase"):
        connected_kw(ResourceBase(**COMMON))
