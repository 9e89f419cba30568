"""A whole day through the service that runs live: real wires, real database, virtual time.

    commission  start the service, let the aggregators connect and register, live through the earlier days
    day ahead   the service plans; the operator declares the events, a second person approves, aggregators answer
    the day     five-minute cycles around the events; some devices fall silent in the middle of one
    proof       what was measured beside what a simulator knows to be true

Demo and replay differ only in the ``DaySetup`` that they hand in.  Many days of one fleet need not live through its
earlier days each: they begin from a ``KeptStart``, the service's database and the devices as they stood once the day
ahead was planned.
"""

import json
import shutil
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from models.intervals import IntervalGrid
from simulations.clock import VirtualClock
from simulations.day_driver import STEP, Driver, Progress
from simulations.day_result import build_result
from simulations.day_setup import DaySetup, day_settings
from simulations.fleet_state import FleetState
from simulations.invariants import broken_on_day
from simulations.seat import Seat
from vpp.report.result_folder import DayResult, write_result
from vpp.solver_pool import SolverPool
from vpp.wiring import Solvers, open_service

BASELINE_METHOD = "ten_of_ten"
FAR_SIDE_FILE = "far_side.json"
"""What must never happen and did (``broken``, ``simulations.invariants``), and what became of messages (``wire``)."""
PROMISES_FILE = "broken_promises.json"
"""Cars that left with less than was promised (``simulations.kept_promises``), beside a day's other results."""
KEPT_BEFORE = timedelta(minutes=10)
"""A start is kept so long before the events are declared: the day ahead is planned, nothing has been ordered."""


@dataclass(frozen=True)
class KeptStart:
    """A service and its fleet as they stood before a day; ``folder`` is the service's, closed."""

    folder: Path
    fleet: FleetState
    passwords: Mapping[str, str]
    now: datetime


async def run_day(
    setup: DaySetup,
    out: Path,
    progress: Progress,
    *,
    start: KeptStart | None = None,
    solvers: Solvers | None = None,
) -> DayResult:
    """Run the day and write its result folder into ``out``; the service's own files stay in ``out/service``.

    ``start``: begin there instead of commissioning the fleet.  ``solvers``: as of ``open_service``, which other days of
    the same fleet can use again.
    """
    began = time.monotonic()
    scenario = setup.generated.scenario
    midnight = scenario.midnight(setup.market_day)
    end = midnight + timedelta(days=1, hours=6)
    async with _ready(setup, out, progress, start, solvers) as driver:
        async with driver.living():
            await driver.day_ahead()
            await driver.until(midnight, 0.45)
            driver.fleet.mark()
            driver.expect_trouble()
            await driver.until(end, 0.95)
        service = driver.service
        day = await service.runtime.measured(midnight, end)
        progress("核算与报告", "measuring and writing the report", 0.96)
        truth = driver.truth(day)
        far_side = {} if driver.watch is None else broken_on_day(driver.watch, setup, service, day, truth)
        promises = [each.as_dict() for each in driver.broken_promises(midnight)]
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
    (out / PROMISES_FILE).write_text(json.dumps(promises, indent=1), encoding="utf-8")
    (out / FAR_SIDE_FILE).write_text(json.dumps(far_side, indent=1), encoding="utf-8")
    return result


async def keep_start(setup: DaySetup, out: Path, progress: Progress, solvers: Solvers | None = None) -> KeptStart:
    """Commission a fleet, plan its day ahead, and keep service and devices as they stand then, in ``out/service``."""
    async with _ready(setup, out, progress, solvers=solvers) as driver, driver.living():
        await driver.until(setup.declare_at - KEPT_BEFORE, 0.4)
        await driver.service.runtime.plan_day(setup.market_day)
        fleet, now = driver.fleet.state, driver.clock.now()
    return KeptStart(out / "service", fleet, driver.passwords, now)


@asynccontextmanager
async def _ready(
    setup: DaySetup,
    out: Path,
    progress: Progress,
    start: KeptStart | None = None,
    solvers: Solvers | None = None,
) -> AsyncIterator[Driver]:
    """A driver whose service knows its fleet and the fleet's earlier days."""
    service_dir = out / "service"
    if service_dir.exists():
        shutil.rmtree(service_dir)
    if start is not None:
        shutil.copytree(start.folder, service_dir)
    settings = day_settings(setup, service_dir)
    generated = setup.generated
    clock = VirtualClock(
        generated.bank.now if start is None else start.now, patience_s=300.0 + generated.resources / 50
    )
    seat = Seat(
        lambda: open_service(settings, clock, setup.feed, baseline_method=BASELINE_METHOD, solvers=solvers),
        [pool for pool in solvers or () if isinstance(pool, SolverPool)],
    )
    driver = Driver(setup, settings, clock, progress, seat)
    try:
        if start is None:
            await driver.commission()
        else:
            await driver.resume(start.fleet, start.passwords)
        yield driver
    finally:
        await seat.stop()
