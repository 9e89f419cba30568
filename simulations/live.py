"""A simulated fleet in real time: what ``vpp simulate`` connects to a service that runs elsewhere.

The scenario's day is moved to today, so that the fleet, the city's tables and the machine's clock agree.
"""

import asyncio
import json
import math
import signal
import ssl
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from adapters.feeds.city_folder import CityTables, write_city
from models.errors import InputError, InputFault
from models.intervals import IntervalGrid
from models.ports import Clock
from simulations.city_feed import scenario_feed
from simulations.demo import SCENARIO
from simulations.fleet import SimulatedFleet
from simulations.scenarios import Scenario, load_scenario
from simulations.scenarios.generator import GeneratedFleet, generate_fleet
from simulations.wire.gateway import PREFIX
from vpp.cli.answers import answer
from vpp.logs import configure_logging

log = structlog.get_logger(__name__)
QUARTER = timedelta(minutes=15)
LONGEST_STEP_S = 60.0
SETTLES_WITHIN = timedelta(days=1)
"""After so long nobody can tell where devices began whose past is not told: cars have come and gone, rooms are cool."""


@dataclass(frozen=True)
class LiveFleet:
    """Which fleet: ``resources`` devices of a portfolio of the scenario, on the day that ``clock`` shows."""

    resources: int
    portfolio: str
    clock: Clock

    @cached_property
    def today(self) -> date:
        """The local day."""
        return self.clock.now().astimezone(load_scenario(SCENARIO).zone).date()

    def generate(self, *, history: bool = True) -> GeneratedFleet:
        """The fleet as if the scenario's day were today, standing before its earlier days or, without ``history``,
        at yesterday's midnight; ``InputError`` for an unknown portfolio.
        """
        scenario = _moved_to(self.today)
        start = None if history else scenario.midnight(self.today - SETTLES_WITHIN)
        return generate_fleet(scenario, self.portfolio, self.resources, start=start)


def _moved_to(day: date) -> Scenario:
    return Scenario(load_scenario(SCENARIO).file.model_copy(update={"day": day}))


def write_fleets_city(which: LiveFleet, folder: Path, days: int) -> tuple[list[str], IntervalGrid]:
    """Write the city that fits the fleet (its zones, tariffs, size) from today on; returns its aggregators and grid.

    Every day has the load of the scenario's day, with the forecast error of ``scenario_feed``; the last day's six
    hours after midnight are there too, because plans look so far.
    """
    generated = which.generate()
    scenario = generated.scenario
    parts = []
    for ahead in range(days + 1):
        day = which.today + timedelta(days=ahead)
        whole = IntervalGrid.market_day(day, scenario.zone, QUARTER)
        grid = whole if ahead < days else IntervalGrid(whole.edges[: 6 * 4 + 1])
        moved = _moved_to(day)
        parts.append((grid, scenario_feed(moved, generated.scale).forecast(moved.midnight(day), grid)))
    grid = IntervalGrid((*(start for part, _ in parts for start in part.starts), parts[-1][0].end))
    first = parts[0][1]
    city = CityTables(
        grid=grid,
        zones=first.zones,
        zone_load_kw=np.hstack([city.load_kw for _, city in parts]),
        zone_limit_kw=np.hstack([city.limit_kw for _, city in parts]),
        tariffs={name: np.hstack([city.tariffs[name] for _, city in parts]) for name in first.tariffs},
        areas=first.areas,
    )
    write_city(folder, city)
    return sorted(generated.registrations), grid


@dataclass(frozen=True)
class Wire:
    """The way to the platform: broker, passwords by aggregator, topic prefix, whom to trust with ``mqtts://``."""

    broker: str
    passwords: Mapping[str, str]
    prefix: str = PREFIX
    ca_file: Path | None = None

    def tls(self) -> ssl.SSLContext | None:
        """The context for ``mqtts://``, else None; ``InputError`` for a certificate that cannot be read."""
        if not self.broker.startswith("mqtts://"):
            return None
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:
            rule = f"must be a readable certificate: {error}"
            raise InputError([InputFault("command line", "--ca-file", str(self.ca_file), rule)]) from error


