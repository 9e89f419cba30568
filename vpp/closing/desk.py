"""The closing desk: an event's statement issued, published, disputed, corrected, settled and archived.

    evaluated → statement 1 → publish → (dispute → correct: the next version, published anew) → settle → archive

A statement is never overwritten: a correction adds a version that names the one before and says why.  Publishing and
settling are two persons' work, like declaring and approving.  Every step and every version stands in the audit log,
with the fingerprint of what it was made of.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import structlog

from adapters.store.statements import StatementFacts
from adapters.store.store import Store
from models.errors import AccessError, EventStateError, InputError, InputFault, VppError
from models.events import EventRecord
from models.life_cycle import EventStatus
from models.ports import Clock
from models.records import Dispute
from models.settlement.inputs import SettlementInputs
from models.settlement.issued import IssuedStatement, issued
from models.settlement.rules.evaluate import price_terms
from models.settlement.rules.load import RuleTable
from models.settlement.rules.schema import Rule, Stage
from vpp.closing.readings import MeterCorrection, with_corrections
from vpp.closing.telling import StatementTeller
from vpp.event_book import EventBook
from vpp.settings import SettlementSettings

log = structlog.get_logger(__name__)

MakeCall = Callable[[EventRecord, Decimal], Awaitable[SettlementInputs | None]]


@dataclass(frozen=True)
class Correction:
    """What a corrected version shall be made of instead; what is None stays as it was.

    ``again``: meters are read once more from the database, where late readings have come in since.
    """

    reason: str
    rule_id: str | None = None
    rule_version: int | None = None
    price_cny_per_kwh: Decimal | None = None
    again: bool = False
    meters: Sequence[MeterCorrection] = ()


class ClosingDesk:
    """``make_call``: settlement inputs of an event at a price, from the database; None if nobody owed anything."""

    def __init__(
        self,
        *,
        clock: Clock,
        store: Store,
        book: EventBook,
        rules: RuleTable,
        make_call: MakeCall,
    ) -> None:
        self._clock, self._store, self._book = clock, store, book
        self._rules, self._make_call = rules, make_call
        self.teller = StatementTeller(store, None)
        """Tells aggregators what has become of their statements."""
        self.terms = SettlementSettings()
        """By which rule the market pays, at what price a direct call, and what is agreed between agents and users."""
        self._seen: set[str] = set()
        """Events that have a statement, or cannot have one by themselves."""

    # ---- what the clock does

    async def tick(self) -> None:
        """Issue the first statement of every event that was judged, and archive what is settled for long enough.

        What fails is told, and tried again at the next tick if that makes sense.
        """
        for record in self._book.records():
            event_id = record.event.event_id
            try:
                if record.status is EventStatus.EVALUATED and event_id not in self._seen:
                    await self._issue_if_possible(record)
                if record.status is EventStatus.SETTLED and self._is_old(record):
                    await self._step(record, EventStatus.ARCHIVED, "service")
            except VppError as error:
                log.error("an event could not be closed", event_id=event_id, again=error.retryable, error=str(error))
                if not error.retryable:
                    self._seen.add(event_id)
        await self.teller.tick(self._book.records(), timedelta(days=self.terms.objection_days))

    def _is_old(self, record: EventRecord) -> bool:
        return self._clock.now() - record.steps[-1].at >= timedelta(days=self.terms.archive_after_days)

    async def _issue_if_possible(self, record: EventRecord) -> None:
        event_id = record.event.event_id
        if not await asyncio.to_thread(self._store.statements, event_id):
            rule = self._rule_on(record)
            price = self.terms.direct_price_cny_per_kwh
            if _needs_a_price(rule, record) and price is None:
                log.info("not settled by itself: its rule takes the price from the market", event_id=event_id)
            else:
                await self._issue(record, rule, price or Decimal(0), "service")
        self._seen.add(event_id)

    # ---- what people do

    async def issue(self, event_id: str, price_cny_per_kwh: Decimal, by: str) -> IssuedStatement:
        """The first statement of an evaluated event at a price that somebody names."""
        record = await self._find(event_id)
        if record.status is not EventStatus.EVALUATED:
            rule = "only an event that was evaluated and not published yet gets its first statement"
            raise EventStateError(event_id, record.status.value, "be settled", rule)
        if await asyncio.to_thread(self._store.statements, event_id):
            rule = "has a statement already: correct that one"
            raise InputError([InputFault("event", "event_id", event_id, rule)])
        made = await self._issue(record, self._rule_on(record), price_cny_per_kwh, by)
        if made is None:
            raise InputError([InputFault("event", "event_id", event_id, "called nobody: there is nothing to settle")])
        return made

    async def publish(self, event_id: str, by: str) -> EventRecord:
        """Show the newest statement to those it is about; from now on they may dispute it."""
        record = await self._find(event_id)
        if record.status is EventStatus.DISPUTED:
            return await self._uphold(record, by)
        await self._must_have_a_statement(record, "be published")
        return await self._told(await self._step(record, EventStatus.PUBLISHED, by))

    async def dispute(
        self,
        event_id: str,
        by: str,
        reason: str,
        *,
        aggregator_id: str | None = None,
        resource_id: str | None = None,
        also: Callable[[], None] | None = None,
    ) -> EventRecord:
        """Say that a published statement is wrong; ``aggregator_id``: whose dispute it is, None for an operator's.

        While one is open more may be added.  ``also`` happens in the same transaction.  ``InputError`` if the statement
        has nothing of whoever disputes it.
        """
        record = await self._find(event_id)
        if record.status is not EventStatus.DISPUTED:  # raises if it may not
            disputed = record.stepped(EventStatus.DISPUTED, self._clock.now(), by, reason)
        else:
            disputed = record
        newest = await self._newest(event_id)
        _must_be_of(newest, aggregator_id, resource_id)
        opened = Dispute(event_id, newest.statement.version, aggregator_id, resource_id, self._clock.now(), by, reason)

        def keep() -> None:
            self._store.add_dispute(opened)
            details = {"version": opened.version, "aggregator_id": aggregator_id, "resource_id": resource_id}
            self._store.append_audit(
                opened.opened_at, by, "statement disputed", event_id, {**details, "reason": reason}
            )
            if also is not None:
                also()

        return await self._book.keep(disputed, keep)

    async def correct(self, event_id: str, by: str, correction: Correction) -> IssuedStatement:
        """Answer every open dispute with the next version of the statement, and publish that."""
        record = await self._find(event_id)
        if record.status not in (EventStatus.DISPUTED, EventStatus.EVALUATED):
            what = "only what is disputed, or not published yet, is corrected"
            raise EventStateError(event_id, record.status.value, "be corrected", what)
        old = await self._newest(event_id)
        rule = self._corrected_rule(record, old, correction)
        inputs = await self._corrected_inputs(record, old, correction)
        made = await asyncio.to_thread(
            issued,
            inputs,
            rule,
            {**self.terms.contracts, **old.contracts},
            self._clock.now(),
            by,
            corrects=old.statement,
            reason=correction.reason,
        )
        published = record
        if record.status is EventStatus.DISPUTED:
            published = record.stepped(EventStatus.PUBLISHED, made.made_at, by, correction.reason)

        def keep() -> None:
            self._keep_statement(made)
            self._store.answer_disputes(event_id, correction.reason, by, made.made_at, made.statement.version)

        await self._told(await self._book.keep(published, keep))
        return made

    async def settle(self, event_id: str, by: str) -> EventRecord:
        """The money is due: never by who published the statement."""
        record = await self._find(event_id)
        await self._must_have_a_statement(record, "be settled")
        published = next((step for step in reversed(record.steps) if step.status is EventStatus.PUBLISHED), None)
        if published is not None and published.by == by:
            raise AccessError(
                f"the statement of event {event_id} was published by {by}: a second person must settle it"
            )
        if published is not None and self._clock.now() < published.at + timedelta(days=self.terms.objection_days):
            until = (published.at + timedelta(days=self.terms.objection_days)).isoformat()
            rule = f"it may be disputed until {until}"
            raise EventStateError(event_id, record.status.value, "be settled", rule)
        return await self._told(await self._step(record, EventStatus.SETTLED, by))

    # ---- pieces

    async def _told(self, record: EventRecord) -> EventRecord:
        """Aggregators hear of it now, or at the next tick."""
        self.teller.news(record.event.event_id)
        await self.teller.tick(self._book.records(), timedelta(days=self.terms.objection_days))
        return record

    async def _uphold(self, record: EventRecord, by: str) -> EventRecord:
        """Publish a disputed statement as it was: every dispute is answered with that."""
        reason = "the statement stands as it was"
        now = self._clock.now()
        upheld = record.stepped(EventStatus.PUBLISHED, now, by, reason)
        event_id = record.event.event_id
        return await self._told(await self._book.keep(upheld, lambda: self._answer(event_id, reason, by)))

    def _answer(self, event_id: str, reason: str, by: str) -> None:
        self._store.answer_disputes(event_id, reason, by, self._clock.now())

    def _corrected_rule(self, record: EventRecord, old: IssuedStatement, correction: Correction) -> Rule:
        """The old one; another in the version that is named, or that was in force on the market day."""
        rule_id = correction.rule_id or old.rule.rule_id
        if correction.rule_version is not None:
            return self._rules.get(rule_id, correction.rule_version)
        return old.rule if correction.rule_id is None else self._rules.on(rule_id, self._book.day_of(record.event))

    async def _corrected_inputs(
        self, record: EventRecord, old: IssuedStatement, correction: Correction
    ) -> SettlementInputs:
        price = correction.price_cny_per_kwh
        inputs = old.inputs
        if correction.again:
            again = await self._make_call(record, price or inputs.clearing_cny_per_kwh[0])
            if again is None:
                rule = "called nobody as the database has it now: its statement cannot be made again"
                raise InputError([InputFault("event", "event_id", record.event.event_id, rule)])
            inputs = again
        return with_corrections(inputs, correction.meters, price)

    async def _issue(self, record: EventRecord, rule: Rule, price: Decimal, by: str) -> IssuedStatement | None:
        inputs = await self._make_call(record, price)
        if inputs is None:
            log.info("nobody was called: nothing to settle", event_id=record.event.event_id)
            return None
        made = await asyncio.to_thread(issued, inputs, rule, self.terms.contracts, self._clock.now(), by)
        await asyncio.to_thread(self._keep_alone, made)
        log.info("statement issued", event_id=record.event.event_id, rule=rule.name, lines=len(made.lines))
        return made

    def _keep_alone(self, made: IssuedStatement) -> None:
        with self._store.transaction():
            self._keep_statement(made)

    def _keep_statement(self, made: IssuedStatement) -> None:
        """The version and its line in the audit log; in a transaction."""
        self._store.add_statement(made)
        facts = {"version": made.statement.version, "rule": made.rule.name, "sha256": made.sha256}
        details = {**facts, "reason": made.statement.reason, "market_total_cny": str(made.lines.market_total_cny())}
        self._store.append_audit(made.made_at, made.made_by, "statement issued", made.statement.event_id, details)

    async def _newest(self, event_id: str) -> IssuedStatement:
        found = await asyncio.to_thread(self._store.statement, event_id)
        if found is None:
            raise InputError([InputFault("event", "event_id", event_id, "has no statement yet")])
        return found

    async def _must_have_a_statement(self, record: EventRecord, step: str) -> StatementFacts:
        event_id = record.event.event_id
        found = await asyncio.to_thread(self._store.statements, event_id)
        if not found:
            raise EventStateError(event_id, record.status.value, step, "it has no statement yet: issue one first")
        return found[-1]

    async def _step(self, record: EventRecord, wanted: EventStatus, by: str) -> EventRecord:
        return await self._book.keep(record.stepped(wanted, self._clock.now(), by))

    async def _find(self, event_id: str) -> EventRecord:
        """The event, taken up from the database if it was over before this service started."""
        if self._book.find(event_id) is None:
            stored = await asyncio.to_thread(self._store.event, event_id)
            if stored is not None:
                self._book.take_up(stored)
        return self._book.get(event_id)

    def _rule_on(self, record: EventRecord) -> Rule:
        return self._rules.on(self.terms.rule_id, self._book.day_of(record.event))


def _needs_a_price(rule: Rule, record: EventRecord) -> bool:
    event = record.event
    hours = (event.end - event.start) / timedelta(hours=1)
    return price_terms(rule, Stage(record.notice_type.value), event.direction, hours).source == "clearing"


def _must_be_of(issued_: IssuedStatement, aggregator_id: str | None, resource_id: str | None) -> None:
    inputs, place = issued_.inputs, "dispute"
    if aggregator_id is not None and aggregator_id not in inputs.aggregator_ids:
        raise InputError([InputFault(place, "aggregator_id", aggregator_id, "must be one that the statement pays")])
    if resource_id is None:
        return
    owner = dict(zip(inputs.resource_ids, inputs.aggregator_ids, strict=True))
    if resource_id not in owner or aggregator_id not in (None, owner[resource_id]):
        rule = "must be a resource that the statement pays" + ("" if aggregator_id is None else ", and yours")
        raise InputError([InputFault(place, "resource_id", resource_id, rule)])
