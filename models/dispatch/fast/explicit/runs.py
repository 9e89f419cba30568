"""What runs and calls share: sums over what began or ended a short while ago, and calls with notice and rest."""

from dataclasses import dataclass

import numpy as np

from models.dispatch.fast.explicit.draft import Draft, IntArray
from models.dispatch.fast.explicit.table import EPS, KindTable
from models.intervals import FloatArray


def add_recent(draft: Draft, rows: IntArray, columns: IntArray, span_h: FloatArray, tau_h: FloatArray) -> None:
    """Add Σ_{s ≤ t, start_t - start_s < span or s = t} column_s to row t; rows, columns (n, T), span (n,)."""
    count = len(tau_h)
    draft.put(rows, columns, 1.0)
    for lag in range(1, count):
        apart = tau_h[lag:] - tau_h[: count - lag]
        recent = apart < span_h[:, None] - EPS
        if not recent.any():
            return
        draft.put(rows[:, lag:], columns[:, : count - lag], recent.astype(np.float64))


def may_begin(loads: KindTable) -> FloatArray:
    """1 where a reduction may begin: notice given, rest since the last one over; (n, T)."""
    problem = loads.problem
    issued = [event.issued_at for event in problem.events if event.issued_at is not None]
    first_h = min((problem.grid.hours_since_start(moment) for moment in issued), default=0.0)
    open_h = first_h + loads["notice_h"]
    off_h = loads.state("hours_in_state_h")
    rests = (loads.state("on") == 0) & ~np.isnan(off_h) & (loads.state("calls_used", 0.0) > 0)
    open_h = np.where(rests, np.maximum(open_h, loads["rest_h"] - np.nan_to_num(off_h)), open_h)
    return np.asarray(problem.grid.tau_h >= open_h[:, None] - EPS, dtype=np.float64)


@dataclass(frozen=True)
class Calls:
    """z, y and w of every load: called, a call begins, a call ends; (n, T) each."""

    is_called: IntArray
    begins: IntArray
    ends: IntArray


def add_calls(
    draft: Draft,
    loads: KindTable,
    *,
    was_called: FloatArray,
    may: FloatArray,
    calls_left: FloatArray,
    must: FloatArray | float = 0.0,
    cost: FloatArray | float = 0.0,
) -> Calls:
    """Write C6-C9, which are I3-I6 (and I9 as bounds); ``cost`` is of z."""
    own, shape = loads.at[:, None], may.shape
    ones = np.ones(shape)
    is_called = draft.column(own, low=must, high=ones, cost=cost, integer=True)
    begins = draft.column(own, high=may)
    ends = draft.column(own, high=ones)
    before = np.zeros(shape)
    before[:, 0] = -was_called
    runs = draft.row(shape, low=before, high=before)
    draft.put(runs, begins, 1.0)
    draft.put(runs, ends, -1.0)
    draft.put(runs, is_called, -1.0)
    draft.put(runs[:, 1:], is_called[:, :-1], 1.0)
    number = draft.row((len(loads),), high=calls_left)
    draft.put(number[:, None], begins, 1.0)
    rest = draft.row(shape, high=1.0)
    add_recent(draft, rest, ends, loads["rest_h"], loads.problem.grid.tau_h)
    draft.put(rest, is_called, 1.0)
    return Calls(is_called, begins, ends)


def add_rebound(draft: Draft, loads: KindTable, columns: IntArray, kw: FloatArray | float) -> None:
    """Write C1 (I1): p_t = b_t - r_t + h_t + what returns, with r = ``kw`` x column, both (n, T)."""
    hours, edges = draft.hours, loads.problem.grid.offsets_h
    count, every = len(hours), np.arange(len(hours))
    given_up = np.broadcast_to(np.asarray(kw, dtype=np.float64), columns.shape)
    draft.net_constant[loads.at] += loads.load_kw() + _returns_before_kw(loads)
    draft.draws(loads.at, columns, -given_up)
    back = np.flatnonzero(loads["rebound_share"] > 0)
    if not back.size:
        return
    span_h = loads["rebound_hours_h"][back][:, None]
    rate = loads["rebound_share"][back][:, None] / span_h
    for lag in range(1, count):
        ends, t = edges[1 : count - lag + 1], every[lag:]
        inside = np.minimum(edges[t + 1], ends + span_h) - np.maximum(edges[t], ends)
        if not (inside > 0).any():
            return
        factor = rate * hours[: count - lag] * np.clip(inside, 0.0, None) / hours[t]
        at, source = loads.at[back][:, None], columns[back, : count - lag]
        draft.power(at, t[None, :], source, factor * given_up[back, : count - lag])


def _returns_before_kw(loads: KindTable) -> FloatArray:
    """KW that return of what was given up before the horizon (``state``), (n, T)."""
    edges, hours = loads.problem.grid.offsets_h, loads.problem.grid.hours
    states = loads.states
    load = np.repeat(np.arange(len(loads)), np.diff(states.history_first))
    ago_h, length_h, power_kw = states.history.T
    span_h = loads["rebound_hours_h"][load]
    inside = np.minimum(edges[1:], (span_h - ago_h)[:, None]) - np.maximum(edges[:-1], -ago_h[:, None])
    rate = np.divide(
        loads["rebound_share"], loads["rebound_hours_h"], out=np.zeros(len(loads)), where=loads["rebound_share"] > 0
    )
    back = np.zeros((len(loads), len(hours)))
    np.add.at(back, load, (rate[load] * length_h * power_kw)[:, None] * np.clip(inside, 0.0, None) / hours)
    return back
