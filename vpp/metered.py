"""Mean metered power on an equally spaced grid, from readings as they come out of the store, piece by piece.

A reading is the mean since the previous one of its device: it covers that stretch, if it is at most an hour; the first
reading, and the first after a longer silence, covers one step (at most a quarter of an hour).  An interval of which
less than half is covered counts as not measured.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from adapters.store.readings import PowerColumns
from models.intervals import FloatArray, IntervalGrid
from models.moments import microseconds

_HOUR_US = 3_600_000_000
_LONGEST_US = _HOUR_US
_FIRST_US = _HOUR_US // 4
NEVER = np.iinfo(np.int64).min // 4
"""Nothing has been heard yet, in microseconds."""


def since_the_one_before(
    piece: PowerColumns, last_us: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], FloatArray]:
    """Readings of a piece with the time of the one before of the same device: places, from, to, kW, (m,) each, in the
    order of device and time.

    ``last_us``, by place: the newest of earlier pieces, ``NEVER`` at first; brought up to date.  Powers that are not
    numbers say nothing.
    """
    good = np.isfinite(piece.power_kw)
    order = np.lexsort((piece.measured_us[good], piece.places[good]))
    places, ends, power = piece.places[good][order], piece.measured_us[good][order], piece.power_kw[good][order]
    is_first = np.ones(len(places), dtype=np.bool_)
    is_first[1:] = places[1:] != places[:-1]
    starts = np.where(is_first, last_us[places], np.roll(ends, 1))
    is_last = np.roll(is_first, -1)
    last_us[places[is_last]] = ends[is_last]
    return places, starts, ends, power


class MeteredGrid:
    """Energy and coverage of R resources on T equal intervals; ``add`` pieces in the order of time."""

    def __init__(self, resources: int, grid: IntervalGrid) -> None:
        self._step_us = round(float(grid.hours[0]) * _HOUR_US)
        self._origin_us = microseconds(grid.start)
        self._shape = resources, len(grid)
        self._energy, self._covered = np.zeros(self._shape), np.zeros(self._shape)  # kW x steps, steps
        self._last_us = np.full(resources, NEVER, dtype=np.int64)

    def add(self, piece: PowerColumns) -> None:
        """Take readings that are not older than those taken before; powers that are not numbers say nothing."""
        rows, before, ends, power = since_the_one_before(piece, self._last_us)
        if len(rows):
            starts = np.where(ends - before <= _LONGEST_US, before, ends - min(self._step_us, _FIRST_US))
            self._spread(rows, starts - self._origin_us, ends - self._origin_us, power)

    def _spread(
        self, rows: NDArray[np.int64], starts: NDArray[np.int64], ends: NDArray[np.int64], power: FloatArray
    ) -> None:
        step, count = self._step_us, self._shape[1]
        slots = starts // step
        longest = int((ends - starts).max() // step) + 2
        energy, covered = self._energy.reshape(-1), self._covered.reshape(-1)
        for ahead in range(longest):
            slot = slots + ahead
            share = np.minimum(ends, (slot + 1) * step) - np.maximum(starts, slot * step)
            keep = np.flatnonzero((share > 0) & (slot >= 0) & (slot < count))
            if not len(keep):
                continue
            place, part = rows[keep] * count + slot[keep], share[keep] / step
            np.add.at(energy, place, power[keep] * part)
            np.add.at(covered, place, part)

    def mean_kw(self) -> FloatArray:
        """Mean power, (R, T), NaN where nothing was measured."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self._covered >= 0.5, self._energy / self._covered, np.nan)


def metered_kw(pieces: Iterable[PowerColumns], resources: int, grid: IntervalGrid) -> FloatArray:
    """``MeteredGrid`` of all pieces, (R, T)."""
    made = MeteredGrid(resources, grid)
    for piece in pieces:
        made.add(piece)
    return made.mean_kw()
