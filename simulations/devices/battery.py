"""Batteries: cabinets of storage stations, telecom backup, and (if switched on) a pumped-hydro unit.

    e' = η⁺ c − d/η⁻ − σ e          true energy, kWh; c, d charging and discharging power at the terminals
    c ≤ P⁺ · min(1, (1 − soc)/0.10) · heat      power tapers over the last tenth,
    d ≤ P⁻ · min(1, soc/0.08) · heat            and towards empty; cells above 45 °C hold back

What the meter reports is not e: it multiplies a state of charge that drifts by the capacity on the nameplate, and is
set right only when the battery is nearly full or empty.  True capacity is 10 to 20 % below the nameplate.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.intervals import FloatArray
from models.resources import ResourceKind
from simulations.devices.base import DeviceGroup, GroupReading, Surroundings
from simulations.devices.dice import between, normal

IDLE, TIME_OF_USE = 0, 1


@dataclass(frozen=True)
class BatteryTruth:
    """True parameters, (n,) each; ``nameplate_kwh`` and ``floor_kwh`` as registered.

    ``habit``: what it does when nobody orders, ``IDLE`` (stay at ``rest_fraction``, refill at night) or
    ``TIME_OF_USE`` (two cycles a day by its timer).
    """

    charge_limit_kw: FloatArray
    discharge_limit_kw: FloatArray
    capacity_kwh: FloatArray
    nameplate_kwh: FloatArray
    floor_fraction: FloatArray
    charge_efficiency: FloatArray
    discharge_efficiency: FloatArray
    start_fraction: FloatArray
    rest_fraction: FloatArray
    habit: FloatArray
    minimum_kw: FloatArray


class BatteryGroup(DeviceGroup):
    """Batteries of one class."""

    kind = ResourceKind.STORAGE

    def __init__(self, class_id: str, resource_ids: Sequence[str], seed: int, truth: BatteryTruth) -> None:
        super().__init__(class_id, resource_ids, seed)
        self.truth = truth
        self.energy_kwh: FloatArray = truth.capacity_kwh * truth.start_fraction
        self.cell_celsius = np.full(len(self), 28.0)
        self.meter_drift = np.zeros(len(self))
        self.lost_kwh = np.zeros(len(self))
        self._drift_per_h = normal(self.keys, "soc-meter-drift") * 0.0006
        self._self_discharge_per_h = between(self.keys, "self-discharge", 0.00005, 0.0002)

    @property
    def soc(self) -> FloatArray:
        """True state of charge, 0 to 1."""
        return self.energy_kwh / self.truth.capacity_kwh

    def limits_kw(self, hours: float) -> tuple[FloatArray, FloatArray]:
        """What it can charge and discharge on average over the next ``hours``, kW ≥ 0."""
        truth, soc = self.truth, self.soc
        heat = np.clip((55 - self.cell_celsius) / 10, 0.0, 1.0)
        charge = truth.charge_limit_kw * np.clip((1 - soc) / 0.10, 0.0, 1.0) * heat
        room = (truth.capacity_kwh - self.energy_kwh) / (truth.charge_efficiency * hours)
        discharge = truth.discharge_limit_kw * np.clip(soc / 0.08, 0.0, 1.0) * heat
        floor = truth.floor_fraction * truth.capacity_kwh
        stock = np.maximum(self.energy_kwh - floor, 0) * truth.discharge_efficiency / hours
        return np.minimum(charge, np.maximum(room, 0)), np.minimum(discharge, stock)

    def own_kw(self, around: Surroundings) -> FloatArray:
        """What the battery's own controller wants: fill by night to rest; by timer also discharge at peak prices."""
        truth, hour = self.truth, around.hour
        lacking = np.clip((truth.rest_fraction - self.soc) / 0.02, 0.0, 1.0)
        refill = truth.charge_limit_kw * lacking
        own = 0.35 * refill if 1 <= hour < 7 else np.zeros(len(self))
        timer = truth.habit == TIME_OF_USE
        if 13 <= hour < 14 or 16 <= hour < 17 or 21 <= hour < 23:
            own = np.where(timer, -0.95 * truth.discharge_limit_kw, own)
        elif 18 <= hour < 20:
            own = np.where(timer, 0.9 * refill, own)
        return own

    def step(self, around: Surroundings) -> GroupReading:
        truth, hours = self.truth, around.hours
        order = self.orders.at(around.start_s)
        wanted = np.where(np.isnan(order), self.own_kw(around), order)
        wanted = np.where(np.abs(wanted) < truth.minimum_kw, 0.0, wanted)
        charge_limit, discharge_limit = self.limits_kw(hours)
        net = np.clip(wanted, -discharge_limit, charge_limit)
        charge, discharge = np.maximum(net, 0), np.maximum(-net, 0)
        warm = 1 - 0.0008 * np.maximum(self.cell_celsius - 25, 0)
        stored = hours * (truth.charge_efficiency * warm * charge - discharge / (truth.discharge_efficiency * warm))
        leaked = self.energy_kwh * self._self_discharge_per_h * hours
        before = self.energy_kwh
        self.energy_kwh = np.clip(before + stored - leaked, 0.0, truth.capacity_kwh)
        lost = hours * net - (self.energy_kwh - before)
        self.lost_kwh = self.lost_kwh + lost
        heating = 0.6 * lost / np.maximum(0.004 * truth.capacity_kwh, 1e-9)
        cooling = 1 - np.exp(-hours / 1.5)
        ambient = 24 + 0.25 * (around.outdoor_celsius - 24)  # the cabinet has its own air-conditioner
        self.cell_celsius = self.cell_celsius + 0.1 * heating + cooling * (ambient - self.cell_celsius)
        self._drift(hours)
        reported = np.clip(self.soc + self.meter_drift, 0.0, 1.0) * truth.nameplate_kwh
        return self._reading(net, energy_kwh=reported, temperature_celsius=self.cell_celsius.copy())

    def _drift(self, hours: float) -> None:
        anchored = (self.soc > 0.97) | (self.soc < 0.06)
        drifted = np.clip(self.meter_drift + self._drift_per_h * hours, -0.06, 0.06)
        self.meter_drift = np.where(anchored, 0.0, drifted)
