"""Commands on their way: which are still open, how often they were sent, and which nobody ever answered.

A *delivery* is everything that one cycle, or one direct call, sends; its batches carry the same ``sent_at``.  Only the
newest delivery to an aggregator is ever sent again: what came to it before is superseded.  Newest is what was kept
last: the clock may have been set back.
"""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import exists, func, select, update

from adapters.store import schema
from adapters.store.bulk import chunked
from adapters.store.commands import Commands
from models.plan import Setpoint, SetpointBatch
from models.records import AckOutcome, CommandRecord, OpenCommand

_BATCHES, _SETPOINTS = schema.setpoint_batches, schema.setpoints
_ANSWERED = exists().where(_SETPOINTS.c.batch_key == _BATCHES.c.batch_key, _SETPOINTS.c.outcome.is_not(None))


class Deliveries(Commands):
    """What the retries of commands need, and what is shown of them."""

    def batch(self, command_id: str) -> tuple[SetpointBatch, datetime] | None:
        """A command as it was made, setpoints by resource id, and when it was first sent."""
        table, names = _SETPOINTS, schema.resources
        members = select(names.c.resource_id, table.c.power_kw).join_from(table, names)
        with self._db.reading() as connection:
            row = connection.execute(select(_BATCHES).where(_BATCHES.c.command_id == command_id)).one_or_none()
            if row is None:
                return None
            found = connection.execute(members.where(table.c.batch_key == row.batch_key)).all()
        setpoints = [Setpoint(resource_id=each.resource_id, power_kw=each.power_kw) for each in found]
        made = SetpointBatch(
            command_id=row.command_id,
            aggregator_id=row.aggregator_id,
            sequence=row.sequence,
            plan_hash=row.plan_hash,
            valid_from=row.valid_from,
            valid_until=row.valid_until,
            setpoints=tuple(sorted(setpoints, key=lambda each: each.resource_id)),
        )
        return made, row.sent_at

    def open_commands(self, now: datetime) -> list[OpenCommand]:
        """Commands of each aggregator's newest delivery that hold at ``now``, unanswered and not given up."""
        last, newest = _BATCHES.alias("last"), _BATCHES.alias("newest")
        highest = select(func.max(last.c.sequence)).where(last.c.aggregator_id == newest.c.aggregator_id)
        newest_at = select(newest.c.sent_at).where(
            newest.c.aggregator_id == _BATCHES.c.aggregator_id,
            newest.c.sequence == highest.correlate(newest).scalar_subquery(),
        )
        query = (
            select(_BATCHES)
            .where(_BATCHES.c.valid_until > now, _BATCHES.c.given_up_at.is_(None), ~_ANSWERED)
            .where(_BATCHES.c.sent_at == newest_at.correlate(_BATCHES).scalar_subquery())
            .order_by(_BATCHES.c.aggregator_id, _BATCHES.c.sequence)
        )
        with self._db.reading() as connection:
            rows = connection.execute(query).all()
        return [
            OpenCommand(
                command_id=row.command_id,
                aggregator_id=row.aggregator_id,
                sequence=row.sequence,
                valid_until=row.valid_until,
                made_at=row.sent_at,
                tries=row.tries,
                last_sent_at=row.retried_at or row.sent_at,
            )
            for row in rows
        ]

    def unanswered(self, command_ids: Collection[str]) -> set[str]:
        """Those of these commands of which nobody has said anything, for no resource."""
        found: set[str] = set()
        with self._db.reading() as connection:
            for chunk in chunked(sorted(command_ids)):
                query = select(_BATCHES.c.command_id).where(_BATCHES.c.command_id.in_(chunk), ~_ANSWERED)
                found.update(connection.execute(query).scalars())
        return found

    def note_try(self, command_id: str, at: datetime) -> None:
        """Count one more sending of a command, before it leaves the house."""
        change = update(_BATCHES).where(_BATCHES.c.command_id == command_id)
        with self._db.writing() as connection:
            connection.execute(change.values(tries=_BATCHES.c.tries + 1, retried_at=at))

    def give_up(self, command_ids: Collection[str], at: datetime) -> None:
        """Note that these commands will not be sent again though nobody has answered them."""
        with self._db.writing() as connection:
            for chunk in chunked(sorted(command_ids)):
                change = update(_BATCHES).where(_BATCHES.c.command_id.in_(chunk), _BATCHES.c.given_up_at.is_(None))
                connection.execute(change.values(given_up_at=at))

    def newest_delivery(self, now: datetime) -> tuple[str, datetime] | None:
        """Fingerprint of the plan and time of sending of the newest delivery, if any command of it holds at ``now``."""
        query = select(_BATCHES.c.plan_hash, _BATCHES.c.sent_at).where(_BATCHES.c.valid_until > now)
        with self._db.reading() as connection:
            row = connection.execute(query.order_by(_BATCHES.c.batch_key.desc()).limit(1)).one_or_none()
        return None if row is None else (row.plan_hash, row.sent_at)

    def commands(
        self,
        aggregator_id: str | None = None,
        since: datetime | None = None,
        *,
        before: int | None = None,
        limit: int = 100,
    ) -> list[tuple[int, CommandRecord]]:
        """Commands, newest first, with the number that a next page goes ``before``."""
        query = select(_BATCHES).order_by(_BATCHES.c.batch_key.desc()).limit(limit)
        if aggregator_id is not None:
            query = query.where(_BATCHES.c.aggregator_id == aggregator_id)
        if since is not None:
            query = query.where(_BATCHES.c.sent_at >= since)
        if before is not None:
            query = query.where(_BATCHES.c.batch_key < before)
        with self._db.reading() as connection:
            rows = connection.execute(query).all()
            counts: dict[int, dict[str | None, int]] = {}
            for chunk in chunked([row.batch_key for row in rows]):
                tally = select(_SETPOINTS.c.batch_key, _SETPOINTS.c.outcome, func.count())
                tally = tally.where(_SETPOINTS.c.batch_key.in_(chunk))
                for key, outcome, number in connection.execute(
                    tally.group_by(_SETPOINTS.c.batch_key, _SETPOINTS.c.outcome)
                ):
                    counts.setdefault(key, {})[outcome] = number
        return [
            (
                row.batch_key,
                CommandRecord(
                    command_id=row.command_id,
                    aggregator_id=row.aggregator_id,
                    sequence=row.sequence,
                    plan_hash=row.plan_hash,
                    valid_from=row.valid_from,
                    valid_until=row.valid_until,
                    sent_at=row.sent_at,
                    tries=row.tries,
                    retried_at=row.retried_at,
                    given_up_at=row.given_up_at,
                    setpoints=sum(counts.get(row.batch_key, {}).values()),
                    answered={
                        AckOutcome(outcome): number
                        for outcome, number in counts.get(row.batch_key, {}).items()
                        if outcome is not None
                    },
                ),
            )
            for row in rows
        ]
