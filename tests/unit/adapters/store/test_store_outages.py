"""The database goes away and comes back: what is said to be kept is kept, and nobody has to start anything anew."""

import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from adapters.store import Store
from adapters.store.connection import WAITS, Database
from models.errors import InputError, StoreError
from models.moments import microseconds
from models.telemetry import Reading
from tests.postgres import PostgresServer
from tests.unit.adapters.store.test_store_bulk import MANY, START, columns, ready


def tries(write: Callable[[], int], limit_s: float = 2.0) -> tuple[int, int]:
    """What it says once it works, and how often it did not."""
    failed, give_up_s = 0, time.monotonic() + limit_s
    while True:
        try:
            return write(), failed
        except StoreError:
            failed += 1
            assert time.monotonic() < give_up_s, "still not"
            time.sleep(0.05)


def kept(store: Store) -> list[int]:
    """The numbers of the readings that are in the database."""
    return [int(number) for number in store.readings(["r0"], START, START + timedelta(days=1))["sequence"]]


@pytest.mark.postgres
@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_postgresql_server_that_is_started_again_is_written_to_again_by_every_path(
    populated: Store, postgres_server: PostgresServer, mode: str
) -> None:
    store = populated
    ready(store, 0)
    writer = store._writer
    assert store.add_messages(columns(1_000), START, "sun", ["m1"]) == MANY
    with postgres_server.stopped(mode):
        for name in ("m2", "m3"):
            with pytest.raises(StoreError):
                store.add_messages(columns(2_000), START, "sun", [name])
            with pytest.raises(StoreError):
                store.add_messages(columns(3_000, 10), START, "sun", [name])
    assert tries(lambda: store.add_messages(columns(2_000), START, "sun", ["m2"])) == (MANY, 0)
    assert tries(lambda: store.add_messages(columns(3_000, 10), START, "sun", ["m3"])) == (10, 0)
    assert store._writer is writer, "the process lives on"
    assert kept(store) == [*range(MANY), *range(1_000, 1_000 + MANY), *range(2_000, 2_000 + MANY), *range(3_000, 3_010)]
    assert store.answers_for("sun", ["m1", "m2", "m3"]).keys() == {"m1", "m2", "m3"}


@pytest.mark.postgres
@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_sessions_that_a_restart_has_ended_cost_the_write_that_finds_out_and_no_other(
    populated: Store, postgres_server: PostgresServer
) -> None:
    store = populated
    ready(store, 0)
    with postgres_server.stopped("immediate"):
        pass  # nobody has noticed
    said, failed = tries(lambda: store.add_messages(columns(1_000), START, "sun", ["m1"]))
    assert (said, failed <= 1) == (MANY, True)
    assert kept(store) == [*range(MANY), *range(1_000, 1_000 + MANY)]


def test_a_server_that_says_nothing_is_given_up_in_seconds_unless_the_url_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("psycopg")
    assert Database("postgresql://vpp@db/vpp").url.query == WAITS
    assert Database("postgresql://vpp@db/vpp?connect_timeout=99").url.query == WAITS | {"connect_timeout": "99"}
    assert "connect_timeout=10" in Database("postgresql://vpp@db/vpp").driver_target
    monkeypatch.setitem(WAITS, "connect_timeout", "2")  # the least that there is
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with Store(f"postgresql://vpp@127.0.0.1:{silent.getsockname()[1]}/vpp") as store, pytest.raises(StoreError):
            store.ping()
        assert time.monotonic() - began < 10


def test_what_was_learnt_in_a_transaction_is_forgotten_if_its_commit_fails(populated: Store) -> None:
    store = populated
    (record,) = store.resources(limit=1)
    new = replace(record, resource=record.resource.model_copy(update={"resource_id": "new", "meter_id": "meter-new"}))

    def fail(_: object) -> None:
        raise OperationalError("COMMIT", {}, Exception("the disk is full"))

    event.listen(store._db.engine, "commit", fail)
    transaction = store.transaction()
    transaction.__enter__()
    store.upsert_resource(new)
    assert store.add_readings([Reading(resource_id="new", measured_at=START, power_kw=1.0)], START) == 1
    with pytest.raises(StoreError, match="full"):
        transaction.__exit__(None, None, None)
    event.remove(store._db.engine, "commit", fail)
    with pytest.raises(InputError, match="not registered"):
        store.add_readings([Reading(resource_id="new", measured_at=START, power_kw=1.0)], START)
    assert store.reading_count() == 0


# ---- SQLite's file


