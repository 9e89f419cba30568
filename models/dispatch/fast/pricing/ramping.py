"""Least cost of a run that ends at output g, as a convex piecewise-linear function: sorted slopes in scratch memory.

F lives on [low, high]; it is ``value`` at low, and its pieces a … b−1 have the slopes ``slope[j] + tilt`` in rising
order and the lengths ``length[j]``.  CNY, kW.
"""

from models.dispatch.fast.pricing.jit import jit_row
from models.intervals import FloatArray


@jit_row
def widen(
    slope: FloatArray,
    length: FloatArray,
    a: int,
    b: int,
    tilt: float,
    low: float,
    high: float,
    value: float,
    step: float,
    bottom: float,
    top: float,
) -> tuple[int, int, float, float, float]:
    """F(g) ← min over |g' − g| ≤ step of F(g'), g inside [bottom, top]: a flat piece at the minimum, cut at both ends.

    Returns a, b, low, high, value.
    """
    j = b
    while j > a and slope[j - 1] + tilt > 0.0:
        slope[j], length[j] = slope[j - 1], length[j - 1]
        j -= 1
    slope[j], length[j] = -tilt, 2.0 * step
    b += 1
    low -= step
    high += step
    while a < b and low < bottom:
        left = bottom - low
        if length[a] > left:
            value += (slope[a] + tilt) * left
            length[a] -= left
            low = bottom
        else:
            value += (slope[a] + tilt) * length[a]
            low += length[a]
            a += 1
    while a < b and high > top:
        left = high - top
        if length[b - 1] > left:
            length[b - 1] -= left
            high = top
        else:
            high -= length[b - 1]
            b -= 1
    return a, b, max(low, bottom), min(high, top), value


@jit_row
def minimum(
    slope: FloatArray, length: FloatArray, a: int, b: int, tilt: float, low: float, high: float, value: float
) -> tuple[float, float]:
    """The least of F, and the lowest output at which it is taken."""
    j = a
    while j < b and slope[j] + tilt < 0.0:
        value += (slope[j] + tilt) * length[j]
        low += length[j]
        j += 1
    return value, min(low, high)


@jit_row
def value_at(
    slope: FloatArray, length: FloatArray, a: int, b: int, tilt: float, low: float, value: float, where: float
) -> float:
    """F(where); at an end of its domain outside it."""
    for j in range(a, b):
        if low >= where:
            break
        piece = min(length[j], where - low)
        value += (slope[j] + tilt) * piece
        low += piece
    return value


@jit_row
def add_kink(
    slope: FloatArray, length: FloatArray, a: int, b: int, low: float, value: float, stray: float, plan_kw: float
) -> tuple[int, float]:
    """F(g) ← F(g) + stray (|g − plan| − |plan|), ``stray`` in CNY per kW; returns b and value."""
    value += stray * (abs(low - plan_kw) - abs(plan_kw))
    at = low
    j = a
    while j < b:
        after = at + length[j]
        if after <= plan_kw:
            slope[j] -= stray
        elif at >= plan_kw:
            slope[j] += stray
        else:
            for k in range(b, j, -1):
                slope[k], length[k] = slope[k - 1], length[k - 1]
            b += 1
            length[j], length[j + 1] = plan_kw - at, after - plan_kw
            slope[j] -= stray
            slope[j + 1] += stray
            j += 1
        at = after
        j += 1
    return b, value
