"""Resources and aggregators: what is registered, by whom, with which capacities."""

import asyncio
from datetime import timedelta
from typing import Annotated, Self

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict

from models.errors import InputError, InputFault
from models.records import RegisteredResourceRecord, UserRecord
from models.resources import RegisteredResource, ResourceKind
from models.roles import Role
from models.units import AggregatorId, Identifier, NonNegativeKw, UtcTime
from vpp.api.access import ALL, Service, allowed, own_only
from vpp.api.facade import ConductRow, PromiseRow
from vpp.api.idempotency import IdempotencyKey, Once
from vpp.api.paging import Cursor, Limit, Page, decode_cursor, encode_cursor
from vpp.api.problems import documented

router = APIRouter(prefix="/api/v1", responses=documented(401, 403, 422, 429, 503))
once = Once()
MOST_TESTED = 2.0
"""Storage may swing from charging to discharging; more than that is a mistake of units."""
CLOCKS_DIFFER = timedelta(minutes=5)

Anyone = Annotated[UserRecord, allowed(*ALL)]
Tester = Annotated[UserRecord, allowed(Role.ENGINEER, Role.OPERATOR)]
ResourceId = Annotated[Identifier, Path(description="The resource.")]


class ResourceView(BaseModel):
    """A registered resource with its capacities (kW) and what it does when commands stop coming."""

    resource: RegisteredResource
    fallback_power_kw: float | None
    telemetry_ttl_s: float
    connected_kw: float
    declared_kw: float
    tested_kw: float | None
    tested_at: UtcTime | None
    registered_at: UtcTime
    withdrawn_at: UtcTime | None

    @classmethod
    def of(cls, record: RegisteredResourceRecord) -> Self:
        """The view of a stored record."""
        return cls(
            resource=record.resource,
            fallback_power_kw=record.fallback_power_kw,
            telemetry_ttl_s=record.telemetry_ttl_s,
            connected_kw=record.connected_kw,
            declared_kw=record.declared_kw,
            tested_kw=record.tested_kw,
            tested_at=record.tested_at,
            registered_at=record.registered_at,
            withdrawn_at=record.withdrawn_at,
        )


class CapabilityTest(BaseModel):
    """The result of a test: so many kW came when they were called."""

    model_config = ConfigDict(extra="forbid")

    tested_kw: NonNegativeKw
    tested_at: UtcTime | None = None


class AggregatorView(BaseModel):
    """A sub-VPP, without its secrets."""

    aggregator_id: str
    display_name: str
    created_at: UtcTime


def visible(service: Service, caller: UserRecord, resource_id: str) -> RegisteredResourceRecord:
    """The resource, if the caller may know of it; 404 otherwise (also when it exists but is another's)."""
    record = service.store.get_resource(resource_id)
    own = own_only(caller)
    if record is None or (own is not None and record.aggregator_id != own):
        raise HTTPException(404, f"there is no resource {resource_id}")
    return record


