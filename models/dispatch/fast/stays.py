"""Chargers with several stays: whose car took what, when only the charger's power is known.

A charger's power is the sum of its stays, which share no more than the interval in which one car leaves and the next
one comes.  There the one that leaves takes what it still lacks, and the rest is the next one's (as in the reference
and in the checker).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from models.dispatch.fast.pricing.jit import jit
from models.dispatch.fast.setting import IndexArray
from models.dispatch.fast.shards import Block
from models.intervals import FloatArray
from models.resources import ResourceKind


class Stays(NamedTuple):
    """n stays at chargers that have several, by charger and arrival, (n,) each; fields as in ``ChargingArrays``.

    ``resource``: row of the charger in the fleet, rising.
    """

    resource: IndexArray
    stored: FloatArray
    taken: FloatArray
    first: IndexArray
    stop: IndexArray
    start: FloatArray
    target: FloatArray
    hours: FloatArray

    @classmethod
    def of(cls, blocks: Sequence[Block]) -> "Stays":
        """The stays of all blocks that are not alone at their charger: cars of both kinds may come to one."""
        parts = [
            (block.units, block.members.resource, np.flatnonzero(~block.members.alone))
            for block in blocks
            if block.pricer.kind is ResourceKind.EV_SESSION
        ]
        if not parts:
            nothing, nobody = np.empty(0), np.empty(0, dtype=np.int64)
            return cls(nobody, nothing, nothing, nobody, nobody, nothing, nothing, nothing)
        resource = np.concatenate([names[rows] for _, names, rows in parts])
        order = np.lexsort((np.concatenate([units.arrive_h[rows] for units, _, rows in parts]), resource))

        def of(name: str) -> Any:
            return np.concatenate([getattr(units, name)[rows] for units, _, rows in parts])[order]

        return cls(
            resource[order],
            of("stored"),
            of("taken"),
            of("first"),
            of("stop"),
            of("start"),
            of("target"),
            parts[0][0].hours,
        )

    def warm_up(self) -> None:
        """Compile what shows them."""
        _show(self, 0, 0, 0, np.empty((0, len(self.hours))), np.empty((0, len(self.hours))))

    def show(self, first: int, last: int, power_kw: FloatArray, energy_kwh: FloatArray) -> None:
        """Write into ``energy_kwh`` (n, T) what the cars at chargers first to last have got at ``power_kw`` (n, T)."""
        low, high = np.searchsorted(self.resource, [first, last])
        if high > low:
            _show(self, int(low), int(high), first, np.ascontiguousarray(power_kw), energy_kwh)


@jit
def _show(stays: Stays, low: int, high: int, origin: int, power_kw: FloatArray, energy_kwh: FloatArray) -> None:
    left = np.empty(power_kw.shape[1])
    for k in range(low, high):
        row = stays.resource[k] - origin
        if k == low or stays.resource[k] != stays.resource[k - 1]:
            left[:] = power_kw[row]
        level = stays.start[k]
        for t in range(stays.first[k], stays.stop[k]):
            power = left[t]
            if t == stays.stop[k] - 1 and _next_is_here(stays, k, high, t):
                lacking = stays.target[k] - level
                power = lacking / (stays.stored[k] if lacking > 0 else stays.taken[k]) / stays.hours[t]
            left[t] -= power
            level += stays.hours[t] * power * (stays.stored[k] if power > 0 else stays.taken[k])
            energy_kwh[row, t] = level


@jit
def _next_is_here(stays: Stays, k: int, high: int, t: int) -> bool:
    """Whether a later car of stay k's charger is plugged in during t too."""
    for later in range(k + 1, high):
        if stays.resource[later] != stays.resource[k]:
            return False
        if stays.first[later] <= t < stays.stop[later]:
            return True
    return False
