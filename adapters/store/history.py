"""The schema's history: which revision a database has, and bringing it to the newest."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from adapters.store.connection import Part


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def known_revisions() -> list[str]:
    """Revisions that this version of the code knows, the newest first."""
    return [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()]


def revision_of(connection: Connection) -> str | None:
    """The revision of a database; None: it is empty."""
    return MigrationContext.configure(connection).get_current_revision()


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Apply the migrations up to ``revision`` inside the transaction of ``connection``."""
    command.upgrade(_config(connection), revision)


class History(Part):
    """Schema migrations, run by the program itself."""

    def migrate(self) -> str:
        """Bring the schema to the newest revision, in one transaction, and say which it is; repeatable."""
        newest = known_revisions()[0]
        with self._db.writing() as connection:
            self._db.lock(connection, 3)
            if revision_of(connection) != newest:
                upgrade(connection)
        return newest

    def revision(self) -> str | None:
        """The schema revision of the database; None: never migrated."""
        with self._db.reading() as connection:
            return revision_of(connection)
