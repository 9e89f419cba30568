"""Readings in bulk: the process that only writes, and what it leaves behind on either database."""

import sqlite3
import struct
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from adapters.store import Store, schema
from adapters.store.bulk import READING_COLUMNS, copy_bytes, insert_readings_sqlite
from adapters.store.writer import WriterError, WriterProcess
from models.errors import StoreError
from models.moments import microseconds
from models.reading_columns import ReadingColumns
from models.telemetry import ChargingSession, Reading

START = datetime(2025, 7, 16, tzinfo=UTC)
MANY = 600


def columns(first: int = 0, count: int = MANY) -> ReadingColumns:
    steps = np.arange(first, first + count)
    return ReadingColumns(
        resource_ids=["r0"] * count,
        measured_us=microseconds(START) + steps * 1_000_000,
        power_kw=-steps / 8,
        energy_kwh=np.where(steps % 2 == 0, np.nan, steps / 4),
        temperature_celsius=np.full(count, np.nan),
        available=steps % 3 != 0,
        sequence=steps.astype(np.int64),
    )


def ready(store: Store, first: int) -> None:
    """Send until the process is there."""
    give_up_s = time.monotonic() + 60
    while store._writer is None or not store._writer.is_ready:
        store.add_messages(columns(first), START, "sun", [])
        assert time.monotonic() < give_up_s
        time.sleep(0.05)


def test_the_order_of_the_columns_is_the_tables() -> None:
    assert tuple(column.name for column in schema.readings.c) == READING_COLUMNS


def test_what_the_process_writes_is_what_the_service_would_have_written(populated: Store) -> None:
    store = populated
    store.add_readings(columns(0, 10_000), START)  # in this process
    before = store.readings(None, START, START + timedelta(days=1))
    ready(store, 0)
    assert store.add_messages(columns(5_000, 10_000), START, "sun", ["m1", "m2"]) == 5_000  # the rest was there
    after = store.readings(None, START, START + timedelta(days=1))
    assert len(after) == 15_000
    assert after.iloc[:10_000].equals(before)
    store.add_readings(columns(15_000, 100), START)
    whole = store.readings(None, START, START + timedelta(days=1))
    assert whole["power_kw"].tolist() == [-k / 8 for k in range(15_100)]
    assert np.array_equal(whole["energy_kwh"], columns(0, 15_100).energy_kwh, equal_nan=True)
    assert whole["available"].tolist() == columns(0, 15_100).available.tolist()
    assert store.answers_for("sun", ["m1", "m2", "m3"]) == {"m1": b"", "m2": b""}


def test_an_answer_that_is_there_already_undoes_the_readings_too(populated: Store) -> None:
    store = populated
    store.remember_answer("sun", "m1", b"other", START)
    for _ in range(2):  # in this process, then in the other one
        with pytest.raises(StoreError):
            store.add_messages(columns(20_000), START, "sun", ["m1"])
        ready(store, 0)
    assert store.reading_count() == MANY
    assert store.add_messages(columns(20_000), START, "sun", ["m4"]) == MANY, "it goes on after a failure"


def test_a_process_that_was_killed_is_a_store_error_and_another_takes_over(populated: Store) -> None:
    store = populated
    ready(store, 0)
    assert store._writer is not None
    first = store._writer
    first._process.kill()
    first._process.wait()
    first._is_ready = True  # nobody has noticed yet
    with pytest.raises(WriterError):
        first.write(store._rows(columns(1_000), START), [])
    ready(store, 0)
    assert store._writer is not first
    assert store.add_messages(columns(1_000), START, "sun", ["m1"]) == MANY


def test_few_readings_are_not_worth_another_process(populated: Store) -> None:
    store = populated
    assert store.add_messages(columns(0, 10), START, "sun", ["m1"]) == 10
    assert store._writer is None
    assert store.answers_for("sun", ["m1"]) == {"m1": b""}


def test_sessions_do_not_go_alone(populated: Store) -> None:
    store = populated
    stay = ChargingSession(session_id="s", arrival=START, departure=START + timedelta(hours=2), energy_needed_kwh=5.0)
    said = Reading(resource_id="r0", measured_at=START, power_kw=1.0, session=stay)
    with pytest.raises(ValueError, match="sessions"):
        store.add_messages(ReadingColumns.of([said]), START, "sun", [])
    assert store.add_readings([said], START) == 1
    (kept,) = store.readings(["r0"], START, START + timedelta(hours=1))["session"]
    assert ChargingSession.model_validate_json(kept) == stay


def test_a_writer_tries_until_its_database_can_be_opened_and_makes_none(tmp_path: Path) -> None:
    path = tmp_path / "late" / "vpp.db"
    writer = WriterProcess(str(path))
    try:
        time.sleep(1)
        assert (writer.is_ready, writer.has_ended) == (False, False)
        path.parent.mkdir()
        time.sleep(1)
        assert not writer.is_ready
        assert not path.exists()
        with Store(f"sqlite:///{path}") as store:
            store.migrate()
        give_up_s = time.monotonic() + 60
        while not writer.is_ready:
            assert time.monotonic() < give_up_s
            time.sleep(0.05)
    finally:
        writer.close()


def test_a_writer_that_waits_for_its_database_ends_with_the_service(tmp_path: Path) -> None:
    writer = WriterProcess(str(tmp_path / "nowhere" / "vpp.db"))
    writer._in.close()
    assert writer._process.wait(60) == 0
    writer.close()


def test_the_binary_form_has_as_many_rows_as_there_are_with_every_value() -> None:
    some = columns(0, 4)
    rows = (
        some.measured_us,
        np.arange(4),
        some.measured_us,
        some.power_kw,
        some.energy_kwh,
        some.temperature_celsius,
        some.available,
        some.sequence,
        {1: "null"},
    )
    made = copy_bytes(rows)
    assert made[:11] == b"PGCOPY\n\xff\r\n\x00"
    at, seen = 19, []
    while (fields := struct.unpack_from("!h", made, at)[0]) != -1:
        at += 2
        row: list[bytes] = []
        for _ in range(fields):
            (size,) = struct.unpack_from("!i", made, at)
            at += 4
            row.append(b"NULL" if size < 0 else made[at : at + size])
            at += max(size, 0)
        seen.append(row)
    assert at == len(made) - 2
    assert {len(row) for row in seen} == {len(READING_COLUMNS)}
    by_key = {struct.unpack("!i", row[1])[0]: row for row in seen}
    assert [by_key[k][4] == b"NULL" for k in range(4)] == [True, False, True, False]
    assert by_key[1][8] == b"null"
    assert struct.unpack("!d", by_key[3][3])[0] == -3 / 8


def test_rows_of_any_number_arrive_in_sqlite() -> None:
    driver = sqlite3.connect(":memory:")
    driver.execute(f"CREATE TABLE readings ({', '.join(READING_COLUMNS)}, PRIMARY KEY (measured_at, resource_key))")
    for count in (1, 3, 31, 33, 255, 256, 257, 700):
        some = columns(0, count)
        rows = (
            some.measured_us,
            np.full(count, count),
            some.measured_us,
            some.power_kw,
            some.energy_kwh,
            some.temperature_celsius,
            some.available,
            some.sequence,
            {0: "null"},
        )
        assert insert_readings_sqlite(driver, rows) == count
        assert insert_readings_sqlite(driver, rows) == 0
    assert driver.execute("SELECT count(*), count(session), count(temperature_celsius) FROM readings").fetchone() == (
        1 + 3 + 31 + 33 + 255 + 256 + 257 + 700,
        8,
        0,
    )
