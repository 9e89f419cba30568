"""Telemetry by columns: messages in which everything is plainly right, and only those.

Nearly every message is: known resources, finite numbers, times with an offset.  Those are checked column by column
and become ``ReadingColumns``.  Whatever else a message holds, this file says nothing about it (None), and ``decode_up``
reads it reading by reading and refuses each bad one by its index, with field, rule and value.  So there is one set of
rules; a test holds both readers against each other on good, bad and broken messages.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
from pydantic_core import from_json

from adapters.mqtt.decode import FUTURE_LIMIT, POWER_FACTOR, DecodeContext, Decoded
from adapters.mqtt.envelope import MAX_MESSAGE_BYTES, SCHEMA_VERSION
from adapters.mqtt.payloads import MAX_ITEMS, Telemetry
from adapters.mqtt.times import microseconds_of
from models.intervals import FloatArray
from models.moments import microseconds
from models.reading_columns import GREATEST_SEQUENCE, ReadingColumns
from models.telemetry import ChargingSession

_COLDEST, _HOTTEST = -90.0, 150.0
_NUMBERS: frozenset[type] = frozenset((float, int))
_NUMBER_OR_NULL: frozenset[type] = frozenset((float, int, type(None)))
_TEXT: frozenset[type] = frozenset((str,))
_FLAG: frozenset[type] = frozenset((bool,))
_WHOLE: frozenset[type] = frozenset((int,))
_MUST = itemgetter("resource_id", "measured_at", "power_kw")
_OPTIONAL: dict[str, Any] = {"energy_kwh": None, "temperature_celsius": None, "available": True, "sequence": 0}
_COLUMNS = ("resource_id", "measured_at", "power_kw", *_OPTIONAL)
_KNOWN = frozenset((*_COLUMNS, "session"))
_ENVELOPE_FIELDS = 4
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:\-]{0,127}")
"""As ``models.units.Identifier``."""


@dataclass(frozen=True, slots=True)
class PlainGroup:
    """Messages in which everything is in order: their ids, how many readings each has, and all of these in a row."""

    message_ids: tuple[str, ...]
    sizes: tuple[int, ...]
    readings: ReadingColumns


def decode_plain_group(payloads: Sequence[bytes], context: DecodeContext) -> PlainGroup | None:
    """Telemetry messages of one sender together, None if anything at all is unusual in any of them.

    Thousands of messages with one reading each cost little more than one with thousands.  A message that is there
    twice (its gateway has sent it again while it waited here) counts once.
    """
    said: dict[str, list[Any]] = {}
    sent: list[str] = []
    try:
        for payload in payloads:
            if len(payload) > MAX_MESSAGE_BYTES:
                return None
            content = from_json(payload)
            rows, sent_at = content["readings"], content["sent_at"]
            name = _message_id(content)
            if name is None or type(sent_at) is not str or type(rows) is not list:
                return None
            if name not in said:
                said[name] = rows
                sent.append(sent_at)
        microseconds_of(sent)
        rows = next(iter(said.values())) if len(said) == 1 else list(chain.from_iterable(said.values()))
        columns = None if max(map(len, said.values()), default=0) > MAX_ITEMS else _columns(rows)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None  # ``ValidationError`` is a ``ValueError``
    if columns is None or not _fits(columns, context):
        return None
    return PlainGroup(tuple(said), tuple(map(len, said.values())), columns)


def decode_plain_telemetry(payload: bytes, context: DecodeContext) -> Decoded[Telemetry] | None:
    """A group of one as the message that the careful reader would make of it."""
    group = decode_plain_group([payload], context)
    if group is None:
        return None
    content = from_json(payload)
    envelope = Telemetry.model_validate_json(json.dumps({**content, "readings": []}), strict=True)
    return Decoded(envelope.model_copy(update={"readings": group.readings}), indexes=range(len(group.readings)))


def _message_id(content: dict[str, Any]) -> str | None:
    """The id in an envelope that is in order but for ``sent_at``, which is looked at together with the others."""
    name, version = content["message_id"], content["schema_version"]
    is_good = type(version) is int and version == SCHEMA_VERSION and len(content) == _ENVELOPE_FIELDS
    return name if is_good and type(name) is str and _IDENTIFIER.fullmatch(name) else None


def _columns(rows: Any) -> ReadingColumns | None:
    """The columns of JSON readings, None where one of them is not plainly of the right type."""
    if set(map(type, rows)) - {dict}:
        return None
    fields = _fields(rows)
    if fields is None:
        return None
    ids, stamps, power, energy, warmth, available, order = (fields[name] for name in _COLUMNS)
    if not (_all(ids, _TEXT) and _all(stamps, _TEXT) and _all(power, _NUMBERS)):
        return None
    if not (_all(energy, _NUMBER_OR_NULL) and _all(warmth, _NUMBER_OR_NULL)):
        return None
    if not (_all(available, _FLAG) and _all(order, _WHOLE)) or min(order, default=0) < 0:
        return None
    numbers = [_numbers(column, len(rows)) for column in (power, energy, warmth)]
    # JSON as it is read here knows NaN and Infinity, the contract does not: only null may be no number
    missing = (0, *(column.count(None) if column else len(rows) for column in (energy, warmth)))
    if any(int(np.isfinite(values).sum()) != len(rows) - count for values, count in zip(numbers, missing, strict=True)):
        return None
    if ((numbers[2] < _COLDEST) | (numbers[2] > _HOTTEST)).any():
        return None
    if max(order, default=0) > GREATEST_SEQUENCE:
        order = [min(value, GREATEST_SEQUENCE) for value in order]
    return ReadingColumns(
        resource_ids=ids,
        measured_us=microseconds_of(stamps),
        power_kw=numbers[0],
        energy_kwh=numbers[1],
        temperature_celsius=numbers[2],
        available=np.array(available, dtype=np.bool_) if available else np.ones(len(rows), dtype=np.bool_),
        sequence=np.array(order, dtype=np.int64) if order else np.zeros(len(rows), dtype=np.int64),
        sessions=_sessions({place: row["session"] for place, row in enumerate(rows) if "session" in row})
        if "session" in fields
        else {},
    )


def _fields(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The values of each field of all readings, an empty list where nobody says any; None if there is a field that
    nobody knows.  ``KeyError`` where a reading lacks what it must have.
    """
    said: set[str] = set().union(*rows)
    if not said <= _KNOWN:
        return None
    must = zip(*map(_MUST, rows), strict=True) if rows else ((), (), ())
    found: dict[str, Any] = {name: list(values) for name, values in zip(_COLUMNS[:3], must, strict=True)}
    for name, default in _OPTIONAL.items():
        found[name] = [row.get(name, default) for row in rows] if name in said else []
    return found | {"session": None} if "session" in said else found


def _all(values: Sequence[Any], allowed: frozenset[type]) -> bool:
    return set(map(type, values)) <= allowed


def _numbers(values: Sequence[float | None], count: int) -> FloatArray:
    """NaN where nothing was said."""
    return np.array(values, dtype=np.float64) if values else np.full(count, np.nan)


def _sessions(said: Mapping[int, Any]) -> dict[int, ChargingSession | None]:
    return {
        place: None if value is None else ChargingSession.model_validate_json(json.dumps(value), strict=True)
        for place, value in said.items()
    }


def _fits(columns: ReadingColumns, context: DecodeContext) -> bool:
    """True if every resource is known to the platform, no time lies ahead, and no power is beyond all measure."""
    if not len(columns):
        return True
    limits_kw: FloatArray = context.capabilities_kw(columns.resource_ids)
    if np.isnan(limits_kw).any():
        return False
    if int(columns.measured_us.max()) > microseconds(context.now + FUTURE_LIMIT):
        return False
    return not ((limits_kw > 0) & (np.abs(columns.power_kw) > POWER_FACTOR * limits_kw)).any()
