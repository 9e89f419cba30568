"""Who is in a benchmark fleet: makes of devices with their share of the fleet and the ranges of their parameters.

Sizes are those of devices on the market; shares are those of a city where every tenth household takes part.  About
8 of 100 devices have an integer decision, and a few units (pumped hydro, gas engines) are large against everything
else whatever the size of the fleet.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from models.intervals import FloatArray
from models.resources import Pillar, ResourceKind
from vpp.bench.columns import Columns, Draw, moment

RUN_STEP_H = 0.25
"""Length of a step of the run profiles, hours."""


@dataclass(frozen=True)
class Segment:
    """One make of device.

    ``share``: of all devices, per mille; 0 for large units, of which there are ``units`` whatever the fleet's size.
    ``where``: −1 where people live, 1 where they work, 0 anywhere.
    """

    name: str
    kind: ResourceKind
    share: float
    aggregators: tuple[str, ...]
    tariffs: tuple[str, ...]
    make: Callable[[Draw, float], Columns]
    pillar: Pillar = Pillar.LOAD
    where: float = 0.0
    units: int = 0
    integer: bool = False


# ---- storage


def _battery(draw: Draw, power: FloatArray, hours: FloatArray, reserve: FloatArray, wear: FloatArray) -> Columns:
    size = power * hours
    room = size * (1 - reserve)
    return {
        "charge_limit_kw": power,
        "discharge_limit_kw": power * draw.between(0.9, 1.1),
        "energy_min_kwh": size - room,
        "energy_max_kwh": size,
        "energy_start_kwh": size - room * draw.between(0.4, 0.7),
        "energy_end_min_kwh": size - room * draw.between(0.5, 0.7),
        "charge_efficiency": draw.between(0.92, 0.98),
        "discharge_efficiency": draw.between(0.92, 0.98),
        "wear_cost_per_kwh": wear,
    }


def _home_battery(draw: Draw, _: float) -> Columns:
    return _battery(draw, draw.size(2.5, 6), draw.between(1.5, 3.5), draw.between(0.05, 0.2), draw.between(0.05, 0.25))


def _telecom(draw: Draw, _: float) -> Columns:
    return _battery(draw, draw.size(1.5, 6), draw.between(3, 6), draw.between(0.4, 0.6), draw.between(0.12, 0.4))


def _station(draw: Draw, _: float) -> Columns:
    return _battery(draw, draw.size(100, 600), draw.between(1.8, 2.5), draw.between(0.05, 0.1), draw.between(0.04, 0.1))


def _pumped_hydro(draw: Draw, city_kw: float) -> Columns:
    power = city_kw * draw.between(0.002, 0.004)
    size = power * draw.between(4, 7)
    return {
        "charge_limit_kw": power,
        "discharge_limit_kw": power * draw.between(0.95, 1.1),
        "energy_min_kwh": size * draw.between(0, 0.1),
        "energy_max_kwh": size,
        "energy_start_kwh": size * draw.between(0.35, 0.5),
        "energy_end_min_kwh": size * draw.between(0.3, 0.35),
        "charge_efficiency": draw.between(0.86, 0.9),
        "discharge_efficiency": draw.between(0.87, 0.91),
        "wear_cost_per_kwh": draw.between(0.005, 0.015),
        "charge_min_kw": power * draw.between(0.6, 0.7),
        "discharge_min_kw": power * draw.between(0.3, 0.5),
        "mode_change_cost": power * draw.between(0.005, 0.01),
    }


# ---- cars


def _stays(draw: Draw, limit: FloatArray, energy: FloatArray, arrival: FloatArray, departure: FloatArray) -> Columns:
    efficiency = draw.between(0.9, 0.96)
    most = 0.8 * limit * efficiency * (departure - arrival)
    return {
        "arrival": moment(arrival),
        "departure": moment(departure),
        "energy_needed_kwh": np.minimum(energy, most),
        "charge_limit_kw": limit,
        "charge_efficiency": efficiency,
    }


def _home_car(draw: Draw, _: float) -> Columns:
    arrival, departure = draw.around(18.6, 1.9, 13, 23.9), draw.around(31.4, 1.0, 28.5, 34)
    return _stays(draw, draw.size(3.3, 11), draw.size(5, 40), arrival, departure)


def _work_car(draw: Draw, _: float) -> Columns:
    arrival, departure = draw.around(8.8, 0.7, 7, 11), draw.around(18.0, 0.9, 15.5, 21)
    return _stays(draw, draw.size(6, 12), draw.size(4, 28), arrival, departure)


def _depot(draw: Draw, _: float) -> Columns:
    arrival, departure = draw.around(20.6, 1.0, 18, 23), draw.around(29.4, 0.7, 27.5, 31)
    return _stays(draw, draw.size(30, 120), draw.size(60, 280), arrival, departure)


def _public(draw: Draw, _: float) -> Columns:
    arrival = draw.between(8, 15)
    return _stays(draw, draw.size(30, 90), draw.size(12, 45), arrival, arrival + draw.between(0.8, 2))


def _public_again(draw: Draw, _: float) -> Columns:
    arrival = draw.between(17.1, 22)
    return _stays(draw, draw.size(30, 90), draw.size(12, 45), arrival, arrival + draw.between(0.8, 2))


def _both_ways(draw: Draw, stay: Columns) -> Columns:
    needed = stay["energy_needed_kwh"]
    capacity = needed + draw.between(30, 60)
    stay |= {
        "discharge_limit_kw": stay["charge_limit_kw"] * draw.between(0.7, 1.0),
        "discharge_efficiency": draw.between(0.9, 0.96),
        "battery_capacity_kwh": capacity,
        "battery_start_kwh": draw.between(0.2, 0.8) * (capacity - needed),
        "wear_cost_per_kwh": draw.between(0.08, 0.35),
    }
    return stay


def _v2g_home(draw: Draw, city_kw: float) -> Columns:
    return _both_ways(draw, _home_car(draw, city_kw))


def _v2g_work(draw: Draw, city_kw: float) -> Columns:
    return _both_ways(draw, _work_car(draw, city_kw))


# ---- loads


def _load(draw: Draw, profiles: tuple[str, ...], scale: FloatArray) -> Columns:
    return {"baseline_profile": draw.choice(profiles), "baseline_scale_kw": scale}


def _curtailable(draw: Draw, profiles: tuple[str, ...], scale: FloatArray) -> Columns:
    share = draw.between(0.1, 0.35)
    return _load(draw, profiles, scale) | {
        "curtail_share": share,
        "cost_per_kwh": draw.between(1.6, 3.0),
        "energy_limit_kwh": share * scale * draw.between(1.5, 3),
        "hours_limit_h": draw.between(2, 5),
        "notice_h": draw.between(0.25, 2),
        "rebound_share": draw.between(0.1, 0.6),
        "rebound_hours_h": draw.between(0.5, 3),
    }


def _shop(draw: Draw, _: float) -> Columns:
    return _curtailable(draw, ("retail", "office", "cold-store"), draw.size(3, 40))


def _plant(draw: Draw, _: float) -> Columns:
    return _curtailable(draw, ("one-shift", "two-shifts", "three-shifts"), draw.size(40, 500))


def _called_shop(draw: Draw, city_kw: float) -> Columns:
    calls = {"calls_per_day": draw.count_of(1, 3), "rest_h": draw.between(0.5, 4)}
    return _shop(draw, city_kw) | calls


def _interruptible(draw: Draw, _: float) -> Columns:
    scale = draw.size(5, 80)
    return _load(draw, ("one-shift", "two-shifts", "three-shifts", "cold-store"), scale) | {
        "block_kw": scale * draw.between(0.25, 0.6),
        "cost_per_kwh": draw.between(1.8, 3.2),
        "shortest_h": draw.between(0.2, 1),
        "longest_h": draw.between(1, 3),
        "calls_per_day": draw.count_of(1, 3),
        "rest_h": draw.between(0.5, 4),
        "notice_h": draw.between(0.25, 2),
        "rebound_share": draw.between(0, 0.4),
        "rebound_hours_h": draw.between(0.5, 3),
    }


def _cooling(draw: Draw, profiles: tuple[str, ...], scale: FloatArray) -> Columns:
    low = scale * draw.between(0.2, 0.7)
    return _load(draw, profiles, scale) | {
        "increase_limit_kw": scale * draw.between(0.15, 0.4),
        "decrease_limit_kw": scale * draw.between(0.25, 0.6),
        "store_low_kwh": low,
        "store_high_kwh": scale * draw.between(0.2, 0.6),
        "store_end_min_kwh": -low * draw.between(0, 0.3),
        "decay_per_hour": draw.between(0.08, 0.5),
        "discomfort_cost_per_kwh": draw.between(0.03, 0.45),
    }


def _home_cooling(draw: Draw, _: float) -> Columns:
    return _cooling(draw, ("home-cooling",), draw.size(0.7, 3))


def _building_cooling(draw: Draw, _: float) -> Columns:
    return _cooling(draw, ("office-cooling", "retail-cooling"), draw.size(15, 120))


def _window(draw: Draw, begin: FloatArray, length: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Windows that lie inside the horizon, shortened where it is too short."""
    first = np.maximum(begin, draw.first_hour)
    return first, np.minimum(first + length, draw.last_hour)


