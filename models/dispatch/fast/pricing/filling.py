"""The cheapest way to fill a store that only fills: the cheapest hours first.

*Why it is exact.*  With power p between 0 and P⁺ and the stored energy Σ h η⁺ p given, the cost Σ h (π p + stray
|p − plan|) is a sum of convex functions of each step's energy, and every step's is two pieces, up to the plan and
beyond it.  A linear program with one equation over bounded pieces is solved by taking them in rising order of cost per
kWh (the continuous knapsack, Dantzig 1957); within a step the piece up to the plan is the cheaper one, so the order is
a schedule.  Equal costs stay in the order of time, so the answer is unique.

Only as many of the cheapest pieces are kept as fill the store: most of the others are turned away by one comparison.
"""

from models.dispatch.fast.pricing.batteries import Battery
from models.dispatch.fast.pricing.jit import jit_row
from models.intervals import FloatArray

_KEYS, _LENGTHS, _STEPS = 0, 1, 2
"""Rows of scratch memory, of those that ``stores`` would use: cost of the pieces kept, CNY per kWh stored, rising;
their kWh; their steps."""
_MISS = 1e-6
"""Relative: by how much the target may be out of reach (the rounding of admissions)."""


@jit_row
def cheapest_filling(
    battery: Battery,
    steps: int,
    hours: FloatArray,
    price: FloatArray,
    stray: FloatArray,
    plan_kw: FloatArray,
    work: FloatArray,
    power_kw: FloatArray,
) -> float:
    """Fill ``power_kw`` (steps,) and return the least cost, CNY, of getting from ``start`` to ``end_low`` by charging.

    Infinite where there is no way.  Wear is left out.  Arrays are (≥ steps,).
    """
    keys, lengths, owner = work[_KEYS], work[_LENGTHS], work[_STEPS]
    wanted, most, per = battery.end_low - battery.start, battery.charge_kw, 1.0 / battery.stored
    count, total, least = 0, 0.0, 0.0
    for k in range(steps):
        power_kw[k] = 0.0
        upto_kw = 0.0
        if stray[k] > 0:
            least += hours[k] * stray[k] * abs(plan_kw[k])
            upto_kw = min(max(plan_kw[k], 0.0), most)
        whole = hours[k] * battery.stored
        for part in range(2):
            length = whole * (upto_kw if part == 0 else most - upto_kw)
            key = (price[k] + (stray[k] if part == 1 else -stray[k])) * per
            if length <= 0 or (total >= wanted and (count == 0 or key >= keys[count - 1])):
                continue
            at = count
            while at > 0 and keys[at - 1] > key:
                keys[at], lengths[at], owner[at] = keys[at - 1], lengths[at - 1], owner[at - 1]
                at -= 1
            keys[at], lengths[at], owner[at] = key, length, k
            count += 1
            total += length
            while count > 0 and total - lengths[count - 1] >= wanted:
                count -= 1
                total -= lengths[count]
    if count > 0 and total > wanted:
        lengths[count - 1] -= total - wanted
        total = wanted
    for at in range(count):
        k = int(owner[at])
        least += keys[at] * lengths[at]
        power_kw[k] = min(power_kw[k] + lengths[at] * per / hours[k], most)
    return least if abs(wanted - total) <= _MISS * max(1.0, abs(battery.start), abs(battery.end_low)) else float("inf")
