"""Readings by the million: integer keys in the order (time, resource), duplicates ignored; and sessions."""

import re
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, func, select

from adapters.store import schema
from adapters.store.bulk import (
    READING_COLUMNS,
    ReadingRows,
    insert_answers_postgres,
    insert_answers_sqlite,
    insert_readings_postgres,
    insert_readings_sqlite,
)
from adapters.store.registry import Registry
from adapters.store.schema import from_us, to_us
from adapters.store.writer import WriterProcess
from models.intervals import FloatArray
from models.reading_columns import ReadingColumns
from models.records import ChargedRecord, SessionRecord
from models.telemetry import ChargingSession, Reading

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = READING_COLUMNS
PARTITION = re.compile(r"readings_\d{6}")
"""Names of the monthly partitions on PostgreSQL, made when the first reading of a month arrives."""

_PIECE = 50_000
_NEWEST_SPAN_US = 120_000_000
"""So far back everybody's newest reading is looked for at first."""
MANY_ROWS = 256
"""So many rows are worth the way to another process."""
_MANY = 200
"""More resources than this are picked from the time range in memory instead of in SQL."""


def _session_text(stay: ChargingSession | None) -> str:
    """'null': unplugged; else the session."""
    return "null" if stay is None else stay.model_dump_json()


def _month_after(month: datetime) -> datetime:
    return month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)


@dataclass(frozen=True, slots=True)
class PowerColumns:
    """n readings: whose (position in the list that was asked for), when (microseconds since 1970 UTC), kW."""

    places: NDArray[np.int64]
    measured_us: NDArray[np.int64]
    power_kw: FloatArray


