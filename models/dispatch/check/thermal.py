"""Thermal loads, checked: power around the baseline, and the comfort store that leaks."""

import numpy as np

from models.dispatch.check.horizon import DeviceCheck, Horizon
from models.intervals import FloatArray
from models.resources import ThermalLoad


def store_factors(load: ThermalLoad, horizon: Horizon) -> tuple[FloatArray, FloatArray]:
    """A and the gain of u in s_t = a s_{t-1} + gain u_t, both (T,)."""
    if load.decay_per_hour == 0:
        return np.ones_like(horizon.hours), horizon.hours
    kept = np.exp(-load.decay_per_hour * horizon.hours)
    return kept, -np.expm1(-load.decay_per_hour * horizon.hours) / load.decay_per_hour


def store_start_kwh(load: ThermalLoad, horizon: Horizon) -> float:
    """The comfort store when the horizon starts."""
    return horizon.state(load.resource_id).store_kwh or 0.0


def check_thermal(load: ThermalLoad, power_kw: FloatArray, horizon: Horizon) -> DeviceCheck:
    """Check net power (T,) against a thermal load whose store limits are as admitted."""
    found = DeviceCheck()
    base = horizon.profiles[load.baseline_profile] * load.baseline_scale_kw
    change = power_kw - base
    found.at_least("power_kw", power_kw, 0.0)
    found.at_most("increase_limit_kw", change, load.increase_limit_kw)
    found.at_most("decrease_limit_kw", -change, load.decrease_limit_kw)
    kept, gain = store_factors(load, horizon)
    store, level = np.empty_like(change), store_start_kwh(load, horizon)
    for t in range(len(change)):
        level = kept[t] * level + gain[t] * change[t]
        store[t] = level
    found.at_least("store_low_kwh", store, -load.store_low_kwh)
    found.at_most("store_high_kwh", store, load.store_high_kwh)
    found.at_least("store_end_min_kwh", float(store[-1]), load.store_end_min_kwh)
    found.energy_kwh = store
    found.own_cost = load.discomfort_cost_per_kwh * float(horizon.hours @ np.maximum(-change, 0))
    return found
