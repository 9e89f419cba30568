"""Many rows at once, with the drivers' own means: readings, and the answers to the messages that brought them.

``WriterProcess`` does it in a process of its own.  SQLite needs some microseconds a row, and its driver lets go of the
interpreter's lock and fights for it again at every statement: beside a busy event loop both together did less than
either alone (measured: 44 000 readings a second, 155 000 alone).  The process is this very file, run as a script: it
imports nothing of ours and starts in a few tenths of a second.
"""

import contextlib
import os
import pickle
import select
import sqlite3
import struct
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from itertools import chain
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
_ANSWER_LIMIT_S = 60.0
_LENGTH = struct.Struct("!Q")

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


# ---- in a process of its own


class WriterError(Exception):
    """The process has not written; ``args`` say why."""


class WriterProcess:
    """The far end of a pipe to this file as a script; one transaction for each call.  For threads, one at a time."""

    def __init__(self, database: str) -> None:
        """``database``: the path of an SQLite file, or a PostgreSQL connection string."""
        self._lock = threading.Lock()
        self._is_ready = False
        self._process = subprocess.Popen(  # noqa: S603 - this file
            [sys.executable, "-P", __file__],  # -P: its folder holds modules of ours
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us: it ends when the pipe does
        )
        self._send(pickle.dumps(database))

    @property
    def is_ready(self) -> bool:
        """True once it has opened the database."""
        if not self._is_ready and self._process.poll() is None and _can_read(self._out, 0.0):
            self._is_ready = self._receive() == "ready"
        return self._is_ready

    @property
    def has_ended(self) -> bool:
        """True if it must be started anew."""
        return self._process.poll() is not None

    def write(self, rows: ReadingRows, answers: AnswerRows) -> int:
        """Readings and answers in one transaction; how many readings were new.  ``WriterError``: nothing is kept, or
        its word did not come (then they may be kept: send again).
        """
        with self._lock:
            try:
                self._send(pickle.dumps((rows, list(answers)), protocol=5))
                if not _can_read(self._out, _ANSWER_LIMIT_S):
                    self.close()
                    raise WriterError(f"no word for {_ANSWER_LIMIT_S:g} s")
                said = self._receive()
            except OSError as error:
                self.close()
                raise WriterError(f"the writing process has ended: {error}") from error
        if isinstance(said, str):
            raise WriterError(said)
        return int(said)

    def close(self) -> None:
        """End it; what it was doing is rolled back, or was done."""
        self._is_ready = False
        with contextlib.suppress(OSError):
            self._in.close()
        self._process.kill()
        self._process.wait()
        self._out.close()

    @property
    def _in(self) -> IO[bytes]:
        return self._process.stdin or _none()

    @property
    def _out(self) -> IO[bytes]:
        return self._process.stdout or _none()

    def _send(self, said: bytes) -> None:
        self._in.write(_LENGTH.pack(len(said)) + said)
        self._in.flush()

    def _receive(self) -> Any:
        return _read(self._out)


def _none() -> IO[bytes]:
    raise WriterError("the writing process has no pipe")


def _can_read(stream: IO[bytes], limit_s: float) -> bool:
    try:
        return bool(select.select([stream], [], [], limit_s)[0])
    except ValueError:  # closed
        return False


def _read(stream: IO[bytes]) -> Any:
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise OSError("end of the pipe")
    return pickle.loads(stream.read(_LENGTH.unpack(head)[0]))  # noqa: S301 - from our own other half


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


def _serve(database: str, stream: IO[bytes], answer: IO[bytes]) -> None:
    """Open the database, then write whatever comes until the pipe ends."""

    def say(word: Any) -> None:
        said = pickle.dumps(word)
        answer.write(_LENGTH.pack(len(said)) + said)
        answer.flush()

    is_sqlite = "://" not in database
    connection: Any
    if is_sqlite:
        connection = sqlite3.connect(database)
        prepare_sqlite(connection)
    else:
        import psycopg  # noqa: PLC0415 - an extra

        connection = psycopg.connect(database, autocommit=True)
    error_type = sqlite3.Error if is_sqlite else psycopg.Error
    say("ready")
    while True:
        try:
            rows, answers = _read(stream)
        except OSError:
            return
        try:
            connection.execute("BEGIN IMMEDIATE" if is_sqlite else "BEGIN")
            try:
                insert = insert_readings_sqlite if is_sqlite else insert_readings_postgres
                new = insert(connection, rows)
                (insert_answers_sqlite if is_sqlite else insert_answers_postgres)(connection, answers)
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
        except error_type as error:
            say(f"database: {error}")
        else:
            say(new)


if __name__ == "__main__":
    with os.fdopen(os.dup(0), "rb") as incoming, os.fdopen(os.dup(1), "wb") as outgoing:
        _serve(_read(incoming), incoming, outgoing)
