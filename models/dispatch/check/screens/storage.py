"""Storage units by the thousand: levels by running sums, modes of pumped hydro by three costs carried along."""

import numpy as np

from models.dispatch.check.horizon import Horizon, tolerance
from models.dispatch.check.screens.common import Batch, BoolArray, Granted, Screened, above, below, or_else
from models.dispatch.states import StateColumns
from models.fleet import Column
from models.intervals import FloatArray


def admit_storages(columns: dict[str, Column], state: StateColumns, horizon: Horizon) -> Batch:
    """Units with measured levels as start, and the bounds and end conditions that they can still keep."""
    asked = {name: columns[name] for name in ("energy_min_kwh", "energy_max_kwh", "energy_end_min_kwh")}
    level = or_else(state.energy_kwh, columns["energy_start_kwh"])
    low, high = np.minimum(asked["energy_min_kwh"], level), np.maximum(asked["energy_max_kwh"], level)
    most = level.copy()
    for hours in horizon.hours:
        room = (high - most) / (columns["charge_efficiency"] * hours)
        charge = np.minimum(columns["charge_limit_kw"], room)
        most += np.where(charge >= columns["charge_min_kw"], columns["charge_efficiency"] * hours * charge, 0.0)
    granted = {
        "energy_min_kwh": low,
        "energy_max_kwh": high,
        "energy_end_min_kwh": np.minimum(asked["energy_end_min_kwh"], most),
    }
    changed = tuple(Granted(name, asked[name], granted[name]) for name in granted)
    admitted = {**columns, **granted, "energy_start_kwh": level}
    return Batch(admitted, state, horizon, changed, np.zeros(len(level), dtype=np.bool_))


def is_hydro(batch: Batch) -> BoolArray:
    """Which units have minimum powers or a cost of changing mode, (n,)."""
    names = ("charge_min_kw", "discharge_min_kw", "mode_change_cost")
    return np.asarray(np.any([batch.number(name) > 0 for name in names], axis=0))


def screen_storages(batch: Batch, power_kw: FloatArray) -> Screened:
    """Power, level, end; and for pumped hydro minimum powers and the cost of changing mode."""
    hours, get = batch.horizon.hours, batch.number
    charge, discharge = np.maximum(power_kw, 0), np.maximum(-power_kw, 0)
    gained = charge * batch.upright("charge_efficiency") - discharge / batch.upright("discharge_efficiency")
    level = batch.upright("energy_start_kwh") + np.cumsum(hours * gained, axis=1)
    suspect = above(charge.max(axis=1), get("charge_limit_kw"))
    suspect |= above(discharge.max(axis=1), get("discharge_limit_kw"))
    suspect |= below(level.min(axis=1), get("energy_min_kwh")) | above(level.max(axis=1), get("energy_max_kwh"))
    suspect |= below(level[:, -1], get("energy_end_min_kwh"))
    own_cost = get("wear_cost_per_kwh") * (np.abs(power_kw) @ hours)
    hydro = np.flatnonzero(is_hydro(batch))
    if hydro.size:
        odd, cost = _hydro(batch, hydro, charge[hydro], discharge[hydro])
        suspect[hydro] |= odd
        own_cost[hydro] += cost
    return Screened(suspect, own_cost, np.zeros(len(batch)), level)


def _hydro(batch: Batch, which: np.ndarray, charge: FloatArray, discharge: FloatArray) -> tuple[BoolArray, FloatArray]:
    """Suspects among the hydro units ``which``, and the least cost of modes (idle, pump, turbine) that fit."""

    def get(name: str) -> FloatArray:
        return np.asarray(batch.number(name)[which][:, None])

    pumps = charge > tolerance(get("charge_limit_kw"))
    turbines = discharge > tolerance(get("discharge_limit_kw"))
    odd = below(np.where(pumps, charge, np.inf), get("charge_min_kw"))
    odd |= below(np.where(turbines, discharge, np.inf), get("discharge_min_kw"))
    before, change = or_else(batch.state.power_kw[which], 0.0), get("mode_change_cost")[:, 0]
    still_pumps = (get("charge_min_kw") == 0)[:, 0]
    still_turbines = (get("discharge_min_kw") == 0)[:, 0]
    rest = np.abs(before) <= 1e-6
    idle, pump, turbine = (np.where(here, 0.0, np.inf) for here in (rest, before > 1e-6, before < -1e-6))
    for t in range(charge.shape[1]):
        pumping, turbining = pumps[:, t], turbines[:, t]
        changed = np.minimum(np.minimum(idle, pump), turbine) + change
        idle = np.where(~pumping & ~turbining, np.minimum(idle, changed), np.inf)
        pump = np.where(pumping | (still_pumps & ~turbining), np.minimum(pump, changed), np.inf)
        turbine = np.where(turbining | (still_turbines & ~pumping), np.minimum(turbine, changed), np.inf)
    return odd, np.minimum(np.minimum(idle, pump), turbine)
