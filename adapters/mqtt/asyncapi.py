"""The contract as an AsyncAPI 3 document, generated from the types that validate: it cannot say anything else.

``python -m adapters.mqtt.asyncapi`` writes it beside this file; a test fails when it is out of date.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from adapters.mqtt.envelope import DEFAULT_PREFIX, MAX_MESSAGE_BYTES, SCHEMA_VERSION, DownTopic, UpTopic
from adapters.mqtt.payloads import DOWN_TYPES, UP_TYPES

PATH = Path(__file__).with_name("asyncapi.json")
GOLDEN = Path(__file__).with_name("golden")

_SUMMARIES: dict[UpTopic | DownTopic, str] = {
    UpTopic.REGISTER: "Register, change or withdraw up to 2000 resources",
    UpTopic.TELEMETRY: "Readings of one or thousands of devices",
    UpTopic.CAPABILITY: "Optional: what can be moved now",
    UpTopic.EVENT_RESPONSE: "Accept an event, accept it in part, decline it, or opt resources out",
    UpTopic.ACK: "What became of commands: taken, refused, done",
    UpTopic.STATUS: "Online or offline; retained, and left as last will",
    UpTopic.BIDS: "Bids in zones of an event, in the place of earlier ones, and withdrawals",
    UpTopic.DISPUTES: "A version of a statement is contested, with a reason",
    DownTopic.REGISTER_RESULT: "For each change accepted, or refused with field, rule and value",
    DownTopic.RECEIPT: "What has been dealt with for good, and what of it was refused",
    DownTopic.EVENT: "An event is announced, changed, cancelled, terminated or over",
    DownTopic.SETPOINTS: "Setpoints for one interval; never retained, worth nothing after valid_until",
    DownTopic.INVITATIONS: "An event takes bids, is closed for bids, or its invitation is cancelled",
    DownTopic.AWARDS: "What of each offer was accepted, at which price, and why no more",
    DownTopic.STATEMENTS: "A statement was issued, corrected or settled: sums, fingerprint, where to read it",
}


def asyncapi_document() -> dict[str, Any]:
    """The document, ready for ``json.dumps``."""
    wanted: list[tuple[UpTopic | DownTopic, tuple[type[BaseModel], JsonSchemaMode]]] = []
    wanted += [(topic, (kind, "validation")) for topic, kind in UP_TYPES.items()]
    wanted += [(topic, (kind, "serialization")) for topic, kind in DOWN_TYPES.items()]
    refs, definitions = models_json_schema(
        [inputs for _, inputs in wanted], ref_template="#/components/schemas/{model}"
    )
    document: dict[str, Any] = {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Virtual power plant: aggregators over MQTT",
            "version": f"{SCHEMA_VERSION}.0.0",
            "description": (
                "MQTT 3.1.1, QoS 1, JSON, at most "
                f"{MAX_MESSAGE_BYTES} bytes a message. Power is kW, positive when consuming; energy kWh; times "
                "RFC 3339 with offset; prices CNY/kWh as numbers, sums of money CNY as text. "
                "Every message from an aggregator except its status is answered with a receipt "
                "once it is committed; what is not answered is sent again with the same message_id."
            ),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "broker": {
                "host": "{host}:{port}",
                "protocol": "mqtt",
                "protocolVersion": "3.1.1",
                "description": "User name = aggregator_id. TLS by configuration.",
                "variables": {"host": {"default": "localhost"}, "port": {"default": "1883"}},
                "security": [{"$ref": "#/components/securitySchemes/password"}],
            }
        },
        "channels": {},
        "operations": {},
        "components": {
            "securitySchemes": {"password": {"type": "userPassword"}},
            "messages": {},
            "schemas": definitions["$defs"],
        },
    }
    for topic, inputs in wanted:
        _add(document, topic, refs[inputs])
    return document


def _add(document: dict[str, Any], topic: UpTopic | DownTopic, schema: dict[str, Any]) -> None:
    """One topic: its channel, the operation on it (seen from the platform) and its message with a sample."""
    up = isinstance(topic, UpTopic)
    name = topic.value
    document["components"]["messages"][name] = {
        "name": name,
        "summary": _SUMMARIES[topic],
        "payload": schema,
        "examples": [{"payload": json.loads((GOLDEN / f"{name}.json").read_bytes())}],
    }
    document["channels"][name] = {
        "address": f"{DEFAULT_PREFIX}/{{aggregator_id}}/{'up' if up else 'down'}/{name}",
        "parameters": {"aggregator_id": {"description": "1 to 64 characters of a-z, 0-9 and hyphen"}},
        "messages": {name: {"$ref": f"#/components/messages/{name}"}},
    }
    document["operations"][name] = {
        "action": "receive" if up else "send",
        "summary": _SUMMARIES[topic],
        "channel": {"$ref": f"#/channels/{name}"},
        "messages": [{"$ref": f"#/channels/{name}/messages/{name}"}],
        "bindings": {"mqtt": {"qos": 1, "retain": topic is UpTopic.STATUS}},
    }


def asyncapi_text() -> str:
    """The document as it is kept in the repository."""
    return json.dumps(asyncapi_document(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PATH.write_text(asyncapi_text())