class Readings(Registry):
    """The time series of every resource."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._starting = threading.Lock()
        self._writer: WriterProcess | None = None
        self._months: set[str] = set()

    def add_readings(self, readings: Sequence[Reading], received_at: datetime) -> int:
        """Keep what is new (identity: resource and ``measured_at``) and say how many that were.

        ``InputError`` if a resource is not registered; then nothing is kept.
        """
        if not len(readings):
            return 0
        rows = self._rows(ReadingColumns.of(readings), received_at)
        with self._db.writing() as connection:
            return self._insert_rows(connection, rows)

    def _insert_rows(self, connection: Connection, rows: ReadingRows) -> int:
        """Rows in the order of time."""
        driver: Any = connection.connection.driver_connection
        if self._db.is_sqlite:
            return insert_readings_sqlite(driver, rows)
        self._make_partitions(connection, int(rows[0][0]), int(rows[0][-1]))
        return insert_readings_postgres(driver, rows)

    def _rows(self, columns: ReadingColumns, received_at: datetime) -> ReadingRows:
        """As the database has them, in the order of its key: neighbours fall on the same page."""
        keys = self._keys_of_all(columns.resource_ids)
        order = np.lexsort((keys, columns.measured_us))
        place_of = {place: number for number, place in enumerate(order.tolist())} if columns.sessions else {}
        return (
            columns.measured_us[order],
            keys[order],
            np.full(len(order), to_us(received_at), dtype=np.int64),
            columns.power_kw[order],
            columns.energy_kwh[order],
            columns.temperature_celsius[order],
            columns.available[order],
            columns.sequence[order],
            {place_of[place]: _session_text(stay) for place, stay in columns.sessions.items()},
        )

    def _keys_of_all(self, resource_ids: Sequence[str]) -> NDArray[np.int64]:
        try:
            return np.array([self._keys[name] for name in resource_ids], dtype=np.int64)
        except KeyError:
            with self._db.reading() as connection:
                key_of = self._key_of(connection, resource_ids)
                return np.array([key_of[name] for name in resource_ids], dtype=np.int64)

    def add_messages(
        self, readings: ReadingColumns, received_at: datetime, aggregator_id: str, message_ids: Sequence[str]
    ) -> int:
        """Keep readings without sessions, and an empty answer to each of the messages that brought them, in one
        transaction of its own; how many readings were new.  Many of them go through a process that does only that.
        """
        if readings.sessions:
            raise ValueError("sessions: must go with their own records, in one transaction")
        writer = self._writer_for(len(readings) + len(message_ids))
        answers = [(aggregator_id, name, b"", to_us(received_at)) for name in message_ids]
        if writer is None:
            with self._db.writing() as connection:
                new = self.add_readings(readings, received_at)
                driver: Any = connection.connection.driver_connection
                (insert_answers_sqlite if self._db.is_sqlite else insert_answers_postgres)(driver, answers)
                return new
        rows = self._rows(readings, received_at)
        if not self._db.is_sqlite and len(readings):
            self._have_partitions(int(rows[0][0]), int(rows[0][-1]))
        return self._db.written_elsewhere(lambda: writer.write(rows, answers))

    def _writer_for(self, rows: int) -> WriterProcess | None:
        """The process that writes, once it is ready; it is started when there is much to write for the first time."""
        if rows < MANY_ROWS:
            return None
        with self._starting:
            if self._writer is None or self._writer.has_ended:
                try:
                    self._writer = WriterProcess(self._db.driver_target)
                except OSError:  # no room for another process: it must do without
                    return None
            writer = self._writer
        return writer if writer.is_ready else None

    def end_writer(self) -> None:
        """End the process that writes, if there is one; the next large message starts another."""
        with self._starting:
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def _have_partitions(self, first_us: int, last_us: int) -> None:
        """As ``_make_partitions``, in a transaction of its own, and only if they may not be there."""
        months, month = set(), from_us(first_us).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        while to_us(month) <= last_us:
            months.add(f"{month:%Y%m}")
            month = _month_after(month)
        if not months <= self._months:
            with self._db.writing() as connection:
                self._make_partitions(connection, first_us, last_us)
            self._months |= months

    def _make_partitions(self, connection: Connection, first_us: int, last_us: int) -> None:
        """One partition a month, in UTC; in this very transaction, which may hold the table already.

        Made beside the table and attached: CREATE TABLE ... PARTITION OF waits for everybody who reads, a backup for
        one, and meanwhile everybody else waits for it.
        """
        month = from_us(first_us).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        while to_us(month) <= last_us:
            name = f"readings_{month:%Y%m}"
            following = _month_after(month)
            if not self._is_there(connection, name):
                self._db.lock(connection, 1)
                if not self._is_there(connection, name):
                    connection.exec_driver_sql(f"CREATE TABLE {name} (LIKE readings INCLUDING ALL)")
                    connection.exec_driver_sql(
                        f"ALTER TABLE readings ATTACH PARTITION {name}"
                        f" FOR VALUES FROM ({to_us(month)}) TO ({to_us(following)})"
                    )
            month = following

    @staticmethod
    def _is_there(connection: Connection, name: str) -> bool:
        """Asked of the tables: ``to_regclass`` may know from its cache that it was not there a moment ago."""
        query = (
            "SELECT count(*) FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
            " WHERE inhparent = 'readings'::regclass AND relname = %s"
        )
        return bool(connection.exec_driver_sql(query, (name,)).scalar_one())

    def readings(
        self, resource_ids: Sequence[str] | None, start: datetime, end: datetime, *, limit: int | None = None
    ) -> "pd.DataFrame":
        """Readings with start <= measured_at < end, in the order of time, of the named resources or of all.

        Columns: resource_id (object), measured_at, received_at (datetime64[us, UTC]), power_kw, energy_kwh,
        temperature_celsius (float64, NaN = not said), available (bool), sequence (int64), session (object:
        None = nothing said, "null" = unplugged, else a ``ChargingSession`` as JSON).  Unknown ids have none.
        ``limit``: no more than that many rows (for up to 200 named resources).
        """
        table = schema.readings
        low, high = to_us(start), to_us(end)
        query = select(table).where(table.c.measured_at >= low, table.c.measured_at < high)
        query = query.order_by(table.c.measured_at, table.c.resource_key).limit(limit)
        with self._db.reading() as connection:
            wanted: set[int] | None = None
            if resource_ids is not None:
                if not set(resource_ids) <= self._keys.keys():
                    self._learn_keys(connection)
                wanted = {self._keys[name] for name in resource_ids if name in self._keys}
                if len(wanted) <= _MANY:
                    query = query.where(table.c.resource_key.in_(sorted(wanted)))
            rows = connection.execute(query).all()
            names = self._id_of(connection, {row[1] for row in rows})
        frame = _frame(rows, names)
        if wanted is not None and len(wanted) > _MANY:
            frame = frame[frame["resource_id"].isin(set(resource_ids or ()))].reset_index(drop=True)
        return frame

    def powers(self, resource_ids: Sequence[str], start: datetime, end: datetime) -> Iterator[PowerColumns]:
        """Measured power of the named resources with start <= measured_at < end, in pieces of at most fifty thousand
        readings, each in the order of time: what a baseline needs, without an object for each reading.
        """
        with self._db.reading() as connection:
            if not set(resource_ids) <= self._keys.keys():
                self._learn_keys(connection)
            place_of = {self._keys[name]: place for place, name in enumerate(resource_ids) if name in self._keys}
            if not place_of:
                return
            places = np.full(max(place_of) + 1, -1, dtype=np.int64)
            places[list(place_of)] = list(place_of.values())
            names = "measured_at, resource_key, power_kw"
            mark = "?" if self._db.is_sqlite else "%s"
            where = f"measured_at >= {mark} AND measured_at < {mark}"
            if 2 * len(place_of) <= max(2 * _MANY, len(self._keys)):
                where += f" AND resource_key IN ({', '.join(str(int(key)) for key in sorted(place_of))})"
            query = f"SELECT {names} FROM readings WHERE {where} ORDER BY measured_at, resource_key"  # noqa: S608
            driver: Any = connection.connection.driver_connection
            with closing(driver.cursor() if self._db.is_sqlite else driver.cursor(name="powers")) as cursor:
                cursor.execute(query, (to_us(start), to_us(end)))
                while rows := cursor.fetchmany(_PIECE):
                    stamps, keys, power = zip(*rows, strict=True)
                    key = np.array(keys, dtype=np.int64)
                    place = np.where(key < len(places), places[np.minimum(key, len(places) - 1)], -1)
                    chosen = place >= 0
                    measured_us = np.array(stamps, dtype=np.int64)[chosen]
                    yield PowerColumns(place[chosen], measured_us, np.array(power, dtype=np.float64)[chosen])

    def reading_columns(
        self, resource_ids: Collection[str] | None, start: datetime, end: datetime, *, only_sessions: bool = False
    ) -> Iterator[ReadingColumns]:
        """Readings of the named resources or of all with start <= measured_at < end, as columns, in pieces in the order
        of time.  ``only_sessions``: only those that say something of a session, which an index finds.
        """
        with self._db.reading() as connection:
            if resource_ids is None or not set(resource_ids) <= self._keys.keys():
                self._learn_keys(connection)
            mark = "?" if self._db.is_sqlite else "%s"
            where = f"measured_at >= {mark} AND measured_at < {mark}"
            if resource_ids is not None:
                keys = sorted({self._keys[name] for name in resource_ids if name in self._keys})
                if not keys:
                    return
                where += f" AND resource_key IN ({', '.join(map(str, keys))})"
            if only_sessions:
                where += " AND session IS NOT NULL"
            query = f"SELECT {', '.join(COLUMNS)} FROM readings WHERE {where} ORDER BY measured_at, resource_key"  # noqa: S608
            driver: Any = connection.connection.driver_connection
            with closing(driver.cursor() if self._db.is_sqlite else driver.cursor(name="columns")) as cursor:
                cursor.execute(query, (to_us(start), to_us(end)))
                while rows := cursor.fetchmany(_PIECE):
                    yield self._columns(rows)

    def _columns(self, rows: Sequence[Any]) -> ReadingColumns:
        stamps, keys, _, power, energy, warmth, available, sequence, session = zip(*rows, strict=True)
        said = {place: text for place, text in enumerate(session) if text is not None} if any(session) else {}
        return ReadingColumns(
            resource_ids=[self._ids.get(key, "") for key in keys],
            measured_us=np.array(stamps, dtype=np.int64),
            power_kw=np.array(power, dtype=np.float64),
            energy_kwh=np.array(energy, dtype=np.float64),  # None becomes NaN
            temperature_celsius=np.array(warmth, dtype=np.float64),
            available=np.array(available, dtype=np.bool_),
            sequence=np.array(sequence, dtype=np.int64),
            sessions={
                place: None if text == "null" else ChargingSession.model_validate_json(text)
                for place, text in said.items()
            },
        )

    def newest_readings(self, start: datetime, end: datetime) -> ReadingColumns:
        """The newest reading of every resource inside [start, end): what a restart begins with.

        Backwards from the newest of all, further and further until everybody is found: of most it is among the last.
        """
        names = ", ".join(COLUMNS)
        if self._db.is_sqlite:  # the other columns are those of the row with the maximum: SQLite promises that
            picked = names.replace("measured_at", "max(measured_at)")
            query = f"SELECT {picked} FROM readings WHERE measured_at >= ? AND measured_at < ? GROUP BY resource_key"  # noqa: S608
        else:
            query = (
                f"SELECT DISTINCT ON (resource_key) {names} FROM readings "  # noqa: S608 - names of ours
                "WHERE measured_at >= %s AND measured_at < %s ORDER BY resource_key, measured_at DESC"
            )
        rows: dict[int, Any] = {}
        first, high, span = to_us(start), to_us(end), _NEWEST_SPAN_US
        with self._db.reading() as connection:
            self._learn_keys(connection)
            stamp = schema.readings.c.measured_at
            newest = connection.execute(select(func.max(stamp)).where(stamp < high)).scalar_one()
            low = high if newest is None else newest + 1
            while low > first and len(rows) < len(self._keys):
                low, span = max(first, low - span), 2 * span
                found = connection.exec_driver_sql(query, (low, high)).all()
                rows = {row[1]: row for row in found} | rows
                high = low
        return self._columns(list(rows.values())) if rows else ReadingColumns.of([])

    def reading_count(self) -> int:
        """How many readings are kept."""
        with self._db.reading() as connection:
            return int(connection.execute(select(func.count()).select_from(schema.readings)).scalar_one())

    # ---- sessions

    def save_sessions(self, records: Sequence[SessionRecord]) -> None:
        """Keep the newest word about each stay (identity: charger and session)."""
        if not records:
            return
        statement = self._db.insert(schema.sessions)
        names = [column.name for column in schema.sessions.c if not column.primary_key]
        statement = statement.on_conflict_do_update(
            index_elements=["resource_key", "session_id"],
            set_={name: statement.excluded[name] for name in names},
        )
        with self._db.writing() as connection:
            keys = self._key_of(connection, [record.resource_id for record in records])
            rows = [
                {"resource_key": keys[record.resource_id], "session_id": record.session_id}
                | {name: getattr(record, name) for name in names}
                for record in records
            ]
            connection.execute(statement, rows)

    def sessions(
        self, start: datetime, end: datetime, resource_ids: Sequence[str] | None = None
    ) -> list[SessionRecord]:
        """Stays of which a part lies inside [start, end), by arrival."""
        table = schema.sessions
        query = select(table).where(
            table.c.arrival < end, func.coalesce(table.c.unplugged_at, table.c.departure) > start
        )
        with self._db.reading() as connection:
            rows = connection.execute(query.order_by(table.c.arrival, table.c.session_id)).all()
            names = self._id_of(connection, {row.resource_key for row in rows})
        wanted = None if resource_ids is None else set(resource_ids)
        fields = [column.name for column in table.c if column.name != "resource_key"]
        place = [column.name for column in table.c].index("resource_key")
        pick = itemgetter(*(place_of for place_of, column in enumerate(table.c) if column.name in fields))
        return [
            SessionRecord(names[row[place]], **dict(zip(fields, pick(row), strict=True)))
            for row in rows
            if wanted is None or names[row[place]] in wanted
        ]

    def save_charged(self, records: Sequence[ChargedRecord]) -> None:
        """Keep what the cars that are there have got, one for each charger; ``InputError`` for an unknown charger."""
        if not records:
            return
        insert = self._db.insert(schema.charged)
        kept = ("session_id", "measured_at", "delivered_kwh")
        insert = insert.on_conflict_do_update(
            index_elements=["resource_key"], set_={name: insert.excluded[name] for name in kept}
        )
        with self._db.writing() as connection:
            keys = self._key_of(connection, [record.resource_id for record in records])
            rows = [
                {"resource_key": keys[each.resource_id]} | {name: getattr(each, name) for name in kept}
                for each in records
            ]
            connection.execute(insert, rows)

    def charged(self) -> list[ChargedRecord]:
        """As last kept, one for each charger that has ever had a car, in no order."""
        table, resources = schema.charged, schema.resources
        query = select(resources.c.resource_id, table.c.session_id, table.c.measured_at, table.c.delivered_kwh)
        with self._db.reading() as connection:
            return [ChargedRecord(*row) for row in connection.execute(query.join_from(table, resources))]


def _frame(rows: Sequence[Any], names: dict[int, str]) -> "pd.DataFrame":
    import pandas as pd  # noqa: PLC0415 - commands that only add a user need not wait a second for it

    columns = list(zip(*rows, strict=True)) if rows else [()] * len(COLUMNS)
    named = dict(zip(COLUMNS, columns, strict=True))

    def times(name: str) -> "pd.DatetimeIndex":
        return pd.DatetimeIndex(np.array(named[name], dtype="datetime64[us]")).tz_localize("UTC")

    def numbers(name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.array(named[name], dtype=np.float64)  # None becomes NaN

    return pd.DataFrame(
        {
            "resource_id": pd.Series([names[key] for key in named["resource_key"]], dtype=object),
            "measured_at": times("measured_at"),
            "received_at": times("received_at"),
            "power_kw": numbers("power_kw"),
            "energy_kwh": numbers("energy_kwh"),
            "temperature_celsius": numbers("temperature_celsius"),
            "available": np.array(named["available"], dtype=np.bool_),
            "sequence": np.array(named["sequence"], dtype=np.int64),
            "session": pd.Series(named["session"], dtype=object),
        }
    )
