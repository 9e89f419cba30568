import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from simulations.clock import ClockError, ScaledClock, SystemClock, VirtualClock

START = datetime(2025, 7, 15, 16, tzinfo=UTC)


def after(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


async def test_sleepers_wake_in_the_order_of_their_instants_and_see_exactly_that_time() -> None:
    clock = VirtualClock(START)
    seen: list[tuple[str, datetime]] = []

    async def sleeper(name: str, minutes: list[int]) -> None:
        for each in minutes:
            await clock.sleep_until(after(each))
            seen.append((name, clock.now()))

    tasks = [asyncio.create_task(sleeper("a", [5, 10])), asyncio.create_task(sleeper("b", [3, 5, 20]))]
    await asyncio.sleep(0)
    await clock.advance_to(after(12))
    assert seen == [("b", after(3)), ("a", after(5)), ("b", after(5)), ("a", after(10))]
    assert clock.now() == after(12)
    assert clock.next_moment == after(20)
    for task in tasks:
        task.cancel()


async def test_time_stands_still_while_a_woken_task_works_in_real_time() -> None:
    clock = VirtualClock(START)
    seen: list[datetime] = []

    async def worker() -> None:
        await clock.sleep_until(after(1))
        await asyncio.sleep(0.02)
        seen.append(clock.now())
        await asyncio.to_thread(lambda: None)
        seen.append(clock.now())

    task = asyncio.create_task(worker())
    await asyncio.sleep(0)
    await clock.advance_to(after(60))
    assert seen == [after(1), after(1)]
    assert task.done()


async def test_time_stands_still_while_anybody_is_busy_or_a_barrier_waits() -> None:
    clock = VirtualClock(START)
    seen: list[datetime] = []
    inbox: asyncio.Queue[str] = asyncio.Queue()

    async def platform() -> None:
        while True:
            await inbox.get()
            with clock.busy():
                await asyncio.sleep(0.01)
                seen.append(clock.now())
            inbox.task_done()

    async def device() -> None:
        for minute in (1, 2):
            await clock.sleep_until(after(minute))
            inbox.put_nowait("reading")

    async def nothing_under_way() -> None:
        await inbox.join()

    clock.add_barrier(nothing_under_way)
    tasks = [asyncio.create_task(platform()), asyncio.create_task(device())]
    await asyncio.sleep(0)
    await clock.advance_to(after(10))
    assert seen == [after(1), after(2)]
    for task in tasks:
        task.cancel()


async def test_a_task_that_neither_sleeps_nor_ends_is_named() -> None:
    clock = VirtualClock(START, patience_s=0.05)

    async def stray() -> None:
        await clock.sleep_until(after(1))
        await asyncio.Event().wait()

    task = asyncio.create_task(stray(), name="the stray")
    await asyncio.sleep(0)
    with pytest.raises(ClockError, match="the stray"):
        await clock.advance_to(after(2))
    task.cancel()


async def test_a_task_that_stands_aside_does_not_hold_time_up() -> None:
    clock = VirtualClock(START, patience_s=0.5)

    async def leaver() -> None:
        await clock.sleep_until(after(1))
        clock.stand_aside()
        await asyncio.Event().wait()

    task = asyncio.create_task(leaver())
    await asyncio.sleep(0)
    await clock.advance_to(after(2))
    assert clock.now() == after(2)
    task.cancel()


async def test_a_cancelled_sleeper_is_forgotten_and_the_past_is_over() -> None:
    clock = VirtualClock(START)
    task = asyncio.create_task(clock.sleep_until(after(5)))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert clock.next_moment is None
    await clock.sleep_until(START)
    await clock.advance_to(after(1))
    with pytest.raises(ValueError, match="must not be before"):
        await clock.advance_to(START)


async def test_the_scaled_clock_runs_faster_by_its_speed() -> None:
    clock = ScaledClock(START, 3600.0)
    await clock.sleep_until(after(2))
    assert after(2) <= clock.now() < after(60)
    with pytest.raises(ValueError, match="positive"):
        ScaledClock(START, 0)


async def test_the_system_clock_is_aware_and_wakes_on_time() -> None:
    clock = SystemClock()
    wanted = clock.now() + timedelta(milliseconds=20)
    await clock.sleep_until(wanted)
    assert clock.now() >= wanted
    assert clock.now().utcoffset() == timedelta(0)
