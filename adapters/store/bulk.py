"""Many rows at once, with the drivers' own means: readings, and the answers to the messages that brought them.

Run as a script it is the far end of ``adapters.store.writer``: it imports nothing of ours and starts in a few tenths of
a second.
"""

import contextlib
import os
import pickle
import select
import sqlite3
import struct
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

READING_COLUMNS = (
    "measured_at",
    "resource_key",
    "received_at",
    "power_kw",
    "energy_kwh",
    "temperature_celsius",
    "available",
    "sequence",
    "session",
)
MEAN_COLUMNS = ("start", "resource_key", "mean_kw", "min_kw", "max_kw", "count", "energy_kwh")
_INSERT = f"INSERT OR IGNORE INTO readings ({', '.join(READING_COLUMNS)})"
_REMEMBER = "INSERT INTO answered_messages (aggregator_id, message_id, answer, answered_at)"
_SIZES = (256, 32, 4, 1)
"""Rows of a statement: few different ones, so that the driver keeps them compiled; longer ones take longer a row."""
_CHUNK = 500
_LENGTH = struct.Struct("!Q")
_TRY_AGAIN_S = 0.5
"""Between two attempts to open the database at the start."""

ReadingRows = tuple[
    NDArray[np.int64],
    NDArray[np.int64],
    NDArray[np.int64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.bool_],
    NDArray[np.int64],
    dict[int, str],
]
"""The columns in their order, (n,) each, NaN for NULL; sessions by position, where something is said of one."""
AnswerRows = Sequence[tuple[str, str, bytes, int]]
"""aggregator_id, message_id, answer, microseconds."""


def chunked(values: Iterable[Any], size: int = _CHUNK) -> Iterable[list[Any]]:
    """Pieces that fit into one IN (...)."""
    kept = list(values)
    return (kept[low : low + size] for low in range(0, len(kept), size))


# ---- SQLite


def insert_readings_sqlite(driver: Any, rows: ReadingRows) -> int:
    """Keep what is new, and say how many that were."""
    before = driver.total_changes
    *columns, sessions = rows
    texts: list[str | None] = [None] * len(columns[0])
    for place, text in sessions.items():
        texts[place] = text
    lists = [_nullable(column) if column.dtype.kind == "f" else column.tolist() for column in columns]
    _insert(driver, _INSERT, list(zip(*lists, texts, strict=True)))
    return int(driver.total_changes - before)


def insert_answers_sqlite(driver: Any, answers: AnswerRows) -> None:
    """Keep answers; one that is there already is an error of the driver."""
    _insert(driver, _REMEMBER, answers)


def insert_means_sqlite(driver: Any, rows: Sequence[tuple[Any, ...]]) -> None:
    """Keep means; those of an hour that was done before are replaced."""
    _insert(driver, f"INSERT OR REPLACE INTO reading_means ({', '.join(MEAN_COLUMNS)})", rows)


def insert_means_postgres(driver: Any, rows: Sequence[tuple[Any, ...]]) -> None:
    """As ``insert_means_sqlite``."""
    changes = ", ".join(f"{name} = excluded.{name}" for name in MEAN_COLUMNS[2:])
    with driver.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO reading_means ({', '.join(MEAN_COLUMNS)}) VALUES (%s, %s, %s, %s, %s, %s, %s) "  # noqa: S608
            f"ON CONFLICT (start, resource_key) DO UPDATE SET {changes}",
            rows,
        )


def _nullable(values: NDArray[Any]) -> list[float | None]:
    missing = np.isnan(values)
    if not missing.any():
        return list(values.tolist())
    kept = values.astype(object)
    kept[missing] = None
    return list(kept.tolist())


