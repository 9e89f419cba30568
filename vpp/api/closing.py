"""After an event: its statement in versions, published, disputed, corrected, settled; as JSON, CSV and on paper."""

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from models.events import EventRecord, Remark
from models.records import UserRecord
from models.roles import Role
from models.settlement.issued import IssuedStatement
from models.settlement.rules.schema import Price
from models.units import AggregatorId, Identifier, UtcTime
from vpp.api.access import ALL, Service, allowed, allowed_to, own_only
from vpp.api.idempotency import IdempotencyKey, Once
from vpp.api.problems import documented
from vpp.closing.desk import Correction
from vpp.closing.readings import MeterCorrection
from vpp.report.statement.aggregator import aggregator_report
from vpp.report.statement.as_csv import difference_csv, statement_csv
from vpp.report.statement.as_json import difference_json, statement_json
from vpp.report.statement.evaluation import Evaluation, evaluation_csv, evaluation_json
from vpp.report.statement.market import market_report
from vpp.report.statement.resource import resource_report
from vpp.report.statement.scope import EVERYTHING, Scope

router = APIRouter(prefix="/api/v1/events", tags=["settlement"], responses=documented(401, 403, 404, 422, 429, 503))
once = Once()

EventId = Annotated[Identifier, Path(description="The event.")]
Version = Annotated[int, Path(ge=1, description="Which version of the statement.")]
Operator = Annotated[UserRecord, allowed(Role.OPERATOR)]
Publisher = Annotated[UserRecord, allowed_to("publish")]
Settler = Annotated[UserRecord, allowed_to("settle")]
Disputer = Annotated[UserRecord, allowed_to("dispute")]
Anyone = Annotated[UserRecord, allowed(*ALL)]
Form = Annotated[Literal["json", "csv", "html"], Query(alias="format", description="For programs, sheets or paper.")]
Table = Annotated[Literal["json", "csv"], Query(alias="format", description="For programs or sheets.")]
Language = Annotated[Literal["en", "zh"], Query(description="Of column heads in CSV.")]
OfResource = Annotated[Identifier | None, Query(description="Only this resource.")]
OfAggregator = Annotated[AggregatorId | None, Query(description="Only this aggregator and its users.")]

MEDIA = {"json": "application/json", "csv": "text/csv; charset=utf-8", "html": "text/html; charset=utf-8"}


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class FirstStatement(_Body):
    """At what price a call without bids is settled, where its rule takes the price from the market."""

    price_cny_per_kwh: Price


class NewDispute(_Body):
    """What is wrong with a statement, and with whose part of it."""

    reason: Annotated[Remark, Field(min_length=1)]
    resource_id: Identifier | None = None


class NewCorrection(_Body):
    """What the next version shall be made of instead; what is left out stays as it was.

    `again`: meters are read once more from the database, where late readings have come in since.
    """

    reason: Annotated[Remark, Field(min_length=1)]
    rule_id: Identifier | None = None
    rule_version: Annotated[int, Field(ge=1)] | None = None
    price_cny_per_kwh: Price | None = None
    again: bool = False
    meters: Annotated[tuple[MeterCorrection, ...], Field(max_length=10_000)] = ()

    def correction(self) -> Correction:
        """As the desk takes it."""
        return Correction(**{name: getattr(self, name) for name in NewCorrection.model_fields})


class StatementView(BaseModel):
    """A version without its lines; money is what the market pays in all."""

    event_id: str
    version: int
    made_at: UtcTime
    made_by: str
    rule_id: str
    rule_version: int
    reason: str
    sha256: str


class DisputeView(BaseModel):
    """A dispute; `answer` is null while it is open."""

    event_id: str
    version: int
    aggregator_id: str | None
    resource_id: str | None
    opened_at: UtcTime
    opened_by: str
    reason: str
    answered_at: UtcTime | None
    answered_by: str | None
    answer: str | None
    corrected_version: int | None


def _record(service: Service, caller: UserRecord, event_id: str) -> EventRecord:
    """The event, if its reader may know of its money."""
    stored = service.store.event(event_id)
    own = own_only(caller)
    if stored is None or (own is not None and own not in stored.record.share_kw):
        raise HTTPException(404, f"there is no event {event_id}")
    return stored.record


