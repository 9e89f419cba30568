"""A zone's part in a step of the interior method (``interior``), compiled: a step is a hundred small operations.

Every function changes its arrays in place and releases the GIL, so that zones are worked on side by side.
"""

from typing import NamedTuple

import numpy as np

from models.dispatch.fast.pricing.jit import jit, jit_row
from models.dispatch.fast.setting import IndexArray
from models.intervals import FloatArray

RIDGE = 1e-14
"""Relative addition to the diagonal of the normal equations."""


class Ends(NamedTuple):
    """λ ≥ 0 (``price``) with its room w, and q − λ ≥ 0 (``below``) with its slack s, of R rows; (R,) each.

    ``limit``, ``center``, ``stiffness``: b, c and k.  ``d_…``: the last step.  ``t_…``: the products it aims at.
    """

    limit: FloatArray
    center: FloatArray
    stiffness: FloatArray
    price: FloatArray
    below: FloatArray  # kept apart: it may be smaller than the rounding of q
    room: FloatArray
    slack: FloatArray
    d_price: FloatArray
    d_room: FloatArray
    d_slack: FloatArray
    t_room: FloatArray
    t_slack: FloatArray


class Zone(NamedTuple):
    """A zone's iterate: K columns in G groups, R rows of its own, C over the city; n = R + C.

    ``entries``: (K, n).  ``firsts``: (G + 1,) where its groups begin.  ``theta``, ``reduced``: (K,).  ``y``: (G,).
    The others are what the last calls found: ``apart`` (K, n), ``mean`` (G, n), ``normal`` (n, n).
    """

    entries: FloatArray
    cost: FloatArray
    firsts: IndexArray
    ends: Ends
    theta: FloatArray
    reduced: FloatArray
    y: FloatArray
    short: FloatArray
    lacking: FloatArray
    off: FloatArray
    ratio: FloatArray
    weight: FloatArray
    mean: FloatArray
    apart: FloatArray
    normal: FloatArray
    grouped: FloatArray
    half: FloatArray
    d_theta: FloatArray
    d_reduced: FloatArray
    d_y: FloatArray
    t_theta: FloatArray


# ---- rows


@jit
def limit_now(ends: Ends, r: int) -> float:
    """The right side of row r: it gives way as λ leaves its centre."""
    return float(ends.limit[r] + ends.stiffness[r] * (ends.price[r] - ends.center[r]))


@jit
def begin(ends: Ends, value: FloatArray, mu: float) -> None:
    """Room and slack to start with, where rows have these values (R,)."""
    for r in range(ends.price.size):
        free = limit_now(ends, r) - value[r]
        extra = min(mu / min(ends.price[r], ends.below[r]), 0.1 * (1 + abs(free))) + 1e-6
        ends.room[r], ends.slack[r] = max(free, 0.0) + extra, max(-free, 0.0) + extra


@jit
def missing(ends: Ends, value: FloatArray, found: FloatArray) -> float:
    """Fill the rows' residuals (R,); the largest."""
    worst = 0.0
    for r in range(ends.price.size):
        found[r] = limit_now(ends, r) - value[r] - ends.room[r] + ends.slack[r]
        worst = max(worst, abs(found[r]))
    return worst


@jit_row
def diagonal(ends: Ends, r: int) -> float:
    """What row r adds to the diagonal of the normal equations."""
    return float(ends.room[r] / ends.price[r] + ends.slack[r] / ends.below[r] + ends.stiffness[r])


@jit
def aim(ends: Ends, mu: float, corrected: bool) -> None:
    """What the products shall change by; ``corrected`` by what the last step would have added."""
    for r in range(ends.price.size):
        ends.t_room[r] = mu - ends.room[r] * ends.price[r]
        ends.t_slack[r] = mu - ends.slack[r] * ends.below[r]
        if corrected:
            ends.t_room[r] -= ends.d_room[r] * ends.d_price[r]
            ends.t_slack[r] += ends.d_slack[r] * ends.d_price[r]


@jit
def aimed(ends: Ends, r: int) -> float:
    """What that adds to the right side of row r."""
    return float(ends.t_room[r] / ends.price[r] - ends.t_slack[r] / ends.below[r])


