"""A small city over the real wire: broker, database and solver are real; devices are few and simple; time is virtual.

The broker runs beside the service and outlives it, so that either can be killed alone.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.mqtt.broker import BrokerSettings, RunningBroker, open_broker
from adapters.mqtt.broker_embedded import EmbeddedBroker
from adapters.mqtt.broker_mosquitto import MosquittoBroker, find_mosquitto
from adapters.mqtt.credentials import new_password
from models.dispatch.fast.solve import FastSolver
from models.dispatch.problem import DispatchProblem
from models.errors import DeadlineError
from models.events import EventOrder, EventRecord
from models.intervals import FloatArray, IntervalGrid
from models.plan import DispatchPlan
from models.ports import Clock, Solver
from simulations.city_feed import CurveFeed
from simulations.clock import VirtualClock
from simulations.wire import codec
from simulations.wire.gateway import AggregatorGateway, Answer, Policy, accept_all
from simulations.wire.orders import Outcome
from vpp.service import Service
from vpp.settings import load_settings
from vpp.warm_up import ready_oracles
from vpp.wiring import open_service

MINUTE = timedelta(minutes=1)
CYCLE = timedelta(minutes=5)
START = datetime(2025, 7, 15, 14, 55, tzinfo=UTC)
"""22:55 in Shanghai, five minutes before the day ahead is planned."""
PLANNED = datetime(2025, 7, 15, 15, 10, tzinfo=UTC)
EVENT_START = datetime(2025, 7, 15, 17, 0, tzinfo=UTC)
EVENT_END = datetime(2025, 7, 15, 18, 0, tzinfo=UTC)
"""01:00 to 02:00 in Shanghai: soon after midnight, so that few quiet cycles lie before it."""
CITY_KW = 20_000.0


class ThreadSolver:
    """The service's usual solver in a thread of its own: one for all tests."""

    def __init__(self) -> None:
        ready_oracles()
        self._solver = FastSolver()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="solver")

    async def solve(self, problem: DispatchProblem, *, deadline_s: float, gap: float = 1e-4) -> DispatchPlan:
        call = partial(self._solver.solve, problem, deadline_s=deadline_s, gap=gap)
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def prepare(self, problem: DispatchProblem) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._solver.prepare, problem)


class FlakySolver:
    """A solver that fails when told to, or gives plans that break limits (``spoil``)."""

    def __init__(self, solver: ThreadSolver) -> None:
        self._solver = solver
        self.failing = False
        self.spoiling = False

    async def solve(self, problem: DispatchProblem, *, deadline_s: float, gap: float = 1e-4) -> DispatchPlan:
        if self.failing:
            raise DeadlineError(deadline_s)
        plan = await self._solver.solve(problem, deadline_s=deadline_s, gap=gap)
        return replace(plan, power_kw=plan.power_kw - 500.0) if self.spoiling else plan

    async def prepare(self, problem: DispatchProblem) -> None:
        await self._solver.prepare(problem)


@dataclass
class Device:
    """One device: what it registers, and a physics of one line."""

    fields: dict[str, Any]
    level_kwh: float | None = None
    own_kw: float = 0.0
    session: dict[str, Any] | None = None
    orders: list[tuple[datetime, datetime, float | None]] = field(default_factory=list)
    energy_kwh: float = 0.0
    since: datetime | None = None
    is_silent: bool = False
    refuses: bool = False
    ignores: bool = False
    does_share: float = 1.0
    meter_factor: float = 1.0
    stuck_kw: float | None = None
    clock_ahead: timedelta = timedelta(0)
    told: bool = False
    power_kw: list[tuple[datetime, float]] = field(default_factory=list)

    def wanted_kw(self, now: datetime) -> float:
        """The newest order that is in force, else its own way."""
        for start, end, power_kw in reversed(self.orders):
            if start <= now < end:
                moved_kw = 0.0 if power_kw is None else power_kw - self.own_kw
                return self.own_kw + self.does_share * moved_kw
        return self.own_kw

    def advance(self, now: datetime, step: timedelta) -> None:
        """Live one step from ``now`` on."""
        power, hours = self.wanted_kw(now), step / timedelta(hours=1)
        if self.fields["kind"] == "storage" and self.level_kwh is not None:
            charge = self.fields["charge_efficiency"] * max(power, 0.0)
            gain = (charge - max(-power, 0.0) / self.fields["discharge_efficiency"]) * hours
            if not self.fields["energy_min_kwh"] <= self.level_kwh + gain <= self.fields["energy_max_kwh"]:
                power = gain = 0.0
            self.level_kwh += gain
        self.energy_kwh += power * hours
        self.power_kw.append((now, power))