def _issued(service: Service, caller: UserRecord, event_id: str, version: int) -> IssuedStatement:
    record = _record(service, caller, event_id)
    may = own_only(caller) is None or record.status.is_shown
    found = service.store.statement(event_id, version) if may else None
    if found is None:
        raise HTTPException(404, f"there is no statement of event {event_id}, version {version}")
    return found


def _scope(caller: UserRecord, aggregator_id: str | None, resource_id: str | None, issued: IssuedStatement) -> Scope:
    """What was asked for, narrowed to what the reader may see."""
    own = own_only(caller)
    if resource_id is not None:
        owner = dict(zip(issued.inputs.resource_ids, issued.inputs.aggregator_ids, strict=True))
        if resource_id not in owner or own not in (None, owner[resource_id]):
            raise HTTPException(404, f"the statement has no resource {resource_id}")
        return Scope.resource(resource_id)
    wanted = own or aggregator_id
    return EVERYTHING if wanted is None else Scope.aggregator(wanted)


def _sent(pieces: Iterator[str], form: str, name: str) -> StreamingResponse:
    disposition = {"Content-Disposition": f'attachment; filename="{name}.{form}"'} if form == "csv" else {}
    return StreamingResponse(pieces, media_type=MEDIA[form], headers=disposition)


# ---- what people do


@router.post("/{event_id}/statements", status_code=201, response_model=StatementView, responses=documented(409))
async def issue_statement(
    request: Request,
    service: Service,
    caller: Operator,
    event_id: EventId,
    first: FirstStatement,
    idempotency_key: IdempotencyKey,
) -> Response:
    """Settle an evaluated event at a price; where the rule or a market has one, the service does it by itself."""

    async def create() -> StatementView:
        await asyncio.to_thread(_record, service, caller, event_id)
        return _view(await service.closing.issue(event_id, Decimal(first.price_cny_per_kwh), caller.name))

    return await once.run(request, service, caller, idempotency_key, create)


@router.post("/{event_id}/publish", responses=documented(409))
async def publish_event(service: Service, caller: Publisher, event_id: EventId) -> EventRecord:
    """Show the newest statement to those it is about; a disputed one is published again as it stands."""
    await asyncio.to_thread(_record, service, caller, event_id)
    return await service.closing.publish(event_id, caller.name)


@router.post("/{event_id}/disputes", status_code=201, response_model=DisputeView, responses=documented(409))
async def dispute_event(
    request: Request,
    service: Service,
    caller: Disputer,
    event_id: EventId,
    new: NewDispute,
    idempotency_key: IdempotencyKey,
) -> Response:
    """Say that a published or settled statement is wrong; an aggregator of its own part only."""

    async def create() -> DisputeView:
        record = await asyncio.to_thread(_record, service, caller, event_id)
        own = own_only(caller)
        if own is not None and not record.status.is_shown:
            raise HTTPException(404, f"there is no statement of event {event_id} yet")
        await service.closing.dispute(event_id, caller.name, new.reason, aggregator_id=own, resource_id=new.resource_id)
        return _disputes(service, caller, event_id)[-1]

    return await once.run(request, service, caller, idempotency_key, create)


@router.post("/{event_id}/corrections", status_code=201, response_model=StatementView, responses=documented(409))
async def correct_statement(
    request: Request,
    service: Service,
    caller: Operator,
    event_id: EventId,
    new: NewCorrection,
    idempotency_key: IdempotencyKey,
) -> Response:
    """Answer every open dispute with the next version; the one before stays as it is."""

    async def create() -> StatementView:
        await asyncio.to_thread(_record, service, caller, event_id)
        return _view(await service.closing.correct(event_id, caller.name, new.correction()))

    return await once.run(request, service, caller, idempotency_key, create)


@router.post("/{event_id}/settle", responses=documented(409))
async def settle_event(service: Service, caller: Settler, event_id: EventId) -> EventRecord:
    """The money is due: never by who published the statement, and not while it may still be disputed."""
    await asyncio.to_thread(_record, service, caller, event_id)
    return await service.closing.settle(event_id, caller.name)


# ---- what people read


