"""Generation behind the meter: generators and photovoltaic plants."""

from typing import Any

import numpy as np
import pyomo.environ as pyo

from models.dispatch.problem import DispatchProblem
from models.dispatch.reference.given import Given, hold, state_of
from models.intervals import FloatArray
from models.resources import Generator, Pv

EPS = 1e-9
"""Hours that are equal within this are equal."""


class GeneratorWriter:
    """Generators as the city sees them."""

    def shape(self, rows: list[Generator], problem: DispatchProblem) -> tuple[Any, ...]:  # noqa: ARG002 - the protocol
        """Everything but the state."""
        (unit,) = rows
        limits = (
            unit.power_min_kw,
            unit.power_max_kw,
            unit.ramp_kw_per_h,
            unit.minimum_up_h,
            unit.minimum_down_h,
        )
        return (*limits, unit.cost_per_kwh, unit.start_cost, unit.no_load_cost_per_h)

    def given(self, rows: list[Generator], problem: DispatchProblem) -> Given:
        """On or off and at what power at the horizon's start, and how long that must still last."""
        (unit,) = rows
        state, tau_h = state_of(problem, unit.resource_id), problem.grid.tau_h
        was_on = bool(state.on)
        power = min(max(-(state.power_kw or 0.0), unit.power_min_kw), unit.power_max_kw) if was_on else 0.0
        been_h = np.inf if state.hours_in_state_h is None else state.hours_in_state_h
        held = tau_h < (unit.minimum_up_h if was_on else unit.minimum_down_h) - been_h - EPS
        return Given(
            {
                "was_on": float(was_on),
                "was_kw": power,
                "must_be_on": (held & was_on).astype(np.float64),
                "may_be_on": 1.0 - (held & (not was_on)).astype(np.float64),
            }
        )

    def add(self, block: Any, rows: list[Generator], hours: list[float], given: Given) -> None:
        """Write G1 to G9."""
        (unit,) = rows
        hold(block, given)
        add_generator(block, unit, hours)


def add_generator(block: Any, unit: Generator, hours: list[float]) -> None:
    r"""Write one generator's equations into ``block``.

        (G1)  p_t = -g_t                                               feeds in                      [kW]
        (G2)  g_t ≥ G_min n_t                                          off, or at its minimum ...    [kW]
        (G3)  g_t ≤ G_max n_t                                          ... and at most its maximum   [kW]
        (G4)  y_t - w_t = n_t - n_{t-1}                                starts and stops
        (G5)  g_t - g_{t-1} ≤ ramp Δ_t n_{t-1} + max(G_min, ramp Δ_t) y_t    upwards                 [kW]
        (G6)  g_{t-1} - g_t ≤ ramp Δ_t n_t + max(G_min, ramp Δ_t) w_t        downwards               [kW]
        (G7)  Σ_{s ≤ t, start_t - start_s < up or s = t} y_s ≤ n_t     minimum up time
        (G8)  Σ_{s ≤ t, start_t - start_s < down or s = t} w_s ≤ 1 - n_t     minimum down time
        (G9)  must_be_on_t ≤ n_t ≤ may_be_on_t                         begun before the horizon

        own cost   Σ_t cost_per_kwh Δ_t g_t + no_load_cost_per_h Δ_t n_t + start_cost y_t

    ======  ===================  ====  ===================================================================
    symbol  name here            unit  meaning
    ======  ===================  ====  ===================================================================
    p       net_kw[t]            kW    drawn from the grid, 0 or negative
    g       output_kw[t]         kW    generated; g_{-1} = was_kw
    n       is_on[t]              -    1 while running; n_{-1} = was_on
    y, w    starts[t], stops[t]   -    it starts or stops with t; whole because n is
    ======  ===================  ====  ===================================================================

    The binary: between 0 and G_min there is nothing, and a start costs money.  A time that begins inside the
    horizon may end after it.  Source: dispatch-model §2; G7 and G8 from D. Rajan, S. Takriti, IBM RC23628 (2005).
    """
    steps, begin = range(len(hours)), np.cumsum([0.0, *hours])
    ramp = [unit.ramp_kw_per_h * hours[t] for t in steps]
    first = [max(unit.power_min_kw, ramp[t]) for t in steps]
    block.net_kw = pyo.Var(steps)
    block.output_kw = pyo.Var(steps, bounds=(0, unit.power_max_kw))
    block.is_on = pyo.Var(steps, domain=pyo.Binary)
    block.starts = pyo.Var(steps, bounds=(0, 1))
    block.stops = pyo.Var(steps, bounds=(0, 1))
    block.lazy = ()

    def net(b: Any, t: int) -> Any:
        return b.net_kw[t] == -b.output_kw[t]

    def least(b: Any, t: int) -> Any:
        return b.output_kw[t] >= unit.power_min_kw * b.is_on[t]

    def most(b: Any, t: int) -> Any:
        return b.output_kw[t] <= unit.power_max_kw * b.is_on[t]

    def switching(b: Any, t: int) -> Any:
        return b.starts[t] - b.stops[t] == b.is_on[t] - (b.is_on[t - 1] if t else b.was_on)

    def upwards(b: Any, t: int) -> Any:
        before, was_on = (b.output_kw[t - 1], b.is_on[t - 1]) if t else (b.was_kw, b.was_on)
        return b.output_kw[t] - before <= ramp[t] * was_on + first[t] * b.starts[t]

    def downwards(b: Any, t: int) -> Any:
        before = b.output_kw[t - 1] if t else b.was_kw
        return before - b.output_kw[t] <= ramp[t] * b.is_on[t] + first[t] * b.stops[t]

    def recent(t: int, span_h: float) -> list[int]:
        return [s for s in range(t + 1) if s == t or begin[t] - begin[s] < span_h - EPS]

    def up_time(b: Any, t: int) -> Any:
        return sum(b.starts[s] for s in recent(t, unit.minimum_up_h)) <= b.is_on[t]

    def down_time(b: Any, t: int) -> Any:
        return sum(b.stops[s] for s in recent(t, unit.minimum_down_h)) <= 1 - b.is_on[t]

    def begun_before(b: Any, t: int, bound: str) -> Any:
        return b.is_on[t] >= b.must_be_on[t] if bound == "must" else b.is_on[t] <= b.may_be_on[t]

    block.G1 = pyo.Constraint(steps, rule=net, doc="(G1)")
    block.G2 = pyo.Constraint(steps, rule=least, doc="(G2)")
    block.G3 = pyo.Constraint(steps, rule=most, doc="(G3)")
    block.G4 = pyo.Constraint(steps, rule=switching, doc="(G4)")
    block.G5 = pyo.Constraint(steps, rule=upwards, doc="(G5)")
    block.G6 = pyo.Constraint(steps, rule=downwards, doc="(G6)")
    block.G7 = pyo.Constraint(steps, rule=up_time, doc="(G7)")
    block.G8 = pyo.Constraint(steps, rule=down_time, doc="(G8)")
    block.G9 = pyo.Constraint(steps, ("must", "may"), rule=begun_before, doc="(G9)")
    block.own_cost = pyo.Expression(
        expr=pyo.quicksum(
            unit.cost_per_kwh * hours[t] * block.output_kw[t]
            + unit.no_load_cost_per_h * hours[t] * block.is_on[t]
            + unit.start_cost * block.starts[t]
            for t in steps
        )
    )