class Aggregator:
    """Devices behind one gateway; answers to ``simulations.wire.gateway.Devices``."""

    def __init__(self, name: str, devices: Iterable[Device], clock: VirtualClock, policy: Policy = accept_all) -> None:
        self.name, self.clock = name, clock
        self.devices = {device.fields["resource_id"]: device for device in devices}
        self.password = new_password()
        self.policy = policy
        self.sequence = 0
        self.report_every = CYCLE
        self.heard: list[tuple[datetime, str, float | None, datetime, datetime]] = []
        self.gateway = AggregatorGateway(name, clock, self, self.devices, policy=self._decide, answer_timeout_s=1.0)

    def _decide(self, notice: codec.ReceivedEvent) -> Answer:
        return self.policy(notice)  # a test may change its mind

    def command(self, resource_id: str, power_kw: float | None, valid_from: datetime, valid_until: datetime) -> Outcome:
        device = self.devices[resource_id]
        if device.is_silent:
            return Outcome("silent")
        self.heard.append((self.clock.now(), resource_id, power_kw, valid_from, valid_until))
        if device.refuses:
            return Outcome("refused", "the owner does not want to")
        if not device.ignores:
            device.orders.append((valid_from, valid_until, power_kw))
        return Outcome("taken")

    async def register(self) -> dict[str, codec.ResourceAnswer]:
        profile = {"interval_start": [codec.stamp(START)], "values": [1.0]}
        return await self.gateway.register([device.fields for device in self.devices.values()], {"p": profile})

    def publish_history(self, now: datetime) -> None:
        """Twelve days of quarter hours in which every device went its own way."""
        readings = [
            codec.reading(name, now - k * timedelta(minutes=15), device.own_kw, 0)
            for name, device in self.devices.items()
            for k in range(12 * 96, 0, -1)
        ]
        self.gateway.publish_readings(readings)

    def mean_kw(self, start: datetime, end: datetime) -> float:
        """True mean power of its devices over [start, end)."""
        steps = [[kw for at, kw in device.power_kw if start <= at < end] for device in self.devices.values()]
        return sum(sum(each) / len(each) for each in steps)

    def publish(self, now: datetime) -> None:
        readings = []
        for name, device in self.devices.items():
            since = device.since
            if device.is_silent:
                continue
            mean = device.own_kw if since is None else device.energy_kwh / ((now - since).total_seconds() / 3600)
            self.sequence += 1
            level = float("nan") if device.level_kwh is None else device.level_kwh
            said_kw = device.meter_factor * mean if device.stuck_kw is None else device.stuck_kw
            fields = codec.reading(name, now + device.clock_ahead, said_kw, self.sequence, energy_kwh=level)
            if device.fields["kind"] == "ev_session" and not device.told:
                device.told = True
                fields["session"] = device.session
            readings.append(fields)
            device.energy_kwh, device.since = 0.0, now
        if readings:
            self.gateway.publish_readings(readings)


