"""Curtailable and interruptible loads, checked: the reduction is recovered from net power, rebound and profile.

Net power is p = b − r + what returns of earlier reductions, so r follows interval by interval from p alone.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.dispatch.check.horizon import DeviceCheck, Horizon, tolerance
from models.intervals import FloatArray
from models.resources import CurtailableLoad, InterruptibleLoad

Load = CurtailableLoad | InterruptibleLoad

_EPS_H = 1e-9
_NOISE = 0.1
"""A reduction below this part of the tolerance is none: else rounding would echo through the rebound."""


def profile_kw(load: Load, horizon: Horizon) -> FloatArray:
    """b, what the load draws undisturbed: profile x scale, (T,)."""
    return np.asarray(horizon.profiles[load.baseline_profile] * load.baseline_scale_kw)


def rebound_weights(load: Load, horizon: Horizon) -> FloatArray | None:
    """(T, T): kW that return in row t per kW given up in column s; None if nothing returns.

    (share / H) Δ_s overlap(t, (end_s, end_s + H]) / Δ_t
    """
    if load.rebound_share == 0:
        return None
    ends, hours = horizon.ends_h, horizon.hours
    opens, closes = ends[None, :], ends[None, :] + load.rebound_hours_h
    overlap = np.clip(np.minimum(ends[:, None], closes) - np.maximum(horizon.tau_h[:, None], opens), 0, None)
    return np.asarray(load.rebound_share / load.rebound_hours_h * overlap * hours[None, :] / hours[:, None])


def rebound_of_the_past(load: Load, horizon: Horizon) -> FloatArray:
    """KW that return of what was given up before the horizon, (T,)."""
    back = np.zeros(len(horizon.hours))
    if load.rebound_share > 0:
        for ended_ago_h, length_h, reduced_kw in horizon.state(load.resource_id).curtailed_history:
            closes = load.rebound_hours_h - ended_ago_h
            overlap = np.clip(np.minimum(horizon.ends_h, closes) - horizon.tau_h, 0, None)
            returned_kwh = load.rebound_share / load.rebound_hours_h * length_h * reduced_kw * overlap
            back += returned_kwh / horizon.hours
    return back


def opens_h(load: Load, horizon: Horizon) -> float:
    """From when on a reduction may begin, hours from the start: notice given, and rest after an earlier call over."""
    state = horizon.state(load.resource_id)
    first = horizon.first_issue_h + load.notice_h
    if state.on is False and state.hours_in_state_h is not None and (state.calls_used or 0) > 0:
        first = max(first, load.rest_h - state.hours_in_state_h)
    return first


@dataclass(frozen=True, slots=True)
class Call:
    """A run of reduced intervals, first to last inclusive; ``ongoing`` if it began before the horizon."""

    first: int
    last: int
    ongoing: bool


def calls_of(reduced: NDArray[np.bool_], neutral: NDArray[np.bool_], was_on: bool) -> list[Call]:
    """Runs of ``reduced``; an interval in which there is nothing to reduce does not interrupt a run."""
    found: list[Call] = []
    for t in np.flatnonzero(reduced).tolist():
        if found and neutral[found[-1].last + 1 : t].all():
            found[-1] = Call(found[-1].first, t, found[-1].ongoing)
        else:
            found.append(Call(t, t, not found and was_on and bool(neutral[:t].all())))
    return found


def check_curtailable(load: CurtailableLoad, power_kw: FloatArray, horizon: Horizon) -> DeviceCheck:
    """Check net power (T,): depth, rebound, energy, equivalent hours, notice, calls and rest."""
    found = DeviceCheck()
    base, state = profile_kw(load, horizon), horizon.state(load.resource_id)
    limit = load.curtail_share * base
    weights, past = rebound_weights(load, horizon), rebound_of_the_past(load, horizon)
    quiet = _NOISE * tolerance(base)
    cut = base + past - power_kw
    if weights is None:
        cut[np.abs(cut) <= quiet] = 0.0
    else:
        for t in range(len(cut)):
            cut[t] += weights[t, :t] @ cut[:t]
            if abs(cut[t]) <= quiet[t]:
                cut[t] = 0.0
    found.at_least("rebound_share" if load.rebound_share > 0 else "baseline_profile", cut, 0.0, tolerance(base))
    cut = np.maximum(cut, 0)
    found.at_most("curtail_share", cut, limit, tolerance(base))
    energy = float(horizon.hours @ cut)
    spent = state.energy_used_kwh or 0.0
    found.at_most("energy_limit_kwh", energy + spent, max(load.energy_limit_kwh, spent))
    filled = limit > tolerance(1.0)
    equivalent = float((horizon.hours[filled] * cut[filled] / limit[filled]).sum())
    used = state.hours_used_h or 0.0
    found.at_most("hours_limit_h", equivalent + used, max(load.hours_limit_h, used))
    _check_calls(load, cut > tolerance(base), limit <= tolerance(base), horizon, found)
    found.own_cost = load.cost_per_kwh * energy
    return found


def _check_calls(
    load: CurtailableLoad,
    reduced: NDArray[np.bool_],
    neutral: NDArray[np.bool_],
    horizon: Horizon,
    found: DeviceCheck,
) -> None:
    state = horizon.state(load.resource_id)
    was_on = bool(state.on) and load.is_integer
    calls = calls_of(reduced, neutral, was_on)
    opens = opens_h(load, horizon)
    ongoing = calls[0].last if calls and calls[0].ongoing else -1
    early = reduced & (horizon.tau_h < opens - _EPS_H) & (np.arange(len(reduced)) > ongoing)
    found.at_least("notice_h", np.where(early, horizon.tau_h, np.inf), opens, _EPS_H)
    if not load.is_integer:
        return
    if load.calls_per_day is not None:
        used = state.calls_used or 0
        begun = sum(not call.ongoing for call in calls)
        found.at_most("calls_per_day", float(begun + used), float(max(load.calls_per_day, used)))
    check_rest(load, calls, horizon, found)


def check_rest(load: Load, calls: list[Call], horizon: Horizon, found: DeviceCheck) -> None:
    """Time between the end of one call and the beginning of the next."""
    for before, after in itertools.pairwise(calls):
        rest = horizon.tau_h[after.first] - horizon.ends_h[before.last]
        if rest < load.rest_h - _EPS_H:
            found.note("rest_h", after.first, load.rest_h, float(rest))
    state = horizon.state(load.resource_id)
    if state.on and calls and not calls[0].ongoing and horizon.tau_h[calls[0].first] < load.rest_h - _EPS_H:
        found.note("rest_h", calls[0].first, load.rest_h, float(horizon.tau_h[calls[0].first]))


def check_interruptible(load: InterruptibleLoad, power_kw: FloatArray, horizon: Horizon) -> DeviceCheck:
    """Check net power (T,): on or off and nothing between, durations, calls, rest, notice, rebound."""
    found = DeviceCheck()
    base, state = profile_kw(load, horizon), horizon.state(load.resource_id)
    block = np.minimum(load.block_kw, base)
    weights, past = rebound_weights(load, horizon), rebound_of_the_past(load, horizon)
    margin = tolerance(base)
    neutral = block <= margin
    off = np.zeros(len(base), dtype=np.bool_)
    cut = np.zeros(len(base))
    for t in range(len(base)):
        undisturbed = base[t] + past[t] + (weights[t, :t] @ cut[:t] if weights is not None else 0.0)
        off[t] = not neutral[t] and abs(power_kw[t] - undisturbed + block[t]) < abs(power_kw[t] - undisturbed)
        cut[t] = block[t] if off[t] else 0.0
        wanted = undisturbed - cut[t]
        if abs(power_kw[t] - wanted) > margin[t]:
            returns = weights is not None and not off[t] and undisturbed > base[t] + margin[t]
            found.note("rebound_share" if returns else "block_kw", t, float(wanted), float(power_kw[t]))
    _check_interruptions(load, calls_of(off, neutral, bool(state.on)), neutral, horizon, found)
    found.own_cost = load.cost_per_kwh * float(horizon.hours @ cut)
    return found


def _check_interruptions(
    load: InterruptibleLoad,
    calls: list[Call],
    neutral: NDArray[np.bool_],
    horizon: Horizon,
    found: DeviceCheck,
) -> None:
    state = horizon.state(load.resource_id)
    opens, end = opens_h(load, horizon), float(horizon.ends_h[-1])
    been = (state.hours_in_state_h or 0.0) if state.on else 0.0
    if state.on and been < load.shortest_h - _EPS_H and not (calls and calls[0].ongoing) and not neutral[0]:
        found.note("shortest_h", 0, load.shortest_h, been)
    for call in calls:
        length = float(horizon.ends_h[call.last] - horizon.tau_h[call.first]) + (been if call.ongoing else 0.0)
        after = call.last + 1
        while after < len(neutral) and neutral[after]:
            after += 1
        until = float(horizon.tau_h[after]) if after < len(neutral) else end
        possible = until - float(horizon.tau_h[call.first]) + (been if call.ongoing else 0.0)
        if possible < load.shortest_h - _EPS_H and not (call.ongoing and after == len(neutral)):
            found.note("shortest_h", call.first, load.shortest_h, possible)
        if length > load.longest_h + _EPS_H and not (call.ongoing and length <= been + _EPS_H):
            found.note("longest_h", call.first, load.longest_h, length)
        if not call.ongoing and horizon.tau_h[call.first] < opens - _EPS_H:
            found.note("notice_h", call.first, opens, float(horizon.tau_h[call.first]))
    used = state.calls_used or 0
    begun = sum(not call.ongoing for call in calls)
    found.at_most("calls_per_day", float(begun + used), float(max(load.calls_per_day, used)))
    check_rest(load, calls, horizon, found)