def _spread(draw: Draw, power: FloatArray, begin: FloatArray, length: FloatArray) -> Columns:
    first, last = _window(draw, begin, length)
    energy = power * draw.between(0.2, 0.6) * (last - first)
    return {
        "window_start": moment(first),
        "window_end": moment(last),
        "energy_kwh": energy,
        "power_min_kw": draw.between(0, 0.3) * energy / (last - first),
        "power_max_kw": power,
        "preferred_start": moment(first + draw.between(0, 0.4) * (last - first)),
        "cost_per_kwh": draw.between(0.01, 0.08),
    }


def _water_heater(draw: Draw, _: float) -> Columns:
    return _spread(draw, draw.size(1.2, 4), draw.between(6.5, 18), draw.between(5, 11))


def _pump(draw: Draw, _: float) -> Columns:
    return _spread(draw, draw.size(20, 160), draw.between(7, 14), draw.between(8, 14))


def _run(draw: Draw, profile: str, steps_kw: float, steps: int, power: FloatArray) -> Columns:
    run_h = steps * RUN_STEP_H
    first, last = _window(draw, draw.between(7, 17), draw.between(run_h + 4, run_h + 9))
    latest = last - first - run_h
    # the preferred start lies on a quarter hour, so that the preferred run is one that can be had
    preferred = np.ceil(4 * (first + draw.between(0, 0.5) * latest)) / 4
    return {
        "window_start": moment(first),
        "window_end": moment(last),
        "energy_kwh": power * steps_kw * RUN_STEP_H,
        "power_min_kw": np.zeros(draw.count),
        "power_max_kw": power,
        "preferred_start": moment(preferred),
        "run_profile": np.full(draw.count, profile, dtype=object),
        "cost_per_kwh": draw.between(0.01, 0.08),
    }


