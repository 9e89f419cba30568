"""The database is locked, full, failing or away while an event runs: nothing is receipted that is not kept, and the
service goes on by itself.
"""

import asyncio
import json
import logging
import resource
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta

import pytest
from sqlalchemy import event

from adapters.store.readings import MANY_ROWS
from models.errors import StoreError
from models.records import RegisteredResourceRecord
from simulations.wire import codec
from tests.flow.conftest import MakeWorld, World, really
from tests.flow.small_city import CYCLE, MINUTE, START
from tests.flow.test_ladder_under_faults import ORDER_KW, STOPPED, TOP, mean_kw, step
from tests.flow.test_ladder_under_faults import at_work as event_at_work
from tests.postgres import PostgresServer

Name = tuple[str, datetime]
"""A reading: whose, and when it was measured."""
MANY, FEW = 100, 10
"""Readings of each device in a message that goes through the process that writes in bulk, and in one that does not."""


async def at_work(make_world: MakeWorld) -> World:
    """As in the ladder's tests, with the process that writes in bulk, and gateways that write down what they say."""
    world = await event_at_work(make_world)
    store = world.service.store
    store._writer_for(MANY_ROWS)
    await really(lambda: store._writer is not None and store._writer.is_ready)
    for each in world.aggregators.values():
        each.gateway.keep_record()
    world.cut.update(world.aggregators)  # from now on nothing may be answered: time must not wait for it
    return world


def say_more(world: World, aggregator: str, each: int) -> set[Name]:
    """One more message, with so many readings of each device, of the day before: they change nobody's present state."""
    ours = world.aggregators[aggregator]
    stamps = [START - timedelta(days=1, seconds=7 * k) for k in range(each)]
    ours.gateway.publish_readings([codec.reading(name, at, 0.0, 0) for at in stamps for name in ours.devices])
    return {(name, at) for at in stamps for name in ours.devices}


def _named(text: str) -> Name:
    fields = json.loads(text)
    return fields["resource_id"], datetime.fromisoformat(fields["measured_at"])


def said(world: World) -> set[Name]:
    """All that gateways have put on their way since they write it down."""
    records = [each.gateway.record for each in world.aggregators.values()]
    return {_named(text) for record in records if record is not None for _, texts in record.said for text in texts}


def receipted(world: World) -> set[Name]:
    """That part of it of whose message the platform has said that it has it."""
    waiting = [message for each in world.aggregators.values() for message in each.gateway._outbox._waiting.values()]
    open_ = [json.loads(message.payload)["readings"] for message in waiting if message.topic.endswith("/telemetry")]
    return said(world) - {_named(json.dumps(reading)) for readings in open_ for reading in readings}


def kept(world: World) -> set[Name]:
    """What is in the database."""
    frame = world.service.store.readings(None, START - timedelta(days=2), START + timedelta(days=1))
    return set(zip(frame["resource_id"], (stamp.to_pydatetime() for stamp in frame["measured_at"]), strict=True))


async def recovered(world: World, readings: int) -> None:
    """Everything that was said meanwhile has come in, once, and the next cycles are as ever."""
    async with asyncio.timeout(20):
        for each in world.aggregators.values():
            await each.gateway.settled()
    world.cut.clear()
    assert receipted(world) == said(world)
    assert said(world) <= kept(world)
    assert world.service.store.reading_count() == readings
    await world.until(STOPPED + 3 * CYCLE)
    assert await step(world) in TOP
    assert mean_kw(world, 3, 5) == pytest.approx(ORDER_KW, rel=0.1)
    for name, each in world.aggregators.items():  # what nobody answered comes again, is done once
        assert each.gateway.state.counts["out_of_order"] == 0
        ours = [row for row in world.service.store.setpoints_since(START) if row.resource_id in each.devices]
        assert len(each.heard) == len(ours), f"{name}: every command that left is in the database, once"
    assert world.service.ready()["store"] is None
    assert world.service.store.verify_audit()


