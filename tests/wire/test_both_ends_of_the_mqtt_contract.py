"""The far side and our side were written apart from the same text: here each reads what the other writes."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from adapters.mqtt import payloads
from adapters.mqtt.envelope import UpTopic
from simulations.scenarios import load_scenario
from simulations.scenarios.generator import generate_fleet
from simulations.wire import codec

GOLDEN = Path(payloads.__file__).parent / "golden"
NOW = datetime(2025, 7, 16, 5, tzinfo=UTC)


@pytest.mark.parametrize("topic", ["setpoints", "event", "receipt", "register-result"])
def test_devices_read_every_golden_sample_that_comes_down(topic: str) -> None:
    received = codec.decode(topic, (GOLDEN / f"{topic}.json").read_bytes())
    assert received is not None


def test_devices_understand_the_golden_setpoints() -> None:
    batch = codec.decode("setpoints", (GOLDEN / "setpoints.json").read_bytes())
    assert isinstance(batch, codec.ReceivedSetpoints)
    ours = payloads.SetpointsMessage.model_validate_json((GOLDEN / "setpoints.json").read_bytes())
    assert (batch.command_id, batch.sequence, batch.valid_from, batch.valid_until) == (
        ours.command_id,
        ours.sequence,
        ours.valid_from,
        ours.valid_until,
    )
    assert batch.setpoints == tuple((each.resource_id, each.power_kw) for each in ours.setpoints)


def test_the_platform_reads_every_registration_of_the_scenario() -> None:
    fleet = generate_fleet(load_scenario("chengdu-2025-07-16"))
    for changes in fleet.registrations.values():
        fields = {"changes": changes, "profiles": fleet.profiles}
        message = payloads.Register.model_validate_json(codec.encode("m-1", NOW, fields))
        assert len(message.changes) == len(changes)


SESSION = {
    "session_id": "s-1",
    "arrival": "2025-07-16T04:00:00Z",
    "departure": "2025-07-16T09:00:00Z",
    "energy_needed_kwh": 20.0,
    "battery_capacity_kwh": 60.0,
    "battery_start_kwh": 10.0,
}
ACK = {"command_id": "c-1", "status": "refused", "resource_id": "a", "reason": "does not want to"}
RESPONSE = {"event_id": "e-1", "answer": "accept_part", "accepted_kw": 5.0, "opted_out_resource_ids": ["a"]}


@pytest.mark.parametrize(
    ("topic", "fields"),
    [
        (UpTopic.TELEMETRY, {"readings": [codec.reading("a", NOW, 1.5, 1, energy_kwh=3.0, temperature_celsius=25.0)]}),
        (UpTopic.TELEMETRY, {"readings": [codec.reading("a", NOW, 1.5, 1) | {"session": SESSION}]}),
        (UpTopic.TELEMETRY, {"readings": [codec.reading("a", NOW, 0.0, 2) | {"session": None}]}),
        (UpTopic.ACK, {"acks": [ACK, {"command_id": "c-2", "status": "done", "resource_id": None, "reason": ""}]}),
        (UpTopic.EVENT_RESPONSE, RESPONSE),
        (UpTopic.STATUS, {"status": "online", "reason": ""}),
    ],
)
def test_the_platform_reads_what_gateways_send(topic: UpTopic, fields: dict[str, Any]) -> None:
    message = payloads.UP_TYPES[topic].model_validate_json(codec.encode("m-1", NOW, fields))
    assert message.message_id == "m-1"
    if isinstance(message, payloads.Telemetry) and "session" in fields["readings"][0]:
        assert message.readings[0].says_session
