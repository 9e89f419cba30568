"""Changing the target of an event: who may, from when on, and what becomes of what was accepted.

A decrease holds at once: whoever operates must be able to take load off people at any moment.  An increase waits for a
second person, like the event itself: it asks more of people, and a slip of a digit must not reach a device.
Before the start the day is planned anew and shares follow from that plan; while it runs every share is scaled, the
order goes in steps (``vpp.ramp``), and opt-outs remain the way to refuse.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta

from models.errors import AccessError, EventStateError, InputError, InputFault
from models.events import EventRecord, TargetChange
from models.life_cycle import EventStatus
from models.ports import Clock
from vpp.event_book import EventBook
from vpp.event_outbox import EventOutbox
from vpp.ramp import first_cycle_to_change

_SAME_KW = 1e-3
_ALL_OF_IT = 0.999
"""Who has accepted so much of its share has accepted it: figures travel rounded."""


class ChangeDesk:
    """Takes changes of the target, and lets them hold.

    ``share_anew`` plans the day of an event to come with its new order and asks everybody anew; it is given the record
    with the change, and how its target changes.
    """

    def __init__(
        self,
        clock: Clock,
        book: EventBook,
        outbox: EventOutbox,
        cycle: timedelta,
        share_anew: Callable[[EventRecord, TargetChange], Awaitable[EventRecord]],
    ) -> None:
        self._clock, self._book, self._outbox, self._cycle = clock, book, outbox, cycle
        self._share_anew = share_anew

    async def ask(self, record: EventRecord, target_kw: float, by: str, reason: str) -> EventRecord:
        """A decrease holds, an increase waits; ``EventStateError`` or ``InputError`` if it cannot be."""
        change = asked_for(record, target_kw, by, reason, self._clock.now())
        if needs_a_second_person(record, change):
            return await self._book.keep(waiting(record, change))
        return await self._make(record, change, None)

    async def approve(self, record: EventRecord, by: str) -> EventRecord:
        """The change that waits holds; ``AccessError`` if ``by`` asked for it."""
        return await self._make(record, second_person(record, by), by)

    async def _make(self, record: EventRecord, change: TargetChange, approved_by: str | None) -> EventRecord:
        """From the start of an event to come, from the next cycle on of one that runs."""
        event, now = record.event, self._clock.now()
        runs = record.status.runs
        begin = first_cycle_to_change(event, now, self._cycle) if runs else event.start
        after = made(record, change, begin, approved_by)
        if record.status.is_asked:
            return await self._share_anew(after, change)
        if not runs:
            return await self._book.keep(after)
        by = approved_by or change.by
        after = scaled(after, change.after_kw / change.before_kw).stepped(EventStatus.ADJUSTED, now, by, change.reason)
        await self._book.keep(after, self._outbox.kept(after, "changed", change.reason))
        await self._outbox.send(event.event_id)
        return after


def asked_for(record: EventRecord, target_kw: float, by: str, reason: str, now: datetime) -> TargetChange:
    """The change as it is asked for, not made yet; ``EventStateError`` or ``InputError`` if it cannot be made.

    It takes the place of one that still waits: nobody must approve more before less can be ordered.
    """
    event = record.event
    if not is_changeable(record.status) or now >= event.end:
        what = record.status.value if now < event.end else "over"
        raise EventStateError(event.event_id, what, "change its target", "only an event to come or running has one")
    if target_kw <= _SAME_KW:
        way = "terminate" if record.status.runs else "cancel"
        raise InputError([InputFault("event", "target_kw", target_kw, f"must be more than 0: {way} the event instead")])
    if abs(target_kw - event.target_kw) <= _SAME_KW:
        raise InputError([InputFault("event", "target_kw", target_kw, "is the order already")])
    return TargetChange(at=now, by=by, reason=reason, before_kw=event.target_kw, after_kw=target_kw)


def is_changeable(status: EventStatus) -> bool:
    """True while an event has a target that may still become another."""
    return status.is_wished or status.is_planned


def needs_a_second_person(record: EventRecord, change: TargetChange) -> bool:
    """Increases do; of an event that is not approved yet nobody has promised anything."""
    return change.after_kw > change.before_kw and not record.status.is_wished


def waiting(record: EventRecord, change: TargetChange) -> EventRecord:
    """The record with a change that waits, in the place of one that waited before."""
    kept = tuple(each for each in record.changes if each.effective_from is not None)
    return record.model_copy(update={"changes": (*kept, change)})


def second_person(record: EventRecord, by: str) -> TargetChange:
    """The change that ``by`` approves; ``AccessError`` if it asked for it, ``EventStateError`` if it is too late."""
    change = record.waiting_change
    name = record.event.event_id
    if change is None or not is_changeable(record.status):
        raise EventStateError(name, record.status.value, "be approved", "nothing of it waits for a second person")
    if by == change.by:
        raise AccessError(f"the change of event {name} was asked for by {by}: a second person must approve it")
    return change


def made(record: EventRecord, change: TargetChange, effective_from: datetime, approved_by: str | None) -> EventRecord:
    """The record with the change in force from a moment on; what waited is dropped."""
    kept = tuple(each for each in record.changes if each.effective_from is not None)
    done = change.model_copy(update={"effective_from": effective_from, "approved_by": approved_by})
    event = record.event.model_copy(update={"target_kw": change.after_kw})
    return record.model_copy(update={"event": event, "changes": (*kept, done)})


def scaled(record: EventRecord, factor: float) -> EventRecord:
    """Every share, and what was accepted of it, times ``factor``."""
    share_kw = {name: round(kw * factor, 3) for name, kw in record.share_kw.items()}
    accepted_kw = {name: None if kw is None else round(kw * factor, 3) for name, kw in record.accepted_kw.items()}
    return record.model_copy(update={"share_kw": share_kw, "accepted_kw": accepted_kw})


def reshared(record: EventRecord, share_kw: Mapping[str, float]) -> EventRecord:
    """New shares before the start: who had accepted all of its share accepts the new one unless it says otherwise, who
    had accepted a part keeps that part at most, who has not answered is still to answer.
    """
    accepted: dict[str, float | None] = {}
    for name, share in share_kw.items():
        before, said = record.share_kw.get(name), record.accepted_kw.get(name)
        if said is None or before is None:
            accepted[name] = None
        else:
            accepted[name] = share if said >= _ALL_OF_IT * before else min(said, share)
    return record.model_copy(update={"share_kw": dict(share_kw), "accepted_kw": accepted})
