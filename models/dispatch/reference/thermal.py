"""Thermal loads: air-conditioning and cold stores around their baseline, with a comfort store."""

from typing import Any

import numpy as np
import pyomo.environ as pyo

from models.dispatch.problem import DispatchProblem
from models.dispatch.reference.calls import load_kw
from models.dispatch.reference.given import Given, hold, state_of
from models.intervals import FloatArray
from models.resources import ThermalLoad


def store_steps(load: ThermalLoad, hours: Any) -> tuple[FloatArray, FloatArray]:
    """(a_t, gain_t): what is left of the store after the interval, and kWh stored per kW, each (T,)."""
    spans = np.asarray(hours, dtype=np.float64)
    if load.decay_per_hour == 0:
        return np.ones_like(spans), spans
    kept = np.exp(-load.decay_per_hour * spans)
    return kept, -np.expm1(-load.decay_per_hour * spans) / load.decay_per_hour


def store_start_kwh(load: ThermalLoad, problem: DispatchProblem) -> float:
    """The comfort store at the horizon's start, 0 at rest."""
    return state_of(problem, load.resource_id).store_kwh or 0.0


class ThermalWriter:
    """Thermal loads as the city sees them."""

    def shape(self, rows: list[ThermalLoad], problem: DispatchProblem) -> tuple[Any, ...]:  # noqa: ARG002 - the protocol
        """Leakage and the price of discomfort."""
        (load,) = rows
        return (load.decay_per_hour, load.discomfort_cost_per_kwh)

    def given(self, rows: list[ThermalLoad], problem: DispatchProblem) -> Given:
        """Profile, limits and levels."""
        (load,) = rows
        base = load_kw(load, problem)
        return Given(
            {
                "load_kw": base,
                "increase_limit_kw": load.increase_limit_kw,
                "decrease_limit_kw": np.minimum(load.decrease_limit_kw, base),
                "store_start_kwh": store_start_kwh(load, problem),
                "store_low_kwh": load.store_low_kwh,
                "store_high_kwh": load.store_high_kwh,
                "store_end_min_kwh": load.store_end_min_kwh,
            }
        )

    def add(self, block: Any, rows: list[ThermalLoad], hours: list[float], given: Given) -> None:
        """Write T1 to T7."""
        (load,) = rows
        hold(block, given)
        add_thermal(block, load, hours)


def add_thermal(block: Any, load: ThermalLoad, hours: list[float]) -> None:
    r"""Write one thermal load's equations into ``block``.

        (T1)  p_t = b_t + v_t - w_t                          around the baseline               [kW]
        (T2)  v_t ≤ increase_limit                           more                              [kW]
        (T3)  w_t ≤ min(decrease_limit, b_t)                 less, but not below zero          [kW]
        (T4)  s_t = a_t s_{t-1} + g_t (v_t - w_t)            comfort store, leaking            [kWh]
        (T5)  s_t ≥ -store_low                               not too warm                      [kWh]
        (T6)  s_t ≤ store_high                               not too cold                      [kWh]
        (T7)  s_T ≥ store_end_min                            at the horizon's end              [kWh]

        own cost   Σ_t discomfort_cost Δ_t w_t

    ======  ==================  ====  ==================================================================
    symbol  name here           unit  meaning
    ======  ==================  ====  ==================================================================
    p       net_kw[t]           kW    drawn from the grid
    b       load_kw[t]          kW    what it would draw: profile x scale
    v, w    more_kw, less_kw    kW    u = v - w; w is max(-u, 0) since more of both only costs
    s       store_kwh[t]        kWh   comfort store at the end of t, 0 at rest
    a       -                    -    exp(-decay Δ_t)
    g       -                    h    (1 - a) / decay, or Δ_t without decay
    ======  ==================  ====  ==================================================================

    No binary.  T4 is the exact solution of ds/dt = u - decay s over an interval of constant u.
    Source: dispatch-model §2; the store as a virtual battery: H. Hao et al., IEEE Trans. Power Syst. 30 (2015) 189.
    """
    steps = range(len(hours))
    kept, gain = store_steps(load, hours)
    block.net_kw = pyo.Var(steps)
    block.more_kw = pyo.Var(steps, domain=pyo.NonNegativeReals)
    block.less_kw = pyo.Var(steps, domain=pyo.NonNegativeReals)
    block.store_kwh = pyo.Var(steps)
    block.lazy = ()

    def net(b: Any, t: int) -> Any:
        return b.net_kw[t] == b.load_kw[t] + b.more_kw[t] - b.less_kw[t]

    def more(b: Any, t: int) -> Any:
        return b.more_kw[t] <= b.increase_limit_kw

    def less(b: Any, t: int) -> Any:
        return b.less_kw[t] <= b.decrease_limit_kw[t]

    def store(b: Any, t: int) -> Any:
        before = b.store_kwh[t - 1] if t else b.store_start_kwh
        return b.store_kwh[t] == float(kept[t]) * before + float(gain[t]) * (b.more_kw[t] - b.less_kw[t])

    def not_warmer(b: Any, t: int) -> Any:
        return b.store_kwh[t] >= -b.store_low_kwh

    def not_colder(b: Any, t: int) -> Any:
        return b.store_kwh[t] <= b.store_high_kwh

    def end(b: Any) -> Any:
        return b.store_kwh[len(hours) - 1] >= b.store_end_min_kwh

    block.T1 = pyo.Constraint(steps, rule=net, doc="(T1)")
    block.T2 = pyo.Constraint(steps, rule=more, doc="(T2)")
    block.T3 = pyo.Constraint(steps, rule=less, doc="(T3)")
    block.T4 = pyo.Constraint(steps, rule=store, doc="(T4)")
    block.T5 = pyo.Constraint(steps, rule=not_warmer, doc="(T5)")
    block.T6 = pyo.Constraint(steps, rule=not_colder, doc="(T6)")
    block.T7 = pyo.Constraint(rule=end, doc="(T7)")
    cost = pyo.quicksum(load.discomfort_cost_per_kwh * hours[t] * block.less_kw[t] for t in steps)
    block.own_cost = pyo.Expression(expr=cost)
