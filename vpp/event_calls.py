"""The desk's part of a direct call: an emergency is approved, notified and begun in one step, and nobody is asked."""

from collections.abc import Callable, Mapping, Sequence

from models.errors import AccessError, EventStateError, InputError, InputFault
from models.events import EventOrder, EventRecord, NoticeType
from models.life_cycle import EventStatus
from models.notice import NoticeRules
from models.ports import Clock
from vpp.day_ahead import DayAheadStage
from vpp.event_book import EventBook
from vpp.event_outbox import EventOutbox


def second_person(record: EventRecord, by: str) -> None:
    """``AccessError`` if ``by`` declared the event: two persons are needed, also in an emergency."""
    if by == record.steps[0].by:
        raise AccessError(f"event {record.event.event_id} was declared by {by}: a second person must approve")


def is_direct(record: EventRecord) -> bool:
    """True for an event that is called without asking."""
    return record.notice_type is NoticeType.EMERGENCY


class CallDesk:
    """Steps of emergencies; works beside the lock of the runtime, because a solve may hold that for a minute."""

    def __init__(
        self, clock: Clock, book: EventBook, outbox: EventOutbox, day_ahead: DayAheadStage, rules: NoticeRules
    ) -> None:
        self._clock, self._book, self._outbox = clock, book, outbox
        self._day_ahead, self._rules = day_ahead, rules

    def is_one(self, order: EventOrder) -> bool:
        """True if an order makes an emergency."""
        kind = order.notice_type or self._rules.type_of(order.start, self._clock.now())
        return kind is NoticeType.EMERGENCY

    def are_due(self, event_ids: Sequence[str]) -> bool:
        """True for emergencies that nobody has approved yet: their approval is a direct call."""
        records = [self._book.get(event_id) for event_id in event_ids]
        found = [is_direct(record) and record.status.is_wished for record in records]
        if any(found) and not all(found):
            rule = "emergencies are approved by themselves: nothing may keep them waiting"
            raise InputError([InputFault("event", "event_ids", ", ".join(event_ids), rule)])
        return bool(found) and all(found)

    def approvable(self, event_id: str, by: str) -> EventRecord:
        """The emergency, if ``by`` may approve it now; ``AccessError`` or ``EventStateError`` if not."""
        record = self._book.get(event_id)
        second_person(record, by)
        if self._clock.now() >= record.event.end:
            raise EventStateError(event_id, "over", "be approved", "its window is over")
        return record

    async def approve(
        self, record: EventRecord, by: str, share_kw: Mapping[str, float], also: Callable[[], None]
    ) -> EventRecord:
        """Approved and notified, and running if its window is open; ``also`` happens in the same transaction.

        What aggregators are to be told is kept with it, and told once their setpoints are on the way (``tell``).
        """
        now, event = self._clock.now(), record.event
        called = record.stepped(EventStatus.APPROVED, now, by).stepped(EventStatus.NOTIFIED, now, "service")
        if now >= event.start:
            called = called.stepped(EventStatus.EXECUTING, now, "service")
        day = self._day_ahead.days.get(self._book.day_of(event))
        update = {
            "event": event.model_copy(update={"issued_at": now}),
            "baseline_hash": None if day is None else day.baseline.baseline_hash,
            "share_kw": dict(share_kw),
        }
        called = called.model_copy(update=update)
        notices = self._outbox.kept(called, "notified", called.steps[0].reason)

        def with_notices() -> None:
            also()
            notices()

        return await self._book.keep(called, with_notices)

    async def tell(self, record: EventRecord) -> None:
        """Tell aggregators: their setpoints are on the way, there is nothing to answer."""
        await self._outbox.send(record.event.event_id)

    def running(self) -> list[EventRecord]:
        """Emergencies that run."""
        return [each for each in self._book.active() if is_direct(each) and each.status.runs]
