"""The device end of the MQTT contract, JSON by hand: written from the contract's text, sharing nothing with adapters.

Numbers travel as JSON numbers (never NaN), times as RFC 3339 in UTC with a ``Z``.  What comes down is read leniently
where the contract may grow (unknown fields are ignored) and strictly where a device could be misled (wrong types,
missing fields, other schema versions): those raise ``MessageError``.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputFault, MessageError
from models.intervals import FloatArray
from simulations.wire import market_codec
from simulations.wire.fields import Fields

SCHEMA_VERSION = 1
GREATEST_BYTES = 1024 * 1024
_ROOM_BYTES = GREATEST_BYTES - 4096
"""For the items of a list: the envelope needs some room too."""


def stamp(moment: datetime) -> str:
    """An aware instant as RFC 3339 text in UTC."""
    if moment.tzinfo is None:
        raise ValueError(f"moment: must carry an offset (got {moment!r})")
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def encode(message_id: str, sent_at: datetime, fields: Mapping[str, Any]) -> bytes:
    """One message with its envelope.  NaN or infinity: ``ValueError``, they have no JSON."""
    envelope = {"schema_version": SCHEMA_VERSION, "message_id": message_id, "sent_at": stamp(sent_at)}
    return json.dumps(envelope | dict(fields), separators=(",", ":"), allow_nan=False).encode()


def reading(
    resource_id: str,
    measured_at: datetime,
    power_kw: float,
    sequence: int,
    *,
    energy_kwh: float = math.nan,
    temperature_celsius: float = math.nan,
    available: bool = True,
) -> dict[str, Any]:
    """One reading as JSON fields; NaN = the device has no such quantity.  ``session`` is added by who knows it."""
    fields: dict[str, Any] = {
        "resource_id": resource_id,
        "measured_at": stamp(measured_at),
        "power_kw": round(power_kw, 4),
        "available": available,
        "sequence": sequence,
    }
    if not math.isnan(energy_kwh):
        fields["energy_kwh"] = round(energy_kwh, 4)
    if not math.isnan(temperature_celsius):
        fields["temperature_celsius"] = round(temperature_celsius, 2)
    return fields


def reading_texts(
    resource_ids: Sequence[str],
    measured_at: datetime,
    power_kw: FloatArray,
    sequence: Sequence[int],
    *,
    energy_kwh: FloatArray,
    temperature_celsius: FloatArray,
    available: NDArray[np.bool_],
    sessions: Mapping[int, Mapping[str, Any] | None],
) -> list[str]:
    """Readings of n devices of one instant, each as the JSON text of ``reading``; NaN = no such quantity.

    ``sessions``: by position, for those who have something to say about one (None = unplugged).  ``resource_ids`` are
    names that need no escape in JSON.  ``ValueError`` for a power that is not finite.
    """
    if not np.isfinite(power_kw).all():
        raise ValueError("power_kw: must be finite")
    head = f'","measured_at":"{stamp(measured_at)}","power_kw":'
    rows = zip(
        resource_ids,
        np.round(power_kw, 4).tolist(),
        np.where(available, "true", "false").tolist(),
        sequence,
        _numbers("energy_kwh", energy_kwh, 4),
        _numbers("temperature_celsius", temperature_celsius, 2),
        strict=False,
    )
    texts = [
        f'{{"resource_id":"{name}{head}{power!r},"available":{there},"sequence":{number}{energy}{warmth}}}'
        for name, power, there, number, energy, warmth in rows
    ]
    for place, session in sessions.items():
        texts[place] = f'{texts[place][:-1]},"session":{to_json(session)}}}'
    return texts


def _numbers(name: str, values: FloatArray, digits: int) -> Iterable[str]:
    """A field of every reading with the comma before it, nothing where it is NaN."""
    missing = np.isnan(values)
    if missing.all():
        return repeat("")
    rounded = np.round(values, digits).tolist()
    if not missing.any():
        return [f',"{name}":{value!r}' for value in rounded]
    return ["" if value != value else f',"{name}":{value!r}' for value in rounded]  # noqa: PLR0124 - NaN


def ack_text(ack: Mapping[str, Any]) -> str:
    """An acknowledgement as JSON text; its ids are names that need no escape."""
    reason = '""' if not ack["reason"] else to_json(ack["reason"])
    whose = "null" if ack["resource_id"] is None else f'"{ack["resource_id"]}"'
    return f'{{"command_id":"{ack["command_id"]}","status":"{ack["status"]}","resource_id":{whose},"reason":{reason}}}'


def to_json(value: Any) -> str:
    """JSON without spaces; NaN or infinity: ``ValueError``."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def encode_list(
    message_id: str, sent_at: datetime, name: str, items: Sequence[str], rest: tuple[str, str] | None = None
) -> bytes:
    """A message with a list of items that are JSON texts already, and one more field of that sort if there is one."""
    envelope = to_json({"schema_version": SCHEMA_VERSION, "message_id": message_id, "sent_at": stamp(sent_at)})
    more = "" if rest is None else f',"{rest[0]}":{rest[1]}'
    return f'{envelope[:-1]},"{name}":[{",".join(items)}]{more}}}'.encode()


