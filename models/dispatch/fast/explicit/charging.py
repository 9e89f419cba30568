"""Charging in plain arrays: stays of cars, one way and both ways (equations E1-E13 of ``reference/charging.py``).

Columns stand only where a car is plugged in.  The stays of one charger add up in its net power.
"""

from dataclasses import dataclass

import numpy as np

from models.dispatch.fast.explicit.draft import BoolArray, Draft, IntArray
from models.dispatch.fast.explicit.table import KindTable, overlap_h
from models.intervals import FloatArray


@dataclass(frozen=True)
class _Plugged:
    """S stays and the P (stay, interval) pairs in which they are plugged in, by stay and then by time.

    ``stay``, ``interval``, ``share``: (P,).  ``after_h``: (S,) hours of the virtual slot.
    """

    stays: KindTable
    stay: IntArray
    interval: IntArray
    share: FloatArray
    after_h: FloatArray
    late_price: FloatArray

    def limit_kw(self, name: str) -> FloatArray:
        """A limit of power, times the share plugged in, (P,)."""
        return np.asarray(self.stays[name][self.stay] * self.share)


def add_charging(draft: Draft, stays: KindTable, exclusive: BoolArray) -> None:
    """Write E1 to E13; E10-E13 where ``exclusive`` (n,) asks for them.  A stay that is over leaves nothing."""
    running = stays.since_start_h("departure") > 0
    both_ways = stays["discharge_limit_kw"] > 0
    one_way = _plugged(stays.part(running & ~both_ways))
    two_way = _plugged(stays.part(running & both_ways))
    if len(one_way.stays):
        _add_one_way(draft, one_way)
    if len(two_way.stays):
        _add_both_ways(draft, two_way, exclusive[running & both_ways])


def _plugged(stays: KindTable) -> _Plugged:
    problem = stays.problem
    arrival, departure = stays.since_start_h("arrival"), stays.since_start_h("departure")
    share = overlap_h(problem, arrival, departure) / problem.grid.hours
    stay, interval = np.nonzero(share)
    after = np.maximum(0.0, departure - np.maximum(float(problem.grid.offsets_h[-1]), arrival))
    hours = problem.grid.hours
    mean_price = stays.series(problem.tariffs, "tariff_id") @ hours / hours.sum()
    return _Plugged(stays, stay, interval, share[stay, interval], after, mean_price)


def _measured_kwh(stays: KindTable, name: str, otherwise: FloatArray) -> FloatArray:
    """The measured state, which belongs to the car that is plugged in at the horizon's start, (S,)."""
    here = stays.since_start_h("arrival") <= 0
    measured = np.where(here, stays.state(name), np.nan)
    return np.asarray(np.where(np.isnan(measured), otherwise, measured))


def _into(draft: Draft, plugged: _Plugged, wear: FloatArray) -> tuple[IntArray, IntArray]:
    """Columns of charging: in the horizon (P,), and in the virtual slot (S,), E2 and E3."""
    at, hours = plugged.stays.at, draft.hours[plugged.interval]
    charge = draft.column(at[plugged.stay], high=plugged.limit_kw("charge_limit_kw"), cost=wear[plugged.stay] * hours)
    most = plugged.stays["charge_limit_kw"] * plugged.after_h
    after = draft.column(at, high=most, cost=plugged.late_price + wear)
    draft.power(at[plugged.stay], plugged.interval, charge, 1.0)
    draft.after_horizon(after, 1.0)
    return charge, after


def _add_one_way(draft: Draft, plugged: _Plugged) -> None:
    """Write E1 to E4."""
    stays, efficiency = plugged.stays, plugged.stays["charge_efficiency"]
    charge, after = _into(draft, plugged, np.zeros(len(stays)))
    lacking = stays["energy_needed_kwh"] - _measured_kwh(stays, "delivered_kwh", np.zeros(len(stays)))
    charged = draft.row((len(stays),), low=lacking, high=lacking)
    draft.put(charged[plugged.stay], charge, efficiency[plugged.stay] * draft.hours[plugged.interval])
    draft.put(charged, after, efficiency)


def _add_both_ways(draft: Draft, plugged: _Plugged, exclusive: BoolArray) -> None:
    """Write E1 to E3 and E5 to E13."""
    stays, stay, hours = plugged.stays, plugged.stay, draft.hours[plugged.interval]
    wear, price = stays["wear_cost_per_kwh"], plugged.late_price
    charge, in_after = _into(draft, plugged, wear)
    limit = plugged.limit_kw("discharge_limit_kw")
    discharge = draft.column(stays.at[stay], high=limit, cost=wear[stay] * hours)
    most_after = stays["discharge_limit_kw"] * plugged.after_h
    out_after = draft.column(stays.at, high=most_after, cost=wear - price)
    draft.power(stays.at[stay], plugged.interval, discharge, -1.0)
    draft.after_horizon(out_after, -1.0)
    draft.never_both(charge, discharge)
    draft.never_both(in_after, out_after)
    level = draft.column(stays.at[stay], high=stays["battery_capacity_kwh"][stay])
    start = _measured_kwh(stays, "energy_kwh", stays["battery_start_kwh"])
    into, taken = stays["charge_efficiency"], 1 / stays["discharge_efficiency"]

    follows = np.zeros(len(stay), dtype=bool)  # the pair before is of the same stay
    follows[1:] = stay[1:] == stay[:-1]
    begin = np.where(follows, 0.0, start[stay])
    balance = draft.row(stay.shape, low=begin, high=begin)
    draft.put(balance, level, 1.0)
    draft.put(balance[follows], level[np.flatnonzero(follows) - 1], -1.0)
    draft.put(balance, charge, -into[stay] * hours)
    draft.put(balance, discharge, taken[stay] * hours)

    last = np.ones(len(stay), dtype=bool)
    last[:-1] = ~follows[1:]
    target = stays["battery_start_kwh"] + stays["energy_needed_kwh"]
    never_here = np.ones(len(stays), dtype=bool)  # a car that comes after the horizon keeps its first level in it
    never_here[stay] = False
    wanted = target - np.where(never_here, start, 0.0)
    charged = draft.row((len(stays),), low=wanted, high=wanted)
    draft.put(charged[stay[last]], level[last], 1.0)
    draft.put(charged, in_after, into)
    draft.put(charged, out_after, -taken)

    awake, after = exclusive[stay], np.flatnonzero(exclusive & (plugged.after_h > 0))
    _add_never_both(
        draft,
        stays.at[stay[awake]],
        charge[awake],
        discharge[awake],
        plugged.limit_kw("charge_limit_kw")[awake],
        limit[awake],
    )
    most_in = stays["charge_limit_kw"] * plugged.after_h
    _add_never_both(draft, stays.at[after], in_after[after], out_after[after], most_in[after], most_after[after])


def _add_never_both(
    draft: Draft, at: IntArray, charge: IntArray, discharge: IntArray, most_in: FloatArray, most_out: FloatArray
) -> None:
    """Write E10 and E11, or E12 and E13."""
    if not at.size:
        return
    mode = draft.column(at, high=1.0, integer=True)
    into, out = draft.row(at.shape, high=0.0), draft.row(at.shape, high=most_out)
    draft.put(into, charge, 1.0)
    draft.put(into, mode, -most_in)
    draft.put(out, discharge, 1.0)
    draft.put(out, mode, most_out)
