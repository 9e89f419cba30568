"""Storage: batteries, telecom backup and pumped hydro."""

from typing import Any

import numpy as np
import pyomo.environ as pyo

from models.dispatch.problem import DispatchProblem
from models.dispatch.reference.given import Given, hold, state_of
from models.resources import Storage


class StorageWriter:
    """Batteries and pumped hydro as the city sees them."""

    def shape(self, rows: list[Storage], problem: DispatchProblem) -> tuple[Any, ...]:  # noqa: ARG002 - the protocol
        """Efficiencies, wear and limits; a level or an end condition may change freely."""
        (unit,) = rows
        limits = (unit.charge_limit_kw, unit.discharge_limit_kw)
        hydro = (unit.is_pumped_hydro, unit.charge_min_kw, unit.discharge_min_kw, unit.mode_change_cost)
        return (*limits, unit.charge_efficiency, unit.discharge_efficiency, unit.wear_cost_per_kwh, *hydro)

    def given(self, rows: list[Storage], problem: DispatchProblem) -> Given:
        """Levels, and for pumped hydro its mode before the horizon (power in ``state``, else idle)."""
        (unit,) = rows
        state = state_of(problem, unit.resource_id)
        values: dict[str, Any] = {
            "energy_start_kwh": start_kwh(unit, problem),
            "energy_min_kwh": unit.energy_min_kwh,
            "energy_max_kwh": unit.energy_max_kwh,
            "energy_end_min_kwh": unit.energy_end_min_kwh,
        }
        if unit.is_pumped_hydro:
            power = state.power_kw or 0.0
            values |= {"was_charging": float(power > 1e-6), "was_discharging": float(power < -1e-6)}
        return Given(values)

    def add(self, block: Any, rows: list[Storage], hours: list[float], given: Given) -> None:
        """Write S1 to S12."""
        (unit,) = rows
        hold(block, given)
        add_storage(block, unit, hours)


def start_kwh(unit: Storage, problem: DispatchProblem) -> float:
    """The level at the horizon's start: measured if known, else as registered."""
    measured = state_of(problem, unit.resource_id).energy_kwh
    return unit.energy_start_kwh if measured is None else measured


