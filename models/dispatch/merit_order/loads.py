r"""Loads that give up consumption: curtailable ones to any depth, interruptible ones as one block.

    (O9)   p_t = b_t + rebound_t - r_t,   rebound_t Δ_t = Σ_s (share/H) r_s Δ_s |[τ_t, end_t] ∩ (end_s, end_s + H]|
    (O10)  0 ≤ r_t ≤ min(share_c b_t, energy left/w, hours left · share_c b_t/w)          curtailable, w = x - τ
    (O11)  r_t ∈ {0, min(block, b_t)},   shortest ≤ length ≤ longest                       interruptible

Nothing of it asks for more later: r = 0 is always allowed, with what has been given up coming back as it must.
Energy and hours of the day are counted down as they are used.  A call begins only where notice and rest are over and
a call is left; an interruption only where the intervals hold one that is long enough, and goes on until it was.
``w`` is how long it must be held: what is left is spread over the event.
"""

import numpy as np

from models.dispatch.merit_order.offers import Ask, BoolArray, Offers, Table
from models.intervals import FloatArray

_EPS_H = 1e-9
_NOISE = 1e-5
"""Relative (and kW): so little is no reduction for whoever looks at it, and would end a call."""


class _Calls:
    """Notice, rest, calls of the day, and what comes back of what was given up; (n,) each."""

    def __init__(self, table: Table, *, counted: BoolArray) -> None:
        states, self.table = table.states, table
        self.calls_left = np.maximum(0.0, table.of("calls_per_day") - table.known("calls_used", 0.0))
        self.calls_left[np.isnan(self.calls_left)] = np.inf
        self.in_call = (table.known("on", 0.0) != 0) & counted
        self.last_end_h = np.where(self.in_call, 0.0, -np.inf)
        rested = (states.on == 0) & ~np.isnan(states.hours_in_state_h) & (table.known("calls_used", 0.0) > 0)
        first = table.setting.first_issue_h + table.of("notice_h")
        since = table.of("rest_h") - table.known("hours_in_state_h", 0.0)
        self.opens_h = np.where(rested, np.maximum(first, since), first)
        self._rest_h = table.of("rest_h")
        self._counted = counted
        self._profile, self._scale = table.profile("baseline_profile"), table.of("baseline_scale_kw")
        self._share, self._span_h = table.of("rebound_share"), table.of("rebound_hours_h")
        self._back: list[tuple[FloatArray, FloatArray]] = list(self._of_the_past())

    def baseline(self, t: int) -> FloatArray:
        """The profile b in an interval."""
        return np.asarray(self.table.setting.profiles[self._profile, t] * self._scale)

    def cost(self, t: int) -> tuple[FloatArray, FloatArray]:
        """What is given up and does not come back is not paid for."""
        cost = self.table.of("cost_per_kwh") - (1.0 - self._share) * self.table.price(t)
        return cost, np.zeros(len(cost))

    def may_begin(self, ask: Ask) -> BoolArray:
        """A call may begin in the interval."""
        earliest = np.maximum(self.opens_h, np.where(self._counted, self.last_end_h + self._rest_h, -np.inf))
        return np.asarray((ask.begin_h >= earliest - _EPS_H) & (self.calls_left > 0))

    def coming_back(self, ask: Ask) -> FloatArray:
        """What returns, kW, in the interval of what was given up before (O9)."""
        total = np.zeros(len(self._share))
        for ended_h, rate in self._back:
            shared = np.minimum(ask.end_h, ended_h + self._span_h) - np.maximum(ask.begin_h, ended_h)
            total += rate * np.clip(shared, 0.0, None)
        return np.asarray(total / ask.hours)

    def note(self, ask: Ask, cut_kw: FloatArray, neutral: BoolArray) -> BoolArray:
        """Remember what is given up; returns who began a call with it."""
        reduced = cut_kw > 0
        begun = reduced & ~self.in_call
        self.calls_left = self.calls_left - (begun & self._counted)
        self.in_call = (reduced | (self.in_call & neutral)) & self._counted
        self.last_end_h = np.where(reduced, ask.end_h, self.last_end_h)
        returns = np.where(self._share > 0, self._share / np.where(self._share > 0, self._span_h, 1.0), 0.0)
        if (returns * cut_kw).any():
            self._back.append((np.full(len(cut_kw), ask.end_h), returns * cut_kw * ask.hours))
        return np.asarray(begun)

    def _of_the_past(self) -> list[tuple[FloatArray, FloatArray]]:
        """Pieces that were given up before the horizon: when each ended, and kW that return of it."""
        states, found = self.table.states, []
        count = np.diff(states.history_first)
        returns = np.where(self._share > 0, self._share / np.where(self._share > 0, self._span_h, 1.0), 0.0)
        for k in range(int(count.max(initial=0))):
            place = np.minimum(states.history_first[:-1] + k, max(0, len(states.history) - 1))
            ago_h, length_h, cut_kw = states.history[place].T
            found.append((-ago_h, np.where(count > k, returns * length_h * cut_kw, 0.0)))
        return found


