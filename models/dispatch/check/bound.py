"""The Lagrangian lower bound at a plan's prices, and the least cost of every baseline, by the checker's own oracles.

    L(λ) = Σ_i min_x { Σ_t Δ_t (price_{i,t} + Σ_rows weight_i λ_{row,t}) p_t + own cost }
           + Σ_rows Σ_t Δ_t λ · constant

with every row written as ``constant + Σ_i weight_i p_i ≤ slack`` and 0 ≤ λ ≤ penalty, CNY per kWh: the slack then
costs at least what the price takes, and weak duality makes L a lower bound of every plan's objective.  A price
outside its range is moved into it first.
"""

from typing import Any

import numpy as np

from models.dispatch.check.coupling import Rows, row_key
from models.dispatch.check.devices import Device
from models.dispatch.check.horizon import Horizon
from models.dispatch.check.oracles.loads import least_curtailable, least_interruptible
from models.dispatch.check.oracles.plants import least_generator, least_pv, least_shiftable
from models.dispatch.check.oracles.prices import Prices
from models.dispatch.check.oracles.stores import Least, least_stay, least_storage, least_thermal
from models.dispatch.problem import TIE_BREAK_PER_KWH_H, DispatchProblem
from models.intervals import FloatArray
from models.plan import DispatchPlan
from models.resources import ResourceKind

_ORACLES: dict[ResourceKind, Any] = {
    ResourceKind.STORAGE: least_storage,
    ResourceKind.CURTAILABLE_LOAD: least_curtailable,
    ResourceKind.INTERRUPTIBLE_LOAD: least_interruptible,
    ResourceKind.SHIFTABLE_LOAD: least_shiftable,
    ResourceKind.THERMAL_LOAD: least_thermal,
    ResourceKind.GENERATOR: least_generator,
    ResourceKind.PV: least_pv,
}


def least_cost_of(device: Device, prices: Prices, horizon: Horizon) -> Least:
    """Least cost of one resource at given prices."""
    if device.kind is not ResourceKind.EV_SESSION:
        return _ORACLES[device.kind](device.row, prices, horizon)  # type: ignore[no-any-return]
    parts = [least_stay(stay, prices, horizon) for stay in device.stays]
    return Least(sum(part.cost for part in parts), all(part.exact for part in parts))


def baseline_prices(problem: DispatchProblem, device: Device, horizon: Horizon) -> Prices:
    """Tariff and the tie-breaking term, which the virtual slot has at the horizon's end."""
    tariff = problem.tariffs[device.row.tariff_id]
    late = horizon.mean(tariff) + TIE_BREAK_PER_KWH_H * float(horizon.ends_h[-1])
    return Prices(tariff + TIE_BREAK_PER_KWH_H * horizon.tau_h, late)


def dual_prices(rows: list[Rows], plan: DispatchPlan) -> list[FloatArray]:
    """λ / Δ of every row, (T,), moved into [0, penalty]; 0 where the plan names none or the row does not stand."""
    said: dict[object, float] = {}
    for price in plan.prices:
        said[row_key(price)] = said.get(row_key(price), 0.0) + price.amount
    found = []
    for row in rows:
        values = np.array([said.get(row.key(start), 0.0) for start in plan.grid.starts])
        found.append(np.where(np.isfinite(row.constant), np.clip(values, 0.0, row.penalty), 0.0))
    return found


def lower_bound(
    problem: DispatchProblem, plan: DispatchPlan, devices: list[Device], rows: list[Rows], horizon: Horizon
) -> tuple[float, dict[str, str]]:
    """L at the plan's prices, and per kind whether its oracle was exact or relaxed."""
    duals = dual_prices(rows, plan)
    total = 0.0
    effective = np.zeros((len(devices), len(horizon.hours)))
    for row, price in zip(rows, duals, strict=True):
        if price.any():
            effective += row.weight[:, None] * price[None, :]
            total += float((horizon.hours * price) @ np.where(price > 0, row.constant, 0.0))
    kinds: dict[str, str] = {}
    for index, (device, dual) in enumerate(zip(devices, effective, strict=True)):
        prices, constant = _with_real_time(problem, index, device, dual, horizon)
        least = least_cost_of(device, prices, horizon)
        total += least.cost + constant
        exact = least.exact and kinds.get(device.kind.value, "exact") == "exact"
        kinds[device.kind.value] = "exact" if exact else "relaxed"
    return total, kinds


def _with_real_time(
    problem: DispatchProblem, index: int, device: Device, dual: FloatArray, horizon: Horizon
) -> tuple[Prices, float]:
    """Prices of a device with what a re-plan adds, and a constant.

    Switching costs |p_1 − now| in the first interval only, straying |p − plan|: where both act in the first interval,
    the smaller is left out (never negative, so the bound stays a bound).  A charger shares them among its stays: left
    out.
    """
    tariff = problem.tariffs[device.row.tariff_id]
    late = horizon.mean(tariff)
    terms, penalties = problem.real_time, problem.penalties
    if terms is None or len(device.stays) > 1:
        return Prices(tariff + dual, late), 0.0
    plan_kw = np.where(np.isfinite(terms.plan_kw[index]), terms.plan_kw[index], 0.0)
    stray = np.where(np.isfinite(terms.plan_kw[index]), penalties.stray_cost_per_kwh * terms.stray_applies, 0.0)
    now = float(terms.now_kw[index])
    if np.isfinite(now) and penalties.switch_cost_per_kw / horizon.hours[0] > stray[0]:
        stray[0], plan_kw[0] = penalties.switch_cost_per_kw / horizon.hours[0], now
    if device.stays:
        outside = device.stays[0].share == 0
        constant = float((horizon.hours * stray * np.abs(plan_kw))[outside].sum())
        return Prices(tariff + dual, late, np.where(outside, 0.0, stray), plan_kw), constant
    return Prices(tariff + dual, late, stray, plan_kw), 0.0
