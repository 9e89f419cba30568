r"""The cheapest schedule of a battery, whoever owns it: stationary storage, and cars that feed back.

In a step of h hours at price π, with wear w, power p between −P⁻ and P⁺ changes the level by x = h η⁺ p (charging) or
h p / η⁻ (discharging) and costs f = h (π p + w |p| + stray |p − plan|).  As a function of x, f is piecewise linear:
slope (π − w) η⁻ while discharging, (π + w) / η⁺ while charging, and the stray term bends it once more, upwards.

*Exact* where f is convex, which is where π (less or more what straying costs at p = 0) is at least −w (1+η)/(1−η),
η = η⁺η⁻: then ``stores`` finds the optimum, and a change x is made by charging or by discharging, never by both.

*Below that price* f bends downwards at x = 0.  The least cost is then taken over its lower convex hull, which is what
charging and discharging at once would cost: a lower bound (the checker's oracle is the same).  The schedule itself is
one of net changes x, so it keeps every limit; it only costs more than the hull where a hull's chord is used in part.
Those steps are restricted to the side (charging or discharging) on which they lie, and the path is sought again; after
a few rounds all are restricted, f is convex, and the path is the optimum of the restricted battery.  Then a few of them
are turned to their other side, one by one, and stay there if that is cheaper.
"""

from typing import Any, NamedTuple

from models.dispatch.fast.pricing.jit import jit_row
from models.dispatch.fast.pricing.stores import FREE, LOWEST, USED, cheapest_path, write_pieces
from models.intervals import FloatArray

SPARE = FREE + 2
"""First row of scratch memory that this file leaves alone."""
_BEND = FREE
"""Row: 1 where the cost of a step bends downwards."""
_SIDE = FREE + 1
"""Row: above 0 charging only, below 0 discharging only, 0 either."""
_BETWEEN, _AT_END = 1.0, 2.0
"""Size of a side: given to a step that lay between its ends, or at one."""
_ROUNDS = 3
_TURNS = 8
"""Steps that may be turned to their other side, to see whether that is cheaper."""
_NOISE = 1e-12
"""Relative: a change of the level below it is what rounding leaves."""
_OFF = 1e-9
"""Relative: what a plan may be off a limit and keep it (its levels were added up elsewhere)."""


class Battery(NamedTuple):
    """One battery: limits in kW, efficiencies, wear in CNY per kWh at the grid, levels in kWh.

    ``charge_kw``, ``discharge_kw``: P⁺, P⁻ ≥ 0.  ``stored``: η⁺.  ``taken``: 1 / η⁻.
    """

    charge_kw: float
    discharge_kw: float
    stored: float
    taken: float
    wear: float
    start: float
    floor: float
    ceiling: float
    end_low: float
    end_high: float


@jit_row
def battery_of(units: Any, i: int, end_low: float, end_high: float) -> Battery:
    """Row i of a struct of arrays whose fields are named as in ``Battery``, to end between two levels."""
    return Battery(
        units.charge_kw[i],
        units.discharge_kw[i],
        units.stored[i],
        units.taken[i],
        units.wear[i],
        units.start[i],
        units.floor[i],
        units.ceiling[i],
        end_low,
        end_high,
    )


@jit_row
def cheapest_cycle(
    battery: Battery,
    steps: int,
    hours: FloatArray,
    price: FloatArray,
    stray: FloatArray,
    plan_kw: FloatArray,
    work: FloatArray,
    power_kw: FloatArray,
) -> tuple[float, float]:
    """Fill ``power_kw`` (steps,) and return (least cost, wear of the schedule), CNY; arrays are (≥ steps,)."""
    side = work[_SIDE]
    for t in range(steps):
        side[t] = 0.0
    least, bends = _solve(battery, steps, hours, price, stray, plan_kw, work)
    if bends > 0:
        _straighten(battery, steps, hours, price, stray, plan_kw, work)
    return least, _read_powers(battery, steps, hours, work, power_kw)


@jit_row
def keeps_limits(battery: Battery, steps: int, hours: FloatArray, power_kw: FloatArray) -> bool:
    """Whether ``power_kw`` (steps,) is a schedule of the battery: nothing has to be sought for who follows it."""
    level, off_kw = battery.start, _OFF * max(battery.charge_kw, battery.discharge_kw)
    off_kwh = _OFF * max(1.0, battery.ceiling)
    low, high = battery.floor - off_kwh, battery.ceiling + off_kwh
    most, least = battery.charge_kw + off_kw, -battery.discharge_kw - off_kw
    kept = True
    for t in range(steps):
        power = power_kw[t]
        level += hours[t] * (max(power, 0.0) * battery.stored + min(power, 0.0) * battery.taken)
        kept &= least <= power <= most and low <= level <= high  # False for NaN too
    return kept and battery.end_low - off_kwh <= level <= battery.end_high + off_kwh


