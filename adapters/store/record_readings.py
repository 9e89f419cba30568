"""Readings as the flight recorder sees them: columns in pieces, a proof over all rows and a checksum for each resource.

The proof is SHA-256 over the rows in the order of time and resource.  The checksums only say whose rows differ once the
proof has failed: 32 bits, which can be summed by columns, do for that, and a million of them still fit into a blob.
"""

import hashlib
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import column as bare_column
from sqlalchemy import func, select
from sqlalchemy import table as bare_table

from adapters.store import schema
from adapters.store.bulk import READING_COLUMNS
from adapters.store.readings import Readings

_PIECE = 20_000
_MIX = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9)
_IS_FLOAT = [name in ("power_kw", "energy_kwh", "temperature_celsius") for name in READING_COLUMNS[:-1]]
_NO_NUMBER = -(2**62)
"""Stands for what is no number: such a row can only have been changed."""


@dataclass(frozen=True, slots=True)
class ReadingsDigest:
    """So many rows, SHA-256 over all of them; and of each resource (by key, in order) its rows and their checksum."""

    count: int
    sha256: str
    keys: NDArray[np.int64]
    counts: NDArray[np.int64]
    checks: NDArray[np.uint32]


class RecordReadings(Readings):
    """Looks at rows without making objects of them."""

    def resource_keys(self) -> list[tuple[int, str]]:
        """Key and id of every resource, in the order of keys."""
        table = bare_table("resources", bare_column("resource_key"), bare_column("resource_id"))
        with self._db.reading() as connection:
            return [tuple(row) for row in connection.execute(select(table).order_by(table.c.resource_key))]

    def next_reading_us(self, start_us: int, end_us: int) -> int | None:
        """When the oldest reading inside [start, end) was measured, in microseconds."""
        column = schema.readings.c.measured_at
        with self._db.reading() as connection:
            oldest = connection.execute(
                select(func.min(column)).where(column >= start_us, column < end_us)
            ).scalar_one()
        return None if oldest is None else int(oldest)

    def readings_received(self, start_us: int, end_us: int, after_us: int | None, until_us: int | None) -> int:
        """How many readings of [start, end) came later than ``after_us`` and not later than ``until_us``."""
        table = schema.readings.c
        query = select(func.count()).where(table.measured_at >= start_us, table.measured_at < end_us)
        if after_us is not None:
            query = query.where(table.received_at > after_us)
        if until_us is not None:
            query = query.where(table.received_at <= until_us)
        with self._db.reading() as connection:
            return int(connection.execute(query).scalar_one())

    def readings_digest(
        self, start_us: int, end_us: int, after_us: int | None, until_us: int | None, pause_s: float = 0.0
    ) -> ReadingsDigest:
        """Of the readings of [start, end) that came later than ``after_us`` and not later than ``until_us``;
        ``pause_s`` between pieces, so that other threads get their turn.
        """
        rows_sha, texts_sha, count = hashlib.sha256(), hashlib.sha256(), 0
        counts, checks = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.uint64)
        for rows in self._raw_readings(start_us, end_us, after_us, until_us):
            words, texts = _words(rows)
            count += len(words)
            rows_sha.update(words[:, :-1].tobytes())
            for place, text in texts:
                texts_sha.update(f"{words[place, 0]},{words[place, 1]},{text}\n".encode())
            keys = np.clip(words[:, 1], 0, 2**31)
            size = int(keys.max()) + 1
            if size > len(counts):
                counts = np.pad(counts, (0, size - len(counts)))
                checks = np.pad(checks, (0, size - len(checks)))
            counts += np.bincount(keys, minlength=len(counts))
            np.add.at(checks, keys, _mixed(words))
            if pause_s:
                time.sleep(pause_s)
        there = np.flatnonzero(counts)
        short = (checks[there] >> np.uint64(32)).astype(np.uint32)
        whole = hashlib.sha256(rows_sha.digest() + texts_sha.digest()).hexdigest()
        return ReadingsDigest(count, whole, there, counts[there], short)

    def _raw_readings(
        self, start_us: int, end_us: int, after_us: int | None, until_us: int | None
    ) -> Iterator[Sequence[Any]]:
        mark = "?" if self._db.is_sqlite else "%s"
        where, values = f"measured_at >= {mark} AND measured_at < {mark}", [start_us, end_us]
        for sign, bound in ((">", after_us), ("<=", until_us)):
            if bound is not None:
                where += f" AND received_at {sign} {mark}"
                values.append(bound)
        query = f"SELECT {', '.join(READING_COLUMNS)} FROM readings WHERE {where} ORDER BY measured_at, resource_key"  # noqa: S608
        with self._db.reading() as connection:
            driver: Any = connection.connection.driver_connection
            with closing(driver.cursor() if self._db.is_sqlite else driver.cursor(name="record")) as cursor:
                cursor.execute(query, values)
                while rows := cursor.fetchmany(_PIECE):
                    yield rows


def _words(rows: Sequence[Any]) -> tuple[NDArray[np.int64], list[tuple[int, str]]]:
    """Rows as 64-bit words (n, 9), the last one a checksum of what is said of a session; and these texts by place."""
    # not zip(*rows): so many iterators at once take ten times as long
    *columns, sessions = (list(map(itemgetter(place), rows)) for place in range(len(READING_COLUMNS)))
    words = np.zeros((len(rows), len(columns) + 1), dtype="<i8")
    for place, (column, is_float) in enumerate(zip(columns, _IS_FLOAT, strict=True)):
        words[:, place] = _floats(column) if is_float else _integers(column)
    texts: list[tuple[int, str]] = []
    if sessions.count(None) < len(sessions):
        texts = [(place, str(text)) for place, text in enumerate(sessions) if text is not None]
    for place, text in texts:
        words[place, -1] = zlib.crc32(text.encode()) + 1
    return words, texts


def _floats(column: Sequence[Any]) -> NDArray[np.int64]:
    try:
        values = np.array(column, dtype="<f8")  # None becomes NaN
    except (ValueError, TypeError):
        values = np.array([x if isinstance(x, int | float) else np.nan if x is None else np.inf for x in column], "<f8")
    values[np.isnan(values)] = np.nan  # one NaN, whatever made it
    return values.view("<i8")


def _integers(column: Sequence[Any]) -> NDArray[np.int64]:
    try:
        made = np.array(column)
        if made.dtype.kind in "ib":
            return made.astype("<i8")
    except (ValueError, OverflowError):
        pass
    return np.array([int(x) if isinstance(x, int) and abs(x) < 2**63 else _NO_NUMBER for x in column], dtype="<i8")


def _mixed(words: NDArray[np.int64]) -> NDArray[np.uint64]:
    """One number for each row that hangs on every bit of it."""
    mixed = np.zeros(len(words), dtype=np.uint64)
    first, second = (np.uint64(each) for each in _MIX)
    for column in words.T:
        mixed = (mixed ^ column.view(np.uint64)) * first
        mixed ^= mixed >> np.uint64(29)
        mixed *= second
        mixed ^= mixed >> np.uint64(32)
    return mixed
