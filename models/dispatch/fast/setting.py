"""The setting of a problem: what the oracles of all kinds need to know about its horizon, as arrays."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.dispatch.problem import TIE_BREAK_PER_KWH_H, DispatchProblem, ResourceState
from models.dispatch.states import StateColumns
from models.fleet import numbered
from models.intervals import FloatArray, IntervalGrid

IndexArray = NDArray[np.int64]


@dataclass(frozen=True)
class Setting:
    """T intervals, K tariffs, P profiles.

    ``hours``: (T,).  ``edges_h``: (T + 1,) hours since the horizon's start.  ``tariffs``: (K, T) CNY per kWh,
    ``tariff_mean``: (K,) time-weighted, the price of virtual slots.  ``profiles``: (P, T) per unit. ``first_issue_h``:
    T0, the earliest ``issued_at`` of the events in hours since the start, 0 if none is given.
    """

    grid: IntervalGrid
    hours: FloatArray
    edges_h: FloatArray
    tariffs: FloatArray
    tariff_mean: FloatArray
    tariff_row: Mapping[str, int]
    profiles: FloatArray
    profile_row: Mapping[str, int]
    run_profiles: Mapping[str, FloatArray]
    first_issue_h: float
    states: Mapping[str, ResourceState]

    @classmethod
    def of(cls, problem: DispatchProblem) -> "Setting":
        """The setting of a problem."""
        grid = problem.grid
        hours = np.ascontiguousarray(grid.hours, dtype=np.float64)
        tariffs, profiles = _matrix(problem.tariffs, len(grid)), _matrix(problem.profiles, len(grid))
        issued = [event.issued_at for event in problem.events if event.issued_at is not None]
        return cls(
            grid=grid,
            hours=hours,
            edges_h=np.ascontiguousarray(grid.offsets_h, dtype=np.float64),
            tariffs=tariffs,
            tariff_mean=tariffs @ hours / hours.sum(),
            tariff_row={name: row for row, name in enumerate(problem.tariffs)},
            profiles=profiles,
            profile_row={name: row for row, name in enumerate(problem.profiles)},
            run_profiles=problem.run_profiles,
            first_issue_h=min((grid.hours_since_start(moment) for moment in issued), default=0.0),
            states=problem.states,
        )

    @property
    def tie_break(self) -> FloatArray:
        """What the baseline problem adds to every price, (T,), CNY per kWh."""
        return TIE_BREAK_PER_KWH_H * self.edges_h[:-1]

    @property
    def tie_break_at_end(self) -> float:
        """The same at the horizon's end, for virtual slots."""
        return TIE_BREAK_PER_KWH_H * float(self.edges_h[-1])

    def hours_since_start(self, moments: NDArray[np.datetime64]) -> FloatArray:
        """Hours since the horizon's start of UTC moments (n,) as the portfolio's columns hold them."""
        start = np.datetime64(self.grid.start.astimezone(UTC).replace(tzinfo=None), "us")
        return np.asarray((moments - start) / np.timedelta64(1, "us")) / 1e6 / 3600

    def state_of(self, names: NDArray[Any]) -> StateColumns:
        """What is known about resources at the horizon's start, (n,) each."""
        return StateColumns.of(self.states, names)


def rows_in(index: Mapping[str, int], names: NDArray[Any]) -> IndexArray:
    """Row of every name (n,) in an index, −1 for the empty name; KeyError for one that is not in it."""
    number, values = numbered(names)
    return np.array([index[name] if name else -1 for name in values], dtype=np.int64)[number]


def _matrix(series: Mapping[str, FloatArray], count: int) -> FloatArray:
    stacked = np.array(list(series.values()), dtype=np.float64)
    return np.ascontiguousarray(stacked.reshape(len(series), count))
