"""A database as it stands at an instant, whatever is done to it afterwards: what a kill leaves on the disk."""

import sqlite3
from contextlib import closing
from pathlib import Path


class FrozenStore:
    """What had been committed to an SQLite file when this was made; ``put_back`` makes that its content again."""

    def __init__(self, database: Path) -> None:
        self._database, self._kept = database, database.with_name(f"{database.name}.frozen")
        self._kept.unlink(missing_ok=True)
        with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(self._kept)) as kept:
            source.backup(kept)

    def put_back(self) -> None:
        """Forget what was written since then; nobody may have the file open any more."""
        for end in ("-wal", "-shm", "-journal"):
            for each in (self._database, self._kept):
                each.with_name(f"{each.name}{end}").unlink(missing_ok=True)
        self._kept.replace(self._database)
