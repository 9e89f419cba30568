"""What the HTTP interface asks of the running service, and nothing more."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from adapters.store import Store
from models.events import Direction, EventOrder, EventRecord, ScopeKind
from models.plan import DispatchPlan
from models.ports import Clock
from models.units import UtcTime
from vpp.closing.desk import ClosingDesk
from vpp.metrics import Metrics
from vpp.settings import Settings


class CapacityGroup(StrEnum):
    """What the four capacities are summed by."""

    CITY = "city"
    ZONE = "zone"
    AGGREGATOR = "aggregator"
    KIND = "kind"
    PILLAR = "pillar"


class CapacityRow(BaseModel):
    """The four capacities of a group, kept apart, kW; the target share is reported on the last two only."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    group: str
    resources: int
    connected_kw: float
    declared_kw: float
    tested_kw: float
    callable_kw: float


class ConductRow(BaseModel):
    """How a resource behaves: how much of an order it gives, and why it gets none for now, if so.

    ``reliability_fraction`` is what dispatch counts on, learned from readings; ``reason`` is null while it is free.
    ``state_of_health``: share of its nameplate that a battery holds, learned from its readings or, until it has moved
    enough, from those of others; null for what is no battery.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    resource_id: str
    reliability_fraction: float
    state_of_health: float | None
    reason: str | None
    reason_zh: str | None
    quarantined_since: UtcTime | None


class PromiseRow(BaseModel):
    """A promise to an owner that the plan in force cannot keep: ``granted`` of ``asked`` by ``due``.

    kWh; of ``window_end`` seconds since 1970.  ``due`` is null for what holds at all times.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    resource_id: str
    aggregator_id: str
    session_id: str | None
    limit: str
    limit_zh: str
    asked: float
    granted: float
    reason: str
    due: UtcTime | None
    since: UtcTime


class Quote(BaseModel):
    """How many kW can be ordered in a scope for a window; ``firm_kw`` is ``callable_kw`` less the margin."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    direction: Direction
    scope_kind: ScopeKind
    scope_id: str
    start: UtcTime
    end: UtcTime
    callable_kw: float
    margin_fraction: float
    firm_kw: float
    target_kw: float
    quoted_at: UtcTime


class ServiceFacade(Protocol):
    """The running service as its doors see it."""

    @property
    def store(self) -> Store:
        """Everything that is kept."""

    @property
    def settings(self) -> Settings:
        """How it was started."""

    @property
    def metrics(self) -> Metrics:
        """What is counted."""

    @property
    def clock(self) -> Clock:
        """Its time, which in a replay is not ours."""

    def ready(self) -> Mapping[str, str | None]:
        """For each part that must work (store, broker, city ...) None if it does, else why not."""

    @property
    def closing(self) -> ClosingDesk:
        """What comes after an event: statements, disputes, settlement."""

    async def consult(self, event_id: str, by: str, reason: str) -> EventRecord:
        """Note what utility and authority agreed on before an event is approved."""

    async def declare(self, orders: Sequence[EventOrder], by: str) -> Sequence[EventRecord]:
        """Size and declare events of one market day; ``InputError`` if an order cannot be meant."""

    async def approve(self, event_ids: Sequence[str], by: str) -> Sequence[EventRecord]:
        """Approve declared events, or changes that wait; ``AccessError`` if ``by`` declared one of them."""

    async def cancel(self, event_id: str, by: str, reason: str) -> EventRecord:
        """Call off an event that has not begun; ``EventStateError`` if it has."""

    async def terminate(self, event_id: str, by: str, reason: str) -> EventRecord:
        """Stop a running event, with a ramp; ``EventStateError`` if it does not run."""

    async def change(self, event_id: str, target_kw: float, by: str, reason: str) -> EventRecord:
        """Change the target of an event to come or running; an increase waits for ``approve`` by somebody else."""

    async def quote(self, order: EventOrder) -> Quote:
        """What could be ordered, without ordering it."""

    async def capacity(self, group_by: CapacityGroup) -> Sequence[CapacityRow]:
        """The four capacities by group."""

    async def conduct(self, resource_id: str) -> ConductRow | None:
        """How a resource behaves, None if it is not active."""

    async def promises(self, aggregator_id: str | None) -> Sequence[PromiseRow]:
        """Promises at risk, by resource; of one aggregator if it is named."""

    async def quarantine(self, aggregator_id: str | None, after_id: str, limit: int) -> Sequence[ConductRow]:
        """Who gets no orders for now (of one aggregator, if named), by id, behind ``after_id``."""

    async def current_plan(self) -> DispatchPlan | None:
        """The plan in force."""

    async def live(self) -> Mapping[str, Any]:
        """A snapshot for live views: JSON values only."""
