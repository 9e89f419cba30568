"""Chargers by the thousand: the first stay of all of them, then the second of those that have one, and so on."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from models.dispatch.check.horizon import Horizon, tolerance
from models.dispatch.check.screens.common import (
    Batch,
    BoolArray,
    Granted,
    IndexArray,
    Screened,
    above,
    below,
    margin,
    or_else,
)
from models.dispatch.states import StateColumns
from models.fleet import Column
from models.intervals import FloatArray


@dataclass(frozen=True)
class Stays(Batch):
    """m stays at n chargers, charger by charger in order of arrival, those left out that are over.

    ``charger``: (m,) which one.  ``ordinal``: (m,) 0 for the first stay of a charger, 1 for the second ...
    """

    charger: IndexArray = None  # type: ignore[assignment]
    ordinal: IndexArray = None  # type: ignore[assignment]
    chargers: int = 0

    def take(self, which: IndexArray) -> "Stays":
        """Some of the stays."""
        columns = {name: values[which] for name, values in self.columns.items()}
        return Stays(
            columns, self.state, self.horizon, charger=self.charger[which], ordinal=self.ordinal[which],
            chargers=self.chargers,
        )  # fmt: skip

    def rounds(self) -> Iterator["Stays"]:
        """First stays, second stays, ..."""
        for k in range(int(self.ordinal.max(initial=-1)) + 1):
            yield self.take(np.flatnonzero(self.ordinal == k))

    def share(self) -> FloatArray:
        """Part of every interval in which each car is plugged in, (m, T)."""
        horizon = self.horizon
        return horizon.overlap_h(self.number("arrives_h"), self.number("leaves_h")) / horizon.hours

    def ceiling_kwh(self) -> FloatArray:
        """The level that must not be passed, (m,)."""
        capacity, start, target = (self.number(n) for n in ("battery_capacity_kwh", "start_kwh", "target_kwh"))
        return np.where(self.v2g() & ~np.isnan(capacity), capacity, np.maximum(start, target))

    def v2g(self) -> BoolArray:
        """Which stays may feed back, (m,)."""
        return np.asarray(self.number("discharge_limit_kw") > 0)

    def wear(self) -> FloatArray:
        """Wear counts where the car feeds back, (m,)."""
        return np.where(self.v2g(), self.number("wear_cost_per_kwh"), 0.0)


_NEEDED = (
    "resource_id", "session_id", "charge_limit_kw", "charge_efficiency", "discharge_limit_kw", "discharge_efficiency",
    "battery_capacity_kwh", "wear_cost_per_kwh", "energy_needed_kwh",
)  # fmt: skip


def admit_stays(columns: dict[str, Column], charger: IndexArray, chargers: int, horizon: Horizon) -> Stays:
    """Stays with the energy that each can still get by its departure; rows come charger by charger."""
    leaves = horizon.hours_since_start(columns["departure"])
    arrives = horizon.hours_since_start(columns["arrival"])
    keep = np.flatnonzero(leaves > 0)
    keep = keep[np.lexsort((arrives[keep], charger[keep]))]
    kept = {name: columns[name][keep] for name in _NEEDED}
    arrives, leaves, charger = arrives[keep], leaves[keep], charger[keep]
    state = StateColumns.of(horizon.states, kept["resource_id"])
    v2g, here = kept["discharge_limit_kw"] > 0, arrives <= 0
    begin = np.where(v2g, or_else(columns["battery_start_kwh"][keep], 0.0), 0.0)
    measured = np.where(v2g, state.energy_kwh, state.delivered_kwh)
    start = np.where(here & ~np.isnan(measured), measured, begin)
    asked = begin + kept["energy_needed_kwh"]
    end = float(horizon.ends_h[-1])
    after = np.maximum(0.0, leaves - np.maximum(end, arrives))
    plugged = np.clip(np.minimum(end, leaves) - np.maximum(0.0, arrives), 0.0, None) + after
    most = start + kept["charge_limit_kw"] * kept["charge_efficiency"] * plugged
    capacity = kept["battery_capacity_kwh"]
    ceiling = np.where(np.isnan(capacity), np.maximum(start, asked), capacity)
    least = np.maximum(
        start - kept["discharge_limit_kw"] / kept["discharge_efficiency"] * plugged, np.minimum(0.0, start)
    )
    most = np.where(v2g, np.minimum(most, np.maximum(ceiling, start)), most)
    target = np.clip(asked, np.where(v2g, least, start), most)
    above_it = v2g & ~np.isnan(capacity) & (start > capacity)
    needed = kept["energy_needed_kwh"]
    lacks = np.abs(target - asked) > tolerance(asked)
    granted = (
        Granted("battery_capacity_kwh", capacity, np.where(above_it, start, capacity)),
        Granted("energy_needed_kwh", needed, np.where(lacks, needed + target - asked, needed)),
    )
    place = np.arange(charger.size)
    opening = np.concatenate([[True], charger[1:] != charger[:-1]])[: charger.size]
    ordinal = place - np.maximum.accumulate(np.where(opening, place, 0))
    admitted = {
        **kept, "arrives_h": arrives, "leaves_h": leaves, "hours_after": after, "start_kwh": start,
        "target_kwh": target,
    }  # fmt: skip
    odd = np.zeros(chargers, dtype=np.bool_)
    return Stays(admitted, state, horizon, granted, odd, charger, np.asarray(ordinal, dtype=np.intp), chargers)


class _Tally(NamedTuple):
    """What the stays of n chargers come to so far, filled in place."""

    suspect: BoolArray
    own_cost: FloatArray
    late_kwh: FloatArray
    energy_kwh: FloatArray


def screen_chargers(stays: Batch, power_kw: FloatArray) -> Screened:
    """Power only while plugged in, the energy at departure, the level on the way: (n, T) for n chargers."""
    assert isinstance(stays, Stays)  # noqa: S101 - charging sessions are admitted as stays
    count = stays.chargers
    tally = _Tally(np.zeros(count, dtype=np.bool_), np.zeros(count), np.zeros(count), np.full(power_kw.shape, np.nan))
    rounds = list(stays.rounds())
    plugged = np.zeros(power_kw.shape, dtype=np.bool_)
    shares = [part.share() for part in rounds]
    for part, share in zip(rounds, shares, strict=True):
        plugged[part.charger] |= share > 0
    tally.suspect[:] = above(np.abs(np.where(plugged, 0.0, power_kw)).max(axis=1), np.zeros(count))
    left = power_kw.copy() if len(rounds) > 1 else power_kw
    for k, (part, share) in enumerate(zip(rounds, shares, strict=True)):
        mine = np.where(share > 0, left[part.charger], 0.0)
        if k + 1 < len(rounds):
            _leave_to_the_next(part, share, mine, list(zip(rounds, shares, strict=True))[k + 1 :])
            left[part.charger] -= mine
        _screen_stays(part, share, mine, tally)
    return Screened(*tally)


def _gained(part: Stays, power_kw: FloatArray) -> FloatArray:
    charge, discharge = part.upright("charge_efficiency"), part.upright("discharge_efficiency")
    return np.asarray(part.horizon.hours * power_kw * np.where(power_kw > 0, charge, 1 / discharge))


def _power_for(part: Stays, energy_kwh: FloatArray) -> FloatArray:
    """KWh at the charger for so many kWh at the battery, (m,)."""
    charge, discharge = part.number("charge_efficiency"), part.number("discharge_efficiency")
    return np.where(energy_kwh > 0, energy_kwh / charge, energy_kwh * discharge)


def _leave_to_the_next(part: Stays, share: FloatArray, mine: FloatArray, later: list[tuple[Stays, FloatArray]]) -> None:
    """In an interval that two stays share, the earlier car's part is what it still needs."""
    count = share.shape[1]
    active = share > 0
    last = count - 1 - active[:, ::-1].argmax(axis=1)
    shared = np.zeros(len(part), dtype=np.bool_)
    for other, its_share in later:
        row_of = np.full(part.chargers, -1)
        row_of[other.charger] = np.arange(len(other))
        row = row_of[part.charger]
        shared |= (row >= 0) & (its_share[row, last] > 0)
    which = np.flatnonzero(shared & active.any(axis=1))
    if not which.size:
        return
    some = part.take(which)
    mine[which, last[which]] = 0.0
    gained = _gained(some, mine[which]).sum(axis=1)
    lacking = some.number("target_kwh") - some.number("start_kwh") - gained
    mine[which, last[which]] = _power_for(some, lacking) / part.horizon.hours[last[which]]


