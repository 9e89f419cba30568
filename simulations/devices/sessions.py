"""When cars come, how long they stay and what they need: parametric statistics of our own choice.

The shapes follow what is published; the numbers are assumptions for a Chinese city:

- home chargers: evening arrivals around 18:40, overnight stays, 8 to 30 kWh (J. Quirós-Tortós, L. Ochoa, B. Lees, "A
  statistical analysis of EV charging behavior in the UK", ISGT Latin America 2015, doi 10.1109/ISGT-LA.2015.7381196);
- workplaces: arrivals around 8:50, stays of about 8 h (Z. Lee, T. Li, S. Low, "ACN-Data: Analysis and applications of
  an open EV charging dataset", e-Energy 2019, doi 10.1145/3307772.3328313);
- depots of buses and vans: a stop over midday, and the night from about 20:20 on (assumption);
- public fast chargers: short stays, two humps at noon and in the late evening, when taxis change shift (assumption).

People leave early: one in eight, by up to a third of the stay.  All of it depends on charger and day, never on orders.
"""

from dataclasses import dataclass

import numpy as np

from simulations.devices.dice import Keys, normal, uniform

HOME, WORK, PUBLIC, DEPOT = 0, 1, 2, 3


@dataclass(frozen=True, slots=True)
class Visit:
    """One stay of one car as it will really be; times in POSIX seconds, energy at the battery in kWh.

    ``departure_s`` is what the driver says on arrival, ``leaves_s`` when the car is really pulled out.
    """

    session_id: str
    arrival_s: float
    departure_s: float
    leaves_s: float
    needed_kwh: float
    capacity_kwh: float
    start_kwh: float
    car_limit_kw: float


class Throws:
    """All throws for one charger and one visit; each purpose is thrown anew."""

    def __init__(self, key: Keys, index: int) -> None:
        self._key, self._index = key, index

    def even(self, purpose: str, low: float = 0.0, high: float = 1.0) -> float:
        return low + (high - low) * float(uniform(self._key, purpose, self._index)[0])

    def bell(self, purpose: str, mean: float, deviation: float) -> float:
        return mean + deviation * float(normal(self._key, purpose, self._index)[0])


def _stay(habit: int, place: int, count: int, throws: Throws, charger_kw: float) -> tuple[float, float, float]:
    """Arrival (local hour), stay (h) and need (kWh at the battery) of one of ``count`` visits of the day."""
    if habit == HOME:
        arrival = throws.bell("arrival", 18.7, 1.5)
        stay = float(np.clip(throws.bell("stay", 11.0, 2.0), 3.0, 16.0))
        return arrival, stay, throws.even("need", 10.0, 34.0)
    if habit == WORK:
        arrival = throws.bell("arrival", 8.8, 0.7)
        stay = float(np.clip(throws.bell("stay", 8.0, 1.5), 2.0, 12.0))
        return arrival, stay, throws.even("need", 12.0, 40.0)
    if habit == DEPOT:
        hours = 0.3 + 0.5 * charger_kw / 60  # large chargers serve large batteries
        if place == 0:
            arrival = throws.bell("arrival", 12.3, 0.4)
            stay = float(np.clip(throws.bell("stay", 3.4, 0.4), 2.2, 5.0))
            return arrival, stay, charger_kw * throws.even("need", 1.1, 1.9) * min(1.0, hours)
        arrival = throws.bell("arrival", 20.3, 0.5)
        stay = float(np.clip(throws.bell("stay", 9.0, 0.8), 7.0, 11.0))
        return arrival, stay, charger_kw * throws.even("need", 1.8, 2.8) * min(1.0, hours)
    slot = (place + throws.even("arrival", 0.1, 0.9)) / count
    knots = np.array([0.0, 0.06, 0.14, 0.42, 0.54, 0.64, 0.92, 1.0])
    at_knots = np.array([0.0, 3.0, 7.5, 11.8, 13.8, 17.5, 22.6, 24.0])
    stay = float(np.clip(throws.bell("stay", 1.05, 0.3), 0.4, 2.2))
    need = min(throws.even("need", 22.0, 48.0), 0.75 * charger_kw * stay)
    return float(np.interp(slot, knots, at_knots)), stay, need


def visits(
    name: str, key: Keys, habit: int, per_day: float, charger_kw: float, day: int, midnight_s: float
) -> list[Visit]:
    """The cars that come to one charger on one local day, by arrival; ``key`` is (1,)."""
    whole = int(per_day)
    count = whole + int(float(uniform(key, "visits", day)[0]) < per_day - whole)
    made = []
    for place in range(count):
        throws = Throws(key, day * 64 + place)
        arrival_h, stay_h, need = _stay(habit, place, count, throws, charger_kw)
        arrival = midnight_s + 60 * round(60 * arrival_h)
        departure = arrival + 60 * round(60 * stay_h)
        early = throws.even("leaves-early") < 0.125
        cut = throws.even("how-early", 0.05, 0.33) if early else 0.0
        leaves = departure - 60 * round((departure - arrival) * cut / 60)
        capacity = throws.even("capacity", 45.0, 82.0) * (max(1.0, charger_kw / 20) if habit == DEPOT else 1.0)
        car_limit = charger_kw * (throws.even("car-limit", 0.82, 0.95) if throws.even("slow-car") < 0.2 else 1.0)
        possible = 0.9 * car_limit * 0.92 * (departure - arrival) / 3600
        need = float(min(need, possible, 0.85 * capacity))
        start = throws.even("start", 0.08, 0.95) * (0.97 * capacity - need)
        made.append(Visit(f"{name}-{day}-{place}", arrival, departure, leaves, need, capacity, start, car_limit))
    return sorted(made, key=lambda visit: visit.arrival_s)
