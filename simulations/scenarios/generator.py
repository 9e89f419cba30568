"""A fleet of a given number of devices out of a scenario: what aggregators register, and the devices themselves.

Registered are nameplates and what an aggregator honestly believes; the devices are 10 to 20 % off (``off_by``).
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from models.errors import InputError, InputFault
from models.intervals import FloatArray
from models.resources import ResourceKind
from simulations.devices.bank import DeviceBank
from simulations.devices.base import DeviceGroup
from simulations.devices.battery import BatteryGroup, BatteryTruth
from simulations.devices.dice import keys_of, uniform
from simulations.scenarios.makers import MAKERS, Made, Order
from simulations.scenarios.profiles import registered_profiles
from simulations.scenarios.scenario import Scenario
from simulations.scenarios.sizes import connected_sizes
from simulations.scenarios.types import DeviceClass

TELEMETRY_TTL_S = 420.0


@dataclass
class GeneratedFleet:
    """A fleet ready to be connected.

    ``registrations``: per aggregator the rows of its register messages, JSON-ready; ``profiles`` the profiles they
    name, id → {"interval_start": [...], "values": [...]}.  ``connected_kw`` of the simulated fleet; ``scale`` =
    that over the connected kW of the full portfolio.  ``tested_kw_by_class``: what its owners say was tested.
    """

    scenario: Scenario
    portfolio: str
    seed: int
    registrations: dict[str, list[dict[str, Any]]]
    profiles: dict[str, dict[str, Any]]
    bank: DeviceBank
    connected_kw: float
    full_connected_kw: float
    tested_kw_by_class: dict[str, float]
    connected_kw_by_class: dict[str, float] = field(default_factory=dict)

    @property
    def scale(self) -> float:
        """Connected kW of the simulated fleet over connected kW of the full portfolio."""
        return self.connected_kw / self.full_connected_kw

    @property
    def peak_kw(self) -> float:
        """The city's peak, scaled."""
        return self.scenario.peak_kw * self.scale

    @property
    def target_kw(self) -> float:
        """5 % (or what the scenario says) of the scaled peak."""
        return self.peak_kw * self.scenario.file.target.peak_fraction.value

    @property
    def resources(self) -> int:
        """How many devices."""
        return len(self.bank)


def generate_fleet(
    scenario: Scenario,
    portfolio: str = "2030",
    resources: int = 300,
    seed: int | None = None,
    *,
    start: datetime | None = None,
) -> GeneratedFleet:
    """A fleet of ``resources`` devices; the same arguments give the same fleet.

    The devices' time stands at ``start``, else at the start of the first of the earlier days.
    ``InputError`` for an unknown portfolio or too few resources.
    """
    file = scenario.file
    if portfolio not in file.portfolios:
        known = ", ".join(sorted(file.portfolios))
        raise InputError([InputFault("fleet", "portfolio", portfolio, f"must be one of {known}")])
    seed = file.seed if seed is None else seed
    sizes = connected_sizes(file.classes, resources, seed)
    registrations: dict[str, list[dict[str, Any]]] = {entry.aggregator_id: [] for entry in file.aggregators}
    groups: list[DeviceGroup] = []
    for each in file.classes:
        made = MAKERS[each.class_id](_order(scenario, each, sizes[each.class_id], seed))
        groups.append(made.group)
        registrations[each.aggregator_id].extend(_rows(scenario, each, made, sizes[each.class_id], seed))
    factor = file.portfolios[portfolio].factor.value
    full_kw = sum(each.tested_mw * 1000 * factor / each.tested_share for each in file.classes)
    connected = {name: float(values.sum()) for name, values in sizes.items()}
    scale = sum(connected.values()) / full_kw
    if file.pumped_hydro.power_mw.value > 0:
        hydro, row = _pumped_hydro(scenario, file.pumped_hydro.power_mw.value * 1000 * scale, seed)
        groups.append(hydro)
        registrations["storage-stations"].append(row)
    start = scenario.midnight(scenario.earlier_days[0]) if start is None else start
    return GeneratedFleet(
        scenario=scenario,
        portfolio=portfolio,
        seed=seed,
        registrations=registrations,
        profiles=registered_profiles(scenario, registrations),
        bank=DeviceBank(groups, scenario.surroundings, start),
        connected_kw=sum(connected.values()),
        full_connected_kw=full_kw,
        tested_kw_by_class={each.class_id: connected[each.class_id] * each.tested_share for each in file.classes},
        connected_kw_by_class=connected,
    )


