"""Telemetry in groups: what waits together is taken together, and one bad message spoils nothing for the others."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import numpy as np

from adapters.mqtt.decode import DecodeContext
from adapters.mqtt.decode_readings import decode_plain_group
from adapters.mqtt.queues import MOST_TOGETHER, AggregatorQueues, Incoming
from adapters.mqtt.uplink import TelemetryGroup
from models.reading_columns import ReadingColumns

NOW = datetime(2025, 7, 16, 5, tzinfo=UTC)
CONTEXT = DecodeContext(NOW, "agg", lambda _: 10.0, lambda names: np.full(len(names), 10.0))


def message(message_id: str, *readings: dict[str, Any], **more: Any) -> bytes:
    envelope = {"schema_version": 1, "message_id": message_id, "sent_at": "2025-07-16T05:00:00Z"}
    return json.dumps({**envelope, "readings": list(readings), **more}).encode()


def reading(name: str, power_kw: float = 1.0, **more: Any) -> dict[str, Any]:
    return {"resource_id": name, "measured_at": "2025-07-16T04:55:00Z", "power_kw": power_kw, **more}


def test_messages_become_one_row_of_readings_in_their_order() -> None:
    group = decode_plain_group(
        [message("one", reading("a", 1.0), reading("b", 2.0)), message("two"), message("three", reading("a", 3.0))],
        CONTEXT,
    )
    assert group is not None
    assert (group.message_ids, group.sizes) == (("one", "two", "three"), (2, 0, 1))
    assert group.readings.power_kw.tolist() == [1.0, 2.0, 3.0]


def test_a_message_that_waits_twice_counts_once() -> None:
    twice = message("one", reading("a"))
    group = decode_plain_group([twice, message("two", reading("b")), twice], CONTEXT)
    assert group is not None
    assert (group.message_ids, list(group.readings.resource_ids)) == (("one", "two"), ["a", "b"])


def test_a_group_with_anything_unusual_is_no_group() -> None:
    good = message("one", reading("a"))
    for bad in (
        b"nonsense",
        b"[]",
        message("with a space", reading("a")),
        message("x", reading("a"), schema_version=2),
        message("x", reading("a"), sent_at="yesterday"),
        message("x", reading("a"), sent_at=5),
        message("x", reading("a"), more=1),
        message("x", reading("a", unknown=1)),
        message("x", reading("a", power_kw=1e6)),
        message("x", {"resource_id": "a"}),
    ):
        assert decode_plain_group([good, bad], CONTEXT) is None, bad
    assert decode_plain_group([good], CONTEXT) is not None


def test_a_group_without_some_of_its_messages_has_the_readings_of_the_others() -> None:
    decoded = decode_plain_group([message(f"m{k}", *[reading(f"d{k}")] * k) for k in range(4)], CONTEXT)
    assert decoded is not None
    group = TelemetryGroup("agg", decoded.message_ids, decoded.sizes, decoded.readings, NOW)
    rest = group.without({"m1", "m3", "other"})
    assert (rest.message_ids, rest.sizes, list(rest.readings.resource_ids)) == (("m0", "m2"), (0, 2), ["d2", "d2"])
    assert group.without(()) is group


def test_sessions_keep_their_place_when_messages_are_left_out() -> None:
    stay = {
        "session_id": "s",
        "arrival": "2025-07-16T03:00:00Z",
        "departure": "2025-07-16T11:00:00Z",
        "energy_needed_kwh": 5.0,
    }
    decoded = decode_plain_group([message("m0", reading("a")), message("m1", reading("b", session=stay))], CONTEXT)
    assert decoded is not None
    group = TelemetryGroup("agg", decoded.message_ids, decoded.sizes, decoded.readings, NOW).without({"m0"})
    assert isinstance(group.readings, ReadingColumns)
    assert list(group.readings.sessions) == [0]


async def test_only_telemetry_is_worked_off_together_and_order_is_kept() -> None:
    queues = AggregatorQueues(10**9, 10**9)
    queue = queues.open("agg")
    for last in ("telemetry", "telemetry", "ack", "telemetry"):
        assert queue.put(Incoming(f"vpp/v1/agg/up/{last}", last, b"{}"))
    assert [len(await queue.get()) for _ in range(3)] == [2, 1, 1]
    assert queues.held_bytes == 0
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    assert not waiting.done()
    queue.put(Incoming("vpp/v1/agg/up/ack", "ack", b"{}"))
    assert len(await waiting) == 1


async def test_so_many_and_no_more_are_worked_off_together() -> None:
    queue = AggregatorQueues(10**9, 10**9).open("agg")
    for _ in range(MOST_TOGETHER + 1):
        queue.put(Incoming("t", "telemetry", b"{}"))
    assert [len(await queue.get()) for _ in range(2)] == [MOST_TOGETHER, 1]
    for _ in range(3):
        queue.put(Incoming("t", "telemetry", b" " * 600_000))
    assert [len(await queue.get()) for _ in range(3)] == [1, 1, 1]
