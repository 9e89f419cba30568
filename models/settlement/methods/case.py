"""What a baseline may look at: one meter (or group of called customers), its past, and the day of the event."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError, InputFault
from models.intervals import FloatArray
from models.settlement.days import ClockDays
from models.settlement.methods.spec import Window

BoolArray = NDArray[np.bool_]
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class BaselineCase:
    """One event at one meter.

    ``history``: (1, D, S) kW on the clock of the market's zone, oldest day first; only days before ``day`` serve.
    ``day_kw``: (S,) what the meter showed on the day itself, NaN where it did not, all NaN if nothing is known yet;
    no method looks into the event.  The event lies within its clock day: ``start_h`` to ``end_h`` o'clock.
    ``temperature_celsius``: (1, D', S), with the event day (a forecast there, if the event is to come).
    ``control_kw``: (N, D'', S), customers who were not called, with the event day; NaN where they were called
    themselves.  ``called_customers``: how many meters ``history`` sums up.
    """

    history: ClockDays
    day: date
    start_h: float
    end_h: float
    day_kw: FloatArray
    holidays: AbstractSet[date] = frozenset()
    working_weekends: AbstractSet[date] = frozenset()
    event_days: AbstractSet[date] = frozenset()
    outage_days: AbstractSet[date] = frozenset()
    temperature_celsius: ClockDays | None = None
    control_kw: ClockDays | None = None
    called_customers: int = 1
    schedule_kw: FloatArray | None = None
    firm_kw: float | None = None

    def __post_init__(self) -> None:
        slots = self.slots
        faults = []
        if self.history.values.shape != (1, len(self.history.days), slots):
            faults.append(InputFault("baseline", "history", self.history.values.shape, f"must be (1, days, {slots})"))
        if list(self.history.days) != sorted(set(self.history.days)):
            faults.append(InputFault("baseline", "history.days", "", "must ascend"))
        for name, values in (("day_kw", self.day_kw), ("schedule_kw", self.schedule_kw)):
            if values is not None and values.shape != (slots,):
                faults.append(InputFault("baseline", name, values.shape, f"must be ({slots},)"))
        if not 0 <= self.start_h < self.end_h <= 24:
            value = (self.start_h, self.end_h)
            faults.append(InputFault("baseline", "start_h, end_h", value, "must lie within one clock day, in order"))
        for name, days in (("temperature_celsius", self.temperature_celsius), ("control_kw", self.control_kw)):
            if days is not None and days.step != self.history.step:
                faults.append(InputFault("baseline", name, str(days.step), "must have the step of the history"))
        if faults:
            raise InputError(faults)
        if not self.event.any():
            raise InputError([InputFault("baseline", "start_h, end_h", self.start_h, "must hold a whole clock slot")])

    @property
    def slots(self) -> int:
        """Clock slots of a day, S."""
        return timedelta(days=1) // self.history.step

    def between(self, from_h: float, to_h: float) -> BoolArray:
        """Slots that lie as a whole in clock hours [from_h, to_h), (S,)."""
        step_h = self.history.step / HOUR
        starts = np.arange(self.slots) * step_h
        return np.asarray((starts >= from_h - 1e-9) & (starts + step_h <= to_h + 1e-9))

    @cached_property
    def event(self) -> BoolArray:
        """Slots of the event, (S,)."""
        return self.between(self.start_h, self.end_h)

    def window(self, window: Window) -> BoolArray:
        """Slots of a window, (S,); what lies on the day before or after is left out."""
        origin_h = self.start_h if window.at == "start" else self.end_h
        return self.between(origin_h + window.from_h, origin_h + window.to_h)

    @cached_property
    def values(self) -> FloatArray:
        """The history of the one meter, (D, S)."""
        values: FloatArray = self.history.values[0]
        return values

    @cached_property
    def measured_share(self) -> FloatArray:
        """Which share of each day was measured, (D,)."""
        exists = self.history.exists()
        return np.asarray((np.isfinite(self.values) & exists).sum(axis=1) / exists.sum(axis=1))


def means(values: FloatArray, slots: BoolArray) -> FloatArray:
    """Mean of the known slots of each row, (D, S) to (D,); NaN where none is known."""
    chosen = values[:, slots]
    known = np.isfinite(chosen)
    count = known.sum(axis=1)
    total = np.where(known, chosen, 0.0).sum(axis=1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))
