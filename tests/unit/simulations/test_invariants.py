"""Everybody who knows something of a day is asked: what each of them finds is among what was broken."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.intervals import FloatArray, IntervalGrid
from models.records import LevelStep
from models.resources import ThermalLoad
from models.settlement.performance import Metered
from simulations.day_result import Truth
from simulations.day_setup import DaySetup
from simulations.demo import demo_setup
from simulations.far_side import Watch
from simulations.invariants import broken_on_day, registered
from simulations.wire.codec import ReceivedSetpoints
from simulations.wire.record import GatewayRecord, Told
from vpp.measurement import MeasuredDay

BATTERY, LEVEL_KWH = "grid-storage-00001", 0.0


@pytest.fixture(scope="module")
def setup() -> DaySetup:
    return demo_setup(90, seed=1)


class World:
    """A quiet day of a small fleet, in which somebody may plant what must not be."""

    def __init__(self, setup: DaySetup, monkeypatch: pytest.MonkeyPatch) -> None:
        self.setup = setup
        midnight = setup.generated.scenario.midnight(setup.market_day)
        self.grid = IntervalGrid.regular(midnight, timedelta(minutes=5), 30 * 12)
        self.noon = midnight + timedelta(hours=12)
        self.ids = setup.generated.bank.resource_ids
        self.baseline_kw, self.with_kw = (np.zeros((len(self.ids), len(self.grid))) for _ in range(2))
        self.record, self.levels = GatewayRecord(), list[LevelStep]()
        self.watch = Watch({}, midnight - timedelta(hours=6))
        self.watch.records = {"all": self.record}
        monkeypatch.setattr(Watch, "broken", lambda *_: ("of the far side",))

    def tell(self, name: str, power_kw: float) -> None:
        window = self.noon, self.noon + timedelta(hours=1)
        self.record.came.append((self.noon, ReceivedSetpoints("c", 1, "hash", *window, ((name, power_kw),))))
        self.record.told.append(Told(self.noon, name, "c", 1, *window, power_kw))

    def broken(self) -> list[str]:
        said = {"measured_at": self.noon, "received_at": self.noon, "energy_kwh": LEVEL_KWH, "power_kw": 0.0}
        store = SimpleNamespace(
            readings=lambda names, *_: pd.DataFrame([{"resource_id": name, **said} for name in names]),
            commands=lambda **_: [(1, SimpleNamespace(command_id="c", sent_at=self.noon))],
            levels=lambda day: self.levels if day == self.setup.market_day else [],
        )
        nothing: FloatArray = np.zeros_like(self.with_kw)
        metered: Any = Metered.__new__(Metered)
        day = MeasuredDay(self.grid, self.ids, self.baseline_kw, metered)
        service: Any = SimpleNamespace(store=store)
        found = broken_on_day(self.watch, self.setup, service, day, Truth(self.with_kw, nothing))
        assert found["wire"]["broker_kills"] == 0
        first, *others = found["broken"]
        assert first == "of the far side"
        return list(others)


@pytest.fixture
def world(setup: DaySetup, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(setup, monkeypatch)


def test_of_a_quiet_day_nothing_is_said(world: World) -> None:
    world.tell(BATTERY, 0.0)
    assert world.broken() == []


def test_an_order_beyond_a_limit_is_among_what_was_broken(world: World) -> None:
    world.tell(BATTERY, 1e4)
    (found,) = [each for each in world.broken() if each.startswith("limits: ")]
    assert f"{BATTERY} at 04:00:00 told 10000.000 kW" in found


def test_an_order_to_an_empty_battery_is_among_what_was_broken(world: World) -> None:
    world.tell(BATTERY, -10.0)
    (found,) = world.broken()
    assert found.startswith(f"levels: {BATTERY} at 04:00:00 told -10.0 kW")


def test_a_zone_over_its_limit_is_among_what_was_broken_unless_its_device_was_left_alone(world: World) -> None:
    zone = registered(world.setup.generated)[BATTERY].zone_id
    at_noon = np.array([world.noon <= start < world.noon + timedelta(hours=1) for start in world.grid.starts])
    world.with_kw[world.ids.index(BATTERY), at_noon] = 1e4
    assert world.broken() == []
    world.tell(BATTERY, 10.0)
    (found,) = world.broken()
    assert found.startswith(f"zones: {zone} at 04:")


def test_an_order_made_before_the_level_of_the_day_moved_is_held_against_what_it_was(world: World) -> None:
    resources = registered(world.setup.generated)
    name = next(each for each in world.ids if isinstance(resources[each], ThermalLoad))
    building = resources[name]
    assert isinstance(building, ThermalLoad)
    b_kw = 2 * building.decrease_limit_kw
    world.baseline_kw[world.ids.index(name)] = b_kw
    world.tell(name, 0.95 * b_kw - building.decrease_limit_kw)
    assert len(world.broken()) == 1
    world.levels = [LevelStep(world.noon, 1.0 / 0.95, 1.0)]
    assert world.broken() == []