def available_kw(plant: Pv, problem: DispatchProblem) -> FloatArray:
    """What the sun gives: profile x scale, (T,)."""
    return np.asarray(np.maximum(problem.profiles[plant.available_profile] * plant.available_scale_kw, 0.0))


class PvWriter:
    """Photovoltaic plants as the city sees them."""

    def shape(self, rows: list[Pv], problem: DispatchProblem) -> tuple[Any, ...]:  # noqa: ARG002 - the protocol
        """The price of curtailing."""
        (plant,) = rows
        return (plant.curtail_cost_per_kwh,)

    def given(self, rows: list[Pv], problem: DispatchProblem) -> Given:
        """What is available."""
        (plant,) = rows
        return Given({"available_kw": available_kw(plant, problem)})

    def add(self, block: Any, rows: list[Pv], hours: list[float], given: Given) -> None:
        """Write P1 and P2."""
        (plant,) = rows
        hold(block, given)
        add_pv(block, plant, hours)


def add_pv(block: Any, plant: Pv, hours: list[float]) -> None:
    r"""Write one photovoltaic plant's equations into ``block``.

        (P1)  p_t = -available_t + r_t                       feeds in what the sun gives       [kW]
        (P2)  r_t ≤ available_t                              less at a price                   [kW]

        own cost   Σ_t curtail_cost Δ_t r_t

    ======  =================  ====  ====================================
    symbol  name here          unit  meaning
    ======  =================  ====  ====================================
    p       net_kw[t]          kW    drawn from the grid, 0 or negative
    r       curtailed_kw[t]    kW    left unused, 0 or more
    ======  =================  ====  ====================================

    No binary.  Source: dispatch-model §2.
    """
    steps = range(len(hours))
    block.net_kw = pyo.Var(steps)
    block.curtailed_kw = pyo.Var(steps, domain=pyo.NonNegativeReals)
    block.lazy = ()

    def net(b: Any, t: int) -> Any:
        return b.net_kw[t] == -b.available_kw[t] + b.curtailed_kw[t]

    def less(b: Any, t: int) -> Any:
        return b.curtailed_kw[t] <= b.available_kw[t]

    block.P1 = pyo.Constraint(steps, rule=net, doc="(P1)")
    block.P2 = pyo.Constraint(steps, rule=less, doc="(P2)")
    cost = pyo.quicksum(plant.curtail_cost_per_kwh * hours[t] * block.curtailed_kw[t] for t in steps)
    block.own_cost = pyo.Expression(expr=cost)
