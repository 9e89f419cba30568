"""A service in its seat: whose loop ends of an error is told at once, and who is killed has no last word."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adapters.store import Store
from models.errors import VppError
from simulations.frozen_store import FrozenStore
from simulations.seat import Seat

START = datetime(2025, 7, 16, tzinfo=UTC)


async def for_ever() -> None:
    await asyncio.Event().wait()


@asynccontextmanager
async def a_service(runtime: Any, store: Store | None = None, link: Any = None) -> AsyncIterator[Any]:
    async def connected(_: float) -> None:
        return None

    wire = SimpleNamespace(run=for_ever, wait_connected=connected, _client=link)  # aiomqtt's client holds paho's
    settings = None if store is None else SimpleNamespace(store_url=store._db.url.render_as_string())
    try:
        yield SimpleNamespace(link=wire, runtime=runtime, store=store, settings=settings)
    finally:
        if store is not None:
            store.close()


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


class Talkative:
    """A service that keeps a line at once, has another under way in a thread, and would like to say goodbye."""

    def __init__(self, store: Store, wire: socket.socket) -> None:
        self.store, self.wire = store, wire
        self.is_committing, self.last_words = asyncio.Event(), 0

    async def run(self) -> None:
        self.store.append_audit(START, "service", "first", "line")
        loop = asyncio.get_running_loop()

        def commit() -> None:
            with self.store.transaction():
                self.store.append_audit(START, "service", "under way", "line")
                loop.call_soon_threadsafe(self.is_committing.set)
                time.sleep(0.3)
            with suppress(VppError):
                self.store.append_audit(START, "service", "afterwards", "line")

        try:
            await asyncio.to_thread(commit)
        finally:
            self.last_words += 1
            with suppress(OSError):
                self.wire.send(b"goodbye")
            with suppress(VppError):
                self.store.append_audit(START, "service", "goodbye", "line")


def lines(folder: Path) -> list[str]:
    with Store(f"sqlite:///{folder / 'vpp.db'}") as store:
        store.migrate()
        return [entry.action for entry in store.audit_log()]


def files(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir()]


async def test_who_is_killed_leaves_what_was_committed_and_not_a_word_more(tmp_path: Path) -> None:
    lines(tmp_path)
    ours, theirs = socket.socketpair()
    link = SimpleNamespace(_client=SimpleNamespace(socket=lambda: ours))
    lives = []

    def open_service() -> Any:
        store = Store(f"sqlite:///{tmp_path / 'vpp.db'}")
        lives.append(Talkative(store, ours))
        return a_service(lives[-1], store, link)

    closed = []

    async def close() -> None:
        closed.append(True)

    pool = SimpleNamespace(close=close)
    seat = Seat(open_service, [pool])  # type: ignore[list-item]
    await seat.start()
    seat.run()
    await lives[0].is_committing.wait()
    await seat.kill()
    assert not seat.is_up
    assert lives[0].last_words == 1, "its handlers ran, and reached nobody"
    assert theirs.recv(100) == b"", "the connection is closed, and nothing was said"
    assert closed == [True]
    assert lines(tmp_path) == ["first"]
    assert files(tmp_path) == ["vpp.db"]
    await seat.start()
    seat.run()
    await lives[1].is_committing.wait()
    await seat.stop()
    assert lines(tmp_path)[:3] == ["first", "first", "under way"], "an orderly end loses nothing"
    ours.close()
    theirs.close()


def ready(store: Store) -> None:
    """Ask for the process until it is there."""
    give_up_s = time.monotonic() + 60
    while store._writer_for(10_000) is None:
        assert time.monotonic() < give_up_s
        time.sleep(0.05)


async def test_the_process_that_writes_readings_is_killed_with_its_service(tmp_path: Path) -> None:
    lines(tmp_path)
    store = Store(f"sqlite:///{tmp_path / 'vpp.db'}")
    seat = Seat(lambda: a_service(SimpleNamespace(run=for_ever), store))
    await seat.start()
    ready(store)
    assert store._writer is not None
    pid = store._writer._process.pid
    os.kill(pid, 0)
    await seat.kill()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_frozen_database_forgets_what_was_written_to_it_since(tmp_path: Path) -> None:
    with Store(f"sqlite:///{tmp_path / 'vpp.db'}") as store:
        store.migrate()
        store.append_audit(START, "service", "before", "line")
        frozen = FrozenStore(tmp_path / "vpp.db")
        store.append_audit(START, "service", "after", "line")
    assert lines(tmp_path) == ["before", "after"]
    frozen.put_back()
    assert lines(tmp_path) == ["before"]
