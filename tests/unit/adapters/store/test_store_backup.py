import json
import threading
import zipfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from adapters.store import Store
from adapters.store.readings import PARTITION
from adapters.store.schema import metadata
from models.errors import InputError, StoreError
from models.events import Event, EventNotice, EventRecord
from models.intervals import IntervalGrid
from models.life_cycle import EventStatus
from models.plan import Setpoint, SetpointBatch
from models.records import DeadLetter, SessionRecord, UserRecord
from models.roles import Role
from models.telemetry import Reading

NOON = datetime(2025, 7, 16, 4, tzinfo=UTC)


def fill(store: Store) -> None:
    """Something in every table."""
    with store.transaction():
        store.add_user(UserRecord("wang", Role.OPERATOR, "01", "hash", NOON))
        readings = [
            Reading(resource_id=f"r{k % 20}", measured_at=NOON + timedelta(minutes=k), power_kw=k / 3)
            for k in range(300)
        ]
        store.add_readings(readings, NOON)
        store.save_sessions([SessionRecord("r1", "s", NOON, NOON + timedelta(hours=1), 5.0)])
        event = Event(event_id="e", start=NOON, end=NOON + timedelta(hours=1), target_kw=1)
        store.save_event(EventRecord(event=event, status=EventStatus.DRAFT, steps=()))
        said = {"event_id": "e", "status": "notified", "direction": "shave", "share_kw": 1.0}
        notice = EventNotice.model_validate({**said, "start": event.start, "end": event.end})
        store.add_notices({"sun": notice}, NOON)
        grid = IntervalGrid.regular(NOON, timedelta(minutes=15), 4)
        store.save_baseline(date(2025, 7, 16), grid, ("r1",), np.ones((1, 4)), "hash")
        setpoint = Setpoint(resource_id="r1", power_kw=None)
        sequence = store.next_sequence("sun")
        store.save_batch(
            SetpointBatch(
                command_id="c",
                aggregator_id="sun",
                sequence=sequence,
                plan_hash="0" * 64,
                valid_from=NOON,
                valid_until=NOON,
                setpoints=(setpoint,),
            ),
            NOON,
        )
        store.add_dead_letter(DeadLetter(NOON, "here", "why", payload=b"\x00\xff"))
        store.append_audit(NOON, "wang", "did", "it", {"a": 1})
        store.remember_answer("sun", "m", b"\x00", NOON)
        store.add_to_counter("a", 3)


def contents(store: Store) -> dict[str, list[Any]]:
    with store._db.reading() as connection:
        return {
            table.name: sorted(map(tuple, connection.execute(table.select()).all()), key=repr)
            for table in metadata.sorted_tables
        }


@pytest.fixture
def empty(tmp_path: Path) -> Any:
    with Store(f"sqlite:///{tmp_path / 'other' / 'vpp.db'}") as made:
        yield made


def test_migrations_and_schema_say_the_same(store: Store) -> None:
    def ours(_item: object, name: str | None, kind: str, *_rest: object) -> bool:
        return not (kind == "table" and name is not None and PARTITION.fullmatch(name))

    with store._db.reading() as connection:
        options = {"include_object": ours, "compare_type": True, "target_metadata": metadata}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []


def test_every_migration_goes_back_as_well(store: Store) -> None:
    from alembic import command  # noqa: PLC0415

    from adapters.store.history import _config, revision_of  # noqa: PLC0415

    with store._db.writing() as connection:
        command.downgrade(_config(connection), "base")
        assert revision_of(connection) is None
    store.migrate()
    store.append_audit(NOON, "a", "b", "c")


def test_what_was_backed_up_is_restored_to_the_last_bit(populated: Store, empty: Store, tmp_path: Path) -> None:
    fill(populated)
    rows = populated.backup(tmp_path / "state.zip")
    assert rows["readings"] == 300
    assert empty.restore(tmp_path / "state.zip") == rows
    assert contents(empty) == contents(populated)
    assert empty.revision() == populated.revision()
    assert empty.verify_audit() == populated.verify_audit()
    # and life goes on: keys and sequences continue behind what was restored
    assert empty.next_sequence("sun") == 2
    assert empty.add_dead_letter(DeadLetter(NOON, "here", "why")) == 2
    assert empty.append_audit(NOON, "li", "did", "more").entry_id == 2
    with pytest.raises(StoreError, match="append-only"), empty._db.writing() as connection:
        connection.exec_driver_sql("DELETE FROM audit")


