"""Emergencies: from the second person's approval to setpoints on the wire, whatever is being planned meanwhile."""

import asyncio
from datetime import datetime
from functools import partial
from zoneinfo import ZoneInfo

from adapters.store.store import Store
from models.events import Event, EventRecord
from models.ports import Clock
from models.records import PlanKind
from vpp.delivery import DeliveryStage
from vpp.direct_call import Call, DirectCalls
from vpp.event_calls import CallDesk


class Emergencies:
    """One call at a time, under a lock of its own: the runtime's may be held by a solve for a minute."""

    def __init__(
        self, *, clock: Clock, store: Store, zone: ZoneInfo, desk: CallDesk, delivery: DeliveryStage, calls: DirectCalls
    ) -> None:
        self._clock = clock
        self._store = store
        self._zone = zone
        self._desk = desk
        self._delivery = delivery
        self._calls = calls
        self._one = asyncio.Lock()

    def callable_kw(self, event: Event, now: datetime) -> float:
        """What a call could count on, from now to the end of the event."""
        return self._calls.callable_kw(event, now)

    def refresh(self) -> None:
        """Keep ready what a call needs; safe in a thread."""
        self._calls.refresh()

    async def approve(self, event_id: str, by: str) -> EventRecord:
        """Approve an emergency and call it; returns once the last batch has left and everybody is told.

        Approval and plan are kept in one transaction before the first batch leaves, each batch before it does.  From
        that moment on no plan that was made without the event is sent.
        """
        async with self._one:
            record, now = self._desk.approvable(event_id, by), self._clock.now()
            call = await asyncio.to_thread(self._calls.work_out, record.event, now)
            record = await self._desk.approve(record, by, call.share_kw, partial(self._keep, call))
            self._delivery.overtake()
            await self._calls.send(call)
            await self._desk.tell(record)
        return record

    async def go_on(self, boundary: datetime) -> None:
        """Calls that run go on for another cycle: there is no day plan yet with which it could be planned."""
        for record in self._desk.running():
            async with self._one:
                call = await asyncio.to_thread(
                    self._calls.work_out, record.event, boundary, record.opted_out_resource_ids, goes_on=True
                )
                await asyncio.to_thread(self._keep, call)
                await self._calls.send(call)

    def _keep(self, call: Call) -> None:
        day = call.window.valid_from.astimezone(self._zone).date()
        self._store.save_plan(PlanKind.REAL_TIME, day, call.plan)