def _washer(draw: Draw, _: float) -> Columns:
    return _run(draw, "wash", 2.8, 6, draw.size(1, 2.5))


def _dryer(draw: Draw, _: float) -> Columns:
    return _run(draw, "dry", 3.5, 4, draw.size(1, 3))


def _batch(draw: Draw, _: float) -> Columns:
    return _run(draw, "batch", 6.2, 8, draw.size(15, 100))


# ---- generation


def _generator(draw: Draw, power: FloatArray, low: float, high: float) -> Columns:
    return {
        "power_min_kw": power * draw.between(0.3, 0.5),
        "power_max_kw": power,
        "cost_per_kwh": draw.between(low, high),
        "start_cost": power * draw.between(0.02, 0.1),
        "no_load_cost_per_h": power * draw.between(0.02, 0.06),
        "ramp_kw_per_h": power * draw.between(1, 6),
        "minimum_up_h": draw.between(0.5, 2),
        "minimum_down_h": draw.between(0.5, 2),
        "co2_kg_per_kwh": draw.between(0.45, 0.75),
    }


def _backup(draw: Draw, _: float) -> Columns:
    return _generator(draw, draw.size(80, 600), 0.95, 2.4)


def _gas_engine(draw: Draw, city_kw: float) -> Columns:
    return _generator(draw, city_kw * draw.between(0.001, 0.003), 0.8, 1.1)


def _sun(draw: Draw, scale: FloatArray) -> Columns:
    profile = draw.choice(("sun-south", "sun-east", "sun-west"))
    cost = draw.between(0.005, 0.1)
    return {"available_profile": profile, "available_scale_kw": scale, "curtail_cost_per_kwh": cost}