def _noise(baseline_kw: FloatArray) -> FloatArray:
    return np.asarray(_NOISE * np.maximum(1.0, np.abs(baseline_kw)))


def _neutral(limit_kw: FloatArray, baseline_kw: FloatArray) -> BoolArray:
    """There is nothing to give up: that does not end a call."""
    return np.asarray(limit_kw <= 1e-6 * np.maximum(1.0, np.abs(baseline_kw)))


class CurtailableLoads:
    """Loads of which a share can be given up, (n,) each."""

    def __init__(self, table: Table) -> None:
        self.table = table
        whole = ~np.isnan(table.of("calls_per_day")) | (table.of("rest_h") > 0)
        self._calls = _Calls(table, counted=whole)
        self._whole = whole
        self._share = table.of("curtail_share")
        self._energy = np.maximum(0.0, table.of("energy_limit_kwh") - table.known("energy_used_kwh", 0.0))
        self._hours = np.maximum(0.0, table.of("hours_limit_h") - table.known("hours_used_h", 0.0))

    def cost(self, t: int) -> tuple[FloatArray, FloatArray]:
        return self._calls.cost(t)

    def offer(self, ask: Ask, offers: Offers) -> None:
        baseline = self._calls.baseline(ask.t)
        offers.base_kw[:] = baseline + self._calls.coming_back(ask)
        limit, held_h = self._share * baseline, np.maximum(ask.hold_h, ask.hours)
        most = np.minimum(np.minimum(limit, self._energy / held_h), limit * np.minimum(1.0, self._hours / held_h))
        may = self._calls.may_begin(ask) | self._calls.in_call
        least = _noise(baseline)
        offers.down_kw[:] = np.where(may & (most > least), most, 0.0)
        offers.down_least_kw[:] = least
        offers.up_kw[:] = 0.0

    def take(self, ask: Ask, power_kw: FloatArray) -> None:
        baseline = self._calls.baseline(ask.t)
        limit = self._share * baseline
        cut = np.maximum(baseline + self._calls.coming_back(ask) - power_kw, 0.0)
        cut[cut < 0.5 * _noise(baseline)] = 0.0
        self._energy = np.maximum(0.0, self._energy - cut * ask.hours)
        used = np.divide(cut, limit, out=np.zeros_like(cut), where=limit > 0)
        self._hours = np.maximum(0.0, self._hours - used * ask.hours)
        self._calls.note(ask, cut, _neutral(limit, baseline))

    def energy_kwh(self) -> FloatArray:
        return np.full(len(self.table), np.nan)


class InterruptibleLoads:
    """Loads of which one block is off or on, (n,) each."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._calls = _Calls(table, counted=np.ones(len(table), dtype=np.bool_))
        self._block = table.of("block_kw")
        self._shortest, self._longest = table.of("shortest_h"), table.of("longest_h")
        self._begun_h = -table.known("hours_in_state_h", 0.0)
        self._cut = np.zeros(len(table))

    def cost(self, t: int) -> tuple[FloatArray, FloatArray]:
        return self._calls.cost(t)

    def offer(self, ask: Ask, offers: Offers) -> None:
        calls, baseline = self._calls, self._calls.baseline(ask.t)
        block = np.minimum(self._block, baseline)
        neutral = _neutral(block, baseline)
        must = calls.in_call & (ask.begin_h < self._begun_h + self._shortest - _EPS_H)
        goes_on = calls.in_call & ~must & (ask.end_h <= self._begun_h + self._longest + _EPS_H)
        may = ~neutral & (goes_on | (~calls.in_call & calls.may_begin(ask) & self._fits(ask)))
        self._cut = np.where(must & ~neutral, block, 0.0)
        offers.base_kw[:] = baseline + calls.coming_back(ask) - self._cut
        offers.down_kw[:] = np.where(may, block, 0.0)
        offers.down_least_kw[:] = block
        offers.up_kw[:] = 0.0

    def _fits(self, ask: Ask) -> BoolArray:
        """The first edge after the shortest time comes before the longest is over, and in an event before its end."""
        edges = self.table.setting.edges_h
        place = np.searchsorted(edges, np.maximum(ask.begin_h + self._shortest - _EPS_H, ask.end_h))
        over_h = np.where(place < len(edges), edges[np.minimum(place, len(edges) - 1)], np.inf)
        until_h = np.where(ask.in_event, ask.till_h, np.inf)
        return np.asarray(over_h <= np.minimum(ask.begin_h + self._longest, until_h) + _EPS_H)

    def take(self, ask: Ask, power_kw: FloatArray) -> None:
        baseline = self._calls.baseline(ask.t)
        block = np.minimum(self._block, baseline)
        standing = baseline + self._calls.coming_back(ask)
        neutral = _neutral(block, baseline)
        cut = np.where(~neutral & (standing - power_kw > 0.5 * block), block, 0.0)
        begun = self._calls.note(ask, cut, neutral)
        self._begun_h = np.where(begun, ask.begin_h, self._begun_h)

    def energy_kwh(self) -> FloatArray:
        return np.full(len(self.table), np.nan)
