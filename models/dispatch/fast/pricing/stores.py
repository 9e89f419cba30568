r"""The kernel of all stores: the cheapest path of a level between bounds, exact, in one forward pass.

    F_t(y) = min over x of F_{t-1}((y - x) / a_t) + f_t(x),    floor ≤ y ≤ ceiling

is the least cost of reaching level y at the end of step t; f_t, the cost of changing the level by x, is convex and
piecewise linear on an interval, a_t is what is left of the level over the step.

*Why it is exact.*  F_0 is a point.  If F_{t-1} is convex and piecewise linear, it is its left end and a list of
segments (slope, length) in rising order of slope, and so is f_t.  Then

1. *leak*: in the coordinate y / (a_1 ... a_t) the list does not change, only f_t and the bounds are scaled;
2. *step*: the infimal convolution of two convex functions adds their left ends and merges their segments by slope
   (Rockafellar, Convex Analysis, §16.4);
3. *bounds*: the list is cut at both ends.

*Why no backward pass is needed.*  F_t(y) is reached by the lowest change of every step so far and the segments of the
list from the left up to y.  What is cut off at the left is part of every path that is still possible (used for
certain), what is cut off at the right of none (never used).  At the end the segments up to the cheapest end level are
used.  As each cut takes from an end of a list sorted by slope, those that are used in the end are, in the list of
every earlier step, the first ones: the path passes that step at left end + their length, inside the bounds, at cost
F_t.  As every segment remembers its step, the change of each step is its lowest change and the lengths of its
segments that are used.  Equal slopes stay in the order in which they came, so the answer is unique.

Work is O(segments that fit between the bounds) per step, and they are few: a battery of 4 h has about 16 of 15 min.
"""

import numpy as np
from numpy.typing import NDArray

from models.dispatch.fast.pricing.jit import jit_row
from models.intervals import FloatArray

PIECES = 4
"""Places per step in the rows of slopes and lengths; a step has at most three pieces."""

LOWEST = 0
"""Row of scratch memory: lowest change of the level of every step, kWh (steps,)."""
SLOPES = 1
"""Row: slopes, CNY per kWh of level, at PIECES · step + piece, rising within a step."""
LENGTHS = 2
"""Row: their lengths, kWh; a piece of length 0 is none.  Used up by ``cheapest_path``."""
KEPT = 3
"""Row: a_t, what is left of a unit of level over the step (steps,); read only where the store leaks."""
USED = 4
"""Row, filled in: change above the lowest of every step, kWh (steps,)."""
SCALES = 5
"""Row: a_1 ... a_t, the unit in which a step's segments are kept (steps,)."""
KEYS = 6
"""Two rows, as one: slopes of the segments in the list, which grows both ways from the middle."""
IDS = 8
"""Two rows, as one, of whole numbers: their places in the rows of slopes and lengths."""
FREE = 10
"""First row that this file leaves alone."""

_ONE, _SHIFT = np.uint64(1), np.uint64(2)
"""1, and log2 of PIECES; unsigned, as places are: numba then does not ask whether one counts from an array's end."""
_FADED = 1e-100
"""What is left of a level when nothing of it can be seen any more in double precision."""
_RESCALE = 1e-150
_MISS = 1e-6
"""Relative: by how much a bound or an end level may be out of reach (the rounding of admissions)."""


@jit_row
def write_pieces(work: FloatArray, step: int, s0: float, l0: float, s1: float, l1: float, s2: float, l2: float) -> bool:
    """Write a step's cost as three pieces (slope, length), of which any may have length 0; True if it was convex.

    Else the lower convex hull is written: neighbours whose slopes fall are pooled, as in isotonic regression.
    """
    at = PIECES * step
    convex = True
    if l0 > 0 and l1 > 0 and s0 > s1:
        s1, l1, l0, convex = (s0 * l0 + s1 * l1) / (l0 + l1), l0 + l1, 0.0, False
    if l2 > 0:
        if l1 > 0 and s1 > s2:
            s2, l2, l1, convex = (s1 * l1 + s2 * l2) / (l1 + l2), l1 + l2, 0.0, False
        if l0 > 0 and l1 == 0 and s0 > s2:
            s2, l2, l0, convex = (s0 * l0 + s2 * l2) / (l0 + l2), l0 + l2, 0.0, False
    slopes, lengths = work[SLOPES], work[LENGTHS]
    slopes[at], slopes[at + 1], slopes[at + 2] = s0, s1, s2
    lengths[at], lengths[at + 1], lengths[at + 2] = l0, l1, l2
    return convex