@jit_row
def _solve(
    battery: Battery,
    steps: int,
    hours: FloatArray,
    price: FloatArray,
    stray: FloatArray,
    plan_kw: FloatArray,
    work: FloatArray,
) -> tuple[float, int]:
    """Least cost, CNY, with every step on its side and over convex hulls, and how many steps bend downwards."""
    cost, bends = _write_steps(battery, steps, hours, price, stray, plan_kw, work)
    return cost + cheapest_path(
        battery.start, battery.floor, battery.ceiling, battery.end_low, battery.end_high, steps, False, work
    ), bends


@jit_row
def _straighten(
    battery: Battery,
    steps: int,
    hours: FloatArray,
    price: FloatArray,
    stray: FloatArray,
    plan_kw: FloatArray,
    work: FloatArray,
) -> None:
    """Restrict steps to one side until the path costs what it says, then turn those that lay between, one by one."""
    side, rounds, cost = work[_SIDE], 0, 0.0
    while _restrict(battery, steps, hours, work, rounds >= _ROUNDS) > 0:
        cost, _ = _solve(battery, steps, hours, price, stray, plan_kw, work)
        rounds += 1
    if _restrict(battery, steps, hours, work, True) > 0:
        cost, _ = _solve(battery, steps, hours, price, stray, plan_kw, work)
    turned, at_best = 0, True
    for t in range(steps):
        if turned < _TURNS and abs(side[t]) == _BETWEEN:
            side[t] = -side[t]
            turned += 1
            other, _ = _solve(battery, steps, hours, price, stray, plan_kw, work)
            at_best = other < cost
            cost = min(cost, other)
            if not at_best:
                side[t] = -side[t]
    if not at_best:
        _solve(battery, steps, hours, price, stray, plan_kw, work)


@jit_row
def _write_steps(
    battery: Battery,
    steps: int,
    hours: FloatArray,
    price: FloatArray,
    stray: FloatArray,
    plan_kw: FloatArray,
    work: FloatArray,
) -> tuple[float, int]:
    """Write every step's lowest change and pieces for ``cheapest_path``; (cost of the lowest, steps that bend down)."""
    lowest, side, bend = work[LOWEST], work[_SIDE], work[_BEND]
    taken, stored, given, per_stored = battery.taken, battery.stored, 1 / battery.taken, 1 / battery.stored
    wear, bends, total = battery.wear, 0, 0.0
    for t in range(steps):
        out_kw = battery.discharge_kw if side[t] <= 0 else 0.0
        in_kw = battery.charge_kw if side[t] >= 0 else 0.0
        lowest[t] = -hours[t] * out_kw * taken
        total += hours[t] * ((wear - price[t]) * out_kw + stray[t] * abs(out_kw + plan_kw[t]))
        out, into, cost = (price[t] - wear) * given, (price[t] + wear) * per_stored, stray[t]
        if cost == 0:
            convex = write_pieces(work, t, out, -lowest[t], into, hours[t] * in_kw * stored, 0.0, 0.0)
        elif plan_kw[t] < 0:
            q = min(-plan_kw[t], out_kw)
            convex = write_pieces(
                work,
                t,
                out - cost * given,
                hours[t] * (out_kw - q) * taken,
                out + cost * given,
                hours[t] * q * taken,
                into + cost * per_stored,
                hours[t] * in_kw * stored,
            )
        else:
            q = min(plan_kw[t], in_kw)
            convex = write_pieces(
                work,
                t,
                out - cost * given,
                -lowest[t],
                into - cost * per_stored,
                hours[t] * q * stored,
                into + cost * per_stored,
                hours[t] * (in_kw - q) * stored,
            )
        bend[t] = 0.0 if convex else 1.0
        bends += not convex
    return total, bends


@jit_row
def _restrict(battery: Battery, steps: int, hours: FloatArray, work: FloatArray, everywhere: bool) -> int:
    """Restrict steps that bend downwards, and lie between their ends, to the side they lie on; how many are new."""
    lowest, used, bend, side = work[LOWEST], work[USED], work[_BEND], work[_SIDE]
    count = 0
    for t in range(steps):
        if bend[t] > 0:
            whole = hours[t] * battery.charge_kw * battery.stored - lowest[t]
            between = _NOISE * whole < used[t] < (1 - _NOISE) * whole
            if everywhere or between:
                side[t] = (_BETWEEN if between else _AT_END) * (1 if lowest[t] + used[t] >= 0 else -1)
                bend[t] = 0.0
                count += 1
    return count


@jit_row
def _read_powers(battery: Battery, steps: int, hours: FloatArray, work: FloatArray, power_kw: FloatArray) -> float:
    """Fill ``power_kw`` from the changes of the level; the wear, CNY."""
    lowest, used = work[LOWEST], work[USED]
    given, per_stored, moved = 1 / battery.taken, 1 / battery.stored, 0.0
    noise = _NOISE * (battery.charge_kw * battery.stored + battery.discharge_kw * battery.taken)
    for t in range(steps):  # without branches, which side a step is on being anyone's guess
        change = (lowest[t] + used[t]) / hours[t]
        into = min(change * per_stored, battery.charge_kw) if change > noise else 0.0
        out = max(change * given, -battery.discharge_kw) if change < -noise else 0.0
        power_kw[t] = into + out
    for t in range(steps):
        moved += hours[t] * abs(power_kw[t])
    return battery.wear * moved