def _roof(draw: Draw, _: float) -> Columns:
    return _sun(draw, draw.size(3, 15))


def _works_roof(draw: Draw, _: float) -> Columns:
    return _sun(draw, draw.size(40, 400))


_K = ResourceKind
_SOURCE = Pillar.SOURCE
_HOME, _SHOPS, _PLANTS = ("home-a", "home-b"), ("buildings-a", "buildings-b"), ("industry-a", "industry-b")
_CARS, _STORES = ("charging-a", "charging-b", "charging-c"), ("storage-a", "storage-b")

SEGMENTS: tuple[Segment, ...] = (
    Segment("car-home", _K.EV_SESSION, 290, _CARS, ("home", "charging-spot"), _home_car, where=-1),
    Segment("car-work", _K.EV_SESSION, 60, _CARS[:2], ("charging", "charging-spot"), _work_car, where=1),
    Segment("car-depot", _K.EV_SESSION, 14, ("fleets",), ("charging", "charging-spot"), _depot, where=1),
    Segment("car-public", _K.EV_SESSION, 4, ("public",), ("charging",), _public),
    Segment("v2g-home", _K.EV_SESSION, 20, ("charging-c",), ("home-spot", "charging-spot"), _v2g_home, where=-1),
    Segment("v2g-work", _K.EV_SESSION, 20, ("charging-c",), ("charging-spot",), _v2g_work, where=1),
    Segment("battery-home", _K.STORAGE, 110, _HOME, ("home", "home-spot"), _home_battery, _SOURCE, -1),
    Segment("battery-tower", _K.STORAGE, 80, ("towers",), ("business", "business-spot"), _telecom, _SOURCE),
    Segment("battery-station", _K.STORAGE, 1.5, _STORES, ("industry", "industry-spot"), _station, _SOURCE, 1),
    Segment("hydro", _K.STORAGE, 0, ("storage-a",), ("industry-spot",), _pumped_hydro, _SOURCE, units=3, integer=True),
    Segment("shop", _K.CURTAILABLE_LOAD, 45, _SHOPS, ("business",), _shop),
    Segment("plant", _K.CURTAILABLE_LOAD, 9, _PLANTS, ("industry", "industry-spot"), _plant, where=1),
    Segment("called", _K.CURTAILABLE_LOAD, 20, _SHOPS, ("business", "business-spot"), _called_shop, integer=True),
    Segment("block", _K.INTERRUPTIBLE_LOAD, 35, _PLANTS, ("industry",), _interruptible, where=1, integer=True),
    Segment("heater", _K.SHIFTABLE_LOAD, 65, _HOME, ("home", "home-spot"), _water_heater, where=-1),
    Segment("pump", _K.SHIFTABLE_LOAD, 5, _PLANTS, ("industry-spot",), _pump, where=1),
    Segment("washer", _K.SHIFTABLE_LOAD, 15, _HOME, ("home", "home-spot"), _washer, where=-1, integer=True),
    Segment("dryer", _K.SHIFTABLE_LOAD, 10, _HOME, ("home",), _dryer, where=-1, integer=True),
    Segment("batch", _K.SHIFTABLE_LOAD, 3, _PLANTS, ("industry", "industry-spot"), _batch, where=1, integer=True),
    Segment("cooling-home", _K.THERMAL_LOAD, 130, _HOME, ("home", "home-spot"), _home_cooling, where=-1),
    Segment("cooling-building", _K.THERMAL_LOAD, 20, _SHOPS, ("business", "business-spot"), _building_cooling),
    Segment("engine", _K.GENERATOR, 1.2, _PLANTS, ("industry",), _backup, _SOURCE, 1, integer=True),
    Segment("gas", _K.GENERATOR, 0, ("industry-a",), ("industry-spot",), _gas_engine, _SOURCE, 1, 2, integer=True),
    Segment("roof", _K.PV, 38, _HOME, ("home",), _roof, _SOURCE, -1),
    Segment("works-roof", _K.PV, 3, _PLANTS, ("industry",), _works_roof, _SOURCE, 1),
)

SECOND_STAY = {"car-public": _public_again}
"""Makes of charger with a second stay on the same day."""
