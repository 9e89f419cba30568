"""Telemetry by columns: it takes what the careful reader takes, and says nothing about anything else."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.mqtt.decode import DecodeContext, decode_up
from adapters.mqtt.decode_readings import decode_plain_telemetry
from adapters.mqtt.envelope import UpTopic
from adapters.mqtt.payloads import Telemetry
from models.errors import MessageError
from models.reading_columns import ReadingColumns
from simulations.wire import codec

NOW = datetime(2025, 7, 16, 5, tzinfo=UTC)
KNOWN = {"a": 10.0, "b": 200.0, "c": 0.0}
CONTEXT = DecodeContext(
    NOW,
    "agg",
    KNOWN.get,
    lambda names: np.array([KNOWN.get(name, np.nan) for name in names], dtype=np.float64),
)
STAY = {
    "session_id": "s1",
    "arrival": "2025-07-16T03:00:00Z",
    "departure": "2025-07-16T11:00:00+02:00",
    "energy_needed_kwh": 12.5,
}


def good(name: str = "a", **more: Any) -> dict[str, Any]:
    return {"resource_id": name, "measured_at": "2025-07-16T04:55:00Z", "power_kw": 1.5, **more}


def message(*readings: Any, **more: Any) -> bytes:
    envelope = {"schema_version": 1, "message_id": "m1", "sent_at": "2025-07-16T05:00:00Z"}
    return json.dumps({**envelope, "readings": list(readings), **more}).encode()


def test_columns_hold_what_the_careful_reader_reads() -> None:
    payload = message(
        good(energy_kwh=3, temperature_celsius=25.25, available=False, sequence=7),
        good("b", power_kw=-4, measured_at="2025-07-16T06:55:00.123456+02:00", session=STAY),
        good("c", session=None, energy_kwh=None),
    )
    plain, careful = decode_plain_telemetry(payload, CONTEXT), decode_up(UpTopic.TELEMETRY, payload, CONTEXT)
    assert plain is not None
    assert isinstance(careful.message, Telemetry)
    assert isinstance(plain.message.readings, ReadingColumns)
    assert (plain.message.message_id, plain.message.sent_at) == (careful.message.message_id, careful.message.sent_at)
    assert [each.model_dump() for each in plain.message.readings] == [
        each.model_dump() for each in careful.message.readings
    ]
    assert [each.says_session for each in plain.message.readings] == [False, True, True]
    assert list(plain.indexes) == list(careful.indexes) == [0, 1, 2]


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"{", id="no JSON"),
        pytest.param(b"[]", id="no object"),
        pytest.param(message(good(), more=1), id="unknown field of the message"),
        pytest.param(message(good(voltage=230)), id="unknown field of a reading"),
        pytest.param(message(good("stranger")), id="unknown resource"),
        pytest.param(message(good(), 5), id="not an object"),
        pytest.param(message({"resource_id": "a", "power_kw": 1.0}), id="no time"),
        pytest.param(message(good(power_kw="1.5")), id="power as text"),
        pytest.param(message(good(power_kw=True)), id="power as truth"),
        pytest.param(message(good(power_kw=None)), id="no power"),
        pytest.param(message(good()).replace(b"1.5", b"NaN"), id="NaN"),
        pytest.param(message(good()).replace(b"1.5", b"1e999"), id="infinity"),
        pytest.param(message(good(power_kw=10**400)), id="beyond all numbers"),
        pytest.param(message(good(power_kw=1500.0)), id="watts"),
        pytest.param(message(good(measured_at="2025-07-16T04:55:00")), id="no offset"),
        pytest.param(message(good(measured_at="2025-07-16T05:02:00Z")), id="ahead of us"),
        pytest.param(message(good(measured_at=1752641700)), id="time as a number"),
        pytest.param(message(good(available=None)), id="available null"),
        pytest.param(message(good(available=1)), id="available 1"),
        pytest.param(message(good(sequence=-1)), id="negative sequence"),
        pytest.param(message(good(sequence=1.0)), id="sequence as a fraction"),
        pytest.param(message(good(temperature_celsius=151)), id="too hot"),
        pytest.param(message(good(energy_kwh="3")), id="energy as text"),
        pytest.param(message(good(session={**STAY, "departure": STAY["arrival"]})), id="a stay of no time"),
        pytest.param(message(good(session={**STAY, "plug": 2})), id="unknown field of a stay"),
    ],
)
def test_whatever_is_unusual_is_left_to_the_careful_reader(payload: bytes) -> None:
    assert decode_plain_telemetry(payload, CONTEXT) is None


values = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.floats(-300, 300), st.text(max_size=3), st.just(STAY), st.just({})
)
readings = st.fixed_dictionaries(
    {"resource_id": st.sampled_from(["a", "b", "c"]), "measured_at": st.just("2025-07-16T04:55:00Z")},
    optional={
        name: st.one_of(st.floats(-9, 9), values)
        for name in ("power_kw", "energy_kwh", "temperature_celsius", "available", "sequence", "session", "odd")
    },
)


@settings(max_examples=200, deadline=None)
@given(st.lists(readings, max_size=4))
def test_both_readers_agree_on_every_message(rows: list[dict[str, Any]]) -> None:
    payload = message(*rows)
    plain = decode_plain_telemetry(payload, CONTEXT)
    try:
        careful = decode_up(UpTopic.TELEMETRY, payload, CONTEXT)
    except MessageError:
        assert plain is None
        return
    assert isinstance(careful.message, Telemetry)
    if plain is None:
        return
    assert careful.refusals == ()
    assert [each.says_session for each in plain.message.readings] == [
        each.says_session for each in careful.message.readings
    ]
    assert [each.model_dump() for each in plain.message.readings] == [
        each.model_dump() for each in careful.message.readings
    ]


def test_a_gateways_columns_are_read_as_columns() -> None:
    names = ["a", "b", "c"]
    texts = codec.reading_texts(
        names,
        NOW,
        np.array([1.23456, -1e-9, 0.0]),
        [1, 2, 3],
        energy_kwh=np.array([np.nan, 2.0, np.nan]),
        temperature_celsius=np.array([25.126, np.nan, -3.0]),
        available=np.array([True, False, True]),
        sessions={1: None, 2: {**STAY}},
    )
    plain = decode_plain_telemetry(codec.encode_list("m", NOW, "readings", texts), CONTEXT)
    assert plain is not None
    first, second, third = plain.message.readings
    assert (first.power_kw, first.energy_kwh, first.temperature_celsius, first.sequence) == (1.2346, None, 25.13, 1)
    assert (second.power_kw, second.energy_kwh, second.available, second.session) == (0.0, 2.0, False, None)
    assert second.says_session
    assert third.session is not None
    assert third.session.departure == datetime(2025, 7, 16, 9, tzinfo=UTC)
    assert [json.loads(text)["resource_id"] for text in texts] == names


def test_a_power_that_is_no_number_is_never_sent() -> None:
    nothing, one = np.array([np.nan]), np.array([True])
    with pytest.raises(ValueError, match="power_kw: must be finite"):
        codec.reading_texts(
            ["a"], NOW, nothing, [1], energy_kwh=nothing, temperature_celsius=nothing, available=one, sessions={}
        )


def test_parts_of_a_list_stay_within_count_and_size_and_lose_nothing() -> None:
    items = ["x" * size for size in (400_000, 400_000, 400_000, 10, 10, 10)]
    parts = list(codec.parts(items, 3))
    assert [len(part) for part in parts] == [2, 3, 1]
    assert [item for part in parts for item in part] == items
    assert [len(part) for part in codec.parts(items[:2], 3, 700_000)] == [1, 1]
    assert list(codec.parts([], 3)) == []


def test_readings_as_objects_and_as_columns_are_the_same() -> None:
    payload = message(good(), good("b", session=None, measured_at="2025-07-16T04:50:00Z"), good("c", energy_kwh=1.0))
    careful = decode_up(UpTopic.TELEMETRY, payload, CONTEXT).message
    assert isinstance(careful, Telemetry)
    columns = ReadingColumns.of(careful.readings)
    assert ReadingColumns.of(columns) is columns
    chosen = columns.take(np.array([2, 1]))
    assert [each.resource_id for each in chosen] == ["c", "b"]
    assert chosen[1] == careful.readings[1]
    assert dict(chosen.sessions) == {1: None}
    assert [each.resource_id for each in columns[1:]] == ["b", "c"]
    assert columns[-1].measured_at == NOW - timedelta(minutes=5)
    with pytest.raises(IndexError):
        columns[3]
