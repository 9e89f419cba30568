import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.store import Store
from models.errors import InputError
from models.records import ChargedRecord, SessionRecord
from models.telemetry import ChargingSession, Reading

NOON = datetime(2025, 7, 16, 4, tzinfo=UTC)
DAY = (NOON - timedelta(hours=12), NOON + timedelta(hours=12))


def reading(name: str, minute: float = 0, power_kw: float = 1.0, **more: object) -> Reading:
    at = NOON + timedelta(minutes=minute)
    return Reading.model_validate({"resource_id": name, "measured_at": at, "power_kw": power_kw, **more})


def test_readings_come_back_with_both_times_and_nothing_made_up(populated: Store) -> None:
    received_at = NOON + timedelta(seconds=7.000001)
    stay = ChargingSession(session_id="s", arrival=NOON, departure=DAY[1], energy_needed_kwh=20)
    sent = [
        reading("r1", 0, -3.25, energy_kwh=0.0, temperature_celsius=21.5, sequence=4),
        reading("r2", 0, 0.1 + 0.2, available=False, session=stay),
        reading("r1", 5, 1e-300, session=None),
    ]
    assert populated.add_readings(sent, received_at) == 3
    frame = populated.readings(None, *DAY)
    assert list(frame["resource_id"]) == ["r1", "r2", "r1"]
    assert frame["measured_at"][0].to_pydatetime() == NOON
    assert frame["received_at"][0].to_pydatetime() == received_at
    assert list(frame["power_kw"]) == [-3.25, 0.1 + 0.2, 1e-300]
    assert frame["energy_kwh"][0] == 0.0
    assert np.isnan(frame["energy_kwh"][1])
    assert list(frame["available"]) == [True, False, True]
    assert list(frame["sequence"]) == [4, 0, 0]
    assert frame["session"][0] is None
    assert ChargingSession.model_validate_json(frame["session"][1]) == stay
    assert frame["session"][2] == "null"


def test_a_reading_is_known_by_resource_and_time_whatever_else_it_says(populated: Store) -> None:
    assert populated.add_readings([reading("r1"), reading("r1", 5), reading("r1", power_kw=9)], NOON) == 2
    assert populated.add_readings([reading("r1", power_kw=7), reading("r2")], NOON) == 1
    frame = populated.readings(["r1"], *DAY)
    assert list(frame["power_kw"]) == [1.0, 1.0]


def test_an_unregistered_resource_is_named_and_nothing_of_its_message_is_kept(populated: Store) -> None:
    with pytest.raises(InputError) as refused:
        populated.add_readings([reading("r1"), reading("nobody")], NOON)
    assert refused.value.faults[0].value == "nobody"
    assert populated.reading_count() == 0
    assert populated.add_readings([], NOON) == 0


