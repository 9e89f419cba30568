"""Setpoints: their sequence numbers, what was sent, what was answered."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Table, or_, select, update

from adapters.store import schema
from adapters.store.bulk import chunked
from adapters.store.journal import clean
from adapters.store.readings import Readings
from models.intervals import FloatArray
from models.plan import SetpointBatch
from models.records import AckOutcome, CommandAnswer, LastSetpoint, PendingSetpoint, SentSetpoint


@dataclass(frozen=True, slots=True)
class OrderColumns:
    """What one batch told whom: places in the list that was asked for, (n,), kW (NaN: as you like), and from when on
    until when.  ``refused``: (n,), who said no.
    """

    places: NDArray[np.int64]
    power_kw: FloatArray
    refused: NDArray[np.bool_]
    valid_from: datetime
    valid_until: datetime


class Commands(Readings):
    """Everything that was ever ordered from a device."""

    def next_sequence(self, aggregator_id: str) -> int:
        """1, 2, 3 ... for each aggregator: no number twice, whatever restarts; a rollback gives it back."""
        table = schema.sequences
        statement = self._db.insert(table).values(aggregator_id=aggregator_id, last=1)
        statement = statement.on_conflict_do_update(index_elements=["aggregator_id"], set_={"last": table.c.last + 1})
        with self._db.writing() as connection:
            return int(connection.execute(statement.returning(table.c.last)).scalar_one())

    def sequences_sent(self) -> list[tuple[str, int]]:
        """Aggregator and sequence number of every batch that was ever made."""
        table = schema.setpoint_batches
        with self._db.reading() as connection:
            rows = connection.execute(select(table.c.aggregator_id, table.c.sequence).order_by(table.c.batch_key))
            return [(row.aggregator_id, row.sequence) for row in rows]

    def save_batch(self, batch: SetpointBatch, sent_at: datetime) -> None:
        """Keep a batch before it leaves the house; it becomes the last word to its resources."""
        with self._db.writing() as connection:
            table = schema.setpoint_batches
            values = {
                "command_id": batch.command_id,
                "aggregator_id": batch.aggregator_id,
                "sequence": batch.sequence,
                "plan_hash": batch.plan_hash,
                "valid_from": batch.valid_from,
                "valid_until": batch.valid_until,
                "sent_at": sent_at,
            }
            key = connection.execute(table.insert().values(values).returning(table.c.batch_key)).scalar_one()
            keys = self._key_of(connection, [setpoint.resource_id for setpoint in batch.setpoints])
            rows = [
                {"batch_key": key, "resource_key": keys[each.resource_id], "power_kw": each.power_kw}
                for each in batch.setpoints
            ]
            if not rows:
                return
            connection.execute(schema.setpoints.insert(), rows)
            last = self._db.insert(schema.last_setpoints)
            last = last.on_conflict_do_update(
                index_elements=["resource_key"], set_={"batch_key": last.excluded.batch_key}
            )
            connection.execute(last, [{name: row[name] for name in ("batch_key", "resource_key")} for row in rows])

    def save_ack(
        self,
        command_id: str,
        resource_id: str | None,
        outcome: AckOutcome | str,
        reason: str,
        at: datetime,
        aggregator_id: str | None = None,
    ) -> int:
        """Note one answer (see ``save_acks``); returns how many setpoints it changed."""
        return self.save_acks([CommandAnswer(command_id, resource_id, AckOutcome(outcome), reason)], at, aggregator_id)

    def save_acks(self, answers: Iterable[CommandAnswer], at: datetime, aggregator_id: str | None = None) -> int:
        """Note answers for single resources, or for all of a command's that have none (``resource_id`` None).

        Returns how many setpoints they changed: none if the command or resource is unknown, belongs to another
        aggregator than the named one, or has been answered so already.  A late "taken" never undoes "done".
        """
        kept = list(answers)
        batches, table = schema.setpoint_batches, schema.setpoints
        find = select(batches.c.command_id, batches.c.batch_key)
        find = find.where(batches.c.command_id.in_({answer.command_id for answer in kept}))
        if aggregator_id is not None:
            find = find.where(batches.c.aggregator_id == aggregator_id)
        changed = 0
        with self._db.writing() as connection:
            batch_of = {row.command_id: row.batch_key for row in connection.execute(find)}
            keys = self._known_keys(connection, {each.resource_id for each in kept if each.resource_id is not None})
            single: dict[tuple[int, AckOutcome, str], list[int]] = {}
            for answer in kept:
                batch = batch_of.get(answer.command_id)
                if batch is None:
                    continue
                if answer.resource_id is None:
                    changed += self._answer(connection, table, batch, answer.outcome, answer.reason, at, None)
                elif answer.resource_id in keys:
                    group = single.setdefault((batch, answer.outcome, answer.reason), [])
                    group.append(keys[answer.resource_id])
            for (batch, outcome, reason), members in single.items():
                changed += self._answer(connection, table, batch, outcome, reason, at, members)
        return changed

    def overtaken(self, aggregator_id: str, asked: Collection[tuple[str, str]], at: datetime) -> set[tuple[str, str]]:
        """Of these (command, resource), those whose resource has a newer command of the aggregator in force by then."""
        batches, table = schema.setpoint_batches, schema.setpoints
        mine = select(batches.c.batch_key, batches.c.command_id, batches.c.sequence)
        mine = mine.where(batches.c.aggregator_id == aggregator_id)
        found = set()
        with self._db.reading() as connection:
            commands = connection.execute(mine.where(batches.c.command_id.in_({command for command, _ in asked}))).all()
            for _, command_id, sequence in commands:
                later = mine.where(batches.c.sequence > sequence, batches.c.valid_from <= at)
                newer = [row.batch_key for row in connection.execute(later)]
                if not newer:
                    continue
                named = connection.execute(select(table.c.resource_key).where(table.c.batch_key.in_(newer)).distinct())
                in_newer = {row.resource_key for row in named}
                keys = self._known_keys(connection, {name for command, name in asked if command == command_id})
                found |= {(command_id, name) for name, key in keys.items() if key in in_newer}
        return found

    @staticmethod
    def _answer(
        connection: Connection,
        table: Table,
        batch: int,
        outcome: AckOutcome,
        reason: str,
        at: datetime,
        members: list[int] | None,
    ) -> int:
        """One outcome for some (or all unanswered) setpoints of a batch."""
        open_to: ColumnElement[bool] = table.c.outcome.is_(None)
        if outcome is AckOutcome.DONE:
            open_to = or_(open_to, table.c.outcome == AckOutcome.TAKEN.value)
        elif members is not None and outcome is AckOutcome.REFUSED:
            open_to = or_(open_to, table.c.outcome != AckOutcome.REFUSED.value)
        values = {"outcome": outcome.value, "reason": clean(reason or None), "answered_at": at}
        changed = 0
        chunks: Iterable[list[int] | None] = [None] if members is None else chunked(members)
        for chunk in chunks:
            change = update(table).where(table.c.batch_key == batch, open_to)
            if chunk is not None:
                change = change.where(table.c.resource_key.in_(chunk))
            changed += int(connection.execute(change.values(values)).rowcount)
        return changed

    def unacknowledged(self, older_than: datetime) -> list[PendingSetpoint]:
        """Setpoints sent before ``older_than``, not replaced since, to which nobody has said anything."""
        batches, table, last = schema.setpoint_batches, schema.setpoints, schema.last_setpoints
        names = schema.resources
        query = (
            select(
                batches.c.command_id,
                batches.c.aggregator_id,
                names.c.resource_id,
                batches.c.sent_at,
                batches.c.valid_until,
            )
            .join_from(last, batches, last.c.batch_key == batches.c.batch_key)
            .join(table, (table.c.batch_key == last.c.batch_key) & (table.c.resource_key == last.c.resource_key))
            .join(names, names.c.resource_key == last.c.resource_key)
            .where(table.c.outcome.is_(None), batches.c.sent_at < older_than)
            .order_by(batches.c.batch_key, last.c.resource_key)
        )
        with self._db.reading() as connection:
            return [PendingSetpoint(*row) for row in connection.execute(query)]

    def last_setpoints(self, resource_ids: Iterable[str] | None = None) -> dict[str, LastSetpoint]:
        """The newest command to every resource (that ever got one), by resource id."""
        batches, table, last = schema.setpoint_batches, schema.setpoints, schema.last_setpoints
        names = schema.resources
        query = (
            select(
                names.c.resource_id,
                table.c.power_kw,
                batches.c.valid_from,
                batches.c.valid_until,
                batches.c.command_id,
                batches.c.plan_hash,
                table.c.outcome,
            )
            .join_from(last, batches, last.c.batch_key == batches.c.batch_key)
            .join(table, (table.c.batch_key == last.c.batch_key) & (table.c.resource_key == last.c.resource_key))
            .join(names, names.c.resource_key == last.c.resource_key)
        )
        wanted = None if resource_ids is None else set(resource_ids)
        with self._db.reading() as connection:
            rows = connection.execute(query).all()
        return {
            row.resource_id: LastSetpoint(
                power_kw=row.power_kw,
                valid_from=row.valid_from,
                valid_until=row.valid_until,
                command_id=row.command_id,
                plan_hash=row.plan_hash,
                outcome=None if row.outcome is None else AckOutcome(row.outcome),
            )
            for row in rows
            if wanted is None or row.resource_id in wanted
        }

    def orders(self, resource_ids: Sequence[str], start: datetime, end: datetime) -> Iterator[OrderColumns]:
        """Orders to the named resources that hold in a part of [start, end), in the order in which they left the house.

        What was given up has reached nobody, and is left out.
        """
        batches, table = schema.setpoint_batches, schema.setpoints
        query = select(batches.c.batch_key, batches.c.valid_from, batches.c.valid_until)
        query = query.where(batches.c.valid_from < end, batches.c.valid_until > start, batches.c.given_up_at.is_(None))
        with self._db.reading() as connection:
            keys = self._known_keys(connection, set(resource_ids))
            place_of = {keys[name]: place for place, name in enumerate(resource_ids) if name in keys}
            for batch_key, valid_from, valid_until in connection.execute(query.order_by(batches.c.batch_key)).all():
                of_batch = select(table.c.resource_key, table.c.power_kw, table.c.outcome)
                rows = [
                    (place_of[key], kw, outcome == AckOutcome.REFUSED.value)
                    for key, kw, outcome in connection.execute(of_batch.where(table.c.batch_key == batch_key))
                    if key in place_of
                ]
                if rows:
                    places, power, refused = zip(*rows, strict=True)
                    yield OrderColumns(
                        np.array(places, dtype=np.int64),
                        np.array(power, dtype=np.float64),
                        np.array(refused, dtype=np.bool_),
                        valid_from,
                        valid_until,
                    )

    def setpoints_since(self, since: datetime) -> list[SentSetpoint]:
        """Every setpoint sent at or after ``since``, in the order in which they left the house."""
        batches, table, names = schema.setpoint_batches, schema.setpoints, schema.resources
        query = (
            select(
                names.c.resource_id,
                table.c.power_kw,
                batches.c.sent_at,
                batches.c.valid_from,
                batches.c.valid_until,
                table.c.outcome,
                table.c.answered_at,
                batches.c.sequence,
            )
            .join_from(table, batches, table.c.batch_key == batches.c.batch_key)
            .join(names, names.c.resource_key == table.c.resource_key)
            .where(batches.c.sent_at >= since)
            .order_by(batches.c.batch_key, table.c.resource_key)
        )
        with self._db.reading() as connection:
            rows = connection.execute(query).all()
        return [
            SentSetpoint(*row[:5], None if row.outcome is None else AckOutcome(row.outcome), *row[6:]) for row in rows
        ]
