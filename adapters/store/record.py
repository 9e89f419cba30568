"""What the flight recorder keeps and reads: blobs under their own SHA-256, its lines, and stored rows as they stand.

Rows are read without our types and without objects: whoever changed one may have put anything into it, and it must be
told apart, not stumbled over.
"""

import hashlib
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, Table, func, select
from sqlalchemy import column as bare_column
from sqlalchemy import table as bare_table

from adapters.store import schema
from adapters.store.record_readings import RecordReadings
from adapters.store.schema import to_us
from models.canonical import finite
from models.errors import StoreError

ACTORS = ("recorder", "retention")
"""Whose lines of the audit log the record is made of."""
_LINES = 2000


ISSUED = "statement issued"
SENDING = ""
Said = dict[str, tuple[str | None, str | None, int | None]]


@dataclass(frozen=True, slots=True)
class RecordLine:
    """A line of the audit log that belongs to the record."""

    entry_id: int
    action: str
    subject: str
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class RowDigest:
    """A stored row with all that hangs on it: its key, a name to find it by, its time (microseconds), what is said of
    it in the record, and the SHA-256 over all of it.
    """

    key: int
    name: str
    at_us: int
    facts: dict[str, Any]
    sha256: str


@dataclass(frozen=True, slots=True)
class Answers:
    """What was answered to one batch: resource → outcome, reason, microseconds; nobody who has not answered.

    Under ``SENDING`` stands how often it was tried, if that was given up, and when it was tried last.
    """

    key: int
    command_id: str
    sent_us: int
    said: Said


def _raw(table: Table) -> Any:
    return bare_table(table.name, *[bare_column(column.name) for column in table.c])


def _sha256(facts: Any) -> str:
    """As ``sha256_of``, of anything that a tampered row may hold, infinity and NaN too."""
    said = json.dumps(facts, sort_keys=True, separators=(",", ":"), default=repr)
    return hashlib.sha256(said.encode()).hexdigest()


def _microseconds(value: Any) -> int:
    return value if isinstance(value, int) else -1