@router.get("/resources", tags=["resources"])
def list_resources(
    service: Service,
    caller: Anyone,
    aggregator_id: Annotated[AggregatorId | None, Query()] = None,
    kind: Annotated[ResourceKind | None, Query()] = None,
    zone_id: Annotated[Identifier | None, Query()] = None,
    withdrawn: Annotated[bool, Query(description="Those that were withdrawn, instead.")] = False,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[ResourceView]:
    """Resources in the order of their first registration; an aggregator sees its own."""
    behind = decode_cursor(cursor, str)
    records = service.store.resources(
        own_only(caller) or aggregator_id,
        not withdrawn,
        kind=kind.value if kind else None,
        zone_id=zone_id,
        after_id=behind[0] if behind else None,
        limit=limit + 1,
    )
    following = encode_cursor(records[limit - 1].resource_id) if len(records) > limit else None
    return Page(items=[ResourceView.of(record) for record in records[:limit]], next_cursor=following)


@router.get("/resources/{resource_id}", tags=["resources"], responses=documented(404))
def show_resource(service: Service, caller: Anyone, resource_id: ResourceId) -> ResourceView:
    """One resource."""
    return ResourceView.of(visible(service, caller, resource_id))


@router.get("/resources/{resource_id}/conduct", tags=["resources"], responses=documented(404))
async def show_conduct(service: Service, caller: Anyone, resource_id: ResourceId) -> ConductRow:
    """How a resource behaves under orders, and whether it is in quarantine."""
    await asyncio.to_thread(visible, service, caller, resource_id)
    row = await service.conduct(resource_id)
    if row is None:
        raise HTTPException(404, f"there is no active resource {resource_id}")
    return row


@router.get("/quarantine", tags=["resources"])
async def list_quarantine(
    service: Service, caller: Anyone, limit: Limit = 100, cursor: Cursor = None
) -> Page[ConductRow]:
    """Resources that get no orders for now, by id; an aggregator sees its own."""
    behind = decode_cursor(cursor, str)
    rows = await service.quarantine(own_only(caller), behind[0] if behind else "", limit + 1)
    following = encode_cursor(rows[limit - 1].resource_id) if len(rows) > limit else None
    return Page(items=list(rows[:limit]), next_cursor=following)


@router.get("/promises", tags=["resources"])
async def list_promises(
    service: Service, caller: Anyone, limit: Limit = 100, cursor: Cursor = None
) -> Page[PromiseRow]:
    """Promises to owners that the plan in force cannot keep, before they break; an aggregator sees its own."""
    behind = decode_cursor(cursor, str)
    rows = [row for row in await service.promises(own_only(caller)) if not behind or _place(row) > behind[0]]
    following = encode_cursor(_place(rows[limit - 1])) if len(rows) > limit else None
    return Page(items=rows[:limit], next_cursor=following)


def _place(row: PromiseRow) -> str:
    return f"{row.resource_id}/{row.session_id or ''}/{row.limit}"


@router.post(
    "/resources/{resource_id}/tests",
    tags=["resources"],
    status_code=201,
    response_model=ResourceView,
    responses=documented(404, 409),
)
async def record_test(
    request: Request,
    service: Service,
    caller: Tester,
    resource_id: ResourceId,
    test: CapabilityTest,
    idempotency_key: IdempotencyKey,
) -> Response:
    """Record what a capability test has shown; from then on it is the resource's tested capacity."""

    def record() -> ResourceView:
        now = service.clock.now()
        known = visible(service, caller, resource_id)
        if test.tested_kw > MOST_TESTED * known.connected_kw:
            rule = f"must be at most {MOST_TESTED:g} times what is connected ({known.connected_kw:g} kW)"
            raise InputError([InputFault("test", "tested_kw", test.tested_kw, rule)])
        if test.tested_at is not None and test.tested_at > now + CLOCKS_DIFFER:
            raise InputError(
                [InputFault("test", "tested_at", test.tested_at.isoformat(), "must not lie in the future")]
            )
        with service.store.transaction():
            made = service.store.record_test(resource_id, test.tested_kw, test.tested_at or now)
            if made is None:
                raise HTTPException(404, f"there is no active resource {resource_id}")
            details = {"tested_kw": test.tested_kw}
            service.store.append_audit(now, caller.name, "resource.tested", resource_id, details)
        return ResourceView.of(made)

    async def create() -> ResourceView:
        return await asyncio.to_thread(record)

    return await once.run(request, service, caller, idempotency_key, create)


@router.get("/aggregators", tags=["aggregators"])
def list_aggregators(service: Service, caller: Anyone) -> Page[AggregatorView]:
    """The N of 1+2+N; an aggregator sees itself."""
    own = own_only(caller)
    kept = [record for record in service.store.aggregators() if own in (None, record.aggregator_id)]
    views = [
        AggregatorView(aggregator_id=r.aggregator_id, display_name=r.display_name, created_at=r.created_at)
        for r in kept
    ]
    return Page(items=views)
