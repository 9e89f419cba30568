r"""Level of weather-driven loads: how far above its like days a day will lie, seen from the city's own forecast.

    (V1)  Ê = α + β C        least squares over the like days, β ≥ 0            daily energy of a group   [kWh]
    (V2)  f = clip(Ê(min(C*, max C)) / Ē, 0.8, 1.4)                             factor on the profile     [-]

======  ===============  ====  ==========================================================
symbol  name here        unit  meaning
E       energy_kwh       kWh   energy of a group of loads on a like day, (D,)
C       city_kw          kW    mean load of the city on the same day, (D,)
C*      city_ahead_kw    kW    mean load of the city as forecast for the target day
Ē       used_kwh         kWh   mean energy of the days that the profile was made of
======  ===============  ====  ==========================================================

A heat wave grows day by day, so the mean of earlier days lies below the day that matters (in the Chengdu scenario by
a fifth for air-conditioning): deliveries would be under-counted, and devices pressed below what was ordered.  The
line is not followed beyond the highest load that has been seen: a forecast that is 2 % too high would be 6 % of
air-conditioning.  The factor is made with the day-ahead forecast, before and without any event.  That forecast errs by
3 %, which is up to 10 % of air-conditioning; so the line is frozen with the table, and followed as the day goes: with
every hour C* becomes what the city's meters have shown plus what is forecast of the rest (``LevelLine``).  It is the
whole city's load, undisturbed: no participant can move it, and b stays blind to events.

Source: regression baselines of the domain notes §3.1; the caution on heat waves there, §3.3.
"""

from dataclasses import dataclass

import numpy as np

from models.intervals import FloatArray

FEWEST_DAYS = 5
LEAST_SPREAD = 0.02
"""Cities whose like days are more alike than this tell nothing about the level."""

LIMITS = (0.8, 1.4)


def level_factor(energy_kwh: FloatArray, city_kw: FloatArray, used_kwh: float, city_ahead_kw: float) -> float:
    """(V2), or 1 where the like days are too few or too much alike to tell.

    ``energy_kwh``, ``city_kw``: (D,), NaN where not known.
    """
    known = np.isfinite(energy_kwh) & np.isfinite(city_kw)
    energy, city = energy_kwh[known], city_kw[known]
    if len(energy) < FEWEST_DAYS or used_kwh <= 0 or not np.isfinite(city_ahead_kw):
        return 1.0
    if city.max() - city.min() < LEAST_SPREAD * city.mean():
        return 1.0
    centred = city - city.mean()
    slope = max(0.0, float(centred @ energy) / float(centred @ centred))
    reached = min(city_ahead_kw, float(city.max()))
    expected = float(energy.mean()) + slope * (reached - float(city.mean()))
    return float(np.clip(expected / used_kwh, *LIMITS))


@dataclass(frozen=True, slots=True)
class LevelLine:
    """What (V1) is drawn through, frozen with a day's baseline table; ``city_ahead_kw``: C* when that was made."""

    energy_kwh: tuple[float, ...]
    city_kw: tuple[float, ...]
    used_kwh: float
    city_ahead_kw: float

    def factor(self, city_kw: float) -> float:
        """(V2) for a day of that mean load of the city."""
        return level_factor(np.array(self.energy_kwh), np.array(self.city_kw), self.used_kwh, city_kw)

    def correction(self, city_kw: float) -> float:
        """What the rows of the table count for now that the day is known to come to ``city_kw``, against C*."""
        return self.factor(city_kw) / self.factor(self.city_ahead_kw)
