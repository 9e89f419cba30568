"""Curtailable and interruptible loads."""

from typing import Any

import numpy as np
import pyomo.environ as pyo

from models.dispatch.problem import DispatchProblem
from models.dispatch.reference.calls import (
    EPS,
    add_calls,
    declare_calls,
    load_kw,
    may_begin,
    net_of_rebound,
    rebound_before_kw,
    rebound_matrix,
)
from models.dispatch.reference.given import Given, hold, note, state_of
from models.resources import CurtailableLoad, InterruptibleLoad

LEAST_DEPTH = 0.01
"""Part of what may be curtailed that is curtailed throughout a call, where whole calls count."""

# ---- curtailable


class CurtailableWriter:
    """Curtailable loads as the city sees them."""

    def shape(self, rows: list[CurtailableLoad], problem: DispatchProblem) -> tuple[Any, ...]:  # noqa: ARG002 - the protocol
        """Rebound, price, and whether whole calls count."""
        (load,) = rows
        return (load.rebound_share, load.rebound_hours_h, load.cost_per_kwh, load.is_integer, load.rest_h)

    def given(self, rows: list[CurtailableLoad], problem: DispatchProblem) -> Given:
        """Profile, limits that are left, notice."""
        (load,) = rows
        state, base = state_of(problem, load.resource_id), load_kw(load, problem)
        limit = load.curtail_share * base
        in_call = bool(state.on) and load.is_integer
        begin = may_begin(load, problem)
        open_for = np.ones_like(base) if in_call else begin
        weights = np.divide(problem.grid.hours, limit, out=np.zeros_like(limit), where=limit > EPS)
        values: dict[str, Any] = {
            "load_kw": base,
            "rebound_before_kw": rebound_before_kw(load, problem.grid.hours, problem),
            "reduction_limit_kw": limit * open_for,
            "energy_left_kwh": max(0.0, load.energy_limit_kwh - (state.energy_used_kwh or 0.0)),
            "hours_left_h": max(0.0, load.hours_limit_h - (state.hours_used_h or 0.0)),
        }
        coefficients: dict[str, Any] = {"hours_per_kw": weights}
        if load.is_integer:
            calls = np.inf if load.calls_per_day is None else max(0, load.calls_per_day - (state.calls_used or 0))
            values |= {"was_called": float(in_call), "may_begin": begin, "calls_left": min(calls, len(base))}
            coefficients["limit_kw"] = limit
            coefficients["least_kw"] = LEAST_DEPTH * limit
        return Given(values, coefficients)

    def add(self, block: Any, rows: list[CurtailableLoad], hours: list[float], given: Given) -> None:
        """Write C1 to C10."""
        (load,) = rows
        hold(block, given)
        add_curtailable(block, load, hours, given)


