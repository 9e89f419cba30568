"""One seam to the database: engine, transactions, and errors that become ``StoreError``."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import QueuePool
from sqlalchemy.sql.schema import Table

from adapters.store.bulk import BUSY_S, prepare_sqlite
from adapters.store.writer import WriterError
from models.errors import InputError, InputFault, StoreError

WAITS = {
    "connect_timeout": "10",
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
"""Of a PostgreSQL server that has vanished from the network no word ever comes: a cycle would wait for it for minutes.
What the URL says of these holds."""
CLOSING_S, CLOSING_LOOK_S = 5.0, 0.01
"""So long at most, looking so often, a database that is closed waits for those who are at work in it."""


@dataclass
class _Transaction:
    connection: Connection
    thread: int
    writes: bool
    open: bool = True


def _checked_url(url: str) -> URL:
    try:
        made = make_url(url)
    except ArgumentError as error:
        raise InputError([InputFault("settings", "store.url", url, "must be a database URL")]) from error
    backend = made.get_backend_name()
    if backend == "postgresql":
        return made.set(drivername="postgresql+psycopg", query={**WAITS, **made.query})
    if backend != "sqlite":
        raise InputError([InputFault("settings", "store.url", url, "must begin with sqlite:/// or postgresql://")])
    if made.database in (None, "", ":memory:"):
        raise InputError([InputFault("settings", "store.url", url, "must name a file, as in sqlite:///var/vpp.db")])
    return made


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("vpp_writes", False)
    # A reader that turns writer in mid-transaction may find its snapshot outdated; a writer says so at once.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


class Database:
    """A database by URL, used from any thread; a transaction is its thread's and task's."""

    def __init__(self, url: str, observe: Callable[[str, float], None] | None = None) -> None:
        self.url = _checked_url(url)
        self._observe = observe
        self._writer = threading.Lock()
        self.after_rollback: list[Callable[[], None]] = []
        self._current: ContextVar[_Transaction | None] = ContextVar("transaction", default=None)
        self._file: tuple[int, int] | None = None
        try:
            self.engine = self._make_engine()
        except ImportError as error:
            raise StoreError("PostgreSQL needs its driver: install the extra 'postgres' (psycopg)") from error

    @property
    def is_sqlite(self) -> bool:
        """True on SQLite, False on PostgreSQL."""
        return self.url.get_backend_name() == "sqlite"

    def _make_engine(self) -> Engine:
        if not self.is_sqlite:
            return create_engine(self.url, pool_pre_ping=True, pool_size=4, max_overflow=8, pool_timeout=BUSY_S)
        Path(str(self.url.database)).expanduser().parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(self.url, connect_args={"check_same_thread": False}, pool_timeout=BUSY_S)
        event.listen(engine, "connect", self._prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine

    def _prepare_sqlite(self, connection: Any, _record: object) -> None:
        prepare_sqlite(connection)
        if self._file is None:
            self._file = self._file_now()

    def _file_now(self) -> tuple[int, int] | None:
        try:
            said = Path(self.driver_target).stat()
        except OSError:
            return None
        return said.st_dev, said.st_ino

    def _check_file(self) -> None:
        """Who removes or replaces the file of an open SQLite database leaves us one that nobody will find again: it
        must take nothing any more.
        """
        if self._file is not None and self._file_now() != self._file:
            raise StoreError(
                f"{self.url.database} was removed or replaced while in use: stop the service, put it right"
            )

    def close(self) -> None:
        """Give all connections back.

        Those in use have ``CLOSING_S`` to end what they do: the thread of a task that was cancelled goes on, and what
        it gives back to a pool that was disposed of is never closed.
        """
        pool, until = self.engine.pool, time.monotonic() + CLOSING_S
        while isinstance(pool, QueuePool) and pool.checkedout() > 0 and time.monotonic() < until:
            time.sleep(CLOSING_LOOK_S)
        self.engine.dispose()
        self._file = None

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Errors of SQLAlchemy and of the driver leave as ``StoreError``."""
        try:
            yield
        except SQLAlchemyError as error:
            raise StoreError(f"database: {getattr(error, 'orig', None) or error}") from error
        except self.engine.dialect.loaded_dbapi.Error as error:
            raise StoreError(f"database: {error}") from error

    def _joined(self) -> _Transaction | None:
        current = self._current.get()
        mine = current is not None and current.open and current.thread == threading.get_ident()
        return current if mine else None

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one consistent state; inside ``writing`` it is the same transaction."""
        current = self._joined()
        if current is not None:
            with self.translated():
                yield current.connection
            return
        started = time.perf_counter()
        self._check_file()
        with self.translated(), self._at_one_moment() as connection:
            yield connection
        self._measure("read", started)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection whose changes are committed at the end or not at all; nested calls join the outer."""
        current = self._joined()
        if current is not None:
            with self.translated():
                yield current.connection
            return
        started = time.perf_counter()
        with self.translated(), self._turn(), self.engine.connect() as plain, self._all_or_nothing():
            connection = plain.execution_options(vpp_writes=True)
            with connection.begin():
                transaction = _Transaction(connection, threading.get_ident(), True)
                token = self._current.set(transaction)
                try:
                    yield connection
                finally:
                    transaction.open = False
                    self._current.reset(token)
        self._measure("write", started)

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """What was learnt inside a transaction is forgotten with it, also if it fails at its very commit."""
        done = False
        try:
            yield
            done = True
        finally:
            if not done:
                for forget in self.after_rollback:
                    forget()

    @property
    def driver_target(self) -> str:
        """What a driver of its own needs to open the same database: a path, or a connection string."""
        if self.is_sqlite:
            return str(Path(str(self.url.database)).expanduser().absolute())
        return self.url.set(drivername="postgresql").render_as_string(hide_password=False)

    def written_elsewhere(self, write: Callable[[], int]) -> int:
        """A transaction that another process of ours does for us; ``StoreError`` if it fails."""
        started = time.perf_counter()
        with self._turn():
            try:
                done = write()
            except WriterError as error:
                raise StoreError(str(error)) from error
        self._measure("write", started)
        return done

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A long look at one moment while others go on writing."""
        self._check_file()
        with self.translated(), self._at_one_moment() as connection:
            yield connection

    @contextmanager
    def _at_one_moment(self) -> Iterator[Connection]:
        """SQLite's transactions see one state; PostgreSQL's see a new one with each statement unless told otherwise."""
        with self.engine.connect() as plain:
            level = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
            connection = plain.execution_options(**level)
            with connection.begin():
                yield connection

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """SQLite has one writer; threads queue here, which is fairer than polling the file."""
        if not self.is_sqlite:
            yield
            return
        if not self._writer.acquire(timeout=BUSY_S):
            raise StoreError(f"another transaction has been open for {BUSY_S:g} s: no await inside a transaction")
        try:
            self._check_file()
            yield
        finally:
            self._writer.release()

    def _measure(self, operation: str, started: float) -> None:
        if self._observe is not None:
            self._observe(operation, time.perf_counter() - started)

    def insert(self, table: Table) -> Any:
        """An INSERT that knows ON CONFLICT in the words of this database (they are the same in both)."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    def lock(self, connection: Connection, what: int) -> None:
        """Until the end of the transaction nobody else holds ``what`` (SQLite has one writer anyway)."""
        if not self.is_sqlite:
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (0x5650_0000 + what,))


class Part:
    """What every part of the store builds on: the database, and resource ids as small integers."""

    def __init__(self, database: Database) -> None:
        self._db = database
