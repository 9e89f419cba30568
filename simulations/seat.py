"""The service's seat in a simulated day: it can be killed there, and started again from what its database knows."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from pathlib import Path

from sqlalchemy import make_url

from adapters.mqtt.broker_mosquitto import MosquittoBroker
from adapters.mqtt.link import AnsweringLink
from models.errors import VppError
from simulations.frozen_store import FrozenStore
from vpp.service import Service
from vpp.solver_pool import SolverPool


class Seat:
    """One service at a time, opened by ``open_service``; wires and loop are tasks of their own.

    ``solvers``: workers that the service uses and others of its kind before and after it; a kill ends them too.
    """

    def __init__(
        self,
        open_service: Callable[[], AbstractAsyncContextManager[Service]],
        solvers: Sequence[SolverPool] = (),
    ) -> None:
        self._open, self._solvers = open_service, solvers
        self._opened = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []
        self._service: Service | None = None
        self._threads: ThreadPoolExecutor | None = None

    @property
    def service(self) -> Service:
        """The service that runs; ``VppError`` while there is none."""
        if self._service is None:
            raise VppError("the service is down")
        return self._service

    @property
    def is_up(self) -> bool:
        """True between a start and the next stop or kill."""
        return self._service is not None

    async def start(self) -> Service:
        """Open the service and connect it to its broker; its loop does not run yet."""
        if self._threads is None:
            self._use_new_threads()
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
        """End it in an orderly way, as at the end of a day."""
        self._service = None
        await self._end_tasks()
        await self._opened.aclose()
        self._opened = AsyncExitStack()

    async def kill(self) -> None:
        """End it as SIGKILL ends a process, as nearly as that can be had inside of one.

        Before anything of it runs again, its database is frozen as it was committed and its connection is cut: no word
        leaves any more, and whatever is still written goes into files that are thrown away.  Its writing process gets
        SIGKILL, the solvers' workers end with their pipes, and the broker, its child, gets what the kernel would send
        it (SIGTERM).  Then its tasks are cancelled and its threads waited for: their handlers and last steps run, which
        SIGKILL would not let them, and can reach nobody.

        Not covered: what a power cut loses that was committed; SQLite's recovery from a log that was cut off in the
        middle; an instant between two steps of Python code that no await and no thread divides; and a broker that is
        killed in the same moment (``kill_broker`` does that by itself).  ``vpp bench restart`` kills a real process.
        """
        service, self._service = self.service, None
        service.store.end_writer()
        database = make_url(service.settings.store_url)
        frozen = FrozenStore(Path(str(database.database))) if database.get_backend_name() == "sqlite" else None
        _cut(service.link)
        threads = self._threads
        self._use_new_threads()
        await self._end_tasks()
        await self._opened.aclose()
        self._opened = AsyncExitStack()
        for pool in self._solvers:
            await pool.close()
        if threads is not None:
            await asyncio.to_thread(threads.shutdown)
        if frozen is not None:
            frozen.put_back()

    async def _end_tasks(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _use_new_threads(self) -> None:
        """What is handed to threads from now on is done by others than those of the life before."""
        self._threads = ThreadPoolExecutor(thread_name_prefix="seat")
        asyncio.get_running_loop().set_default_executor(self._threads)

    def kill_broker(self) -> bool:
        """End the broker without a word (SIGKILL); its keeper starts another.  False if it is inside the process."""
        broker = self.service.broker
        if not isinstance(broker, MosquittoBroker) or broker.pid is None:
            return False
        os.kill(broker.pid, signal.SIGKILL)
        return True

    def _spawn(self, work: object, name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))  # type: ignore[arg-type]


def _cut(link: AnsweringLink) -> None:
    """Close the link's connection as the kernel would: without a word of MQTT."""
    client = link._client  # noqa: SLF001 - nobody would offer this to others
    wire = None if client is None else client._client.socket()  # noqa: SLF001
    if isinstance(wire, socket.socket):
        with suppress(OSError):
            wire.shutdown(socket.SHUT_RDWR)
