"""Two coupled heat capacities, many buildings at once, stepped exactly.

    C_a dT_a/dt = U (T_out − T_a) + H (T_m − T_a) + q_a − Q        air and furniture, °C
    C_m dT_m/dt = H (T_a − T_m) + q_m                              structure, °C

Q is the heat taken out by cooling, q_a and q_m the gains from people, machines and sun, all kW of heat and constant
over a step; U, H in kW/K, C in kWh/K.  The solution over a step is the matrix exponential, made once per step length.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy.linalg import expm

from models.intervals import FloatArray


@dataclass
class ThermalMasses:
    """Parameters, (n,) each, and the exact step for every step length met so far."""

    envelope_kw_per_k: FloatArray
    coupling_kw_per_k: FloatArray
    air_kwh_per_k: FloatArray
    mass_kwh_per_k: FloatArray
    _steps: dict[float, tuple[FloatArray, FloatArray]] = field(default_factory=dict, repr=False)

    def _exact(self, hours: float) -> tuple[FloatArray, FloatArray]:
        found = self._steps.get(hours)
        if found is None:
            count = len(self.air_kwh_per_k)
            block = np.zeros((count, 4, 4))
            block[:, 0, 0] = -(self.envelope_kw_per_k + self.coupling_kw_per_k) / self.air_kwh_per_k
            block[:, 0, 1] = self.coupling_kw_per_k / self.air_kwh_per_k
            block[:, 1, 0] = self.coupling_kw_per_k / self.mass_kwh_per_k
            block[:, 1, 1] = -block[:, 1, 0]
            block[:, 0, 2] = 1 / self.air_kwh_per_k
            block[:, 1, 3] = 1 / self.mass_kwh_per_k
            whole = np.asarray(expm(block * hours))
            found = self._steps[hours] = (whole[:, :2, :2], whole[:, :2, 2:])
        return found

    def after(
        self,
        hours: float,
        air: FloatArray,
        mass: FloatArray,
        air_gain_kw: FloatArray,
        mass_gain_kw: FloatArray,
    ) -> tuple[FloatArray, FloatArray]:
        """Temperatures after ``hours``; ``air_gain_kw`` includes U·T_out and −Q."""
        state, inflow = self._exact(hours)
        air_end = state[:, 0, 0] * air + state[:, 0, 1] * mass
        air_end = air_end + inflow[:, 0, 0] * air_gain_kw + inflow[:, 0, 1] * mass_gain_kw
        mass_end = state[:, 1, 0] * air + state[:, 1, 1] * mass
        mass_end = mass_end + inflow[:, 1, 0] * air_gain_kw + inflow[:, 1, 1] * mass_gain_kw
        return air_end, mass_end

    def air_per_kw(self, hours: float) -> FloatArray:
        """By how much 1 kW of heat into the air over ``hours`` warms the air at their end, K/kW."""
        return self._exact(hours)[1][:, 0, 0]

    def heat_content_kwh(self, air: FloatArray, mass: FloatArray) -> FloatArray:
        """Heat held above 0 °C, kWh."""
        return self.air_kwh_per_k * air + self.mass_kwh_per_k * mass
