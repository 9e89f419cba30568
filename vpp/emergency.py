"""Emergencies: from the second person's approval to setpoints on the wire, whatever is being planned meanwhile."""

import asyncio
from dataclasses import replace
from datetime import datetime
from functools import partial
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from adapters.store.store import Store
from models.events import Event, EventRecord
from models.plan import DispatchPlan
from models.ports import Clock
from models.records import PlanKind
from vpp.delivery import DeliveryStage
from vpp.direct_call import Call, DirectCalls
from vpp.event_calls import CallDesk
from vpp.plan_in_force import PlanInForce


class Emergencies:
    """One call at a time, under a lock of its own: the runtime's may be held by a solve for a minute."""

    def __init__(
        self,
        *,
        clock: Clock,
        store: Store,
        zone: ZoneInfo,
        desk: CallDesk,
        delivery: DeliveryStage,
        calls: DirectCalls,
        in_force: PlanInForce,
    ) -> None:
        self._clock = clock
        self._store = store
        self._zone = zone
        self._desk = desk
        self._delivery = delivery
        self._calls = calls
        self._in_force = in_force
        self._one = asyncio.Lock()

    def callable_kw(self, event: Event, now: datetime) -> float:
        """What a call could count on, from now to the end of the event."""
        return self._calls.callable_kw(event, now)

    def refresh(self) -> None:
        """Keep ready what a call needs; safe in a thread."""
        self._calls.refresh()

    async def approve(self, event_id: str, by: str) -> EventRecord:
        """Approve an emergency and call it; returns once the last batch has left and everybody is told.

        Approval and the plan of the first wave are kept in one transaction before it leaves, the plan of everybody else
        before they follow.  From that moment on no plan that was made without the event is sent.
        """
        async with self._one:
            record, now = self._desk.approvable(event_id, by), self._clock.now()
            call = await asyncio.to_thread(self._calls.work_out, record.event, now)
            first = call.plan(call.first)
            record = await self._desk.approve(record, by, call.share_kw, partial(self._keep, first))
            self._delivery.overtake()
            try:
                await self._send_wave(call, first, call.first)
                await self._send(call, call.rest)
            finally:  # what could not be ordered now is ordered by the next cycle
                await self._desk.tell(record)
        return record

    async def go_on(self, boundary: datetime) -> None:
        """Calls that run go on for another cycle: there is no day plan yet with which it could be planned."""
        now = self._clock.now()  # one delivery, also for calls that run side by side
        for record in self._desk.running():
            async with self._one:
                call = await asyncio.to_thread(
                    self._calls.work_out, record.event, boundary, record.opted_out_resource_ids, goes_on=True
                )
                await self._send(replace(call, made_at=now), np.arange(len(call.rows)))

    async def _send(self, call: Call, places: NDArray[np.int64]) -> None:
        """Keep the plan of these places, and send it."""
        if len(places):
            plan = await asyncio.to_thread(call.plan, places)
            await asyncio.to_thread(self._keep, plan)
            await self._send_wave(call, plan, places)
        self._calls.note(call)

    async def _send_wave(self, call: Call, plan: DispatchPlan, places: NDArray[np.int64]) -> None:
        self._in_force.made(plan, self._delivery.executed_hash)
        await self._calls.send(call, plan, places)

    def _keep(self, plan: DispatchPlan) -> None:
        day = plan.grid.start.astimezone(self._zone).date()
        self._store.save_plan(PlanKind.REAL_TIME, day, plan)
