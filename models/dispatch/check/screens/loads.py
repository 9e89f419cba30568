"""Curtailable and interruptible loads by the thousand: reductions recovered from net power, rules about calls."""

import numpy as np

from models.dispatch.check.horizon import Horizon, tolerance
from models.dispatch.check.screens.calls import (
    EPS_H,
    Rebound,
    calls_of,
    is_on,
    opens_h,
    rebound_of_the_past,
    stays_on,
    too_many,
    too_soon,
    wrong_length,
)
from models.dispatch.check.screens.common import Batch, BoolArray, Granted, Screened, above, margin, or_else
from models.dispatch.states import StateColumns
from models.fleet import Column
from models.intervals import FloatArray

_NOISE = 0.1
"""A reduction below this part of the tolerance is none (as in the check of one load)."""


def screen_curtailables(batch: Batch, power_kw: FloatArray) -> Screened:
    """Depth, rebound, energy, equivalent hours, notice, calls and rest."""
    hours, get, state = batch.horizon.hours, batch.number, batch.state
    base = batch.series("baseline_profile", "baseline_scale_kw")
    slack = tolerance(base)
    limit = batch.upright("curtail_share") * base
    cut = base + rebound_of_the_past(batch) - power_kw
    _without_rebound(batch, cut, slack)
    suspect = np.any(cut < -margin(base), axis=1)
    cut = np.maximum(cut, 0)
    suspect |= np.any(cut > limit + margin(base), axis=1)
    energy, spent = cut @ hours, or_else(state.energy_used_kwh, 0.0)
    suspect |= above(energy + spent, np.maximum(get("energy_limit_kwh"), spent))
    equivalent = np.divide(cut, limit, out=np.zeros_like(cut), where=limit > tolerance(1.0)) @ hours
    used = or_else(state.hours_used_h, 0.0)
    suspect |= above(equivalent + used, np.maximum(get("hours_limit_h"), used))
    suspect |= _wrong_calls(batch, cut > slack, limit <= slack)
    return Screened(suspect, get("cost_per_kwh") * energy, np.zeros(len(batch)))


def _without_rebound(batch: Batch, cut: FloatArray, slack: FloatArray) -> None:
    """Turn b + past − p into the reduction, in place: what returns of earlier reductions is added to it."""
    again = np.flatnonzero(batch.number("rebound_share") > 0)
    if again.size:
        part, quiet = cut[again], _NOISE * slack[again]
        rebound = Rebound(_some(batch, again))
        for t in range(part.shape[1]):
            now = part[:, t] + rebound.returns_kw(t)
            part[:, t] = np.where(np.abs(now) <= quiet[:, t], 0.0, now)
            rebound.gave_up(t, part[:, t])
        cut[again] = part
    cut[np.abs(cut) <= _NOISE * slack] = 0.0


def _some(batch: Batch, which: np.ndarray) -> Batch:
    """A part of a batch, for its rebound only."""
    names = ("resource_id", "rebound_share", "rebound_hours_h")
    return Batch({name: batch.columns[name][which] for name in names}, batch.state, batch.horizon)


def is_integer(batch: Batch) -> BoolArray:
    """Which curtailable loads count calls, (n,)."""
    return np.asarray(~np.isnan(batch.number("calls_per_day")) | (batch.number("rest_h") > 0))


def _wrong_calls(batch: Batch, reduced: BoolArray, neutral: BoolArray) -> BoolArray:
    horizon, whole = batch.horizon, is_integer(batch)
    suspect = np.any(reduced & (horizon.tau_h < opens_h(batch)[:, None] - EPS_H), axis=1)
    some = np.flatnonzero(reduced.any(axis=1) & whole)
    if not some.size:
        return np.asarray(suspect)
    calls = calls_of(reduced & whole[:, None], neutral, is_on(batch.state) & whole)
    return np.asarray(suspect | (whole & (too_many(batch, calls) | too_soon(batch, calls))))


def admit_interruptibles(columns: dict[str, Column], state: StateColumns, horizon: Horizon) -> Batch:
    """Loads with the shortest time that an interruption which runs already can keep on these intervals."""
    been = or_else(state.hours_in_state_h, 0.0)
    shortest, longest = columns["shortest_h"], columns["longest_h"]
    must = np.searchsorted(horizon.tau_h, shortest - been - EPS_H, side="left")
    may = np.searchsorted(horizon.ends_h, longest - been + EPS_H, side="right")
    possible = np.concatenate([[0.0], horizon.ends_h])[may]
    granted = np.where(is_on(state) & (must > may), np.minimum(shortest, been + possible), shortest)
    changed = (Granted("shortest_h", shortest, granted),)
    return Batch({**columns, "shortest_h": granted}, state, horizon, changed, np.zeros(len(been), dtype=np.bool_))


def screen_interruptibles(batch: Batch, power_kw: FloatArray) -> Screened:
    """On or off and nothing between, durations, calls, rest, notice, rebound."""
    base = batch.series("baseline_profile", "baseline_scale_kw")
    block = np.minimum(batch.upright("block_kw"), base)
    slack, allowed = tolerance(base), margin(base)
    neutral = block <= slack
    undisturbed = base + rebound_of_the_past(batch)
    rebound = Rebound(batch) if np.any(batch.number("rebound_share") > 0) else None
    off = np.zeros(base.shape, dtype=np.bool_)
    suspect = np.zeros(len(batch), dtype=np.bool_)
    for t in range(base.shape[1]):
        here = undisturbed[:, t] if rebound is None else undisturbed[:, t] + rebound.returns_kw(t)
        missing = power_kw[:, t] - here
        off[:, t] = ~neutral[:, t] & (np.abs(missing + block[:, t]) < np.abs(missing))
        cut = np.where(off[:, t], block[:, t], 0.0)
        suspect |= np.abs(missing + cut) > allowed[:, t]
        if rebound is not None:
            rebound.gave_up(t, cut)
    calls = calls_of(off, neutral, is_on(batch.state))
    suspect |= stays_on(batch, calls, neutral) | wrong_length(batch, calls, neutral)
    suspect |= too_many(batch, calls) | too_soon(batch, calls)
    own_cost = batch.number("cost_per_kwh") * (np.where(off, block, 0.0) @ batch.horizon.hours)
    return Screened(suspect, own_cost, np.zeros(len(batch)))