@jit_row
def cheapest_path(
    start: float,
    floor: float,
    ceiling: float,
    end_low: float,
    end_high: float,
    steps: int,
    leaks: bool,
    work: FloatArray,
) -> float:
    """Least cost, CNY, above that of the lowest changes, of a path from ``start`` to a level in [end_low, end_high].

    Levels in kWh, ``floor`` ≤ ``start`` ≤ ``ceiling``.  Fills row USED; uses up row LENGTHS.  Infinite where there is
    no path.
    """
    lowest, slopes, lengths, kept = work[LOWEST], work[SLOPES], work[LENGTHS], work[KEPT]
    used, scales, width = work[USED], work[SCALES], work.shape[1]
    keys, ids = work[KEYS : KEYS + 2].reshape(2 * width), work[IDS : IDS + 2].reshape(2 * width).view(np.uint64)
    head = tail = np.uint64(width)
    low, high, value, scale, per = start, start, 0.0, 1.0, 1.0
    bottom, top, missed = floor, ceiling, 0.0
    for t in range(steps):
        if leaks:
            scale *= max(kept[t], _FADED)
            if scale < _RESCALE:
                tail, gained = _rescale(head, tail, t, scale, work)
                low, high, value, scale = low * scale, high * scale, value + gained, 1.0
            per = 1.0 / scale
            bottom, top = floor * per, ceiling * per
        used[t], scales[t] = 0.0, scale
        low += lowest[t] * per
        high += lowest[t] * per
        for piece in range(PIECES * t, PIECES * t + 3):
            length = lengths[piece] * per
            if length > 0:
                lengths[piece] = length
                high += length
                head, tail = _insert(head, tail, slopes[piece] * scale, np.uint64(piece), keys, ids)
        while high > top and tail > head:
            last = ids[tail - _ONE]
            left = lengths[last] - (high - top)
            if left > 0:
                lengths[last], high = left, top
            else:
                high -= lengths[last]
                tail -= _ONE
        while low < bottom and tail > head:
            first = ids[head]
            taken = min(lengths[first], bottom - low)
            value += keys[head] * taken
            used[first >> _SHIFT] += taken * scales[first >> _SHIFT]
            if taken < lengths[first]:
                lengths[first] -= taken
                low = bottom
            else:
                low += taken
                head += _ONE
        if head == tail:
            missed = max(missed, (bottom - low) * scale, (low - top) * scale)
            high = low = min(max(low, bottom), top)
    gained, missed = _finish(head, tail, low, end_low * per, end_high * per, scale, missed, work)
    return value + gained if missed <= _MISS * max(1.0, abs(start), abs(end_high)) else np.inf


@jit_row
def _insert(
    head: np.uint64, tail: np.uint64, key: float, piece: np.uint64, keys: FloatArray, ids: NDArray[np.uint64]
) -> tuple[np.uint64, np.uint64]:
    """Put a segment behind all in the list [head, tail) whose slope is not higher; the list's new ends.

    The shorter side makes room.
    """
    if head < tail and key < keys[(head + tail) >> _ONE]:
        k = head
        while keys[k] <= key:
            keys[k - _ONE], ids[k - _ONE] = keys[k], ids[k]
            k += _ONE
        keys[k - _ONE], ids[k - _ONE] = key, piece
        return head - _ONE, tail
    k = tail
    while k > head and keys[k - _ONE] > key:
        keys[k], ids[k] = keys[k - _ONE], ids[k - _ONE]
        k -= _ONE
    keys[k], ids[k] = key, piece
    return head, tail + _ONE


@jit_row
def _finish(
    head: np.uint64,
    tail: np.uint64,
    low: float,
    bottom: float,
    top: float,
    scale: float,
    missed: float,
    work: FloatArray,
) -> tuple[float, float]:
    """Use what leads to ``bottom`` and what pays up to ``top``; (its cost, by how many kWh a bound was missed)."""
    lengths, used, scales, width = work[LENGTHS], work[USED], work[SCALES], work.shape[1]
    keys, ids = work[KEYS : KEYS + 2].reshape(2 * width), work[IDS : IDS + 2].reshape(2 * width).view(np.uint64)
    value = 0.0
    while head < tail and (low < bottom or (keys[head] < 0 and low < top)):
        first = ids[head]
        taken = min(lengths[first], (bottom if keys[head] >= 0 else top) - low)
        value += keys[head] * taken
        used[first >> _SHIFT] += taken * scales[first >> _SHIFT]
        low += taken
        head += _ONE
    return value, max(missed, (bottom - low) * scale, (low - top) * scale)


@jit_row
def _rescale(head: np.uint64, tail: np.uint64, count: int, scale: float, work: FloatArray) -> tuple[np.uint64, float]:
    """Write the list in units of the present level, from ``head`` on; (its new end, cost of what was used).

    A segment of which nothing can be seen any more in the level is settled: used if that pays.
    """
    lengths, used, scales, width = work[LENGTHS], work[USED], work[SCALES], work.shape[1]
    keys, ids = work[KEYS : KEYS + 2].reshape(2 * width), work[IDS : IDS + 2].reshape(2 * width).view(np.uint64)
    value, kept = 0.0, head
    for k in range(head, tail):
        piece = ids[k]
        length = lengths[piece] * scale
        if length >= _FADED:
            keys[kept], ids[kept], lengths[piece] = keys[k] / scale, ids[k], length
            kept += _ONE
        elif keys[k] < 0:
            value += keys[k] * lengths[piece]
            used[piece >> _SHIFT] += lengths[piece] * scales[piece >> _SHIFT]
    for t in range(count):
        scales[t] /= scale
    return kept, value
