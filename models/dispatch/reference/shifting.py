"""Shiftable loads: energy inside a window, or one contiguous run of a fixed shape."""

from typing import Any

import numpy as np
import pyomo.environ as pyo

from models.dispatch.problem import DispatchProblem
from models.dispatch.reference.given import Given, hold, note, state_of
from models.intervals import FloatArray, IntervalGrid
from models.resources import ShiftableLoad

EPS = 1e-9
"""Hours and energies that are equal within this are equal."""


def run_step_h(load: ShiftableLoad, run: FloatArray) -> float:
    """Length of one step of the run, from its energy: Σ step · power_max · run = energy."""
    full = load.power_max_kw * float(run.sum())
    return load.energy_kwh / full if full > 0 else 0.0


def run_kw(load: ShiftableLoad, run: FloatArray, start_h: float, grid: IntervalGrid) -> FloatArray:
    """Mean power in every interval of a run that begins ``start_h`` after the horizon's start, (T,)."""
    step_h = run_step_h(load, run)
    edges = start_h + step_h * np.arange(len(run) + 1)
    power = np.zeros(len(grid))
    for value, low, high in zip(run, edges, edges[1:], strict=False):
        inside = np.clip(np.minimum(grid.offsets_h[1:], high) - np.maximum(grid.offsets_h[:-1], low), 0, None)
        power += load.power_max_kw * value * inside / grid.hours
    return power


def preferred_kw(load: ShiftableLoad, problem: DispatchProblem) -> FloatArray | None:
    """What the load would rather do, (T,): its run, or full power from the preferred start; None if it does not say."""
    if load.preferred_start is None:
        return None
    start_h = problem.grid.hours_since_start(load.preferred_start)
    run = problem.run_profiles[load.run_profile] if load.run_profile else np.ones(1)
    return run_kw(load, run, start_h, problem.grid)


def window_share(load: ShiftableLoad, grid: IntervalGrid) -> FloatArray:
    """Part of every interval that lies in the window, (T,)."""
    return grid.overlap_h(load.window_start, load.window_end) / grid.hours


def hours_later(load: ShiftableLoad, grid: IntervalGrid) -> float:
    """Hours of the window after the horizon."""
    return max(0.0, (load.window_end - max(grid.end, load.window_start)).total_seconds() / 3600)


def energy_left_kwh(load: ShiftableLoad, problem: DispatchProblem) -> float:
    """What is still to be used inside the window, at and after the horizon; nothing once the window is over."""
    if load.window_end <= problem.grid.start:
        return 0.0
    return max(0.0, load.energy_kwh - (state_of(problem, load.resource_id).delivered_kwh or 0.0))


def possible_starts(load: ShiftableLoad, problem: DispatchProblem) -> tuple[FloatArray, bool]:
    """For a run: 1 where it may begin with interval t, (T,), and whether it may begin after the horizon."""
    grid, run_h = problem.grid, _run_h(load, problem)
    first, last = grid.hours_since_start(load.window_start), grid.hours_since_start(load.window_end)
    may = (grid.tau_h >= first - EPS) & (grid.tau_h + run_h <= last + EPS)
    later = max(float(grid.offsets_h[-1]), first) + run_h <= last + EPS
    return may.astype(np.float64), later


def run_to_do(load: ShiftableLoad, problem: DispatchProblem) -> bool:
    """Whether a run is still to begin; one that has begun, is done or cannot take place any more prefers nothing."""
    if state_of(problem, load.resource_id).on or energy_left_kwh(load, problem) <= EPS:
        return False
    may, later = possible_starts(load, problem)
    return bool(may.any() or later)


def _run_h(load: ShiftableLoad, problem: DispatchProblem) -> float:
    run = problem.run_profiles[str(load.run_profile)]
    return run_step_h(load, run) * len(run)


