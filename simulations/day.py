"""A whole day through the service that runs live: real wires, real database, virtual time.

    commission  start the service, let the aggregators connect and register, live through the earlier days
    day ahead   the service plans; the operator declares the events, a second person approves, aggregators answer
    the day     five-minute cycles around the events; some devices fall silent in the middle of one
    proof       what was measured beside what a simulator knows to be true

Demo and replay differ only in the ``DaySetup`` that they hand in.
"""

import asyncio
import itertools
import shutil
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import structlog

from adapters.mqtt.credentials import new_password
from models.errors import VppError
from models.events import STATUS_ZH, EventOrder, EventRecord
from models.intervals import FloatArray, IntervalGrid
from models.reading_columns import microseconds
from models.resources import EvCharger, Generator, ShiftableLoad, Storage
from simulations.city_feed import CurveFeed
from simulations.clock import VirtualClock
from simulations.day_result import DayFacts, DayLog, Truth, build_result
from simulations.faults import FAULT_TEXTS, FaultKind, FaultPlan
from simulations.fleet import GivenOrder, SimulatedFleet, attach
from simulations.scenarios.generator import GeneratedFleet
from vpp.measurement import MeasuredDay
from vpp.report.result_folder import DayResult, write_result
from vpp.service import Service
from vpp.settings import Settings, load_settings
from vpp.wiring import open_service

log = structlog.get_logger(__name__)

STEP = timedelta(minutes=5)
REFERENCE_DEVICES = 500
"""Up to so many devices the readable reference model keeps up with a cycle: of 2 000 it compiles one too long."""
CYCLE_DEADLINE_S, CYCLE_DEVICES_PER_S = 5.0, 10_000
"""A large fleet's cycle may be planned for so long, and a second more for every so many devices."""
FINE_HISTORY_DEVICES = 5_000
"""Up to so many devices the earlier days are told in quarters of an hour."""
HABITS_KNOWN_AFTER = 3
"""Earlier days after which the chargers' habits are known well enough to make the solver ready beside the rest."""
Progress = Callable[[str, str, float], None]
"""Told what is going on (Chinese, English) and how much of the whole is done, 0..1."""


@dataclass(frozen=True)
class Trouble:
    """A share of the devices with which something is wrong in [start, end)."""

    fraction: float
    start: datetime
    end: datetime
    kind: FaultKind = FaultKind.SILENT


@dataclass(frozen=True)
class DaySetup:
    """Everything that tells one day from another.

    ``city_kw``: the true load of the city, portfolio included, at full scale, on any grid.  ``declare_at``: when the
    operator declares; ``orders`` what.  ``plan_at`` must be when the service's day-ahead planning is due.
    """

    generated: GeneratedFleet
    feed: CurveFeed
    market_day: date
    orders: tuple[EventOrder, ...]
    declare_at: datetime
    city_kw: Callable[[IntervalGrid], FloatArray]
    limit_kw: float | None
    facts: DayFacts
    troubles: tuple[Trouble, ...] = ()
    settings: dict[str, dict[str, object]] = field(default_factory=dict)

    @property
    def history_step(self) -> timedelta:
        """Over how long the readings of the earlier days are means: of a large fleet over an hour, the longest that
        one reading may stand for.
        """
        return timedelta(minutes=15 if self.generated.resources <= FINE_HISTORY_DEVICES else 60)


async def run_day(setup: DaySetup, out: Path, progress: Progress) -> DayResult:
    """Run the day and write its result folder into ``out``; the service's own files stay in ``out/service``."""
    began = time.monotonic()
    scenario = setup.generated.scenario
    midnight = scenario.midnight(setup.market_day)
    end = midnight + timedelta(days=1, hours=6)
    async with _commissioned(setup, out, progress) as (driver, service):
        async with driver.living(service):
            await driver.day_ahead(service)
            await driver.until(midnight, 0.45)
            driver.fleet.mark()
            driver.expect_trouble(service)
            await driver.until(end, 0.95)
        day = await service.runtime.measured(midnight, end)
        progress("核算与报告", "measuring and writing the report", 0.96)
        truth = driver.truth(service, day)
        result = build_result(
            service,
            setup.facts,
            driver.log,
            day,
            truth,
            setup.facts.scale * setup.city_kw(day.grid),
            setup.feed.forecast(setup.declare_at, day.grid).load_kw.sum(axis=0),
            setup.limit_kw,
            IntervalGrid.market_day(setup.market_day, scenario.zone, STEP),
            time.monotonic() - began,
        )
    write_result(out, result)
    return result


async def run_until_ordered(setup: DaySetup, out: Path, progress: Progress) -> Sequence[EventRecord]:
    """Run the day until its events are approved and stop there; their records say what could be ordered."""
    async with _commissioned(setup, out, progress) as (driver, service), driver.living(service):
        return await driver.day_ahead(service)


@asynccontextmanager
async def _commissioned(setup: DaySetup, out: Path, progress: Progress) -> AsyncIterator[tuple["_Driver", Service]]:
    """A service that knows its fleet and the fleet's earlier days."""
    service_dir = out / "service"
    if service_dir.exists():
        shutil.rmtree(service_dir)
    settings = _settings(setup, service_dir)
    generated = setup.generated
    clock = VirtualClock(generated.bank.now, patience_s=300.0 + generated.resources / 50)
    driver = _Driver(setup, settings, clock, progress)
    async with open_service(settings, clock, setup.feed, baseline_method=BASELINE_METHOD) as service:
        await driver.commission(service)
        yield driver, service


