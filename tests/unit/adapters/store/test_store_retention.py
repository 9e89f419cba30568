"""Old readings become quarter-hour means, those around events stay, and after years everything goes: both databases."""

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

import vpp.retention
from adapters.store import Store
from models.errors import InputError, StoreError
from models.events import Event, EventRecord
from models.life_cycle import EventStatus
from models.telemetry import Reading
from vpp import housekeeping
from vpp.event_notices import notices_of
from vpp.retention import next_hour, thin_out_all
from vpp.runtime import Runtime
from vpp.settings import RetentionSettings, load_settings

DAY = datetime(2025, 3, 3, tzinfo=UTC)
NOW = DAY + timedelta(days=100)
SETTINGS = RetentionSettings(raw_days=90, means_days=400)
MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vpp.retention, "PAUSE_S", 0.0)


def reading(name: str, minute: float, power_kw: float, energy_kwh: float | None = None) -> Reading:
    return Reading(resource_id=name, measured_at=DAY + minute * MINUTE, power_kw=power_kw, energy_kwh=energy_kwh)


def thin(store: Store, now: datetime = NOW) -> int:
    return asyncio.run(thin_out_all(store, SETTINGS, now))


def test_a_quarter_hour_keeps_mean_least_greatest_count_and_last_level(populated: Store) -> None:
    store = populated
    store.add_readings([reading("r0", 5 * k, k, 100 + k) for k in range(25)], DAY)  # five minutes each, two hours
    assert thin(store) == 24, "those of the last hour wait for the next"
    means = store.reading_means(["r0", "r1"], DAY, DAY + timedelta(hours=3))
    # of 00:00 to 00:15 the readings of 00:05, 00:10 and 00:15 tell; inside it lie those of 00:00, 00:05 and 00:10
    assert means.mean_kw.tolist()[:8] == [2, 5, 8, 11, 14, 17, 20, 23]
    assert means.min_kw.tolist()[:2] == [0, 3]
    assert means.max_kw.tolist()[:2] == [2, 5]
    assert means.count.tolist()[:2] == [3, 3]
    assert means.energy_kwh.tolist()[:2] == [102, 105]
    assert set(means.resource_ids) == {"r0"}
    assert thin(store) == 0, "once is enough"


def test_a_meter_that_tells_once_an_hour_loses_no_energy(populated: Store) -> None:
    store = populated
    told = [reading("r0", 30 + 60 * k, 1.0 + k) for k in range(5)]
    store.add_readings(told, DAY)
    thin(store)
    means = store.reading_means(["r0"], DAY + timedelta(hours=1), DAY + timedelta(hours=4))
    assert means.mean_kw.tolist() == [2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5]
    assert means.mean_kw.sum() / 4 == pytest.approx((2 + 3 * 2 + 4 * 2 + 5) / 2)
    assert means.count.sum() == 3
    assert np.array_equal(means.min_kw, means.max_kw)


def test_young_readings_stay_and_so_do_those_around_an_event_that_was_held(populated: Store) -> None:
    store = populated

    def event(name: str, hour: int, status: EventStatus) -> None:
        start = DAY + timedelta(hours=hour)
        made = Event(
            event_id=name,
            start=start,
            end=start + timedelta(hours=1),
            target_kw=100.0,
        )
        store.save_event(EventRecord(event=made, status=status, steps=()))

    event("held", 12, EventStatus.EVALUATED)
    event("off", 3, EventStatus.CANCELLED)
    store.add_readings([reading("r0", 60 * k, 1.0) for k in range(24)], DAY)
    store.add_readings([reading("r1", 60 * 24 * 50, 1.0)], DAY)
    thin(store)
    kept = store.readings(None, DAY, NOW)
    hours = [int((moment - DAY).total_seconds() // 3600) for moment in kept["measured_at"]]
    assert hours == [*range(10, 19), 23, 24 * 50], "two hours before, six after; the last of the old; the young one"
    assert next_hour(store, DAY + timedelta(days=10)) is None
    assert set(store.reading_means(["r0"], DAY, NOW).count.tolist()) <= {0, 1}


def test_after_years_means_and_kept_readings_go_too(populated: Store) -> None:
    store = populated
    store.add_readings([reading("r0", 5 * k, 1.0) for k in range(40)], DAY)
    thin(store)
    assert len(store.reading_means(["r0"], DAY, NOW))
    thin(store, DAY + timedelta(days=401))
    assert not len(store.reading_means(["r0"], DAY, NOW))
    assert store.reading_count() == 0
    if not store._db.is_sqlite:
        store.add_readings([reading("r0", 0, 1.0)], DAY)  # the month is made anew
        assert store.reading_count() == 1


def test_what_was_told_of_an_event_is_kept_as_long_as_the_readings_that_judge_it(store: Store) -> None:
    event = Event(event_id="e", start=DAY, end=DAY + timedelta(hours=1), target_kw=1.0)
    record = EventRecord(event=event, status=EventStatus.EVALUATED, steps=(), share_kw={"sun": 1.0})
    store.save_event(record)
    store.add_notices(notices_of(record, "ended"), DAY)
    store.note_told({each.key: DAY for each in store.waiting_notices()})
    thin(store, DAY + timedelta(days=399))
    assert len(store.notices_of("e")) == 1
    thin(store, DAY + timedelta(days=401))
    assert store.notices_of("e") == []


def test_a_gap_of_days_leaves_no_readings_behind(populated: Store) -> None:
    store = populated
    store.add_readings([reading("r0", minute, 1.0) for minute in (0, 10, 60 * 24 * 3, 60 * 24 * 3 + 70)], DAY)
    thin(store)
    assert store.readings(None, DAY, DAY + timedelta(days=3)).empty


async def test_the_service_looks_once_an_hour_and_goes_on_after_a_failure(
    populated: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock:
        at = NOW

        def now(self) -> datetime:
            self.at += timedelta(minutes=30)
            return self.at

    populated.add_readings([reading("r0", 5 * k, 1.0) for k in range(25)], DAY)
    monkeypatch.setattr(housekeeping, "READINGS_EVERY_S", 0.0)
    calls: list[datetime] = []

    async def sometimes(store: Store, retention: RetentionSettings, now: datetime) -> int:
        calls.append(now)
        if len(calls) == 1:
            raise StoreError("away")
        return await thin_out_all(store, retention, now)

    monkeypatch.setattr(housekeeping, "thin_out_all", sometimes)
    runtime = cast("Runtime", SimpleNamespace(clock=Clock(), store=populated))
    task = asyncio.create_task(housekeeping.keep_readings(runtime, SETTINGS))
    async with asyncio.timeout(20):
        while populated.reading_count() != 1:  # noqa: ASYNC110 - a database
            await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert len(calls) >= 2
    assert calls[1] - calls[0] >= timedelta(hours=1)


def test_means_are_not_forgotten_before_the_readings() -> None:
    with pytest.raises(InputError, match="must not be less than raw_days"):
        load_settings(overrides={"retention": {"raw_days": 90, "means_days": 80}})
    with pytest.raises(InputError):
        load_settings(overrides={"retention": {"raw_days": 30}})