class ShiftableWriter:
    """Shiftable loads as the city sees them."""

    def shape(self, rows: list[ShiftableLoad], problem: DispatchProblem) -> tuple[Any, ...]:
        """The price of deviating, and the shape of the run."""
        (load,) = rows
        if not load.run_profile:
            return (load.cost_per_kwh, load.preferred_start is not None)
        run = tuple(problem.run_profiles[load.run_profile])
        return (load.cost_per_kwh, run, load.power_max_kw, load.energy_kwh)

    def given(self, rows: list[ShiftableLoad], problem: DispatchProblem) -> Given:
        """Limits inside the window and energy left; or where the run may begin and what each start costs."""
        (load,) = rows
        wanted = preferred_kw(load, problem)
        if load.run_profile:
            return _given_run(load, problem, wanted)
        share, later_h = window_share(load, problem.grid), hours_later(load, problem.grid)
        left = energy_left_kwh(load, problem)
        open_window = load.window_end > problem.grid.start
        values: dict[str, Any] = {
            "power_min_kw": load.power_min_kw * share,
            "power_max_kw": load.power_max_kw * share,
            "energy_left_kwh": left,
            "later_min_kwh": load.power_min_kw * later_h if open_window else 0.0,
            "later_max_kwh": load.power_max_kw * later_h if open_window else 0.0,
        }
        if wanted is not None:
            values["preferred_kw"] = wanted
        return Given(values)

    def add(self, block: Any, rows: list[ShiftableLoad], hours: list[float], given: Given) -> None:
        """Write L1 to L4, or R1 to R3."""
        (load,) = rows
        hold(block, given)
        if load.run_profile:
            add_run(block, hours, given)
        else:
            add_shiftable(block, load, hours)


def _given_run(load: ShiftableLoad, problem: DispatchProblem, wanted: FloatArray | None) -> Given:
    grid, run = problem.grid, problem.run_profiles[str(load.run_profile)]
    shapes = np.array([run_kw(load, run, start_h, grid) for start_h in grid.tau_h])
    state = state_of(problem, load.resource_id)
    begun_kw = run_kw(load, run, -(state.hours_in_state_h or 0.0), grid) if state.on else np.zeros(len(grid))
    may, later = possible_starts(load, problem)
    to_do = run_to_do(load, problem)
    deviation, idle = np.zeros(len(grid)), 0.0
    if wanted is not None and to_do:
        half = 0.5 * load.cost_per_kwh
        deviation = half * (np.abs(shapes - wanted) @ grid.hours)
        idle = half * float(np.abs(wanted) @ grid.hours)
    values: dict[str, Any] = {
        "may_begin": may * to_do,
        "may_begin_later": float(later and to_do),
        "runs_left": float(to_do),
        "begun_kw": begun_kw,
    }
    costs = {"deviation_cost": deviation, "deviation_cost_later": np.array([idle])}
    return Given(values, costs, {"run_kw": shapes.T})


def add_shiftable(block: Any, load: ShiftableLoad, hours: list[float]) -> None:
    r"""Write the equations of one shiftable load that may spread its energy into ``block``.

        (L1)  p_t ≥ P_min · share_t                          throughout the window             [kW]
        (L2)  p_t ≤ P_max · share_t                          throughout the window             [kW]
        (L3)  Σ_t Δ_t p_t + q = energy left                  energy inside the window          [kWh]
        (L4)  p_t - preferred_t = v_t - w_t                  deviation from the preferred run  [kW]

        later_min ≤ q ≤ later_max;   own cost   cost_per_kwh ½ Σ_t Δ_t (v_t + w_t)

    ======  ======================  ====  ==============================================================
    symbol  name here               unit  meaning
    ======  ======================  ====  ==============================================================
    p       net_kw[t]               kW    drawn from the grid
    q       later_kwh               kWh   left for the part of the window after the horizon, at no cost here
    v, w    more_kw[t], less_kw[t]  kW    above and below the preferred run
    share   -                        -    part of the interval inside the window
    ======  ======================  ====  ==============================================================

    The preferred run is P_max from ``preferred_start`` until the energy is reached; without a preferred start there
    is no L4 and no cost.  No binary: the power may change freely.  Source: dispatch-model §2.
    """
    steps = range(len(hours))
    block.net_kw = pyo.Var(steps)
    block.later_kwh = pyo.Var()
    block.lazy = ()

    def not_below(b: Any, t: int) -> Any:
        return b.net_kw[t] >= b.power_min_kw[t]

    def not_above(b: Any, t: int) -> Any:
        return b.net_kw[t] <= b.power_max_kw[t]

    def energy(b: Any, part: str) -> Any:
        if part == "least later":
            return b.later_kwh >= b.later_min_kwh
        if part == "most later":
            return b.later_kwh <= b.later_max_kwh
        return pyo.quicksum(hours[t] * b.net_kw[t] for t in steps) + b.later_kwh == b.energy_left_kwh

    def deviation(b: Any, t: int) -> Any:
        return b.net_kw[t] - b.preferred_kw[t] == b.more_kw[t] - b.less_kw[t]

    block.L1 = pyo.Constraint(steps, rule=not_below, doc="(L1)")
    block.L2 = pyo.Constraint(steps, rule=not_above, doc="(L2)")
    block.L3 = pyo.Constraint(("balance", "least later", "most later"), rule=energy, doc="(L3)")
    cost = 0.0
    if load.preferred_start is not None:
        block.more_kw = pyo.Var(steps, domain=pyo.NonNegativeReals)
        block.less_kw = pyo.Var(steps, domain=pyo.NonNegativeReals)
        block.L4 = pyo.Constraint(steps, rule=deviation, doc="(L4)")
        per_kw = [0.5 * load.cost_per_kwh * hours[t] for t in steps]
        cost = pyo.quicksum(per_kw[t] * (block.more_kw[t] + block.less_kw[t]) for t in steps)
    block.own_cost = pyo.Expression(expr=cost)