def add_curtailable(block: Any, load: CurtailableLoad, hours: list[float], given: Given) -> None:
    r"""Write one curtailable load's equations into ``block``.

        (C1)   p_t = b_t - r_t + h_t + (share/H) Σ_{s<t} Δ_s r_s · overlap(t, (end_s, end_s + H]) / Δ_t      [kW]
        (C2)   r_t ≤ curtail_share · b_t, and 0 before T0 + notice            depth                         [kW]
        (C3)   Σ_t Δ_t r_t ≤ energy left                                      energy limit                  [kWh]
        (C4)   Σ_t Δ_t r_t / (curtail_share · b_t) ≤ hours left               equivalent hours              [h]

    and where calls per day or rest are limited

        (C5)   r_t ≤ curtail_share · b_t · z_t                                only in a call                [kW]
        (C6)   y_t - w_t = z_t - z_{t-1}                                      calls begin and end
        (C7)   y_t ≤ may_begin_t                                              notice, rest before T=0
        (C8)   Σ_t y_t ≤ calls left                                           calls per day
        (C9)   Σ_{s ≤ t, start_t - start_s < rest or s = t} w_s ≤ 1 - z_t     rest between calls
        (C10)  r_t ≥ 0.01 curtail_share · b_t · z_t                           a call is a reduction         [kW]

        own cost   Σ_t cost_per_kwh Δ_t r_t

    ======  ====================  ====  =================================================================
    symbol  name here             unit  meaning
    ======  ====================  ====  =================================================================
    p       net_kw[t]             kW    drawn from the grid
    b       load_kw[t]            kW    what it would draw: profile x scale
    r       reduction_kw[t]       kW    given up, 0 or more
    h       rebound_before_kw[t]  kW    returns of what was given up before the horizon (``state``)
    H       rebound_hours_h       h     time in which it returns
    z       is_called[t]           -    1 in a call
    y, w    begins[t], ends[t]     -    a call begins or ends with t; whole because z is
    T0      -                      -    the earliest ``issued_at``, else the start of the horizon
    ======  ====================  ====  =================================================================

    Terms of C4 with b = 0 drop out (r is 0 there).  A call that runs at the horizon's start may go on without
    notice.  Without C10 a call could last all day at nothing, and calls and rest would mean nothing: who looks at a
    schedule sees a call where something is given up.  The binaries count whole calls, and stand only where calls or
    rest are limited.  What would return after the horizon is reported, not hidden.  Source: dispatch-model §2.
    """
    steps = range(len(hours))
    per_kw = given.coefficients["hours_per_kw"]
    block.net_kw = pyo.Var(steps)
    block.reduction_kw = pyo.Var(steps, domain=pyo.NonNegativeReals)
    block.lazy = ()
    returning = rebound_matrix(np.array(hours), load.rebound_share, load.rebound_hours_h)

    def depth(b: Any, t: int) -> Any:
        return b.reduction_kw[t] <= b.reduction_limit_kw[t]

    def energy(b: Any) -> Any:
        return pyo.quicksum(hours[t] * b.reduction_kw[t] for t in steps) <= b.energy_left_kwh

    def equivalent_hours(b: Any) -> Any:
        return pyo.quicksum(float(per_kw[t]) * b.reduction_kw[t] for t in steps) <= b.hours_left_h

    block.C1 = pyo.Constraint(steps, rule=net_of_rebound(block, returning), doc="(C1)")
    block.C2 = pyo.Constraint(steps, rule=depth, doc="(C2)")
    block.C3 = pyo.Constraint(rule=energy, doc="(C3)")
    block.C4 = pyo.Constraint(rule=equivalent_hours, doc="(C4)")
    for t in steps:
        note(block, "hours_per_kw", t, block.C4, block.reduction_kw[t])
    if load.is_integer:
        limit = given.coefficients["limit_kw"]
        declare_calls(block, len(hours))

        def only_in_a_call(b: Any, t: int) -> Any:
            return b.reduction_kw[t] - float(limit[t]) * b.is_called[t] <= 0

        block.C5 = pyo.Constraint(steps, rule=only_in_a_call, doc="(C5)")
        for t in steps:
            note(block, "limit_kw", t, block.C5[t], block.is_called[t])
        add_calls(block, hours, load.rest_h, ("C6", "C7", "C8", "C9"))
        least = given.coefficients["least_kw"]

        def a_call_reduces(b: Any, t: int) -> Any:
            return b.reduction_kw[t] - float(least[t]) * b.is_called[t] >= 0

        block.C10 = pyo.Constraint(steps, rule=a_call_reduces, doc="(C10)")
        for t in steps:
            note(block, "least_kw", t, block.C10[t], block.is_called[t])
    cost = pyo.quicksum(load.cost_per_kwh * hours[t] * block.reduction_kw[t] for t in steps)
    block.own_cost = pyo.Expression(expr=cost)


# ---- interruptible


class InterruptibleWriter:
    """Interruptible loads as the city sees them."""

    def shape(self, rows: list[InterruptibleLoad], problem: DispatchProblem) -> tuple[Any, ...]:  # noqa: ARG002 - the protocol
        """Durations, rest, rebound and price."""
        (load,) = rows
        durations = (load.shortest_h, load.longest_h, load.rest_h)
        return (*durations, load.rebound_share, load.rebound_hours_h, load.cost_per_kwh)

    def given(self, rows: list[InterruptibleLoad], problem: DispatchProblem) -> Given:
        """Profile, block, notice, calls left, and what an interruption that runs already must and may."""
        (load,) = rows
        state, base, grid = state_of(problem, load.resource_id), load_kw(load, problem), problem.grid
        block_kw = np.minimum(load.block_kw, base)
        on = bool(state.on)
        been_h = (state.hours_in_state_h or 0.0) if on else 0.0
        must = (grid.tau_h < load.shortest_h - been_h - EPS) if on else np.zeros(len(grid), dtype=bool)
        may = (grid.offsets_h[1:] <= load.longest_h - been_h + EPS) if on else np.zeros(len(grid), dtype=bool)
        fits = grid.tau_h + load.shortest_h <= grid.offsets_h[-1] + EPS
        values: dict[str, Any] = {
            "load_kw": base,
            "rebound_before_kw": rebound_before_kw(load, grid.hours, problem),
            "was_called": float(on),
            "may_begin": may_begin(load, problem) * fits,
            "calls_left": float(max(0, load.calls_per_day - (state.calls_used or 0))),
            "must_go_on": must.astype(np.float64),
            "may_go_on": may.astype(np.float64),
        }
        return Given(values, {"block_kw": block_kw})

    def add(self, block: Any, rows: list[InterruptibleLoad], hours: list[float], given: Given) -> None:
        """Write I1 to I9."""
        (load,) = rows
        hold(block, given)
        add_interruptible(block, load, hours, given)


