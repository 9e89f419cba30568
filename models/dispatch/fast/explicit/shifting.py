"""Shiftable loads in plain arrays: spread energy, or one contiguous run (L1-L4, R1-R3 of ``reference/shifting.py``)."""

from collections.abc import Iterator

import numpy as np

from models.dispatch.fast.explicit.draft import BoolArray, Draft, IntArray
from models.dispatch.fast.explicit.table import EPS, KindTable, overlap_h
from models.intervals import FloatArray

_NOTHING = 1e-12
"""A part of full power below this is what rounding leaves."""


def add_shiftable(draft: Draft, loads: KindTable) -> None:
    """Write L1-L4 for loads that may spread their energy, R1-R3 for those with a run."""
    has_run = loads["run_profile"].astype(str) != ""
    if not has_run.all():
        _add_spread(draft, loads.part(~has_run))
    if has_run.any():
        _add_runs(draft, loads.part(has_run))


def _energy_left_kwh(loads: KindTable) -> FloatArray:
    """What is still to be used inside the window, at and after the horizon; nothing once the window is over, (n,)."""
    left = np.maximum(0.0, loads["energy_kwh"] - loads.state("delivered_kwh", 0.0))
    return np.where(loads.since_start_h("window_end") <= 0, 0.0, left)


# ---- spread


def _add_spread(draft: Draft, loads: KindTable) -> None:
    """Write L1 to L4.  Columns: p (n, T), q (n,), v, w (n, T) where there is a preferred start."""
    grid, hours, own = loads.problem.grid, draft.hours, loads.at[:, None]
    first, last = loads.since_start_h("window_start"), loads.since_start_h("window_end")
    share = overlap_h(loads.problem, first, last) / hours
    later_h = np.where(last > 0, np.maximum(0.0, last - np.maximum(float(grid.offsets_h[-1]), first)), 0.0)
    least, most = loads["power_min_kw"], loads["power_max_kw"]
    power = draft.column(own, low=least[:, None] * share, high=most[:, None] * share)
    later = draft.column(loads.at, low=least * later_h, high=most * later_h)
    draft.draws(loads.at, power, 1.0)
    left = _energy_left_kwh(loads)
    energy = draft.row((len(loads),), low=left, high=left)
    draft.put(energy[:, None], power, hours)
    draft.put(energy, later, 1.0)
    start = loads.since_start_h("preferred_start")
    says = ~np.isnan(start)
    if not says.any():
        return
    some = loads.part(says)
    wanted = _run_kw(some, np.ones(1), start[says])
    per_kw = 0.5 * some["cost_per_kwh"][:, None] * hours
    more, less = draft.column(some.at[:, None], cost=per_kw), draft.column(some.at[:, None], cost=per_kw)
    deviation = draft.row(wanted.shape, low=wanted, high=wanted)
    draft.put(deviation, power[says], 1.0)
    draft.put(deviation, more, -1.0)
    draft.put(deviation, less, 1.0)


# ---- one run


def _step_h(loads: KindTable, run: FloatArray) -> FloatArray:
    """Length of one step of the run, from its energy: Σ step · power_max · run = energy, (n,)."""
    full = loads["power_max_kw"] * float(run.sum())
    return np.asarray(np.divide(loads["energy_kwh"], full, out=np.zeros(len(loads)), where=full > 0))


def _run_kw(loads: KindTable, run: FloatArray, start_h: FloatArray) -> FloatArray:
    """Mean power in every interval of runs that begin ``start_h`` (n,) after the horizon's start, (n, T).

    The energy used until an edge of the grid is linear between the steps of the run.
    """
    step = _step_h(loads, run)
    used = np.concatenate([[0.0], np.cumsum(run)])
    done = np.divide(
        loads.problem.grid.offsets_h - start_h[:, None],
        step[:, None],
        out=np.zeros((len(loads), len(loads.problem.grid) + 1)),
        where=step[:, None] > 0,
    )
    steps = np.diff(np.interp(done, np.arange(len(used)), used), axis=1)
    power = (loads["power_max_kw"] * step)[:, None] * steps / loads.problem.grid.hours
    power[np.abs(power) < _NOTHING * loads["power_max_kw"][:, None]] = 0.0
    return np.asarray(power)


def _add_runs(draft: Draft, loads: KindTable) -> None:
    """Write R1 to R3.  Columns: y_s where the run may begin with s, y* where it may begin after the horizon."""
    for run, some in _by_run(loads):
        on = some.state("on", 0.0) > 0
        begun = _run_kw(some, run, -some.state("hours_in_state_h", 0.0))
        draft.net_constant[some.at] += np.where(on[:, None], begun, 0.0)
        may, later = _possible_starts(some, run)
        to_do = ~on & (_energy_left_kwh(some) > EPS) & (may.any(axis=1) | later)
        if to_do.any():
            _add_run(draft, some.part(to_do), run, may[to_do], later[to_do])


def _by_run(loads: KindTable) -> Iterator[tuple[FloatArray, KindTable]]:
    names = loads["run_profile"].astype(str)
    for name in np.unique(names):
        yield loads.problem.run_profiles[str(name)], loads.part(names == name)


def _possible_starts(loads: KindTable, run: FloatArray) -> tuple[BoolArray, BoolArray]:
    """Whether a run may begin with an interval, (n, T), and whether it may begin after the horizon, (n,)."""
    grid = loads.problem.grid
    first, last = loads.since_start_h("window_start"), loads.since_start_h("window_end")
    run_h = _step_h(loads, run) * len(run)
    may = (grid.tau_h >= first[:, None] - EPS) & (grid.tau_h + run_h[:, None] <= last[:, None] + EPS)
    later = np.maximum(float(grid.offsets_h[-1]), first) + run_h <= last + EPS
    return may, later


def _add_run(draft: Draft, loads: KindTable, run: FloatArray, may: BoolArray, later: BoolArray) -> None:
    tau_h, count = loads.problem.grid.tau_h, len(draft.hours)
    start = loads.since_start_h("preferred_start")
    says = ~np.isnan(start)
    wanted = np.where(says[:, None], _run_kw(loads, run, np.where(says, start, 0.0)), 0.0)
    half = np.where(says, 0.5 * loads["cost_per_kwh"], 0.0)
    once = draft.row((len(loads),), low=1.0, high=1.0)
    idle = draft.column(loads.at[later], high=1.0, cost=(half * (np.abs(wanted) @ draft.hours))[later], integer=True)
    draft.put(once[later], idle, 1.0)
    for s in range(count):
        chosen = may[:, s]
        if not chosen.any():
            continue
        some = loads.part(chosen)
        shape = _run_kw(some, run, np.full(len(some), tau_h[s]))
        cost = half[chosen] * (np.abs(shape - wanted[chosen]) @ draft.hours)
        begins: IntArray = draft.column(some.at, high=np.ones(len(some)), cost=cost, integer=True)
        draft.put(once[chosen], begins, 1.0)
        draft.draws(some.at, begins[:, None], shape)
