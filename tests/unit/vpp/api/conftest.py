"""The application over a real SQLite store, with a small service that keeps events like the real one."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from adapters.store import Store
from models.errors import AccessError
from models.events import Event, EventOrder, EventRecord, EventStep, TargetChange
from models.intervals import IntervalGrid
from models.life_cycle import EventStatus
from models.plan import DispatchPlan, PlanSource
from models.records import AggregatorRecord, RegisteredResourceRecord
from models.resources import Pillar, Storage
from models.roles import Role
from models.telemetry import Reading
from vpp.api import CapacityRow, Quote, create_app, serve_http
from vpp.api.facade import CapacityGroup, ConductRow, PromiseRow
from vpp.closing.desk import ClosingDesk
from vpp.metrics import Metrics
from vpp.security import new_token
from vpp.settings import HttpSettings, Settings

NOW = datetime(2025, 7, 16, 3, 0, tzinfo=UTC)


@dataclass
class StoppedClock:
    """A clock that stands until a test sets it."""

    moment: datetime = NOW

    def now(self) -> datetime:
        return self.moment

    async def sleep_until(self, moment: datetime) -> None:
        self.moment = max(self.moment, moment)


@dataclass
class SmallService:
    """Events in the store, a plan in memory: enough of a service for its HTTP door."""

    store: Store
    settings: Settings
    metrics: Metrics
    clock: StoppedClock
    plan: DispatchPlan | None = None
    parts: dict[str, str | None] = field(default_factory=lambda: {"store": None, "broker": None})
    declared: int = 0
    behaviour: dict[str, ConductRow] = field(default_factory=dict)
    at_risk: list[PromiseRow] = field(default_factory=list)
    closing: ClosingDesk = None  # type: ignore[assignment]  # who tests what comes after an event makes one

    def ready(self) -> Mapping[str, str | None]:
        return self.parts

    async def declare(self, orders: Sequence[EventOrder], by: str) -> Sequence[EventRecord]:
        records = []
        for order in orders:
            self.declared += 1
            event = Event(
                event_id=order.event_id or f"event-{self.declared}",
                direction=order.direction,
                scope_kind=order.scope_kind,
                scope_id=order.scope_id,
                start=order.start,
                end=order.end,
                target_kw=order.ordered_kw if order.ordered_kw is not None else 1000.0,
            )
            step = EventStep(status=EventStatus.DECLARED, at=self.clock.now(), by=by, reason=order.reason)
            record = EventRecord(
                event=event,
                status=EventStatus.DECLARED,
                steps=(step,),
                five_percent_kw=1130.0,
                callable_kw=1200.0,
                share_kw={"batteries": 600.0, "buildings": 400.0},
            )
            self.store.save_event(record)
            records.append(record)
        return records

    async def _step(self, event_id: str, wanted: EventStatus, by: str, reason: str = "") -> EventRecord:
        now = self.clock.now()
        return self.store.update_event(event_id, lambda record: record.stepped(wanted, now, by, reason))

    async def approve(self, event_ids: Sequence[str], by: str) -> Sequence[EventRecord]:
        for event_id in event_ids:
            stored = self.store.event(event_id)
            if stored is not None and stored.record.steps[0].by == by:
                raise AccessError(f"event {event_id} was declared by {by}: a second person must approve")
        return [await self._step(event_id, EventStatus.APPROVED, by) for event_id in event_ids]

    async def consult(self, event_id: str, by: str, reason: str) -> EventRecord:
        return await self._step(event_id, EventStatus.CONSULTED, by, reason)

    async def cancel(self, event_id: str, by: str, reason: str) -> EventRecord:
        return await self._step(event_id, EventStatus.CANCELLED, by, reason)

    async def terminate(self, event_id: str, by: str, reason: str) -> EventRecord:
        return await self._step(event_id, EventStatus.TERMINATED, by, reason)

    async def change(self, event_id: str, target_kw: float, by: str, reason: str) -> EventRecord:
        change = TargetChange(at=self.clock.now(), by=by, reason=reason, before_kw=900.0, after_kw=target_kw)
        return self.store.update_event(
            event_id, lambda record: record.model_copy(update={"changes": (*record.changes, change)})
        )

    async def conduct(self, resource_id: str) -> ConductRow | None:
        return self.behaviour.get(resource_id)

    async def promises(self, aggregator_id: str | None) -> Sequence[PromiseRow]:
        return [row for row in self.at_risk if aggregator_id is None or row.aggregator_id == aggregator_id]

    async def quarantine(self, aggregator_id: str | None, after_id: str, limit: int) -> Sequence[ConductRow]:
        rows = [row for name, row in sorted(self.behaviour.items()) if row.reason is not None and name > after_id]
        return [row for row in rows if aggregator_id is None or row.resource_id.startswith(aggregator_id)][:limit]

    async def quote(self, order: EventOrder) -> Quote:
        return Quote(
            direction=order.direction,
            scope_kind=order.scope_kind,
            scope_id=order.scope_id,
            start=order.start,
            end=order.end,
            callable_kw=100.0,
            margin_fraction=0.1,
            firm_kw=90.0,
            target_kw=50.0,
            quoted_at=self.clock.now(),
        )

    async def capacity(self, group_by: CapacityGroup) -> Sequence[CapacityRow]:
        records = self.store.resources()
        names = {
            CapacityGroup.CITY: lambda r: "city",
            CapacityGroup.ZONE: lambda r: r.resource.zone_id,
            CapacityGroup.AGGREGATOR: lambda r: r.aggregator_id,
            CapacityGroup.KIND: lambda r: r.resource.kind.value,
            CapacityGroup.PILLAR: lambda r: r.resource.pillar.value,
        }
        rows: dict[str, list[RegisteredResourceRecord]] = {}
        for record in records:
            rows.setdefault(names[group_by](record), []).append(record)
        return [
            CapacityRow(
                group=group,
                resources=len(kept),
                connected_kw=sum(r.connected_kw for r in kept),
                declared_kw=sum(r.declared_kw for r in kept),
                tested_kw=sum(r.tested_kw or 0.0 for r in kept),
                callable_kw=0.0,
            )
            for group, kept in sorted(rows.items())
        ]

    async def current_plan(self) -> DispatchPlan | None:
        return self.plan

    async def live(self) -> Mapping[str, Any]:
        return {"now": self.clock.now().isoformat(), "resources": len(self.store.resources())}


def battery(number: int, aggregator_id: str = "batteries") -> RegisteredResourceRecord:
    resource = Storage(
        resource_id=f"{aggregator_id}-{number}",
        aggregator_id=aggregator_id,
        zone_id=f"zone-{number % 2}",
        meter_id=f"{aggregator_id}-meter-{number}",
        pillar=Pillar.SOURCE,
        tariff_id="large-industry",
        charge_limit_kw=50,
        discharge_limit_kw=50,
        energy_min_kwh=0,
        energy_max_kwh=100,
        energy_start_kwh=50,
        energy_end_min_kwh=0,
        charge_efficiency=0.95,
        discharge_efficiency=0.95,
        wear_cost_per_kwh=0.1,
    )
    return RegisteredResourceRecord(resource, 0.0, 300.0, 50.0, 50.0, NOW)


def small_plan(resource_ids: Sequence[str]) -> DispatchPlan:
    grid = IntervalGrid.regular(NOW, timedelta(minutes=15), 4)
    power_kw = np.arange(len(resource_ids) * 4, dtype=float).reshape(-1, 4)
    return DispatchPlan(
        grid=grid,
        resource_ids=tuple(sorted(resource_ids, key=str.encode)),
        power_kw=power_kw,
        energy_kwh=np.full_like(power_kw, np.nan),
        baseline_kw=power_kw + 1,
        baseline_energy_kwh=np.full_like(power_kw, np.nan),
        status="optimal",
        source=PlanSource.REFERENCE,
        objective_cny=10.0,
        baseline_cost_cny=12.0,
        lower_bound_cny=float("-inf"),
        iterations=1,
        wall_s=0.1,
        penalties={},
        made_at=NOW - timedelta(minutes=1),
    )


@pytest.fixture
def service(tmp_path: Path) -> Iterator[SmallService]:
    settings = Settings(http=HttpSettings(max_body_bytes=20_000, auth_failures_per_minute=5))
    with Store(f"sqlite:///{tmp_path / 'vpp.db'}") as store:
        store.migrate()
        for name in ("batteries", "buildings"):
            store.add_aggregator(AggregatorRecord(name, name.title(), "hash", created_at=NOW))
            store.upsert_resources([battery(number, name) for number in range(5)])
        readings = [
            Reading(resource_id="batteries-0", measured_at=NOW - timedelta(minutes=5 * k), power_kw=float(k))
            for k in range(10)
        ]
        store.add_readings(readings, NOW)
        made = SmallService(store, settings, Metrics(), StoppedClock())
        made.plan = small_plan([record.resource_id for record in store.resources()])
        yield made


@pytest.fixture
def tokens(service: SmallService) -> dict[str, str]:
    """A token for each role, by role."""
    made = {}
    for role in Role:
        owner = "batteries" if role is Role.AGGREGATOR else None
        fresh = new_token(f"a-{role.value}", role, NOW, owner)
        service.store.add_user(fresh.user)
        made[role.value] = fresh.token
    return made


@pytest.fixture
async def client(service: SmallService) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(service), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://vpp") as made:
        yield made


@pytest.fixture
def bearer(tokens: dict[str, str]) -> Any:
    """Headers for a role."""
    return lambda role, **more: {"Authorization": f"Bearer {tokens[role]}", **more}


@pytest.fixture
async def url(service: Any) -> AsyncIterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    started = asyncio.Event()
    settings = Settings(http=HttpSettings(port=port))
    serving = asyncio.create_task(serve_http(create_app(service), settings, started=started))
    await asyncio.wait_for(started.wait(), 20)
    yield f"http://127.0.0.1:{port}"
    serving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await serving
