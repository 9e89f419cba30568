"""Interruptible loads: one block off or on, when and for how long.

Why it is exact.  While interrupted the load gives up min(block, b_t), no more and no less (I2), and net power is linear
in that (``loads``): an interval of an interruption costs Δ_t v_t min(block, b_t), whatever happens in the others.  So
the cost of a schedule is the sum over its interruptions of a difference of prefix sums, and the best set of them under
notice, rest, shortest, longest and number (I3-I9) is what the dynamic program in ``calls`` finds.  An interruption that
runs at the start has every end that I7-I9 leave it.

Asked to follow a plan, a load is interrupted when the plan interrupts it (``planned``).
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from models.dispatch.fast.pricing.calls import best_calls, ends_within, part
from models.dispatch.fast.pricing.common import WORK_ROWS, Members, Near, Prices, Sums, account, effective_prices
from models.dispatch.fast.pricing.jit import jit
from models.dispatch.fast.pricing.loads import (
    LEAST_KW,
    add_past,
    calls_left,
    first_open,
    floats,
    give_up,
    opens_h,
    or_zero,
    price_of_reducing,
    resume_after,
    undisturbed,
)
from models.dispatch.fast.pricing.planned import keeps_durations, planned_reduction
from models.dispatch.fast.setting import IndexArray, Setting, rows_in
from models.dispatch.states import StateColumns
from models.fleet import Column
from models.intervals import FloatArray

SHARED = ("profiles", "edges_h", "history")


class InterruptibleArrays(NamedTuple):
    """n loads; ``profiles`` (P, T), ``edges_h`` (T + 1,) and ``history`` (pieces of ``StateColumns``) are shared.

    ``open_h``: from when on one may begin.  ``calls``: how many may begin.  ``on``: 1 while interrupted at the start,
    since ``been_h``.  ``past_first``, ``past_last``: rows of ``history``.
    """

    profile: IndexArray
    scale_kw: FloatArray
    block_kw: FloatArray
    cost_per_kwh: FloatArray
    shortest_h: FloatArray
    longest_h: FloatArray
    open_h: FloatArray
    rebound_share: FloatArray
    rebound_h: FloatArray
    past_first: IndexArray
    past_last: IndexArray
    calls: IndexArray
    rest_h: FloatArray
    on: IndexArray
    been_h: FloatArray
    profiles: FloatArray
    edges_h: FloatArray
    history: FloatArray


def interruptible_arrays(columns: Mapping[str, Column], setting: Setting, states: StateColumns) -> InterruptibleArrays:
    """The loads of a table's columns."""
    return InterruptibleArrays(
        profile=rows_in(setting.profile_row, columns["baseline_profile"]),
        scale_kw=floats(columns["baseline_scale_kw"]),
        block_kw=floats(columns["block_kw"]),
        cost_per_kwh=floats(columns["cost_per_kwh"]),
        shortest_h=floats(columns["shortest_h"]),
        longest_h=floats(columns["longest_h"]),
        open_h=opens_h(columns, setting, states),
        rebound_share=floats(columns["rebound_share"]),
        rebound_h=floats(columns["rebound_hours_h"]),
        past_first=np.ascontiguousarray(states.history_first[:-1]),
        past_last=np.ascontiguousarray(states.history_first[1:]),
        calls=calls_left(columns, setting, states),
        rest_h=floats(columns["rest_h"]),
        on=(states.on == 1).astype(np.int64),
        been_h=np.where(states.on == 1, or_zero(states.hours_in_state_h), 0.0),
        profiles=setting.profiles,
        edges_h=setting.edges_h,
        history=states.history,
    )


@jit
def base_interruptible(units: InterruptibleArrays, i: int, power_kw: FloatArray) -> None:
    """Fill b (T,), kW: what the load draws undisturbed, without rebound of the past."""
    profile, scale = units.profiles[units.profile[i]], units.scale_kw[i]
    for t in range(power_kw.size):
        power_kw[t] = profile[t] * scale


