"""Air-conditioners of homes: compressor on or off, a room of two thermal masses, people who come and go.

Undispatched the compressor switches at the edges of a narrow band around the set temperature.  Ordered to a mean power
it keeps account of the energy it was granted and switches on while there is credit, never outside the comfort limits,
and never for less than three minutes.  Nobody at home: off, and the order means nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.intervals import FloatArray
from models.resources import ResourceKind
from simulations.devices.base import DeviceGroup, GroupReading, Surroundings
from simulations.devices.dice import between, normal, smooth, uniform
from simulations.devices.thermal_masses import ThermalMasses

SUBSTEP_S = 60.0
MINIMUM_RUN_S = 180.0


@dataclass(frozen=True)
class ResidentialTruth:
    """True parameters, (n,) each; powers kW, ``at_home_share``: households in which somebody stays in by day."""

    rated_kw: FloatArray
    cop: FloatArray
    masses: ThermalMasses
    set_celsius: FloatArray
    band_k: FloatArray
    gain_kw: FloatArray
    at_home_share: float


class ResidentialGroup(DeviceGroup):
    """Home air-conditioners."""

    kind = ResourceKind.THERMAL_LOAD

    def __init__(self, class_id: str, resource_ids: Sequence[str], seed: int, truth: ResidentialTruth) -> None:
        super().__init__(class_id, resource_ids, seed)
        self.truth = truth
        self.air_celsius: FloatArray = between(self.keys, "start-temperature", 27.0, 30.0)
        self.mass_celsius: FloatArray = self.air_celsius + 0.5
        self.is_on = np.zeros(len(self), dtype=np.bool_)
        self.in_state_s = np.full(len(self), 3600.0)
        self.credit_kwh = np.zeros(len(self))

    def at_home(self, around: Surroundings) -> FloatArray:
        """1 where the air-conditioner is wanted at all, (n,): evenings and nights, and by day where somebody stays."""
        day, hour = around.day, around.hour
        stays = uniform(self.keys, "stays-in", day) < self.truth.at_home_share + (0 if around.workday else 0.2)
        back = 18.3 + 1.1 * normal(self.keys, "comes-home", day)
        leaves = 8.0 + 0.7 * normal(self.keys, "goes-out", day)
        uses = uniform(self.keys, "uses-it", day) < 0.93
        inside = stays | (hour >= back) | (hour < leaves)
        return (inside & uses).astype(np.float64)

    def step(self, around: Surroundings) -> GroupReading:
        order = self.orders.at(around.start_s)
        home = np.asarray(self.at_home(around) > 0)
        parts = max(1, round((around.end_s - around.start_s) / SUBSTEP_S))
        hours = around.hours / parts
        drawn = np.zeros(len(self))
        people = 1 + 0.15 * smooth(self.keys, "household", around.start_s, 3600)
        sun = 0.5 * self.truth.gain_kw * around.sun_fraction
        gain = self.truth.gain_kw * people * np.where(home, 1.0, 0.3)
        for _ in range(parts):
            drawn += self._minute(hours, order, home, around.outdoor_celsius, gain, sun)
        return self._reading(drawn / parts, temperature_celsius=self.air_celsius.copy())

    def _minute(
        self,
        hours: float,
        order: FloatArray,
        home: NDArray[np.bool_],
        outdoor_celsius: float,
        gain_kw: FloatArray,
        sun_kw: FloatArray,
    ) -> FloatArray:
        truth, masses, warm = self.truth, self.truth.masses, self.air_celsius
        ordered = ~np.isnan(order) & home
        thermostat = np.where(self.is_on, warm > truth.set_celsius - 0.5, warm > truth.set_celsius + 0.5)
        on_credit = np.where(self.is_on, self.credit_kwh > -truth.rated_kw / 40, self.credit_kwh > 0)
        too_warm, too_cold = warm > truth.set_celsius + truth.band_k, warm < truth.set_celsius - truth.band_k
        wanted = np.where(ordered, (on_credit | too_warm) & ~too_cold, thermostat) & np.asarray(home, dtype=np.bool_)
        may = (self.in_state_s >= MINIMUM_RUN_S) | ~home
        switched = (wanted != self.is_on) & may
        self.is_on = np.where(switched, wanted, self.is_on)
        self.in_state_s = np.where(switched, 0.0, self.in_state_s) + hours * 3600
        power = np.where(self.is_on, truth.rated_kw * (1 + 0.008 * (outdoor_celsius - 35)), 0.0)
        credit = self.credit_kwh + hours * (np.where(ordered, order, 0.0) - power)
        room = truth.rated_kw * 0.1
        self.credit_kwh = np.where(ordered, np.clip(credit, -room, room), 0.0)
        cop = truth.cop * (1 - 0.02 * (outdoor_celsius - 35))
        heat = masses.envelope_kw_per_k * outdoor_celsius + gain_kw - cop * power
        self.air_celsius, self.mass_celsius = masses.after(hours, warm, self.mass_celsius, heat, sun_kw)
        return np.asarray(power)
