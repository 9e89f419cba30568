"""The level of weather-driven loads as the day goes: what tomorrow's forecast could not know of today's heat.

    day-ahead        C* forecast, ±3 %          baseline table, frozen          factor 1
    every full hour  city's meters so far,      the line of (V1), frozen        factor f(C now) / f(C*)
                     forecast of the rest

The rows of air-conditioning in the day's table count so many times from that hour on; planning, feedback and judgement
take the same.  Nothing of it looks at any participant's meter.  Lines and steps are in the store: whoever judges the
day again finds the same.  A feed that does not know the city's meters leaves the table as it is.
"""

import asyncio
from bisect import bisect_right
from dataclasses import replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import structlog

from adapters.store.store import Store
from models.errors import InputError, StoreError
from models.intervals import FloatArray, IntervalGrid
from models.plan import DispatchPlan
from models.records import BaselineTable, LevelStep
from models.resources import ThermalLoad
from models.settlement.level import LevelLine
from vpp.forecasting import CityFeed
from vpp.state import LiveState

log = structlog.get_logger(__name__)

DAY = timedelta(days=1)
EVERY = timedelta(hours=1)


class DayLevels:
    """Lines and steps of the days that are carried out, and tables as they count."""

    def __init__(self, *, store: Store, state: LiveState, feed: CityFeed, zone: ZoneInfo) -> None:
        self._store = store
        self._state = state
        self._feed = feed
        self._zone = zone
        self._lines: dict[date, LevelLine] = {}
        self._steps: dict[date, list[LevelStep]] = {}
        self._applied: dict[date, tuple[BaselineTable, int, BaselineTable]] = {}

    def note(self, market_day: date, line: LevelLine) -> None:
        """A day's table is being made, and follows that line; ``StoreError`` if it cannot be kept."""
        self._store.save_level_line(market_day, line)
        self.restore(market_day)

    def restore(self, market_day: date) -> None:
        """Take up what the store knows of a day."""
        line = self._store.level_line(market_day)
        if line is not None:
            self._lines[market_day] = line
            self._steps[market_day] = self._store.levels(market_day)

    async def update(self, start: datetime) -> None:
        """Make the step of the hour in which the cycle of ``start`` begins, if it is there to be made."""
        local = start.astimezone(self._zone)
        day, hour = local.date(), local.replace(minute=0, second=0, microsecond=0)
        line, steps = self._lines.get(day), self._steps.get(day, [])
        if line is None or local != hour or (steps and steps[-1].valid_from >= start):
            return
        try:
            city_kw = self._city_kw(start)
            if city_kw is None:
                return
            step = LevelStep(start, line.correction(city_kw), city_kw)
            await asyncio.to_thread(self._store.save_level, day, step)
        except (InputError, StoreError) as error:
            log.warning("the level of the day stays as it was", market_day=str(day), error=str(error))
            return
        self._steps[day] = [*steps, step]

    def applied(self, table: BaselineTable) -> BaselineTable:
        """The table as it counts: weather-driven rows times what was known of the day in each interval."""
        steps = self._steps.get(table.market_day, [])
        if not steps:
            return table
        known = self._applied.get(table.market_day)
        if known is None or known[0] is not table or known[1] != len(steps):
            counts = replace(table, baseline_kw=table.baseline_kw * self._factors(table))
            known = self._applied[table.market_day] = table, len(steps), counts
        return known[2]

    def moved(self, plan: DispatchPlan, table: BaselineTable) -> FloatArray:
        """The day plan's power, (R, T), with what its baseline has moved by since."""
        if plan.resource_ids != table.resource_ids or plan.grid != table.grid:
            return plan.power_kw
        shift_kw = self.applied(table).baseline_kw - table.baseline_kw
        return np.where(shift_kw < 0, np.maximum(plan.power_kw + shift_kw, 0.0), plan.power_kw + shift_kw)

    def _factors(self, table: BaselineTable) -> FloatArray:
        """(R, T): 1 for everybody whom the weather does not drive, and before the first step."""
        lives = map(self._state.get, table.resource_ids)
        driven = np.array([live is not None and isinstance(live.record.resource, ThermalLoad) for live in lives])
        steps = self._steps[table.market_day]
        began = [step.valid_from for step in steps]
        known = [bisect_right(began, start) for start in table.grid.starts]
        factors = np.array([1.0, *(step.factor for step in steps)])[known]
        return np.where(driven[:, None], factors[None, :], 1.0)

    def _city_kw(self, now: datetime) -> float | None:
        """Mean load of the city over the local day of ``now``: measured so far, forecast from here on."""
        midnight = now.astimezone(self._zone).replace(hour=0, minute=0, second=0, microsecond=0)
        following = (midnight + DAY).astimezone(now.tzinfo)
        rest = IntervalGrid((now, following))
        energy_kwh = float(self._feed.forecast(now, rest).load_kw.sum()) * float(rest.hours[0])
        hours = float(rest.hours[0])
        if now > midnight:
            past = IntervalGrid((midnight.astimezone(now.tzinfo), now))
            measured = self._feed.measured(now, past)
            if measured is None:
                return None
            energy_kwh += float(measured[0]) * float(past.hours[0])
            hours += float(past.hours[0])
        return energy_kwh / hours
