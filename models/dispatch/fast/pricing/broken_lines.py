r"""Broken lines: functions of a level that are linear in pieces, with jumps and gaps, and what a step does to them.

A broken line is an array (n, 4) of pieces (from, cost there, to, cost there), in rising order, that overlap at most at
their ends; where two meet the lower cost counts, and where there is none the cost is infinite.  A piece may be a single
point.  Levels kWh, costs CNY.  All three operations are exact but for rounding, and take time linear in the pieces:

*Lower envelope* (``lower_of``): both lists side by side, cut where they cross.

*Step* (``stepped``): (F ⊕ g)(y) = min over x in [low, high] of F(y − x) + slope · x.  With H(z) = F(z) − slope · z,
this is slope · y + min of H over the window y − high ≤ z ≤ y − low.  A piece of H is monotone, so over a window that
cuts it the least is where it falls out of the window, or its lower end:

    a falling piece, moved by low;   a rising piece, moved by high;   the lower end of a piece, over low ... high

The first and the second are broken lines as they stand, the third is a sliding minimum over intervals of one length.
"""

import numpy as np

from models.dispatch.fast.pricing.jit import jit
from models.intervals import FloatArray

_STRAIGHT = 1e-13
"""Pieces that differ from one straight line by less than this part of their cost are one."""


@jit
def _put(found: FloatArray, count: int, y0: float, c0: float, y1: float, c1: float) -> int:
    """Append a piece, or let it go where it says nothing new; the new number of pieces."""
    if count > 0:
        near = _STRAIGHT * (1.0 + abs(y0))
        equal = _STRAIGHT * (1.0 + abs(c0))
        last = count - 1
        if y0 - found[last, 2] <= near:
            if y1 - y0 <= near and c1 >= found[last, 3] - equal:
                return count
            if found[last, 2] - found[last, 0] <= near and c0 <= found[last, 1] + equal:
                count -= 1
            elif abs(c0 - found[last, 3]) <= equal and y1 - y0 > near:
                run = found[last, 2] - found[last, 0]
                straight = found[last, 1] + (c1 - found[last, 1]) * (run / (y1 - found[last, 0]))
                if run > near and abs(straight - found[last, 3]) <= equal:
                    found[last, 2], found[last, 3] = y1, c1
                    return count
    found[count, 0], found[count, 1], found[count, 2], found[count, 3] = y0, c0, y1, c1
    return count + 1


@jit
def at_level(line: FloatArray, k: int, y: float) -> float:
    """Cost of a piece at a level inside it."""
    if y <= line[k, 0]:
        return float(line[k, 1])
    if y >= line[k, 2]:
        return float(line[k, 3])
    return float(line[k, 1] + (line[k, 3] - line[k, 1]) * ((y - line[k, 0]) / (line[k, 2] - line[k, 0])))


@jit
def lower_of(one: FloatArray, other: FloatArray, more: float) -> FloatArray:
    """The lower of ``one`` and ``other`` + ``more``, everywhere."""
    found = np.empty((3 * (len(one) + len(other)) + 4, 4))
    count, i, j, x = 0, 0, 0, -np.inf
    while i < len(one) or j < len(other):
        a = max(one[i, 0], x) if i < len(one) else np.inf
        b = max(other[j, 0], x) if j < len(other) else np.inf
        if j == len(other) or (i < len(one) and one[i, 2] < b):
            count = _put(found, count, a, at_level(one, i, a), one[i, 2], one[i, 3])
            x = one[i, 2]
            i += 1
            continue
        if i == len(one) or other[j, 2] < a:
            count = _put(found, count, b, at_level(other, j, b) + more, other[j, 2], other[j, 3] + more)
            x = other[j, 2]
            j += 1
            continue
        if a < b:
            count = _put(found, count, a, at_level(one, i, a), b, at_level(one, i, b))
        elif b < a:
            count = _put(found, count, b, at_level(other, j, b) + more, a, at_level(other, j, a) + more)
        low, high = max(a, b), min(one[i, 2], other[j, 2])
        p0, p1 = at_level(one, i, low), at_level(one, i, high)
        q0, q1 = at_level(other, j, low) + more, at_level(other, j, high) + more
        if p0 <= q0 and p1 <= q1:
            count = _put(found, count, low, p0, high, p1)
        elif q0 <= p0 and q1 <= p1:
            count = _put(found, count, low, q0, high, q1)
        else:
            share = (q0 - p0) / ((q0 - p0) - (q1 - p1))
            middle, cost = low + share * (high - low), p0 + share * (p1 - p0)
            count = _put(found, count, low, min(p0, q0), middle, cost)
            count = _put(found, count, middle, cost, high, min(p1, q1))
        x = high
        if one[i, 2] <= high:
            i += 1
        if other[j, 2] <= high:
            j += 1
    return found[:count].copy()


