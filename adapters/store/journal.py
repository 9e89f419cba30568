"""What must not be lost or done twice: answers given, dead letters, the audit chain, counters."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, select

from adapters.store import schema
from adapters.store.bulk import chunked
from adapters.store.connection import Part
from adapters.store.schema import to_us
from models.canonical import canonical_json, finite, sha256_of
from models.errors import StoreError
from models.records import AuditEntry, DeadLetter, IdempotentAnswer

FIRST_HASH = "0" * 64
PAYLOAD_BYTES = 4096
"""So much of a refused message is kept: enough to see what went wrong, too little to fill a disk."""


def audit_hash(entry: AuditEntry) -> str:
    """SHA-256 over the whole line, the hash of the line before included."""
    facts = [
        entry.entry_id,
        to_us(entry.at),
        entry.actor,
        entry.action,
        entry.subject,
        entry.details,
        entry.prev_hash,
    ]
    return sha256_of(facts)


def clean(words: str | None) -> str | None:
    """Words from outside, in a form that every database takes: no lone surrogates, no NUL."""
    return None if words is None else words.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")


def _entry(row: Row[Any]) -> AuditEntry:
    return AuditEntry(
        row.entry_id,
        row.at,
        row.actor,
        row.action,
        row.subject,
        json.loads(row.details),
        row.prev_hash,
        row.entry_hash,
    )


class Journal(Part):
    """Append, look up, never change."""

    # ---- messages and requests that were answered

    def answer_for(self, aggregator_id: str, message_id: str) -> bytes | None:
        """What was answered to this message the first time; None if it is new."""
        table = schema.answered_messages
        same = table.c.aggregator_id == aggregator_id, table.c.message_id == message_id
        with self._db.reading() as connection:
            return connection.execute(select(table.c.answer).where(*same)).scalar_one_or_none()

    def remember_answer(self, aggregator_id: str, message_id: str, answer: bytes, at: datetime) -> None:
        """Keep the answer, in one transaction with the effects of the message; twice is a ``StoreError``."""
        values = {
            "aggregator_id": aggregator_id,
            "message_id": message_id,
            "answer": answer,
            "answered_at": at,
        }
        with self._db.writing() as connection:
            connection.execute(schema.answered_messages.insert().values(values))

    def answers_for(self, aggregator_id: str, message_ids: Sequence[str]) -> dict[str, bytes]:
        """What was answered to those of the messages that are not new, by id."""
        table = schema.answered_messages
        found: dict[str, bytes] = {}
        with self._db.reading() as connection:
            for chunk in chunked(message_ids):
                query = select(table.c.message_id, table.c.answer)
                query = query.where(table.c.aggregator_id == aggregator_id, table.c.message_id.in_(chunk))
                found |= {row.message_id: row.answer for row in connection.execute(query)}
        return found

    def forget_answers(self, before: datetime) -> int:
        """Drop answers to messages and requests that are too old to be asked for again; returns how many."""
        messages, requests = schema.answered_messages, schema.idempotent_answers
        with self._db.writing() as connection:
            first = connection.execute(delete(messages).where(messages.c.answered_at < before)).rowcount
            second = connection.execute(delete(requests).where(requests.c.at < before)).rowcount
        return int(first + second)

    def idempotent_answer(self, caller: str, key: str) -> IdempotentAnswer | None:
        """What was answered to the HTTP request with that Idempotency-Key."""
        table = schema.idempotent_answers
        same = table.c.caller == caller, table.c.idempotency_key == key
        with self._db.reading() as connection:
            row = connection.execute(select(table).where(*same)).one_or_none()
        return None if row is None else IdempotentAnswer(row.fingerprint, row.status, row.body)

    def remember_idempotent(self, caller: str, key: str, answer: IdempotentAnswer, at: datetime) -> None:
        """Keep the answer to a creating request; twice is a ``StoreError``."""
        values = {"caller": caller, "idempotency_key": key, "at": at}
        values |= {"fingerprint": answer.fingerprint, "status": answer.status, "body": answer.body}
        with self._db.writing() as connection:
            connection.execute(schema.idempotent_answers.insert().values(values))

    # ---- dead letters

    def add_dead_letter(self, letter: DeadLetter) -> int:
        """Set a message aside, cut to its first bytes; returns its number."""
        table = schema.dead_letters
        values: dict[str, Any] = {
            name: clean(getattr(letter, name)) for name in ("place", "reason", "aggregator_id", "message_id")
        }
        values["at"] = letter.at
        values["payload"] = letter.payload[:PAYLOAD_BYTES]
        with self._db.writing() as connection:
            return int(connection.execute(table.insert().values(values).returning(table.c.letter_id)).scalar_one())

    def dead_letters(
        self, before_id: int | None = None, limit: int | None = None, aggregator_id: str | None = None
    ) -> list[DeadLetter]:
        """Newest first, from below ``before_id``."""
        table = schema.dead_letters
        query = select(table).order_by(table.c.letter_id.desc()).limit(limit)
        if before_id is not None:
            query = query.where(table.c.letter_id < before_id)
        if aggregator_id is not None:
            query = query.where(table.c.aggregator_id == aggregator_id)
        with self._db.reading() as connection:
            rows = connection.execute(query).all()
        return [
            DeadLetter(row.at, row.place, row.reason, row.aggregator_id, row.message_id, row.payload, row.letter_id)
            for row in rows
        ]

    # ---- audit

    def append_audit(
        self, at: datetime, actor: str, action: str, subject: str, details: Mapping[str, Any] | None = None
    ) -> AuditEntry:
        """Add a line to the log; ``details`` must be JSON. The database itself refuses changes to it."""
        actor, action, subject = (str(clean(words)) for words in (actor, action, subject))
        kept = json.loads(canonical_json(finite(dict(details or {}))))
        table = schema.audit
        with self._db.writing() as connection:
            self._db.lock(connection, 2)
            tail = select(table.c.entry_id, table.c.entry_hash).order_by(table.c.entry_id.desc()).limit(1)
            last = connection.execute(tail).one_or_none()
            number, before = (1, FIRST_HASH) if last is None else (last.entry_id + 1, last.entry_hash)
            entry = AuditEntry(number, at, actor, action, subject, kept, before, "")
            entry_hash = audit_hash(entry)
            values = {name: getattr(entry, name) for name in ("entry_id", "at", "actor", "action", "subject")}
            values |= {"details": canonical_json(kept), "prev_hash": before, "entry_hash": entry_hash}
            connection.execute(table.insert().values(values))
        return AuditEntry(number, at, actor, action, subject, kept, before, entry_hash)

    def audit_log(
        self,
        after_id: int = 0,
        limit: int | None = None,
        subject: str | None = None,
        since: datetime | None = None,
    ) -> list[AuditEntry]:
        """Lines after a number, in order; of one subject, or not older than ``since``, where asked."""
        table = schema.audit
        query = select(table).where(table.c.entry_id > after_id).order_by(table.c.entry_id).limit(limit)
        if subject is not None:
            query = query.where(table.c.subject == clean(subject))
        if since is not None:
            query = query.where(table.c.at >= since)
        with self._db.reading() as connection:
            return [_entry(row) for row in connection.execute(query)]

    def verify_audit(self) -> tuple[int, str]:
        """Recompute the whole chain: its length and last hash; ``StoreError`` names the first broken line.

        Lines cut off at the end leave a shorter chain: compare the last hash with one noted elsewhere.
        """
        table = schema.audit
        number, before = 0, FIRST_HASH
        with self._db.reading() as connection:
            try:
                for row in connection.execute(select(table).order_by(table.c.entry_id)):
                    entry = _entry(row)
                    number += 1
                    if (entry.entry_id, entry.prev_hash, entry.entry_hash) != (number, before, audit_hash(entry)):
                        raise StoreError(f"audit log: line {number} has been changed or is missing")
                    before = entry.entry_hash
            except (ValueError, TypeError, OverflowError) as error:  # no time, or no JSON any more
                raise StoreError(f"audit log: line {number + 1} has been changed or is missing") from error
        return number, before

    def audit_head(self) -> tuple[int, str]:
        """Number and hash of the newest line, as they stand: nothing is recomputed."""
        table = schema.audit
        newest = select(table.c.entry_id, table.c.entry_hash).order_by(table.c.entry_id.desc()).limit(1)
        with self._db.reading() as connection:
            row = connection.execute(newest).one_or_none()
        return (0, FIRST_HASH) if row is None else (int(row.entry_id), str(row.entry_hash))

    def has_audit_hash(self, entry_hash: str) -> bool:
        """Whether a line of the log has that hash."""
        table = schema.audit
        with self._db.reading() as connection:
            found = connection.execute(select(table.c.entry_id).where(table.c.entry_hash == entry_hash).limit(1))
            return found.first() is not None

    # ---- counters

    def add_to_counter(self, name: str, count: int = 1) -> int:
        """Count something that must survive a restart; returns the new count."""
        table = schema.counters
        statement = self._db.insert(table).values(name=name, value=count)
        statement = statement.on_conflict_do_update(index_elements=["name"], set_={"value": table.c.value + count})
        with self._db.writing() as connection:
            return int(connection.execute(statement.returning(table.c.value)).scalar_one())

    def counters(self) -> dict[str, int]:
        """All counters."""
        with self._db.reading() as connection:
            return {row.name: row.value for row in connection.execute(select(schema.counters))}
