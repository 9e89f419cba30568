"""What curtailable and interruptible loads share: calls with notice and rest, and the rebound afterwards."""

from typing import Any

import numpy as np
import pyomo.environ as pyo

from models.dispatch.problem import DispatchProblem
from models.dispatch.reference.given import notice_ends_h, state_of
from models.intervals import FloatArray
from models.resources import CurtailableLoad, InterruptibleLoad

EPS = 1e-9
"""Hours that are equal within this are equal."""


def rebound_matrix(hours: FloatArray, share: float, rebound_h: float) -> FloatArray:
    """Row t, column s: kW that return in t per kW given up in s, (T, T); zero on and above the diagonal.

    (share / H) Δ_s overlap(t, (end_s, end_s + H]) / Δ_t
    """
    if share == 0:
        return np.zeros((len(hours), len(hours)))
    ends = np.cumsum(hours)
    starts = ends - hours
    low = np.maximum(starts[:, None], ends[None, :])
    high = np.minimum(ends[:, None], ends[None, :] + rebound_h)
    return np.asarray(share / rebound_h * hours[None, :] * np.clip(high - low, 0, None) / hours[:, None])


def rebound_before_kw(
    load: CurtailableLoad | InterruptibleLoad, hours: FloatArray, problem: DispatchProblem
) -> FloatArray:
    """KW that return in every interval of what was given up before the horizon (``state``), (T,)."""
    back = np.zeros(len(hours))
    ends = np.cumsum(hours)
    starts = ends - hours
    if load.rebound_share == 0:
        return back
    for ago_h, length_h, power_kw in state_of(problem, load.resource_id).curtailed_history:
        overlap = np.clip(np.minimum(ends, load.rebound_hours_h - ago_h) - np.maximum(starts, -ago_h), 0, None)
        back += load.rebound_share / load.rebound_hours_h * length_h * power_kw * overlap / hours
    return back


def load_kw(load: Any, problem: DispatchProblem) -> FloatArray:
    """b_t, what the load would draw: profile x scale, (T,)."""
    return np.asarray(problem.profiles[load.baseline_profile] * load.baseline_scale_kw)


def may_begin(load: Any, problem: DispatchProblem) -> FloatArray:
    """1 where a reduction may begin: notice given, rest since the last one over; (T,)."""
    state = state_of(problem, load.resource_id)
    open_h = notice_ends_h(problem, load.notice_h)
    if state.on is False and state.hours_in_state_h is not None and (state.calls_used or 0) > 0:
        open_h = max(open_h, load.rest_h - state.hours_in_state_h)
    return np.asarray(problem.grid.tau_h >= open_h - EPS, dtype=np.float64)


def declare_calls(block: Any, count: int) -> None:
    """The variables of calls: z, y and w of C6 and I3."""
    block.is_called = pyo.Var(range(count), domain=pyo.Binary)
    block.begins = pyo.Var(range(count), bounds=(0, 1))
    block.ends = pyo.Var(range(count), bounds=(0, 1))


def add_calls(block: Any, hours: list[float], rest_h: float, names: tuple[str, str, str, str]) -> None:
    """Runs of ``is_called``: begin and end, ``calls_left`` and rest; ``names`` are the numbers of the equations."""
    steps, starts = range(len(hours)), np.cumsum([0.0, *hours])

    def runs(b: Any, t: int) -> Any:
        before = b.is_called[t - 1] if t else b.was_called
        return b.begins[t] - b.ends[t] == b.is_called[t] - before

    def begin_in_time(b: Any, t: int) -> Any:
        return b.begins[t] <= b.may_begin[t]

    def calls(b: Any) -> Any:
        return pyo.quicksum(b.begins[t] for t in steps) <= b.calls_left

    def rest(b: Any, t: int) -> Any:
        recent = [s for s in range(t + 1) if s == t or starts[t] - starts[s] < rest_h - EPS]
        return sum(b.ends[s] for s in recent) <= 1 - b.is_called[t]

    block.add_component(names[0], pyo.Constraint(steps, rule=runs, doc=f"({names[0]})"))
    block.add_component(names[1], pyo.Constraint(steps, rule=begin_in_time, doc=f"({names[1]})"))
    block.add_component(names[2], pyo.Constraint(rule=calls, doc=f"({names[2]})"))
    block.add_component(names[3], pyo.Constraint(steps, rule=rest, doc=f"({names[3]})"))


def net_of_rebound(block: Any, returning: FloatArray) -> Any:
    """The rule p_t = b_t - r_t + what returns in t."""
    sources = [np.flatnonzero(row) for row in returning]

    def net(b: Any, t: int) -> Any:
        returned = sum(float(returning[t, s]) * b.reduction_kw[s] for s in sources[t])
        return b.net_kw[t] == b.load_kw[t] + b.rebound_before_kw[t] - b.reduction_kw[t] + returned

    return net