def _screen_stays(part: Stays, share: FloatArray, power_kw: FloatArray, tally: _Tally) -> None:
    get, here = part.number, share > 0
    suspect = above(power_kw, part.upright("charge_limit_kw") * share)
    suspect |= above(-power_kw, part.upright("discharge_limit_kw") * share)
    start, target = get("start_kwh"), get("target_kwh")
    level = start[:, None] + np.cumsum(_gained(part, power_kw), axis=1)
    tally.energy_kwh[part.charger] = np.where(here, level, tally.energy_kwh[part.charger])
    v2g = part.v2g()
    empty = below(np.where(here, level, np.inf).min(axis=1), np.minimum(0.0, start))
    full = above(np.where(here, level, -np.inf).max(axis=1), np.maximum(part.ceiling_kwh(), start))
    suspect |= v2g & (empty | full)
    lacking, after = target - level[:, -1], get("hours_after")
    waits = (after > 0) & (np.abs(lacking) > tolerance(target))
    wanted = np.clip(_power_for(part, lacking), -get("discharge_limit_kw") * after, get("charge_limit_kw") * after)
    late = np.where(waits, wanted, 0.0)
    lacking = lacking - late * np.where(late > 0, get("charge_efficiency"), 1 / get("discharge_efficiency"))
    suspect |= np.abs(lacking) > margin(target)
    tally.suspect[part.charger] |= suspect
    tally.late_kwh[part.charger] += late
    tally.own_cost[part.charger] += part.wear() * (np.abs(power_kw) @ part.horizon.hours + np.abs(late))
