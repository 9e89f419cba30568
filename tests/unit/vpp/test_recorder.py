"""The flight recorder misses nothing, records nothing twice, and whatever is tampered with is found and located."""

import asyncio
import json
import random
import shutil
import uuid
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

import vpp.recorder
from adapters.store import Store, schema
from adapters.store.schema import to_us
from models.errors import StoreError
from models.ports import Clock
from models.records import AckOutcome
from tests.postgres import BOTH, PostgresServer
from tests.unit.adapters.store.test_store_planning import GRID, plan
from tests.unit.vpp.recorded import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    START,
    happen,
    measure,
    populate,
    record,
    send,
    unguarded,
)
from vpp import housekeeping
from vpp.recorder import ANSWERS, COMMANDS, LATER_ANSWERS, READINGS, Recorder
from vpp.recorder_findings import NOTES, Verdict, What
from vpp.recorder_verify import Span, verify
from vpp.retention import THINNED, kept_windows, next_hour, thin_out_hour


def _made(at: str) -> str:
    """A database in which everything has happened and is recorded, to be copied: hundreds of tests want one."""
    with Store(at) as made:
        made.migrate()
        populate(made)
        happen(made)
        record(made)
        assert verify(made).findings == []
    return at


@pytest.fixture(scope="module")
def made_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recorded") / "vpp.db"
    _made(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="module")
def made_postgres(postgres_server: PostgresServer) -> str:
    return _made(postgres_server.new_url())