class Records(RecordReadings):
    """Blobs are added and never changed: the database itself refuses."""

    # ---- blobs and lines

    def put_blob(self, content: bytes) -> str:
        """Keep it, once however often it comes; returns its SHA-256."""
        sha256 = hashlib.sha256(content).hexdigest()
        values = {"sha256": sha256, "size": len(content), "body": zlib.compress(content, 6)}
        with self._db.writing() as connection:
            connection.execute(self._db.insert(schema.record_blobs).values(values).on_conflict_do_nothing())
        return sha256

    def intact_blob(self, sha256: str) -> bytes | None:
        """What was kept under that hash; None if it is not there or is not what was kept."""
        table = schema.record_blobs
        with self._db.reading() as connection:
            row = connection.execute(select(table.c.size, table.c.body).where(table.c.sha256 == sha256)).one_or_none()
        try:
            content = b"" if row is None else zlib.decompress(row.body)
        except (zlib.error, TypeError):
            return None
        intact = row is not None and row.size == len(content) and hashlib.sha256(content).hexdigest() == sha256
        return content if intact else None

    def blob(self, sha256: str) -> bytes:
        """As ``intact_blob``, but ``StoreError`` instead of None."""
        content = self.intact_blob(sha256)
        if content is None:
            raise StoreError(f"record: blob {sha256} is missing or has been changed")
        return content

    def blob_bytes(self) -> tuple[int, int]:
        """How many blobs there are, and what they take in the database."""
        table = schema.record_blobs
        query = select(func.count(), func.coalesce(func.sum(func.length(table.c.body)), 0))
        with self._db.reading() as connection:
            count, size = connection.execute(query.select_from(table)).one()
        return int(count), int(size)

    def record_lines(self, after_id: int = 0) -> Iterator[RecordLine]:
        """Lines of the recorder and of retention, and of statements, after a number; one that holds no JSON any more is
        left out: the chain tells of it.
        """
        table = _raw(schema.audit)
        query = select(table.c.entry_id, table.c.action, table.c.subject, table.c.details)
        query = query.where(table.c.actor.in_(ACTORS) | (table.c.action == ISSUED))
        while True:
            piece = query.where(table.c.entry_id > after_id).order_by(table.c.entry_id).limit(_LINES)
            with self._db.reading() as connection:
                rows = connection.execute(piece).all()
            for row in rows:
                try:
                    details = json.loads(row.details)
                except (ValueError, TypeError):
                    continue
                if isinstance(details, dict):
                    yield RecordLine(row.entry_id, row.action, row.subject, details)
            if len(rows) < _LINES:
                return
            after_id = rows[-1].entry_id

    # ---- rows

    def plan_digests(
        self, after: int | None, through: int | None, *, until: datetime | None = None, limit: int | None = None
    ) -> list[RowDigest]:
        """Plans with after < key <= through, in order, up to the first that was made later than ``until``.

        ``sha256`` is over what stays of every plan; "schedule" over its arrays (None: not kept as a whole).  When it
        was delivered is noted later, and stands beside.
        """
        table, found = _raw(schema.plans), []
        with self._db.reading() as connection:
            rows = connection.execute(_between(table, table.c.plan_key, after, through, limit)).all()
            for row in rows:
                at_us = _microseconds(row.made_at)
                if until is not None and at_us > to_us(until):
                    break
                try:
                    facts = json.loads(row.facts)
                    delivered_at = facts.pop("delivered_at", None)
                except (ValueError, TypeError, AttributeError):
                    facts, delivered_at = {"unreadable": row.facts}, None
                whole = bytes(row.edges) != b"" if isinstance(row.edges, bytes | memoryview) else True
                parts = _raw(schema.plan_parts)
                shown = {name: facts.get(name) for name in ("source", "status", "objective_cny", "lower_bound_cny")}
                shown |= {"kind": row.kind, "market_day": row.market_day, "delivered_at": delivered_at}
                shown["schedule"] = self._arrays(connection, row, parts, "plan_key") if whole else None
                stays = [row.kind, row.market_day, row.made_at, row.plan_hash, facts]
                found.append(RowDigest(row.plan_key, row.plan_hash, at_us, finite(shown), _sha256(stays)))
        return found

    def baseline_digests(self, after: int | None, through: int | None, limit: int | None = None) -> list[RowDigest]:
        """Baseline tables with after < key <= through, in order."""
        table, parts, found = _raw(schema.baselines), _raw(schema.baseline_parts), []
        with self._db.reading() as connection:
            for row in connection.execute(_between(table, table.c.baseline_key, after, through, limit)).all():
                arrays = self._arrays(connection, row, parts, "baseline_key")
                said = _sha256([row.market_day, row.baseline_hash, arrays])
                facts = {"market_day": row.market_day}
                found.append(RowDigest(row.baseline_key, row.baseline_hash, 0, facts, said))
        return found

    @staticmethod
    def _arrays(connection: Any, row: Row[Any], parts: Any, owner: str) -> str:
        """SHA-256 over grid, names and every part, as they are stored."""
        made = hashlib.sha256()
        for body in (row.edges, row.resource_ids):
            made.update(_sha256(bytes(body).hex() if isinstance(body, bytes | memoryview) else body).encode())
        query = select(parts).where(parts.c[owner] == getattr(row, owner)).order_by(parts.c.array, parts.c.part)
        for part in connection.execute(query):
            body = bytes(part.body) if isinstance(part.body, bytes | memoryview) else repr(part.body).encode()
            made.update(f"{part.array} {part.part} {len(body)}\n".encode() + body)
        return made.hexdigest()

    def batch_digests(
        self,
        after: int | None,
        through: int | None,
        *,
        until: datetime | None = None,
        limit: int | None = None,
        most_setpoints: int | None = None,
    ) -> list[RowDigest]:
        """Batches with after < key <= through, in order, up to the first that was sent later than ``until``, and no
        further than ``most_setpoints``: what was sent, to whom.  Of what was answered and how often it was tried
        nothing is in it: that changes.
        """
        found: list[RowDigest] = []
        setpoints, names, total = _raw(schema.setpoints), _raw(schema.resources), 0
        query = select(names.c.resource_id, setpoints.c.power_kw, setpoints.c.resource_key).outerjoin_from(
            setpoints, names, names.c.resource_key == setpoints.c.resource_key
        )
        with self._db.reading() as connection:
            for row in self._batches(connection, after, through, limit):
                if until is not None and _microseconds(row.sent_at) > to_us(until):
                    break
                mine = query.where(setpoints.c.batch_key == row.batch_key).order_by(setpoints.c.resource_key)
                orders = [tuple(each) for each in connection.execute(mine)]
                total += len(orders)
                if found and most_setpoints is not None and total > most_setpoints:
                    break
                told = [row.command_id, row.aggregator_id, row.sequence, row.plan_hash]
                told += [row.valid_from, row.valid_until, row.sent_at, orders]
                facts = {"setpoints": len(orders), "valid_from": row.valid_from, "valid_until": row.valid_until}
                sent_us = _microseconds(row.sent_at)
                found.append(RowDigest(row.batch_key, row.command_id, sent_us, facts, _sha256(told)))
        return found

    def answers_to(
        self, after: int | None, through: int | None, *, until: datetime | None = None, limit: int | None = None
    ) -> list[Answers]:
        """What was answered to the batches with after < key <= through, in order, up to the first that was sent later
        than ``until``.
        """
        setpoints, names, found = _raw(schema.setpoints), _raw(schema.resources), []
        query = select(
            names.c.resource_id,
            setpoints.c.resource_key,
            setpoints.c.outcome,
            setpoints.c.reason,
            setpoints.c.answered_at,
        ).outerjoin_from(setpoints, names, names.c.resource_key == setpoints.c.resource_key)
        said_something = setpoints.c.outcome.is_not(None) | setpoints.c.answered_at.is_not(None)
        query = query.where(said_something | setpoints.c.reason.is_not(None)).order_by(setpoints.c.resource_key)
        with self._db.reading() as connection:
            for row in self._batches(connection, after, through, limit):
                if until is not None and _microseconds(row.sent_at) > to_us(until):
                    break
                answers = connection.execute(query.where(setpoints.c.batch_key == row.batch_key)).all()
                said = {name or f"#{key}": (outcome, reason, at) for name, key, outcome, reason, at in answers}
                if row.tries != 1 or row.retried_at is not None or row.given_up_at is not None:
                    given_up = None if row.given_up_at is None else f"given up {row.given_up_at}"
                    said[SENDING] = f"tried {row.tries}", given_up, row.retried_at
                found.append(Answers(row.batch_key, row.command_id, _microseconds(row.sent_at), said))
        return found

    def orphans(self, after: int | None, through: int | None) -> list[int]:
        """Keys of batches to which there are setpoints but which are not there."""
        batches, setpoints = _raw(schema.setpoint_batches), _raw(schema.setpoints)
        query = _between(setpoints, setpoints.c.batch_key, after, through, None, [setpoints.c.batch_key]).distinct()
        query = query.where(setpoints.c.batch_key.not_in(select(batches.c.batch_key)))
        with self._db.reading() as connection:
            return list(connection.execute(query).scalars())

    def rows_after(self, table: str, key: int | None) -> int:
        """How many rows of "plans", "baselines" or "setpoint_batches" are newer than that key."""
        of = _raw(schema.metadata.tables[table])
        column = next(iter(schema.metadata.tables[table].primary_key)).name
        query = select(func.count()).select_from(of)
        with self._db.reading() as connection:
            return int(connection.execute(query if key is None else query.where(of.c[column] > key)).scalar_one())

    @staticmethod
    def _batches(connection: Any, after: int | None, through: int | None, limit: int | None) -> Sequence[Row[Any]]:
        table = _raw(schema.setpoint_batches)
        rows: Sequence[Row[Any]] = connection.execute(_between(table, table.c.batch_key, after, through, limit)).all()
        return rows


def _between(
    table: Any, key: Any, after: int | None, through: int | None, limit: int | None, columns: list[Any] | None = None
) -> Select[Any]:
    query = select(*(columns or [table])).order_by(key).limit(limit)
    if after is not None:
        query = query.where(key > after)
    return query if through is None else query.where(key <= through)