@jit
def _least_of_window(ends: FloatArray, low: float, high: float) -> FloatArray:
    """The lowest of points (n, 2: level, cost, levels rising), each spread over level + low ... level + high."""
    found = np.empty((2 * len(ends) + 2, 4))
    queue = np.empty(len(ends), dtype=np.int64)
    count, head, tail, x = 0, 0, 0, -np.inf
    for k in range(len(ends) + 1):
        begin = ends[k, 0] + low if k < len(ends) else np.inf
        while head < tail and ends[queue[head], 0] + high < begin:
            z, cost = ends[queue[head], 0], ends[queue[head], 1]
            count = _put(found, count, max(x, z + low), cost, z + high, cost)
            x = z + high
            head += 1
        if k == len(ends):
            break
        if head < tail and ends[k, 1] <= ends[queue[head], 1]:
            z, cost = ends[queue[head], 0], ends[queue[head], 1]
            if begin > max(x, z + low):
                count = _put(found, count, max(x, z + low), cost, begin, cost)
            x = begin
            tail = head
        while head < tail and ends[queue[tail - 1], 1] >= ends[k, 1]:
            tail -= 1
        queue[tail] = k
        tail += 1
    return found[:count]


@jit
def stepped(
    line: FloatArray, low: float, high: float, slope: float, constant: float, floor: float, ceiling: float
) -> FloatArray:
    """The least cost after a change of level in [low, high] at ``constant`` + ``slope`` · change, floor to ceiling."""
    size = len(line)
    falling, rising, ends = np.empty((size, 4)), np.empty((size, 4)), np.empty((size, 2))
    falls, rises = 0, 0
    for k in range(size):
        y0, y1 = line[k, 0], line[k, 2]
        h0, h1 = line[k, 1] - slope * y0, line[k, 3] - slope * y1
        if h1 < h0:
            falling[falls, 0], falling[falls, 1], falling[falls, 2], falling[falls, 3] = y0 + low, h0, y1 + low, h1
            ends[k, 0], ends[k, 1] = y1, h1
            falls += 1
        else:
            if y1 > y0:
                rising[rises, 0], rising[rises, 1], rising[rises, 2], rising[rises, 3] = y0 + high, h0, y1 + high, h1
                rises += 1
            ends[k, 0], ends[k, 1] = y0, h0
    best = lower_of(falling[:falls], rising[:rises], 0.0)
    best = lower_of(best, _least_of_window(ends, low, high), 0.0)
    found: FloatArray = within(best, slope, constant, floor, ceiling)
    return found


@jit
def within(line: FloatArray, slope: float, constant: float, floor: float, ceiling: float) -> FloatArray:
    """``line`` + ``constant`` + ``slope`` · level, from floor to ceiling."""
    found, count = np.empty((len(line), 4)), 0
    for k in range(len(line)):
        y0, y1 = max(line[k, 0], floor), min(line[k, 2], ceiling)
        if y0 <= y1:
            c0, c1 = at_level(line, k, y0) + slope * y0 + constant, at_level(line, k, y1) + slope * y1 + constant
            found[count, 0], found[count, 1], found[count, 2], found[count, 3] = y0, c0, y1, c1
            count += 1
    return found[:count].copy()
