"""Blobs are kept once under their own SHA-256, never changed, and tell if somebody has changed them; columns agree."""

import hashlib
import zlib
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from adapters.store import Store
from adapters.store.schema import to_us
from models.errors import StoreError
from models.telemetry import Reading

START = datetime(2025, 7, 16, 4, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def test_a_blob_is_kept_once_under_its_hash(store: Store) -> None:
    name = store.put_blob(b"a" * 1000)
    assert name == hashlib.sha256(b"a" * 1000).hexdigest() == store.put_blob(b"a" * 1000)
    assert store.blob(name) == b"a" * 1000
    count, size = store.blob_bytes()
    assert count == 1
    assert size < 100
    assert store.blob(store.put_blob(b"")) == b""


def test_one_that_is_not_there_is_missing(store: Store) -> None:
    assert store.intact_blob("0" * 64) is None
    with pytest.raises(StoreError, match="missing or has been changed"):
        store.blob("0" * 64)


@pytest.mark.parametrize("change", ["UPDATE record_blobs SET size = 1", "DELETE FROM record_blobs"])
def test_the_database_refuses_changes(store: Store, change: str) -> None:
    name = store.put_blob(b"what was")
    with pytest.raises(StoreError, match="never changed"), store._db.writing() as connection:
        connection.exec_driver_sql(change)
    assert store.blob(name) == b"what was"


@pytest.mark.parametrize("body", [b"no zlib", zlib.compress(b"what was not"), zlib.compress(b"what wos")])
def test_whoever_gets_around_that_is_found_out(store: Store, body: bytes) -> None:
    name = store.put_blob(b"what was")
    with store._db.writing() as connection:
        if store._db.is_sqlite:
            connection.exec_driver_sql("DROP TRIGGER record_blobs_no_update")
        else:
            connection.exec_driver_sql("ALTER TABLE record_blobs DISABLE TRIGGER record_blobs_append_only")
        mark = "?" if store._db.is_sqlite else "%s"
        connection.exec_driver_sql(f"UPDATE record_blobs SET body = {mark}", (body,))
    assert store.intact_blob(name) is None


def test_a_rollback_takes_a_blob_with_it(store: Store) -> None:
    with pytest.raises(StoreError, match="away"), store.transaction():
        _put_and_fail(store)
    assert store.blob_bytes() == (0, 0)


def _put_and_fail(store: Store) -> None:
    store.put_blob(b"x")
    raise StoreError("away")


def test_readings_that_came_in_two_parts_are_told_apart_and_order_and_pieces_do_not_matter(populated: Store) -> None:
    first = [Reading(resource_id=f"r{k % 20}", measured_at=START + k * MINUTE, power_kw=k / 3) for k in range(50)]
    populated.add_readings(first[::-1], START + 60 * MINUTE)
    low, high = to_us(START), to_us(START + 60 * MINUTE)
    whole = populated.readings_digest(low, high, None, None)
    assert whole.count == 50
    assert whole.counts.sum() == 50
    assert len(whole.keys) == 20
    late = Reading(resource_id="r3", measured_at=START + 55 * MINUTE, power_kw=1.0)
    populated.add_readings([late], START + 90 * MINUTE)
    cut = to_us(START + 70 * MINUTE)
    same = populated.readings_digest(low, high, None, cut)
    assert same.sha256 == whole.sha256
    assert np.array_equal(same.checks, whole.checks)
    assert populated.readings_digest(low, high, cut, None).count == 1
    assert populated.readings_received(low, high, cut, None) == 1
    now = populated.readings_digest(low, high, None, None)
    assert now.sha256 != whole.sha256
    assert np.count_nonzero(now.checks != whole.checks) == 1


def test_an_empty_hour_has_a_digest_too(store: Store) -> None:
    empty = store.readings_digest(0, 10, None, None)
    assert (empty.count, len(empty.keys)) == (0, 0)


def test_the_head_is_the_newest_line(store: Store) -> None:
    assert store.audit_head() == (0, "0" * 64)
    entry = store.append_audit(START, "wang", "did", "this")
    assert store.audit_head() == (1, entry.entry_hash) == store.verify_audit()
    assert store.has_audit_hash(entry.entry_hash)
    assert not store.has_audit_hash("0" * 64)
