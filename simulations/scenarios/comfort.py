"""What an aggregator may promise of a building: comfort store and power limits from two thermal masses.

With g(h) the warming of the air after h hours of 1 kW of heat, a reduction u (electric) held for h hours warms by
COP u g(h).  The registered store  s' = −δ s + u  allows  u(h) = S δ / (1 − e^{−δh}).  Both agree at one and two hours
for  e^{−δ} = g(2)/g(1) − 1;  a leak above 0.7 per hour would promise too much for long events and forget the rebound,
so δ is kept below.
"""

from dataclasses import dataclass

import numpy as np

from models.intervals import FloatArray
from simulations.devices.thermal_masses import ThermalMasses

GREATEST_DECAY_PER_H = 0.7


@dataclass(frozen=True, slots=True)
class ComfortPromise:
    """Electric quantities, (n,) each."""

    decrease_kw: FloatArray
    store_low_kwh: FloatArray
    decay_per_h: FloatArray


def comfort_promise(masses: ThermalMasses, cop: FloatArray, band_k: FloatArray) -> ComfortPromise:
    """What can be given up for an hour within ``band_k``, and the store and leak that go with it."""
    nothing = np.zeros_like(cop)
    one = np.ones_like(cop)
    air, mass = nothing, nothing
    warming = []
    for _ in range(2):
        air, mass = masses.after(1.0, air, mass, one, nothing)
        warming.append(air)
    decrease = band_k / (cop * warming[0])
    ratio = np.clip(warming[1] / warming[0] - 1, 1e-3, 0.999)
    decay = np.clip(-np.log(ratio), 0.05, GREATEST_DECAY_PER_H)
    return ComfortPromise(decrease, decrease * (1 - np.exp(-decay)) / decay, decay)
