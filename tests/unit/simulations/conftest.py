import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from simulations.devices.bank import DeviceBank
from simulations.scenarios import Scenario, load_scenario
from simulations.scenarios.generator import GeneratedFleet, generate_fleet

sys.path.insert(0, str(Path(__file__).parent))  # for platform_standin, which is no test


@pytest.fixture(scope="session")
def scenario() -> Scenario:
    return load_scenario("chengdu-2025-07-16")


@pytest.fixture(scope="session")
def standing_fleet(scenario: Scenario) -> GeneratedFleet:
    """300 devices at the midnight before the event day; take copies of its bank, never step it."""
    fleet = generate_fleet(scenario, start=scenario.midnight(scenario.earlier_days[-2]))
    fleet.bank.advance(scenario.midnight(scenario.day), 300.0)
    return fleet


@pytest.fixture
def bank(standing_fleet: GeneratedFleet) -> Iterator[DeviceBank]:
    yield standing_fleet.bank.copy()


@pytest.fixture
def ids_of(standing_fleet: GeneratedFleet) -> Callable[[str], list[str]]:
    """Ids of a class."""
    bank = standing_fleet.bank
    return lambda name: [each for each in bank.resource_ids if bank.class_of(each) == name]
