"""What a car would have drawn anyway: b of real stays, computed at plug-in, blind to events (dispatch-model §5).

By the rule of the baseline table: the schedule that is cheapest at the tariff, the earlier interval first
among equals.  A forecast stay's b serves planning only; whoever is not plugged in has b = 0.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property, partial

import numpy as np

from models.dispatch.problem import TIE_BREAK_PER_KWH_H
from models.intervals import FloatArray, IntervalGrid
from models.resources import EvCharger
from models.telemetry import ChargingSession
from vpp.forecasting import PRICE_STEP
from vpp.state import LiveState

STEP = PRICE_STEP
STEP_H = STEP / timedelta(hours=1)
STEPS_A_DAY = timedelta(days=1) // STEP
FORGET_AFTER = timedelta(days=2)

StayPrice = Callable[[datetime, int], FloatArray]
"""Prices of so many five-minute steps from a moment on, (T,) CNY per kWh."""


@dataclass(frozen=True)
class JudgedStay:
    """One real stay and its b: (T,) kW in five-minute steps of the clock, the first of which holds the plug-in and the
    last the planned departure.

    No ``IntervalGrid``: after a restart thousands of stays are made at once, and a grid's times one by one would be
    most of the work.
    """

    session: ChargingSession
    start: datetime
    baseline_kw: FloatArray
    left_at: datetime | None = None

    @property
    def end(self) -> datetime:
        """End of the last step."""
        return self.start + STEP * len(self.baseline_kw)

    @cached_property
    def edges_h(self) -> FloatArray:
        """Hours from ``start`` to every edge, (T+1,)."""
        return _edges_h(len(self.baseline_kw))

    @cached_property
    def used_kwh(self) -> FloatArray:
        """Energy of b from plug-in to every edge, (T+1,)."""
        return np.concatenate([[0.0], np.cumsum(self.baseline_kw * STEP_H)])

    def there_h(self, until: datetime) -> FloatArray:
        """Hours of every step between plug-in and ``until``, (T,)."""
        return _overlap_h(self.start, len(self.baseline_kw), self.session.arrival, until)


def cheapest_charging(session: ChargingSession, charger: EvCharger, price: StayPrice) -> JudgedStay:
    """The cheapest way to charge what the car asked for, by filling the cheapest intervals first (exact for V1G).

    A stay that may feed back is judged like one that may not: its discharge for the price is *already
    helping* only where the car is known to do it by itself, and no car here does.
    """
    first = _floor(session.arrival)
    count = max(1, -(-(session.departure - first) // STEP))
    room_kwh = charger.charge_limit_kw * _overlap_h(first, count, session.arrival, session.departure)
    effective = price(first, count) + TIE_BREAK_PER_KWH_H * STEP_H * np.arange(count)
    cheapest_first = np.argsort(effective, kind="stable")
    filled_kwh = np.cumsum(room_kwh[cheapest_first])  # with every step up to this one full
    wanted_kwh = min(session.energy_needed_kwh / charger.charge_efficiency, float(filled_kwh[-1]))
    taken_kwh = np.zeros(count)
    taken_kwh[cheapest_first] = np.diff(np.minimum(filled_kwh, wanted_kwh), prepend=0.0)
    return JudgedStay(session, first, taken_kwh / STEP_H)


def _edges_h(count: int) -> FloatArray:
    return np.arange(count + 1, dtype=np.float64) * STEP_H


def _overlap_h(first: datetime, count: int, start: datetime, end: datetime) -> FloatArray:
    """Hours of each of ``count`` steps from ``first`` on that lie inside [start, end), (T,)."""
    edges_h = _edges_h(count)
    low_h, high_h = ((moment - first) / timedelta(hours=1) for moment in (start, end))
    return np.asarray(np.clip(np.minimum(edges_h[1:], high_h) - np.maximum(edges_h[:-1], low_h), 0.0, None))


def _floor(moment: datetime) -> datetime:
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + STEP * ((moment - midnight) // STEP)


class SessionBaselines:
    """b of the real stays at every charger, kept until it has been judged.

    ``price``: five-minute prices of a tariff on a UTC day, (288,) CNY per kWh.
    """

    def __init__(self, price: Callable[[str, date], FloatArray]) -> None:
        self._price = price
        self._stays: dict[str, list[JudgedStay]] = {}

    def plugged_in(self, charger: EvCharger, session: ChargingSession) -> bool:
        """Compute b of a new stay; False if it is known (a changed wish of the same stay changes nothing any more)."""
        stays = self._stays.setdefault(charger.resource_id, [])
        if any(stay.session.session_id == session.session_id for stay in stays):
            return False
        self.unplugged(charger.resource_id, session.arrival)  # one car at a time: who was there has left
        stays.append(cheapest_charging(session, charger, partial(self._prices_from, charger.tariff_id)))
        newest = max(stay.session.arrival for stay in stays)
        self._stays[charger.resource_id] = [stay for stay in stays if stay.session.departure > newest - FORGET_AFTER]
        return True

    def _prices_from(self, tariff_id: str, start: datetime, count: int) -> FloatArray:
        """Prices of ``count`` steps from ``start`` on, (T,)."""
        first_day = start.astimezone(UTC).date()
        midnight = datetime.combine(first_day, time(0), UTC)
        first = (start - midnight) // STEP
        days = -(-(first + count) // STEPS_A_DAY)
        prices = [self._price(tariff_id, first_day + ahead * timedelta(days=1)) for ahead in range(days)]
        return np.concatenate(prices)[first : first + count]

    def unplugged(self, resource_id: str, at: datetime) -> None:
        """The place is empty: from now on b is 0, although the stay may have been meant to be longer."""
        stays = self._stays.get(resource_id, [])
        for index, stay in enumerate(stays):
            if stay.session.arrival < at < stay.end and stay.left_at is None:
                there_h = stay.there_h(stay.session.departure)
                kept_h = np.minimum(stay.there_h(at), there_h)
                share = np.divide(kept_h, there_h, out=np.zeros(len(there_h)), where=there_h > 0)
                stays[index] = JudgedStay(stay.session, stay.start, stay.baseline_kw * share, at)

    def on(self, resource_id: str, grid: IntervalGrid) -> FloatArray:
        """Judged b of a charger on ``grid``, (T,), 0 where no car was or is."""
        total = np.zeros(len(grid))
        for stay in self._stays.get(resource_id, []):
            if stay.end > grid.start and stay.start < grid.end:
                begun_h = grid.hours_since_start(stay.start)
                used_kwh = np.interp(grid.offsets_h - begun_h, stay.edges_h, stay.used_kwh)
                total += np.diff(used_kwh) / grid.hours
        return total

    def at_once(self, charger: EvCharger, grid: IntervalGrid) -> FloatArray:
        """What the same stays would draw if every car charged at full power from plug-in on, (T,) kW."""
        total = np.zeros(len(grid))
        for stay in self._stays.get(charger.resource_id, []):
            energy_kwh = float(stay.used_kwh[-1])
            if charger.charge_limit_kw > 0 and energy_kwh > 0:
                full_h = energy_kwh / charger.charge_limit_kw
                end = stay.session.arrival + timedelta(hours=full_h)
                total += charger.charge_limit_kw * grid.overlap_h(stay.session.arrival, end) / grid.hours
        return total

    def overlay(
        self,
        baseline: Mapping[str, FloatArray],
        grid: IntervalGrid,
        state: LiveState,
        expected: Mapping[str, Sequence[ChargingSession]],
    ) -> dict[str, FloatArray]:
        """The planning baseline on ``grid`` with every charger's real stays in the place of forecast ones.

        Where a stay is expected later the table's b stays; where neither is, b is 0.
        """
        made = dict(baseline)
        for live in state:
            name = live.resource_id
            if not isinstance(live.record.resource, EvCharger) or name not in made:
                continue
            later = np.zeros(len(grid), dtype=bool)
            busy_until = live.session.departure if live.session is not None else grid.start
            for stay in expected.get(name, ()):
                if stay.arrival >= busy_until:
                    begin, end = grid.hours_since_start(stay.arrival), grid.hours_since_start(stay.departure)
                    first = int(np.searchsorted(grid.offsets_h[1:], begin, side="right"))
                    later[first : int(np.searchsorted(grid.offsets_h[:-1], end, side="left"))] = True
            made[name] = np.where(later, made[name], 0.0) + self.on(name, grid)
        return made
