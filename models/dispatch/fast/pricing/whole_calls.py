"""Curtailable loads whose calls are counted: a schedule that keeps calls, rest, notice and least depth (C5-C10).

Inside given calls the best schedule is the knapsack of ``two_limits`` above the least depth: exact.  Which calls, is
decided between several good choices: those that the relaxed schedule itself makes (if they keep the rules, nothing is
better), and those of dynamic programming (``best_calls``) at the limits' prices x 1, 1/2 and 0, where an interval of a
call costs what its cheapest depth costs at those prices.  Ends of calls that stay at the least depth are cut off.  No
call at all is always allowed.

Scratch memory (``part``): 0-2 are the caller's price, limit and reduction; 3-21 are used here.
"""

import numpy as np

from models.dispatch.fast.pricing.calls import best_calls, ends_within, part
from models.dispatch.fast.pricing.jit import jit
from models.dispatch.fast.pricing.loads import EPS_H, LEAST_KW, first_open, resume_after
from models.dispatch.fast.pricing.two_limits import two_limits
from models.intervals import FloatArray

LEAST_DEPTH = 0.01
"""Part of what may be given up that is given up throughout a call."""

_CALLED, _TRIED, _KEPT, _REST, _TOTAL, _FIRST, _LAST = 15, 16, 17, 18, 19, 20, 21

_ENOUGH = 1e-12
"""Relative: nearer to the relaxed cost than this is the optimum."""


@jit
def keep_calls(
    limits: tuple[float, float, float, float],
    calls: int,
    on: bool,
    edges: FloatArray,
    hours: FloatArray,
    relaxed: tuple[float, float, float],
    work: FloatArray,
) -> float:
    """Replace the relaxed reduction (T,) by one in whole calls; its cost, CNY.

    ``limits``: energy left, hours left, rest, and when calls may begin.  ``relaxed``: cost of the relaxed reduction,
    and its prices of energy and hours.
    """
    count = hours.size
    limit, reduction, called, kept = part(work, 1), part(work, 2), part(work, _CALLED), part(work, _KEPT)
    saved, mu, nu = relaxed
    rest_h, open_h = limits[2], limits[3]
    kept[:count] = 0.0
    best = 0.0
    for t in range(count):
        called[t] = 1.0 if reduction[t] > LEAST_KW else 0.0
    if keeps_rules(called, limit, edges, count, rest_h, open_h, calls, on):
        best = _within(limits, hours, on, work, best)
    if best > saved + _ENOUGH * abs(saved):
        rest, first, last, total = part(work, _REST), part(work, _FIRST), part(work, _LAST), part(work, _TOTAL)
        resume_after(edges, count, rest_h, rest)
        ends_within(edges, count, 0.0, np.inf, first, last)
        open_t = first_open(edges, count, open_h)
        for factor in (1.0, 0.5, 0.0):
            _cost_of_calling(factor * mu, factor * nu, hours, work)
            best_calls(total, edges, count, rest, first, last, open_t, calls, on, 0.0, (0.0, np.inf), work, called)
            best = _within(limits, hours, on, work, best)
            if best <= saved + _ENOUGH * abs(saved) or (mu == 0 and nu == 0):
                break
    reduction[:count] = kept[:count]
    return best


@jit
def least_depth(limit_kw: float) -> float:
    """What is given up at least in an interval of a call, kW; nothing where there is nothing to give up."""
    return LEAST_DEPTH * limit_kw if limit_kw > LEAST_KW else 0.0


@jit
def keeps_rules(
    called: FloatArray,
    limit: FloatArray,
    edges: FloatArray,
    count: int,
    rest_h: float,
    open_h: float,
    calls: int,
    on: bool,
) -> bool:
    """True if ``called`` keeps notice, calls and rest.

    Intervals with nothing to give up join the call before, if it goes on after them; a call that does not has ended
    before them, which is when its rest begins.
    """
    begun, ended, ends = 0, -1, 0
    running = on
    for t in range(count):
        if limit[t] <= LEAST_KW:
            called[t] = 1.0 if running else 0.0
            continue
        if called[t] == 0:
            if running:
                ended = ends
            running = False
            continue
        if not running:
            begun += 1
            if edges[t] < open_h - EPS_H or (ended >= 0 and edges[t] - edges[ended] < rest_h - EPS_H):
                return False
        running, ends = True, t + 1
    return begun <= calls


