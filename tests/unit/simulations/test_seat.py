"""A service whose loop has ended of an error is told at once: a simulated day would wait for it for ever."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from models.errors import VppError
from simulations.seat import Seat


@asynccontextmanager
async def a_service(runtime: Any) -> AsyncIterator[Any]:
    async def connected(_: float) -> None:
        return None

    link = SimpleNamespace(run=lambda: asyncio.sleep(3600), wait_connected=connected)
    yield SimpleNamespace(link=link, runtime=runtime)


async def test_what_the_loop_has_ended_of_is_raised() -> None:
    async def fails() -> None:
        raise AttributeError("asked_kw")

    seat = Seat(lambda: a_service(SimpleNamespace(run=fails)))
    await seat.start()
    seat.look()
    seat.run()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(VppError, match=r"runtime has ended: AttributeError\('asked_kw'\)"):
        seat.look()
    await seat.stop()
    seat.look()
