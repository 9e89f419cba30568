"""Generators and photovoltaics by the thousand: ramps by differences, times up and down by the changes of state."""

import numpy as np

from models.dispatch.check.horizon import Horizon, tolerance
from models.dispatch.check.screens.common import Batch, BoolArray, Screened, above, below, margin, or_else
from models.dispatch.states import StateColumns
from models.fleet import Column
from models.intervals import FloatArray

_EPS_H = 1e-9


def as_asked(columns: dict[str, Column], state: StateColumns, horizon: Horizon) -> Batch:
    """Resources of a kind that no measured state relaxes."""
    return Batch(columns, state, horizon, (), np.zeros(len(columns["resource_id"]), dtype=np.bool_))


def output_before(batch: Batch) -> tuple[FloatArray, BoolArray, FloatArray]:
    """Output, whether it runs, and hours that has been so, when the horizon starts; at rest for long if unknown."""
    state = batch.state
    on = or_else(state.on, 0.0) > 0
    output = np.clip(-or_else(state.power_kw, 0.0), batch.number("power_min_kw"), batch.number("power_max_kw"))
    return np.where(on, output, 0.0), on, or_else(state.hours_in_state_h, np.inf)


def screen_generators(batch: Batch, power_kw: FloatArray) -> Screened:
    """Output limits, ramps, times; own cost with the least-cost commitment that fits the output."""
    hours, get = batch.horizon.hours, batch.number
    output, most = -power_kw, get("power_max_kw")
    was_kw, was_on, was_hours = output_before(batch)
    runs = output > tolerance(most)[:, None]
    suspect = above(power_kw.max(axis=1), np.zeros(len(batch))) | above(output.max(axis=1), most)
    suspect |= below(np.where(runs, output, np.inf), batch.upright("power_min_kw"))
    running = _with_idling(batch, runs, was_on)
    ran = np.concatenate([was_on[:, None], running[:, :-1]], axis=1)
    earlier = np.concatenate([was_kw[:, None], output[:, :-1]], axis=1)
    slack = margin(most)[:, None]
    step = batch.upright("ramp_kw_per_h") * hours
    edge = np.maximum(batch.upright("power_min_kw"), step)
    suspect |= np.any(running & ran & (np.abs(output - earlier) > step + slack), axis=1)
    suspect |= np.any(running & ~ran & (output > edge + slack), axis=1)
    suspect |= np.any(~running & ran & (earlier > edge + slack), axis=1)
    suspect |= _too_short(batch, running != ran, ran, was_hours)
    own_cost = get("cost_per_kwh") * (np.maximum(output, 0) @ hours)
    own_cost += get("start_cost") * (running & ~ran).sum(axis=1) + get("no_load_cost_per_h") * (running @ hours)
    return Screened(suspect, own_cost, np.zeros(len(batch)))


def _with_idling(batch: Batch, runs: BoolArray, was_on: BoolArray) -> BoolArray:
    """When each unit is committed, (n, T): a unit without a minimum idles where that is cheaper than a start.

    Every standstill before a start decides for itself.  If the outcome keeps the times up and down, nothing that keeps
    them is cheaper; if not, the unit is a suspect, and the check of one device looks for the cheapest that does.
    """
    idles_unseen = batch.number("power_min_kw") <= tolerance(batch.number("power_max_kw"))
    zero = np.flatnonzero(idles_unseen & (batch.number("start_cost") > 0))
    if not zero.size:
        return runs
    horizon, part = batch.horizon, runs[zero]
    start_cost, no_load = (batch.number(name)[zero] for name in ("start_cost", "no_load_cost_per_h"))
    since = np.where(was_on[zero], 0.0, -np.inf)  # hour at which the last run ended
    filled = part.copy()
    begin = np.where(was_on[zero], 0, -1)  # interval with which the standstill began, −1 if there was no run before
    for t in range(part.shape[1]):
        starts = part[:, t] & (begin >= 0) & (begin < t)
        idles = starts & (no_load * (horizon.tau_h[t] - since) < start_cost)
        for row in np.flatnonzero(idles):
            filled[row, begin[row] : t] = True
        begin = np.where(part[:, t], t + 1, begin)
        since = np.where(part[:, t], horizon.ends_h[t], since)
    done = runs.copy()
    done[zero] = filled
    return done


def _too_short(batch: Batch, changes: BoolArray, ran: BoolArray, was_hours: FloatArray) -> BoolArray:
    """Whose runs or standstills end before their minimum time."""
    who, when = np.nonzero(changes)
    bad = np.zeros(len(batch), dtype=np.bool_)
    if not who.size:
        return bad
    tau_h = batch.horizon.tau_h
    first = np.concatenate([[True], who[1:] != who[:-1]])
    since = np.where(first, -was_hours[who], np.concatenate([[0.0], tau_h[when[:-1]]]))
    least = np.where(ran[who, when], batch.number("minimum_up_h")[who], batch.number("minimum_down_h")[who])
    bad[who[tau_h[when] - since < least - _EPS_H]] = True
    return bad


def screen_pv(batch: Batch, power_kw: FloatArray) -> Screened:
    """Feed-in up to what the sun gives."""
    available = batch.series("available_profile", "available_scale_kw")
    suspect = above(power_kw.max(axis=1), np.zeros(len(batch))) | above(-power_kw, available)
    own_cost = batch.number("curtail_cost_per_kwh") * ((available + power_kw) @ batch.horizon.hours)
    return Screened(suspect, own_cost, np.zeros(len(batch)))
