"""What aggregators answer to a notice: when an answer is taken, how much is accepted with it, and when answers stand.

The time to answer begins when an aggregator is told.  Who could be told only late has as long as the others, until the
event begins, and the others wait; who could not be told at all takes no part and has declined nothing.
"""

from collections.abc import Awaitable, Callable, Collection, Container, Mapping
from datetime import date, datetime

import structlog

from models.errors import InputError, InputFault, VppError
from models.events import EventNotice, EventRecord, EventResponse
from models.life_cycle import EventStatus
from models.ports import Clock
from vpp.day_ahead import DayAheadStage, DayPlan
from vpp.event_book import EventBook
from vpp.event_outbox import EventOutbox
from vpp.event_shares import CommittedProfiles, shares
from vpp.state import LiveState

log = structlog.get_logger(__name__)

_SAME_KW = 1e-3
"""Answers and shares that differ by less are the same (they travel rounded to a watt)."""


class AnswerDesk:
    """Takes answers, waits for those that are missing, and settles them.

    ``replan`` plans a market day with what is ordered and accepted by then.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        book: EventBook,
        state: LiveState,
        outbox: EventOutbox,
        day_ahead: DayAheadStage,
        committed: CommittedProfiles,
        replan: Callable[[date], Awaitable[DayPlan]],
    ) -> None:
        self._clock = clock
        self._book = book
        self._state = state
        self._outbox = outbox
        self._day_ahead = day_ahead
        self._committed = committed
        self._replan = replan
        self._respond_by: dict[str, datetime] = {}

    # ---- waiting

    def wait_until(self, event_id: str, respond_by: datetime | None) -> None:
        """Wait for answers, if any are asked for; who has said yes and hears of a change need not say it again."""
        if respond_by is not None:
            self._respond_by[event_id] = respond_by

    def was_asked(self, notice: EventNotice) -> None:
        """Somebody has been told just now: wait as long as the notice says."""
        known = self._respond_by.get(notice.event_id)
        if known is not None and notice.respond_by is not None:
            self._respond_by[notice.event_id] = max(known, notice.respond_by)

    def wait_no_more(self, event_id: str) -> None:
        """The answers to this event do not matter any more."""
        self._respond_by.pop(event_id, None)

    def deadlines(self) -> Collection[datetime]:
        """Until when answers are waited for, of every event that still waits for some."""
        return self._respond_by.values()

    # ---- an answer

    async def respond(
        self, aggregator_id: str, response: EventResponse, also: Callable[[], None] | None = None
    ) -> None:
        """Take an answer; ``InputError`` if the event is not open to answers or was not offered to the sender.

        While an event runs only opt-outs are taken.  ``also`` happens in the transaction that keeps the answer.
        """
        place = f"event-response of {aggregator_id}"
        record = open_to(self._book.find(response.event_id), aggregator_id, response, place)
        for name in response.opted_out_resource_ids:
            live = self._state.get(name)
            if live is None or live.record.resource.aggregator_id != aggregator_id:
                raise InputError([InputFault(place, "opted_out_resource_ids", name, "must be a resource of yours")])
        opted_out = tuple(sorted({*record.opted_out_resource_ids, *response.opted_out_resource_ids}))
        changes: dict[str, object] = {"opted_out_resource_ids": opted_out}
        if record.status.is_asked:
            accepted = accepted_kw(response, record.share_kw[aggregator_id])
            changes["accepted_kw"] = {**record.accepted_kw, aggregator_id: accepted}
            before = record.accepted_kw.get(aggregator_id)
            if before is not None and abs(before - accepted) > _SAME_KW:
                self._respond_by.setdefault(response.event_id, self._clock.now())  # settled before: once more
        await self._book.keep(record.model_copy(update=changes), also)
        for name in response.opted_out_resource_ids:
            live = self._state.get(name)
            if live is not None:
                live.opted_out_of.add(response.event_id)

    # ---- all answers

    async def settle_if_due(self, record: EventRecord, now: datetime) -> None:
        """Settle once all have answered or the time is up; at the start of the event in any case."""
        event_id, begins = record.event.event_id, record.event.start
        respond_by = self._respond_by.get(event_id)
        if respond_by is None or (now < respond_by and not all_answered(record)):
            return
        try:
            unheard = await self._outbox.unheard(event_id)
            if now < begins and any(record.accepted_kw.get(name) is None for name in unheard):
                return  # there is an answer to wait for: who knows nothing yet will be asked
            await self._settle(record, unheard)
            settled = self._book.get(event_id)
            if settled.status is EventStatus.NOTIFIED:
                await self._book.keep(settled.stepped(EventStatus.ACKNOWLEDGED, now, "service"))
        except VppError as error:
            log.error("answers are not settled yet", event_id=event_id, error=str(error))
            if now < begins:
                return
        self._respond_by.pop(event_id, None)

    async def _settle(self, record: EventRecord, unheard: Container[str]) -> None:
        """What was declined is offered to the others, then commitments stand.  Doing it again changes nothing.

        Who has not answered counts as not taking part.
        """
        event = record.event
        day = await self._day_ahead.make(self._book.day_of(event))
        taken = {name: record.accepted_kw.get(name) or 0.0 for name in record.share_kw}
        missing = sum(record.share_kw.values()) - sum(taken.values())
        if missing > 0.005 * event.target_kw:
            short = [name for name in taken if taken[name] < 0.999 * record.share_kw[name]]
            given_kw = {name: taken[name] for name in short}
            self._committed.bind_only(event, day, given_kw, record.share_kw)
            day = await self._replan(day.market_day)
            more = {
                name: share
                for name, share in shares(day, event).items()
                if name in taken and name not in short and share > taken[name] + _SAME_KW
            }
            taken |= more
            update = {"share_kw": {**record.share_kw, **taken}, "accepted_kw": answered(record, taken, unheard)}
            record = record.model_copy(update=update)
            await self._book.keep(record, self._outbox.kept(record, "changed", "others have declined", share_kw=more))
            await self._outbox.send(event.event_id)
        self._committed.bind_all(record, day)


def open_to(record: EventRecord | None, aggregator_id: str, response: EventResponse, place: str) -> EventRecord:
    """The event that is answered; ``InputError`` (at ``place``) if it was not offered or takes no answers.

    Answers are taken until the event begins; while it runs only opt-outs are (a yes changes nothing, and is fine).
    """
    if record is None or aggregator_id not in record.share_kw:
        rule = "must name an event that was offered to you"
        raise InputError([InputFault(place, "event_id", response.event_id, rule)])
    says_nothing_new = response.answer == "accept" or bool(response.opted_out_resource_ids)
    running = record.status.runs and says_nothing_new
    if not record.status.is_asked and not running:
        rule = "the event no longer takes answers"
        if record.status.runs:
            rule = "the event runs: name the resources that stay out in opted_out_resource_ids"
        raise InputError([InputFault(place, "event_id", response.event_id, rule)])
    return record


def accepted_kw(response: EventResponse, offered_kw: float) -> float:
    """How much of what was offered an answer takes on, kW."""
    return {
        "accept": offered_kw,
        "accept_part": min(offered_kw, response.accepted_kw or 0.0),
        "decline": 0.0,
    }[response.answer]


def all_answered(record: EventRecord) -> bool:
    """True if nobody who has a share is still to be heard."""
    return all(value is not None for value in record.accepted_kw.values())


def answered(record: EventRecord, taken_kw: Mapping[str, float], unheard: Container[str]) -> dict[str, float | None]:
    """What everybody has taken on once answers are settled; who could not be asked has no answer (None)."""
    return {
        name: None if name in unheard and record.accepted_kw.get(name) is None else kw for name, kw in taken_kw.items()
    }