def add_interruptible(block: Any, load: InterruptibleLoad, hours: list[float], given: Given) -> None:
    r"""Write one interruptible load's equations into ``block``.

        (I1)  p_t = b_t - r_t + h_t + rebound as in C1                                                        [kW]
        (I2)  r_t = min(block, b_t) z_t                                       the block is off, or it is on   [kW]
        (I3)  y_t - w_t = z_t - z_{t-1}                                       interruptions begin and end
        (I4)  y_t ≤ may_begin_t                                               notice, rest before T=0, room
        (I5)  Σ_t y_t ≤ calls left                                            calls per day
        (I6)  Σ_{s ≤ t, start_t - start_s < rest or s = t} w_s ≤ 1 - z_t      rest between interruptions
        (I7)  Σ_{s ≤ t, start_t - start_s < shortest or s = t} y_s ≤ z_t      not shorter
        (I8)  z_t ≤ Σ_{s ≤ t, end_t - start_s ≤ longest} y_s + may_go_on_t    not longer
        (I9)  z_t ≥ must_go_on_t                                              begun before the horizon

        own cost   Σ_t cost_per_kwh Δ_t r_t

    ======  ====================  ====  =================================================================
    symbol  name here             unit  meaning
    ======  ====================  ====  =================================================================
    p       net_kw[t]             kW    drawn from the grid: max(b - block, 0) while interrupted
    b       load_kw[t]            kW    what it would draw: profile x scale
    r       reduction_kw[t]       kW    given up
    z       is_called[t]           -    1 while interrupted
    y, w    begins[t], ends[t]     -    an interruption begins or ends with t; whole because z is
    ======  ====================  ====  =================================================================

    The binary is the load's own: the block is off or on.  An interruption that begins must have room for its
    shortest time before the horizon ends; one that runs at the horizon's start goes on without notice.
    Source: dispatch-model §2; I7 and I8 as minimum up times in D. Rajan, S. Takriti, IBM RC23628 (2005).
    """
    steps, starts = range(len(hours)), np.cumsum([0.0, *hours])
    off_kw = given.coefficients["block_kw"]
    block.net_kw = pyo.Var(steps)
    block.reduction_kw = pyo.Var(steps, domain=pyo.NonNegativeReals)
    block.lazy = ()
    returning = rebound_matrix(np.array(hours), load.rebound_share, load.rebound_hours_h)
    block.I1 = pyo.Constraint(steps, rule=net_of_rebound(block, returning), doc="(I1)")
    declare_calls(block, len(hours))

    def off_or_on(b: Any, t: int) -> Any:
        return b.reduction_kw[t] - float(off_kw[t]) * b.is_called[t] == 0

    def not_shorter(b: Any, t: int) -> Any:
        recent = [s for s in range(t + 1) if s == t or starts[t] - starts[s] < load.shortest_h - EPS]
        return sum(b.begins[s] for s in recent) <= b.is_called[t]

    def not_longer(b: Any, t: int) -> Any:
        recent = [s for s in range(t + 1) if starts[t + 1] - starts[s] <= load.longest_h + EPS]
        return b.is_called[t] <= sum(b.begins[s] for s in recent) + b.may_go_on[t]

    def begun_before(b: Any, t: int) -> Any:
        return b.is_called[t] >= b.must_go_on[t]

    block.I2 = pyo.Constraint(steps, rule=off_or_on, doc="(I2)")
    for t in steps:
        note(block, "block_kw", t, block.I2[t], block.is_called[t])
    add_calls(block, hours, load.rest_h, ("I3", "I4", "I5", "I6"))
    block.I7 = pyo.Constraint(steps, rule=not_shorter, doc="(I7)")
    block.I8 = pyo.Constraint(steps, rule=not_longer, doc="(I8)")
    block.I9 = pyo.Constraint(steps, rule=begun_before, doc="(I9)")
    cost = pyo.quicksum(load.cost_per_kwh * hours[t] * block.reduction_kw[t] for t in steps)
    block.own_cost = pyo.Expression(expr=cost)
