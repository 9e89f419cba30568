"""The outbox: notices are kept with the step of the event that they tell of, and told until the broker has them.

    waiting     kept in the database in the transaction of the step, so that neither is without the other
    told        the broker has taken it; told at once, or when the gateways are back, or every few minutes until then
    given up    something newer was said of the event to the same aggregator, or nobody needs to hear it any more

Of each event one notice waits for each aggregator at most, the newest: order needs no other care.  At least once: what
was told and not noted (the process was killed in between) is told again, and aggregators know that.

It is told beside the runtime's lock (a direct call has its own): one thing is told at a time.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog

from adapters.store.store import Store
from models.errors import VppError
from models.events import EventNotice, EventRecord
from models.ports import Clock, DeviceLink
from models.records import KeptNotice
from vpp.event_notices import LAST_WORDS, as_told, is_pointless, notices_of
from vpp.metrics import Metrics

log = structlog.get_logger(__name__)

FIRST_PAUSE = timedelta(seconds=15)
"""Until what was not told is told again; longer than gateways need to be back with a broker that was away."""
LONGEST_PAUSE = timedelta(minutes=5)
"""Pauses double up to this."""
LEAST_PAUSE = timedelta(seconds=1)


def _pause(tries: int) -> timedelta:
    return min(LONGEST_PAUSE, FIRST_PAUSE * float(2 ** min(max(tries - 1, 0), 10)))


@dataclass
class _Run:
    """What became of the notices of one turn, besides those that the broker took."""

    failed: list[KeptNotice] = field(default_factory=list)
    over: list[KeptNotice] = field(default_factory=list)
    error: str = ""


def _facts(each: KeptNotice) -> dict[str, Any]:
    return {
        "aggregator_id": each.aggregator_id,
        "event_id": each.notice.event_id,
        "status": each.notice.status,
        "made_at": each.made_at.isoformat(),
        "tries": each.tries,
    }


class EventOutbox:
    """Keeps notices, and tells them.

    ``link`` None: read-only mode, nothing is kept and nobody is told anything.  ``find``: an event as it stands.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        store: Store,
        link: DeviceLink | None,
        metrics: Metrics,
        find: Callable[[str], EventRecord | None],
    ) -> None:
        self._clock = clock
        self._store = store
        self._link = link
        self._metrics = metrics
        self._find = find
        self.was_told: Callable[[EventNotice], None] = lambda _: None
        """Hears every notice that is told, as it is told."""
        self.is_held = False
        """True while the broker is away, or just back: what is told before gateways have subscribed may be lost."""
        self._turn = asyncio.Lock()
        self._due: datetime | None = None
        self._waiting_for: frozenset[str] = frozenset()
        self._taken: dict[int, datetime] = {}
        """What the broker has and the database does not know yet: noted when it answers, and not told again."""

    # ---- with a step

    def kept(
        self,
        record: EventRecord,
        status: str,
        reason: str = "",
        respond_by: datetime | None = None,
        share_kw: Mapping[str, float] | None = None,
    ) -> Callable[[], None]:
        """What keeps the notices of a step, to be called in the transaction of the step (see ``notices_of``)."""
        return partial(self._keep, record, status, reason, respond_by, share_kw)

    def _keep(
        self,
        record: EventRecord,
        status: str,
        reason: str,
        respond_by: datetime | None,
        share_kw: Mapping[str, float] | None,
    ) -> None:
        if self._link is None or (share_kw is not None and not share_kw):
            return
        notices, now = notices_of(record, status, reason, respond_by, share_kw), self._clock.now()
        with self._store.transaction():
            unheard = self._store.supersede_notices(record.event.event_id, now, None if share_kw is None else notices)
            if status in LAST_WORDS:  # else what it was about is in the newer notice
                self._audit(unheard, now)
            self._store.add_notices(notices, now)
        self._due = now + FIRST_PAUSE if self._due is None else min(self._due, now + FIRST_PAUSE)

    async def send(self, event_id: str) -> None:
        """Tell at once what was kept with a step of the event; what cannot be told now is told later."""
        try:
            await self._tell(lambda each: each.notice.event_id == event_id)
        except VppError as error:  # the step is done all the same
            log.error("event notices are not told yet", event_id=event_id, error=str(error))

    async def unheard(self, event_id: str) -> set[str]:
        """Aggregators that were to be asked something of the event, and do not know it yet."""
        if self._link is None:
            return set()
        async with self._turn:
            waiting = await asyncio.to_thread(self._store.waiting_notices)
        mine = [each for each in waiting if each.notice.event_id == event_id and each.key not in self._taken]
        return {each.aggregator_id for each in mine if each.notice.respond_by is not None}

    # ---- again

    def next_due(self, now: datetime) -> datetime | None:
        """When something is to be told again, strictly after ``now``; None if nothing waits."""
        return None if self._due is None else max(self._due, now + LEAST_PAUSE)

    def waiting_for(self) -> frozenset[str]:
        """Aggregators that were not told something."""
        return self._waiting_for

    async def retry(self) -> int:
        """Tell what is due again; returns how many the broker took."""
        now = self._clock.now()
        if self._due is None or now < self._due <= now + LONGEST_PAUSE:  # further away: the clock was set back
            return 0
        return await self._tell(lambda each: self._due_of(each, now) <= now)

    async def send_again(self) -> int:
        """The broker is back, and the gateways: everything that waits is told; returns how many the broker took."""
        self.is_held = False
        return await self._tell(lambda _: True)

    async def take_up(self, event_ids: Iterable[str]) -> list[EventNotice]:
        """After a restart: what waits is told soon.  Returns what was told of these events, as it was told."""
        if self._link is None:
            return []
        waiting = await asyncio.to_thread(self._store.waiting_notices)
        self._show(waiting)
        self._due = self._clock.now() + FIRST_PAUSE if waiting else None
        known = await asyncio.to_thread(lambda: [each for name in event_ids for each in self._store.notices_of(name)])
        return [as_told(each.notice, each.made_at, each.told_at) for each in known if each.told_at is not None]

    # ---- pieces

    def _due_of(self, each: KeptNotice, now: datetime) -> datetime:
        """A pause after the last try; now if that lies ahead: the clock was set back."""
        last = each.tried_at or each.made_at
        return last + _pause(each.tries) if last <= now else now

    def _show(self, waiting: Sequence[KeptNotice]) -> None:
        self._waiting_for = frozenset(each.aggregator_id for each in waiting)
        self._metrics.event_notices_waiting.set(len(waiting))

    async def _tell(self, wanted: Callable[[KeptNotice], bool]) -> int:
        """Tell what is wanted of what waits, and note what became of it; how many the broker took."""
        if self._link is None:
            return 0
        async with self._turn:
            now = self._clock.now()
            self._due = now + FIRST_PAUSE  # should the database fail
            waiting = await asyncio.to_thread(self._store.waiting_notices)
            run = _Run()
            if not self.is_held:
                await self._hand_over([each for each in waiting if wanted(each) and each.key not in self._taken], run)
            taken = dict(self._taken)
            if taken or run.failed or run.over:
                await asyncio.to_thread(self._note, taken, run, now)
            self._taken.clear()
            gone = {*taken, *(each.key for each in run.over)}
            left = [each for each in waiting if each.key not in gone]
            self._show(left)
            again = [now + _pause(each.tries + 1) for each in run.failed]
            again += [self._due_of(each, now) for each in left if each not in run.failed]
            self._due = max(min(again), now + FIRST_PAUSE) if again and self.is_held else min(again, default=None)
        return len(taken)

    async def _hand_over(self, notices: Sequence[KeptNotice], run: _Run) -> None:
        """Everybody at the same time, to each one after the other."""
        by_aggregator: dict[str, list[KeptNotice]] = defaultdict(list)
        for each in notices:
            by_aggregator[each.aggregator_id].append(each)
        await asyncio.gather(*(self._hand_over_to_one(members, run) for members in by_aggregator.values()))
        if run.failed:
            log.error("event notices not told, they wait for the broker", notices=len(run.failed), error=run.error)

    async def _hand_over_to_one(self, notices: Sequence[KeptNotice], run: _Run) -> None:
        if self._link is None:
            return
        for each in notices:
            now, facts = self._clock.now(), _facts(each)
            if is_pointless(each.notice, self._find(each.notice.event_id), now):
                run.over.append(each)
                log.error("event notice given up, it could not be told in time", **facts)
                continue
            notice = as_told(each.notice, each.made_at, now)
            try:
                await self._link.send_event(each.aggregator_id, notice)
            except VppError as error:
                run.failed.append(each)
                run.error = str(error)
                continue
            self._taken[each.key] = now
            self.was_told(notice)
            if each.tries:
                log.info("event notice told late", late_s=(now - each.made_at).total_seconds(), **facts)

    def _note(self, taken: Mapping[int, datetime], run: _Run, now: datetime) -> None:
        with self._store.transaction():
            self._store.note_told(taken)
            self._store.note_tried({each.key: now for each in run.failed})
            gone = self._store.give_up_notices([each.key for each in run.over], now)
            self._audit([each for each in run.over if each.key in gone], now)

    def _audit(self, notices: Iterable[KeptNotice], now: datetime) -> None:
        """One line in the audit log for each aggregator that was not told something."""
        by_aggregator: dict[str, list[KeptNotice]] = defaultdict(list)
        for each in notices:
            by_aggregator[each.aggregator_id].append(each)
        for name, members in by_aggregator.items():
            said = [{key: value for key, value in _facts(each).items() if key != "aggregator_id"} for each in members]
            self._store.append_audit(now, "outbox", "notice.given_up", name, {"notices": said})
