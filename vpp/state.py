"""What the service knows about every device right now: the one place where telemetry feeds back.

Everything here can be rebuilt from the store after a restart; nothing here decides anything.  Times are aware UTC,
power is positive when consuming.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from models.conduct import Misconduct
from models.moments import microseconds, moment_of
from models.reading_columns import ReadingColumns
from models.records import RegisteredResourceRecord
from models.resources import EvCharger, ResourceKind
from models.telemetry import Reading
from vpp.heard import NEVER_US, HeardColumns
from vpp.resource_live import ResourceLive
from vpp.state_of_health import StateOfHealth


def _turns(rows: NDArray[np.int64], measured_us: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each reading how many of the same device come before it, in the order of time, (n,)."""
    order = np.lexsort((measured_us, rows))  # keeps the order of sending where both are equal
    ordered = rows[order]
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(rows)])
    turns = np.empty(len(rows), dtype=np.int64)
    turns[order] = np.arange(len(rows)) - np.repeat(first, np.diff(np.concatenate([first, [len(rows)]])))
    return turns


def _told_of(readings: ReadingColumns, places: NDArray[np.int64]) -> NDArray[np.bool_]:
    """True where a reading says something of a session."""
    said = readings.sessions
    if not said:
        return np.zeros(len(places), dtype=np.bool_)
    return np.fromiter((place in said for place in places.tolist()), dtype=np.bool_, count=len(places))


