"""Calls on a load: when they begin and end, by dynamic programming over the horizon.

A call that begins with interval t and ends at edge e costs Σ_{t ≤ s < e} gain_s, a difference of prefix sums.  With
F_k(t) the least cost from t on with k calls left,

    F_k(t) = min( F_k(t+1),  min_e  total_e + F_{k−1}(resume_e) − total_t )         e in [first_t, last_t], t ≥ open

where ``resume_e`` is the interval from which on the next call may begin.  Every set of calls that keeps notice,
shortest, longest, rest and number is one path through this recursion and the other way round, so F is exact.  The ends
allowed for t form a window that only moves forward with t: its minimum is kept in a monotone queue, so that a layer
costs O(T).
"""

import numpy as np

from models.dispatch.fast.pricing.jit import jit
from models.dispatch.fast.pricing.loads import EPS_H
from models.intervals import FloatArray

MOST_CALLS = 56
"""Layers there is room for.  More calls than that in one horizon are bounded by any number of calls, and not made."""

LAYERS = 32
"""The first of ``MOST_CALLS + 2`` parts of the scratch memory (of ``part``) that ``best_calls`` fills."""


@jit
def part(work: FloatArray, k: int) -> FloatArray:
    """The k-th vector of the scratch memory (rows of 4 T + 64), room for T + 16 numbers."""
    width = work.shape[1] // 4
    return work[k // 4, (k % 4) * width : (k % 4 + 1) * width]


@jit
def ends_within(
    edges: FloatArray, count: int, shortest_h: float, longest_h: float, first: FloatArray, last: FloatArray
) -> None:
    """Fill (T,): first and last edge at which a call that begins with each interval may end."""
    low, high = 0, 0
    for t in range(count):
        while low <= count and edges[low] < edges[t] + shortest_h - EPS_H:
            low += 1
        while high < count and edges[high + 1] <= edges[t] + longest_h + EPS_H:
            high += 1
        first[t] = max(low, t + 1)
        last[t] = high


@jit
def _layer(
    total: FloatArray,
    resume: FloatArray,
    first: FloatArray,
    last: FloatArray,
    open_t: int,
    count: int,
    before: FloatArray,
    layer: FloatArray,
    queue: FloatArray,
    ending: FloatArray,
) -> None:
    """F_k from F_{k−1}; from itself (``before is layer``) if calls are not counted."""
    layer[count] = 0.0
    head, tail, entering = 0, 0, count
    for t in range(count - 1, -1, -1):
        layer[t] = layer[t + 1]
        if t < open_t:
            continue
        while entering >= first[t]:
            ending[entering] = total[entering] + before[int(resume[entering])]
            while tail > head and ending[int(queue[tail - 1])] >= ending[entering]:
                tail -= 1
            queue[tail] = entering
            tail += 1
            entering -= 1
        while head < tail and queue[head] > last[t]:
            head += 1
        if head < tail:
            layer[t] = min(layer[t], ending[int(queue[head])] - total[t])


@jit
def _follow(
    total: FloatArray,
    resume: FloatArray,
    first: FloatArray,
    last: FloatArray,
    count: int,
    begin: int,
    calls: int,
    free: bool,
    work: FloatArray,
    called: FloatArray,
) -> int:
    """Mark the calls of a best path from ``begin`` on (of equal ones: late, then short); how many there are."""
    t, k, made = begin, calls, 0
    while t < count and k > 0:
        layer = part(work, LAYERS + k)
        if layer[t] == layer[t + 1]:
            t += 1
            continue
        before = layer if free else part(work, LAYERS + k - 1)
        end = int(first[t])
        while end < int(last[t]) and total[end] + before[int(resume[end])] - total[t] != layer[t]:
            end += 1
        called[t:end] = 1.0
        made += 1
        t = int(resume[end])
        k = k if free else k - 1
    return made


@jit
def _end_of_ongoing(
    total: FloatArray,
    edges: FloatArray,
    resume: FloatArray,
    count: int,
    been_h: float,
    shortest_h: float,
    longest_h: float,
    layer: FloatArray,
) -> tuple[int, float]:
    """The edge at which a call that runs at the start had best end (the first of equal ones), and the whole cost."""
    best, least = 0, np.inf
    for end in range(count + 1):
        if been_h + edges[end] < shortest_h - EPS_H and end < count:
            continue
        if end > 0 and been_h + edges[end] > longest_h + EPS_H:
            break
        cost = total[end] + layer[int(resume[end])]
        if cost < least:
            best, least = end, cost
    return best, least


@jit
def best_calls(
    total: FloatArray,
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
    work: FloatArray,
    called: FloatArray,
) -> float:
    """Least cost of calls; fills ``called`` (T,) with 1 in a call, else 0.

    ``total``: (T + 1,) prefix sums of what an interval of a call costs, CNY.  ``rest``: ``resume_after``.  ``first``,
    ``last``: ``ends_within`` for ``durations`` (shortest, longest).  ``on``: a call has been going on for ``been_h``.
    """
    shortest_h, longest_h = durations
    free = calls > min(count // 2, MOST_CALLS)
    layers = 1 if free else calls
    least = 0.0
    for attempt in range(2):
        queue, ending = part(work, LAYERS - 1), part(work, LAYERS - 2)
        part(work, LAYERS)[: count + 1] = 0.0
        for k in range(1, layers + 1):
            layer = part(work, LAYERS + k)
            before = layer if free else part(work, LAYERS + k - 1)
            _layer(total, rest, first, last, open_t, count, before, layer, queue, ending)
        top = part(work, LAYERS + layers)
        called[:count] = 0.0
        begin, value = 0, top[0]
        if on:
            end, value = _end_of_ongoing(total, edges, rest, count, been_h, shortest_h, longest_h, top)
            called[:end] = 1.0
            begin = int(rest[end])
        if attempt == 0:
            least = value
        made = _follow(total, rest, first, last, count, begin, layers, free, work, called)
        if not free or made <= calls:
            break
        free, layers = False, MOST_CALLS
    return least
