"""Events: declare, approve (a second person), watch, change, cancel, terminate."""

import asyncio
from datetime import datetime
from typing import Annotated, Self

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.errors import InputError, InputFault
from models.events import EventOrder, EventRecord, Remark
from models.life_cycle import EventStatus
from models.records import UserRecord
from models.roles import Role
from models.units import Identifier, NonNegativeKw, UtcTime
from vpp.api.access import ALL, Service, allowed, allowed_to, own_only
from vpp.api.idempotency import IdempotencyKey, Once, stable_id
from vpp.api.paging import Cursor, Limit, Page, cursor_time, decode_cursor, encode_cursor
from vpp.api.problems import documented

router = APIRouter(prefix="/api/v1/events", tags=["events"], responses=documented(401, 403, 422, 429, 503))
once = Once()

EventId = Annotated[Identifier, Path(description="The event.")]
Operator = Annotated[UserRecord, allowed(Role.OPERATOR)]
Consulter = Annotated[UserRecord, allowed_to("consult")]
Approver = Annotated[UserRecord, allowed_to("approve")]
Canceller = Annotated[UserRecord, allowed_to("cancel")]
Terminator = Annotated[UserRecord, allowed_to("terminate")]
Anyone = Annotated[UserRecord, allowed(*ALL)]


