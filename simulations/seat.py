"""The service's seat in a simulated day: it can be killed there, and started again from what its database knows."""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from adapters.mqtt.broker_mosquitto import MosquittoBroker
from models.errors import VppError
from vpp.service import Service


class Seat:
    """One service at a time, opened by ``open_service``; wires and loop are tasks of their own."""

    def __init__(self, open_service: Callable[[], AbstractAsyncContextManager[Service]]) -> None:
        self._open = open_service
        self._opened = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []
        self._service: Service | None = None

    @property
    def service(self) -> Service:
        """The service that runs; ``VppError`` while there is none."""
        if self._service is None:
            raise VppError("the service is down")
        return self._service

    @property
    def is_up(self) -> bool:
        """True between a start and the next stop."""
        return self._service is not None

    async def start(self) -> Service:
        """Open the service and connect it to its broker; its loop does not run yet."""
        self._service = await self._opened.enter_async_context(self._open())
        self._spawn(self._service.link.run(), "mqtt link")
        await self._service.link.wait_connected(30.0)
        return self._service

    def run(self) -> None:
        """Let its loop run."""
        self._spawn(self.service.runtime.run(), "runtime")

    def look(self) -> None:
        """Raise what its wires or its loop have ended of, if they have: nobody would ever hear of it."""
        for task in self._tasks:
            error = task.exception() if task.done() and not task.cancelled() else None
            if error is not None:
                raise VppError(f"the service's {task.get_name()} has ended: {error!r}") from error

    async def stop(self) -> None:
        """Nothing more is done; what is in memory is gone."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        self._service = None
        await self._opened.aclose()
        self._opened = AsyncExitStack()

    def kill_broker(self) -> bool:
        """End the broker without a word (SIGKILL); its keeper starts another.  False if it is inside the process."""
        broker = self.service.broker
        if not isinstance(broker, MosquittoBroker) or broker.pid is None:
            return False
        os.kill(broker.pid, signal.SIGKILL)
        return True

    def _spawn(self, work: object, name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))  # type: ignore[arg-type]