@jit
def _cost_of_calling(mu: float, nu: float, hours: FloatArray, work: FloatArray) -> None:
    """Prefix sums of what an interval of a call costs at the prices of energy and hours, in its cheapest depth."""
    per_kwh, limit, total = part(work, 0), part(work, 1), part(work, _TOTAL)
    total[0] = 0.0
    for t in range(hours.size):
        cost = 0.0
        if limit[t] > LEAST_KW:
            whole = hours[t] * ((per_kwh[t] + mu) * limit[t] + nu)
            cost = whole if whole < 0 else LEAST_DEPTH * whole
        total[t + 1] = total[t] + cost


@jit
def _within(
    limits: tuple[float, float, float, float], hours: FloatArray, on: bool, work: FloatArray, best: float
) -> float:
    """Cost of the best schedule inside ``called``, or of one found before; the better of the two is kept."""
    tried, kept = part(work, _TRIED), part(work, _KEPT)
    count = hours.size
    for _ in range(2):
        cost = _deepen(limits, hours, work)
        if cost < best:
            best = cost
            kept[:count] = tried[:count]
        if not _cut_ends(count, on, work):
            break
    return best


@jit
def _deepen(limits: tuple[float, float, float, float], hours: FloatArray, work: FloatArray) -> float:
    """The best reduction inside ``called``, into ``tried``; its cost, infinite if the least depth passes a limit."""
    per_kwh, limit, called, tried = part(work, 0), part(work, 1), part(work, _CALLED), part(work, _TRIED)
    items, value, energy, span, taken = part(work, 4), part(work, 5), part(work, 6), part(work, 7), part(work, 8)
    most_kwh, most_h = limits[0], limits[1]
    found, cost = 0, 0.0
    for t in range(hours.size):
        tried[t] = 0.0
        if called[t] == 0 or limit[t] <= LEAST_KW:
            continue
        least = least_depth(limit[t])
        tried[t] = least
        most_kwh -= hours[t] * least
        most_h -= hours[t] * least / limit[t]
        cost += hours[t] * per_kwh[t] * least
        if per_kwh[t] < 0:
            items[found] = t
            value[found] = per_kwh[t]
            energy[found] = hours[t] * (limit[t] - least)
            span[found] = hours[t] * (limit[t] - least) / limit[t]
            found += 1
    if most_kwh < 0 or most_h < 0:
        return np.inf
    more, _, _ = two_limits(
        value,
        energy,
        span,
        found,
        most_kwh,
        most_h,
        taken,
        part(work, 9),
        part(work, 10),
        part(work, 11),
        part(work, 12),
    )
    for j in range(found):
        t = int(items[j])
        tried[t] += taken[j] * (limit[t] - least_depth(limit[t]))
    total: float = cost + more
    return total


@jit
def _cut_ends(count: int, on: bool, work: FloatArray) -> bool:
    """Shorten calls at both ends by what stays at the least depth; False if there is nothing to cut.

    A call that is going on at the start is not shortened there: it would have to begin again.
    """
    limit, called, tried = part(work, 1), part(work, _CALLED), part(work, _TRIED)
    cut = False
    for step in (-1, 1):
        inside = False
        for k in range(count):
            t = k if step > 0 else count - 1 - k
            if called[t] == 0:
                inside = False
            elif step > 0 and k == 0 and on:
                inside = True
            elif not inside:
                inside = tried[t] > least_depth(limit[t]) * (1 + EPS_H)
                if not inside:
                    called[t] = 0.0
                    cut = True
    return cut
