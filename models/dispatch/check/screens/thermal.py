"""Thermal loads by the thousand: the comfort store that leaks, one interval after the other for all at once."""

import numpy as np

from models.dispatch.check.horizon import Horizon
from models.dispatch.check.screens.common import Batch, Granted, Screened, above, below, or_else
from models.dispatch.states import StateColumns
from models.fleet import Column
from models.intervals import FloatArray


def factors(decay_per_hour: FloatArray, hours: FloatArray) -> tuple[FloatArray, FloatArray]:
    """A and the gain of u in s_t = a s_{t-1} + gain u_t, both (n, T)."""
    decay = decay_per_hour[:, None]
    gain = np.where(decay == 0, hours, -np.expm1(-decay * hours) / np.where(decay == 0, 1.0, decay))
    return np.exp(-decay * hours), gain


def admit_thermals(columns: dict[str, Column], state: StateColumns, horizon: Horizon) -> Batch:
    """Loads with the store limits and the end conditions that they can still keep from their measured stores."""
    asked = {name: columns[name] for name in ("store_low_kwh", "store_high_kwh", "store_end_min_kwh")}
    level = or_else(state.store_kwh, 0.0)
    low, high = np.maximum(asked["store_low_kwh"], -level), np.maximum(asked["store_high_kwh"], level)
    kept, gain = factors(columns["decay_per_hour"], horizon.hours)
    most = level
    for t in range(len(horizon.hours)):
        most = np.minimum(high, kept[:, t] * most + gain[:, t] * columns["increase_limit_kw"])
    granted = {
        "store_low_kwh": low,
        "store_high_kwh": high,
        "store_end_min_kwh": np.minimum(asked["store_end_min_kwh"], most),
    }
    changed = tuple(Granted(name, asked[name], granted[name]) for name in granted)
    return Batch({**columns, **granted}, state, horizon, changed, np.zeros(len(level), dtype=np.bool_))


def screen_thermals(batch: Batch, power_kw: FloatArray) -> Screened:
    """Power around the baseline, and the store."""
    hours, get = batch.horizon.hours, batch.number
    change = power_kw - batch.series("baseline_profile", "baseline_scale_kw")
    suspect = below(power_kw.min(axis=1), np.zeros(len(batch)))
    suspect |= above(change.max(axis=1), get("increase_limit_kw"))
    suspect |= above(-change.min(axis=1), get("decrease_limit_kw"))
    kept, gain = factors(get("decay_per_hour"), hours)
    store = gain * change
    store[:, 0] += kept[:, 0] * or_else(batch.state.store_kwh, 0.0)
    for t in range(1, len(hours)):
        store[:, t] += kept[:, t] * store[:, t - 1]
    suspect |= below(store.min(axis=1), -get("store_low_kwh")) | above(store.max(axis=1), get("store_high_kwh"))
    suspect |= below(store[:, -1], get("store_end_min_kwh"))
    own_cost = get("discomfort_cost_per_kwh") * (np.maximum(-change, 0) @ hours)
    return Screened(suspect, own_cost, np.zeros(len(batch)), store)
