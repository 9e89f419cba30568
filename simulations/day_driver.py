"""Plays the parts that are not the service: the operator, a second approver, the aggregators' devices; and time."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np

from adapters.mqtt.credentials import new_password
from models.errors import VppError
from models.events import EventRecord
from models.life_cycle import STATUS_ZH
from models.moments import microseconds
from models.resources import EvCharger, Generator, ShiftableLoad, Storage
from simulations.clock import VirtualClock
from simulations.day_result import DayLog, Truth
from simulations.day_setup import DaySetup, Outage
from simulations.devices.bank import DeviceBank
from simulations.far_side import Hit, Watch
from simulations.faults import FAULT_TEXTS, FaultPlan
from simulations.fleet import SimulatedFleet
from simulations.fleet_state import FleetState
from simulations.given_orders import GivenOrder
from simulations.kept_promises import BrokenPromise, broken_promises
from simulations.seat import Seat
from simulations.wire_faults import WireFaults
from vpp.measurement import MeasuredDay
from vpp.service import Service
from vpp.settings import Settings

STEP = timedelta(minutes=5)
WIRE_BEFORE, WIRE_AFTER = timedelta(minutes=10), timedelta(hours=1)
"""Around each event, faults of the wire begin and end so much earlier and later."""
LOOK_EVERY_S = 0.05
"""Real time: so often somebody who waits for an answer looks whether there is still anybody to give it."""
DELIVERED_WITHIN_S = 30.0
"""Real time: whoever is to be hit in a delivery is hit without one after so long."""
HABITS_KNOWN_AFTER = 3
"""Earlier days after which the chargers' habits are known well enough to make the solver ready beside the rest."""
CONTROLLED = Storage | EvCharger | Generator | ShiftableLoad
"""Kinds that follow the price-only schedule without an event; loads and PV follow themselves."""
Progress = Callable[[str, str, float], None]
"""Told what is going on (Chinese, English) and how much of the whole is done, 0..1."""