def add_storage(block: Any, unit: Storage, hours: list[float]) -> None:
    r"""Write one storage unit's equations into ``block``; the given levels are on it already.

        (S1)   p_t = c_t - d_t                               net power                          [kW]
        (S2)   e_t = e_{t-1} + Δ_t (η⁺ c_t - d_t / η⁻)       energy balance                     [kWh]
        (S3)   e_t ≥ E_min                                   never emptier                      [kWh]
        (S4)   e_t ≤ E_max                                   never fuller                       [kWh]
        (S5)   e_T ≥ E_end                                   at the horizon's end               [kWh]
        (S6)   c_t ≤ P⁺ u_t                                  charge only, or ...                [kW]
        (S7)   d_t ≤ P⁻ v_t                                  ... discharge only                 [kW]
        (S8)   u_t + v_t ≤ 1                                 never both at once

    and for pumped hydro also

        (S9)   c_t ≥ C_min u_t                               a pump runs at its minimum or not  [kW]
        (S10)  d_t ≥ D_min v_t                               so does the turbine                [kW]
        (S11)  m_t ≥ ± (u_t - u_{t-1})                       pumping begins or ends
        (S12)  m_t ≥ ± (v_t - v_{t-1})                       turbining begins or ends

        own cost   Σ_t wear Δ_t (c_t + d_t) + mode_change_cost m_t

    ======  ==========================  ====  =====================================================
    symbol  name here                   unit  meaning
    ======  ==========================  ====  =====================================================
    p       net_kw[t]                   kW    drawn from the grid, negative when feeding in
    c       charge_kw[t]                kW    charged, 0 ... P⁺
    d       discharge_kw[t]             kW    discharged, 0 ... P⁻
    e       energy_kwh[t]               kWh   stored, at the end of t; e_{-1} = energy_start_kwh
    u, v    is_charging, is_discharging  -    1 in that mode
    m       mode_changes[t]             -     1 where the mode (pump, idle, turbine) is not that of t-1
    P⁺, P⁻  charge_limit_kw, ...        kW    limits of power
    η⁺, η⁻  charge_efficiency, ...      -     grid to store, store to grid
    Δ       hours[t]                    h     length of the interval
    ======  ==========================  ====  =====================================================

    S6-S8 carry the binaries because prices may be negative: where the effective price (tariff plus duals) is below
    -wear (1+η)/(1-η), η = η⁺η⁻, a relaxed battery earns money by charging and discharging at once.  Anywhere else
    they change nothing, so a battery's S6-S8 are *lazy*: left out until a relaxed solution does both, then put in
    for that battery (exact, see ``compiled``).  Pumped hydro needs them always, for its minimum powers.

    Source: dispatch-model §2; the binary condition follows from comparing one kWh cycled with none.
    """
    steps = range(len(hours))
    block.net_kw = pyo.Var(steps)
    block.charge_kw = pyo.Var(steps, bounds=(0, unit.charge_limit_kw))
    block.discharge_kw = pyo.Var(steps, bounds=(0, unit.discharge_limit_kw))
    block.energy_kwh = pyo.Var(steps)
    block.is_charging = pyo.Var(steps, domain=pyo.Binary)
    block.is_discharging = pyo.Var(steps, domain=pyo.Binary)
    block.lazy = () if unit.is_pumped_hydro else ("S6", "S7", "S8")

    def net(b: Any, t: int) -> Any:
        return b.net_kw[t] == b.charge_kw[t] - b.discharge_kw[t]

    def balance(b: Any, t: int) -> Any:
        before = b.energy_kwh[t - 1] if t else b.energy_start_kwh
        gained = unit.charge_efficiency * b.charge_kw[t] - b.discharge_kw[t] / unit.discharge_efficiency
        return b.energy_kwh[t] == before + hours[t] * gained

    def not_emptier(b: Any, t: int) -> Any:
        return b.energy_kwh[t] >= b.energy_min_kwh

    def not_fuller(b: Any, t: int) -> Any:
        return b.energy_kwh[t] <= b.energy_max_kwh

    def end(b: Any) -> Any:
        return b.energy_kwh[len(hours) - 1] >= b.energy_end_min_kwh

    def charge_only(b: Any, t: int) -> Any:
        return b.charge_kw[t] <= unit.charge_limit_kw * b.is_charging[t]

    def discharge_only(b: Any, t: int) -> Any:
        return b.discharge_kw[t] <= unit.discharge_limit_kw * b.is_discharging[t]

    def never_both(b: Any, t: int) -> Any:
        return b.is_charging[t] + b.is_discharging[t] <= 1

    block.S1 = pyo.Constraint(steps, rule=net, doc="(S1)")
    block.S2 = pyo.Constraint(steps, rule=balance, doc="(S2)")
    block.S3 = pyo.Constraint(steps, rule=not_emptier, doc="(S3)")
    block.S4 = pyo.Constraint(steps, rule=not_fuller, doc="(S4)")
    block.S5 = pyo.Constraint(rule=end, doc="(S5)")
    block.S6 = pyo.Constraint(steps, rule=charge_only, doc="(S6)")
    block.S7 = pyo.Constraint(steps, rule=discharge_only, doc="(S7)")
    block.S8 = pyo.Constraint(steps, rule=never_both, doc="(S8)")
    wear = pyo.quicksum(unit.wear_cost_per_kwh * hours[t] * (block.charge_kw[t] + block.discharge_kw[t]) for t in steps)
    changes = _add_hydro(block, unit, hours) if unit.is_pumped_hydro else 0.0
    block.own_cost = pyo.Expression(expr=wear + changes)


def _add_hydro(block: Any, unit: Storage, hours: list[float]) -> Any:
    """Write S9 to S12 of ``add_storage``; returns the cost of changing mode."""
    steps = range(len(hours))
    block.mode_changes = pyo.Var(steps, bounds=(0, 1))

    def pump_minimum(b: Any, t: int) -> Any:
        return b.charge_kw[t] >= unit.charge_min_kw * b.is_charging[t]

    def turbine_minimum(b: Any, t: int) -> Any:
        return b.discharge_kw[t] >= unit.discharge_min_kw * b.is_discharging[t]

    def pump_changes(b: Any, t: int, sign: int) -> Any:
        before = b.is_charging[t - 1] if t else b.was_charging
        return b.mode_changes[t] >= sign * (b.is_charging[t] - before)

    def turbine_changes(b: Any, t: int, sign: int) -> Any:
        before = b.is_discharging[t - 1] if t else b.was_discharging
        return b.mode_changes[t] >= sign * (b.is_discharging[t] - before)

    block.S9 = pyo.Constraint(steps, rule=pump_minimum, doc="(S9)")
    block.S10 = pyo.Constraint(steps, rule=turbine_minimum, doc="(S10)")
    block.S11 = pyo.Constraint(steps, (1, -1), rule=pump_changes, doc="(S11)")
    block.S12 = pyo.Constraint(steps, (1, -1), rule=turbine_changes, doc="(S12)")
    return pyo.quicksum(unit.mode_change_cost * block.mode_changes[t] for t in steps)


def end_energy_kwh(unit: Storage, power_kw: Any, hours: Any, start: float) -> Any:
    """Level at the end of every interval under net power ``power_kw`` (T,), by S2, (T,)."""
    power = np.asarray(power_kw)
    gained = np.where(power > 0, power * unit.charge_efficiency, power / unit.discharge_efficiency)
    return start + np.cumsum(gained * hours)