# ---- SQLite: another holds it, the disk is full


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer waits a fifth of a second for another one, not half a minute."""
    for module in ("bulk", "connection"):
        monkeypatch.setattr(f"adapters.store.{module}.BUSY_S", 0.2)


async def test_a_database_that_is_locked_for_a_minute_delays_a_cycle_and_loses_nothing(
    impatient: None, make_world: MakeWorld
) -> None:
    world = await at_work(make_world)
    before = world.service.store.reading_count()
    sequence = dict(world.service.runtime.delivery.last_sequence)
    other = sqlite3.connect(world.service.store._db.driver_target, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    await world.until(STOPPED + MINUTE)
    assert world.metric("vpp_step_failures_total", step="cycle") >= 2  # tried again every quarter of a minute
    assert world.service.runtime.delivery.last_sequence == sequence
    assert len(said(world)) == len(world.devices)
    assert receipted(world) == set()
    other.execute("ROLLBACK")
    other.close()
    await world.until(STOPPED + 2 * MINUTE)
    assert all(world.service.runtime.delivery.last_sequence[name] > sequence[name] for name in sequence)
    await recovered(world, before + len(world.devices))


@contextmanager
def full_disk(world: World) -> Iterator[None]:
    """SQLite may not grow by a page: what needs one is refused with SQLITE_FULL.  The process that writes in bulk may
    make no file longer than a page: a disk I/O error.
    """
    store = world.service.store
    assert store._writer is not None
    pid = store._writer._process.pid

    def no_more(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute("PRAGMA max_page_count = 1")  # the least is what there is

    def room(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute("PRAGMA max_page_count = 1073741823")

    event.listen(store._db.engine, "checkout", no_more)
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        event.remove(store._db.engine, "checkout", no_more)
        event.listen(store._db.engine, "checkout", room)


def fill_up(world: World) -> None:
    """Whatever pages are free are used."""
    text = "x" * 3_000
    with pytest.raises(StoreError, match="full"):  # noqa: PT012
        for _ in range(1_000):
            world.service.store.append_audit(world.clock.now(), "test", "test", "test", {"text": text})


async def test_a_full_disk_takes_nothing_that_it_receipts_and_all_comes_in_once_there_is_room(
    make_world: MakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    world = await at_work(make_world)
    before = world.service.store.reading_count()
    writer = world.service.store._writer
    with full_disk(world):
        await world.until(STOPPED - timedelta(seconds=30))
        fill_up(world)
        in_bulk, by_itself = say_more(world, "alpha", MANY), say_more(world, "beta", 2 * MANY // 3)
        assert len(by_itself) < MANY_ROWS <= len(in_bulk)

        def refused(topic: str, why: str) -> bool:
            return any(topic in said and why in said for said in caplog.messages)

        await really(lambda: refused("alpha/up/telemetry", "disk I/O error"))
        await really(lambda: refused("beta/up/telemetry", "is full"))
        await world.until(STOPPED + MINUTE)
        promised = receipted(world)
        assert not promised & (in_bulk | by_itself)
        assert promised <= kept(world)
        assert not kept(world) & (in_bulk | by_itself)
    await world.until(STOPPED + 2 * MINUTE)
    await recovered(world, before + len(world.devices) + len(in_bulk) + len(by_itself))
    assert world.service.store._writer is writer


# ---- PostgreSQL: the server is stopped


@asynccontextmanager
async def away(server: PostgresServer) -> AsyncIterator[None]:
    """Not there inside, while the service runs."""
    await asyncio.to_thread(server.stop, "immediate")
    try:
        yield
    finally:
        await asyncio.to_thread(server.start)


@pytest.mark.postgres
@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
async def test_the_postgresql_server_is_stopped_for_a_minute_and_the_service_goes_on_by_itself(
    make_world: MakeWorld, postgres_server: PostgresServer, store_url: str
) -> None:
    """The first cycle is cut off in the middle of its transaction, the others find nobody."""
    import psycopg  # noqa: PLC0415 - an extra

    world = await at_work(make_world)
    store, delivery = world.service.store, world.service.runtime.delivery
    before, writer, sequence = store.reading_count(), store._writer, dict(delivery.last_sequence)
    other = psycopg.connect(store_url)
    other.execute("LOCK TABLE setpoint_batches IN ACCESS EXCLUSIVE MODE")
    passing = asyncio.create_task(world.until(STOPPED + MINUTE))
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with psycopg.connect(postgres_server.url + "/postgres", autocommit=True) as eye:
        await really(lambda: eye.execute(waits).fetchone() == (1,))
    seen = receipted(world)
    async with away(postgres_server):
        other.close()
        await passing
        in_bulk, by_itself = say_more(world, "alpha", MANY), say_more(world, "beta", FEW)
        failures = world.service.link.counters.handler_failures
        await really(lambda: world.service.link.counters.handler_failures >= failures + 4)
        assert world.metric("vpp_step_failures_total", step="cycle") >= 2
        assert delivery.last_sequence == sequence
        assert not (receipted(world) - seen) & (in_bulk | by_itself)
        assert world.service.ready()["store"] == "the database does not answer"
        assert not world._running.done()
    await world.until(STOPPED + 2 * MINUTE)
    assert all(delivery.last_sequence[name] > sequence[name] for name in sequence)
    await recovered(world, before + len(world.devices) + len(in_bulk) + len(by_itself))
    assert store._writer is writer


async def test_what_a_registration_brought_is_known_also_if_the_word_of_its_commit_was_lost(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that dies in mid-commit may have done it: the message is answered when it comes again."""
    world = await make_world(until=None)
    store, alpha = world.service.store, world.aggregators["alpha"]
    lost: list[RegisteredResourceRecord | None] = []
    plain = store.transaction

    @contextmanager
    def transaction() -> Iterator[None]:
        with plain():
            yield
        if not lost:
            lost.append(store.get_resource("a9"))
            raise StoreError("server closed the connection unexpectedly")

    monkeypatch.setattr(store, "transaction", transaction)
    fields = alpha.devices["a0"].fields | {"resource_id": "a9", "meter_id": "meter-a9"}
    answers = await alpha.gateway.register([fields, {"action": "withdraw", "resource_id": "a3"}])
    assert lost != [None], "it was kept, and nobody heard so"
    assert answers["a9"].accepted
    assert answers["a3"].accepted
    assert world.service.state.get("a9") is not None
    assert world.service.state.get("a3") is None
