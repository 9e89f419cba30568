"""Curtailable and interruptible loads in plain arrays (equations C1-C10 and I1-I9 of ``reference/loads.py``)."""

import numpy as np

from models.dispatch.fast.explicit.draft import Draft
from models.dispatch.fast.explicit.runs import add_calls, add_rebound, add_recent, may_begin
from models.dispatch.fast.explicit.table import EPS, KindTable

LEAST_DEPTH = 0.01
"""(C10) Part of what may be curtailed that is curtailed throughout a call, where whole calls count."""


def add_curtailable(draft: Draft, loads: KindTable) -> None:
    """Write C1 to C10.  Columns: r (n, T); z, y, w where calls or rest are limited."""
    hours, base = draft.hours, loads.load_kw()
    limit = loads["curtail_share"][:, None] * base
    whole = ~np.isnan(loads["calls_per_day"]) | (loads["rest_h"] > 0)
    in_call = whole & (loads.state("on", 0.0) > 0)
    begin = may_begin(loads)
    open_for = np.where(in_call[:, None], 1.0, begin)
    cost = loads["cost_per_kwh"][:, None] * hours
    reduction = draft.column(loads.at[:, None], high=limit * open_for, cost=cost)
    add_rebound(draft, loads, reduction, 1.0)
    energy_left = np.maximum(0.0, loads["energy_limit_kwh"] - loads.state("energy_used_kwh", 0.0))
    energy = draft.row((len(loads),), high=energy_left)
    draft.put(energy[:, None], reduction, hours)
    hours_left = np.maximum(0.0, loads["hours_limit_h"] - loads.state("hours_used_h", 0.0))
    equivalent = draft.row((len(loads),), high=hours_left)
    weight = np.divide(np.broadcast_to(hours, limit.shape), limit, out=np.zeros_like(limit), where=limit > EPS)
    draft.put(equivalent[:, None], reduction, weight)
    if not whole.any():
        return
    some, depth, columns = loads.part(whole), limit[whole], reduction[whole]
    left = np.maximum(0.0, some["calls_per_day"] - some.state("calls_used", 0.0))
    calls = add_calls(
        draft,
        some,
        was_called=in_call[whole].astype(np.float64),
        may=begin[whole],
        calls_left=np.minimum(np.where(np.isnan(left), np.inf, left), len(hours)),
    )
    only_in_a_call = draft.row(depth.shape, high=0.0)
    draft.put(only_in_a_call, columns, 1.0)
    draft.put(only_in_a_call, calls.is_called, -depth)
    a_call_reduces = draft.row(depth.shape, low=0.0)
    draft.put(a_call_reduces, columns, 1.0)
    draft.put(a_call_reduces, calls.is_called, -LEAST_DEPTH * depth)


def add_interruptible(draft: Draft, loads: KindTable) -> None:
    """Write I1 to I9, with r = min(block, b) z put in (I2).  Columns: z, y, w (n, T)."""
    grid, hours, base = loads.problem.grid, draft.hours, loads.load_kw()
    tau_h, ends_h = grid.tau_h, grid.offsets_h[1:]
    block = np.minimum(loads["block_kw"][:, None], base)
    on = loads.state("on", 0.0) > 0
    been_h = np.where(on, loads.state("hours_in_state_h", 0.0), 0.0)
    must = on[:, None] & (tau_h < (loads["shortest_h"] - been_h)[:, None] - EPS)
    go_on = on[:, None] & (ends_h <= (loads["longest_h"] - been_h)[:, None] + EPS)
    fits = tau_h + loads["shortest_h"][:, None] <= float(grid.offsets_h[-1]) + EPS
    calls = add_calls(
        draft,
        loads,
        was_called=on.astype(np.float64),
        may=may_begin(loads) * fits,
        calls_left=np.maximum(0.0, loads["calls_per_day"] - loads.state("calls_used", 0.0)),
        must=must.astype(np.float64),
        cost=loads["cost_per_kwh"][:, None] * hours * block,
    )
    add_rebound(draft, loads, calls.is_called, block)
    not_shorter = draft.row(base.shape, high=0.0)
    add_recent(draft, not_shorter, calls.begins, loads["shortest_h"], tau_h)
    draft.put(not_shorter, calls.is_called, -1.0)
    not_longer = draft.row(base.shape, high=go_on.astype(np.float64))
    draft.put(not_longer, calls.is_called, 1.0)
    count = len(hours)
    for lag in range(count):
        recent = ends_h[lag:] - tau_h[: count - lag] <= loads["longest_h"][:, None] + EPS
        if not recent.any():
            break
        draft.put(not_longer[:, lag:], calls.begins[:, : count - lag], -recent.astype(np.float64))