def _order(scenario: Scenario, each: DeviceClass, sizes: FloatArray, seed: int) -> Order:
    names = [f"{each.class_id}-{k:05d}" for k in range(1, len(sizes) + 1)]
    return Order(
        scenario=scenario,
        device_class=each,
        resource_ids=names,
        connected_kw=sizes,
        seed=seed,
        keys=keys_of(names, seed + 1),
    )


def _rows(scenario: Scenario, each: DeviceClass, made: Made, sizes: FloatArray, seed: int) -> list[dict[str, Any]]:
    keys = keys_of(made.group.resource_ids, seed)
    bounds = np.cumsum(scenario.zone_shares)
    zones = np.minimum(np.searchsorted(bounds, uniform(keys, "zone")), len(bounds) - 1)
    rows = []
    for index, name in enumerate(made.group.resource_ids):
        row: dict[str, Any] = {
            "action": "update",
            "kind": made.group.kind.value,
            "resource_id": name,
            "aggregator_id": each.aggregator_id,
            "zone_id": scenario.zone_ids[int(zones[index])],
            "meter_id": f"510100-{name}",
            "pillar": each.pillar.value,
            "tariff_id": each.tariff_id,
            "reliability_fraction": 1.0,
            "is_test": False,
            "fallback_power_kw": None,
            "telemetry_ttl_s": TELEMETRY_TTL_S,
            "connected_kw": float(sizes[index]),
            "declared_kw": round(float(sizes[index]) * each.tested_share, 3),
        }
        row.update({column: _plain(values[index]) for column, values in made.columns.items()})
        rows.append(row)
    return rows


def _plain(value: Any) -> Any:
    """A JSON-ready value: numbers rounded to what a nameplate says."""
    if isinstance(value, float | np.floating):
        return round(float(value), 4)
    return value.item() if isinstance(value, np.generic) else value


def _pumped_hydro(scenario: Scenario, power_kw: float, seed: int) -> tuple[DeviceGroup, dict[str, Any]]:
    """One unit scaled like the city (it alone has no real size: 300 MW among cabinets would drown them)."""
    hours = scenario.file.pumped_hydro.hours.value
    energy = power_kw * hours
    one = np.ones(1)
    truth = BatteryTruth(
        charge_limit_kw=power_kw * one,
        discharge_limit_kw=0.97 * power_kw * one,
        capacity_kwh=0.98 * energy * one,
        nameplate_kwh=energy * one,
        floor_fraction=0.1 * one,
        charge_efficiency=0.87 * one,
        discharge_efficiency=0.88 * one,
        start_fraction=0.6 * one,
        rest_fraction=0.6 * one,
        habit=0 * one,
        minimum_kw=0.4 * power_kw * one,
    )
    group = BatteryGroup("pumped-hydro", ["pumped-hydro-00001"], seed, truth)
    row = {
        "action": "update",
        "kind": ResourceKind.STORAGE.value,
        "resource_id": "pumped-hydro-00001",
        "aggregator_id": "storage-stations",
        "zone_id": "dayi",
        "meter_id": "510100-pumped-hydro-00001",
        "pillar": "source",
        "tariff_id": "grid-storage",
        "reliability_fraction": 1.0,
        "is_test": False,
        "fallback_power_kw": None,
        "telemetry_ttl_s": TELEMETRY_TTL_S,
        "connected_kw": power_kw,
        "declared_kw": power_kw,
        "charge_limit_kw": power_kw,
        "discharge_limit_kw": power_kw,
        "charge_min_kw": 0.4 * power_kw,
        "discharge_min_kw": 0.4 * power_kw,
        "mode_change_cost": 0.02 * power_kw,
        "energy_min_kwh": 0.1 * energy,
        "energy_max_kwh": energy,
        "energy_start_kwh": 0.6 * energy,
        "energy_end_min_kwh": 0.5 * energy,
        "charge_efficiency": 0.89,
        "discharge_efficiency": 0.9,
        "wear_cost_per_kwh": 0.005,
    }
    return group, row
