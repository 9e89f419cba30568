"""The wall clock: a sleeper wakes when its moment comes, and soon after the clock was set back."""

import asyncio
import time
from datetime import timedelta

import pytest

import vpp.clock as clocks
from vpp.clock import SystemClock


class SetClock(SystemClock):
    """A machine's clock that somebody sets."""

    def __init__(self) -> None:
        self.off = timedelta(0)

    def now(self):  # type: ignore[no-untyped-def]
        return super().now() + self.off


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    monkeypatch.setattr(clocks, "PIECE_S", 0.02)
    return SetClock()


async def slept_s(clock: SetClock, span: timedelta, then: timedelta | None) -> float:
    """Real seconds of a sleep during which the clock is set."""
    began = time.monotonic()
    sleeper = asyncio.create_task(clock.sleep_until(clock.now() + span))
    await asyncio.sleep(0.05)
    clock.off += then or timedelta(0)
    async with asyncio.timeout(5):
        await sleeper
    return time.monotonic() - began


async def test_it_sleeps_until_its_moment(clock: SetClock) -> None:
    moment = clock.now() + timedelta(seconds=0.2)
    await slept_s(clock, timedelta(seconds=0.2), None)
    assert clock.now() >= moment


async def test_set_forward_it_wakes_at_once(clock: SetClock) -> None:
    assert await slept_s(clock, timedelta(hours=1), timedelta(hours=2)) < 2


async def test_set_back_it_wakes_to_think_again(clock: SetClock) -> None:
    assert await slept_s(clock, timedelta(minutes=5), timedelta(hours=-2)) < 2


async def test_a_clock_that_is_slewed_is_not_set(clock: SetClock) -> None:
    moment = clock.now() + timedelta(seconds=0.6)
    await slept_s(clock, timedelta(seconds=0.6), timedelta(seconds=-0.4))
    assert clock.now() >= moment
