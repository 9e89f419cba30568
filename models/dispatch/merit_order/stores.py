r"""Batteries, stays of cars and processes whose energy is fixed: whatever has a level that power fills and empties.

    (O1)  e_t = e_{t-1} + Δ_t f(p_t),   f(p) = η⁺p if p > 0 else p/η⁻
    (O2)  a(x) = max(floor, target - η⁺P⁺ rem(x)) ≤ e(x) ≤ min(cap, target + P⁻/η⁻ rem(x)) = z(x)
    (O3)  p_t ∈ [max(-P⁻s_t, f⁻¹((a(end_t) - e_{t-1})/Δ_t)), min(P⁺s_t, f⁻¹((z(end_t) - e_{t-1})/Δ_t))]
    (O4)  held from τ to x:  p ≥ s f⁻¹((a(x) - e)/w)  and  p ≤ s f⁻¹((z(x) - e)/w),   w = rem(τ) - rem(x)

======  ==================  ====  ==================================================================================
symbol  name here           unit  meaning
e       level               kWh   stored, or delivered so far
rem(x)  rem(x)              h     time after x for which it is plugged in (the horizon's rest, the rest of a window)
s       share               -     part of the interval in which it is plugged in
target  target              kWh   level at the end: at least that of a battery, exactly that of a stay or a process
======  ==================  ====  ==================================================================================

*Why every device stays feasible.*  At the start a ≤ e ≤ z: that is what admission means.  If e_{t-1} lies between the
bounds at τ_t, (O3) is not empty: full power raises the level by η⁺P⁺s_tΔ_t, which is what a rises in the interval at
most, and least power lowers it by no less than what z falls; where floor or cap bind, standing still keeps them.
With p_t from (O3) e_t lies between the bounds at end_t, and at the end rem = 0 they are what was promised.  So
whatever is picked in (O3) now, the rest of the horizon can be kept.  A process has P⁻ = -p_min, so that ``z`` leaves
room for its least power.

Who has fallen behind what it wanted to do (or is ahead of it) outside events spreads that evenly over the time it has
left.
"""

from dataclasses import dataclass

import numpy as np

from models.dispatch.merit_order.offers import Ask, BoolArray, Offers, Table, limited
from models.intervals import FloatArray

_TINY_H = 1e-9
_AT_ONCE = 65_536
"""Rows whose baselines are copied at once."""


