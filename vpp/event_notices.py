"""Notices: what aggregators are told of an event and of every turn it takes, and as long as it is worth telling.

A notice says everything that there is to know, so the newest of an event is all that an aggregator must hear: what it
has missed before that is not told any more.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from models.events import EventNotice, EventRecord

LAST_WORDS = frozenset({"cancelled", "terminated", "ended"})
"""Nothing is told of an event after these."""
LAST_WORD_HOLDS = timedelta(days=1)
"""So long after the window an aggregator may still want to know what became of it."""
PROMPT = timedelta(minutes=1)
"""Told so soon a notice says what it said when it was made: whoever gets it twice gets the same twice."""


def notices_of(
    record: EventRecord,
    status: str,
    reason: str = "",
    respond_by: datetime | None = None,
    share_kw: Mapping[str, float] | None = None,
) -> dict[str, EventNotice]:
    """What everybody in ``share_kw`` (None: who has a share in the event) is told, by aggregator."""
    event = record.event
    return {
        aggregator_id: EventNotice.model_validate(
            {
                "event_id": event.event_id,
                "status": status,
                "direction": event.direction,
                "start": event.start,
                "end": event.end,
                "share_kw": share,
                "notice_type": record.notice_type,
                "respond_by": respond_by,
                "reason": reason,
            }
        )
        for aggregator_id, share in (record.share_kw if share_kw is None else share_kw).items()
    }


def as_told(notice: EventNotice, made_at: datetime, now: datetime) -> EventNotice:
    """The notice as it is told now: who hears late has as long to answer as the others, until the event begins."""
    late = now - made_at
    if notice.respond_by is None or late <= PROMPT:
        return notice
    put_off = max(notice.respond_by, min(notice.respond_by + late, notice.start))
    return notice.model_copy(update={"respond_by": put_off})


def is_pointless(notice: EventNotice, record: EventRecord | None, now: datetime) -> bool:
    """True if nobody needs to hear it any more, or if it would contradict what has become of the event.

    ``record``: the event as it stands, None if it is none of those that go on.
    """
    if notice.status in LAST_WORDS:
        return now >= notice.end + LAST_WORD_HOLDS
    return now >= notice.end or (record is not None and not (record.status.is_asked or record.status.runs))
