"""A simulated fleet in real time: what ``vpp simulate`` connects to a service that runs elsewhere."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta

import structlog

from models.errors import InputError, InputFault
from simulations.clock import SystemClock
from simulations.demo import SCENARIO
from simulations.fleet import SimulatedFleet
from simulations.scenarios import Scenario, load_scenario
from simulations.scenarios.generator import generate_fleet

log = structlog.get_logger(__name__)


async def simulate_live(
    broker: str, passwords: Mapping[str, str], resources: int, portfolio: str, minutes: float | None
) -> None:
    """Connect the scenario's aggregators to ``broker`` and live on the machine's clock, as if its day were today."""
    clock = SystemClock()
    file = load_scenario(SCENARIO).file
    today = clock.now().astimezone(load_scenario(SCENARIO).zone).date()
    scenario = Scenario(file.model_copy(update={"day": today}))
    generated = generate_fleet(scenario, portfolio, resources)
    missing = sorted(set(generated.registrations) - set(passwords))
    if missing:
        rule = "must have a password for each aggregator (vpp aggregator add NAME)"
        raise InputError([InputFault("credentials", "aggregator_id", ", ".join(missing), rule)])
    fleet = SimulatedFleet(generated, clock)
    fleet.warm_up(clock.now() - timedelta(minutes=1))
    answers = await fleet.start(broker, passwords)
    refused = sum(not answer.accepted for each in answers.values() for answer in each.values())
    log.info("fleet connected", resources=len(generated.bank), refused=refused)
    try:
        async with asyncio.timeout(None if minutes is None else 60 * minutes):
            await fleet.run()
    except TimeoutError:
        log.info("time is up")
    finally:
        await fleet.stop()
