"""What could be moved, and what is planned."""

import asyncio
import math
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel, ValidationError

from models.errors import InputError, InputFault
from models.events import Direction, EventOrder, ScopeKind
from models.plan import LADDER_EN, LADDER_ZH, DispatchPlan, LadderStep, PlanSource, RequirementAmount
from models.records import UserRecord
from models.roles import Role
from models.units import Identifier, UtcTime
from vpp.api.access import ALL, STAFF, Service, allowed, own_only
from vpp.api.facade import CapacityGroup, CapacityRow, Quote, ServiceFacade
from vpp.api.paging import Cursor, Limit, decode_cursor, encode_cursor
from vpp.api.problems import documented

router = APIRouter(prefix="/api/v1", responses=documented(401, 403, 422, 429, 503))

Staff = Annotated[UserRecord, allowed(*STAFF)]
Planner = Annotated[UserRecord, allowed(Role.OPERATOR, Role.APPROVER, Role.ENGINEER)]
Anyone = Annotated[UserRecord, allowed(*ALL)]


class PlanSummary(BaseModel):
    """The plan in force in numbers, with its certificate; figures that are not finite are null."""

    plan_hash: str
    baseline_hash: str
    source: PlanSource
    step: LadderStep
    step_en: str
    step_zh: str
    status: str
    made_at: UtcTime | None
    age_s: float | None
    starts: list[UtcTime]
    end: UtcTime
    resources: int
    objective_cny: float | None
    lower_bound_cny: float | None
    gap: float | None
    wall_s: float
    power_kw: list[float]
    baseline_kw: list[float]
    unmet: list[RequirementAmount]
    prices: list[RequirementAmount]
    admissions: int


class ResourceSchedule(BaseModel):
    """What one resource is meant to do in every interval of the plan."""

    resource_id: str
    power_kw: list[float]
    baseline_kw: list[float]


class PlanSetpoints(BaseModel):
    """A page of schedules, with the hash that says of which plan."""

    plan_hash: str
    starts: list[UtcTime]
    end: UtcTime
    items: list[ResourceSchedule]
    next_cursor: str | None = None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


@router.get("/capacity", tags=["capacity"])
async def capacity(
    service: Service, _caller: Staff, group_by: Annotated[CapacityGroup, Query()] = CapacityGroup.CITY
) -> list[CapacityRow]:
    """Connected, declared, tested and callable kW, kept apart."""
    return list(await service.capacity(group_by))


@router.get("/quote", tags=["capacity"])
async def quote(
    service: Service,
    _caller: Planner,
    start: Annotated[UtcTime, Query()],
    end: Annotated[UtcTime, Query()],
    direction: Annotated[Direction, Query()] = Direction.SHAVE,
    scope_kind: Annotated[ScopeKind, Query()] = ScopeKind.CITY,
    scope_id: Annotated[str, Query(max_length=128)] = "",
) -> Quote:
    """How many kW could be ordered for this window, without ordering them."""
    order = checked_order(direction, scope_kind, scope_id, start, end)
    return await service.quote(order)


def checked_order(
    direction: Direction, scope_kind: ScopeKind, scope_id: str, start: UtcTime, end: UtcTime
) -> EventOrder:
    """An order out of query parameters; ``InputError`` names what is wrong with them."""
    try:
        return EventOrder(direction=direction, scope_kind=scope_kind, scope_id=scope_id, start=start, end=end)
    except ValidationError as error:
        rule = error.errors()[0]["msg"].removeprefix("Value error, ")
        field = rule.split(":", 1)[0]
        raise InputError([InputFault("query", field, None, rule)]) from error


async def _plan(service: ServiceFacade) -> DispatchPlan:
    plan = await service.current_plan()
    if plan is None:
        raise HTTPException(404, "no plan is known to be in force: the next cycle makes one")
    return plan


@router.get("/plan/current", tags=["plan"], responses=documented(404))
async def current_plan(service: Service, _caller: Staff) -> PlanSummary:
    """The plan in force: sums, costs, bound, gap, who made it and when."""
    plan = await _plan(service)

    def summary() -> PlanSummary:
        age_s = None if plan.made_at is None else (service.clock.now() - plan.made_at).total_seconds()
        return PlanSummary(
            plan_hash=plan.plan_hash,
            baseline_hash=plan.baseline_hash,
            source=plan.source,
            step=plan.step,
            step_en=LADDER_EN[plan.step],
            step_zh=LADDER_ZH[plan.step],
            status=plan.status,
            made_at=plan.made_at,
            age_s=age_s,
            starts=list(plan.grid.starts),
            end=plan.grid.end,
            resources=len(plan.resource_ids),
            objective_cny=_finite(plan.objective_cny),
            lower_bound_cny=_finite(plan.lower_bound_cny),
            gap=_finite(plan.gap),
            wall_s=plan.wall_s,
            power_kw=plan.power_kw.sum(axis=0).tolist(),
            baseline_kw=plan.baseline_kw.sum(axis=0).tolist(),
            unmet=list(plan.unmet),
            prices=list(plan.prices),
            admissions=len(plan.admissions),
        )

    return await asyncio.to_thread(summary)


@router.get("/plan/current/setpoints", tags=["plan"], responses=documented(404))
async def current_setpoints(
    service: Service,
    caller: Anyone,
    resource_id: Annotated[list[Identifier] | None, Query(max_length=100, description="Only these.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> PlanSetpoints:
    """What every resource is meant to do, in the order of their ids; an aggregator sees its own."""
    plan = await _plan(service)
    behind = decode_cursor(cursor, str)
    own = own_only(caller)
    names: list[str] = list(plan.resource_ids)
    if own is not None:
        records = await asyncio.to_thread(service.store.resources, own, None)
        mine = {record.resource_id for record in records}
        names = [name for name in names if name in mine]
    if resource_id is not None:
        wanted = set(resource_id)
        names = [name for name in names if name in wanted]
    if behind is not None:
        names = [name for name in names if name.encode() > behind[0].encode()]
    items = [
        ResourceSchedule(
            resource_id=name,
            power_kw=plan.power_kw[plan.row_of[name]].tolist(),
            baseline_kw=plan.baseline_kw[plan.row_of[name]].tolist(),
        )
        for name in names[:limit]
    ]
    following = encode_cursor(names[limit - 1]) if len(names) > limit else None
    return PlanSetpoints(
        plan_hash=plan.plan_hash,
        starts=list(plan.grid.starts),
        end=plan.grid.end,
        items=items,
        next_cursor=following,
    )