BASELINE_METHOD = "ten_of_ten"
CONTROLLED = Storage | EvCharger | Generator | ShiftableLoad
"""Kinds that follow the price-only schedule without an event; loads and PV follow themselves."""


class _Driver:
    """Plays the parts that are not the service: the operator, a second approver, the aggregators' devices."""

    def __init__(self, setup: DaySetup, settings: Settings, clock: VirtualClock, progress: Progress) -> None:
        self.setup = setup
        self.clock = clock
        self.progress = progress
        self.log = DayLog()
        generated = setup.generated
        self.faults = FaultPlan(generated.bank.resource_ids, generated.seed)
        self.fleet = SimulatedFleet(
            generated, clock, self.faults, prefix=settings.mqtt.prefix, history_step=setup.history_step
        )
        self._seen: dict[str, str] = {}

    # ---- commissioning

    async def commission(self, service: Service) -> None:
        """Wires up, aggregators registered, earlier days in the store."""
        self.progress("启动服务与消息代理", "starting service and broker", 0.01)
        self._wires = asyncio.create_task(service.link.run(), name="mqtt link")
        await service.link.wait_connected(30.0)
        passwords = {name: new_password() for name in self.fleet.gateways}
        for name, password in passwords.items():
            await service.broker.add_aggregator(name, password)
        self.progress("聚合商注册", "aggregators register", 0.03)
        answers = await self.fleet.start(service.broker.url, passwords)
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
    async def living(self, service: Service) -> AsyncIterator[None]:
        """Devices and service live on the clock; time waits until nothing is under way on the wires."""
        self.clock.add_barrier(service.runtime.settled)
        self.clock.add_barrier(lambda: self._all_heard(service))
        tasks = [attach(self.fleet, self.clock), asyncio.create_task(service.runtime.run(), name="runtime")]
        try:
            yield
        finally:
            await self.fleet.stop()
            work = [*tasks, self._wires, self._preparing]
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)

    async def _all_heard(self, service: Service) -> None:
        """Every batch that was sent has been seen by its gateway, and is answered."""
        deadline = time.monotonic() + 60
        while any(
            gateway.last_sequence < service.runtime.delivery.last_sequence.get(name, 0)
            for name, gateway in self.fleet.gateways.items()
        ):
            if time.monotonic() > deadline:
                raise VppError("a gateway has not seen its setpoints within 60 s")
            await asyncio.sleep(0.002)
        await self.fleet.settled()

    # ---- the operator

    async def day_ahead(self, service: Service) -> Sequence[EventRecord]:
        """The service plans tomorrow; the operator declares, a second person approves, aggregators answer.

        The events as they were declared.
        """
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
        """Let time pass, five minutes at a time, and write down what can be seen."""
        start, begin = self.clock.now(), self._share
        while self.clock.now() < moment:
            following = min(moment, _next_step(self.clock.now()))
            await self.clock.advance_to(following)
            self._look(following)
            done = (following - start) / (moment - start)
            zone = self.setup.generated.scenario.zone
            shown = following.astimezone(zone)
            self.progress(f"{shown:%m-%d %H:%M}", f"{shown:%b %d %H:%M}", begin + (share - begin) * done)
        self._share = share

    _share = 0.2
    _service: Service | None = None

    def expect_trouble(self, service: Service) -> None:
        """Plan the faults of the day, and watch events from now on."""
        self._service = service
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

    def _look(self, now: datetime) -> None:
        service = self._service
        if service is None:
            return
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

    def truth(self, service: Service, day: MeasuredDay) -> Truth:
        """True power with the event, and of the same devices with the same dice and no event."""
        grid, with_event = self.fleet.true_power(day.grid.start, day.grid.end)
        world = self.fleet.counterfactual(day.grid.end, self._price_only_orders(service, day))
        _, without = world.true_power_kw(day.grid.start, day.grid.end)
        row_of = {name: row for row, name in enumerate(world.resource_ids)}
        assert len(grid) == len(day.grid)  # noqa: S101 - both are five-minute grids of the same span
        return Truth(
            np.array([with_event[name] for name in day.resource_ids]),
            np.array([without[row_of[name]] for name in day.resource_ids]),
        )

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


def _settings(setup: DaySetup, folder: Path) -> Settings:
    overrides: dict[str, dict[str, object]] = {
        "service": {"time_zone": str(setup.generated.scenario.zone), "data_dir": folder},
        "mqtt": {"broker": "auto", "port": _free_port()},
        "real_time": {"quiet_cycle_s": 3600.0},
        "solver": _solver(setup.generated.resources),
    }
    for section, values in setup.settings.items():
        overrides[section] = {**overrides.get(section, {}), **values}
    return load_settings(None, overrides)


def _solver(resources: int) -> dict[str, object]:
    """Who plans a fleet of so many devices, how well and for how long at most."""
    if resources <= REFERENCE_DEVICES:
        return {"gap": 0.01, "method": "reference"}
    deadline_s = CYCLE_DEADLINE_S + resources / CYCLE_DEVICES_PER_S
    return {"gap": 0.01, "method": "fast", "real_time_deadline_s": deadline_s}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
