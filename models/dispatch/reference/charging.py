"""Charging: the stays of cars at one charger, one way (V1G) or both ways (V2G)."""

from typing import Any

import numpy as np
import pyomo.environ as pyo

from models.dispatch.problem import DispatchProblem
from models.dispatch.reference.given import Given, hold, note, state_of
from models.resources import EvSession

_PER_STAY = (
    "start_kwh",
    "target_kwh",
    "capacity_kwh",
    "in_after",
    "out_after",
    "wear",
    "in_after_cost",
    "out_after_cost",
    "charge_efficiency",
    "per_discharged",
)

SLOTS = 2
"""Stays that every charger has room for: one that is here and one that is foreseen; more come in pairs."""


def slots_for(stays: int) -> int:
    """Room for so many stays, rounded up so that one more car does not change the structure."""
    return max(SLOTS, SLOTS * -(-stays // SLOTS))


class ChargingWriter:
    """A charger with room for ``slots`` stays, most of them often empty."""

    def __init__(self, slots: int, *, both_ways: bool) -> None:
        self.slots, self.both_ways = slots, both_ways

    def shape(self, rows: list[Any], problem: DispatchProblem) -> tuple[Any, ...]:  # noqa: ARG002 - the protocol
        """Room and direction; whatever else a charger or a car has is given."""
        return (self.both_ways, self.slots)

    def given(self, rows: list[EvSession], problem: DispatchProblem) -> Given:
        """Power limits x share of the interval plugged in, energies, and the virtual slot of every stay."""
        return given_stays(rows, problem, self.slots, both_ways=self.both_ways)

    def add(self, block: Any, rows: list[Any], hours: list[float], given: Given) -> None:  # noqa: ARG002 - the protocol
        """Write E1 to E13."""
        hold(block, given)
        add_charging(block, hours, given, both_ways=self.both_ways)


def stay_start_kwh(row: EvSession, problem: DispatchProblem) -> float:
    """What counts as energy at the horizon's start: the battery's level (V2G) or delivered since arrival (V1G).

    A measured state belongs to the car that is plugged in at the horizon's start.
    """
    here = row.arrival <= problem.grid.start < row.departure
    state = state_of(problem, row.resource_id)
    if row.is_v2g:
        known = state.energy_kwh if here else None
        return float(row.battery_start_kwh or 0.0) if known is None else known
    known = state.delivered_kwh if here else None
    return 0.0 if known is None else known


def stay_wear(row: EvSession) -> float:
    """What a kWh through the battery wears it, CNY; a car that only charges would have charged anyway."""
    return row.wear_cost_per_kwh if row.is_v2g else 0.0


def stay_target_kwh(row: EvSession) -> float:
    """The energy at departure, counted as ``stay_start_kwh`` counts."""
    return row.energy_needed_kwh + (float(row.battery_start_kwh or 0.0) if row.is_v2g else 0.0)


def hours_after(row: EvSession, problem: DispatchProblem) -> float:
    """Length of the virtual slot: hours plugged in after the horizon."""
    end = problem.grid.end
    return max(0.0, (row.departure - max(end, row.arrival)).total_seconds() / 3600)


def given_stays(rows: list[EvSession], problem: DispatchProblem, slots: int, *, both_ways: bool) -> Given:
    """The given numbers of a charger's stays, padded with empty ones to ``slots``; a stay that is over is empty."""
    grid, count = problem.grid, len(problem.grid)
    charge, discharge = np.zeros((slots, count)), np.zeros((slots, count))
    one = {name: np.zeros(slots) for name in _PER_STAY}
    one["charge_efficiency"][:] = one["per_discharged"][:] = 1.0
    tariff = problem.tariffs[rows[0].tariff_id]
    mean_price = float(tariff @ grid.hours / grid.hours.sum())
    for k, row in enumerate(rows):
        if row.departure <= grid.start:
            continue
        share = grid.overlap_h(row.arrival, row.departure) / grid.hours
        after_h = hours_after(row, problem)
        charge[k], discharge[k] = row.charge_limit_kw * share, row.discharge_limit_kw * share
        one["charge_efficiency"][k], one["per_discharged"][k] = row.charge_efficiency, 1 / row.discharge_efficiency
        start, target = stay_start_kwh(row, problem), stay_target_kwh(row)
        one["start_kwh"][k], one["target_kwh"][k] = start, target
        wear = stay_wear(row)
        one["wear"][k], one["in_after_cost"][k], one["out_after_cost"][k] = (
            wear,
            mean_price + wear,
            wear - mean_price,
        )
        capacity = row.battery_capacity_kwh if row.is_v2g else None
        one["capacity_kwh"][k] = max(start, target) if capacity is None else capacity
        one["in_after"][k], one["out_after"][k] = (
            row.charge_limit_kw * after_h,
            row.discharge_limit_kw * after_h,
        )
    values: dict[str, Any] = {
        "charge_limit_kw": charge,
        "start_kwh": one["start_kwh"],
        "target_kwh": one["target_kwh"],
        "in_after_limit_kwh": one["in_after"],
    }
    coefficients: dict[str, Any] = {
        "charge_efficiency": one["charge_efficiency"],
        "in_after_cost": one["in_after_cost"],
    }
    if both_ways:
        values |= {
            "discharge_limit_kw": discharge,
            "capacity_kwh": one["capacity_kwh"],
            "out_after_limit_kwh": one["out_after"],
        }
        coefficients |= {
            "per_discharged": one["per_discharged"],
            "wear": one["wear"],
            "out_after_cost": one["out_after_cost"],
            "charge_limit_kw": charge,
            "discharge_limit_kw": discharge,
            "in_after_limit_kwh": one["in_after"],
            "out_after_limit_kwh": one["out_after"],
        }
    return Given(values, coefficients)


def add_charging(block: Any, hours: list[float], given: Given, *, both_ways: bool) -> None:
    r"""Write the equations of a charger's stays k into ``block``; limits and energies are on it already.

        (E1)   p_t = Σ_k (c_kt - d_kt)                                  net power of the charger      [kW]
        (E2)   c_kt ≤ P⁺_k · share_kt                                   only while plugged in         [kW]
        (E3)   c_k* ≤ P⁺_k · h_k                                        virtual slot after T          [kWh]

    and one way (V1G, no d), with the energy counted at the battery

        (E4)   E_k + Σ_t Δ_t η⁺ c_kt + η⁺ c_k* = target_k               charged by departure, hard    [kWh]

    or both ways (V2G)

        (E5)   d_kt ≤ P⁻_k · share_kt                                   only while plugged in         [kW]
        (E6)   d_k* ≤ P⁻_k · h_k                                        virtual slot after T          [kWh]
        (E7)   e_kt = e_{k,t-1} + Δ_t (η⁺ c_kt - d_kt / η⁻)             level; e_{k,-1} = E_k         [kWh]
        (E8)   e_kt ≤ capacity_k                                        never fuller (nor below 0)    [kWh]
        (E9)   e_kT + η⁺ c_k* - d_k* / η⁻ = target_k                    charged by departure, hard    [kWh]
        (E10)  c_kt ≤ P⁺_k · share_kt · u_kt                            charge only, or ...           [kW]
        (E11)  d_kt ≤ P⁻_k · share_kt · (1 - u_kt)                      ... discharge only            [kW]
        (E12)  c_k* ≤ P⁺_k · h_k · u_k*                                 the same in the               [kWh]
        (E13)  d_k* ≤ P⁻_k · h_k · (1 - u_k*)                           ... virtual slot              [kWh]

        own cost   Σ_k Σ_t wear_k Δ_t (c_kt + d_kt) + Σ_k ((price* + wear_k) c_k* + (wear_k - price*) d_k*)

    ======  ==============================  ====  ===================================================
    symbol  name here                       unit  meaning
    ======  ==============================  ====  ===================================================
    p       net_kw[t]                       kW    drawn from the grid
    c, d    charge_kw, discharge_kw[k,t]    kW    into and out of the car of stay k
    c*, d*  in_after_kwh, out_after_kwh[k]  kWh   the same after the horizon, at the grid
    e       energy_kwh[k,t]                 kWh   in the car's battery, at the end of t
    E       start_kwh[k]                    kWh   at the horizon's start: level (V2G), delivered (V1G)
    target  target_kwh[k]                   kWh   the same at departure
    u       is_charging[k,t], ..._after[k]  -     1 when charging
    share   -                               -     part of the interval in which the car is plugged in
    h       -                               h     hours from the horizon's end to a later departure
    price*  -                               CNY   mean of the tariff over the horizon, per kWh
    wear    wear[k]                         CNY   per kWh in or out; 0 one way
    η⁺, η⁻  charge_efficiency[k], ...        -    of the stay; 1/η⁻ is per_discharged[k]
    ======  ==============================  ====  ===================================================

    A departure after the horizon adds one virtual slot of the hours left: it stands in no coupling row, and is
    counted in the objective, in the baseline and in the bound.  E10-E13 carry binaries for the reason of storage's
    S6-S8 and are lazy like them.  A request that cannot be met any more has been relaxed before (``admissions``).

    Source: dispatch-model §2.
    """
    steps, stays = range(len(hours)), range(len(np.atleast_1d(given.values["start_kwh"])))
    block.net_kw = pyo.Var(steps)
    block.charge_kw = pyo.Var(stays, steps, domain=pyo.NonNegativeReals)
    block.in_after_kwh = pyo.Var(stays, domain=pyo.NonNegativeReals)
    stored = given.coefficients["charge_efficiency"]
    block.lazy = ("E10", "E11", "E12", "E13") if both_ways else ()

    def net(b: Any, t: int) -> Any:
        out = sum(b.discharge_kw[k, t] for k in stays) if both_ways else 0.0
        return b.net_kw[t] == sum(b.charge_kw[k, t] for k in stays) - out

    def plugged_in(b: Any, k: int, t: int) -> Any:
        return b.charge_kw[k, t] <= b.charge_limit_kw[k, t]

    def slot_after(b: Any, k: int) -> Any:
        return b.in_after_kwh[k] <= b.in_after_limit_kwh[k]

    def charged(b: Any, k: int) -> Any:
        gained = pyo.quicksum(hours[t] * float(stored[k]) * b.charge_kw[k, t] for t in steps)
        return b.start_kwh[k] + gained + float(stored[k]) * b.in_after_kwh[k] == b.target_kwh[k]

    if both_ways:
        block.discharge_kw = pyo.Var(stays, steps, domain=pyo.NonNegativeReals)
        block.out_after_kwh = pyo.Var(stays, domain=pyo.NonNegativeReals)
    block.E1 = pyo.Constraint(steps, rule=net, doc="(E1)")
    block.E2 = pyo.Constraint(stays, steps, rule=plugged_in, doc="(E2)")
    block.E3 = pyo.Constraint(stays, rule=slot_after, doc="(E3)")
    cost_after = given.coefficients["in_after_cost"]
    cost = sum(cost_after[k] * block.in_after_kwh[k] for k in stays)
    for k in stays:
        note(block, "in_after_cost", k, None, block.in_after_kwh[k])
    if both_ways:
        cost += _add_both_ways(block, hours, given)
    else:
        block.E4 = pyo.Constraint(stays, rule=charged, doc="(E4)")
        for k in stays:
            note(block, "charge_efficiency", k, block.E4[k], block.in_after_kwh[k])
            for t in steps:
                note(block, "charge_efficiency", k, block.E4[k], block.charge_kw[k, t])
    block.own_cost = pyo.Expression(expr=cost)


def _add_both_ways(block: Any, hours: list[float], given: Given) -> Any:
    """Write E5 to E13 of ``add_charging``; returns the cost of wear and of feeding back after the horizon."""
    steps, stays = range(len(hours)), range(len(np.atleast_1d(given.values["start_kwh"])))
    stored, taken = given.coefficients["charge_efficiency"], given.coefficients["per_discharged"]
    block.energy_kwh = pyo.Var(stays, steps, domain=pyo.NonNegativeReals)

    def plugged_in(b: Any, k: int, t: int) -> Any:
        return b.discharge_kw[k, t] <= b.discharge_limit_kw[k, t]

    def slot_after(b: Any, k: int) -> Any:
        return b.out_after_kwh[k] <= b.out_after_limit_kwh[k]

    def balance(b: Any, k: int, t: int) -> Any:
        before = b.energy_kwh[k, t - 1] if t else b.start_kwh[k]
        gained = float(stored[k]) * b.charge_kw[k, t] - float(taken[k]) * b.discharge_kw[k, t]
        return b.energy_kwh[k, t] == before + hours[t] * gained

    def not_fuller(b: Any, k: int, t: int) -> Any:
        return b.energy_kwh[k, t] <= b.capacity_kwh[k]

    def charged(b: Any, k: int) -> Any:
        after = float(stored[k]) * b.in_after_kwh[k] - float(taken[k]) * b.out_after_kwh[k]
        return b.energy_kwh[k, len(hours) - 1] + after == b.target_kwh[k]

    block.E5 = pyo.Constraint(stays, steps, rule=plugged_in, doc="(E5)")
    block.E6 = pyo.Constraint(stays, rule=slot_after, doc="(E6)")
    block.E7 = pyo.Constraint(stays, steps, rule=balance, doc="(E7)")
    block.E8 = pyo.Constraint(stays, steps, rule=not_fuller, doc="(E8)")
    block.E9 = pyo.Constraint(stays, rule=charged, doc="(E9)")
    _add_never_both(block, hours, given)
    wear, cost_after = given.coefficients["wear"], given.coefficients["out_after_cost"]
    for k in stays:
        note(block, "out_after_cost", k, None, block.out_after_kwh[k])
        note(block, "charge_efficiency", k, block.E9[k], block.in_after_kwh[k])
        note(block, "per_discharged", k, block.E9[k], block.out_after_kwh[k])
        for t in steps:
            note(block, "charge_efficiency", k, block.E7[k, t], block.charge_kw[k, t])
            note(block, "per_discharged", k, block.E7[k, t], block.discharge_kw[k, t])
            note(block, "wear", k, None, block.charge_kw[k, t])
            note(block, "wear", k, None, block.discharge_kw[k, t])
    worn = pyo.quicksum(
        float(wear[k]) * hours[t] * (block.charge_kw[k, t] + block.discharge_kw[k, t]) for k in stays for t in steps
    )
    return worn + sum(cost_after[k] * block.out_after_kwh[k] for k in stays)


def _add_never_both(block: Any, hours: list[float], given: Given) -> None:
    """Write E10 to E13 of ``add_charging``, the lazy ones."""
    steps, stays = range(len(hours)), range(len(np.atleast_1d(given.values["start_kwh"])))
    power_in, power_out = given.coefficients["charge_limit_kw"], given.coefficients["discharge_limit_kw"]
    in_after, out_after = given.coefficients["in_after_limit_kwh"], given.coefficients["out_after_limit_kwh"]
    block.is_charging = pyo.Var(stays, steps, domain=pyo.Binary)
    block.is_charging_after = pyo.Var(stays, domain=pyo.Binary)

    def charge_only(b: Any, k: int, t: int) -> Any:
        return b.charge_kw[k, t] - power_in[k, t] * b.is_charging[k, t] <= 0

    def discharge_only(b: Any, k: int, t: int) -> Any:
        return b.discharge_kw[k, t] + power_out[k, t] * b.is_charging[k, t] <= b.discharge_limit_kw[k, t]

    def charge_only_after(b: Any, k: int) -> Any:
        return b.in_after_kwh[k] - in_after[k] * b.is_charging_after[k] <= 0

    def discharge_only_after(b: Any, k: int) -> Any:
        return b.out_after_kwh[k] + out_after[k] * b.is_charging_after[k] <= b.out_after_limit_kwh[k]

    block.E10 = pyo.Constraint(stays, steps, rule=charge_only, doc="(E10)")
    block.E11 = pyo.Constraint(stays, steps, rule=discharge_only, doc="(E11)")
    block.E12 = pyo.Constraint(stays, rule=charge_only_after, doc="(E12)")
    block.E13 = pyo.Constraint(stays, rule=discharge_only_after, doc="(E13)")
    for k in stays:
        for t in steps:
            at = k * len(hours) + t
            note(block, "charge_limit_kw", at, block.E10[k, t], block.is_charging[k, t])
            note(block, "discharge_limit_kw", at, block.E11[k, t], block.is_charging[k, t])
        note(block, "in_after_limit_kwh", k, block.E12[k], block.is_charging_after[k])
        note(block, "out_after_limit_kwh", k, block.E13[k], block.is_charging_after[k])
