"""What has happened: readings, messages set aside, the audit log."""

import math
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from models.errors import InputError, InputFault
from models.records import UserRecord
from models.roles import Role
from models.units import Identifier, UtcTime
from vpp.api.access import ALL, Service, allowed, own_only
from vpp.api.paging import Cursor, Limit, Page, cursor_time, decode_cursor, encode_cursor
from vpp.api.problems import documented
from vpp.api.resources import visible

router = APIRouter(prefix="/api/v1", responses=documented(401, 403, 422, 429, 503))
LONGEST = timedelta(days=366)

Anyone = Annotated[UserRecord, allowed(*ALL)]
Watcher = Annotated[UserRecord, allowed(Role.OPERATOR, Role.ENGINEER, Role.AUDITOR, Role.AGGREGATOR)]
Auditor = Annotated[UserRecord, allowed(Role.AUDITOR)]


class ReadingView(BaseModel):
    """A reading with both its times: when it was measured and when we got it."""

    measured_at: UtcTime
    received_at: UtcTime
    power_kw: float
    energy_kwh: float | None
    temperature_celsius: float | None
    available: bool


class DeadLetterView(BaseModel):
    """A message that was set aside, with its first bytes."""

    letter_id: int
    at: UtcTime
    place: str
    reason: str
    aggregator_id: str | None
    message_id: str | None
    payload: str


class AuditView(BaseModel):
    """A line of the audit log; ``entry_hash`` covers it and the line before."""

    entry_id: int
    at: UtcTime
    actor: str
    action: str
    subject: str
    details: dict[str, Any]
    prev_hash: str
    entry_hash: str


class AuditState(BaseModel):
    """The chain was recomputed and is unbroken; ``last_hash``, noted elsewhere, proves that nothing was cut."""

    entries: int
    last_hash: str


class AuditHead(BaseModel):
    """Number and hash of the newest line of the audit log."""

    entries: int
    head_sha256: str


def _said(value: float) -> float | None:
    return None if math.isnan(value) else value


@router.get("/readings", tags=["readings"], responses=documented(404))
def list_readings(
    service: Service,
    caller: Anyone,
    resource_id: Annotated[Identifier, Query()],
    start: Annotated[UtcTime, Query()],
    end: Annotated[UtcTime, Query()],
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    cursor: Cursor = None,
) -> Page[ReadingView]:
    """Readings of one resource with start <= measured_at < end, in the order of time."""
    visible(service, caller, resource_id)
    if not start < end or end - start > LONGEST:
        raise InputError([InputFault("query", "end", end.isoformat(), "must be later than start, by 366 days at most")])
    behind = decode_cursor(cursor, str)
    begin = start if behind is None else max(start, cursor_time(behind[0]) + timedelta(microseconds=1))
    frame = service.store.readings([resource_id], begin, end, limit=limit + 1)
    rows: list[Any] = list(frame.head(limit).itertuples(index=False))
    items = [
        ReadingView(
            measured_at=row.measured_at.to_pydatetime(),
            received_at=row.received_at.to_pydatetime(),
            power_kw=row.power_kw,
            energy_kwh=_said(row.energy_kwh),
            temperature_celsius=_said(row.temperature_celsius),
            available=row.available,
        )
        for row in rows
    ]
    following = encode_cursor(items[-1].measured_at.isoformat()) if len(frame) > limit else None
    return Page(items=items, next_cursor=following)


@router.get("/dead-letters", tags=["dead letters"])
def list_dead_letters(
    service: Service, caller: Watcher, limit: Limit = 100, cursor: Cursor = None
) -> Page[DeadLetterView]:
    """Messages that were set aside, newest first; an aggregator sees its own."""
    before = decode_cursor(cursor, int)
    letters = service.store.dead_letters(before[0] if before else None, limit + 1, own_only(caller))
    items = [
        DeadLetterView(
            letter_id=letter.letter_id or 0,
            at=letter.at,
            place=letter.place,
            reason=letter.reason,
            aggregator_id=letter.aggregator_id,
            message_id=letter.message_id,
            payload=letter.payload.decode("utf-8", "backslashreplace"),
        )
        for letter in letters[:limit]
    ]
    following = encode_cursor(items[-1].letter_id) if len(letters) > limit else None
    return Page(items=items, next_cursor=following)


@router.get("/audit", tags=["audit"])
def list_audit(
    service: Service,
    _caller: Auditor,
    subject: Annotated[str | None, Query(max_length=200, description="Only lines about this.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[AuditView]:
    """The append-only log in order."""
    after = decode_cursor(cursor, int)
    entries = service.store.audit_log(after[0] if after else 0, limit + 1, subject)
    items = [
        AuditView(
            entry_id=entry.entry_id,
            at=entry.at,
            actor=entry.actor,
            action=entry.action,
            subject=entry.subject,
            details=entry.details,
            prev_hash=entry.prev_hash,
            entry_hash=entry.entry_hash,
        )
        for entry in entries[:limit]
    ]
    following = encode_cursor(items[-1].entry_id) if len(entries) > limit else None
    return Page(items=items, next_cursor=following)


@router.get("/audit/head", tags=["audit"])
def audit_head(service: Service, _caller: Auditor) -> AuditHead:
    """The newest line as it stands, to be noted elsewhere; `vpp audit verify --head` looks for it."""
    entries, head_sha256 = service.store.audit_head()
    return AuditHead(entries=entries, head_sha256=head_sha256)


@router.get("/audit/state", tags=["audit"])
def audit_state(service: Service, _caller: Auditor) -> AuditState:
    """Recompute the chain; 503 names the first broken line."""
    entries, last_hash = service.store.verify_audit()
    return AuditState(entries=entries, last_hash=last_hash)
