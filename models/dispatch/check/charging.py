"""Charging sessions, checked: power only while plugged in, the energy at departure, the level on the way."""

from dataclasses import dataclass

import numpy as np

from models.dispatch.check.horizon import DeviceCheck, Horizon, tolerance
from models.intervals import FloatArray
from models.resources import EvSession


@dataclass(frozen=True)
class Stay:
    """One session on the horizon: energies count the battery's level (V2G), or what was delivered since arrival (V1G).

    ``share``: part of every interval in which the car is plugged in, (T,).  ``hours_after``: plugged in after
    the horizon, the virtual slot's length.
    """

    session: EvSession
    share: FloatArray
    hours_after: float
    start_kwh: float
    target_kwh: float

    @property
    def ceiling_kwh(self) -> float:
        """The level that must not be passed."""
        capacity = self.session.battery_capacity_kwh
        return capacity if self.session.is_v2g and capacity is not None else max(self.start_kwh, self.target_kwh)

    @property
    def wear_cost_per_kwh(self) -> float:
        """Wear counts where the car feeds back (V2G)."""
        return self.session.wear_cost_per_kwh if self.session.is_v2g else 0.0


def stays_of(sessions: list[EvSession], horizon: Horizon) -> list[Stay]:
    """The sessions of one charger that reach into the horizon or come after it, by arrival.

    A measured state belongs to the car that is plugged in when the horizon starts.
    """
    found = []
    for session in sorted(sessions, key=lambda each: each.arrival):
        if session.departure <= horizon.grid.start:
            continue
        share = horizon.grid.overlap_h(session.arrival, session.departure) / horizon.hours
        after = (session.departure - max(horizon.grid.end, session.arrival)).total_seconds() / 3600
        state = horizon.state(session.resource_id)
        here = session.arrival <= horizon.grid.start
        if session.is_v2g:
            begin = session.battery_start_kwh or 0.0
            start = state.energy_kwh if here and state.energy_kwh is not None else begin
            target = begin + session.energy_needed_kwh
        else:
            start = state.delivered_kwh if here and state.delivered_kwh is not None else 0.0
            target = session.energy_needed_kwh
        found.append(Stay(session, share, max(0.0, after), start, target))
    return found


def check_charger(stays: list[Stay], power_kw: FloatArray, horizon: Horizon) -> DeviceCheck:
    """Check the net power (T,) of one charger against all its stays, whose targets are as admitted.

    In an interval that two stays share, the earlier car's part is what it still needs: its energy is exact.
    """
    found = DeviceCheck(energy_kwh=np.full(len(power_kw), np.nan))
    left = power_kw.copy()
    count = np.sum([stay.share > 0 for stay in stays], axis=0) if stays else np.zeros(len(power_kw))
    found.equals("plugged_in", np.where(count == 0, power_kw, 0.0), 0.0)
    for k, stay in enumerate(stays):
        active = np.flatnonzero(stay.share > 0)
        mine = np.zeros_like(power_kw)
        mine[active] = left[active]
        if active.size and any(later.share[active[-1]] > 0 for later in stays[k + 1 :]):
            last = int(active[-1])
            mine[last] = 0.0
            lacking = stay.target_kwh - stay.start_kwh - _gained(stay, mine, horizon).sum()
            mine[last] = _power_for(stay, float(lacking)) / horizon.hours[last]
        left[active] -= mine[active]
        _check_stay(stay, mine, active, horizon, found)
    return found


def _gained(stay: Stay, power_kw: FloatArray, horizon: Horizon) -> FloatArray:
    session = stay.session
    efficiency = np.where(power_kw > 0, session.charge_efficiency, 1 / session.discharge_efficiency)
    return np.asarray(horizon.hours * power_kw * efficiency)


def _power_for(stay: Stay, energy_kwh: float) -> float:
    """KWh at the charger for so many kWh at the battery."""
    if energy_kwh > 0:
        return energy_kwh / stay.session.charge_efficiency
    return energy_kwh * stay.session.discharge_efficiency


def _check_stay(stay: Stay, power_kw: FloatArray, active: np.ndarray, horizon: Horizon, found: DeviceCheck) -> None:
    session = stay.session
    found.at_most("charge_limit_kw", power_kw, session.charge_limit_kw * stay.share)
    found.at_most("discharge_limit_kw", -power_kw, session.discharge_limit_kw * stay.share)
    level = stay.start_kwh + np.cumsum(_gained(stay, power_kw, horizon))
    assert found.energy_kwh is not None  # noqa: S101 - check_charger made it
    found.energy_kwh[active] = level[active]
    if session.is_v2g:
        here = stay.share > 0
        found.at_least("battery_empty", np.where(here, level, np.inf), min(0.0, stay.start_kwh))
        most = max(stay.ceiling_kwh, stay.start_kwh)
        found.at_most("battery_capacity_kwh", np.where(here, level, -np.inf), most)
    lacking = float(stay.target_kwh - (level[-1] if len(level) else stay.start_kwh))
    late = 0.0
    if stay.hours_after > 0 and abs(lacking) > tolerance(stay.target_kwh):
        wanted = _power_for(stay, lacking)
        most = session.charge_limit_kw * stay.hours_after
        least = -session.discharge_limit_kw * stay.hours_after
        late = float(np.clip(wanted, least, most))
        lacking -= late * (session.charge_efficiency if late > 0 else 1 / session.discharge_efficiency)
    found.equals("energy_needed_kwh", stay.target_kwh - lacking, stay.target_kwh)
    found.late_kwh += late
    found.own_cost += stay.wear_cost_per_kwh * (float(horizon.hours @ np.abs(power_kw)) + abs(late))
