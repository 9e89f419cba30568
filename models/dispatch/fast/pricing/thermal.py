"""Thermal loads: cooling and heating around their undisturbed consumption, with a comfort store that leaks.

*Why it is exact.*  By T4 the store is a level with a leak: s_t = a_t s_{t-1} + g_t u_t, u = p − b.  An interval costs
Δ (price p + discomfort max(b − p, 0) + stray |p − plan|): convex and piecewise linear in p with kinks at b and at the
plan, so in the level's change g u too, whatever the sign of the price.  T2 and T3 are the ends of that function, T5 and
T6 the bounds of the level, T7 its end: ``stores`` finds the optimum.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from models.dispatch.fast.pricing.common import WORK_ROWS, Members, Near, Prices, Sums, account, effective_prices
from models.dispatch.fast.pricing.jit import jit, jit_row
from models.dispatch.fast.pricing.stores import FREE, KEPT, LOWEST, USED, cheapest_path, write_pieces
from models.dispatch.fast.setting import IndexArray, Setting, rows_in
from models.dispatch.states import StateColumns
from models.fleet import Column
from models.intervals import FloatArray

SHARED = ("profiles", "length_class")
"""Fields of ``ThermalArrays`` that are not per row."""

_NOISE = 1e-12
"""Relative: a change of power below it is what rounding leaves."""
_OFF = 1e-9
"""Relative: what a plan may be off a limit and keep it (its levels were added up elsewhere)."""


class ThermalArrays(NamedTuple):
    """n loads, (n,) each; powers kW, store kWh, discomfort CNY per kWh.

    ``kept``, ``gain``: (n, L) a_t and g_t (h) for each of the L different lengths that intervals have;
    ``length_class``: (T,) which of them, shared.  ``profile``: row of ``profiles`` (P, T), per unit, shared.
    """

    profile: IndexArray
    scale_kw: FloatArray
    increase_kw: FloatArray
    decrease_kw: FloatArray
    discomfort: FloatArray
    start: FloatArray
    floor: FloatArray
    ceiling: FloatArray
    end_min: FloatArray
    decay_per_h: FloatArray
    kept: FloatArray
    gain: FloatArray
    profiles: FloatArray
    length_class: IndexArray


def thermal_arrays(columns: Mapping[str, Column], setting: Setting, states: StateColumns) -> ThermalArrays:
    """The thermal table's columns as admitted, and the stores measured (at rest if nothing is known), as arrays."""
    number = {name: np.ascontiguousarray(columns[name], dtype=np.float64) for name in _NUMBERS}
    lengths, length_class = np.unique(setting.hours, return_inverse=True)
    decay = number["decay_per_hour"]
    exponent = -decay[:, None] * lengths
    leaks = decay[:, None] > 0
    gain = np.where(leaks, -np.expm1(exponent) / np.where(leaks, decay[:, None], 1.0), lengths)
    return ThermalArrays(
        profile=rows_in(setting.profile_row, columns["baseline_profile"]),
        scale_kw=number["baseline_scale_kw"],
        increase_kw=number["increase_limit_kw"],
        decrease_kw=number["decrease_limit_kw"],
        discomfort=number["discomfort_cost_per_kwh"],
        start=np.where(np.isnan(states.store_kwh), 0.0, states.store_kwh),
        floor=-number["store_low_kwh"],
        ceiling=number["store_high_kwh"],
        end_min=np.maximum(number["store_end_min_kwh"], -number["store_low_kwh"]),
        decay_per_h=decay,
        kept=np.exp(exponent),
        gain=np.ascontiguousarray(gain),
        profiles=setting.profiles,
        length_class=length_class.astype(np.int64),
    )


_NUMBERS = (
    "baseline_scale_kw",
    "increase_limit_kw",
    "decrease_limit_kw",
    "store_low_kwh",
    "store_high_kwh",
    "store_end_min_kwh",
    "decay_per_hour",
    "discomfort_cost_per_kwh",
)


@jit_row
def base_thermal(units: ThermalArrays, i: int, power_kw: FloatArray) -> None:
    """Fill ``power_kw`` (T,) with load i's undisturbed consumption."""
    profile, scale = units.profiles[units.profile[i]], units.scale_kw[i]
    for t in range(power_kw.size):
        power_kw[t] = profile[t] * scale


