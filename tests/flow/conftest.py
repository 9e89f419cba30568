"""A small city over the real wire: broker, database and solver are real; devices are few and simple; time is virtual.

The broker runs beside the service and outlives it, so that either can be killed alone.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from adapters.mqtt.broker import BrokerSettings, RunningBroker, open_broker
from adapters.mqtt.broker_embedded import EmbeddedBroker
from adapters.mqtt.broker_mosquitto import MosquittoBroker, find_mosquitto
from models.dispatch.fast.solve import FastSolver
from models.dispatch.problem import DispatchProblem
from models.errors import DeadlineError
from models.events import EventOrder, EventRecord
from models.plan import DispatchPlan
from models.ports import Clock, Solver
from simulations.clock import VirtualClock
from tests.flow.small_city import (
    CITY_KW,
    EVENT_END,
    EVENT_START,
    MINUTE,
    PLANNED,
    START,
    Aggregator,
    Device,
    small_city,
    small_fleet,
    three_loads,
)
from tests.postgres import BOTH, PostgresServer
from vpp.service import Service
from vpp.settings import load_settings
from vpp.warm_up import ready_oracles
from vpp.wiring import open_service


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
        store_url: str | None = None,
    ) -> None:
        """``store_url``: None is SQLite in the folder."""
        self.folder, self.broker, self.store_url = folder, broker, store_url
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
            "store": {"url": self.store_url},
        }
        for section, values in self.overrides.items():
            overrides[section] = {**overrides.get(section, {}), **values}
        settings = load_settings(None, overrides)
        made = open_service(settings, self.service_clock, small_city(lambda: self.city_kw), solver=self.solver)
        self.service = await self._stack.enter_async_context(made)
        self._running = asyncio.create_task(self.service.run(), name="service")
        self._notices_before, self._was_cut = self._notices_come, False
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
        """Every batch and notice that left has come to its gateway, and every message that went up is answered."""
        async with asyncio.timeout(30):
            await self._notices_heard()
            for name, each in self.aggregators.items():
                if name in self.cut:
                    continue
                await each.gateway.seen(self.service.runtime.delivery.last_sequence.get(name, 0))
                await each.gateway.settled()

    async def _notices_heard(self) -> None:
        """Unless somebody was cut off: what was told him may be lost."""
        self._was_cut = self._was_cut or bool(self.cut)
        counters = self.service.link.counters
        while not self._was_cut and self._notices_come - self._notices_before < counters.events_sent:  # noqa: ASYNC110
            await asyncio.sleep(0.002)

    @property
    def _notices_come(self) -> int:
        return sum(each.gateway.state.counts["events"] for each in self.aggregators.values())

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


both_databases = pytest.mark.parametrize("store_url", BOTH, indirect=True)
"""For tests with a world: on SQLite, as ever, and on PostgreSQL."""


@pytest.fixture
def store_url(request: pytest.FixtureRequest) -> str | None:
    """Of the database of a world; None is SQLite in its folder."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return None
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.new_url()


@pytest.fixture
async def make_world(tmp_path: Path, solver: ThreadSolver, store_url: str | None) -> AsyncIterator[MakeWorld]:
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
            world = World(tmp_path, running, solver, overrides, with_loads, step=step, store_url=store_url)
            world.service_clock = service_clock(world)
            await world.start_service()
            stack.push_async_callback(world.close)
            await world.service.link.wait_connected()
            await world.start_aggregators()
            if until is not None:
                await world.until(until)
            return world

        yield make
