"""The whole state as one file, and back: the same format from either database into either database.

A zip with ``manifest.json`` (format, schema revision, and per table the rows and the SHA-256) and one Parquet
file per table.  All tables are read in one transaction, so a backup of a running service is one moment.
"""

import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from sqlalchemy import (
    BigInteger,
    Boolean,
    Connection,
    Double,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    insert,
    select,
)
from sqlalchemy import column as bare_column
from sqlalchemy import table as bare_table
from sqlalchemy.types import TypeEngine

from adapters.store import schema
from adapters.store.bulk import ReadingRows
from adapters.store.history import known_revisions, revision_of, upgrade
from adapters.store.readings import PARTITION, Readings
from models.errors import InputError, InputFault, StoreError

FORMAT = 1
_ROWS = 20_000
_TYPES: list[tuple[type[TypeEngine[Any]], pa.DataType]] = [
    (Boolean, pa.bool_()),
    (BigInteger, pa.int64()),
    (Integer, pa.int64()),
    (Double, pa.float64()),
    (Float, pa.float64()),
    (LargeBinary, pa.binary()),
]


def _arrow_schema(table: Table) -> pa.Schema:
    def arrow(kind: TypeEngine[Any]) -> pa.DataType:
        plain = getattr(kind, "impl", kind)
        return next((made for known, made in _TYPES if isinstance(plain, known)), pa.string())

    return pa.schema([(column.name, arrow(column.type)) for column in table.c])


def _raw_tables(connection: Connection) -> list[Table]:
    """The tables as the database has them, without our types, parents before children."""
    found = MetaData()
    found.reflect(connection)
    return [
        table
        for table in found.sorted_tables
        if table.name != "alembic_version" and not PARTITION.fullmatch(table.name)
    ]


class Backup(Readings):
    """``backup`` while running; ``restore`` into an empty database."""

    def backup(self, path: Path) -> dict[str, int]:
        """Write the whole state to one file, which appears complete or not at all; returns rows per table."""
        path = Path(path)
        try:
            with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
                manifest = self._dump(Path(folder))
                made = Path(folder) / "backup.zip"
                with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:  # Parquet is compressed already
                    archive.writestr("manifest.json", json.dumps(manifest, indent=1))
                    for name in manifest["tables"]:
                        archive.write(Path(folder) / f"{name}.parquet", f"{name}.parquet")
                with made.open("rb") as stream:
                    os.fsync(stream.fileno())
                made.replace(path)
        except OSError as error:
            raise StoreError(f"cannot write the backup {path}: {error}") from error
        return {name: facts["rows"] for name, facts in manifest["tables"].items()}

    def _dump(self, folder: Path) -> dict[str, Any]:
        facts: dict[str, Any] = {}
        with self._db.snapshot() as connection:
            revision = revision_of(connection)
            if revision is None:
                raise StoreError("there is nothing to back up: this database has never been migrated")
            for table in schema.metadata.sorted_tables:
                target = folder / f"{table.name}.parquet"
                rows = _write_parquet(connection, table, target)
                with target.open("rb") as stream:
                    facts[table.name] = {
                        "rows": rows,
                        "sha256": hashlib.file_digest(stream, "sha256").hexdigest(),
                    }
        return {"format": FORMAT, "revision": revision, "tables": facts}

    def restore(self, path: Path, *, force: bool = False) -> dict[str, int]:
        """Fill the database from a backup, in one transaction; returns rows per table.

        ``InputError`` if the file is damaged, was made by a newer version, or the database holds anything
        (``force`` replaces it).  Whatever goes wrong, the database is as before.
        """
        path = Path(path)
        with _opened(path) as archive:
            manifest = _verified(path, archive)
            revision = manifest["revision"]
            if revision not in known_revisions():
                rule = "must be a schema revision that this version knows: the backup comes from a newer one"
                raise _fault(path, "revision", revision, rule)
            with self._db.writing() as connection:
                self._empty(connection, path, force)
                upgrade(connection, revision)
                for table in _raw_tables(connection):
                    if table.name in manifest["tables"]:
                        self._fill(connection, table, archive)
                if not self._db.is_sqlite:
                    _advance_counters(connection)
                upgrade(connection)
                broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all() if self._db.is_sqlite else []
                if broken:
                    raise _fault(path, broken[0][0], broken[0][1], "refers to something that the backup does not hold")
        self._forget_keys()
        return {name: facts["rows"] for name, facts in manifest["tables"].items()}

    def _empty(self, connection: Connection, path: Path, force: bool) -> None:
        present = MetaData()
        present.reflect(connection)
        for table in present.sorted_tables:
            held = table.name != "alembic_version" and connection.execute(table.select().limit(1)).first() is not None
            if held and not force:
                raise _fault(path, table.name, "rows", "the database to restore into must be empty (or use force)")
        for table in reversed(present.sorted_tables):
            if not PARTITION.fullmatch(table.name):
                table.drop(connection)

    def _fill(self, connection: Connection, table: Table, archive: zipfile.ZipFile) -> None:
        for rows in _read_parquet(archive, table.name):
            if table.name == "readings":
                self._insert_rows(connection, _reading_rows(rows))
            else:
                connection.execute(insert(table), rows)


