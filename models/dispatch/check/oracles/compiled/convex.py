"""Convex piecewise-linear functions of one variable, as ``oracles.convex`` has them, in flat memory.

Memory is not used twice between one ``start`` and the next, so it must hold as many segments as are ever inserted.
"""

from typing import NamedTuple

import numpy as np

from models.dispatch.check.oracles.compiled.jit import compiled
from models.dispatch.check.screens.common import IndexArray
from models.intervals import FloatArray

SMALL = 1e-12


class Function(NamedTuple):
    """Slopes in rising order in ``slopes[first:last]``, with their ``lengths``.

    ``ends`` = [low, value at low]; ``span`` = [first, last].
    """

    ends: FloatArray
    slopes: FloatArray
    lengths: FloatArray
    span: IndexArray


@compiled
def room(segments: int) -> Function:
    """Memory for a function into which at most so many segments are inserted."""
    return Function(np.zeros(2), np.empty(segments), np.empty(segments), np.zeros(2, np.intp))


@compiled
def start(f: Function, low: float, value: float) -> None:
    """The function that is ``value`` at ``low`` and nowhere else."""
    f.ends[0], f.ends[1] = low, value
    f.span[0] = f.span[1] = 0


@compiled
def high_end(f: Function) -> float:
    """Right end of the domain."""
    high = f.ends[0]
    for k in range(f.span[0], f.span[1]):
        high += f.lengths[k]
    return float(high)


@compiled
def insert(f: Function, slope: float, length: float) -> None:
    """Add one segment at its place."""
    first, k = f.span[0], f.span[1]
    while k > first and f.slopes[k - 1] > slope:
        f.slopes[k], f.lengths[k] = f.slopes[k - 1], f.lengths[k - 1]
        k -= 1
    f.slopes[k], f.lengths[k] = slope, length
    f.span[1] += 1


@compiled
def cut(f: Function, low: float, high: float, slack: float) -> bool:
    """Restrict the domain to [low, high]; False if nothing is left (a miss by ``slack`` is forgiven)."""
    end = high_end(f)
    if end < low - slack or f.ends[0] > high + slack:
        return False
    if end <= low:
        for k in range(f.span[0], f.span[1]):
            f.ends[1] += f.slopes[k] * f.lengths[k]
        f.ends[0] = low
        f.span[1] = f.span[0]
        return True
    _cut_right(f, end, high)
    _cut_left(f, low)
    f.ends[0] = min(max(f.ends[0], low), high)
    return True


@compiled
def _cut_right(f: Function, end: float, high: float) -> None:
    while f.span[1] > f.span[0] and end > high + SMALL:
        length, over = f.lengths[f.span[1] - 1], end - high
        if length > over:
            f.lengths[f.span[1] - 1] = length - over
            break
        f.span[1] -= 1
        end -= length


@compiled
def _cut_left(f: Function, low: float) -> None:
    missing = low - f.ends[0]
    while f.span[0] < f.span[1] and missing > 0:
        slope, length = f.slopes[f.span[0]], f.lengths[f.span[0]]
        if length > missing:
            f.ends[1] += slope * missing
            f.lengths[f.span[0]] = length - missing
            break
        f.ends[1] += slope * length
        missing -= length
        f.span[0] += 1


@compiled
def least_up_to(f: Function, high: float) -> float:
    """The minimum over the part of the domain up to ``high`` (or at its left end, if that lies beyond)."""
    value, left = f.ends[1], max(high - f.ends[0], 0.0)
    for k in range(f.span[0], f.span[1]):
        if f.slopes[k] >= 0 or left <= 0:
            break
        value += f.slopes[k] * min(f.lengths[k], left)
        left -= f.lengths[k]
    return float(value)


@compiled
def at(f: Function, where: float) -> float:
    """Value at a point of the domain (the nearest end outside it)."""
    value, left = f.ends[1], where - f.ends[0]
    for k in range(f.span[0], f.span[1]):
        if left <= 0:
            break
        value += f.slopes[k] * min(f.lengths[k], left)
        left -= f.lengths[k]
    return float(value)


@compiled
def hull(x: FloatArray, y: FloatArray, count: int) -> tuple[int, bool]:
    """Reduce ``count`` points in rising order of x to their lower convex hull, in place.

    Returns how many are left, and whether the hull passes through all of them.
    """
    kept, exact = 0, True
    for k in range(count):
        if kept > 0 and x[k] - x[kept - 1] <= SMALL:
            y[kept - 1] = min(y[kept - 1], y[k])
            continue
        while kept > 1:
            x0, y0, x1, y1 = x[kept - 2], y[kept - 2], x[kept - 1], y[kept - 1]
            line = y0 + (y[k] - y0) * (x1 - x0) / (x[k] - x0)
            if y1 <= line:
                break
            exact = exact and y1 - line <= 1e-9 * max(1.0, abs(y1))
            kept -= 1
        x[kept], y[kept] = x[k], y[k]
        kept += 1
    return kept, exact


@compiled
def corners(powers: FloatArray, low: float, high: float, kink: float, more: float) -> int:
    """Powers at which an interval's cost may bend, ends included, in rising order; returns how many.

    ``kink``, ``more``: corners in between, NaN if there are none.
    """
    powers[0] = low
    count = 1
    first, second = (more, kink) if kink > more else (kink, more)
    for value in (first, second):
        if low < value < high and value > powers[count - 1]:
            powers[count] = value
            count += 1
    if high > low:
        powers[count] = high
        count += 1
    return count