class LiveState:
    """All registered resources, as last heard of."""

    def __init__(self, records: Iterable[RegisteredResourceRecord] = ()) -> None:
        self.columns = HeardColumns()
        self.health = StateOfHealth(self.columns)
        self._resources: dict[str, ResourceLive] = {}
        self._row_of: dict[str, int] = {}
        self._by_row: list[ResourceLive | None] = []
        self.version = 0
        """Counts registrations and withdrawals: who keeps something per resource sees when to make it anew."""
        self.aggregator_online: dict[str, bool] = {}
        self.said_online_s: dict[str, float] = {}
        """Moment (``time.monotonic``) at which a gateway last said that it is online."""
        for record in records:
            self.put(record)

    def __len__(self) -> int:
        return len(self._resources)

    def __iter__(self) -> Iterator[ResourceLive]:
        return iter(self._resources.values())

    def get(self, resource_id: str) -> ResourceLive | None:
        """The resource, or None if nobody registered it."""
        return self._resources.get(resource_id)

    def put(self, record: RegisteredResourceRecord) -> None:
        """Take a new or changed registration; what was measured stays."""
        self.version += 1
        known = self._resources.get(record.resource.resource_id)
        if known is not None:
            known.record = record
            return
        live = ResourceLive(record, self.columns, self.health)
        self._resources[live.resource_id] = live
        self._row_of[live.resource_id] = live.row
        self._by_row.append(live)

    def remove(self, resource_id: str) -> None:
        """Forget a withdrawn resource."""
        gone = self._resources.pop(resource_id, None)
        if gone is not None:
            self.version += 1
            del self._row_of[resource_id]
            self._by_row[gone.row] = None

    # ---- many at once

    def at(self, row: int) -> ResourceLive | None:
        """The resource of a row, None if it was withdrawn."""
        return self._by_row[row] if row < len(self._by_row) else None

    def rows(self, resource_ids: Iterable[str]) -> NDArray[np.int64]:
        """Rows in ``columns`` of these resources, (n,), -1 where nobody registered one."""
        return np.fromiter(map(self._row_of.get, resource_ids, repeat(-1)), dtype=np.int64)

    def rows_of(self, aggregator_id: str, resource_ids: Iterable[str]) -> NDArray[np.int64]:
        """As ``rows``, and -1 also where the resource belongs to somebody else."""
        rows = self.rows(resource_ids)
        owner = self.columns.owner_code.get(aggregator_id, -1)
        return np.where((rows >= 0) & (self.columns.owner[rows] == owner), rows, -1) if len(rows) else rows

    @property
    def everyone(self) -> NDArray[np.int64]:
        """Rows of all resources, in the order of iteration."""
        return np.fromiter(self._row_of.values(), dtype=np.int64, count=len(self._row_of))

    # ---- readings

    def received(self, rows: NDArray[np.int64], now: datetime) -> None:
        """Note that readings of these rows came now."""
        self.columns.received_us[rows] = microseconds(now)

    def refused_readings(self, rows: NDArray[np.int64], why: Misconduct, now: datetime) -> None:
        """Note that readings of these rows came now and could not be used."""
        self.columns.unusable[rows] = why
        self.columns.unusable_us[rows] = microseconds(now)

    def take(self, reading: Reading) -> bool:
        """Take a reading if it is the newest of its device; False for one that came too late to matter now."""
        return bool(self.take_columns(ReadingColumns.of([reading]))[0])

    def take_columns(self, readings: ReadingColumns, known_rows: NDArray[np.int64] | None = None) -> NDArray[np.bool_]:
        """Take each reading that is the newest of its device, in the order of time; True where one was, (n,).

        ``known_rows``: what ``rows`` says of them, if the caller has asked already.
        """
        rows = self.rows(readings.resource_ids) if known_rows is None else known_rows
        taken = np.zeros(len(readings), dtype=np.bool_)
        turns = _turns(rows, readings.measured_us)
        for turn in range(int(turns.max(initial=-1)) + 1):
            self._take_turn(readings, np.flatnonzero(turns == turn), rows, taken)
        return taken

    def _take_turn(
        self,
        readings: ReadingColumns,
        places: NDArray[np.int64],
        rows: NDArray[np.int64],
        taken: NDArray[np.bool_],
    ) -> None:
        """At most one reading of each device; of two of one instant the first counts."""
        columns = self.columns
        places = places[rows[places] >= 0]
        at = rows[places]
        measured_us = readings.measured_us[places]
        newer = measured_us > columns.measured_us[at]
        places, at, measured_us = places[newer], at[newer], measured_us[newer]
        if not len(places):
            return
        before_us, before_kw = columns.measured_us[at], columns.power_kw[at]
        power, energy = readings.power_kw[places], readings.energy_kwh[places]
        self.health.hear(at, measured_us, power, energy)
        repeated = (before_us != NEVER_US) & (before_kw == power)
        columns.repeats[at] = np.where(repeated, columns.repeats[at] + 1, 0)
        columns.repeat_count[at] += repeated
        columns.heard_count[at] += 1
        switched = (before_us != NEVER_US) & (columns.modes_of(at, before_kw) != columns.modes_of(at, power))
        columns.mode_since_us[at[switched]] = measured_us[switched]
        columns.measured_us[at], columns.power_kw[at], columns.energy_kwh[at] = measured_us, power, energy
        columns.temperature_celsius[at] = readings.temperature_celsius[places]
        columns.available[at], columns.sequence[at] = readings.available[places], readings.sequence[places]
        told = columns.is_thermal[at] & ~np.isnan(energy)
        columns.comfort_store_kwh[at[told]] = energy[told]
        taken[places] = True
        tells = columns.is_charger[at] & (columns.has_session[at] | _told_of(readings, places))
        for index in np.flatnonzero(tells | columns.is_process[at]).tolist():
            self._take_one(int(at[index]), readings, int(places[index]), int(before_us[index]))
        if readings.sessions:
            said = [place for place in places.tolist() if place in readings.sessions]
            for place in said:
                if not columns.is_charger[rows[place]]:
                    live = self._by_row[rows[place]]
                    if live is not None:
                        live.session = readings.sessions[place]

    def _take_one(self, row: int, readings: ReadingColumns, place: int, before_us: int) -> None:
        """What the few kinds need that remember more than numbers: processes their use, chargers their stay."""
        live = self._by_row[row]
        if live is None:
            return
        measured_us, power_kw = int(readings.measured_us[place]), float(readings.power_kw[place])
        hours = None if before_us == NEVER_US else (measured_us - before_us) / 3.6e9
        if live.kind is ResourceKind.SHIFTABLE_LOAD:
            if hours is not None:
                live.work.note(moment_of(measured_us), max(0.0, power_kw) * min(hours, 1.0))
            return
        if place in readings.sessions:
            stay = readings.sessions[place]
            known = live.session.session_id if live.session is not None else None
            if stay is None or stay.session_id != known:
                live.session_delivered_kwh = 0.0
            live.session = stay
        if live.session is None:
            return
        energy_kwh = float(readings.energy_kwh[place])
        if not np.isnan(energy_kwh) and not live.feeds_back:
            live.session_delivered_kwh = energy_kwh
        elif hours is not None and np.isnan(energy_kwh) and isinstance(live.record.resource, EvCharger):
            live.session_delivered_kwh += live.record.resource.charge_efficiency * max(0.0, power_kw) * hours

    def dispatchable(self, now: datetime) -> list[ResourceLive]:
        """Resources that may be given orders now."""
        may = self.columns.is_dispatchable(now)
        return [live for live in self if may[live.row]]

    def stale(self, now: datetime) -> list[ResourceLive]:
        """Resources whose newest reading is older than their time-to-live."""
        fresh = self.columns.is_fresh(now)
        return [live for live in self if not fresh[live.row]]