@contextmanager
def no_room(pid: int) -> Iterator[None]:
    """A process that may make no file longer than a page: every write ends in a disk I/O error."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_disk_that_fails_under_the_writing_process_loses_nothing_that_was_said_to_be_kept(populated: Store) -> None:
    store = populated
    ready(store, 0)
    writer = store._writer
    assert writer is not None
    with no_room(writer._process.pid):
        for first in (1_000, 1_100):
            with pytest.raises(StoreError, match=r"disk I/O|full"):
                store.add_messages(columns(first), START, "sun", [f"m{first}"])
    assert kept(store) == [*range(MANY)]
    assert store.answers_for("sun", ["m1000", "m1100"]) == {}
    assert store.add_messages(columns(1_000), START, "sun", ["m1000"]) == MANY
    assert store.add_messages(columns(1_100), START, "sun", ["m1100"]) == 100
    assert store._writer is writer
    assert kept(store) == [*range(MANY), *range(1_000, 1_100 + MANY)]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("comes_another", [False, True])
def test_a_file_that_was_removed_or_replaced_under_an_open_store_takes_nothing(
    populated: Store, comes_another: bool
) -> None:
    store = populated
    ready(store, 0)
    path = Path(store._db.driver_target)
    aside = path.with_name("aside.db")
    path.rename(aside)
    if comes_another:
        path.write_bytes(aside.read_bytes())
    for count in (10, MANY):
        with pytest.raises(StoreError, match="removed or replaced"):
            store.add_messages(columns(1_000, count), START, "sun", ["m1"])
    with pytest.raises(StoreError, match="removed or replaced"):
        store.ping()
    aside.replace(path)
    assert store.add_messages(columns(1_000), START, "sun", ["m1"]) == MANY
    assert kept(store) == [*range(MANY), *range(1_000, 1_000 + MANY)]


@pytest.mark.postgres
@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_readings_of_months_between_known_ones_find_their_partition(populated: Store) -> None:
    store = populated
    ready(store, 0)
    day = timedelta(days=1)

    def written(starts: list[datetime]) -> int:
        some = columns(0, 300)
        stamps = [microseconds(starts[k % len(starts)]) + k for k in range(300)]
        return store.add_messages(replace(some, measured_us=np.array(stamps)), START, "sun", [])

    assert written([START - 90 * day]) == 300
    assert written([START]) == 299, "one was there already"
    assert written([START - 90 * day, START - 60 * day, START - 30 * day, START]) == 150


@pytest.mark.postgres
@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_who_reads_for_long_holds_up_no_new_month_and_no_old_one_is_dropped_under_him(populated: Store) -> None:
    store = populated
    ready(store, 0)
    said = [Reading(resource_id="r1", measured_at=START + timedelta(days=40 * k), power_kw=1.0) for k in range(-6, 7)]
    with store._db.snapshot() as connection, ThreadPoolExecutor(2) as others:
        connection.exec_driver_sql("SELECT count(*) FROM readings").scalar_one()
        assert others.submit(store.add_readings, said, START).result(10) == len(said)
        bulk = replace(columns(0, 300), measured_us=columns(0, 300).measured_us + 365 * 86_400_000_000)
        assert others.submit(store.add_messages, bulk, START, "sun", []).result(10) == 300
        assert others.submit(store.forget_readings, START - timedelta(days=100)).result(10) == 4
        with pytest.raises(StoreError, match="lock timeout"):
            others.submit(store.drop_empty_partitions, START - timedelta(days=90)).result(10)
    assert store.drop_empty_partitions(START - timedelta(days=90)) == [
        "readings_202411", "readings_202412", "readings_202501", "readings_202502", "readings_202503",
    ]  # fmt: skip
    assert store.add_readings(said[:1], START) == 1, "and made again"


def test_who_is_at_work_when_the_store_is_closed_ends_it_and_leaves_no_connection_open(url: str) -> None:
    """The thread of a cancelled task goes on, and gives its connection back to a pool that nobody looks after."""
    store, begun, may_end = Store(url), threading.Event(), threading.Event()
    store.migrate()
    drivers: list[Any] = []

    def at_work() -> int:
        with store._db.reading() as connection:
            drivers.append(connection.connection.driver_connection)
            begun.set()
            may_end.wait(10)
            return int(connection.exec_driver_sql("SELECT 7").scalar_one())

    with ThreadPoolExecutor(2) as threads:
        work = threads.submit(at_work)
        assert begun.wait(10)
        closing = threads.submit(store.close)
        may_end.set()
        assert work.result(10) == 7
        closing.result(10)
    with pytest.raises(Exception, match="closed"):
        drivers[0].execute("SELECT 7")