class Reason(BaseModel):
    """Why something is called off."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[Remark, Field(min_length=1)]


class NewTarget(BaseModel):
    """What an event shall order from now on, and why."""

    model_config = ConfigDict(extra="forbid")

    target_kw: NonNegativeKw
    reason: Annotated[Remark, Field(min_length=1)]


class EventOrders(BaseModel):
    """Orders of one market day."""

    model_config = ConfigDict(extra="forbid")

    orders: Annotated[list[EventOrder], Field(min_length=1, max_length=20)]

    @model_validator(mode="after")
    def _names(self) -> Self:
        named = [order.event_id for order in self.orders if order.event_id is not None]
        if len(named) != len(set(named)):
            raise ValueError("event_id: must be different in every order")
        return self


class DeclaredEvents(BaseModel):
    """The events in the order of their orders."""

    items: list[EventRecord]


def _narrowed(record: EventRecord, aggregator_id: str | None) -> EventRecord | None:
    """The event as its reader may see it: an aggregator sees its own share, and only events that ask it."""
    if aggregator_id is None:
        return record
    if aggregator_id not in record.share_kw:
        return None
    mine = {name: {aggregator_id: values[aggregator_id]} for name, values in _shares(record) if aggregator_id in values}
    hidden = {"five_percent_kw": None, "callable_kw": None, "opted_out_resource_ids": (), "evaluation": None}
    return record.model_copy(update={**hidden, "share_kw": {}, "accepted_kw": {}, **mine})


def _shares(record: EventRecord) -> list[tuple[str, dict[str, float] | dict[str, float | None]]]:
    return [("share_kw", record.share_kw), ("accepted_kw", record.accepted_kw)]


@router.post("", status_code=201, response_model=EventRecord, responses=documented(409))
async def declare_event(
    request: Request, service: Service, caller: Operator, order: EventOrder, idempotency_key: IdempotencyKey
) -> Response:
    """Size and declare an event. `ordered_kw` null: the smaller of the target share and what is callable."""
    named = order.event_id is not None
    event_id = order.event_id or f"{order.start:%Y%m%dT%H%M}-{stable_id(caller, idempotency_key)}"

    async def create() -> EventRecord:
        known = await asyncio.to_thread(service.store.event, event_id)
        if known is not None and named:
            raise InputError([InputFault("event", "event_id", event_id, "exists already: choose another")])
        if known is not None:
            return known.record  # declared by this very request just before a crash
        (record,) = await service.declare([order.model_copy(update={"event_id": event_id})], caller.name)
        return record

    return await once.run(request, service, caller, idempotency_key, create)


@router.post(":declare-many", status_code=201, response_model=DeclaredEvents, responses=documented(409))
async def declare_events(
    request: Request, service: Service, caller: Operator, orders: EventOrders, idempotency_key: IdempotencyKey
) -> Response:
    """Size and declare events of one market day together: they share the same resources."""
    stem = stable_id(caller, idempotency_key)
    named = [
        order.model_copy(update={"event_id": order.event_id or f"{order.start:%Y%m%dT%H%M}-{stem}-{number}"})
        for number, order in enumerate(orders.orders, start=1)
    ]

    async def create() -> DeclaredEvents:
        known = [await asyncio.to_thread(service.store.event, order.event_id or "") for order in named]
        for index, (order, stored) in enumerate(zip(orders.orders, known, strict=True)):
            if stored is not None and order.event_id is not None:
                rule = "exists already: choose another"
                raise InputError([InputFault("event", f"orders.{index}.event_id", order.event_id, rule)])
        missing = [order for order, stored in zip(named, known, strict=True) if stored is None]
        made = list(await service.declare(missing, caller.name)) if missing else []
        kept = {record.event.event_id: record for record in made}
        kept |= {stored.record.event.event_id: stored.record for stored in known if stored is not None}
        return DeclaredEvents(items=[kept[order.event_id or ""] for order in named])

    return await once.run(request, service, caller, idempotency_key, create)


@router.get("")
def list_events(
    service: Service,
    caller: Anyone,
    status: Annotated[list[EventStatus] | None, Query(description="Only these.")] = None,
    since: Annotated[UtcTime | None, Query(description="Only those that end later.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[EventRecord]:
    """Events, the latest window first."""
    before = decode_cursor(cursor, str, str)
    records = service.store.events(status or None, since, before=_position(before), limit=limit + 1)
    page = records[:limit]
    last = page[-1].event if page else None
    following = encode_cursor(last.start.isoformat(), last.event_id) if last and len(records) > limit else None
    shown = [_narrowed(record, own_only(caller)) for record in page]
    return Page(items=[record for record in shown if record is not None], next_cursor=following)


def _position(parts: list[str] | None) -> tuple[datetime, str] | None:
    return None if parts is None else (cursor_time(parts[0]), parts[1])


@router.get("/{event_id}", responses=documented(404))
def show_event(service: Service, caller: Anyone, event_id: EventId) -> EventRecord:
    """One event with its whole life so far."""
    stored = service.store.event(event_id)
    record = _narrowed(stored.record, own_only(caller)) if stored else None
    if record is None:
        raise HTTPException(404, f"there is no event {event_id}")
    return record


def _must_exist(service: Service, event_id: str) -> None:
    if service.store.event(event_id) is None:
        raise HTTPException(404, f"there is no event {event_id}")


@router.post("/{event_id}/consult", responses=documented(404, 409))
async def consult_event(service: Service, caller: Consulter, event_id: EventId, why: Reason) -> EventRecord:
    """Note what utility and energy authority agreed on before a declared event is approved."""
    await asyncio.to_thread(_must_exist, service, event_id)
    return await service.consult(event_id, caller.name, why.reason)


@router.post("/{event_id}/approve", responses=documented(404, 409))
async def approve_event(service: Service, caller: Approver, event_id: EventId) -> EventRecord:
    """Approve a declared event (never by who declared it), or the change of target that waits (never by who asked)."""
    await asyncio.to_thread(_must_exist, service, event_id)
    (record,) = await service.approve([event_id], caller.name)
    return record


@router.post("/{event_id}/change", status_code=201, response_model=EventRecord, responses=documented(404, 409))
async def change_event(
    request: Request,
    service: Service,
    caller: Operator,
    event_id: EventId,
    new: NewTarget,
    idempotency_key: IdempotencyKey,
) -> Response:
    """Change the target of an event to come or running, in steps from the next cycle on.

    A decrease holds at once. An increase waits in `changes` (`effective_from` null) until a second person approves.
    """

    async def create() -> EventRecord:
        stored = await asyncio.to_thread(service.store.event, event_id)
        if stored is None:
            raise HTTPException(404, f"there is no event {event_id}")
        last = stored.record.changes[-1] if stored.record.changes else None
        if last is not None and (last.by, last.after_kw, last.reason) == (caller.name, new.target_kw, new.reason):
            return stored.record  # asked for by this very request just before a crash, or twice
        return await service.change(event_id, new.target_kw, caller.name, new.reason)

    return await once.run(request, service, caller, idempotency_key, create)


@router.post("/{event_id}/cancel", responses=documented(404, 409))
async def cancel_event(service: Service, caller: Canceller, event_id: EventId, why: Reason) -> EventRecord:
    """Call off an event that has not begun."""
    await asyncio.to_thread(_must_exist, service, event_id)
    return await service.cancel(event_id, caller.name, why.reason)


@router.post("/{event_id}/terminate", responses=documented(404, 409))
async def terminate_event(service: Service, caller: Terminator, event_id: EventId, why: Reason) -> EventRecord:
    """Stop a running event, with a safe ramp."""
    await asyncio.to_thread(_must_exist, service, event_id)
    return await service.terminate(event_id, caller.name, why.reason)