@router.get("/{event_id}/statements")
def list_statements(service: Service, caller: Anyone, event_id: EventId) -> list[StatementView]:
    """All versions, oldest first; an aggregator sees them once they are published."""
    record = _record(service, caller, event_id)
    if own_only(caller) is not None and not record.status.is_shown:
        return []
    names = StatementView.model_fields
    return [
        StatementView(**{name: getattr(each, name) for name in names}) for each in service.store.statements(event_id)
    ]


@router.get("/{event_id}/statements/{version}", response_class=StreamingResponse)
def show_statement(
    service: Service,
    caller: Anyone,
    event_id: EventId,
    version: Version,
    aggregator_id: OfAggregator = None,
    resource_id: OfResource = None,
    form: Form = "json",
    language: Language = "en",
) -> StreamingResponse:
    """One version with its lines; an aggregator gets its own and its users'."""
    issued = _issued(service, caller, event_id, version)
    scope = _scope(caller, aggregator_id, resource_id, issued)
    name = f"{event_id}-statement-{version}"
    if form == "csv":
        return _sent(statement_csv(issued, scope, language=language), form, name)
    if form == "json":
        return _sent(statement_json(issued, scope), form, name)
    previous = service.store.statement(event_id, version - 1) if version > 1 else None
    if scope.party is None:
        evaluation = Evaluation.of(_record(service, caller, event_id), issued.inputs.zone)
        return _sent(market_report(issued, evaluation=evaluation, previous=previous), form, name)
    if scope.party.is_aggregator:
        judged = Evaluation.of(_record(service, caller, event_id), issued.inputs.zone)
        mine = None if judged is None else judged.narrowed(scope.party.party_id)
        report = aggregator_report(issued, scope.party.party_id, evaluation=mine, previous=previous)
        return _sent(report, form, name)
    return _sent(resource_report(issued, scope.party.party_id, previous=previous), form, name)


@router.get("/{event_id}/statements/{version}/difference", response_class=StreamingResponse)
def show_difference(
    service: Service,
    caller: Anyone,
    event_id: EventId,
    version: Version,
    since: Annotated[int, Query(ge=1, description="The version to compare with.")],
    form: Table = "json",
    language: Language = "en",
) -> StreamingResponse:
    """Every line in which two versions differ, and what is still to be paid for it."""
    old, new = (_issued(service, caller, event_id, each) for each in (since, version))
    scope = _scope(caller, None, None, new)
    name = f"{event_id}-statement-{since}-to-{version}"
    if form == "csv":
        return _sent(difference_csv(old, new, scope, language=language), form, name)
    return _sent(difference_json(old, new, scope), form, name)


@router.get("/{event_id}/evaluation", response_class=StreamingResponse)
def show_evaluation(
    service: Service, caller: Anyone, event_id: EventId, form: Table = "json", language: Language = "en"
) -> StreamingResponse:
    """What the event delivered, hour by hour; an aggregator sees its own hours."""
    record = _record(service, caller, event_id)
    found = Evaluation.of(record, service.settings.service.zone)
    own = own_only(caller)
    if found is None or (own is not None and not record.status.is_shown):
        raise HTTPException(404, f"event {event_id} has not been evaluated yet")
    shown = found if own is None else found.narrowed(own)
    pieces = evaluation_json(shown) if form == "json" else evaluation_csv(shown, language=language)
    return _sent(pieces, form, f"{event_id}-evaluation")


@router.get("/{event_id}/disputes")
def list_disputes(service: Service, caller: Anyone, event_id: EventId) -> list[DisputeView]:
    """All disputes, oldest first; an aggregator sees its own."""
    _record(service, caller, event_id)
    return _disputes(service, caller, event_id)


def _disputes(service: Service, caller: UserRecord, event_id: str) -> list[DisputeView]:
    own = own_only(caller)
    return [
        DisputeView(**{name: getattr(each, name) for name in DisputeView.model_fields})
        for each in service.store.disputes(event_id)
        if own is None or each.aggregator_id == own
    ]


def _view(issued: IssuedStatement) -> StatementView:
    statement = issued.statement
    return StatementView(
        event_id=statement.event_id,
        version=statement.version,
        made_at=issued.made_at,
        made_by=issued.made_by,
        rule_id=issued.rule.rule_id,
        rule_version=issued.rule.version,
        reason=statement.reason,
        sha256=issued.sha256,
    )