def add_run(block: Any, hours: list[float], given: Given) -> None:
    r"""Write the equations of one shiftable load with a fixed shape into ``block``.

        (R1)  p_t = begun_t + Σ_s run_{t-s} y_s              the run, wherever it begins       [kW]
        (R2)  Σ_s y_s + y* = runs left                       it runs once
        (R3)  y_s ≤ may_begin_s,  y* ≤ may_begin_later       inside the window

        own cost   Σ_s y_s · ½ cost_per_kwh Σ_t Δ_t |run_{t-s} - preferred_t|

    ======  ====================  ====  ===================================================================
    symbol  name here             unit  meaning
    ======  ====================  ====  ===================================================================
    p       net_kw[t]             kW    drawn from the grid
    y       begins[s]              -    1 if the run begins with interval s
    y*      begins_later           -    1 if it begins after the horizon
    run     run_kw[t,s]           kW    run_profile x power_max_kw, mean over interval t, begun with s
    begun   begun_kw[t]           kW    the rest of a run that began before the horizon (``state``)
    ======  ====================  ====  ===================================================================

    The run's K steps are of equal length, such that it uses ``energy_kwh``; on a grid of that step they are
    intervals.  Binary, because half a run here and half there is not one run.  Source: dispatch-model §2.
    """
    steps = range(len(hours))
    shapes = given.constants["run_kw"]
    block.net_kw = pyo.Var(steps)
    block.begins = pyo.Var(steps, domain=pyo.Binary)
    block.begins_later = pyo.Var(domain=pyo.Binary)
    block.lazy = ()

    def run(b: Any, t: int) -> Any:
        return b.net_kw[t] == b.begun_kw[t] + sum(
            float(shapes[t, s]) * b.begins[s] for s in np.flatnonzero(shapes[t]).tolist()
        )

    def once(b: Any) -> Any:
        return pyo.quicksum(b.begins[s] for s in steps) + b.begins_later == b.runs_left

    def in_window(b: Any, s: int) -> Any:
        return b.begins[s] <= b.may_begin[s] if s < len(hours) else b.begins_later <= b.may_begin_later

    block.R1 = pyo.Constraint(steps, rule=run, doc="(R1)")
    block.R2 = pyo.Constraint(rule=once, doc="(R2)")
    block.R3 = pyo.Constraint(range(len(hours) + 1), rule=in_window, doc="(R3)")
    cost, later = given.coefficients["deviation_cost"], given.coefficients["deviation_cost_later"]
    for s in steps:
        note(block, "deviation_cost", s, None, block.begins[s])
    note(block, "deviation_cost_later", 0, None, block.begins_later)
    total = pyo.quicksum(float(cost[s]) * block.begins[s] for s in steps) + float(later[0]) * block.begins_later
    block.own_cost = pyo.Expression(expr=total)
