import json
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from models.errors import MessageError
from simulations.wire import codec

NOW = datetime(2025, 7, 16, 5, tzinfo=UTC)
ENVELOPE = {"schema_version": 1, "message_id": "m-1", "sent_at": "2025-07-16T05:00:00Z"}
SETPOINTS: dict[str, Any] = ENVELOPE | {
    "command_id": "c-1",
    "aggregator_id": "industry",
    "sequence": 7,
    "plan_hash": "abc",
    "valid_from": "2025-07-16T13:00:00+08:00",
    "valid_until": "2025-07-16T13:10:00+08:00",
    "setpoints": [{"resource_id": "a", "power_kw": -5.5}, {"resource_id": "b", "power_kw": None}],
}


def payload(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields).encode()


def test_times_travel_in_utc_with_a_z_and_naive_ones_not_at_all() -> None:
    assert codec.stamp(datetime(2025, 7, 16, 13, tzinfo=timezone(timedelta(hours=8)))) == "2025-07-16T05:00:00Z"
    with pytest.raises(ValueError, match="offset"):
        codec.stamp(datetime(2025, 7, 16, 13))  # noqa: DTZ001 - that is the point


def test_a_message_carries_its_envelope_and_never_nan() -> None:
    content = json.loads(codec.encode("m-1", NOW, {"readings": []}))
    assert content == {**ENVELOPE, "readings": []}
    with pytest.raises(ValueError, match="JSON"):
        codec.encode("m-1", NOW, {"power_kw": math.nan})


def test_a_reading_leaves_out_what_the_device_does_not_have() -> None:
    bare = codec.reading("a", NOW, 1.5, 3)
    assert set(bare) == {"resource_id", "measured_at", "power_kw", "available", "sequence"}
    full = codec.reading("a", NOW, 1.5, 3, energy_kwh=2.0, temperature_celsius=25.0)
    assert full["energy_kwh"] == 2.0
    assert full["temperature_celsius"] == 25.0


def test_setpoints_are_read_with_their_times_in_utc() -> None:
    batch = codec.decode("setpoints", payload(SETPOINTS))
    assert isinstance(batch, codec.ReceivedSetpoints)
    assert batch.valid_from == NOW
    assert batch.setpoints == (("a", -5.5), ("b", None))


def test_unknown_fields_do_not_stop_a_device() -> None:
    batch = codec.decode("setpoints", payload(SETPOINTS | {"novelty": 1}))
    assert isinstance(batch, codec.ReceivedSetpoints)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"schema_version": 2}, "schema_version"),
        ({"sequence": "7"}, "sequence"),
        ({"sequence": True}, "sequence"),
        ({"valid_until": "2025-07-16T13:10:00"}, "offset"),
        ({"valid_until": "tomorrow"}, "RFC 3339"),
        ({"valid_until": None}, "valid_until"),
        ({"setpoints": "all"}, "list"),
        ({"setpoints": [{"resource_id": "a"}]}, "power_kw"),
        ({"setpoints": [{"resource_id": "a", "power_kw": "5"}]}, "finite"),
        ({"setpoints": [7]}, "object"),
    ],
)
def test_what_could_mislead_a_device_is_refused_by_name(change: dict[str, Any], word: str) -> None:
    with pytest.raises(MessageError, match=word):
        codec.decode("setpoints", payload(SETPOINTS | change))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]", b"5" * (1024 * 1024 + 1)])
def test_noise_is_refused(content: bytes) -> None:
    with pytest.raises(MessageError):
        codec.decode("setpoints", content)


def test_a_message_on_no_topic_of_the_contract_is_refused() -> None:
    with pytest.raises(MessageError, match="topic"):
        codec.decode("gossip", payload(ENVELOPE))


def test_infinite_power_is_refused() -> None:
    text = json.dumps(SETPOINTS).replace("-5.5", "-Infinity").encode()
    with pytest.raises(MessageError, match="finite"):
        codec.decode("setpoints", text)


def test_receipts_results_and_events_are_read() -> None:
    receipt = codec.decode(
        "receipt",
        payload(
            ENVELOPE
            | {
                "message_ids": ["a", "b"],
                "refused": [{"message_id": "b", "index": 2, "field": "power_kw", "rule": "is a number", "value": "x"}],
            }
        ),
    )
    assert isinstance(receipt, codec.ReceivedReceipt)
    assert receipt.message_ids == ("a", "b")
    assert receipt.refused[0][:2] == ("b", 2)
    result = codec.decode(
        "register-result",
        payload(
            ENVELOPE
            | {
                "register_message_id": "r",
                "results": [
                    {
                        "index": 0,
                        "resource_id": "a",
                        "accepted": False,
                        "field": "meter_id",
                        "rule": "taken",
                        "value": 1,
                    }
                ],
            }
        ),
    )
    assert isinstance(result, codec.ReceivedResult)
    assert result.results[0] == codec.ResourceAnswer("a", False, "meter_id", "taken", 1)
    event = codec.decode(
        "event",
        payload(
            ENVELOPE
            | {
                "event_id": "e",
                "status": "notified",
                "direction": "shave",
                "start": "2025-07-16T05:00:00Z",
                "end": "2025-07-16T06:00:00Z",
                "share_kw": 10,
                "respond_by": None,
                "reason": "",
            }
        ),
    )
    assert isinstance(event, codec.ReceivedEvent)
    assert event.start == NOW
    assert event.respond_by is None
