"""One maker per class of devices: registered columns on one side, the true device on the other.

Registered numbers are nameplates and assumptions in the usual ranges; true ones lie 10 to 20 % off, drawn per device.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.intervals import FloatArray
from simulations.devices.base import DeviceGroup
from simulations.devices.battery import IDLE, TIME_OF_USE, BatteryGroup, BatteryTruth
from simulations.devices.building import BuildingGroup, BuildingTruth
from simulations.devices.charger import ChargerGroup, ChargerTruth
from simulations.devices.dice import Keys, between, off_by, uniform
from simulations.devices.generator import GeneratorGroup, GeneratorTruth
from simulations.devices.industry import IndustryTruth, InterruptibleGroup
from simulations.devices.lighting import LightingGroup, LightingTruth
from simulations.devices.process import ProcessGroup, ProcessTruth
from simulations.devices.pv import PvGroup, PvTruth
from simulations.devices.residential import ResidentialGroup, ResidentialTruth
from simulations.devices.sessions import DEPOT, HOME, PUBLIC, WORK
from simulations.devices.thermal_masses import ThermalMasses
from simulations.scenarios.comfort import comfort_promise
from simulations.scenarios.scenario import Scenario
from simulations.scenarios.types import DeviceClass


@dataclass(frozen=True)
class Order:
    """What a maker is asked for: names, sizes (connected kW) and dice of one class."""

    scenario: Scenario
    device_class: DeviceClass
    resource_ids: Sequence[str]
    connected_kw: FloatArray
    seed: int
    keys: Keys

    def __len__(self) -> int:
        return len(self.resource_ids)

    def full(self, value: float) -> FloatArray:
        """The same number for every device."""
        return np.full(len(self), float(value))

    def between(self, purpose: str, low: float, high: float) -> FloatArray:
        """A number per device, evenly spread."""
        return between(self.keys, purpose, low, high)

    def moment(self, hour: float) -> str:
        """A local hour of the event day as RFC 3339 text."""
        return self.scenario.local(hour).isoformat().replace("+00:00", "Z")


@dataclass(frozen=True)
class Made:
    """The devices and the columns their aggregator registers, (n,) or a list of n."""

    group: DeviceGroup
    columns: dict[str, Any]


def _hvac(order: Order) -> Made:
    rated, cop = order.connected_kw, order.between("cop", 3.3, 3.9)
    heat = rated * cop
    use = uniform(order.keys, "use")  # offices, shopping, round the clock
    opens = np.select([use < 0.35, use < 0.72], [8.0, 9.5], 0.0) + order.between("opens", -0.5, 0.5)
    closes = np.select([use < 0.35, use < 0.72], [18.5, 22.5], 0.0) + order.between("closes", -0.3, 0.5)
    always = use >= 0.72
    opens, closes = np.where(always, 0.0, opens), np.where(always, 0.0, closes)
    band = order.full(2.5)
    nominal = ThermalMasses(0.30 * heat / 14, 0.15 * heat, 0.035 * heat, 0.28 * heat)
    promise = comfort_promise(nominal, cop, band)
    decrease = np.minimum(promise.decrease_kw, 0.45 * rated)
    store_low = promise.store_low_kwh * decrease / promise.decrease_kw
    store_high = 0.5 * store_low
    true = ThermalMasses(
        nominal.envelope_kw_per_k * off_by(order.keys, "envelope"),
        nominal.coupling_kw_per_k * off_by(order.keys, "coupling"),
        nominal.air_kwh_per_k * off_by(order.keys, "air"),
        nominal.mass_kwh_per_k * off_by(order.keys, "mass"),
    )
    truth = BuildingTruth(
        rated_kw=rated,
        cop=cop * np.where(uniform(order.keys, "cop-side") < 0.7, off_by(order.keys, "cop", sign=-1), 1.1),
        masses=true,
        set_celsius=order.between("set", 25.0, 26.5),
        band_k=band * off_by(order.keys, "band"),
        opens_hour=opens,
        closes_hour=closes,
        gain_kw=0.27 * heat * off_by(order.keys, "gain"),
        sun_kw=0.09 * heat * off_by(order.keys, "sun"),
        weekend_share=np.where(use < 0.35, 0.25, 1.0),
        store_low_kwh=store_low,
        store_high_kwh=store_high,
        ramp_share_per_h=order.between("ramp", 4.0, 12.0),
    )
    profile = np.select([use < 0.35, use < 0.72], ["hvac-office", "hvac-shopping"], "hvac-round-the-clock")
    columns = {
        "baseline_profile": [str(name) for name in profile],
        "baseline_scale_kw": rated,
        "increase_limit_kw": 0.2 * rated,
        "decrease_limit_kw": decrease,
        "store_low_kwh": store_low,
        "store_high_kwh": store_high,
        "store_end_min_kwh": -0.1 * store_low,
        "decay_per_hour": promise.decay_per_h,
        "discomfort_cost_per_kwh": order.between("discomfort", 0.6, 1.2),
    }
    return Made(BuildingGroup(order.device_class.class_id, order.resource_ids, order.seed, truth), columns)


def _home_ac(order: Order) -> Made:
    rated, cop = order.connected_kw, order.between("cop", 2.9, 3.5)
    heat = rated * cop
    band = order.full(2.5)
    nominal = ThermalMasses(0.26 * heat / 14, 0.12 * heat, 0.05 * heat, 0.40 * heat)
    promise = comfort_promise(nominal, cop, band)
    decrease = np.minimum(promise.decrease_kw, 0.4 * rated)
    store_low = promise.store_low_kwh * decrease / promise.decrease_kw
    truth = ResidentialTruth(
        rated_kw=rated * off_by(order.keys, "rated"),
        cop=cop * off_by(order.keys, "cop"),
        masses=ThermalMasses(
            nominal.envelope_kw_per_k * off_by(order.keys, "envelope"),
            nominal.coupling_kw_per_k * off_by(order.keys, "coupling"),
            nominal.air_kwh_per_k * off_by(order.keys, "air"),
            nominal.mass_kwh_per_k * off_by(order.keys, "mass"),
        ),
        set_celsius=order.between("set", 25.0, 27.0),
        band_k=band * off_by(order.keys, "band"),
        gain_kw=0.15 * heat * off_by(order.keys, "gain"),
        at_home_share=0.5,
    )
    columns = {
        "baseline_profile": ["home-ac"] * len(order),
        "baseline_scale_kw": rated,
        "increase_limit_kw": 0.2 * rated,
        "decrease_limit_kw": decrease,
        "store_low_kwh": store_low,
        "store_high_kwh": 0.4 * store_low,
        "store_end_min_kwh": -0.1 * store_low,
        "decay_per_hour": promise.decay_per_h,
        "discomfort_cost_per_kwh": order.between("discomfort", 0.8, 1.4),
    }
    return Made(ResidentialGroup(order.device_class.class_id, order.resource_ids, order.seed, truth), columns)


def _battery(order: Order, hours: float, floor: float, rest: float, habit: int, wear: float) -> Made:
    power = order.connected_kw
    energy = power * hours
    one_way = order.full(0.94)
    truth = BatteryTruth(
        charge_limit_kw=power * order.between("charge", 0.93, 1.0),
        discharge_limit_kw=power * order.between("discharge", 0.96, 1.0),
        capacity_kwh=energy * off_by(order.keys, "capacity", sign=-1),
        nameplate_kwh=energy,
        floor_fraction=order.full(floor),
        charge_efficiency=one_way * order.between("losses", 0.975, 0.995),
        discharge_efficiency=one_way * order.between("losses-out", 0.975, 0.995),
        start_fraction=order.full(rest),
        rest_fraction=order.full(rest),
        habit=order.full(habit),
        minimum_kw=order.full(0.0),
    )
    columns = {
        "charge_limit_kw": power,
        "discharge_limit_kw": power,
        "energy_min_kwh": floor * energy,
        "energy_max_kwh": energy,
        "energy_start_kwh": rest * energy,
        "energy_end_min_kwh": (rest if habit == IDLE else floor) * energy * (0.95 if habit == IDLE else 1.0),
        "charge_efficiency": one_way,
        "discharge_efficiency": one_way,
        "wear_cost_per_kwh": order.full(wear),
    }
    return Made(BatteryGroup(order.device_class.class_id, order.resource_ids, order.seed, truth), columns)


def _grid_storage(order: Order) -> Made:
    return _battery(order, hours=2.15, floor=0.05, rest=0.92, habit=IDLE, wear=0.08)


def _user_storage(order: Order) -> Made:
    return _battery(order, hours=2.15, floor=0.08, rest=0.90, habit=TIME_OF_USE, wear=0.08)


def _telecom(order: Order) -> Made:
    return _battery(order, hours=3.2, floor=0.35, rest=0.97, habit=IDLE, wear=0.40)


def _chargers(order: Order, habit: int, per_day: float, *, feeds_back: bool = False) -> Made:
    limit = order.connected_kw
    back = limit if feeds_back else order.full(0.0)
    efficiency = order.full(0.92)
    truth = ChargerTruth(
        charge_limit_kw=limit,
        discharge_limit_kw=back * 0.95,
        charge_efficiency=efficiency * order.between("efficiency", 0.94, 1.01),
        discharge_efficiency=efficiency * order.between("efficiency-out", 0.94, 1.0),
        habit=order.full(habit),
        per_day=order.full(per_day) * order.between("popular", 0.8, 1.2) if habit == PUBLIC else order.full(per_day),
    )
    columns: dict[str, Any] = {"charge_limit_kw": limit, "charge_efficiency": efficiency}
    if feeds_back:
        columns |= {
            "discharge_limit_kw": back,
            "discharge_efficiency": efficiency,
            "wear_cost_per_kwh": order.full(0.45),
        }
    offset_s = order.scenario.utc_offset_s.total_seconds()
    group = ChargerGroup(order.device_class.class_id, order.resource_ids, order.seed, truth, offset_s)
    return Made(group, columns)


def _factory(order: Order) -> Made:
    base = order.connected_kw
    block = 0.6 * base
    two_shifts = uniform(order.keys, "shifts") < 0.75
    start = np.where(two_shifts, 7.0, 8.0) + order.between("start", -0.5, 0.5)
    end = np.where(two_shifts, 24.0, 18.5) + order.between("end", -0.3, 0.5)
    shortest, longest = order.full(1.0), order.between("longest", 2.5, 4.0)
    truth = IndustryTruth(
        base_kw=base * order.between("base", 0.86, 0.98),
        block_kw=block * off_by(order.keys, "block"),
        shift_start_hour=start,
        shift_end_hour=end,
        ramp_h=order.between("ramp", 0.08, 0.25),
        shortest_h=shortest * 0.9,
        longest_h=longest * order.between("patience", 1.0, 1.15),
        rest_h=order.full(2.0),
        weekend_share=order.between("weekend", 0.5, 0.9),
    )
    columns = {
        "baseline_profile": [("factory-two-shifts" if both else "factory-one-shift") for both in two_shifts],
        "baseline_scale_kw": base,
        "block_kw": block,
        "cost_per_kwh": order.between("cost", 1.4, 2.4),
        "shortest_h": shortest,
        "longest_h": np.round(longest * 4) / 4,
        "calls_per_day": [2] * len(order),
        "rest_h": order.full(2.0),
        "notice_h": order.full(0.5),
        "rebound_share": order.full(0.0),
        "rebound_hours_h": order.full(0.0),
    }
    return Made(InterruptibleGroup(order.device_class.class_id, order.resource_ids, order.seed, truth), columns)


def _process(order: Order, *, is_batch: bool) -> Made:
    power = order.connected_kw
    hours = 4.0 if is_batch else 9.0
    starts = order.full(8.0 if is_batch else 6.0)
    ends = order.full(23.0)
    preferred = np.round((order.between("preferred", 10.0, 12.5)) * 4) / 4
    truth = ProcessTruth(
        power_kw=power * order.between("power", 0.9, 1.0),
        energy_kwh=power * hours * order.between("work", 0.88, 0.94),
        window_start_hour=starts,
        window_end_hour=ends,
        preferred_hour=preferred,
        is_batch=order.full(float(is_batch)),
    )
    columns: dict[str, Any] = {
        "window_start": [order.moment(hour) for hour in starts],
        "window_end": [order.moment(hour) for hour in ends],
        "energy_kwh": power * hours,
        "power_min_kw": order.full(0.0),
        "power_max_kw": power,
        "preferred_start": [order.moment(hour) for hour in preferred],
        "cost_per_kwh": order.full(0.05),
    }
    if is_batch:
        columns["run_profile"] = ["batch-run"] * len(order)
    return Made(ProcessGroup(order.device_class.class_id, order.resource_ids, order.seed, truth), columns)


def _backup(order: Order) -> Made:
    power = order.connected_kw
    truth = GeneratorTruth(
        power_min_kw=0.3 * power,
        power_max_kw=power * off_by(order.keys, "derating", sign=-1),
        start_delay_s=order.between("delay", 60.0, 240.0),
        ramp_kw_per_h=power * order.between("ramp", 8.0, 20.0),
    )
    columns = {
        "power_min_kw": 0.3 * power,
        "power_max_kw": power,
        "cost_per_kwh": order.between("cost", 1.9, 2.3),
        "start_cost": 0.2 * power,
        "no_load_cost_per_h": 0.02 * power,
        "ramp_kw_per_h": 10 * power,
        "minimum_up_h": order.full(0.5),
        "minimum_down_h": order.full(0.5),
        "co2_kg_per_kwh": order.full(0.75),
    }
    return Made(GeneratorGroup(order.device_class.class_id, order.resource_ids, order.seed, truth), columns)


def _solar(order: Order) -> Made:
    truth = PvTruth(yield_kw=order.connected_kw * 0.82 * off_by(order.keys, "yield", sign=-1))
    columns = {
        "available_profile": ["solar"] * len(order),
        "available_scale_kw": 0.82 * order.connected_kw,
        "curtail_cost_per_kwh": order.full(0.45),
    }
    return Made(PvGroup(order.device_class.class_id, order.resource_ids, order.seed, truth), columns)


def _lighting(order: Order) -> Made:
    rated = order.connected_kw
    share = order.between("dim", 0.5, 0.7)
    truth = LightingTruth(
        rated_kw=rated * order.between("lamps", 0.85, 0.98),
        dim_share=np.minimum(share * off_by(order.keys, "dim"), 0.9),
        on_hour=order.between("on", 19.4, 20.0),
        late_share=order.between("late", 0.4, 0.6),
    )
    columns = {
        "baseline_profile": ["lighting"] * len(order),
        "baseline_scale_kw": rated,
        "curtail_share": share,
        "cost_per_kwh": order.full(1.5),
        "energy_limit_kwh": rated * share * 4,
        "hours_limit_h": order.full(4.0),
        "notice_h": order.full(0.25),
        "rebound_share": order.full(0.0),
        "rebound_hours_h": order.full(0.0),
    }
    return Made(LightingGroup(order.device_class.class_id, order.resource_ids, order.seed, truth), columns)


MAKERS: dict[str, Callable[[Order], Made]] = {
    "hvac": _hvac,
    "depot": lambda order: _chargers(order, DEPOT, 2.0),
    "fast-charger": lambda order: _chargers(order, PUBLIC, 11.0),
    "home-charger": lambda order: _chargers(order, HOME, 0.85),
    "work-charger": lambda order: _chargers(order, WORK, 0.85),
    "v2g": lambda order: _chargers(order, DEPOT, 1.9, feeds_back=True),
    "grid-storage": _grid_storage,
    "user-storage": _user_storage,
    "factory": _factory,
    "pump": lambda order: _process(order, is_batch=False),
    "batch": lambda order: _process(order, is_batch=True),
    "telecom": _telecom,
    "home-ac": _home_ac,
    "backup": _backup,
    "solar": _solar,
    "lighting": _lighting,
}
"""Maker of every class a scenario file may name."""