@pytest.fixture(params=BOTH)
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Resources and nothing else."""
    sqlite = request.param == "sqlite"
    at = f"sqlite:///{tmp_path / 'vpp.db'}" if sqlite else request.getfixturevalue("postgres_server").new_url()
    with Store(at) as made:
        made.migrate()
        populate(made)
        yield made


@pytest.fixture(params=BOTH)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Everything has happened and is recorded."""
    if request.param == "sqlite":
        at = f"sqlite:///{shutil.copy(request.getfixturevalue('made_sqlite'), tmp_path / 'vpp.db')}"
    else:
        import psycopg  # noqa: PLC0415 - an extra

        template, server = request.getfixturevalue("made_postgres"), request.getfixturevalue("postgres_server")
        at = f"{template}_{uuid.uuid4().hex[:8]}"
        names = [each.rpartition("/")[2] for each in (at, template)]
        with psycopg.connect(f"{server.url}/postgres", autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{names[0]}" TEMPLATE "{names[1]}"'.encode())
    with Store(at) as copied:
        yield copied


def lines(store: Store, action: str) -> list[dict[str, Any]]:
    return [line.details for line in store.record_lines() if line.action == action]


def only(verdict: Verdict) -> Any:
    assert verdict.findings, "nothing was found"
    return verdict.findings[0]


def test_what_was_recorded_is_as_it_was_recorded(kept: Store) -> None:
    verdict = verify(kept)
    assert verdict.checked["readings"] == 3 * 12 * 20
    assert verdict.checked["setpoints"] == 30
    assert verdict.checked["answers"] == 18
    assert verdict.checked["plans"] == 4
    assert verdict.checked["statements"] == verdict.checked["baselines"] == 1
    assert not verdict.notes
    assert (verdict.entries, verdict.head_sha256) == kept.audit_head() == kept.verify_audit()


def test_a_plan_of_real_time_may_lose_its_schedule_and_no_other(kept: Store) -> None:
    power = np.full((2, len(GRID)), 9.0)
    kept.keep_real_time_plan(plan(made_at=NOW, power_kw=power), keep=2)
    record(kept, NOW + 3 * MINUTE)
    verdict = verify(kept)
    assert (verdict.findings, dict(verdict.notes)) == ([], {"thinned plans": 1})
    with unguarded(kept) as execute:
        execute("UPDATE plans SET edges = ? WHERE kind = 'day_ahead'", (b"",))
    found = only(verify(kept))
    assert (found.table, found.at, found.differs) == ("plans", START - HOUR, "schedule")


def test_a_finding_says_in_both_languages_where_and_what(kept: Store) -> None:
    with unguarded(kept) as execute:
        execute("UPDATE readings SET power_kw = 99 WHERE measured_at = ? AND resource_key = 1", (to_us(START),))
    verdict = verify(kept)
    expected = "readings hour 2025-07-16T04Z 资源 resource r0 2025-07-16T04:00:00+00:00: 已被改动 has been changed"
    assert [str(each) for each in verdict.findings] == [f"{expected} (12 rows, other values)"]
    assert set(NOTES) >= set(verdict.notes)


def test_again_it_records_nothing(kept: Store) -> None:
    before = kept.audit_head()
    assert record(kept) == 0
    assert kept.audit_head() == before


def test_what_happens_later_is_recorded_by_a_recorder_that_knows_nothing(kept: Store) -> None:
    command = send(kept, NOW)
    assert verify(kept).notes["new setpoint_batches"] == 1
    assert record(kept, NOW + MINUTE) == 0, "it may still be in a transaction"
    assert record(kept, NOW + 3 * MINUTE) == 1
    (_, line) = lines(kept, COMMANDS)
    assert (line["batches"], line["setpoints"]) == (1, 5)
    assert command in kept.blob(line["blob"]).decode()
    assert verify(kept).findings == []


def test_a_crash_between_the_blob_and_its_line_leaves_nothing_half_done(
    fresh: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    happen(fresh)
    real, calls = fresh.append_audit, [0]

    def sometimes(*args: Any) -> Any:
        calls[0] += 1
        if calls[0] % 2:
            raise StoreError("away")
        return real(*args)

    monkeypatch.setattr(fresh, "append_audit", sometimes)
    for _ in range(40):
        try:
            Recorder(fresh, 0.0).step(NOW)
        except StoreError:
            continue
    monkeypatch.undo()
    assert record(fresh) == 0
    assert [line["count"] for line in lines(fresh, READINGS)] == [240, 240, 240]
    assert sum(line["setpoints"] for line in lines(fresh, COMMANDS)) == 30
    assert verify(fresh).findings == []


def test_pieces_join_without_a_gap(fresh: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vpp.recorder, "BATCHES_AT_ONCE", 4)
    monkeypatch.setattr(vpp.recorder, "SETPOINTS_AT_ONCE", 12)
    monkeypatch.setattr(vpp.recorder, "PLANS_AT_ONCE", 1)
    happen(fresh)
    record(fresh)
    made = lines(fresh, COMMANDS)
    assert [line["batches"] for line in made] == [2, 2, 2]
    assert [line["after"] for line in made] == [None, *(line["through"] for line in made[:-1])]
    record(fresh, NOW + 4 * DAY)
    assert len(lines(fresh, LATER_ANSWERS)) == 2
    assert verify(fresh).findings == []


async def test_the_service_records_beside_everything_else_and_goes_on_after_a_failure(
    fresh: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    happen(fresh)
    monkeypatch.setattr(housekeeping, "RECORD_EVERY_S", 0.01)
    monkeypatch.setattr(housekeeping, "RECORD_PAUSE_S", 0.0)
    real = fresh.put_blob
    failed: list[bytes] = []

    def once(content: bytes) -> str:
        if not failed:
            failed.append(content)
            raise StoreError("away")
        return real(content)

    monkeypatch.setattr(fresh, "put_blob", once)
    clock = cast("Clock", SimpleNamespace(now=lambda: NOW))
    task = asyncio.create_task(housekeeping.keep_record(fresh, clock))
    async with asyncio.timeout(60):
        while len(lines(fresh, READINGS)) < 3:  # noqa: ASYNC110 - a database
            await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert failed
    assert verify(fresh).findings == []


# ---- answers


def test_a_later_answer_is_recorded_days_later_and_meanwhile_not_held_against_anybody(kept: Store) -> None:
    kept.save_ack("sun-1", "r1", AckOutcome.DONE, "", NOW + HOUR)
    kept.save_ack("sun-1", "r3", AckOutcome.TAKEN, "", NOW + HOUR)
    verdict = verify(kept)
    assert verdict.findings == []
    assert verdict.notes["new answers"] == 2
    record(kept, NOW + 4 * DAY)
    (line,) = lines(kept, LATER_ANSWERS)
    assert line["answers"] == 2
    assert len(lines(kept, ANSWERS)) == 1
    verdict = verify(kept)
    assert (verdict.findings, verdict.notes["new answers"]) == ([], 0)
    kept.save_ack("sun-1", "r4", AckOutcome.TAKEN, "", NOW + 5 * DAY)
    found = only(verify(kept))
    assert (found.table, found.key, found.resource_id) == ("setpoints", "sun-1", "r4")


def test_an_answer_that_no_device_can_have_given_is_found_also_between_two_looks(kept: Store) -> None:
    with unguarded(kept) as execute:
        execute("UPDATE setpoints SET outcome = 'taken' WHERE outcome = 'done' AND batch_key = 1")
    assert only(verify(kept)).resource_id == "r0"
    record(kept, NOW + 4 * DAY)
    found = only(verify(kept))
    assert (found.table, found.key, found.resource_id) == ("setpoints", "sun-1", "r0")
    assert "done" in found.differs
    assert "taken" in found.differs


# ---- readings


def test_late_readings_get_a_line_of_their_own_and_a_change_is_not_hidden_among_them(kept: Store) -> None:
    late = START + 5 * HOUR
    measure(kept, START + HOUR, range(1, 60, 5), late, ("r7", "r8"))
    verdict = verify(kept)
    assert (verdict.findings, verdict.notes["new readings"]) == ([], 24)
    with unguarded(kept) as execute:
        query = "UPDATE readings SET power_kw = power_kw + 1 WHERE measured_at = ? AND resource_key = ?"
        execute(query, (to_us(START + HOUR), {name: key for key, name in kept.resource_keys()}["r9"]))
    measure(kept, START + 9 * HOUR, range(0, 60, 5), START + 10 * HOUR)
    record(kept, START + 10 * HOUR + 15 * MINUTE)
    line = next(each for each in lines(kept, READINGS) if each["late"])
    assert line["count"] == 24
    verdict = verify(kept)
    assert [(each.resource_id, each.at) for each in verdict.findings] == [("r9", START + HOUR)]
    assert verdict.notes["new readings"] == 0


def test_readings_that_come_after_the_last_look_are_told(kept: Store) -> None:
    measure(kept, START + 40 * DAY, range(0, 10, 5), START + 40 * DAY)
    record(kept, START + 41 * DAY)
    measure(kept, START + HOUR, range(1, 2), START + 41 * DAY, ("r7",))
    found = only(verify(kept))
    assert (found.what, found.table, found.at) == (What.ADDED, "readings", START + HOUR)


def test_a_gap_of_weeks_is_passed_in_bounded_steps(kept: Store) -> None:
    measure(kept, START + 20 * DAY, range(0, 10, 5), START + 20 * DAY)
    made = record(kept, START + 20 * DAY + 2 * HOUR)
    assert made < 30
    assert lines(kept, READINGS)[-1]["count"] == 40
    assert verify(kept).findings == []


def test_what_retention_has_thinned_out_is_told_and_not_held_against_anybody(kept: Store) -> None:
    now = START + 100 * DAY
    kept_of = [(START + HOUR, START + 2 * HOUR)]
    hour = START + 3 * HOUR
    measure(kept, hour, range(0, 60, 5), hour + HOUR)
    record(kept, hour + 2 * HOUR)
    for after in range(1, 4):
        thin_out_hour(kept, START + after * HOUR, kept_of, now)
    assert [line["readings"] for line in lines(kept, THINNED)] == [240, 240]
    verdict = verify(kept)
    assert verdict.findings == []
    assert verdict.notes["thinned readings"] == 2
    with unguarded(kept) as execute:
        execute("DELETE FROM readings WHERE measured_at < ?", (to_us(hour),))
    verdict = verify(kept)
    assert {each.at for each in verdict.findings} == {START + HOUR}
    assert len(verdict.findings) == 20
    assert next_hour(kept, hour) is None
    assert all(edge.minute == 0 for window in kept_windows(kept, START) for edge in window)


# ---- tampering

TABLES = {
    "plans": "plans",
    "plan_parts": "plans",
    "baselines": "baselines",
    "baseline_parts": "baselines",
    "setpoint_batches": "setpoint_batches",
    "setpoints": "setpoint",
    "readings": "readings",
    "statements": "statements",
    "statement_parts": "statements",
    "record_blobs": "record_blobs",
    "audit": "audit",
}
"""Whose tampering is told under which name."""
FIELDS = [(table, column.name) for table in TABLES for column in schema.metadata.tables[table].c]
FIELDS.append(("resources", "resource_id"))


def _other(table: str, column: str, value: Any) -> Any:
    if column in ("facts", "details"):
        facts = json.loads(value)
        return json.dumps({**facts, "iterations": facts.get("iterations", 0) + 1})
    if column == "body" and table == "statement_parts":
        content = zlib.decompress(value)
        return zlib.compress(bytes([content[0] ^ 1]) + content[1:], 1)
    if isinstance(value, bytes | memoryview):
        return bytes(value)[:-1] + bytes([bytes(value)[-1] ^ 1]) if len(value) else b"x"
    if value is None:
        return {"energy_kwh": 1.5, "temperature_celsius": 20.0, "power_kw": 1.5}.get(column, 5)
    if isinstance(value, bool) or column == "available":
        return not value
    if isinstance(value, int | float):
        return value + 1000  # no key that is there already
    return "f" * 64 if len(value) == 64 else f"x{value}"[: max(1, len(value))]  # no longer than its column takes


LAST_FIELDS = [(table, list(schema.metadata.tables[table].c)[-1].name) for table in TABLES]
CASES: list[Any] = [("sqlite", *field) for field in FIELDS]
CASES += [pytest.param("postgresql", *field, marks=pytest.mark.postgres) for field in LAST_FIELDS]
"""What is compared is the same on both databases; PostgreSQL is asked for one column of each table, not for all."""


@pytest.mark.parametrize(("kept", "table", "column"), CASES, indirect=["kept"])
def test_whatever_field_of_whatever_row_is_changed_it_is_found(kept: Store, table: str, column: str) -> None:
    keys = [each.name for each in schema.metadata.tables[table].primary_key]
    where = " AND ".join(f'"{key}" = ?' for key in keys)
    named = ", ".join(f'"{key}"' for key in keys)
    with unguarded(kept) as execute:
        rows = execute(f'SELECT {named}, "{column}" FROM {table} ORDER BY {named}').fetchall()
        if table == "plans" and column in ("edges", "resource_ids"):
            rows = [row for row in rows if len(row[-1])]  # of the others there is no schedule any more
        *key, value = random.Random(1).choice(rows)
        other = _other(table, column, value)
        if isinstance(other, int) and column in ("session", "reason"):
            other = "x"
        execute(f'UPDATE {table} SET "{column}" = ? WHERE {where}', (other, *key))
    verdict = verify(kept)
    assert any(TABLES.get(table, table) in each.table for each in verdict.findings), (value, other, verdict)
    _is_located(kept, verdict, table, key)
    assert all(each.differs for each in verdict.findings)


def _is_located(store: Store, verdict: Verdict, table: str, key: list[Any]) -> None:
    told = " ".join(map(str, verdict.findings))
    if table in ("setpoints", "setpoint_batches"):
        assert f"sun-{key[0]}" in told or "x" in told or f"key {key[0]}" in told
    if table == "readings":
        hour = datetime.fromtimestamp(key[0] / 1e6, START.tzinfo).replace(minute=0, second=0, microsecond=0)
        assert any(each.at == hour for each in verdict.findings)
        names = dict(store.resource_keys())
        assert any(each.resource_id == names[key[1]] for each in verdict.findings), told


@pytest.mark.parametrize("table", [name for name in TABLES if name not in ("audit", "record_blobs")])
@pytest.mark.parametrize("seed", [1])
def test_a_row_that_is_taken_out_is_missed(kept: Store, table: str, seed: int) -> None:
    keys = [each.name for each in schema.metadata.tables[table].primary_key]
    named, where = ", ".join(f'"{key}"' for key in keys), " AND ".join(f'"{key}" = ?' for key in keys)
    with unguarded(kept) as execute:
        rows = execute(f"SELECT {named} FROM {table} ORDER BY {named}").fetchall()
        key = random.Random(seed).choice(rows)
        execute(f"DELETE FROM {table} WHERE {where}", tuple(key))
    verdict = verify(kept)
    assert any(TABLES[table] in each.table for each in verdict.findings), verdict
    _is_located(kept, verdict, table, list(key))


@pytest.mark.parametrize(
    ("table", "changes"),
    [
        ("plans", {"plan_key": -5}),
        ("baselines", {"baseline_key": -5, "baseline_hash": "c" * 64}),
        ("setpoint_batches", {"batch_key": -5, "command_id": "forged", "sequence": 99}),
        ("setpoints", {"resource_key": 20}),
        ("setpoints", {"batch_key": -7}),
        ("readings", {"resource_key": 21}),
        ("readings", {"measured_at": to_us(START + MINUTE)}),
        ("statements", {"statement_key": 9, "version": 2}),
    ],
    ids=str,
)
def test_a_row_that_is_put_in_is_noticed(kept: Store, table: str, changes: dict[str, Any]) -> None:
    names = [column.name for column in schema.metadata.tables[table].c]
    keys = [each.name for each in schema.metadata.tables[table].primary_key]
    with unguarded(kept) as execute:
        rows = execute(f"SELECT {', '.join(names)} FROM {table} ORDER BY {', '.join(keys)} LIMIT 1").fetchall()
        row = {**dict(zip(names, rows[0], strict=True)), **changes}
        execute(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})", tuple(row.values()))
    assert any(TABLES[table] in each.table for each in verify(kept).findings)


def test_a_log_that_was_written_anew_is_found_by_its_head(kept: Store) -> None:
    _, head = kept.audit_head()
    kept.append_audit(NOW, "x", "y", "z")
    assert verify(kept, head=head).findings == []
    found = only(verify(kept, head="a" * 64))
    assert (found.what, found.table, found.key) == (What.MISSING, "audit", "a" * 64)


def test_only_what_is_asked_for_is_looked_at(kept: Store) -> None:
    assert verify(kept, Span.of_event(kept, "e1")).checked["readings"] == 720
    since = verify(kept, Span(to_us(START + 2 * HOUR)))
    assert since.checked["readings"] == 240
    assert since.checked["setpoint_batches"] == 0
    assert Span.since("2025-07-16T12:00", UTC).start_us == to_us(START + 8 * HOUR)
