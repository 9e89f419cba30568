"""The service as its doors (HTTP, command line, console) see it: one object, every answer from the stages."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import structlog

from adapters.mqtt.broker import RunningBroker
from adapters.mqtt.link import AnsweringLink
from adapters.store.store import Store
from models.conduct import MISCONDUCT_ZH, REFUSAL_HOLDS, REFUSED, REFUSED_ZH, Misconduct
from models.errors import InputError, InputFault, StoreError, VppError
from models.events import EventOrder, EventRecord
from models.intervals import IntervalGrid
from models.moments import microseconds
from models.plan import DispatchPlan
from models.ports import Clock
from vpp.api.facade import CapacityGroup, CapacityRow, ConductRow, PromiseRow, Quote
from vpp.capacities import capacities
from vpp.closing.desk import ClosingDesk
from vpp.day_ahead import AFTER_EVENT
from vpp.housekeeping import keep_house, keep_readings, keep_record
from vpp.metrics import Metrics
from vpp.promises import PROMISES
from vpp.resource_live import ResourceLive
from vpp.runtime import Runtime
from vpp.settings import Settings
from vpp.state import LiveState
from vpp.uplink import Uplink

log = structlog.get_logger(__name__)

WATCH_S = 0.25
CREDENTIALS_S = 2.0
LARGEST_ORDER_KW = 1e8
"""100 GW, more than any city draws."""
FORESIGHT = timedelta(hours=6)
"""The city's forecast must reach at least so far, else no cycle can plan."""