def test_readings_are_found_by_time_and_resource(populated: Store) -> None:
    sent = [reading(f"r{k % 4}", 5 * (k // 4), float(k)) for k in range(40)]
    populated.add_readings(list(reversed(sent)), NOON)
    some = populated.readings(["r1", "r3", "unknown"], NOON + timedelta(minutes=5), NOON + timedelta(minutes=15))
    assert list(some["power_kw"]) == [5, 7, 9, 11]
    assert list(populated.readings(["r1"], *DAY, limit=2)["power_kw"]) == [1, 5]
    heard = populated.newest_readings(NOON, NOON + timedelta(minutes=41))
    assert dict(zip(heard.resource_ids, heard.power_kw.tolist(), strict=True)) == {
        "r0": 32,
        "r1": 33,
        "r2": 34,
        "r3": 35,
    }
    assert not len(populated.newest_readings(NOON, NOON))
    populated.add_readings([reading("r4", 1, 99.0)], NOON)  # silent since: the others are among the last readings
    heard = populated.newest_readings(NOON, NOON + timedelta(minutes=41))
    assert sorted(heard.power_kw.tolist()) == [32, 33, 34, 35, 99]
    assert len(populated.newest_readings(NOON + timedelta(minutes=2), NOON + timedelta(minutes=41))) == 4
    whole = populated.readings(None, *DAY)
    (columns,) = populated.reading_columns(None, *DAY)
    assert list(columns.resource_ids) == whole["resource_id"].tolist()
    assert columns.power_kw.tolist() == whole["power_kw"].tolist()
    (one,) = populated.reading_columns(["r1", "unknown"], *DAY)
    assert set(one.resource_ids) == {"r1"}
    assert [list(populated.reading_columns(names, *DAY)) for names in ([], ["unknown"])] == [[], []]
    assert list(populated.reading_columns(None, *DAY, only_sessions=True)) == []
    assert populated.readings([], *DAY).empty
    assert populated.readings(None, NOON, NOON).empty


def test_readings_of_several_months_go_into_one_call(populated: Store) -> None:
    minutes = [60 * 24 * 31 * month for month in range(-8, 9)]
    assert populated.add_readings([reading("r1", minute) for minute in minutes], NOON) == 17
    assert populated.add_readings([reading("r1", minute) for minute in minutes], NOON) == 0
    everything = populated.readings(None, NOON - timedelta(days=400), NOON + timedelta(days=400))
    assert len(everything) == 17
    assert everything["measured_at"].is_monotonic_increasing


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.tuples(
            st.integers(0, 19),
            st.datetimes(datetime(1999, 1, 1), datetime(2001, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - made aware
            st.floats(allow_nan=False, allow_infinity=False),
            st.none() | st.floats(allow_nan=False, allow_infinity=False),
        ),
        max_size=30,
    )
)
def test_whatever_is_measured_comes_back_once_and_exactly(populated: Store, facts: list[tuple]) -> None:
    known: dict[tuple[str, datetime], tuple] = vars(populated).setdefault("expected", {})  # of earlier examples too
    before = len(known)
    sent = []
    for number, at, power_kw, energy_kwh in facts:
        sent.append(Reading(resource_id=f"r{number}", measured_at=at, power_kw=power_kw, energy_kwh=energy_kwh))
        known.setdefault((f"r{number}", at), (power_kw, energy_kwh))  # the first word about a moment counts
    assert populated.add_readings(sent, NOON) == len(known) - before
    frame = populated.readings(None, datetime(1990, 1, 1, tzinfo=UTC), datetime(2010, 1, 1, tzinfo=UTC))
    rows: list[Any] = list(frame.itertuples())
    found = {
        (row.resource_id, row.measured_at.to_pydatetime()): (
            row.power_kw,
            None if np.isnan(row.energy_kwh) else row.energy_kwh,
        )
        for row in rows
    }
    assert found == known
    assert len(rows) == len(known)


def test_many_threads_write_at_once_and_nothing_is_lost_or_doubled(populated: Store) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for minute in range(10):
                with populated.transaction():
                    populated.add_readings([reading(f"r{k}", minute + number / 100) for k in range(20)], NOON)
                    populated.add_to_counter("batches")
                    populated.next_sequence("sun")
        except BaseException as error:  # noqa: BLE001 - handed to the test below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert populated.reading_count() == 6 * 10 * 20
    assert populated.counters() == {"batches": 60}
    assert populated.next_sequence("sun") == 61


@pytest.mark.slow
def test_a_hundred_thousand_readings_take_seconds_not_minutes(populated: Store) -> None:
    """The real figure is several times higher; this floor only catches a lost bulk path on a busy machine."""
    sent = [reading(f"r{k % 20}", k // 20 / 100, float(k)) for k in range(50_000)]
    started = time.perf_counter()
    kept = sum(populated.add_readings(sent[low : low + 5000], NOON) for low in range(0, len(sent), 5000))
    assert kept == 50_000
    assert time.perf_counter() - started < 5


def test_the_newest_word_about_a_stay_counts(populated: Store) -> None:
    first = SessionRecord("r1", "stay", NOON, NOON + timedelta(hours=4), 20.0)
    later = SessionRecord(
        "r1", "stay", NOON, NOON + timedelta(hours=3), 25.0, 60.0, 30.0, 12.5, NOON + timedelta(hours=2)
    )
    other = SessionRecord("r2", "stay", NOON + timedelta(hours=5), NOON + timedelta(hours=6), 5.0)
    populated.save_sessions([first])
    populated.save_sessions([later, other])
    populated.save_sessions([])
    assert populated.sessions(*DAY) == [later, other]
    assert populated.sessions(*DAY, ["r2"]) == [other]
    assert populated.sessions(NOON + timedelta(hours=2), NOON + timedelta(hours=4)) == [], "unplugged at two"
    with pytest.raises(InputError):
        populated.save_sessions([SessionRecord("nobody", "s", NOON, DAY[1], 1.0)])


def test_what_cars_have_got_is_kept_one_for_each_charger(populated: Store) -> None:
    assert populated.charged() == []
    first, other = ChargedRecord("r1", "s1", NOON, 3.25), ChargedRecord("r2", "s9", NOON, 0.0)
    populated.save_charged([first, other])
    newer = ChargedRecord("r1", "s2", NOON + timedelta(minutes=5), 0.5)
    populated.save_charged([newer])
    populated.save_charged([])
    assert sorted(populated.charged(), key=lambda each: each.resource_id) == [newer, other]
    with pytest.raises(InputError, match="nobody"):
        populated.save_charged([ChargedRecord("nobody", "s", NOON, 1.0)])


def test_what_is_read_in_several_statements_is_one_state_while_others_write(populated: Store) -> None:
    count = "SELECT count(*) FROM readings"
    with populated._db.reading() as connection:
        before = connection.exec_driver_sql(count).scalar_one()
        writer = threading.Thread(target=populated.add_readings, args=([reading("r1")], NOON))
        writer.start()
        writer.join()
        assert connection.exec_driver_sql(count).scalar_one() == before == 0
    assert populated.reading_count() == 1