async def simulate_live(
    which: LiveFleet, wire: Wire, *, history: bool, telemetry_s: float, minutes: float | None
) -> None:
    """Connect the aggregators, register, send the days before as readings, then live on the clock until ``minutes``
    are over or the task is cancelled.
    """
    clock = which.clock
    generated = which.generate(history=history)
    missing = sorted(set(generated.registrations) - set(wire.passwords))
    if missing:
        rule = f"must have a password for each aggregator: vpp aggregator add {' '.join(missing)} --credentials FILE"
        raise InputError([InputFault("credentials", "aggregator_id", ", ".join(missing), rule)])
    step_s = telemetry_s / math.ceil(telemetry_s / LONGEST_STEP_S)  # readings lie on steps of the physics
    fleet = SimulatedFleet(generated, clock, telemetry_s=telemetry_s, step_s=step_s, prefix=wire.prefix)
    tls = wire.tls()
    try:
        answers = await fleet.start(wire.broker, wire.passwords, tls=tls)
        refused = [(name, each) for by_id in answers.values() for name, each in by_id.items() if not each.accepted]
        for name, answer in refused[:10]:
            log.warning("registration refused", resource_id=name, field=answer.field, rule=answer.rule)
        log.info("fleet registered", resources=generated.resources, refused=len(refused))
        if history:
            for day in generated.scenario.earlier_days:
                readings = await fleet.history_day(day)
                await fleet.settled(600.0)
                log.info("a day before was sent", day=str(day), readings=readings)
        fleet.warm_up(clock.now() - timedelta(minutes=1))
        log.info("the fleet lives", until="stopped" if minutes is None else f"{minutes:g} minutes are over")
        async with asyncio.timeout(None if minutes is None else 60 * minutes):
            await fleet.run()
    except TimeoutError:
        log.info("time is up")
    finally:
        await fleet.stop()


async def until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Do the work until it is done or the process is told to stop (Ctrl-C, SIGTERM), which is no error."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    told = False

    def stop() -> None:
        nonlocal told
        told = True
        task.cancel()

    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop)
    try:
        await task
    except asyncio.CancelledError:
        if not told:
            raise


def simulate_command(
    which: LiveFleet,
    *,
    broker: str | None,
    credentials: Path | None,
    write_city_to: Path | None,
    days: int,
    history: bool,
    telemetry_s: float,
    minutes: float | None,
    prefix: str,
    ca_file: Path | None,
    as_json: bool,
) -> None:
    """What ``vpp simulate`` does: write the fleet's city, or connect the fleet, or both."""
    configure_logging()
    if write_city_to is None and broker is None:
        rule = "is needed (mqtt://host:port), or --write-city FOLDER for the tables that vpp serve --system wants"
        raise InputError([InputFault("command line", "--broker", None, rule)])
    if write_city_to is not None:
        names, grid = write_fleets_city(which, write_city_to, days)
        data = {"city": str(write_city_to), "aggregators": names, "start": grid.start, "end": grid.end}
        text = (
            f"{write_city_to}: 城市数据 city tables, {grid.start:%Y-%m-%d %H:%M} - {grid.end:%Y-%m-%d %H:%M} UTC\n"
            f"聚合商 its aggregators: {' '.join(names)}\n"
            f"下一步 next:\n  vpp aggregator add {' '.join(names)} --credentials credentials.json\n"
            f"  vpp serve --system {write_city_to}\n"
            f"  vpp simulate --resources {which.resources} --broker mqtt://127.0.0.1:1883 "
            "--credentials credentials.json"
        )
        if broker is None or not as_json:
            answer(data, as_json, text)
    if broker is None:
        return
    wire = Wire(broker, _passwords(credentials), prefix, ca_file)
    work = simulate_live(which, wire, history=history, telemetry_s=telemetry_s, minutes=minutes)
    asyncio.run(until_stopped(work))
    answer({"broker": broker, "resources": which.resources, "stopped": True}, as_json, "已停止 stopped")


def _passwords(file: Path | None) -> dict[str, str]:
    try:
        known = json.loads(file.read_text(encoding="utf-8")) if file is not None else None
    except (OSError, ValueError) as error:
        rule = f"must be a JSON object of passwords by aggregator: {error}"
        raise InputError([InputFault("command line", "--credentials", str(file), rule)]) from error
    if not isinstance(known, dict) or not all(isinstance(value, str) for value in known.values()):
        rule = "must be a JSON object of passwords by aggregator (vpp aggregator add … --credentials FILE)"
        raise InputError([InputFault("command line", "--credentials", None if file is None else str(file), rule)])
    return known
