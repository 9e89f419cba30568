"""Readings by the million: integer keys in the order (time, resource), duplicates ignored; and sessions."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from itertools import repeat
from operator import itemgetter
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import Connection, func, select

from adapters.store import schema
from adapters.store.registry import Registry
from adapters.store.schema import from_us, to_us
from models.intervals import FloatArray
from models.reading_columns import ReadingColumns
from models.records import SessionRecord
from models.telemetry import ChargingSession, Reading

COLUMNS = tuple(column.name for column in schema.readings.c)
PARTITION = re.compile(r"readings_\d{6}")
"""Names of the monthly partitions on PostgreSQL, made when the first reading of a month arrives."""

_INSERT = f"INSERT OR IGNORE INTO readings ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608
_COPY_TYPES = ("int8", "int4", "int8", "float8", "float8", "float8", "bool", "int8", "text")
_PIECE = 50_000
_MANY = 200
"""More resources than this are picked from the time range in memory instead of in SQL."""


def _session_text(stay: ChargingSession | None) -> str:
    """'null': unplugged; else the session."""
    return "null" if stay is None else stay.model_dump_json()


def _with_none(values: FloatArray) -> Iterable[float | None]:
    """Numbers as the database keeps them, NULL for NaN."""
    missing = np.isnan(values)
    if not missing.any():
        return cast("list[float | None]", values.tolist())
    if missing.all():
        return repeat(None)
    return [None if value != value else value for value in values.tolist()]  # noqa: PLR0124 - NaN


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

    def add_readings(self, readings: Sequence[Reading], received_at: datetime) -> int:
        """Keep what is new (identity: resource and ``measured_at``) and say how many that were.

        ``InputError`` if a resource is not registered; then nothing is kept.
        """
        if not len(readings):
            return 0
        columns = ReadingColumns.of(readings)
        with self._db.writing() as connection:
            key_of = self._key_of(connection, columns.resource_ids)
            keys = np.array([key_of[name] for name in columns.resource_ids], dtype=np.int64)
            order = np.lexsort((keys, columns.measured_us))  # the order of the key: neighbours fall on the same page
            said = {place: _session_text(stay) for place, stay in columns.sessions.items()}
            rows = list(
                zip(
                    columns.measured_us[order].tolist(),
                    keys[order].tolist(),
                    repeat(to_us(received_at)),
                    columns.power_kw[order].tolist(),
                    _with_none(columns.energy_kwh[order]),
                    _with_none(columns.temperature_celsius[order]),
                    columns.available[order].tolist(),
                    columns.sequence[order].tolist(),
                    [said.get(place) for place in order.tolist()] if said else repeat(None),
                    strict=False,
                )
            )
            return self._insert_readings(connection, rows)

    def _insert_readings(self, connection: Connection, rows: list[tuple[Any, ...]]) -> int:
        """Rows in the order of ``COLUMNS``; the driver's own bulk call, several times faster."""
        driver: Any = connection.connection.driver_connection
        if self._db.is_sqlite:
            before = driver.total_changes
            driver.executemany(_INSERT, rows)
            return int(driver.total_changes - before)
        self._make_partitions(connection, rows[0][0], rows[-1][0])
        with driver.cursor() as cursor:
            cursor.execute("CREATE TEMP TABLE IF NOT EXISTS incoming_readings (LIKE readings) ON COMMIT DELETE ROWS")
            cursor.execute("TRUNCATE incoming_readings")
            with cursor.copy("COPY incoming_readings FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types(_COPY_TYPES)
                for row in rows:
                    copy.write_row(row)
            cursor.execute("INSERT INTO readings SELECT * FROM incoming_readings ON CONFLICT DO NOTHING")
            return int(cursor.rowcount)

    def _make_partitions(self, connection: Connection, first_us: int, last_us: int) -> None:
        """One partition a month, in UTC; in this very transaction, which may hold the table already."""
        month = from_us(first_us).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        while to_us(month) <= last_us:
            name = f"readings_{month:%Y%m}"
            following = _month_after(month)
            if connection.exec_driver_sql("SELECT to_regclass(%s)", (name,)).scalar_one() is None:
                self._db.lock(connection, 1)
                connection.exec_driver_sql(
                    f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF readings"
                    f" FOR VALUES FROM ({to_us(month)}) TO ({to_us(following)})"
                )
            month = following

    def readings(
        self, resource_ids: Sequence[str] | None, start: datetime, end: datetime, *, limit: int | None = None
    ) -> pd.DataFrame:
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
            if len(place_of) <= _MANY:
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

    def last_readings(self, since: datetime, until: datetime) -> pd.DataFrame:
        """The newest reading of every resource inside [since, until): what a restart begins with."""
        frame = self.readings(None, since, until)
        return frame.drop_duplicates("resource_id", keep="last").reset_index(drop=True)

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


def _frame(rows: Sequence[Any], names: dict[int, str]) -> pd.DataFrame:
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
