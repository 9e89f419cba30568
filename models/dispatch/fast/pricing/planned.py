"""What a plan makes a load give up: the reduction behind its planned power, as far as it is a schedule still.

Net power determines the reduction, from the first interval to the last (``loads``):

    r_t = b_t + h_t + what returns in t of r_s, s < t  −  p_t

Where a limit has become tighter than the plan, the reduction is cut off there and the next intervals take up what that
changes.  So a load that follows its plan costs one pass, and nothing has to be searched for.
"""

from models.dispatch.fast.pricing.jit import jit_row
from models.dispatch.fast.pricing.loads import EPS_H, LEAST_KW
from models.intervals import FloatArray

_NOISE = 1e-9
"""Part of the undisturbed power below which a reduction is rounding."""


@jit_row
def planned_reduction(
    plan_kw: FloatArray,
    undisturbed_kw: FloatArray,
    limit: FloatArray,
    edges: FloatArray,
    hours: FloatArray,
    share: float,
    rebound_h: float,
    returns: FloatArray,
    reduction: FloatArray,
) -> None:
    """Fill r (T,), kW, between 0 and ``limit`` (T,), that makes the power ``plan_kw`` (T,); ``returns``: scratch."""
    count = hours.size
    for t in range(count):
        returns[t] = 0.0
    for s in range(count):
        wanted = undisturbed_kw[s] + returns[s] - plan_kw[s]
        reduction[s] = min(wanted, limit[s])
        if reduction[s] <= max(LEAST_KW, _NOISE * undisturbed_kw[s]):
            reduction[s] = 0.0
        if reduction[s] == 0 or share == 0:
            continue
        rate, closes = share / rebound_h * hours[s] * reduction[s], edges[s + 1] + rebound_h
        for t in range(s + 1, count):
            if edges[t] >= closes:
                break
            returns[t] += rate * (min(edges[t + 1], closes) - edges[t]) / hours[t]


@jit_row
def keeps_durations(
    called: FloatArray,
    edges: FloatArray,
    count: int,
    rest: FloatArray,
    first: FloatArray,
    last: FloatArray,
    open_t: int,
    calls: int,
    on: bool,
    been_h: float,
    durations: tuple[float, float],
) -> bool:
    """Whether the calls in ``called`` (T,) are a path of ``calls.best_calls``; arguments as there."""
    shortest_h, longest_h = durations
    t, begun = 0, 0
    if on:
        while t < count and called[t] > 0:
            t += 1
        if t < count and been_h + edges[t] < shortest_h - EPS_H:
            return False
        if t > 0 and been_h + edges[t] > longest_h + EPS_H:
            return False
        resume = rest[t]
    else:
        resume = 0.0
    while t < count:
        if called[t] == 0:
            t += 1
            continue
        begun += 1
        if t < open_t or t < resume or begun > calls:
            return False
        end = t
        while end < count and called[end] > 0:
            end += 1
        if end < first[t] or end > last[t]:
            return False
        resume = rest[end]
        t = end
    return True
