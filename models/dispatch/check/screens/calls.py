"""Calls by the thousand: runs of reduced intervals of all loads as one list, and the rules about them."""

from typing import NamedTuple

import numpy as np

from models.dispatch.check.horizon import Horizon
from models.dispatch.check.screens.common import Batch, BoolArray, IndexArray, or_else
from models.dispatch.states import StateColumns
from models.intervals import FloatArray

EPS_H = 1e-9


class Calls(NamedTuple):
    """Runs of reduced intervals, load by load and in order of time, (m,) each.

    ``first`` to ``last`` inclusive; ``opening``: the first of its load; ``ongoing``: it began before the horizon.
    """

    load: IndexArray
    first: IndexArray
    last: IndexArray
    opening: BoolArray
    ongoing: BoolArray


def calls_of(reduced: BoolArray, neutral: BoolArray, was_on: BoolArray) -> Calls:
    """Runs of ``reduced`` (n, T); an interval in which there is nothing to reduce does not interrupt a run."""
    load, when = np.nonzero(reduced)
    # what could be reduced before each interval: two reduced intervals with none of it between belong together
    active = np.zeros((reduced.shape[0], reduced.shape[1] + 1), dtype=np.int64)
    np.cumsum(~neutral, axis=1, out=active[:, 1:])
    before = active[load, when]
    new = np.ones(load.size, dtype=np.bool_)
    new[1:] = (load[1:] != load[:-1]) | (before[1:] > active[load[:-1], when[:-1] + 1])
    start = np.flatnonzero(new)
    stop = np.concatenate([start[1:] - 1, [load.size - 1]]) if start.size else start
    opening = np.ones(start.size, dtype=np.bool_)
    opening[1:] = load[start[1:]] != load[start[:-1]]
    ongoing = opening & was_on[load[start]] & (before[start] == 0)
    return Calls(load[start], when[start], when[stop], opening, ongoing)


def opens_h(batch: Batch) -> FloatArray:
    """From when on a reduction may begin, (n,) hours from the start: notice given, rest after an earlier call over."""
    state = batch.state
    first = batch.horizon.first_issue_h + batch.number("notice_h")
    rests = (state.on == 0) & ~np.isnan(state.hours_in_state_h) & (or_else(state.calls_used, 0.0) > 0)
    return np.where(rests, np.fmax(first, batch.number("rest_h") - or_else(state.hours_in_state_h, 0.0)), first)


def too_many(batch: Batch, calls: Calls) -> BoolArray:
    """Whose calls are more than a day allows, (n,)."""
    used = or_else(batch.state.calls_used, 0.0)
    begun = np.bincount(calls.load[~calls.ongoing], minlength=len(batch))
    allowed = or_else(batch.number("calls_per_day"), np.inf)
    return np.asarray(begun + used > np.maximum(allowed, used) + 0.5)


def too_soon(batch: Batch, calls: Calls) -> BoolArray:
    """Whose calls follow each other, or what was on before the horizon, without the rest between, (n,)."""
    horizon, bad = batch.horizon, np.zeros(len(batch), dtype=np.bool_)
    if not calls.load.size:
        return bad
    begins, rest = horizon.tau_h[calls.first], batch.number("rest_h")[calls.load]
    ended = np.concatenate([[0.0], horizon.ends_h[calls.last[:-1]]])
    bad[calls.load[~calls.opening & (begins - ended < rest - EPS_H)]] = True
    was_on = is_on(batch.state)[calls.load]
    bad[calls.load[calls.opening & was_on & ~calls.ongoing & (begins < rest - EPS_H)]] = True
    return bad


def is_on(state: StateColumns) -> BoolArray:
    """Who is known to be interrupted, (n,)."""
    return np.asarray(or_else(state.on, 0.0) > 0)


def next_active(neutral: BoolArray) -> IndexArray:
    """First interval from each on in which there is something to reduce, (n, T + 1); T if there is none."""
    count = neutral.shape[1]
    found = np.full((neutral.shape[0], count + 1), count, dtype=np.intp)
    found[:, :count] = np.where(neutral, count, np.arange(count))
    return np.asarray(np.minimum.accumulate(found[:, ::-1], axis=1)[:, ::-1])