def _insert(driver: Any, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if not rows:
        return
    mark, low = f"({', '.join('?' * len(rows[0]))})", 0
    for size in _SIZES:
        text = f"{statement} VALUES {', '.join([mark] * size)}"
        while len(rows) - low >= size:
            driver.execute(text, list(chain.from_iterable(rows[low : low + size])))
            low += size


# ---- PostgreSQL


def insert_readings_postgres(driver: Any, rows: ReadingRows) -> int:
    """Keep what is new, and say how many that were; the partitions must be there."""
    with driver.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE IF NOT EXISTS incoming_readings (LIKE readings) ON COMMIT DELETE ROWS")
        cursor.execute("TRUNCATE incoming_readings")
        with cursor.copy("COPY incoming_readings FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(copy_bytes(rows))
        cursor.execute("INSERT INTO readings SELECT * FROM incoming_readings ON CONFLICT DO NOTHING")
        return int(cursor.rowcount)


def insert_answers_postgres(driver: Any, answers: AnswerRows) -> None:
    """Keep answers; one that is there already is an error of the driver."""
    with driver.cursor() as cursor:
        cursor.executemany(f"{_REMEMBER} VALUES (%s, %s, %s, %s)", answers)


def copy_bytes(rows: ReadingRows) -> bytes:
    """The rows in PostgreSQL's binary COPY format: all rows that lack the same values in one go."""
    parts = [b"PGCOPY\n\xff\r\n\x00" + struct.pack("!ii", 0, 0)]
    _, _, _, _, energy, warmth, _, _, sessions = rows
    said = np.zeros(len(energy), dtype=np.bool_)
    said[list(sessions)] = True
    kinds = np.isnan(energy) + 2 * np.isnan(warmth)
    for kind in np.unique(kinds).tolist():
        places = np.flatnonzero((kinds == kind) & ~said)
        parts.append(_same_kind(rows, places, None))
        parts += [
            _same_kind(rows, np.array([place]), sessions[place]) for place in sessions if int(kinds[place]) == kind
        ]
    return b"".join([*parts, struct.pack("!h", -1)])


def _same_kind(rows: ReadingRows, places: NDArray[np.int64], session: str | None) -> bytes:
    if not len(places):
        return b""
    types = (">i8", ">i4", ">i8", ">f8", ">f8", ">f8", ">i1", ">i8")
    fields: list[tuple[str, str]] = [("count", ">i2")]
    values: dict[str, Any] = {"count": len(READING_COLUMNS)}
    for name, kind, column in zip(READING_COLUMNS, types, rows[:-1], strict=False):
        chosen = column[places]
        fields.append((f"{name}_bytes", ">i4"))
        if chosen.dtype == np.float64 and np.isnan(chosen[0]):
            values[f"{name}_bytes"] = -1
            continue
        fields.append((name, kind))
        values |= {f"{name}_bytes": np.dtype(kind).itemsize, name: chosen}
    text = b"" if session is None else session.encode()
    made = np.empty(len(places), dtype=np.dtype([*fields, ("session_bytes", ">i4")]))
    for name, value in values.items():
        made[name] = value
    made["session_bytes"] = -1 if session is None else len(text)
    return made.tobytes() + text


def prepare_sqlite(connection: Any) -> None:
    """What every connection of ours says to SQLite."""
    connection.isolation_level = None  # we say BEGIN ourselves, and mean it (also around DDL)
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")  # a receipt is sent after the commit and must outlive a power cut
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA cache_size = -65536")
    cursor.execute(f"PRAGMA busy_timeout = {int(BUSY_S * 1000)}")
    cursor.close()


BUSY_S = 30.0
"""How long a writer waits for another one before it gives up."""


# ---- in a process of its own


def packed(word: Any) -> bytes:
    """As it goes through the pipe between the two processes."""
    said = pickle.dumps(word, protocol=5)
    return _LENGTH.pack(len(said)) + said


def unpacked(stream: IO[bytes]) -> Any:
    """The next word from the pipe; ``OSError`` at its end."""
    head = stream.read(_LENGTH.size)
    said = stream.read(_LENGTH.unpack(head)[0]) if len(head) == _LENGTH.size else b""
    if not said or len(said) < _LENGTH.unpack(head)[0]:
        raise OSError("end of the pipe")
    return pickle.loads(said)  # noqa: S301 - from our own other half


class _Session:
    """The connection of the process.  After a failure it is given up, whatever state it is in (a server that was
    restarted, a transaction that the database has undone by itself), and the next write opens another.
    """

    def __init__(self, database: str) -> None:
        self._database = database
        self._is_sqlite = "://" not in database
        self._connection: Any = None
        if self._is_sqlite:
            self.error_type: type[Exception] = sqlite3.Error
        else:
            import psycopg  # noqa: PLC0415 - an extra

            self.error_type = psycopg.Error
            self._connect = psycopg.connect

    def open(self) -> Any:
        """The connection, opened if need be."""
        if self._connection is None:
            if self._is_sqlite:  # mode: one that has gone must not come back empty
                self._connection = sqlite3.connect(f"{Path(self._database).as_uri()}?mode=rw", uri=True)
                prepare_sqlite(self._connection)
            else:
                self._connection = self._connect(self._database, autocommit=True)
        return self._connection

    def give_up(self) -> None:
        """No ROLLBACK, which fails where there is no transaction any more: what is not committed goes with it."""
        with contextlib.suppress(self.error_type):
            if self._connection is not None:
                self._connection.close()
        self._connection = None

    def write(self, rows: ReadingRows, answers: AnswerRows) -> int:
        """One transaction; how many readings were new."""
        try:
            connection = self._begun()
            new = (insert_readings_sqlite if self._is_sqlite else insert_readings_postgres)(connection, rows)
            (insert_answers_sqlite if self._is_sqlite else insert_answers_postgres)(connection, answers)
            connection.execute("COMMIT")
        except self.error_type:
            self.give_up()
            raise
        return new

    def _begun(self) -> Any:
        """A connection in a transaction.  One that the server has closed meanwhile says so here, where nothing is lost
        yet.
        """
        begin = "BEGIN IMMEDIATE" if self._is_sqlite else "BEGIN"
        try:
            self.open().execute(begin)
        except self.error_type:
            if self._is_sqlite or self._connection is None or not self._connection.closed:
                raise
            self.give_up()
            self.open().execute(begin)
        return self._connection


def _serve(database: str, stream: IO[bytes], answer: IO[bytes]) -> None:
    """Open the database, then write whatever comes until the pipe ends."""

    def say(word: Any) -> None:
        answer.write(packed(word))
        answer.flush()

    session = _Session(database)
    while True:
        try:
            session.open()
            break
        except session.error_type:
            session.give_up()
            if select.select([stream], [], [], _TRY_AGAIN_S)[0]:
                return  # nobody sends anything before we are ready: it has ended
    say("ready")
    while True:
        try:
            rows, answers = unpacked(stream)
        except OSError:
            return
        try:
            say(session.write(rows, answers))
        except session.error_type as error:
            say(f"database: {error}")


if __name__ == "__main__":
    with os.fdopen(os.dup(0), "rb") as incoming, os.fdopen(os.dup(1), "wb") as outgoing:
        _serve(unpacked(incoming), incoming, outgoing)
