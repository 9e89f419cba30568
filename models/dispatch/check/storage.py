"""Storage, checked: power, level, end, and for pumped hydro minimum powers and the cost of changing mode."""

import numpy as np

from models.dispatch.check.horizon import DeviceCheck, Horizon, tolerance
from models.intervals import FloatArray
from models.resources import Storage

_IDLE, _PUMP, _TURBINE = 0, 1, 2


def check_storage(unit: Storage, power_kw: FloatArray, horizon: Horizon) -> DeviceCheck:
    """Check net power (T,) against a storage unit whose limits are as admitted and whose start is as measured.

    Only net power is in a plan, so charge is its positive and discharge its negative part: never both at
    once.
    """
    found = DeviceCheck()
    charge, discharge = np.maximum(power_kw, 0), np.maximum(-power_kw, 0)
    found.at_most("charge_limit_kw", charge, unit.charge_limit_kw)
    found.at_most("discharge_limit_kw", discharge, unit.discharge_limit_kw)
    gained = charge * unit.charge_efficiency - discharge / unit.discharge_efficiency
    level = unit.energy_start_kwh + np.cumsum(horizon.hours * gained)
    found.at_least("energy_min_kwh", level, unit.energy_min_kwh)
    found.at_most("energy_max_kwh", level, unit.energy_max_kwh)
    found.at_least("energy_end_min_kwh", float(level[-1]), unit.energy_end_min_kwh)
    found.energy_kwh = level
    found.own_cost = unit.wear_cost_per_kwh * float(horizon.hours @ (charge + discharge))
    if unit.is_pumped_hydro:
        _check_hydro(unit, charge, discharge, horizon, found)
    return found


def _check_hydro(
    unit: Storage, charge: FloatArray, discharge: FloatArray, horizon: Horizon, found: DeviceCheck
) -> None:
    pumps = charge > tolerance(unit.charge_limit_kw)
    turbines = discharge > tolerance(unit.discharge_limit_kw)
    found.at_least("charge_min_kw", np.where(pumps, charge, np.inf), unit.charge_min_kw)
    found.at_least("discharge_min_kw", np.where(turbines, discharge, np.inf), unit.discharge_min_kw)
    found.own_cost += mode_change_cost(unit, pumps, turbines, horizon.state(unit.resource_id).power_kw)


def mode_change_cost(unit: Storage, pumps: np.ndarray, turbines: np.ndarray, power_before_kw: float | None) -> float:
    """Least cost of modes (pump, idle, turbine) that fit: a machine without a minimum may stand in its mode at 0 kW."""
    before = power_before_kw or 0.0
    cost = np.full(3, np.inf)
    cost[_PUMP if before > 1e-6 else _TURBINE if before < -1e-6 else _IDLE] = 0.0
    for pumping, turbining in zip(pumps, turbines, strict=True):
        reached = np.minimum(cost, cost.min() + unit.mode_change_cost)
        fits = np.array(
            [
                not pumping and not turbining,
                pumping or (unit.charge_min_kw == 0 and not turbining),
                turbining or (unit.discharge_min_kw == 0 and not pumping),
            ]
        )
        cost = np.where(fits, reached, np.inf)
    return float(cost.min())