@jit
def cheapest_interruptible(
    units: InterruptibleArrays,
    i: int,
    hours: FloatArray,
    price: FloatArray,
    late: float,  # noqa: ARG001 - every oracle is asked with the same
    stray: FloatArray,  # noqa: ARG001 - left out of the least cost, as in the checker's bound
    plan_kw: FloatArray,  # noqa: ARG001 - as stray
    power_kw: FloatArray,
    work: FloatArray,
) -> tuple[float, float, float]:
    """Least cost, own cost and 0; fills net power (T,), kW."""
    count, edges = hours.size, units.edges_h
    share, rebound_h = units.rebound_share[i], units.rebound_h[i]
    per_kwh, block, total = part(work, 0), part(work, 1), part(work, 2)
    least = undisturbed(units.profiles[units.profile[i]], units.scale_kw[i], hours, price, power_kw)
    price_of_reducing(edges, hours, price, units.cost_per_kwh[i], share, rebound_h, part(work, 3), per_kwh)
    on, open_t = units.on[i] == 1, first_open(edges, count, units.open_h[i])
    pays = on
    total[0] = 0.0
    for t in range(count):
        block[t] = min(units.block_kw[i], power_kw[t])
        gain = hours[t] * per_kwh[t] * block[t]
        total[t + 1] = total[t] + gain
        pays = pays or (gain < 0 and t >= open_t)
    if share > 0 and units.past_last[i] > units.past_first[i]:
        pieces = units.history[units.past_first[i] : units.past_last[i]]
        least += add_past(pieces, edges, hours, price, share, rebound_h, power_kw)
    if not pays or (units.calls[i] == 0 and not on):
        return least, 0.0, 0.0
    rest, first, last, called = part(work, 4), part(work, 5), part(work, 6), part(work, 7)
    durations = (units.shortest_h[i], units.longest_h[i])
    resume_after(edges, count, units.rest_h[i], rest)
    ends_within(edges, count, durations[0], durations[1], first, last)
    been_h = units.been_h[i]
    saved = best_calls(
        total, edges, count, rest, first, last, open_t, units.calls[i], on, been_h, durations, work, called
    )
    for t in range(count):
        called[t] *= block[t]
    given_up_kwh = give_up(called, edges, hours, share, rebound_h, power_kw)
    return least + saved, units.cost_per_kwh[i] * given_up_kwh, 0.0


@jit
def planned_interruptible(
    units: InterruptibleArrays,
    i: int,
    hours: FloatArray,
    price: FloatArray,
    stray: FloatArray,
    plan_kw: FloatArray,
    power_kw: FloatArray,
    work: FloatArray,
) -> float:
    """Own cost of being interrupted when the plan says so; fills net power (T,), kW.

    Less than 0 if the plan is not known throughout, or its interruptions are not allowed any more.
    """
    count, edges = hours.size, units.edges_h
    share, rebound_h = units.rebound_share[i], units.rebound_h[i]
    block, called = part(work, 1), part(work, 7)
    on, open_t = units.on[i] == 1, first_open(edges, count, units.open_h[i])
    for t in range(count):
        if stray[t] <= 0:
            return -1.0
    undisturbed(units.profiles[units.profile[i]], units.scale_kw[i], hours, price, power_kw)
    for t in range(count):
        block[t] = min(units.block_kw[i], power_kw[t])
    if share > 0 and units.past_last[i] > units.past_first[i]:
        pieces = units.history[units.past_first[i] : units.past_last[i]]
        add_past(pieces, edges, hours, price, share, rebound_h, power_kw)
    planned_reduction(plan_kw, power_kw, block, edges, hours, share, rebound_h, part(work, 3), called)
    running = on
    for t in range(count):
        if block[t] > LEAST_KW:  # where there is nothing to give up, a call goes on or does not begin
            running = called[t] > 0.5 * block[t]
        called[t] = 1.0 if running else 0.0
    rest, first, last = part(work, 4), part(work, 5), part(work, 6)
    durations = (units.shortest_h[i], units.longest_h[i])
    resume_after(edges, count, units.rest_h[i], rest)
    ends_within(edges, count, durations[0], durations[1], first, last)
    if not keeps_durations(
        called, edges, count, rest, first, last, open_t, units.calls[i], on, units.been_h[i], durations
    ):
        return -1.0
    for t in range(count):
        called[t] *= block[t]
    return float(units.cost_per_kwh[i] * give_up(called, edges, hours, share, rebound_h, power_kw))


@jit
def sweep_interruptible(
    units: InterruptibleArrays,
    members: Members,
    near: Near,
    first: int,
    last: int,
    prices: Prices,
    sums: Sums,
    power_out: FloatArray,
) -> None:
    """Cheapest schedules of the rows first to last (exclusive), added up; written to ``power_out`` if it has rows."""
    count = prices.hours.size
    price, stray, plan, power = np.empty(count), np.empty(count), np.empty(count), np.empty(count)
    work = np.empty((WORK_ROWS, 4 * count + 64))
    for i in range(first, last):
        effective_prices(members, near, i, prices, price, stray, plan)
        late = prices.late[members.tariff[i]]
        own = -1.0
        if prices.pull > 0:
            own = planned_interruptible(units, i, prices.hours, price, stray, plan, power, work)
        if own >= 0:
            answer = (0.0, own, 0.0)
        else:
            answer = cheapest_interruptible(units, i, prices.hours, price, late, stray, plan, power, work)
        account(members, near, i, prices, power, answer, sums)
        if power_out.shape[0] > 0:
            power_out[i - first, :] = power
