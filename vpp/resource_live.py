"""One registered resource as last heard of: a view of its row in the columns, and what only few kinds remember."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import exp, expm1
from typing import Any

import numpy as np

from models.conduct import Misconduct
from models.dispatch.problem import ResourceState
from models.moments import microseconds, moment_of
from models.records import RegisteredResourceRecord
from models.resources import (
    CurtailableLoad,
    EvCharger,
    InterruptibleLoad,
    ResourceKind,
    Storage,
    ThermalLoad,
)
from models.telemetry import ChargingSession, Reading
from vpp.heard import NEVER_US, HeardColumns
from vpp.process_work import ProcessWork
from vpp.state_of_health import StateOfHealth

HISTORY_KEPT = timedelta(hours=24)
"""How long curtailed pieces are remembered: longer than any rebound or rest that a table may ask for in a
day."""


@dataclass(frozen=True, slots=True)
class CurtailedPiece:
    """``power_kw`` less than the baseline from ``start`` to ``end``, ordered by us and taken by the device.

    ``depth_fraction`` is ``power_kw`` over the most that could have been given up: full hours count by it.
    """

    start: datetime
    end: datetime
    power_kw: float
    depth_fraction: float

    @property
    def hours(self) -> float:
        """Length of the piece in hours."""
        return (self.end - self.start).total_seconds() / 3600

    def between(self, start: datetime | None, end: datetime | None) -> "CurtailedPiece":
        """The part of the piece after ``start`` and before ``end``."""
        first = self.start if start is None else max(self.start, start)
        last = self.end if end is None else min(self.end, end)
        return CurtailedPiece(first, last, self.power_kw, self.depth_fraction)


def _touch(before: CurtailedPiece | None, after: CurtailedPiece) -> bool:
    return before is not None and abs((after.start - before.end).total_seconds()) < 1


def _optional_us(moment: datetime | None) -> int:
    return NEVER_US if moment is None else microseconds(moment)


def _moment(value: np.int64) -> datetime | None:
    return None if value == NEVER_US else moment_of(int(value))


class ResourceLive:
    """One registered resource, as last heard of: a view of its row in ``HeardColumns``, and what only few kinds need.

    Numbers of every device stand in the columns, so that a message of thousands of readings is a few array
    operations; pieces and sessions stand here.
    """

    __slots__ = (
        "_columns",
        "_health",
        "_record",
        "_session",
        "curtailed",
        "opted_out_of",
        "row",
        "work",
    )

    def __init__(
        self,
        record: RegisteredResourceRecord,
        columns: HeardColumns | None = None,
        health: StateOfHealth | None = None,
    ) -> None:
        self._columns = HeardColumns() if columns is None else columns
        self._health = StateOfHealth(self._columns) if health is None else health
        self.row = self._columns.new_row()
        self._session: ChargingSession | None = None
        self.curtailed: list[CurtailedPiece] = []
        self.opted_out_of: set[str] = set()
        self.work = ProcessWork()
        self.record = record

    @property
    def record(self) -> RegisteredResourceRecord:
        """The registration."""
        return self._record

    @record.setter
    def record(self, record: RegisteredResourceRecord) -> None:
        self._record = record
        self._columns.registered(self.row, record)

    @property
    def latest(self) -> Reading | None:
        """The newest reading (without what it said of a session: that is ``session``), None before the first."""
        columns, row = self._columns, self.row
        if columns.measured_us[row] == NEVER_US:
            return None
        values: dict[str, Any] = {
            "resource_id": self.resource_id,
            "measured_at": moment_of(int(columns.measured_us[row])),
            "power_kw": float(columns.power_kw[row]),
            "available": bool(columns.available[row]),
            "sequence": int(columns.sequence[row]),
        }
        for name in ("energy_kwh", "temperature_celsius"):
            value = getattr(columns, name)[row]
            if not np.isnan(value):
                values[name] = float(value)
        return Reading.model_construct(**values)

    @property
    def session(self) -> ChargingSession | None:
        """The car that is plugged in, as its charger tells it."""
        return self._session

    @session.setter
    def session(self, session: ChargingSession | None) -> None:
        self._session = session
        columns, row = self._columns, self.row
        columns.has_session[row] = session is not None
        columns.session_needed_kwh[row] = np.nan if session is None else session.energy_needed_kwh
        columns.departure_us[row] = _optional_us(None if session is None else session.departure)

    @property
    def session_delivered_kwh(self) -> float:
        """What the car that is plugged in has got since it came (V1G)."""
        return float(self._columns.session_delivered_kwh[self.row])

    @session_delivered_kwh.setter
    def session_delivered_kwh(self, value: float) -> None:
        self._columns.session_delivered_kwh[self.row] = value

    @property
    def comfort_store_kwh(self) -> float:
        """The comfort store of a thermal load."""
        return float(self._columns.comfort_store_kwh[self.row])

    @comfort_store_kwh.setter
    def comfort_store_kwh(self, value: float) -> None:
        self._columns.comfort_store_kwh[self.row] = value

    @property
    def ordered_kw(self) -> float | None:
        """What it was last ordered, None = nothing, or released."""
        value = self._columns.ordered_kw[self.row]
        return None if np.isnan(value) else float(value)

    @ordered_kw.setter
    def ordered_kw(self, value: float | None) -> None:
        self._columns.ordered_kw[self.row] = np.nan if value is None else value

    @property
    def ordered_until(self) -> datetime | None:
        """How long that order holds."""
        return _moment(self._columns.ordered_until_us[self.row])

    @ordered_until.setter
    def ordered_until(self, value: datetime | None) -> None:
        self._columns.ordered_until_us[self.row] = _optional_us(value)

    @property
    def refused_until(self) -> datetime | None:
        """Until when it is not asked again because it has refused."""
        return _moment(self._columns.refused_until_us[self.row])

    @refused_until.setter
    def refused_until(self, value: datetime | None) -> None:
        self._columns.refused_until_us[self.row] = _optional_us(value)

    @property
    def mode_since(self) -> datetime | None:
        """Since when it draws, feeds in or idles, None while it has done the same all the time."""
        return _moment(self._columns.mode_since_us[self.row])

    @mode_since.setter
    def mode_since(self, value: datetime | None) -> None:
        self._columns.mode_since_us[self.row] = _optional_us(value)

    @property
    def resource_id(self) -> str:
        """Id of the resource."""
        return self.record.resource.resource_id

    @property
    def kind(self) -> ResourceKind:
        """Kind of the resource."""
        return self.record.resource.kind

    @property
    def quarantined_since(self) -> datetime | None:
        """Since when it gets no orders because it does not behave, None if it may have some."""
        if self._columns.misconduct[self.row] == Misconduct.NONE:
            return None
        return _moment(self._columns.quarantined_us[self.row])

    def is_fresh(self, now: datetime) -> bool:
        """True if the newest reading is younger than the resource's time-to-live."""
        measured_us = self._columns.measured_us[self.row]
        return bool(measured_us != NEVER_US and microseconds(now) - int(measured_us) <= self._columns.ttl_us[self.row])

    def is_dispatchable(self, now: datetime) -> bool:
        """True if the device is heard of, says it is available, has not just refused an order, and behaves."""
        columns, row = self._columns, self.row
        may = bool(
            columns.available[row]
            and columns.refused_until_us[row] <= microseconds(now)
            and columns.misconduct[row] == Misconduct.NONE
        )
        return may and self.is_fresh(now)

    def is_under_order(self, now: datetime) -> bool:
        """True while a setpoint (not a release) of ours is in force."""
        return self.ordered_kw is not None and self.ordered_until is not None and now < self.ordered_until

    def curtailed_since(self, start: datetime) -> Iterator[CurtailedPiece]:
        """Curtailed pieces that end after ``start``."""
        return (piece for piece in self.curtailed if piece.end > start)

    def problem_state(self, now: datetime, day_start: datetime) -> ResourceState:
        """What a re-plan from ``now`` must not forget; limits "per day" count from ``day_start``."""
        resource, latest = self.record.resource, self.latest
        power_kw = latest.power_kw if latest is not None else None
        if isinstance(resource, Storage):
            told = latest is not None and latest.energy_kwh is not None
            level = float(self._health.stored_kwh(np.array([self.row]), now)[0]) if told else None
            on = None if power_kw is None else self.mode_of(power_kw) != 0
            return ResourceState(energy_kwh=level, power_kw=power_kw, on=on, hours_in_state_h=self._hours(now))
        if isinstance(resource, EvCharger):
            if self.session is None:
                return ResourceState(power_kw=power_kw)
            if self.feeds_back:
                level = latest.energy_kwh if latest is not None else None
                if level is None:
                    level = self.session.battery_start_kwh
                return ResourceState(energy_kwh=level, power_kw=power_kw)
            return ResourceState(delivered_kwh=self.session_delivered_kwh, power_kw=power_kw)
        if isinstance(resource, ThermalLoad):
            return ResourceState(store_kwh=self.comfort_store_kwh, power_kw=power_kw)
        if isinstance(resource, CurtailableLoad | InterruptibleLoad):
            return self._load_state(now, day_start, power_kw)
        if resource.kind is ResourceKind.GENERATOR:
            on = power_kw is not None and self.mode_of(power_kw) < 0
            return ResourceState(on=on, hours_in_state_h=self._hours(now), power_kw=power_kw)
        return ResourceState(power_kw=power_kw)

    @property
    def feeds_back(self) -> bool:
        """True if the car that is plugged in is planned as V2G (by the rule of ``EvCharger.session``)."""
        resource, stay = self.record.resource, self.session
        if not isinstance(resource, EvCharger) or stay is None or resource.discharge_limit_kw <= 0:
            return False
        return stay.battery_capacity_kwh is not None and stay.battery_start_kwh is not None

    @property
    def charge_left_kwh(self) -> float:
        """What the car that is plugged in still needs, by what was heard last; 0 without one."""
        stay = self.session
        if stay is None:
            return 0.0
        if not self.feeds_back:
            return max(0.0, stay.energy_needed_kwh - self.session_delivered_kwh)
        start_kwh, level_kwh = stay.battery_start_kwh or 0.0, float(self._columns.energy_kwh[self.row])
        level_kwh = start_kwh if np.isnan(level_kwh) else level_kwh
        return max(0.0, start_kwh + stay.energy_needed_kwh - level_kwh)

    def mode_of(self, power_kw: float) -> int:
        """1 drawing, -1 feeding in, 0 idle: less than a hundredth of the nameplate is a meter's noise."""
        idle_kw = max(1e-6, 0.01 * self.record.connected_kw)
        return 0 if abs(power_kw) <= idle_kw else (1 if power_kw > 0 else -1)

    def _hours(self, now: datetime) -> float | None:
        return None if self.mode_since is None else max(0.0, (now - self.mode_since).total_seconds() / 3600)

    def _load_state(self, now: datetime, day_start: datetime, power_kw: float | None) -> ResourceState:
        done = [piece.between(None, now) for piece in self.curtailed if piece.start < now]
        today = [piece.between(day_start, None) for piece in done if piece.end > day_start]
        calls = sum(1 for before, piece in zip([None, *today], today, strict=False) if not _touch(before, piece))
        active = bool(done) and done[-1].end >= now - timedelta(seconds=1)
        if active:
            first = done[-1]
            for piece in reversed(done[:-1]):
                if not _touch(piece, first):
                    break
                first = piece
            in_state_h = (now - first.start).total_seconds() / 3600
        elif done:
            in_state_h = (now - done[-1].end).total_seconds() / 3600
        else:
            in_state_h = 24.0
        history = tuple(((now - piece.end).total_seconds() / 3600, piece.hours, piece.power_kw) for piece in done)
        return ResourceState(
            on=active,
            hours_in_state_h=max(0.0, in_state_h),
            hours_used_h=sum(piece.hours * piece.depth_fraction for piece in today),
            energy_used_kwh=sum(piece.hours * piece.power_kw for piece in today),
            calls_used=calls,
            power_kw=power_kw,
            curtailed_history=history,
        )

    def note_curtailed(self, start: datetime, end: datetime, power_kw: float, depth_fraction: float) -> None:
        """Remember that ``power_kw`` of the baseline is given up from ``start`` to ``end``.

        The newest order counts: what an earlier one said of the time after ``start`` is forgotten (0 kW takes
        it back).  Equal neighbours are joined.
        """
        if end <= start:
            return
        kept = [piece.between(None, start) for piece in self.curtailed if piece.start < start]
        last = kept[-1] if kept else None
        if (
            last is not None
            and last.end == start
            and abs(last.power_kw - power_kw) < 1e-9
            and abs(last.depth_fraction - depth_fraction) < 1e-9
        ):
            kept[-1] = CurtailedPiece(last.start, end, power_kw, depth_fraction)
        elif power_kw > 0:
            kept.append(CurtailedPiece(start, end, power_kw, depth_fraction))
        self.curtailed = [piece for piece in kept if piece.end > end - HISTORY_KEPT]
        self._columns.gave_up[self.row] = bool(self.curtailed)

    @property
    def can_give_up(self) -> bool:
        """True for loads whose hours and energy of the day are limited."""
        return isinstance(self.record.resource, CurtailableLoad | InterruptibleLoad)

    def give_up(self, start: datetime, end: datetime, given_up_kw: float, baseline_kw: float) -> None:
        """Remember that a load gives up so much of its baseline from ``start`` to ``end``, 0 = nothing (any more)."""
        resource = self.record.resource
        if isinstance(resource, CurtailableLoad):
            depth_kw = resource.curtail_share * baseline_kw
        elif isinstance(resource, InterruptibleLoad):
            depth_kw = min(resource.block_kw, baseline_kw)
        else:
            return
        share = min(1.0, given_up_kw / depth_kw) if depth_kw > 0 else 0.0
        self.note_curtailed(start, end, given_up_kw, share)

    def advance_comfort(self, hours: float, moved_kw: float) -> None:
        """Integrate the comfort store of a thermal load over ``hours`` with mean u = ``moved_kw``."""
        resource = self.record.resource
        if not isinstance(resource, ThermalLoad):
            return
        decay = resource.decay_per_hour
        kept = exp(-decay * hours)
        gain_h = hours if decay * hours < 1e-12 else -expm1(-decay * hours) / decay  # 1 - kept would cancel
        level = kept * self.comfort_store_kwh + gain_h * moved_kw
        self.comfort_store_kwh = min(max(level, -resource.store_low_kwh), resource.store_high_kwh)