def test_a_backup_can_be_restored_over_its_own_database(populated: Store, tmp_path: Path) -> None:
    fill(populated)
    before = contents(populated)
    populated.backup(tmp_path / "state.zip")
    populated.add_to_counter("a", 5)
    with pytest.raises(InputError, match="must be empty"):
        populated.restore(tmp_path / "state.zip")
    populated.restore(tmp_path / "state.zip", force=True)
    assert contents(populated) == before
    event = Event(event_id="e2", start=NOON, end=NOON + timedelta(hours=1), target_kw=1)
    populated.save_event(EventRecord(event=event, status=EventStatus.DRAFT, steps=()))
    assert populated.add_dead_letter(DeadLetter(NOON, "here", "why")) == 2
    reading = Reading(resource_id="r1", measured_at=NOON + timedelta(days=40), power_kw=1)
    assert populated.add_readings([reading], NOON) == 1


def test_a_backup_is_one_moment_although_others_write(populated: Store, empty: Store, tmp_path: Path) -> None:
    """Each transaction counts one and logs one: in a backup the two must agree."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            with populated.transaction():
                populated.add_to_counter("lines")
                populated.append_audit(NOON, "a", "b", "c")

    writer = threading.Thread(target=work)
    writer.start()
    try:
        while not populated.counters():
            pass
        rows = populated.backup(tmp_path / "state.zip")
    finally:
        stop.set()
        writer.join(30)
    empty.restore(tmp_path / "state.zip")
    assert empty.counters()["lines"] == rows["audit"] == empty.verify_audit()[0]


def _changed(path: Path, change: Any) -> Path:
    """The same archive with one member changed."""
    made = path.with_name("changed.zip")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(made, "w") as new:
        members = {name: old.read(name) for name in old.namelist()}
        change(members)
        for name, body in members.items():
            new.writestr(name, body)
    return made


def _edit(**facts: Any) -> Any:
    def change(members: dict[str, bytes]) -> None:
        members["manifest.json"] = json.dumps({**json.loads(members["manifest.json"]), **facts}).encode()

    return change


DAMAGE = {
    "a table cut short": (lambda m: m.update({"users.parquet": m["users.parquet"][:-5]}), "users"),
    "a table exchanged": (lambda m: m.update({"users.parquet": m["events.parquet"]}), "users"),
    "a table missing": (lambda m: m.pop("events.parquet"), "damaged"),
    "no manifest": (lambda m: m.pop("manifest.json"), "damaged"),
    "a manifest of nonsense": (lambda m: m.update({"manifest.json": b"[]"}), "damaged"),
    "another format": (_edit(format=2), "format"),
    "a newer schema": (_edit(revision="9999"), "newer"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_or_newer_backup_is_refused_and_nothing_is_touched(
    populated: Store, tmp_path: Path, damage: str
) -> None:
    fill(populated)
    populated.backup(tmp_path / "state.zip")
    before = contents(populated)
    change, words = DAMAGE[damage]
    with pytest.raises(InputError, match=words):
        populated.restore(_changed(tmp_path / "state.zip", change), force=True)
    assert contents(populated) == before


def test_bytes_flipped_anywhere_are_noticed(populated: Store, empty: Store, tmp_path: Path) -> None:
    fill(populated)
    populated.backup(tmp_path / "state.zip")
    body = (tmp_path / "state.zip").read_bytes()
    noticed = 0
    places = range(100, len(body) - 4000, 997)
    for place in places:
        (tmp_path / "bad.zip").write_bytes(body[:place] + bytes([body[place] ^ 0xFF]) + body[place + 1 :])
        try:
            empty.restore(tmp_path / "bad.zip", force=True)
        except InputError:
            noticed += 1
        else:  # a byte that means nothing, such as a member's own time: the content must be whole
            assert contents(empty) == contents(populated)
    assert noticed > len(places) * 0.8


def test_what_is_no_backup_is_refused(empty: Store, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    for path in (tmp_path / "text", tmp_path / "nothing", tmp_path):
        with pytest.raises(InputError):
            empty.restore(path)
    with pytest.raises(StoreError, match="never been migrated"):
        empty.backup(tmp_path / "state.zip")
    with pytest.raises(StoreError, match="cannot write"):
        empty.backup(tmp_path / "no" / "such" / "folder")
    assert not list(tmp_path.glob(".state*")), "a failed backup leaves nothing lying about"


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite://", "nonsense", "sqlite:///:memory:"])
def test_a_database_that_will_not_do_is_refused_by_name(url: str) -> None:
    with pytest.raises(InputError, match=r"store\.url"):
        Store(url)


def test_a_server_that_is_not_there_is_a_store_error() -> None:
    with Store("postgresql://vpp@127.0.0.1:1/vpp") as store, pytest.raises(StoreError) as refused:
        store.ping()
    assert refused.value.retryable
