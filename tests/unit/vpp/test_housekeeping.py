"""While the broker is away, and until the gateways are back with it, no notice is told."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from adapters.mqtt.link import AnsweringLink
from tests.live import T0
from vpp import housekeeping
from vpp.metrics import Metrics
from vpp.runtime import Runtime


class Fakes:
    """A link and a runtime of which only what housekeeping looks at is there."""

    def __init__(self) -> None:
        self.link = SimpleNamespace(connected=False, counters=SimpleNamespace(connections=0))
        self.outbox = SimpleNamespace(is_held=False, waiting_for=lambda: frozenset(self.waiting))
        self.waiting: set[str] = set()
        self.said: dict[str, float] = {}
        self.sent: list[bool] = []
        self.runtime = SimpleNamespace(
            clock=SimpleNamespace(now=lambda: T0),
            delivery=SimpleNamespace(waiting_for=set),
            events=SimpleNamespace(outbox=self.outbox),
            metrics=Metrics(),
            send_again=self.send_again,
            state=SimpleNamespace(said_online_s=self.said),
        )

    async def send_again(self) -> None:
        self.sent.append(self.outbox.is_held)

    def connect(self) -> None:
        self.link.connected = True
        self.link.counters.connections += 1

    async def until(self, test: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not test():  # noqa: ASYNC110
                await asyncio.sleep(0.001)


@pytest.fixture
async def house(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(housekeeping, "LOOK_EVERY_S", 0.01)
    made = Fakes()
    keeping = asyncio.create_task(
        housekeeping.keep_house(cast("Runtime", made.runtime), cast("AnsweringLink", made.link))
    )
    await asyncio.sleep(0)  # it begins
    yield made
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


async def test_notices_wait_until_the_gateways_that_they_are_for_are_back(house: Fakes) -> None:
    house.connect()
    await asyncio.sleep(0.05)
    assert not house.outbox.is_held
    assert house.sent == []
    house.link.connected = False
    await house.until(lambda: house.outbox.is_held)
    house.waiting.add("sun")
    house.connect()
    await asyncio.sleep(0.1)
    assert house.outbox.is_held
    assert house.sent == []
    house.said["sun"] = asyncio.get_running_loop().time() + 3600
    await house.until(lambda: house.sent == [False])
    assert not house.outbox.is_held


async def test_a_broker_that_is_lost_before_anybody_has_looked_holds_notices_all_the_same(house: Fakes) -> None:
    house.link.counters.connections = 1
    await house.until(lambda: house.outbox.is_held)
    house.connect()
    await house.until(lambda: house.sent == [False])


async def test_what_waits_at_the_start_is_told_when_the_broker_is_there(house: Fakes) -> None:
    house.waiting.add("sun")
    await house.until(lambda: house.outbox.is_held)
    house.said["sun"] = asyncio.get_running_loop().time() + 3600
    house.connect()
    await house.until(lambda: house.sent == [False])