class Driver:
    """Plays the parts that are not the service: the operator, a second approver, the aggregators' devices."""

    def __init__(
        self, setup: DaySetup, settings: Settings, clock: VirtualClock, progress: Progress, seat: Seat
    ) -> None:
        self.setup, self.seat = setup, seat
        self.clock = clock
        self.progress = progress
        self.log = DayLog()
        generated = setup.generated
        self._seed = generated.seed if setup.dice_seed is None else setup.dice_seed
        ids = generated.bank.resource_ids
        self.faults = FaultPlan(ids, self._seed) if setup.everyday_faults else FaultPlan.none(ids)
        self.fleet = SimulatedFleet(
            generated,
            clock,
            self.faults,
            telemetry_s=setup.telemetry_s,
            step_s=setup.step_s,
            prefix=settings.mqtt.prefix,
            history_step=setup.history_step,
        )
        self.passwords: Mapping[str, str] = {}
        self.watch: Watch | None = None
        self._undisturbed: DeviceBank | None = None
        self._seen: dict[str, str] = {}

    # ---- commissioning

    @property
    def service(self) -> Service:
        """The service that runs."""
        return self.seat.service

    async def commission(self) -> None:
        """Wires up, aggregators registered, earlier days in the store; the solver made ready."""
        self.progress("启动服务与消息代理", "starting service and broker", 0.01)
        service = await self.seat.start()
        self.passwords = {name: new_password() for name in self.fleet.gateways}
        for name, password in self.passwords.items():
            await service.broker.add_aggregator(name, password)
        self.progress("聚合商注册", "aggregators register", 0.03)
        answers = await self.fleet.start(service.broker.url, self.passwords)
        await self.fleet.settled()
        answered = sum(map(len, answers.values()))
        if answered != self.setup.generated.resources:
            raise VppError(f"{self.setup.generated.resources} resources registered, {answered} answered")
        rows_of = Counter(live.record.aggregator_id for live in service.state)
        for name in self.fleet.gateways:
            rows = rows_of[name]
            zh, _ = self.setup.facts.aggregator_names.get(name, (name, name))
            self.note(zh, f"注册 {rows} 个资源", f"{rows} resources registered")
        scenario = self.setup.generated.scenario
        days = [day for day in scenario.earlier_days if day < self.setup.market_day - timedelta(days=1)]
        for index, day in enumerate(days):
            self.progress(f"历史日 {day}", f"earlier day {day}", 0.05 + 0.15 * index / len(days))
            await self.clock.advance_to(scenario.midnight(day + timedelta(days=1)))
            await self.fleet.history_day(day)
            await self.fleet.settled()
            self.fleet.bank.forget_before(self.fleet.bank.now)  # what was true is asked for from the market day on
            if index == HABITS_KNOWN_AFTER:
                getting_ready = service.runtime.prepare(self.setup.market_day)
                self._preparing = asyncio.create_task(getting_ready, name="solver gets ready")
        last = self.setup.declare_at - timedelta(hours=1)
        self.progress("前一日", "the day before", 0.22)
        await self.clock.advance_to(last)
        await self.fleet.history_day(self.setup.market_day - timedelta(days=1), until=last)
        await self.fleet.settled()
        self._record_tests(service)

    async def resume(self, fleet: FleetState, passwords: Mapping[str, str]) -> None:
        """Go on where a start was kept: the service remembers its fleet, and the devices stand as they stood."""
        self.fleet.take_up(fleet, dice_seed=self.setup.dice_seed)
        self.passwords = passwords
        self.progress("启动服务与消息代理", "starting service and broker", 0.01)
        service = await self.seat.start()
        await self.fleet.start(service.broker.url, passwords, register=False)
        await self.fleet.settled()
        await service.runtime.prepare(self.setup.market_day)

    def _record_tests(self, service: Service) -> None:
        """What the aggregators' acceptance tests showed, as the scenario's class mix says it."""
        generated, class_of = self.setup.generated, self.fleet.class_of
        tested_kw: dict[str, float] = {}
        for live in service.state:
            share = generated.tested_kw_by_class[class_of[live.resource_id]]
            total = generated.connected_kw_by_class[class_of[live.resource_id]]
            tested_kw[live.resource_id] = live.record.connected_kw * share / total if total else 0.0
        now = self.clock.now()
        service.store.record_tests(tested_kw, now)
        for live in list(service.state):
            service.state.put(replace(live.record, tested_kw=tested_kw[live.resource_id], tested_at=now))

    @asynccontextmanager
    async def living(self) -> AsyncIterator[None]:
        """Devices and service live on the clock; time waits until nothing is under way on the wires."""
        for barrier in (self._service_quiet, self._all_heard):
            self.clock.add_barrier(barrier)
        if self.setup.is_watched:
            self.watch = Watch(self.fleet.gateways, self.clock.now())
        alive = asyncio.create_task(self.fleet.run(), name="simulated fleet")
        self.seat.run()
        try:
            yield
        finally:
            await self.fleet.stop()
            work = [alive] if self._preparing is None else [alive, self._preparing]
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)

    async def _service_quiet(self) -> None:
        if self.seat.is_up:
            await self.service.runtime.settled()
        self.seat.look()

    async def _all_heard(self) -> None:
        """Every batch that was sent has been seen by its gateway, and every message that went up is answered; unless
        there is no service (any more): then nobody answers.
        """
        deadline = time.monotonic() + 60
        while self.seat.is_up and any(
            gateway.last_sequence < self.service.runtime.delivery.last_sequence.get(name, 0)
            for name, gateway in self.fleet.gateways.items()
        ):
            if time.monotonic() > deadline:
                raise VppError("a gateway has not seen its setpoints within 60 s")
            await asyncio.sleep(0.002)
        answered = asyncio.create_task(self.fleet.settled(), name="all is answered")
        while self.seat.is_up and not answered.done():
            await asyncio.wait((answered,), timeout=LOOK_EVERY_S)
        if not answered.done():
            answered.cancel()
        await asyncio.gather(answered, return_exceptions=not self.seat.is_up)

    # ---- the operator

    async def day_ahead(self) -> Sequence[EventRecord]:
        """The service plans tomorrow; the operator declares, a second person approves, aggregators answer.

        The events as they were declared.
        """
        service = self.service
        planned_at = self.setup.declare_at - timedelta(minutes=30)
        await self.until(planned_at, 0.28)
        self.progress("日前计划", "planning the day ahead", 0.30)
        await self.until(self.setup.declare_at, 0.32)
        if self.setup.market_day not in service.runtime.day_ahead.days:
            await service.runtime.plan_day(self.setup.market_day)
        plan = service.runtime.day_ahead.days[self.setup.market_day].plan
        self.note(
            "平台", f"日前计划 {plan.status}, 间隙 {plan.gap:.1e}", f"day-ahead plan {plan.status}, gap {plan.gap:.1e}"
        )
        self.progress("申报事件并核定容量", "declaring events, sizing the order", 0.34)
        records = await service.declare(self.setup.orders, "operator-li")
        for record in records:
            self._tell_sizing(record)
        self.progress("批准与通知", "approval and notices", 0.38)
        await service.approve([record.event.event_id for record in records], "approver-wang")
        await self.clock.settle()
        return records

    def _tell_sizing(self, record: EventRecord) -> None:
        five, firm, ordered = record.five_percent_kw or 0.0, record.callable_kw or 0.0, record.event.target_kw
        zone = self.setup.generated.scenario.zone
        window = f"{record.event.start.astimezone(zone):%H:%M}-{record.event.end.astimezone(zone):%H:%M}"
        self.note(
            "调度员",
            f"事件 {window}: 5% = {five:,.0f} kW, 可调(含裕度) {firm:,.0f} kW, "
            f"下令 {ordered:,.0f} kW, 差额 {five - ordered:,.0f} kW",
            f"event {window}: 5 % = {five:,.0f} kW, callable with margin {firm:,.0f} kW, ordered {ordered:,.0f} kW, "
            f"difference {five - ordered:,.0f} kW",
        )

    # ---- time

    async def until(self, moment: datetime, share: float) -> None:
        """Let time pass, five minutes at a time, write down what can be seen, and break what is to be broken."""
        start, begin = self.clock.now(), self._share
        outages = sorted((each for each in self.setup.outages if start <= each.at < moment), key=lambda each: each.at)
        while self.clock.now() < moment:
            now = self.clock.now()
            following = min([moment, _next_step(now), *(max(now, each.at) for each in outages[:1])])
            outage = outages.pop(0) if outages and outages[0].at <= following else None
            striking = None if outage is None else asyncio.create_task(self._strike(outage, following), name="fate")
            await self.clock.advance_to(following)
            if outage is not None and striking is not None:
                await self._come_back(outage, await striking)
            self._look(following)
            done = (following - start) / (moment - start)
            shown = following.astimezone(self.setup.generated.scenario.zone)
            self.progress(f"{shown:%m-%d %H:%M}", f"{shown:%b %d %H:%M}", begin + (share - begin) * done)
        self._share = share

    _share = 0.2
    _troubled = False
    _preparing: asyncio.Task[None] | None = None

    async def _strike(self, outage: Outage, moment: datetime) -> Hit | None:
        """What stops without a word, at that moment or in the midst of what is due then; None if there is no such thing
        to be killed (a broker inside of the process).
        """
        await self.clock.sleep_until(moment)
        self.clock.stand_aside()
        before, deadline = self._commands_come, time.monotonic() + DELIVERED_WITHIN_S
        while self._commands_come < before + outage.after_commands and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        if outage.what == "broker":
            self.note("仿真", "消息代理被杀死", "the broker is killed")
            return "broker" if self.seat.kill_broker() else None
        self.note("仿真", "服务进程被杀死", "the service is killed")
        hit: Hit = "delivery" if self._commands_come > before else "service"
        await self.seat.kill()
        return hit

    @property
    def _commands_come(self) -> int:
        return sum(gateway.state.counts["batches"] for gateway in self.fleet.gateways.values())

    async def _come_back(self, outage: Outage, hit: Hit | None) -> None:
        """A broker's keeper starts another by itself; the service stays away for a while."""
        gone_at = self.clock.now()
        if outage.what == "service":
            await self.clock.advance_to(max(gone_at, outage.at + outage.lasts))
            await self.seat.start()
            self.seat.run()
            self.note("仿真", "服务重新启动", "the service is started again")
        if self.watch is not None and hit is not None:
            self.watch.was_away(hit, gone_at, self.clock.now())

    def expect_trouble(self) -> None:
        """Plan the faults of the day, and watch events from now on."""
        self._troubled = True
        for trouble in self.setup.troubles:
            gone = self.faults.silence_fraction(
                trouble.fraction, at=trouble.start, until=trouble.end, groups=self.fleet.class_of, kind=trouble.kind
            )
            zh, en = FAULT_TEXTS[trouble.kind]
            self.log.note(
                trouble.start,
                "仿真",
                f"{len(gone)} 台设备{zh} ({trouble.fraction:.0%})",
                f"{len(gone)} devices {en} ({trouble.fraction:.0%})",
            )

        if self.setup.wire is not None:
            spans = [(order.start - WIRE_BEFORE, order.end + WIRE_AFTER) for order in self.setup.orders]
            for name, gateway in self.fleet.gateways.items():
                gateway.transit.wire = WireFaults(name, self._seed, spans, self.setup.wire)
            self.note("仿真", "事件期间通信线路有故障", "the wire is faulty around the events")

    def _look(self, now: datetime) -> None:
        if not self._troubled or not self.seat.is_up:
            return
        service = self.service
        everyone, heard = service.state.everyone, service.state.columns
        fresh = int(heard.is_fresh(now)[everyone].sum())
        refusing = int((heard.refused_until_us[everyone] > microseconds(now)).sum())
        dispatchable = int(heard.is_dispatchable(now)[everyone].sum())
        self.log.devices.append((now, fresh, len(everyone) - fresh, refusing, dispatchable))
        for record in service.runtime.events.records():
            name, status = record.event.event_id, record.status.value
            if self._seen.get(name) != status:
                self._seen[name] = status
                self.log.note(now, "平台", f"事件 {name}: {STATUS_ZH[status]}", f"event {name}: {status}")

    def note(self, who: str, zh: str, en: str) -> None:
        """One line of the journal, now."""
        self.log.note(self.clock.now(), who, zh, en)

    # ---- the truth

    def truth(self, day: MeasuredDay) -> Truth:
        """True power with the event, and of the same devices with the same dice and no event."""
        grid, with_event = self.fleet.true_power(day.grid.start, day.grid.end)
        world = self._undisturbed = self.fleet.counterfactual(day.grid.end, self._price_only_orders(self.service, day))
        _, without = world.true_power_kw(day.grid.start, day.grid.end)
        row_of = {name: row for row, name in enumerate(world.resource_ids)}
        assert len(grid) == len(day.grid)  # noqa: S101 - both are five-minute grids of the same span
        return Truth(
            np.array([with_event[name] for name in day.resource_ids]),
            np.array([without[row_of[name]] for name in day.resource_ids]),
        )

    def broken_promises(self, start: datetime) -> list[BrokenPromise]:
        """Cars that left after ``start`` with less than was promised; once the truth is known."""
        without = [] if self._undisturbed is None else self._undisturbed.ended_stays
        return broken_promises(self.fleet.true_sessions, without, self.service.store.audit_log(), start)

    @staticmethod
    def _price_only_orders(service: Service, day: MeasuredDay) -> Iterable[GivenOrder]:
        """B as orders to everything that follows a schedule; one order per stretch of equal power."""
        for row, name in enumerate(day.resource_ids):
            live = service.state.get(name)
            if live is None or not isinstance(live.record.resource, CONTROLLED):
                continue
            values = day.baseline_kw[row]
            edges = [0, *(int(t) + 1 for t in np.flatnonzero(np.diff(values) != 0)), len(values)]
            for begin, stop in itertools.pairwise(edges):
                start, end = day.grid.edges[begin], day.grid.edges[stop]
                yield GivenOrder(name, float(values[begin]), start, end)


def _next_step(now: datetime) -> datetime:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + STEP * ((now - midnight) // STEP + 1)
