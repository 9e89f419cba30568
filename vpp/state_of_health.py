"""How much batteries hold of what their nameplates say, learned from their readings: their state of health.

A battery tells a level: its state of charge times its nameplate.  Aged cells hold less than that, so the level falls
faster than energy flows out, and a plan that believes it counts on energy that is not there when it is needed most.

    E  =  p⁺ η⁺ h  or  p⁻ h / η⁻      what one reading says has flowed into or out of the cells, kWh
    L                                 by how much the level has moved the same way, kWh told
    s  =  Σ E / Σ L                   share of the nameplate that is there, newest full cycle first

Everything in a dispatch problem is real energy: levels and limits of level times s.  Who has moved less than
``LEAST_SHARE`` of his nameplate yet is taken for the middle one of those who have.

Gauges drift as well, and are set right only when a battery is full or empty: nothing is promised of the last
twentieth above the registered floor (``HeardColumns.floor_kwh``; a reservoir has a gauge of its own).  Without that a
fleet is found empty in the last minutes of an hour.
"""

from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from models.intervals import FloatArray
from models.moments import microseconds
from vpp.heard import NEVER_US, HeardColumns

LEAST_SHARE = 0.05
"""A battery that has moved so much of its nameplate is known by itself."""
LOWEST, HIGHEST = 0.5, 1.05
"""What is learned beyond these says more of a meter than of its battery."""
LEAST_POWER_SHARE = 0.1
"""What flows below this share of its largest power may be no more than what leaks away meanwhile."""
LONGEST_US = round(20 * 60 * 1e6)
"""Between readings further apart than this, one mean power says too little of the way."""
JUMP_SHARE = 0.005
"""Beyond twice what has flowed, a level may move by this share of the nameplate: more is a gauge set right."""


class StateOfHealth:
    """What is known of every battery; the sums stand by row in ``HeardColumns``: Σ E in ``flowed_kwh``, Σ L in
    ``told_kwh``, forgotten with every kWh that flows after them.
    """

    def __init__(self, columns: HeardColumns) -> None:
        self._columns = columns

    def hear(
        self, rows: NDArray[np.int64], measured_us: NDArray[np.int64], power_kw: FloatArray, level_kwh: FloatArray
    ) -> None:
        """Take note of new readings, at most one of each row, before they stand in the columns."""
        heard = self._columns
        store = heard.is_storage[rows]
        if not store.any():
            return
        rows, measured_us = rows[store], measured_us[store]
        power_kw, level_kwh = power_kw[store], level_kwh[store]
        before_us = heard.measured_us[rows]
        passed_us = np.where(before_us == NEVER_US, 0, measured_us - np.maximum(before_us, NEVER_US // 2))
        into_kw = self._into_kw(rows, power_kw)
        flowed = np.abs(into_kw) * (passed_us / 3.6e9)
        told = (level_kwh - heard.energy_kwh[rows]) * np.sign(into_kw)
        size = heard.span_kwh[rows]
        follows = np.abs(told - flowed) <= flowed + JUMP_SHARE * size
        flows = np.abs(power_kw) >= LEAST_POWER_SHARE * heard.connected_kw[rows]
        behaves = (heard.misconduct[rows] == 0) & (told != 0)  # a level that stands still while power flows is frozen
        counts = (passed_us > 0) & (passed_us <= LONGEST_US) & (size > 0) & flows & follows & behaves
        rows, flowed, told, size = rows[counts], flowed[counts], told[counts], size[counts]
        left = np.exp(-flowed / size)
        heard.flowed_kwh[rows] = left * heard.flowed_kwh[rows] + flowed
        heard.told_kwh[rows] = left * heard.told_kwh[rows] + told

    def share(self, rows: NDArray[np.int64]) -> FloatArray:
        """Share of the nameplate that each of ``rows`` holds, (n,); 1 where nobody knows, and of what is no battery."""
        known, store = self.is_known(rows), self._columns.is_storage[rows]
        found = np.ones(len(rows))
        found[known] = self._own(rows[known])
        if (store & ~known).any():
            everyone = np.flatnonzero(self._columns.is_storage)
            others = everyone[self.is_known(everyone)]
            found[store & ~known] = np.median(self._own(others)) if len(others) else 1.0
        return found

    def stored_kwh(self, rows: NDArray[np.int64], now: datetime) -> FloatArray:
        """What is really in storage now, kWh: what the newest reading said, moved on by what was ordered (or else
        measured) since.

        A reading that is one cycle late would promise a battery near its floor five minutes more than it has.
        """
        heard, now_us, share = self._columns, microseconds(now), self.share(rows)
        age_us = np.clip(now_us - np.maximum(heard.measured_us[rows], NEVER_US // 2), 0, heard.ttl_us[rows])
        ordered = (heard.ordered_until_us[rows] >= now_us) & ~np.isnan(heard.ordered_kw[rows])
        into_kw = self._into_kw(rows, np.where(ordered, heard.ordered_kw[rows], heard.power_kw[rows]))
        told_kwh = share * heard.energy_kwh[rows]
        low_kwh, high_kwh = share * heard.energy_min_kwh[rows], share * heard.energy_max_kwh[rows]
        moved_kwh = np.clip(
            told_kwh + into_kw * (age_us / 3.6e9), np.minimum(low_kwh, told_kwh), np.maximum(high_kwh, told_kwh)
        )
        return np.where(age_us > 0, moved_kwh, told_kwh)

    def is_known(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """True where a battery has moved enough to be known by itself, (n,)."""
        heard = self._columns
        enough = heard.flowed_kwh[rows] >= LEAST_SHARE * heard.span_kwh[rows]
        return np.asarray(enough & (heard.told_kwh[rows] > 0) & (heard.flowed_kwh[rows] > 0))

    def _own(self, rows: NDArray[np.int64]) -> FloatArray:
        return np.clip(self._columns.flowed_kwh[rows] / self._columns.told_kwh[rows], LOWEST, HIGHEST)

    def _into_kw(self, rows: NDArray[np.int64], power_kw: FloatArray) -> FloatArray:
        """What goes into the cells at this power, by registered efficiencies; negative where it comes out of them."""
        heard = self._columns
        charged = power_kw * heard.charge_efficiency[rows]
        return np.where(power_kw > 0, charged, power_kw / heard.discharge_efficiency[rows])
