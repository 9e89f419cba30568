"""Days on the local clock: measured days of 23, 24 and 25 hours laid side by side, and put back on a grid.

A *clock day* has S = 24 h / step slots, slot s being the clock time s·step in the market's zone.  On the day
the clock goes forward the skipped slots are NaN; on the day it goes back a repeated slot holds the mean of
both passes.
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError, InputFault
from models.intervals import FloatArray, IntervalGrid

DAY = timedelta(days=1)


class DayClass(StrEnum):
    """Which days are like each other."""

    WEEKDAY = "weekday"
    WEEKEND = "weekend"


def day_class(day: date, holidays: Container[date], working_weekends: Container[date] = ()) -> DayClass:
    """Weekday or weekend; holidays count as weekend, make-up working days (China) as weekdays."""
    if day in working_weekends:
        return DayClass.WEEKDAY
    return DayClass.WEEKEND if day.weekday() >= 5 or day in holidays else DayClass.WEEKDAY


def slots_of(starts: Iterable[datetime], zone: ZoneInfo, step: timedelta) -> tuple[list[date], NDArray[np.int64]]:
    """Local day and clock slot of every start; each must lie on a whole slot."""
    days, slots = [], []
    for start in starts:
        local = start.astimezone(zone)
        clock = timedelta(hours=local.hour, minutes=local.minute, seconds=local.second)
        slot, off = divmod(clock, step)
        if off or DAY % step:
            rule = f"must lie on whole clock steps of {step} that divide the day"
            raise InputError([InputFault("grid", "interval_start", local.isoformat(), rule)])
        days.append(local.date())
        slots.append(slot)
    return days, np.array(slots, dtype=np.int64)


@dataclass(frozen=True)
class ClockDays:
    """``values``: (R, D, S) mean kW of R resources on D days, oldest first, S clock slots; NaN where not measured."""

    days: tuple[date, ...]
    values: FloatArray
    step: timedelta
    zone: ZoneInfo

    @classmethod
    def from_grid(cls, grid: IntervalGrid, values: FloatArray, zone: ZoneInfo, step: timedelta) -> "ClockDays":
        """Days from ``values`` (R, T) on a grid of equal ``step``."""
        days, slots = slots_of(grid.starts, zone, step)
        if not np.allclose(grid.hours, step / timedelta(hours=1)):
            raise InputError([InputFault("grid", "step", str(step), "all intervals must have this length")])
        present = sorted(set(days))
        place = {day: index for index, day in enumerate(present)}
        index = np.array([place[day] for day in days])
        shape = (values.shape[0], len(present), DAY // step)
        known = np.isfinite(values)
        sums, counts = np.zeros(shape), np.zeros(shape)
        everyone = np.arange(values.shape[0])[:, None]
        np.add.at(sums, (everyone, index[None, :], slots[None, :]), np.where(known, values, 0.0))
        np.add.at(counts, (everyone, index[None, :], slots[None, :]), known.astype(float))
        with np.errstate(invalid="ignore"):
            means = np.where(counts > 0, sums / counts, np.nan)
        return cls(tuple(present), means, step, zone)

    def exists(self) -> NDArray[np.bool_]:
        """Which slots the clock really passed on each day, (D, S): false in the hour that spring skips."""
        found = np.ones((len(self.days), DAY // self.step), dtype=np.bool_)
        for row, day in enumerate(self.days):
            midnight = datetime(day.year, day.month, day.day, tzinfo=self.zone)
            if midnight.utcoffset() == (midnight + DAY).utcoffset():
                continue
            for slot in range(found.shape[1]):
                local = midnight + slot * self.step
                found[row, slot] = local.astimezone(UTC).astimezone(self.zone).replace(fold=0) == local
        return found

    def on_grid(self, profile: FloatArray, grid: IntervalGrid) -> FloatArray:
        """A clock profile (R, S) on ``grid``, (R, T): each interval takes the slot its start lies in.

        Skipped clock time has no interval; repeated clock time takes the same slot twice.
        """
        return clock_profile_on(profile, grid, self.zone, self.step)


def clock_profile_on(profile: FloatArray, grid: IntervalGrid, zone: ZoneInfo, step: timedelta) -> FloatArray:
    """A clock profile (…, S) on any grid (…, T): time-weighted mean of the slots that an interval touches."""
    count = profile.shape[-1]
    if count * step != DAY:
        raise InputError([InputFault("profile", "slots", count, f"must be {DAY // step} slots of {step}")])
    out = np.empty((*profile.shape[:-1], len(grid)))
    for index, (start, end) in enumerate(zip(grid.starts, grid.ends, strict=True)):
        local = start.astimezone(zone)
        clock = timedelta(hours=local.hour, minutes=local.minute, seconds=local.second)
        total, position = np.zeros(profile.shape[:-1]), clock
        remaining = end - start
        while remaining > timedelta(0):
            slot = position // step
            inside = min((slot + 1) * step - position, remaining)
            total = total + profile[..., slot % count] * (inside / (end - start))
            position, remaining = position + inside, remaining - inside
        out[..., index] = total
    return out


def mean_known(values: FloatArray, weights: FloatArray, axis: int) -> FloatArray:
    """Weighted mean over ``axis`` of what is not NaN; NaN where nothing is known."""
    known = np.isfinite(values) & (weights > 0)
    total = np.where(known, weights, 0.0).sum(axis=axis)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (np.where(known, values, 0.0) * np.where(known, weights, 0.0)).sum(axis=axis) / total
    return np.asarray(np.where(total > 0, mean, np.nan))
