"""Air-conditioning of public and commercial buildings: two thermal masses, a thermostat, people and weather.

Cooling Q = COP · p, with a COP that falls 2 % per °C outdoors above 35.  Undispatched, the thermostat holds its target,
which moves with opening hours.  An order is realised by moving the thermostat: less power lets the room warm up to the
upper comfort limit, more pre-cools down to the lower one, and at a limit the building takes back control.  Released,
it returns to its target at a limited rate; what it then draws in excess is the rebound, by physics and not by formula.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.intervals import FloatArray
from models.resources import ResourceKind
from simulations.devices.base import DeviceGroup, GroupReading, Surroundings
from simulations.devices.dice import normal, smooth
from simulations.devices.thermal_masses import ThermalMasses

CONTROL_H = 1 / 6
"""The thermostat looks ten minutes ahead."""
SETBACK_CELSIUS = 31.0
RECOVERY_K_PER_H = 8.0
RISE_K_PER_H = 8.0


@dataclass(frozen=True)
class BuildingTruth:
    """True parameters, (n,) each.  ``opens_hour`` ≥ ``closes_hour`` means open round the clock.

    ``gain_kw``: heat of people and machines when open; ``sun_kw``: heat of a clear noon sun on the structure.
    ``weekend_share``: part of the gains that is there at weekends.
    """

    rated_kw: FloatArray
    cop: FloatArray
    masses: ThermalMasses
    set_celsius: FloatArray
    band_k: FloatArray
    opens_hour: FloatArray
    closes_hour: FloatArray
    gain_kw: FloatArray
    sun_kw: FloatArray
    weekend_share: FloatArray
    store_low_kwh: FloatArray
    store_high_kwh: FloatArray
    ramp_share_per_h: FloatArray


class BuildingGroup(DeviceGroup):
    """Buildings of one class."""

    kind = ResourceKind.THERMAL_LOAD

    def __init__(self, class_id: str, resource_ids: Sequence[str], seed: int, truth: BuildingTruth) -> None:
        super().__init__(class_id, resource_ids, seed)
        self.truth = truth
        self.air_celsius: FloatArray = truth.set_celsius + 1.5
        self.mass_celsius: FloatArray = truth.set_celsius + 2.0
        self.target_celsius: FloatArray = truth.set_celsius + 1.5
        self.power_kw = np.zeros(len(self))
        self.has_left = np.zeros(len(self), dtype=np.bool_)

    def is_open(self, hour: float, lead_h: float = 0.0) -> FloatArray:
        """1 where people are in (or will be within ``lead_h``), else 0."""
        truth = self.truth
        always = truth.opens_hour >= truth.closes_hour
        opened = (hour >= truth.opens_hour - lead_h) & (hour < truth.closes_hour)
        return (always | opened).astype(np.float64)

    def _gains_kw(self, around: Surroundings) -> tuple[FloatArray, FloatArray]:
        truth = self.truth
        people = 1 + 0.04 * normal(self.keys, "day-occupancy", around.day)
        people = people + 0.03 * smooth(self.keys, "occupancy", around.start_s, 1800)
        share = np.ones(len(self)) if around.workday else truth.weekend_share
        inside = truth.gain_kw * (0.15 + 0.85 * self.is_open(around.hour) * share) * people
        return inside, truth.sun_kw * around.sun_fraction

    def step(self, around: Surroundings) -> GroupReading:
        truth, masses, hours = self.truth, self.truth.masses, around.hours
        cop = truth.cop * (1 - 0.02 * (around.outdoor_celsius - 35))
        inside, sun = self._gains_kw(around)
        warmth = masses.envelope_kw_per_k * around.outdoor_celsius + inside
        free, _ = masses.after(CONTROL_H, self.air_celsius, self.mass_celsius, warmth, sun)
        per_kw = masses.air_per_kw(CONTROL_H) * cop

        def power_to_reach(celsius: FloatArray) -> FloatArray:
            return np.clip((free - celsius) / per_kw, 0.0, truth.rated_kw)

        order = self.orders.at(around.start_s)
        desired = np.where(self.is_open(around.hour, lead_h=1.0) > 0, truth.set_celsius, SETBACK_CELSIUS)
        upper, lower = truth.set_celsius + truth.band_k, truth.set_celsius - truth.band_k
        obeying = ~np.isnan(order) & ~self.has_left
        step_down, step_up = RECOVERY_K_PER_H * hours, RISE_K_PER_H * hours
        moved = self.target_celsius + np.clip(desired - self.target_celsius, -step_down, step_up)
        self.target_celsius = np.where(obeying, self.air_celsius, moved)
        own = power_to_reach(self.target_celsius)
        wanted = np.where(obeying, np.clip(order, power_to_reach(upper), power_to_reach(lower)), own)
        reach = truth.rated_kw * truth.ramp_share_per_h * hours
        self.power_kw = np.clip(self.power_kw + np.clip(wanted - self.power_kw, -reach, reach), 0.0, truth.rated_kw)
        self.air_celsius, self.mass_celsius = masses.after(
            hours, self.air_celsius, self.mass_celsius, warmth - cop * self.power_kw, sun
        )
        too_warm = obeying & (self.air_celsius > upper - 0.05) & (order < power_to_reach(upper) - 1e-9)
        recovered = self.air_celsius < truth.set_celsius + 0.5 * truth.band_k
        self.has_left = (self.has_left | too_warm) & ~recovered
        return self._reading(
            self.power_kw.copy(),
            energy_kwh=self._believed_store_kwh(desired, around),
            temperature_celsius=self.air_celsius + 0.1 * smooth(self.keys, "thermometer", around.end_s, 300),
            available=~self.has_left,
        )

    def _believed_store_kwh(self, desired: FloatArray, around: Surroundings) -> FloatArray:
        """The comfort store as the building's controller reckons it from its thermometer; NaN while closed."""
        truth = self.truth
        depth = np.clip((truth.set_celsius - self.air_celsius) / truth.band_k, -1.0, 1.0)
        store = np.where(depth < 0, depth * truth.store_low_kwh, depth * truth.store_high_kwh)
        settled = self.is_open(around.hour) > 0
        return np.where(settled & (desired == truth.set_celsius), store, np.nan)

    def objection(self, index: int, power_kw: float | None) -> str | None:
        if power_kw is not None and self.has_left[index]:
            return "comfort limit reached"
        return None