@jit_row
def cheapest_thermal(
    units: ThermalArrays,
    i: int,
    hours: FloatArray,
    price: FloatArray,
    late: float,  # noqa: ARG001 - every kind is asked alike
    stray: FloatArray,
    plan_kw: FloatArray,
    power_kw: FloatArray,
    work: FloatArray,
) -> tuple[float, float, float]:
    """Fill ``power_kw`` (T,) with load i's schedule; (least cost, its discomfort, 0), CNY."""
    profile, scale = units.profiles[units.profile[i]], units.scale_kw[i]
    keeps, gains = units.kept[i], units.gain[i]
    increase, decrease, discomfort = units.increase_kw[i], units.decrease_kw[i], units.discomfort[i]
    lowest, kept, used, gained = work[LOWEST], work[KEPT], work[USED], work[FREE]
    least, steps = 0.0, hours.size
    for t in range(steps):
        base = profile[t] * scale
        low, high = base - min(decrease, base), base + increase
        wanted = min(max(plan_kw[t], low), high) if stray[t] > 0 else base
        first, second = min(base, wanted), max(base, wanted)
        gain = gains[units.length_class[t]]
        gained[t] = gain
        per = hours[t] / gain
        lowest[t], kept[t] = gain * (low - base), keeps[units.length_class[t]]
        between = price[t] + (stray[t] if wanted < base else -stray[t]) - (discomfort if wanted < base else 0.0)
        write_pieces(
            work,
            t,
            (price[t] - discomfort - stray[t]) * per,
            gain * (first - low),
            between * per,
            gain * (second - first),
            (price[t] + stray[t]) * per,
            gain * (high - second),
        )
        least += hours[t] * (price[t] * low + discomfort * (base - low) + stray[t] * abs(low - plan_kw[t]))
    least += cheapest_path(
        units.start[i],
        units.floor[i],
        units.ceiling[i],
        units.end_min[i],
        units.ceiling[i],
        steps,
        units.decay_per_h[i] > 0,
        work,
    )
    missed_kwh = 0.0
    for t in range(steps):
        base = profile[t] * scale
        low, high = base - min(decrease, base), base + increase
        change = (lowest[t] + used[t]) / gained[t]
        if abs(change) <= _NOISE * (high - low):
            change = 0.0
        power_kw[t] = min(max(base + change, low), high)
        missed_kwh += hours[t] * max(base - power_kw[t], 0.0)
    return least, discomfort * missed_kwh, 0.0


@jit_row
def planned_thermal(
    units: ThermalArrays, i: int, hours: FloatArray, plan_kw: FloatArray, stray: FloatArray, power_kw: FloatArray
) -> float:
    """Discomfort of doing what the plan does, CNY; less than 0 if that is no schedule.  Fills ``power_kw`` (T,)."""
    profile, scale = units.profiles[units.profile[i]], units.scale_kw[i]
    keeps, gains, level = units.kept[i], units.gain[i], units.start[i]
    increase, decrease = units.increase_kw[i], units.decrease_kw[i]
    off_kw, off_kwh = _OFF * max(increase, decrease), _OFF * max(1.0, units.ceiling[i])
    low, high = units.floor[i] - off_kwh, units.ceiling[i] + off_kwh
    missed_kwh, kept = 0.0, True
    for t in range(hours.size):
        base, power, length = profile[t] * scale, plan_kw[t], units.length_class[t]
        level = keeps[length] * level + gains[length] * (power - base)
        kept &= base - min(decrease, base) - off_kw <= power <= base + increase + off_kw
        kept &= stray[t] > 0 and low <= level <= high
        missed_kwh += hours[t] * max(base - power, 0.0)
        power_kw[t] = power
    if kept and level >= units.end_min[i] - off_kwh:
        return float(units.discomfort[i] * missed_kwh)
    return -1.0


@jit
def sweep_thermal(
    units: ThermalArrays,
    members: Members,
    near: Near,
    first: int,
    last: int,
    prices: Prices,
    sums: Sums,
    power_out: FloatArray,
) -> None:
    """Ask the oracle about rows [first, last), add up; write their power to ``power_out`` unless it is empty."""
    count = prices.hours.size
    price, stray, plan, power = np.empty(count), np.empty(count), np.empty(count), np.empty(count)
    work = np.empty((WORK_ROWS, 4 * count + 64))
    for i in range(first, last):
        effective_prices(members, near, i, prices, price, stray, plan)
        late = prices.late[members.tariff[i]]
        own = -1.0
        if prices.pull > 0:
            own = planned_thermal(units, i, prices.hours, plan, stray, power)
        if own >= 0:
            answer = (0.0, own, 0.0)
        else:
            answer = cheapest_thermal(units, i, prices.hours, price, late, stray, plan, power, work)
        account(members, near, i, prices, power, answer, sums)
        if power_out.shape[0] > 0:
            power_out[i - first, :] = power


@jit
def energy_thermal(
    units: ThermalArrays, rows: IndexArray, place: IndexArray, power_kw: FloatArray, energy_kwh: FloatArray
) -> None:
    """Fill lines ``place`` (m,) of ``energy_kwh`` (n, T): store of ``rows`` (m,) under the power in these lines."""
    for k in range(rows.size):
        i, power, energy = rows[k], power_kw[place[k]], energy_kwh[place[k]]
        profile, scale, level = units.profiles[units.profile[i]], units.scale_kw[i], units.start[i]
        keeps, gains = units.kept[i], units.gain[i]
        for t in range(power.size):
            length = units.length_class[t]
            level = keeps[length] * level + gains[length] * (power[t] - profile[t] * scale)
            energy[t] = level


def own_cost_thermal(units: ThermalArrays, hours: FloatArray, power_kw: FloatArray) -> FloatArray:
    """Discomfort of the n loads under power (n, T), CNY (n,)."""
    return np.asarray(units.discomfort * (np.maximum(_base_kw(units) - power_kw, 0.0) @ hours))


def _base_kw(units: ThermalArrays) -> FloatArray:
    return np.asarray(units.profiles[units.profile] * units.scale_kw[:, None])