class Rebound:
    """What comes back of earlier reductions, one interval after the other for n loads at once.

    A kW given up in s returns evenly in (end_s, end_s + H], so by time x the energy share/H (M(x) − M(x − H)) is back,
    with M(x) = Σ_{s: end_s ≤ x} Δ_s r_s (x − end_s), which two running sums give.
    """

    def __init__(self, batch: Batch) -> None:
        horizon = batch.horizon
        self.hours, self.edges = horizon.hours, np.concatenate([horizon.tau_h[:1], horizon.ends_h])
        share, span = batch.number("rebound_share"), batch.number("rebound_hours_h")
        self.span = span
        self.rate = np.divide(share, span, out=np.zeros_like(share), where=share > 0)
        spans, self.kind = np.unique(span, return_inverse=True)
        # intervals that have ended by edge − H, for every H that occurs
        self.ended = np.searchsorted(self.edges, self.edges[None, :] - spans[:, None], side="right") - 1
        self.energy = np.zeros((len(span), len(self.hours) + 1))
        self.moment = np.zeros_like(self.energy)
        self.rows = np.arange(len(span))

    def _back(self, t: int) -> FloatArray:
        """M(x) − M(x − H) at edge t, (n,): intervals before t are given."""
        edge = self.edges[t]
        late = np.maximum(self.ended[self.kind, t], 0)
        now = self.energy[:, t] * edge - self.moment[:, t]
        then = self.energy[self.rows, late] * (edge - self.span) - self.moment[self.rows, late]
        return np.asarray(now - then)

    def returns_kw(self, t: int) -> FloatArray:
        """What returns in interval t of what was given up before it, (n,)."""
        edge, after = self.edges[t], self.edges[t + 1]
        late = np.maximum(self.ended[self.kind, t + 1], 0)
        now = self.energy[:, t] * after - self.moment[:, t]
        then = self.energy[self.rows, late] * (after - self.span) - self.moment[self.rows, late]
        return np.asarray(self.rate * (now - then - self._back(t)) / (after - edge))

    def gave_up(self, t: int, cut_kw: FloatArray) -> None:
        """Note what was given up in interval t, (n,)."""
        given = self.hours[t] * cut_kw
        self.energy[:, t + 1] = self.energy[:, t] + given
        self.moment[:, t + 1] = self.moment[:, t] + given * self.edges[t + 1]


def rebound_of_the_past(batch: Batch) -> FloatArray:
    """KW that return of what was given up before the horizon, (n, T)."""
    horizon, state = batch.horizon, batch.state
    back = np.zeros((len(batch), len(horizon.hours)))
    pieces = np.diff(state.history_first)
    if not pieces.any():
        return back
    share, span = batch.number("rebound_share"), batch.number("rebound_hours_h")
    who = np.repeat(np.arange(len(batch)), pieces)
    some = share[who] > 0
    who, (ago_h, length_h, reduced_kw) = who[some], state.history[some].T
    overlap = np.clip(np.minimum(horizon.ends_h, (span[who] - ago_h)[:, None]) - horizon.tau_h, 0, None)
    returned_kwh = (share[who] / span[who] * length_h * reduced_kw)[:, None] * overlap
    np.add.at(back, who, returned_kwh / horizon.hours)
    return back


def stays_on(batch: Batch, calls: Calls, neutral: BoolArray) -> BoolArray:
    """Whose interruption from before the horizon ends before its shortest time, (n,)."""
    kept = np.zeros(len(batch), dtype=np.bool_)
    kept[calls.load[calls.ongoing]] = True
    been = or_else(batch.state.hours_in_state_h, 0.0)
    return is_on(batch.state) & (been < batch.number("shortest_h") - EPS_H) & ~kept & ~neutral[:, 0]


def wrong_length(batch: Batch, calls: Calls, neutral: BoolArray) -> BoolArray:
    """Whose interruptions are shorter or longer than they may be, or begin before they may, (n,)."""
    horizon, bad = batch.horizon, np.zeros(len(batch), dtype=np.bool_)
    count = len(horizon.hours)
    been = np.where(calls.ongoing, or_else(batch.state.hours_in_state_h, 0.0)[calls.load], 0.0)
    begins = horizon.tau_h[calls.first]
    length = horizon.ends_h[calls.last] - begins + been
    after = next_active(neutral)[calls.load, calls.last + 1]
    possible = _edges(horizon)[after] - begins + been
    short = (possible < batch.number("shortest_h")[calls.load] - EPS_H) & ~(calls.ongoing & (after == count))
    long = (length > batch.number("longest_h")[calls.load] + EPS_H) & ~(calls.ongoing & (length <= been + EPS_H))
    early = ~calls.ongoing & (begins < opens_h(batch)[calls.load] - EPS_H)
    bad[calls.load[short | long | early]] = True
    return bad


def _edges(horizon: Horizon) -> FloatArray:
    return np.concatenate([horizon.tau_h, horizon.ends_h[-1:]])
