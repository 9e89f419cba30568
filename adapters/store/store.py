"""``Store``: one object with everything that is kept, each idea in its own file."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from sqlalchemy import text

from adapters.store.accounts import Accounts
from adapters.store.backup import Backup
from adapters.store.conduct import Conducts
from adapters.store.connection import Database
from adapters.store.history import History
from adapters.store.journal import Journal
from adapters.store.levels import Levels
from adapters.store.notices import Notices
from adapters.store.planning import Planning
from adapters.store.record import Records
from adapters.store.retention import Retention
from adapters.store.statements import Statements


class Store(Accounts, Conducts, Planning, Levels, Notices, Journal, Statements, Records, History, Backup, Retention):
    """The whole state behind synchronous, thread-safe methods.

    ``url``: ``sqlite:///path/to/file`` or ``postgresql://user@host/database``.  ``observe`` is told what kind
    of transaction ("read", "write") took how many seconds.  Times are aware UTC, powers kW, energies kWh.
    Every method is one transaction of its own unless called inside ``transaction()``.  Errors: ``StoreError``
    (try again later) and those that the methods name.
    """

    def __init__(self, url: str, observe: Callable[[str, float], None] | None = None) -> None:
        super().__init__(Database(url, observe))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside happens or nothing; methods called inside join in.

        It belongs to the thread and task that opened it. Await nothing inside: on SQLite all writers wait.
        """
        with self._db.writing():
            yield

    def ping(self) -> None:
        """Return if the database answers, ``StoreError`` if not."""
        with self._db.reading() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """Give all connections back; the store opens new ones when it is used again."""
        self.end_writer()
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