@dataclass
class Service:
    """A service with all its parts; ``run`` keeps it going until it is cancelled (answers to ``ServiceFacade``)."""

    settings: Settings
    clock: Clock
    store: Store
    state: LiveState
    metrics: Metrics
    broker: RunningBroker
    link: AnsweringLink
    uplink: Uplink
    runtime: Runtime

    async def run(self) -> None:
        """The wires and the loop, side by side."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.link.run(), name="mqtt link")
            tasks.create_task(self.runtime.run(), name="runtime")
            tasks.create_task(keep_house(self.runtime, self.link), name="housekeeping")
            tasks.create_task(keep_readings(self.runtime, self.settings.retention), name="old readings")
            tasks.create_task(keep_record(self.store, self.clock), name="flight recorder")
            tasks.create_task(self._watch_broker(), name="broker watch")
            tasks.create_task(self._renew_credentials(), name="broker credentials")

    async def _watch_broker(self) -> None:
        """One line when the broker is lost, one when it is back; the metric follows."""
        url, was_up = self.broker.url, None
        since = time.monotonic()
        while True:
            up = self.link.connected
            self.metrics.broker_connected.set(up)
            if up != was_up and (up or was_up is not None or self.link.last_error is not None):
                gone_s = round(time.monotonic() - since, 1)
                if up:
                    log.info("broker connected", url=url, after_s=gone_s)
                else:
                    log.error(
                        "broker is not to be reached, trying again and again", url=url, error=self.link.last_error
                    )
                was_up, since = up, time.monotonic()
            await asyncio.sleep(WATCH_S)

    async def _renew_credentials(self) -> None:
        """Let in whom `vpp aggregator add` has added meanwhile, and out whom it has removed."""
        while True:
            await asyncio.sleep(CREDENTIALS_S)
            try:
                await self.broker.refresh()
            except VppError as error:
                log.warning("the broker's credentials could not be renewed", error=str(error))

    def leave_out_strangers(self) -> None:
        """Take resources out of planning whose zone or tariff this city does not have (any more): one wrong row must
        not stop the others.
        """
        zones, tariffs = set(self.runtime.feed.zones), set(self.runtime.feed.tariff_ids)
        for live in list(self.state):
            resource = live.record.resource
            if resource.zone_id not in zones or resource.tariff_id not in tariffs:
                log.error(
                    "left out: its zone or tariff is not in the city's tables",
                    resource_id=live.resource_id,
                    zone_id=resource.zone_id,
                    tariff_id=resource.tariff_id,
                )
                self.state.remove(live.resource_id)

    def ready(self) -> Mapping[str, str | None]:
        """What must be true for the service to be of use: part → None if it works, else why not."""
        parts = {"broker": self._broker_fault(), "store": self._store_fault(), "city": self._city_fault()}
        for part, fault in parts.items():
            self.metrics.ready.labels(part=part).set(fault is None)
        return parts

    def _broker_fault(self) -> str | None:
        if self.link.connected:
            return None
        return f"{self.broker.url} does not answer ({self.link.last_error or 'no word yet'}), trying again"

    def _store_fault(self) -> str | None:
        try:
            self.store.ping()
        except StoreError as error:
            log.warning("the database does not answer", error=str(error))
            return "the database does not answer"
        return None

    def _city_fault(self) -> str | None:
        now = self.clock.now()
        try:
            self.runtime.feed.forecast(now, IntervalGrid((now, now + FORESIGHT)))
        except InputError as error:
            covered = error.faults[0].value  # where the folder is, is nobody's business: /readyz is public
            return f"the city's tables do not cover the next hours (they have {covered})"
        return None

    async def declare(self, orders: Sequence[EventOrder], by: str) -> Sequence[EventRecord]:
        """See ``EventDesk.declare``."""
        self._check_windows(orders)
        return await self.runtime.declare(orders, by)

    def _check_windows(self, orders: Sequence[EventOrder]) -> None:
        """A day's plan reaches six hours into the next day; what lies behind it could not be kept."""
        zone = self.settings.service.zone
        furthest = self.clock.now() + timedelta(days=366)
        for row, order in enumerate(orders):
            if order.start > furthest:
                rule = "must lie within a year from now"
                raise InputError([InputFault("event", "start", order.start.isoformat(), rule, row)])
            following = order.start.astimezone(zone).date() + timedelta(days=1)
            last = datetime.combine(following, datetime.min.time(), zone).astimezone(UTC) + AFTER_EVENT
            if order.end > last:
                rule = f"must not be later than {last.isoformat()}, six hours after the market day on which it starts"
                raise InputError([InputFault("event", "end", order.end.isoformat(), rule, row)])
            if order.ordered_kw is not None and order.ordered_kw > LARGEST_ORDER_KW:
                rule = f"must be at most {LARGEST_ORDER_KW:g}: is the unit kW?"
                raise InputError([InputFault("event", "ordered_kw", order.ordered_kw, rule, row)])

    async def approve(self, event_ids: Sequence[str], by: str) -> Sequence[EventRecord]:
        """See ``EventDesk.approve``."""
        return await self.runtime.approve(event_ids, by)

    @property
    def closing(self) -> ClosingDesk:
        """What comes after an event: statements, disputes, settlement."""
        return self.runtime.closing

    async def consult(self, event_id: str, by: str, reason: str) -> EventRecord:
        """See ``EventDesk.consult``."""
        return await self.runtime.consult(event_id, by, reason)

    async def cancel(self, event_id: str, by: str, reason: str) -> EventRecord:
        """See ``EventDesk.cancel``."""
        return await self.runtime.cancel(event_id, by, reason)

    async def terminate(self, event_id: str, by: str, reason: str) -> EventRecord:
        """See ``EventDesk.terminate``."""
        return await self.runtime.terminate(event_id, by, reason)

    async def change(self, event_id: str, target_kw: float, by: str, reason: str) -> EventRecord:
        """See ``EventDesk.change``."""
        if target_kw > LARGEST_ORDER_KW:
            rule = f"must be at most {LARGEST_ORDER_KW:g}: is the unit kW?"
            raise InputError([InputFault("event", "target_kw", target_kw, rule)])
        return await self.runtime.change(event_id, target_kw, by, reason)

    async def quote(self, order: EventOrder) -> Quote:
        """What could be ordered for a whole window, without ordering it."""
        self._check_windows([order])
        margin = self.settings.events.callable_margin_fraction
        sized = await self.runtime.quote(order)
        return Quote(
            direction=order.direction,
            scope_kind=order.scope_kind,
            scope_id=order.scope_id,
            start=order.start,
            end=order.end,
            callable_kw=sized.callable_kw,
            margin_fraction=margin,
            firm_kw=sized.callable_kw * (1 - margin),
            target_kw=sized.five_percent_kw,
            quoted_at=self.clock.now(),
        )

    async def capacity(self, group_by: CapacityGroup) -> Sequence[CapacityRow]:
        """Connected, declared, tested and callable now, by group; each in a column of its own."""
        sums = capacities(self.state, _GROUPS[group_by], self.clock.now())
        return [CapacityRow.model_validate(asdict(row)) for row in sums]

    async def conduct(self, resource_id: str) -> ConductRow | None:
        """How a resource behaves, None if it is not active."""
        reason, since, reliability = self.runtime.conduct.of(resource_id)
        if reliability is None:
            return None
        aside = reason is not Misconduct.NONE
        name, name_zh = (reason.name.lower(), MISCONDUCT_ZH[reason]) if aside else (None, None)
        live = self.state.get(resource_id)
        if not aside and live is not None and live.refused_until is not None and live.refused_until > self.clock.now():
            name, name_zh, since = REFUSED, REFUSED_ZH, live.refused_until - REFUSAL_HOLDS
        return ConductRow(
            resource_id=resource_id,
            reliability_fraction=reliability,
            state_of_health=self.runtime.conduct.state_of_health(resource_id),
            reason=name,
            reason_zh=name_zh,
            quarantined_since=since,
        )

    async def promises(self, aggregator_id: str | None) -> Sequence[PromiseRow]:
        """Promises to owners that the plan in force cannot keep."""
        return [
            PromiseRow(**asdict(each), limit_zh=PROMISES[each.limit][0])
            for each in self.runtime.promises.at_risk(aggregator_id)
        ]

    async def quarantine(self, aggregator_id: str | None, after_id: str, limit: int) -> Sequence[ConductRow]:
        """Who gets no orders for now, by id."""
        aside = {*self.runtime.conduct.in_quarantine(aggregator_id), *self._refusing(aggregator_id)}
        names = sorted(name for name in aside if name > after_id)
        rows = [await self.conduct(name) for name in names[:limit]]
        return [row for row in rows if row is not None]

    def _refusing(self, aggregator_id: str | None) -> list[str]:
        """Who has just refused an order and is not asked for now."""
        rows = np.flatnonzero(self.state.columns.refused_until_us > microseconds(self.clock.now()))
        lives = [live for row in rows.tolist() if (live := self.state.at(row)) is not None]
        return [live.resource_id for live in lives if aggregator_id in (None, live.record.aggregator_id)]

    async def current_plan(self) -> DispatchPlan | None:
        """The plan that is being executed: the newest of real time, else today's."""
        return self.runtime.plan_in_force()

    async def live(self) -> Mapping[str, Any]:
        """A snapshot for live views."""
        now = self.clock.now()
        plan = self.runtime.plan_in_force()
        fresh = [live for live in self.state if live.is_fresh(now)]
        return {
            "at": now.isoformat(),
            "resources": len(self.state),
            "online": len(fresh),
            "not_in_plan": 0 if plan is None else sum(live.resource_id not in plan.row_of for live in self.state),
            "dispatchable": len(self.state.dispatchable(now)),
            "quarantined": len(self.runtime.conduct.in_quarantine()),
            "power_kw": sum(live.latest.power_kw for live in fresh if live.latest is not None),
            "aggregators_online": sum(self.state.aggregator_online.values()),
            "plan": None
            if plan is None
            else {"plan_hash": plan.plan_hash, "source": plan.source.value, "status": plan.status},
            "events": [
                {
                    "event_id": record.event.event_id,
                    "status": record.status.value,
                    "ordered_kw": record.event.target_kw,
                    "measured_kw": self.runtime.measured_kw(record.event.event_id),
                }
                for record in self.runtime.events.active()
            ],
        }


_GROUPS: dict[CapacityGroup, Callable[[ResourceLive], str]] = {
    CapacityGroup.CITY: lambda _: "city",
    CapacityGroup.ZONE: lambda live: live.record.resource.zone_id,
    CapacityGroup.AGGREGATOR: lambda live: live.record.aggregator_id,
    CapacityGroup.KIND: lambda live: live.kind.value,
    CapacityGroup.PILLAR: lambda live: live.record.resource.pillar.value,
}