def _reading_rows(rows: Sequence[Mapping[str, Any]]) -> ReadingRows:
    """Rows of a backup, which are in the order of time, as columns."""

    def column(name: str, kind: type) -> NDArray[Any]:
        return np.array([row[name] for row in rows], dtype=kind)  # None becomes NaN

    return (
        column("measured_at", np.int64),
        column("resource_key", np.int64),
        column("received_at", np.int64),
        column("power_kw", np.float64),
        column("energy_kwh", np.float64),
        column("temperature_celsius", np.float64),
        column("available", np.bool_),
        column("sequence", np.int64),
        {place: row["session"] for place, row in enumerate(rows) if row["session"] is not None},
    )


def _write_parquet(connection: Connection, table: Table, target: Path) -> int:
    shape = _arrow_schema(table)
    written = 0
    keys = [column.name for column in table.primary_key.columns]
    untyped = bare_table(table.name, *[bare_column(column.name) for column in table.c])
    query = select(untyped).order_by(*[untyped.c[name] for name in keys])
    batch = _ROWS if not any(isinstance(column.type, LargeBinary) for column in table.c) else 50
    with pq.ParquetWriter(target, shape, compression="zstd") as writer:
        found = connection.execution_options(stream_results=True, yield_per=batch).execute(query)
        for rows in found.partitions(batch):
            columns = [list(column) for column in zip(*rows, strict=True)]
            for place, kind in enumerate(shape):
                if pa.types.is_boolean(kind.type):  # SQLite's are 0 and 1
                    columns[place] = [None if value is None else bool(value) for value in columns[place]]
            arrays = [pa.array(column, kind.type) for column, kind in zip(columns, shape, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=shape))
            written += len(rows)
    return written


def _read_parquet(archive: zipfile.ZipFile, name: str) -> Iterator[list[dict[str, Any]]]:
    with archive.open(f"{name}.parquet") as stream:
        for batch in pq.ParquetFile(stream).iter_batches(batch_size=_ROWS):
            yield batch.to_pylist()


def _advance_counters(connection: Connection) -> None:
    """PostgreSQL's key sequences go on behind the restored keys."""
    for table in schema.metadata.sorted_tables:
        column = table.autoincrement_column
        if column is not None:
            connection.exec_driver_sql(
                f"SELECT setval(pg_get_serial_sequence('{table.name}', '{column.name}'), "  # noqa: S608 - our own names
                f"(SELECT coalesce(max({column.name}), 0) + 1 FROM {table.name}), false)"
            )


def _fault(path: Path, field: str, value: object, rule: str) -> InputError:
    return InputError([InputFault(path.name, field, value, rule)])


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise _fault(path, "file", str(error), "must be a readable backup") from error


def _verified(path: Path, archive: zipfile.ZipFile) -> dict[str, Any]:
    """The manifest of a file in which every byte is as it was written."""
    try:
        manifest: dict[str, Any] = json.loads(archive.read("manifest.json"))
        if manifest["format"] != FORMAT:
            raise _fault(path, "format", manifest["format"], f"must be {FORMAT}")
        for name, facts in manifest["tables"].items():
            with archive.open(f"{name}.parquet") as stream:
                if _digest(stream) != facts["sha256"]:
                    raise _fault(path, name, "checksum", "is damaged: its SHA-256 is not the one in the manifest")
        str(manifest["revision"])
    except (KeyError, TypeError, AttributeError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise _fault(path, "file", str(error), "is damaged or not a backup of ours") from error
    return manifest


def _digest(stream: Any) -> str:
    made = hashlib.sha256()
    while block := stream.read(1 << 20):
        made.update(block)
    return made.hexdigest()