def parts(items: Sequence[str], most: int, taken_bytes: int = 0) -> Iterator[Sequence[str]]:
    """Items in as few parts as fit into messages: at most so many, and no more bytes than a message may have.

    ``taken_bytes``: of the first message's room, by something else.
    """
    first, size = 0, taken_bytes
    for place, item in enumerate(items):
        size += len(item) + 1
        if place > first and (place - first >= most or size > _ROOM_BYTES):
            yield items[first:place]
            first, size = place, len(item) + 1
    if first < len(items):
        yield items[first:]


@dataclass(frozen=True, slots=True)
class ReceivedSetpoints:
    """A batch of setpoints; ``setpoints``: (resource_id, kW or None)."""

    command_id: str
    sequence: int
    plan_hash: str
    valid_from: datetime
    valid_until: datetime
    setpoints: tuple[tuple[str, float | None], ...]


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """A notice of an event."""

    event_id: str
    status: str
    direction: str
    start: datetime
    end: datetime
    share_kw: float
    respond_by: datetime | None
    reason: str
    notice_type: str = "day_ahead"


@dataclass(frozen=True, slots=True)
class ReceivedReceipt:
    """Messages that are dealt with, and what of them was refused: (message_id or None, index or None, text)."""

    message_ids: tuple[str, ...]
    refused: tuple[tuple[str | None, int | None, str], ...]


@dataclass(frozen=True, slots=True)
class ResourceAnswer:
    """The platform's yes or no to one resource."""

    resource_id: str | None
    accepted: bool
    field: str | None
    rule: str | None
    value: Any


@dataclass(frozen=True, slots=True)
class ReceivedResult:
    """The answer to a registration."""

    register_message_id: str
    results: tuple[ResourceAnswer, ...]


Received = ReceivedSetpoints | ReceivedEvent | ReceivedReceipt | ReceivedResult | market_codec.MarketNews
"""Whatever may come down."""


def decode(topic_end: str, payload: bytes) -> Received:
    """What came down on ``…/down/<topic_end>``; ``MessageError`` if it breaks the contract."""
    if len(payload) > GREATEST_BYTES:
        raise MessageError([InputFault(topic_end, "payload", len(payload), "must be at most 1 MiB")])
    try:
        content = json.loads(payload)
    except (ValueError, UnicodeDecodeError) as error:
        raise MessageError([InputFault(topic_end, "payload", payload[:60], "must be JSON")]) from error
    fields = Fields(topic_end, content)
    if fields.values.get("schema_version") != SCHEMA_VERSION:
        raise fields.fault("schema_version", fields.values.get("schema_version"), f"must be {SCHEMA_VERSION}")
    readers: dict[str, Callable[[Fields], Received]] = {
        "setpoints": _setpoints,
        "event": _event,
        "receipt": _receipt,
        "register-result": _result,
        **market_codec.READERS,
    }
    if topic_end not in readers:
        raise fields.fault("topic", topic_end, "must be a topic of the contract")
    return readers[topic_end](fields)


def _setpoints(fields: Fields) -> ReceivedSetpoints:
    inside = [Fields("setpoints", each) for each in fields.items("setpoints")]
    return ReceivedSetpoints(
        command_id=fields.text("command_id"),
        sequence=fields.whole("sequence"),
        plan_hash=str(fields.values.get("plan_hash", "")),
        valid_from=fields.moment("valid_from"),
        valid_until=fields.moment("valid_until"),
        setpoints=tuple((each.text("resource_id"), each.optional_number("power_kw")) for each in inside),
    )


def _event(fields: Fields) -> ReceivedEvent:
    return ReceivedEvent(
        event_id=fields.text("event_id"),
        status=fields.text("status"),
        direction=fields.text("direction"),
        start=fields.moment("start"),
        end=fields.moment("end"),
        share_kw=fields.number("share_kw"),
        respond_by=fields.moment("respond_by") if fields.values.get("respond_by") else None,
        reason=fields.optional_text("reason") or "",
        notice_type=fields.optional_text("notice_type") or "day_ahead",
    )


def _receipt(fields: Fields) -> ReceivedReceipt:
    refused = []
    for each in (Fields("receipt", item) for item in fields.items("refused")):
        index = None if each.values.get("index") is None else each.whole("index")
        why = f"{each.values.get('field')}: {each.values.get('rule')} (got {each.values.get('value')!r})"
        refused.append((each.optional_text("message_id"), index, why))
    names = fields.items("message_ids")
    return ReceivedReceipt(tuple(str(name) for name in names), tuple(refused))


def _result(fields: Fields) -> ReceivedResult:
    results = []
    for each in (Fields("register-result", item) for item in fields.items("results")):
        accepted = each.values.get("accepted")
        if not isinstance(accepted, bool):
            raise each.fault("accepted", accepted, "must be true or false")
        results.append(
            ResourceAnswer(
                resource_id=each.optional_text("resource_id"),
                accepted=accepted,
                field=each.optional_text("field"),
                rule=each.optional_text("rule"),
                value=each.values.get("value"),
            )
        )
    return ReceivedResult(fields.text("register_message_id"), tuple(results))