@jit
def follow(ends: Ends) -> tuple[float, float]:
    """Room and slack go with ``d_price``; how far primal and dual may go."""
    primal, dual = 0.0, 0.0
    for r in range(ends.price.size):
        change = ends.d_price[r]
        ends.d_room[r] = (ends.t_room[r] - ends.room[r] * change) / ends.price[r]
        ends.d_slack[r] = (ends.t_slack[r] + ends.slack[r] * change) / ends.below[r]
        primal = max(primal, -ends.d_room[r] / ends.room[r], -ends.d_slack[r] / ends.slack[r])
        dual = max(dual, -change / ends.price[r], change / ends.below[r])
    return primal, dual


@jit
def product_after(ends: Ends, primal: float, dual: float) -> float:
    """The sum of the products after steps of these lengths."""
    total = 0.0
    for r in range(ends.price.size):
        price, below = ends.price[r] + dual * ends.d_price[r], ends.below[r] - dual * ends.d_price[r]
        total += (ends.room[r] + primal * ends.d_room[r]) * price
        total += (ends.slack[r] + primal * ends.d_slack[r]) * below
    return total


@jit
def move(ends: Ends, primal: float, dual: float) -> None:
    """Go these lengths."""
    for r in range(ends.price.size):
        ends.price[r] += dual * ends.d_price[r]
        ends.below[r] -= dual * ends.d_price[r]
        ends.room[r] += primal * ends.d_room[r]
        ends.slack[r] += primal * ends.d_slack[r]


# ---- zones


@jit
def evaluate(zone: Zone, shared_price: FloatArray, value: FloatArray) -> tuple[float, float]:
    """Fill the rows' values (n,) and what is missing; the largest residual, and the sum of the products."""
    size = zone.ends.price.size
    value[:] = np.dot(zone.theta, zone.entries)
    worst = missing(zone.ends, value, zone.lacking)
    paid = zone.cost + np.dot(zone.entries, np.concatenate((zone.ends.price, shared_price)))
    for g in range(zone.y.size):
        total = 0.0
        for k in range(zone.firsts[g], zone.firsts[g + 1]):
            total += zone.theta[k]
            zone.off[k] = paid[k] - zone.y[g] - zone.reduced[k]
        zone.short[g] = 1.0 - total
        worst = max(worst, abs(zone.short[g]))
    product = product_after(zone.ends, 0.0, 0.0) if size else 0.0
    for k in range(zone.theta.size):
        product += zone.theta[k] * zone.reduced[k]
    return worst, product


@jit_row
def spread(zone: Zone) -> None:
    """Fill the groups' means, weighted by θ / reduced cost, and √ratio times how columns differ from theirs."""
    for g in range(zone.y.size):
        mean, weight = zone.mean[g], 0.0
        mean[:] = 0.0
        for k in range(zone.firsts[g], zone.firsts[g + 1]):
            ratio, entries = zone.theta[k] / zone.reduced[k], zone.entries[k]
            zone.ratio[k] = ratio
            weight += ratio
            for j in range(mean.size):
                mean[j] += ratio * entries[j]
        zone.weight[g] = weight
        one = 1.0 / weight
        for j in range(mean.size):
            mean[j] *= one
        for k in range(zone.firsts[g], zone.firsts[g + 1]):
            root, entries, apart = np.sqrt(zone.ratio[k]), zone.entries[k], zone.apart[k]
            for j in range(mean.size):
                apart[j] = root * (entries[j] - mean[j])


@jit_row
def eliminate(zone: Zone, schur: FloatArray) -> bool:
    """Eliminate the zone's rows: fill its part of the Schur complement (C, C); whether that was possible.

    ``normal`` holds the upper factor U of the zone's rows (R, R), and beside it what U makes of the city's (R, C).
    """
    size, width, normal = zone.ends.price.size, zone.entries.shape[1], zone.normal
    for r in range(size):
        normal[r, r] = (1 + RIDGE) * (normal[r, r] + diagonal(zone.ends, r))
    for r in range(size, width):  # of what it was: the difference may be nothing but rounding
        normal[r, r] *= 1 + RIDGE
    for r in range(size):
        row = normal[r]
        if not row[r] > 0.0:
            return False
        root = 1.0 / np.sqrt(row[r])
        for j in range(r, width):
            row[j] *= root
        for i in range(r + 1, width):
            part, mine, other = row[i], row[i:], normal[i, i:]
            for j in range(mine.size):  # from 0: numba computes no several at once where an index may be negative
                other[j] -= part * mine[j]
    for i in range(width - size):
        for j in range(i, width - size):
            schur[i, j] = schur[j, i] = normal[size + i, size + j]
    return True


