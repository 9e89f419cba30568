"""What every row of the fleet's tables can do in one interval, as columns, and what a kind must answer for that.

N rows of all tables, kind after kind: one per device, of a charger one per stay.  T intervals.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.dispatch.fast.coupling import Attributes, Classes
from models.dispatch.fast.setting import IndexArray, Setting, rows_in
from models.dispatch.states import StateColumns
from models.fleet import Column
from models.intervals import FloatArray

BoolArray = NDArray[np.bool_]

_UNUSED = ("resource_id", "aggregator_id", "zone_id", "meter_id", "pillar", "session_id", "is_test")
"""Columns that no rule looks at: what they say is in ``resource`` and ``attributes``."""


@dataclass(frozen=True)
class Offers:
    """One interval, (N,) each, kW and never negative but for ``base_kw``.

    ``base_kw``: net power if nobody asks for anything.  ``down_kw``: by how much it may draw less than that and hold it
    as long as it is asked for; what is asked of it is nothing, or ``down_least_kw`` at least.  ``up_kw``,
    ``up_least_kw``: the same for drawing more.
    """

    base_kw: FloatArray
    down_kw: FloatArray
    down_least_kw: FloatArray
    up_kw: FloatArray
    up_least_kw: FloatArray

    @classmethod
    def none(cls, count: int) -> "Offers":
        """Nobody moves."""
        return cls(*(np.zeros(count) for _ in range(5)))

    def part(self, rows: slice) -> "Offers":
        """Views of the columns of some rows."""
        return Offers(
            self.base_kw[rows],
            self.down_kw[rows],
            self.down_least_kw[rows],
            self.up_kw[rows],
            self.up_least_kw[rows],
        )


@dataclass(frozen=True)
class Ask:
    """One interval, and how long whoever moves in it must be able to hold that.

    ``begin_h``, ``end_h``, ``hours``: the interval, hours since the horizon's start.  ``till_h``: (n,) end of the
    events that contain each row, else the interval's.  ``in_event``: (n,).  ``wanted_kw``: (n,) what its resource would
    do if nobody asked: its baseline, or the plan that it follows.
    """

    t: int
    begin_h: float
    end_h: float
    till_h: FloatArray
    in_event: BoolArray
    wanted_kw: FloatArray

    @property
    def hours(self) -> float:
        return self.end_h - self.begin_h

    @property
    def hold_h(self) -> FloatArray:
        """From the interval's start, (n,)."""
        return self.till_h - self.begin_h


@dataclass(frozen=True)
class Table:
    """A kind's table as its rule sees it: columns as admitted, (n,) each, and what is known of the rows at the start.

    ``resource``: row of each in ``fleet.resource_ids``.  ``attributes``: rows of zone, aggregator, pillar.
    ``wanted_kw``: (R, T) what every resource would do if nobody asked.
    """

    columns: Mapping[str, Column]
    states: StateColumns
    resource: IndexArray
    attributes: Attributes
    setting: Setting
    wanted_kw: FloatArray

    def __len__(self) -> int:
        return len(self.resource)

    def chosen(self, rows: BoolArray | IndexArray) -> "Table":
        """Some rows only."""
        index: IndexArray = np.arange(len(self))[rows]
        columns = {name: column[index] for name, column in self.columns.items() if name not in _UNUSED}
        zone, aggregator, pillar = (each[index] for each in self.attributes)
        where = self.resource[index]
        states = self.states.rows(index)
        return Table(columns, states, where, (zone, aggregator, pillar), self.setting, self.wanted_kw)

    def of(self, name: str) -> FloatArray:
        """A column of numbers."""
        return np.asarray(self.columns[name], dtype=np.float64)

    def known(self, name: str, otherwise: FloatArray | float) -> FloatArray:
        """A number of the states where it is known."""
        values = getattr(self.states, name)
        return np.where(np.isnan(values), otherwise, values)

    def class_of(self, classes: Classes) -> IndexArray:
        """Price class of every row."""
        return np.asarray(classes.class_of[self.attributes])

    def profile(self, name: str) -> IndexArray:
        """Row of each one's profile in ``setting.profiles``."""
        return rows_in(self.setting.profile_row, self.columns[name])

    def price(self, t: int) -> FloatArray:
        """Tariff in an interval, CNY per kWh."""
        return np.asarray(self.setting.tariffs[rows_in(self.setting.tariff_row, self.columns["tariff_id"]), t])


class Rule(Protocol):
    """One kind of device through the horizon: asked and told interval by interval, in order."""

    table: Table

    def cost(self, t: int) -> tuple[FloatArray, FloatArray]:
        """CNY per kWh of drawing less and of drawing more, (n,), about interval t: what merit is judged by."""

    def offer(self, ask: Ask, offers: Offers) -> None:
        """Write into ``offers`` what each row may do in the interval."""

    def take(self, ask: Ask, power_kw: FloatArray) -> None:
        """Remember what each row does in it."""

    def energy_kwh(self) -> FloatArray:
        """Level of each row now as plans show it, NaN where they show none."""


def limited(values: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    """``values`` within limits; where rounding has crossed them, the lower one."""
    return np.maximum(np.minimum(values, high), low)
