"""Telemetry by columns: messages in which everything is plainly right, and only those.

Nearly every message is: known resources, finite numbers, times with an offset.  Those are checked column by column
and become ``ReadingColumns``.  Whatever else a message holds, this file says nothing about it (None), and ``decode_up``
reads it reading by reading and refuses each bad one by its index, with field, rule and value.  So there is one set of
rules; a test holds both readers against each other on good, bad and broken messages.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
from pydantic import TypeAdapter
from pydantic_core import from_json

from adapters.mqtt.decode import FUTURE_LIMIT, POWER_FACTOR, DecodeContext, Decoded
from adapters.mqtt.envelope import MAX_MESSAGE_BYTES
from adapters.mqtt.payloads import MAX_ITEMS, Telemetry
from models.intervals import FloatArray
from models.reading_columns import GREATEST_SEQUENCE, ReadingColumns, microseconds
from models.telemetry import ChargingSession
from models.units import UtcTime

_COLDEST, _HOTTEST = -90.0, 150.0
_TIMES: TypeAdapter[datetime] = TypeAdapter(UtcTime)
_NUMBERS: frozenset[type] = frozenset((float, int))
_NUMBER_OR_NULL: frozenset[type] = frozenset((float, int, type(None)))
_TEXT: frozenset[type] = frozenset((str,))
_FLAG: frozenset[type] = frozenset((bool,))
_WHOLE: frozenset[type] = frozenset((int,))
_NOT_THERE = object()


def decode_plain_telemetry(payload: bytes, context: DecodeContext) -> Decoded[Telemetry] | None:
    """A telemetry message as columns if every reading in it is in order, None if anything at all is unusual."""
    if len(payload) > MAX_MESSAGE_BYTES:
        return None
    try:
        content = from_json(payload)
        rows = content.pop("readings")
        envelope = Telemetry.model_validate_json(json.dumps({**content, "readings": []}), strict=True)
        columns = _columns(rows)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None  # ``ValidationError`` is a ``ValueError``
    if columns is None or not _fits(columns, context):
        return None
    message = envelope.model_copy(update={"readings": columns})
    return Decoded(message, indexes=range(len(columns)))


def _columns(rows: Any) -> ReadingColumns | None:
    """The columns of JSON readings, None where one of them is not plainly of the right type."""
    if type(rows) is not list or len(rows) > MAX_ITEMS or set(map(type, rows)) - {dict}:
        return None
    there = 3 * len(rows)
    ids = [row["resource_id"] for row in rows]
    stamps = [row["measured_at"] for row in rows]
    power = [row["power_kw"] for row in rows]
    energy = [row.get("energy_kwh", _NOT_THERE) for row in rows]
    warmth = [row.get("temperature_celsius", _NOT_THERE) for row in rows]
    available = [row.get("available", _NOT_THERE) for row in rows]
    order = [row.get("sequence", _NOT_THERE) for row in rows]
    said = {place: row["session"] for place, row in enumerate(rows) if "session" in row}
    there += sum(len(rows) - column.count(_NOT_THERE) for column in (energy, warmth, available, order)) + len(said)
    if there != sum(map(len, rows)):
        return None  # a field that nobody knows
    if not (_all(ids, _TEXT) and _all(stamps, _TEXT) and _all(power, _NUMBERS)):
        return None
    energy, warmth = _without(energy, None), _without(warmth, None)
    available, order = _without(available, True), _without(order, 0)
    if not (_all(energy, _NUMBER_OR_NULL) and _all(warmth, _NUMBER_OR_NULL)):
        return None
    if not (_all(available, _FLAG) and _all(order, _WHOLE)) or min(order, default=0) < 0:
        return None
    numbers = [np.array(column, dtype=np.float64) for column in (power, energy, warmth)]
    known = [np.ones(len(rows), dtype=np.bool_)]
    known += [np.array([value is not None for value in column], dtype=np.bool_) for column in (energy, warmth)]
    if not all(np.isfinite(values[given]).all() for values, given in zip(numbers, known, strict=True)):
        return None
    if ((numbers[2] < _COLDEST) | (numbers[2] > _HOTTEST)).any():
        return None
    moments = {text: microseconds(_TIMES.validate_json(json.dumps(text), strict=True)) for text in set(stamps)}
    return ReadingColumns(
        resource_ids=ids,
        measured_us=np.array([moments[text] for text in stamps], dtype=np.int64),
        power_kw=numbers[0],
        energy_kwh=numbers[1],
        temperature_celsius=numbers[2],
        available=np.array(available, dtype=np.bool_),
        sequence=np.array([min(value, GREATEST_SEQUENCE) for value in order], dtype=np.int64),
        sessions=_sessions(said),
    )


def _all(values: list[Any], allowed: frozenset[type]) -> bool:
    return set(map(type, values)) <= allowed


def _without(values: list[Any], default: Any) -> list[Any]:
    """The column with its default where nothing was said."""
    return [default if value is _NOT_THERE else value for value in values] if _NOT_THERE in values else values


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