def factor(zone: Zone, schur: FloatArray) -> bool:
    """Eliminate groups and the zone's rows: fill its part of the Schur complement (C, C); whether that was possible."""
    spread(zone)
    np.matmul(zone.apart.T, zone.apart, out=zone.normal)  # numpy sees that it is symmetric, and does half the work
    return bool(eliminate(zone, schur))


@jit
def forward(zone: Zone, mu: float, corrected: bool, right: FloatArray) -> None:
    """What the zone adds to the right side of the Schur complement, (C,)."""
    size, width = zone.ends.price.size, zone.entries.shape[1]
    moved = np.empty(zone.theta.size)
    for g in range(zone.y.size):
        total = 0.0
        for k in range(zone.firsts[g], zone.firsts[g + 1]):
            target = mu - zone.theta[k] * zone.reduced[k]
            if corrected:
                target -= zone.d_theta[k] * zone.d_reduced[k]
            zone.t_theta[k] = target
            moved[k] = target / zone.reduced[k] - zone.ratio[k] * zone.off[k]
            total += moved[k]
        zone.grouped[g] = zone.short[g] - total
    left = np.dot(moved, zone.entries) + np.dot(zone.grouped, zone.mean)
    aim(zone.ends, mu, corrected)
    for r in range(size):
        zone.half[r] = zone.lacking[r] - left[r] - aimed(zone.ends, r)
    for c in range(width - size):
        right[c] = -left[size + c]
    for r in range(size):
        zone.half[r] /= zone.normal[r, r]
        part = zone.half[r]
        for j in range(r + 1, size):
            zone.half[j] -= part * zone.normal[r, j]
        for c in range(width - size):
            right[c] -= part * zone.normal[r, size + c]


@jit
def step(zone: Zone, shared: FloatArray) -> tuple[float, float]:
    """The zone's step where −λ over the city changes by ``shared`` (C,); 1 / how far primal and dual may go."""
    size, width = zone.ends.price.size, zone.entries.shape[1]
    rows = np.empty(width)
    rows[size:] = shared
    for r in range(size - 1, -1, -1):
        left = zone.half[r]
        for j in range(r + 1, width):
            left -= zone.normal[r, j] * rows[j]
        rows[r] = left / zone.normal[r, r]
        zone.ends.d_price[r] = -rows[r]
    means, own = np.dot(zone.mean, rows), np.dot(zone.entries, rows)
    primal, dual = follow(zone.ends)
    for g in range(zone.y.size):
        zone.d_y[g] = zone.grouped[g] / zone.weight[g] - means[g]
        for k in range(zone.firsts[g], zone.firsts[g + 1]):
            zone.d_reduced[k] = zone.off[k] - own[k] - zone.d_y[g]
            zone.d_theta[k] = (zone.t_theta[k] - zone.theta[k] * zone.d_reduced[k]) / zone.reduced[k]
            primal = max(primal, -zone.d_theta[k] / zone.theta[k])
            dual = max(dual, -zone.d_reduced[k] / zone.reduced[k])
    return primal, dual


@jit
def zone_after(zone: Zone, primal: float, dual: float) -> float:
    """The sum of the products after steps of these lengths."""
    total = float(product_after(zone.ends, primal, dual))
    for k in range(zone.theta.size):
        total += (zone.theta[k] + primal * zone.d_theta[k]) * (zone.reduced[k] + dual * zone.d_reduced[k])
    return total


@jit
def go(zone: Zone, primal: float, dual: float) -> None:
    """Go these lengths."""
    move(zone.ends, primal, dual)
    for k in range(zone.theta.size):
        zone.theta[k] += primal * zone.d_theta[k]
        zone.reduced[k] += dual * zone.d_reduced[k]
    for g in range(zone.y.size):
        zone.y[g] += dual * zone.d_y[g]