def battery(name: str, aggregator: str, zone: str = "east", **changed: Any) -> Device:
    """60 kW for two hours and more; one price all day, so that without an event it stands still."""
    fields = {
        "action": "update",
        "kind": "storage",
        "resource_id": name,
        "aggregator_id": aggregator,
        "zone_id": zone,
        "meter_id": f"meter-{name}",
        "pillar": "source",
        "tariff_id": "flat",
        "charge_limit_kw": 60.0,
        "discharge_limit_kw": 60.0,
        "energy_min_kwh": 10.0,
        "energy_max_kwh": 200.0,
        "energy_start_kwh": 150.0,
        "energy_end_min_kwh": 150.0,
        "charge_efficiency": 0.95,
        "discharge_efficiency": 0.95,
        "wear_cost_per_kwh": 0.05,
        "telemetry_ttl_s": 400.0,
        **changed,
    }
    return Device(fields, level_kwh=150.0)


def charger(name: str, aggregator: str, zone: str = "west") -> Device:
    """A V1G place where a car stands all night."""
    fields = {
        "action": "update",
        "kind": "ev_session",
        "resource_id": name,
        "aggregator_id": aggregator,
        "zone_id": zone,
        "meter_id": f"meter-{name}",
        "pillar": "load",
        "tariff_id": "flat",
        "charge_limit_kw": 7.0,
        "charge_efficiency": 0.9,
        "telemetry_ttl_s": 400.0,
    }
    session = {
        "session_id": f"stay-{name}",
        "arrival": codec.stamp(START - timedelta(hours=1)),
        "departure": codec.stamp(START + timedelta(hours=9)),
        "energy_needed_kwh": 20.0,
    }
    return Device(fields, own_kw=0.0, session=session)


def three_loads() -> list[Device]:
    """Loads of 200 kW all day; their profiles come from the days before."""
    common: dict[str, Any] = {
        "action": "update",
        "aggregator_id": "delta",
        "zone_id": "east",
        "pillar": "load",
        "tariff_id": "flat",
        "baseline_profile": "p",
        "baseline_scale_kw": 200.0,
        "telemetry_ttl_s": 400.0,
    }
    back = {"rebound_share": 0.3, "rebound_hours_h": 1.0}
    curtailable = {"curtail_share": 0.3, "cost_per_kwh": 0.7, "energy_limit_kwh": 300.0, "hours_limit_h": 4.0, **back}
    block = {"block_kw": 50.0, "cost_per_kwh": 0.8, "shortest_h": 0.25, "longest_h": 2.0, "calls_per_day": 2}
    building = {
        "increase_limit_kw": 20.0,
        "decrease_limit_kw": 40.0,
        "store_low_kwh": 60.0,
        "store_high_kwh": 20.0,
        "store_end_min_kwh": 0.0,
        "decay_per_hour": 0.3,
        "discomfort_cost_per_kwh": 0.0,
    }
    made = []
    for name, kind, fields in (
        ("shop", "curtailable_load", curtailable),
        ("oven", "interruptible_load", block),
        ("hall", "thermal_load", building),
    ):
        names = {"resource_id": name, "meter_id": f"meter-{name}", "kind": kind}
        made.append(Device({**common, **fields, **names}, own_kw=200.0))
    return made


def small_fleet(clock: VirtualClock) -> dict[str, Aggregator]:
    """Three aggregators, ten batteries of 60 kW, two chargers."""
    return {
        "alpha": Aggregator("alpha", [battery(f"a{k}", "alpha") for k in range(4)], clock),
        "beta": Aggregator("beta", [battery(f"b{k}", "beta", "west") for k in range(3)], clock),
        "gamma": Aggregator(
            "gamma",
            [*(battery(f"g{k}", "gamma", "west") for k in range(3)), charger("c0", "gamma"), charger("c1", "gamma")],
            clock,
        ),
    }


