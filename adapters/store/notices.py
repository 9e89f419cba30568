"""The outbox of event notices: what aggregators are to be told, kept with the step that it tells of.

A notice *waits* until the broker has taken it (``told_at``) or it is no longer to be told (``given_up_at``: something
newer was said of the same event to the same aggregator, or its time is over).
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, bindparam, delete, select, update

from adapters.store import schema
from adapters.store.bulk import chunked
from adapters.store.connection import Part
from models.events import EventNotice
from models.records import KeptNotice

_TABLE = schema.event_notices
_WAITS = (_TABLE.c.told_at.is_(None), _TABLE.c.given_up_at.is_(None))


def _kept(row: Row[Any]) -> KeptNotice:
    return KeptNotice(
        key=row.notice_key,
        aggregator_id=row.aggregator_id,
        notice=EventNotice.model_validate_json(row.notice),
        made_at=row.made_at,
        tries=row.tries,
        tried_at=row.tried_at,
        told_at=row.told_at,
        given_up_at=row.given_up_at,
    )


class Notices(Part):
    """Notices in the order in which they were made."""

    def add_notices(self, notices: Mapping[str, EventNotice], at: datetime) -> None:
        """Keep what is to be told, by aggregator; the event must be there."""
        rows = [
            {
                "event_id": notice.event_id,
                "aggregator_id": aggregator_id,
                "notice": notice.model_dump_json(),
                "made_at": at,
            }
            for aggregator_id, notice in notices.items()
        ]
        if rows:
            with self._db.writing() as connection:
                connection.execute(_TABLE.insert(), rows)

    def waiting_notices(self) -> list[KeptNotice]:
        """Those that are still to be told."""
        return self._notices(*_WAITS)

    def notices_of(self, event_id: str) -> list[KeptNotice]:
        """All that was to be told of an event, whatever became of it."""
        return self._notices(_TABLE.c.event_id == event_id)

    def _notices(self, *which: ColumnElement[bool]) -> list[KeptNotice]:
        query = select(_TABLE).where(*which).order_by(_TABLE.c.notice_key)
        with self._db.reading() as connection:
            return [_kept(row) for row in connection.execute(query)]

    def supersede_notices(
        self, event_id: str, at: datetime, aggregator_ids: Collection[str] | None = None
    ) -> list[KeptNotice]:
        """What waits of an event (None: to whomever) is not told any more; returns it as it was."""
        waiting = self._notices(_TABLE.c.event_id == event_id, *_WAITS)
        over = [each for each in waiting if aggregator_ids is None or each.aggregator_id in aggregator_ids]
        self.give_up_notices([each.key for each in over], at)
        return over

    def note_told(self, told_at: Mapping[int, datetime]) -> None:
        """Note when the broker took notices, by key."""
        self._note_tries(told_at, "told_at")

    def note_tried(self, tried_at: Mapping[int, datetime]) -> None:
        """Note when notices were tried to be told, and were not."""
        self._note_tries(tried_at, "tried_at")

    def _note_tries(self, moments: Mapping[int, datetime], column: str) -> None:
        if not moments:
            return
        change = update(_TABLE).where(_TABLE.c.notice_key == bindparam("key"))
        change = change.values({"tries": _TABLE.c.tries + 1, column: bindparam("moment")})
        with self._db.writing() as connection:
            connection.execute(change, [{"key": key, "moment": moment} for key, moment in moments.items()])

    def give_up_notices(self, keys: Collection[int], at: datetime) -> set[int]:
        """Note that notices will not be told; returns the keys of those that still waited."""
        found: set[int] = set()
        with self._db.writing() as connection:
            for chunk in chunked(sorted(keys)):
                change = update(_TABLE).where(_TABLE.c.notice_key.in_(chunk), *_WAITS).values(given_up_at=at)
                found.update(connection.execute(change.returning(_TABLE.c.notice_key)).scalars())
        return found

    def forget_notices(self, before: datetime) -> int:
        """Drop notices that were made earlier and wait no more; returns how many."""
        over = _TABLE.c.told_at.is_not(None) | _TABLE.c.given_up_at.is_not(None)
        with self._db.writing() as connection:
            return int(connection.execute(delete(_TABLE).where(_TABLE.c.made_at < before, over)).rowcount)