@dataclass
class Stores:
    """Rows with a level, (n,) each; ``exact``: the target is met, not passed.  ``shown``: plans show the level."""

    table: Table
    charge_kw: FloatArray
    discharge_kw: FloatArray
    stored: FloatArray
    taken: FloatArray
    floor: FloatArray
    cap: FloatArray
    target: FloatArray
    exact: BoolArray
    opens_h: FloatArray
    closes_h: FloatArray
    level: FloatArray
    own_cost: FloatArray
    shown: bool
    one_of_several: BoolArray
    behind: FloatArray | None = None
    """So much of the target is left undone by what is wanted from now on, kWh; None: nobody has asked yet."""

    def rem(self, moment_h: FloatArray | float) -> FloatArray:
        """Hours after a moment in which it is plugged in."""
        return np.clip(self.closes_h - np.maximum(self.opens_h, moment_h), 0.0, None)

    def least_level(self, moment_h: FloatArray | float) -> FloatArray:
        """The level a(x) of (O2)."""
        return np.maximum(self.floor, self.target - self.stored * self.charge_kw * self.rem(moment_h))

    def most_level(self, moment_h: FloatArray | float) -> FloatArray:
        """The level z(x) of (O2)."""
        falls = self.target + self.taken * self.discharge_kw * self.rem(moment_h)
        return np.where(self.exact, np.minimum(self.cap, falls), self.cap)

    def gained(self, power_kw: FloatArray) -> FloatArray:
        """The gain f(p) of (O1)."""
        return np.where(power_kw > 0, self.stored, self.taken) * power_kw

    def drawn(self, rate_kw: FloatArray) -> FloatArray:
        """The power f⁻¹ that gains so much."""
        return np.asarray(rate_kw / np.where(rate_kw > 0, self.stored, self.taken))

    def cost(self, t: int) -> tuple[FloatArray, FloatArray]:  # noqa: ARG002 - what is drawn less now is drawn later
        return self.own_cost, self.own_cost

    def offer(self, ask: Ask, offers: Offers) -> None:
        hours = ask.hours
        share_h = self.plugged_h(ask)
        low = np.maximum(
            -self.discharge_kw * share_h / hours, self.drawn((self.least_level(ask.end_h) - self.level) / hours)
        )
        low = np.minimum(low, self.charge_kw * share_h / hours)
        high = np.minimum(
            self.charge_kw * share_h / hours, self.drawn((self.most_level(ask.end_h) - self.level) / hours)
        )
        offers.base_kw[:] = limited(self._wanted_kw(ask, share_h), low, high)
        held_h = np.maximum(self.rem(ask.begin_h) - self.rem(ask.till_h), _TINY_H)
        part = np.minimum(share_h / hours, 1.0)
        held_low = part * self.drawn((self.least_level(ask.till_h) - self.level) / held_h)
        held_high = part * self.drawn((self.most_level(ask.till_h) - self.level) / held_h)
        here = share_h > _TINY_H
        offers.down_kw[:] = np.where(here, np.maximum(offers.base_kw - np.maximum(low, held_low), 0.0), 0.0)
        offers.up_kw[:] = np.where(here, np.maximum(np.minimum(high, held_high) - offers.base_kw, 0.0), 0.0)

    def plugged_h(self, ask: Ask) -> FloatArray:
        """Hours of the interval in which it is plugged in."""
        shared = np.minimum(self.closes_h, ask.end_h) - np.maximum(self.opens_h, ask.begin_h)
        return np.asarray(np.clip(shared, 0.0, None))

    def of_wanted(self, ask: Ask, share_h: FloatArray) -> FloatArray:
        """The row's part of what its resource wants: cars that share an interval share it as they do the time."""
        if not self.one_of_several.any():
            return ask.wanted_kw
        place = self.table.resource
        together = np.bincount(place, weights=share_h, minlength=len(self.table.wanted_kw))[place]
        part = np.divide(share_h, together, out=np.zeros_like(share_h), where=together > 0)
        return np.where(self.one_of_several, part * ask.wanted_kw, ask.wanted_kw)

    def _wanted_kw(self, ask: Ask, share_h: FloatArray) -> FloatArray:
        wanted = self.of_wanted(ask, share_h)
        if ask.in_event.all():
            return wanted
        if self.behind is None:
            self.behind = _behind(self, ask.t)
        behind = np.where(self.exact, self.behind, np.maximum(self.behind, 0.0))
        spread = behind * share_h / np.maximum(self.rem(ask.begin_h), _TINY_H) / ask.hours
        return np.where(ask.in_event | (spread == 0), wanted, self.drawn(self.gained(wanted) + spread))

    def take(self, ask: Ask, power_kw: FloatArray) -> None:
        gained = self.gained(power_kw) * ask.hours
        if self.behind is not None:
            wanted = self.of_wanted(ask, self.plugged_h(ask))
            self.behind = self.behind + self.gained(wanted) * ask.hours - gained
        self.level = self.level + gained

    def energy_kwh(self) -> FloatArray:
        return self.level if self.shown else np.full(len(self.level), np.nan)

    def plugged_in(self, ask: Ask) -> BoolArray:
        """Rows that are there in the interval."""
        return self.plugged_h(ask) > 0


def _behind(store: Stores, t: int) -> FloatArray:
    """What is wanted from interval t on leaves so much of the target undone, as seen from the level now, kWh."""
    end_h = float(store.table.setting.edges_h[-1])
    later_h = np.maximum(0.0, store.closes_h - np.maximum(store.opens_h, end_h))
    lacking = store.target - store.level - _of_the_wanted_kwh(store, t)
    most = lacking - store.stored * store.charge_kw * later_h
    least = lacking + store.taken * store.discharge_kw * later_h
    return np.where(lacking > 0, np.maximum(most, 0.0), np.minimum(least, 0.0))