def small_city(load_kw: Callable[[], float]) -> CurveFeed:
    """Two zones, the same load all day; just so much cheaper in the morning that batteries recharge then."""

    def prices(grid: IntervalGrid) -> Mapping[str, FloatArray]:
        cheap = [9 <= (start.hour + 8) % 24 < 15 for start in grid.starts]
        return {"flat": np.where(cheap, 0.55, 0.6)}

    return CurveFeed(
        scale=1.0,
        zones=("east", "west"),
        zone_shares=np.array([0.5, 0.5]),
        zone_limits_kw=np.array([np.inf, np.inf]),
        prices=prices,
        forecast=lambda _, grid: np.full(len(grid), load_kw()),
        measured=lambda _, grid: np.full(len(grid), load_kw()),
        any_day=IntervalGrid.regular(START, timedelta(hours=1), 24),
    )


class World:
    """Broker, service, aggregators and the clock; tests say what happens."""

    def __init__(
        self,
        folder: Path,
        broker: RunningBroker,
        solver: Solver,
        overrides: Mapping[str, Any],
        with_loads: bool = False,
        start: datetime = START,
        step: timedelta = MINUTE,
    ) -> None:
        self.folder, self.broker = folder, broker
        self.clock = VirtualClock(start, patience_s=30.0)
        self.service_clock: Clock = self.clock
        """What the service takes for the time; the devices know better."""
        self.solver, self.overrides = solver, overrides
        self.city_kw = CITY_KW
        self.step = step
        self.aggregators = small_fleet(self.clock)
        if with_loads:
            self.aggregators["delta"] = Aggregator("delta", three_loads(), self.clock)
        self.cut: set[str] = set()
        self._stack = contextlib.AsyncExitStack()
        self._tasks: list[asyncio.Task[Any]] = []
        self.service: Service = None  # type: ignore[assignment]

    # ---- the service

    async def start_service(self) -> None:
        """Open it on the same folder as before, and let it run."""
        platform = self.broker.platform
        password = platform.password.get_secret_value() if platform.password is not None else None
        overrides: dict[str, Any] = {
            "service": {"time_zone": "Asia/Shanghai", "data_dir": self.folder / "service"},
            "mqtt": {
                "broker": f"mqtt://{platform.host}:{platform.port}",
                "username": platform.username,
                "password": password,
            },
            "day_ahead": {"at": "23:00:00"},
            "events": {"respond_within_s": 600.0},
        }
        for section, values in self.overrides.items():
            overrides[section] = {**overrides.get(section, {}), **values}
        settings = load_settings(None, overrides)
        made = open_service(settings, self.service_clock, small_city(lambda: self.city_kw), solver=self.solver)
        self.service = await self._stack.enter_async_context(made)
        self._running = asyncio.create_task(self.service.run(), name="service")
        self._barriers = [self.service.runtime.settled, self._heard]
        for barrier in self._barriers:
            self.clock.add_barrier(barrier)

    async def kill_service(self) -> None:
        """No goodbye: everything that it was doing stops where it is; what is in memory is gone."""
        for barrier in self._barriers:
            self.clock.remove_barrier(barrier)
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)

    async def _heard(self) -> None:
        """Every batch that left has come to its gateway, and every message that went up is answered."""
        async with asyncio.timeout(30):
            for name, each in self.aggregators.items():
                if name in self.cut:
                    continue
                await each.gateway.seen(self.service.runtime.delivery.last_sequence.get(name, 0))
                await each.gateway.settled()

    # ---- the far side

    async def start_aggregators(self) -> None:
        """Connect and register all, with a first reading of every device."""
        for each in self.aggregators.values():
            await self.broker.add_aggregator(each.name, each.password)
            await self.service.broker.add_aggregator(each.name, each.password)  # the platform must know it too
            await each.gateway.start(self.broker.url, each.password)
            await each.register()
            if each.name == "delta":
                each.publish_history(self.clock.now())
            each.publish(self.clock.now())
            await each.gateway.settled()
        self._tasks.append(asyncio.create_task(self._live(), name="devices"))

    async def _live(self) -> None:
        now = self.clock.now()
        midnight = now.replace(hour=0, minute=0)
        while True:
            for device in self.devices.values():
                device.advance(now, self.step)
            now += self.step
            await self.clock.sleep_until(now)
            for each in self.aggregators.values():
                if not (now - midnight) % each.report_every:
                    each.publish(now)

    @property
    def devices(self) -> dict[str, Device]:
        return {name: device for each in self.aggregators.values() for name, device in each.devices.items()}

    # ---- time

    async def until(self, moment: datetime) -> None:
        """Let time pass."""
        await self.clock.advance_to(moment)

    def fleet_kw(self, start: datetime, end: datetime) -> float:
        """True mean power of all devices over [start, end)."""
        return sum(each.mean_kw(start, end) for each in self.aggregators.values())

    # ---- the operator

    async def declare(self, ordered_kw: float, **changes: Any) -> EventRecord:
        order = EventOrder.model_validate(
            {"start": EVENT_START, "end": EVENT_END, "ordered_kw": ordered_kw, "event_id": "night", **changes}
        )
        (record,) = await self.service.declare([order], "operator-li")
        return record

    async def order(self, ordered_kw: float, **changes: Any) -> EventRecord:
        """Declare, approve by somebody else, and let the aggregators answer."""
        record = await self.declare(ordered_kw, **changes)
        (record,) = await self.service.approve([record.event.event_id], "approver-wang")
        await self.clock.settle()
        return self.event(record.event.event_id)

    def event(self, event_id: str = "night") -> EventRecord:
        return self.service.runtime.events.get(event_id)

    def metric(self, name: str, **labels: str) -> float:
        """Sum of a metric over all labels that are not named."""
        return sum(
            sample.value
            for family in self.service.metrics.registry.collect()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    async def close(self) -> None:
        for each in self.aggregators.values():
            await each.gateway.stop()
        for task in [*self._tasks, self._running]:
            task.cancel()
        await asyncio.gather(*self._tasks, self._running, return_exceptions=True)
        await self._stack.aclose()

    # ---- the broker

    async def kill_broker(self) -> None:
        if isinstance(self.broker, MosquittoBroker):
            assert self.broker.pid is not None
            os.kill(self.broker.pid, signal.SIGKILL)
        else:
            assert isinstance(self.broker, EmbeddedBroker)
            await self.broker.stop()

    async def broker_is_back(self) -> float:
        """Wait (start the embedded one again) until service and gateways are connected; after how many seconds."""
        if isinstance(self.broker, EmbeddedBroker):
            await self.broker.start()
        began = time.monotonic()
        await really(lambda: self.service.link.connected)
        await really(lambda: all(each.gateway.is_online for each in self.aggregators.values()))
        return time.monotonic() - began


async def really(test: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """Wait in real time."""
    async with asyncio.timeout(timeout_s):
        while not test():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.fixture(scope="session")
def solver() -> ThreadSolver:
    return ThreadSolver()


@pytest.fixture
def flaky(solver: ThreadSolver) -> FlakySolver:
    return FlakySolver(solver)


MakeWorld = Callable[..., Awaitable[World]]


@pytest.fixture
async def make_world(tmp_path: Path, solver: ThreadSolver) -> AsyncIterator[MakeWorld]:
    """A world whose service runs and whose devices are registered; closed at the end."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(
            broker: str = "embedded",
            *,
            solver: Solver = solver,
            until: datetime | None = PLANNED,
            with_loads: bool = False,
            service_clock: Callable[[World], Clock] = lambda world: world.clock,
            step: timedelta = MINUTE,
            **overrides: Mapping[str, Any],
        ) -> World:
            if broker == "mosquitto" and find_mosquitto() is None:
                pytest.skip("mosquitto is not installed")
            running = await stack.enter_async_context(
                open_broker(BrokerSettings(broker=broker, folder=tmp_path / "broker"))
            )
            world = World(tmp_path, running, solver, overrides, with_loads, step=step)
            world.service_clock = service_clock(world)
            await world.start_service()
            stack.push_async_callback(world.close)
            await world.service.link.wait_connected()
            await world.start_aggregators()
            if until is not None:
                await world.until(until)
            return world

        yield make
