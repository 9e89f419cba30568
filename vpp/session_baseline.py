"""What a car would have drawn anyway: b of real stays, computed at plug-in, blind to events (dispatch-model §5).

By the rule of the baseline table: the schedule that is cheapest at the tariff, the earlier interval first
among equals.  A forecast stay's b serves planning only; whoever is not plugged in has b = 0.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

import numpy as np

from models.dispatch.problem import TIE_BREAK_PER_KWH_H
from models.intervals import FloatArray, IntervalGrid
from models.resources import EvCharger
from models.telemetry import ChargingSession
from vpp.state import LiveState

STEP = timedelta(minutes=5)
FORGET_AFTER = timedelta(days=2)


@dataclass(frozen=True)
class JudgedStay:
    """One real stay and its b: (T,) kW on a grid of five-minute steps from plug-in to planned departure."""

    session: ChargingSession
    grid: IntervalGrid
    baseline_kw: FloatArray
    left_at: datetime | None = None

    @cached_property
    def used_kwh(self) -> FloatArray:
        """Energy of b from plug-in to every edge of the grid, (T+1,)."""
        return np.concatenate([[0.0], np.cumsum(self.baseline_kw * self.grid.hours)])


def cheapest_charging(
    session: ChargingSession, charger: EvCharger, price: Callable[[IntervalGrid], FloatArray]
) -> JudgedStay:
    """The cheapest way to charge what the car asked for, by filling the cheapest intervals first (exact for V1G).

    A stay that may feed back is judged like one that may not: its discharge for the price is *already
    helping* only where the car is known to do it by itself, and no car here does.
    """
    first = _floor(session.arrival)
    count = max(1, -(-(session.departure - first) // STEP))
    grid = IntervalGrid.regular(first, STEP, count)
    room_kwh = charger.charge_limit_kw * grid.overlap_h(session.arrival, session.departure)
    effective = price(grid) + TIE_BREAK_PER_KWH_H * grid.tau_h
    wanted_kwh = min(session.energy_needed_kwh / charger.charge_efficiency, float(room_kwh.sum()))
    taken_kwh = np.zeros(count)
    for t in np.argsort(effective, kind="stable"):
        taken_kwh[t] = min(room_kwh[t], wanted_kwh)
        wanted_kwh -= taken_kwh[t]
        if wanted_kwh <= 0:
            break
    return JudgedStay(session, grid, taken_kwh / grid.hours)


def _floor(moment: datetime) -> datetime:
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + STEP * ((moment - midnight) // STEP)


class SessionBaselines:
    """b of the real stays at every charger, kept until it has been judged."""

    def __init__(self, price: Callable[[str, IntervalGrid], FloatArray]) -> None:
        self._price = price
        self._stays: dict[str, list[JudgedStay]] = {}

    def plugged_in(self, charger: EvCharger, session: ChargingSession) -> bool:
        """Compute b of a new stay; False if it is known (a changed wish of the same stay changes nothing any more)."""
        stays = self._stays.setdefault(charger.resource_id, [])
        if any(stay.session.session_id == session.session_id for stay in stays):
            return False
        self.unplugged(charger.resource_id, session.arrival)  # one car at a time: who was there has left
        stays.append(cheapest_charging(session, charger, lambda grid: self._price(charger.tariff_id, grid)))
        newest = max(stay.session.arrival for stay in stays)
        self._stays[charger.resource_id] = [stay for stay in stays if stay.session.departure > newest - FORGET_AFTER]
        return True

    def unplugged(self, resource_id: str, at: datetime) -> None:
        """The place is empty: from now on b is 0, although the stay may have been meant to be longer."""
        stays = self._stays.get(resource_id, [])
        for index, stay in enumerate(stays):
            if stay.session.arrival < at < stay.grid.end and stay.left_at is None:
                there_h = stay.grid.overlap_h(stay.session.arrival, stay.session.departure)
                kept_h = np.minimum(stay.grid.overlap_h(stay.session.arrival, at), there_h)
                share = np.divide(kept_h, there_h, out=np.zeros(len(stay.grid)), where=there_h > 0)
                stays[index] = JudgedStay(stay.session, stay.grid, stay.baseline_kw * share, at)

    def on(self, resource_id: str, grid: IntervalGrid) -> FloatArray:
        """Judged b of a charger on ``grid``, (T,), 0 where no car was or is."""
        total = np.zeros(len(grid))
        for stay in self._stays.get(resource_id, []):
            if stay.grid.end > grid.start and stay.grid.start < grid.end:
                begun_h = (stay.grid.start - grid.start).total_seconds() / 3600
                used_kwh = np.interp(grid.offsets_h - begun_h, stay.grid.offsets_h, stay.used_kwh)
                total += np.diff(used_kwh) / grid.hours
        return total

    def at_once(self, charger: EvCharger, grid: IntervalGrid) -> FloatArray:
        """What the same stays would draw if every car charged at full power from plug-in on, (T,) kW."""
        total = np.zeros(len(grid))
        for stay in self._stays.get(charger.resource_id, []):
            energy_kwh = float(stay.baseline_kw @ stay.grid.hours)
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
