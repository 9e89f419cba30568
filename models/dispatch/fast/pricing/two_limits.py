"""A continuous knapsack with two limits: what to give up when energy and equivalent hours are both scarce.

    min Σ_j v_j e_j x_j      Σ e_j x_j ≤ E,   Σ h_j x_j ≤ H,   0 ≤ x_j ≤ 1,   all v_j < 0

Why it is exact.  With one limit the fractional knapsack is filled in order of value per unit of it (G. B. Dantzig,
Oper. Res. 5 (1957) 266).  If the optimum under one limit keeps the other, it is the optimum under both.  Else both
bind: the dual function of the energy's price μ, D(μ) = min {Σ (v_j + μ) e_j x_j : hours} − μ E, is concave and
piecewise linear, every value is a one-limit knapsack, and the tangents of the two sides meet in a new μ, or at the
top, after finitely many steps (Kelley's cuts in one dimension).  At the top the fillings of both sides are optimal for
μ, one with more energy than E and one with less; their combination that uses exactly E is feasible, has the dual's
value, and so is optimal.
"""

from models.dispatch.fast.pricing.jit import jit_row
from models.dispatch.fast.pricing.ranking import take_cheapest
from models.intervals import FloatArray

_ROUND = 1e-12
"""A limit passed by this part of it is kept."""

_STEPS = 200


@jit_row
def two_limits(
    value: FloatArray,
    energy: FloatArray,
    hours: FloatArray,
    count: int,
    most_kwh: float,
    most_h: float,
    taken: FloatArray,
    key: FloatArray,
    order: FloatArray,
    spare: FloatArray,
    spare2: FloatArray,
) -> tuple[float, float, float]:
    """Least cost, and the prices of energy (per kWh) and of hours (per h); fills ``taken`` (count,), 0..1.

    ``value``: CNY per kWh, negative.  ``energy``: kWh and ``hours``: h of a part taken whole, both positive.
    """
    all_kwh, all_h = 0.0, 0.0
    for j in range(count):
        taken[j] = 0.0
        all_kwh += energy[j]
        all_h += hours[j]
    if count == 0 or most_kwh <= 0 or most_h <= 0:
        return 0.0, 0.0, 0.0
    if all_kwh <= most_kwh and all_h <= most_h:
        total = 0.0
        for j in range(count):
            taken[j] = 1.0
            total += value[j] * energy[j]
        return total, 0.0, 0.0
    dearest = 0.0
    if all_kwh > most_kwh:
        full, rest, used_h, dearest = _one_limit(value, energy, hours, count, most_kwh, order)
        if used_h <= most_h * (1 + _ROUND):
            least = _fill(value, energy, energy, order, full, count, rest, taken)
            return least, dearest, 0.0
    if all_h > most_h:
        for j in range(count):
            key[j] = value[j] * energy[j] / hours[j]
        full, rest, used_kwh, price = _one_limit(key, hours, energy, count, most_h, order)
        if used_kwh <= most_kwh * (1 + _ROUND):
            least = _fill(value, energy, hours, order, full, count, rest, taken)
            return least, 0.0, price
    least, mu, price = _both_bind(
        value, energy, hours, count, most_kwh, most_h, dearest, taken, key, order, spare, spare2
    )
    return least, mu, price


@jit_row
def _one_limit(
    key: FloatArray, size: FloatArray, other: FloatArray, count: int, most: float, order: FloatArray
) -> tuple[int, float, float, float]:
    """What ``take_cheapest`` says of Σ size ≤ most; how much of ``other`` that takes, and the price of the limit."""
    for j in range(count):
        order[j] = j
    full, rest = take_cheapest(key, size, order, count, most)
    used, price = 0.0, 0.0
    for j in range(full):
        used += other[int(order[j])]
    if full < count:
        last = int(order[full])
        used += other[last] * rest / size[last]
        price = -key[last]
    return full, rest, used, price


@jit_row
def _fill(
    value: FloatArray,
    energy: FloatArray,
    size: FloatArray,
    order: FloatArray,
    full: int,
    count: int,
    rest: float,
    taken: FloatArray,
) -> float:
    """Take the chosen parts (of the last one ``rest``, in the unit of ``size``); their cost."""
    total = 0.0
    for j in range(full):
        part = int(order[j])
        taken[part] = 1.0
        total += value[part] * energy[part]
    if full < count:
        part = int(order[full])
        taken[part] = rest / size[part]
        total += value[part] * energy[part] * taken[part]
    return total


@jit_row
def _tangent(
    mu: float,
    value: FloatArray,
    energy: FloatArray,
    hours: FloatArray,
    count: int,
    most_kwh: float,
    most_h: float,
    taken: FloatArray,
    key: FloatArray,
    order: FloatArray,
) -> tuple[float, float, float]:
    """D(μ), its slope, and the price of hours there; fills ``taken`` with an optimum at μ."""
    kept = 0
    for j in range(count):
        taken[j] = 0.0
        if value[j] + mu < 0:
            key[j] = (value[j] + mu) * energy[j] / hours[j]
            order[kept] = j
            kept += 1
    full, rest = take_cheapest(key, hours, order, kept, most_h)
    cost, spent, price = 0.0, 0.0, 0.0
    for k in range(min(full + 1, kept)):
        j = int(order[k])
        taken[j] = 1.0 if k < full else rest / hours[j]
        cost += key[j] * hours[j] * taken[j]
        spent += energy[j] * taken[j]
        if k == full:
            price = -key[j]
    return cost - mu * most_kwh, spent - most_kwh, price


@jit_row
def _both_bind(
    value: FloatArray,
    energy: FloatArray,
    hours: FloatArray,
    count: int,
    most_kwh: float,
    most_h: float,
    dearest: float,
    taken: FloatArray,
    key: FloatArray,
    order: FloatArray,
    more: FloatArray,
    less: FloatArray,
) -> tuple[float, float, float]:
    """The top of D between 0, where too much energy is taken, and ``dearest``, where the energy alone would do."""
    low, high = 0.0, dearest
    at_low, slope_low, price = _tangent(low, value, energy, hours, count, most_kwh, most_h, more, key, order)
    at_high, slope_high, _ = _tangent(high, value, energy, hours, count, most_kwh, most_h, less, key, order)
    best, mu = max(at_low, at_high), low if at_low > at_high else high
    spare = taken
    for _ in range(_STEPS):
        if slope_high >= 0 or slope_low <= 0:
            break
        mu = (at_high - at_low + slope_low * low - slope_high * high) / (slope_low - slope_high)
        if not low < mu < high:
            break
        ceiling = at_low + slope_low * (mu - low)
        here, slope, price = _tangent(mu, value, energy, hours, count, most_kwh, most_h, spare, key, order)
        best = max(best, here)
        if ceiling - here <= 1e-13 * abs(here):
            break
        if slope > 0:
            low, at_low, slope_low = mu, here, slope
            more, spare = spare, more
        else:
            high, at_high, slope_high = mu, here, slope
            less, spare = spare, less
    weight = 0.0
    if slope_high < 0 < slope_low:
        weight = -slope_high / (slope_low - slope_high)
    elif slope_low <= 0:
        weight = 1.0
    for j in range(count):
        taken[j] = weight * more[j] + (1 - weight) * less[j]
    return best, mu, price