def _of_the_wanted_kwh(store: Stores, t: int) -> FloatArray:
    """What the level gains from interval t to the horizon's end by what is wanted, (n,)."""
    table, several = store.table, store.one_of_several
    hours, edges = table.setting.hours, table.setting.edges_h
    gained = np.empty(len(several))
    for first in range(0, len(gained), _AT_ONCE):
        rows = slice(first, first + _AT_ONCE)
        power = table.wanted_kw[table.resource[rows], t:]
        charged = np.maximum(power, 0.0) @ hours[t:]
        gained[rows] = store.stored[rows] * charged + store.taken[rows] * (power @ hours[t:] - charged)
    if not several.any():
        return gained
    shared = np.zeros(len(gained))
    nobody = np.zeros(len(gained), dtype=np.bool_)
    for u in range(t, len(hours)):
        wanted = table.wanted_kw[table.resource, u]
        ask = Ask(u, float(edges[u]), float(edges[u + 1]), shared, nobody, wanted)
        shared += store.gained(store.of_wanted(ask, store.plugged_h(ask))) * hours[u]
    return np.where(several, shared, gained)


def batteries(table: Table) -> Stores:
    """Storage units without minimum powers."""
    count, start = len(table), table.known("energy_kwh", table.of("energy_start_kwh"))
    end_h = float(table.setting.edges_h[-1])
    return Stores(
        table=table,
        charge_kw=table.of("charge_limit_kw"),
        discharge_kw=table.of("discharge_limit_kw"),
        stored=table.of("charge_efficiency"),
        taken=1.0 / table.of("discharge_efficiency"),
        floor=np.minimum(table.of("energy_min_kwh"), start),
        cap=np.maximum(table.of("energy_max_kwh"), start),
        target=table.of("energy_end_min_kwh"),
        exact=np.zeros(count, dtype=np.bool_),
        opens_h=np.zeros(count),
        closes_h=np.full(count, end_h),
        level=start,
        own_cost=table.of("wear_cost_per_kwh"),
        shown=True,
        one_of_several=np.zeros(count, dtype=np.bool_),
    )


def stays(table: Table) -> Stores:
    """Stays of cars that are not over when the horizon begins, by arrival."""
    arrive = table.setting.hours_since_start(table.columns["arrival"])
    depart = table.setting.hours_since_start(table.columns["departure"])
    table = table.chosen(np.lexsort((arrive, table.resource)))
    table = table.chosen(table.setting.hours_since_start(table.columns["departure"]) > 0)
    arrive = table.setting.hours_since_start(table.columns["arrival"])
    depart = table.setting.hours_since_start(table.columns["departure"])
    v2g = table.of("discharge_limit_kw") > 0
    first = np.where(v2g, np.nan_to_num(table.of("battery_start_kwh")), 0.0)
    measured = np.where(v2g, table.states.energy_kwh, table.states.delivered_kwh)
    level = np.where((arrive <= 0) & ~np.isnan(measured), measured, first)
    target = first + table.of("energy_needed_kwh")
    several = np.bincount(table.resource, minlength=len(table.wanted_kw))[table.resource] > 1
    full = np.where(v2g, np.nan_to_num(table.of("battery_capacity_kwh")), np.maximum(level, target))
    return Stores(
        table=table,
        charge_kw=table.of("charge_limit_kw"),
        discharge_kw=table.of("discharge_limit_kw"),
        stored=table.of("charge_efficiency"),
        taken=1.0 / table.of("discharge_efficiency"),
        floor=np.where(v2g, np.minimum(level, 0.0), level),
        cap=np.maximum(full, level),
        target=target,
        exact=np.ones(len(table), dtype=np.bool_),
        opens_h=arrive,
        closes_h=depart,
        level=level,
        own_cost=np.where(v2g, table.of("wear_cost_per_kwh"), 0.0),
        shown=True,
        one_of_several=several,
    )


def processes(table: Table) -> Stores:
    """Shiftable loads without the shape of a run: the energy of a window, at any power between two limits."""
    count = len(table)
    opens = table.setting.hours_since_start(table.columns["window_start"])
    closes = table.setting.hours_since_start(table.columns["window_end"])
    left = np.where(closes > 0, np.maximum(0.0, table.of("energy_kwh") - table.known("delivered_kwh", 0.0)), 0.0)
    return Stores(
        table=table,
        charge_kw=table.of("power_max_kw"),
        discharge_kw=-table.of("power_min_kw"),
        stored=np.ones(count),
        taken=np.ones(count),
        floor=np.full(count, -np.inf),
        cap=np.full(count, np.inf),
        target=left,
        exact=np.ones(count, dtype=np.bool_),
        opens_h=opens,
        closes_h=closes,
        level=np.zeros(count),
        own_cost=table.of("cost_per_kwh"),
        shown=False,
        one_of_several=np.zeros(count, dtype=np.bool_),
    )
