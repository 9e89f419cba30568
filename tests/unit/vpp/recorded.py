"""A small database in which everything that the record knows has happened, and a way around the guards of it."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np

from adapters.store import Store
from models.events import Event, EventRecord
from models.life_cycle import EventStatus
from models.plan import Setpoint, SetpointBatch
from models.reading_columns import ReadingColumns
from models.records import AckOutcome, AggregatorRecord, CommandAnswer, RegisteredResourceRecord
from models.resources import Pillar, Pv
from models.settlement.issued import issued
from models.telemetry import ChargingSession, Reading
from tests.unit.adapters.store.test_store_planning import GRID, plan
from tests.unit.models.settlement.calls import call, rule_named
from vpp.recorder import Recorder

START = datetime(2025, 7, 16, 4, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NAMES = tuple(f"r{number}" for number in range(20))
NOW = START + 3 * HOUR + 20 * MINUTE
STAY = ChargingSession(session_id="s", arrival=START, departure=START + 4 * HOUR, energy_needed_kwh=3.0)


def populate(store: Store) -> None:
    """An aggregator with twenty resources."""
    store.add_aggregator(AggregatorRecord("sun", "Sun", "hash", created_at=START))
    store.upsert_resources(
        [
            RegisteredResourceRecord(
                Pv(
                    resource_id=name,
                    aggregator_id="sun",
                    zone_id="zone-1",
                    meter_id=f"meter-{name}",
                    pillar=Pillar.SOURCE,
                    tariff_id="flat",
                    available_profile="sun",
                    available_scale_kw=10,
                    curtail_cost_per_kwh=0,
                ),
                None,
                300.0,
                10.0,
                0.0,
                START,
            )
            for name in NAMES
        ]
    )


def record(store: Store, now: datetime = NOW) -> int:
    """Until it has caught up, with a recorder that knows nothing; how many lines that made."""
    recorder, made = Recorder(store, 0.0), 0
    while more := recorder.step(now):
        made += more
    return made


def send(store: Store, at: datetime, names: tuple[str, ...] = NAMES[:5]) -> str:
    """A command to them."""
    sequence = store.next_sequence("sun")
    setpoints = tuple(Setpoint(resource_id=name, power_kw=place + sequence / 8) for place, name in enumerate(names))
    batch = SetpointBatch(
        command_id=f"sun-{sequence}",
        aggregator_id="sun",
        sequence=sequence,
        plan_hash="0" * 64,
        valid_from=at,
        valid_until=at + 5 * MINUTE,
        setpoints=setpoints,
    )
    store.save_batch(batch, at)
    return batch.command_id


def measure(
    store: Store, start: datetime, minutes: range, received_at: datetime, names: tuple[str, ...] = NAMES
) -> None:
    """A reading of each at these minutes."""
    for minute in minutes:
        readings = [
            Reading(
                resource_id=name,
                measured_at=start + minute * MINUTE,
                power_kw=place + minute / 64,
                energy_kwh=1.0 if place % 2 else None,
                session=STAY if name == "r3" and minute == 5 else None,
            )
            for place, name in enumerate(names)
        ]
        store.add_readings(readings, received_at)


def happen(store: Store) -> None:
    """Three hours of it."""
    for number in range(6):
        at = START + number * 10 * MINUTE
        command = send(store, at)
        answers = [
            CommandAnswer(command, "r0", AckOutcome.DONE, ""),
            CommandAnswer(command, "r1", AckOutcome.TAKEN, ""),
            CommandAnswer(command, "r2", AckOutcome.REFUSED, "too hot"),
        ]
        store.save_acks(answers, at + MINUTE)
    for hour in range(3):
        measure(store, START + hour * HOUR, range(0, 60, 5), START + hour * HOUR + 59 * MINUTE)
    store.save_plan("day_ahead", date(2025, 7, 16), plan(made_at=START - HOUR))
    for number in range(3):
        power = np.full((2, len(GRID)), float(number))
        store.keep_real_time_plan(plan(made_at=START + number * HOUR, power_kw=power), keep=2)
    store.save_baseline(date(2025, 7, 16), GRID, ("a", "b"), np.ones((2, len(GRID))), "b" * 64)
    event = Event(event_id="e1", start=START + HOUR, end=START + 2 * HOUR, target_kw=150.0)
    store.save_event(EventRecord(event=event, status=EventStatus.ENDED, steps=()))
    inputs = call([[90.0, 120.0], [30.0, 50.0]], [[100.0, 100.0], [50.0, 50.0]], "1.25", agents=["sun", None])
    made = issued(inputs, rule_named("sichuan_market_v1"), {}, NOW, "service")
    with store.transaction():
        store.add_statement(made)
        details = {"version": 1, "sha256": made.sha256}
        store.append_audit(NOW, "service", "statement issued", "e1", details)


@contextmanager
def unguarded(store: Store) -> Iterator[Any]:
    """A connection of somebody who owns the database: no triggers, no foreign keys; ``?`` on both."""
    if store._db.is_sqlite:
        connection = sqlite3.connect(store._db.driver_target)
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        yield lambda query, values=(): connection.execute(query, values)
        connection.commit()
        connection.close()
        return
    import psycopg  # noqa: PLC0415 - an extra

    with psycopg.connect(store._db.driver_target) as driver:
        driver.execute("SET session_replication_role = replica")
        yield lambda query, values=(): driver.execute(query.replace("?", "%s"), values)


def synthetic_day(store: Store, names: tuple[str, ...], day: datetime) -> None:
    """A reading of each every five minutes and a command to all every five minutes, answered."""
    for step in range(288):
        at = day + step * 5 * MINUTE
        columns = ReadingColumns.of(
            [Reading(resource_id=name, measured_at=at, power_kw=place + step / 7) for place, name in enumerate(names)]
        )
        store.add_readings(columns, at + MINUTE)
        command = send(store, at, names)
        store.save_acks([CommandAnswer(command, None, AckOutcome.DONE, "")], at + MINUTE)
