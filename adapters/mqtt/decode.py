"""Bytes to messages: strict about every field, tolerant of the others in the list.

One bad reading of a thousand is refused by its index, with field, rule and value; the other 999 are taken.
What cannot be read as a whole raises ``MessageError``, and nothing else is ever raised, whatever the bytes.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

import numpy as np
from pydantic import ValidationError
from pydantic_core import ErrorDetails, from_json

from adapters.mqtt.envelope import MAX_MESSAGE_BYTES, DownTopic, Message, Refusal, UpTopic, shown
from adapters.mqtt.market_payloads import BidsMessage
from adapters.mqtt.payloads import DOWN_TYPES, LISTS, MAX_ITEMS, MOST_IN_LIST, UP_TYPES, Register, Telemetry, Withdrawal
from models.errors import InputFault, MessageError
from models.intervals import FloatArray
from models.resources import ResourceKind

M_co = TypeVar("M_co", bound=Message, covariant=True)

FUTURE_LIMIT = timedelta(seconds=60)
"""A reading may be so much ahead of our clock: gateways' clocks drift."""

POWER_FACTOR = 20.0
"""A reading beyond so many times what its resource can do is taken for a mistake of unit (W for kW)."""

_LARGE_BYTES = 4096
_ALTERNATIVES = {"update", "withdraw", *(kind.value for kind in ResourceKind)}
_MESSAGE_ID = re.compile(rb'"message_id"\s*:\s*"([A-Za-z0-9][A-Za-z0-9._:\-]{0,127})"')
_PROFILE_FIELDS = ("baseline_profile", "available_profile", "run_profile")


@dataclass(frozen=True, slots=True)
class DecodeContext:
    """What the decoder must be told: the time, whose topic it was, and what a resource can do.

    ``capability_kw`` gives the largest |power| of a resource by its registration, None if it is not known;
    ``capabilities_kw`` the same of many at once, (n,), NaN for None.
    """

    now: datetime
    aggregator_id: str
    capability_kw: Callable[[str], float | None] = lambda _: None
    capabilities_kw: Callable[[Sequence[str]], FloatArray] = lambda names: np.full(len(names), np.nan)


@dataclass(frozen=True, slots=True)
class Decoded(Generic[M_co]):
    """A message without its bad items; ``indexes`` are the places that the others had in the list as it was sent.

    ``refused_ids``: resource ids of refused items by index, as far as they could be read (registration only).
    """

    message: M_co
    refusals: tuple[Refusal, ...] = ()
    indexes: Sequence[int] = ()
    refused_ids: tuple[tuple[int, str | None], ...] = ()


def peek_message_id(payload: bytes) -> str | None:
    """The message id of something that could not be read otherwise, if it stands near either end."""
    for part in (payload[:4096], payload[-4096:]):
        found = _MESSAGE_ID.search(part)
        if found:
            return found.group(1).decode()
    return None


def decode_down(topic: DownTopic, payload: bytes) -> Message:
    """A message of the platform, all or nothing (``MessageError``)."""
    try:
        return DOWN_TYPES[topic].model_validate_json(payload, strict=True)
    except ValidationError as broken:
        faults = [_fault(topic.value, detail) for detail in broken.errors(include_url=False)]
        raise MessageError(faults) from broken


def decode_up(topic: UpTopic, payload: bytes, context: DecodeContext) -> Decoded[Message]:
    """A message of an aggregator; bad items become refusals, a bad whole raises ``MessageError``."""
    if len(payload) > MAX_MESSAGE_BYTES:
        rule = f"a message has at most {MAX_MESSAGE_BYTES} bytes"
        raise MessageError([InputFault(topic.value, "", len(payload), rule)])
    wanted = UP_TYPES[topic]
    if len(payload) > _LARGE_BYTES:
        _check_count(topic, wanted, payload)
    faults: dict[int, InputFault] = {}
    ids: dict[int, str | None] = {}
    count = 0
    try:
        message = wanted.model_validate_json(payload, strict=True)
        count = len(_items(message))
    except ValidationError as broken:
        message, count = _without_bad_items(topic, wanted, payload, broken, faults, ids)
    good = [index for index in range(count) if index not in faults]
    late = _context_faults(topic, message, context)
    if late:
        items = _items(message)
        for position, fault in late.items():
            faults[good[position]] = fault
            ids[good[position]] = getattr(items[position], "resource_id", None)
        kept = tuple(item for position, item in enumerate(items) if position not in late)
        good = [index for position, index in enumerate(good) if position not in late]
        message = message.model_copy(update={LISTS[wanted]: kept})
    refusals = tuple(refusal(fault, message.message_id, index) for index, fault in sorted(faults.items()))
    return Decoded(message, refusals, tuple(good), tuple(sorted(ids.items())))


def _check_count(topic: UpTopic, wanted: type[Message], payload: bytes) -> None:
    """Refuse a list that is far too long before every item of it is complained about, which takes seconds."""
    most = MOST_IN_LIST.get(wanted, MAX_ITEMS)
    if payload.count(b"{") <= most:
        return  # every item of a list has a brace of its own
    try:
        content = from_json(payload)
    except ValueError:
        return  # it will be refused with better words
    name = LISTS.get(wanted)
    items = content.get(name) if isinstance(content, dict) else None
    if isinstance(items, list) and len(items) > most:
        raise MessageError([InputFault(topic.value, name or "", len(items), f"has at most {most} items")])


def refusal(fault: InputFault, message_id: str | None, index: int | None = None) -> Refusal:
    """A fault in the words of the receipt."""
    return Refusal(message_id=message_id, index=index, field=fault.field, rule=fault.rule, value=shown(fault.value))


def _items(message: Message) -> Sequence[Any]:
    name = LISTS.get(type(message))
    return () if name is None else getattr(message, name)


def _without_bad_items(
    topic: UpTopic,
    wanted: type[Message],
    payload: bytes,
    broken: ValidationError,
    faults: dict[int, InputFault],
    ids: dict[int, str | None],
) -> tuple[Message, int]:
    """The message without what pydantic complained about, if all its complaints are about items of the list."""
    name = LISTS.get(wanted)
    if broken.error_count() > MAX_ITEMS:
        rule = f"has more than {MAX_ITEMS} faults"
        raise MessageError([InputFault(topic.value, name or "", broken.error_count(), rule)]) from broken
    bad_profiles: dict[str, InputFault] = {}
    whole: list[InputFault] = []
    for detail in broken.errors(include_url=False):
        place = detail["loc"]
        fault = _fault(topic.value, detail)
        if name is not None and len(place) > 1 and place[0] == name and isinstance(place[1], int):
            faults.setdefault(place[1], fault)
        elif place[:1] == ("profiles",) and len(place) > 1:
            bad_profiles.setdefault(str(place[1]), fault)
        else:
            whole.append(fault)
    if whole or name is None:
        raise MessageError(whole) from broken
    content = from_json(payload)
    items: list[Any] = content[name]
    for index in faults:
        said = items[index].get("resource_id") if isinstance(items[index], dict) else None
        ids[index] = said if isinstance(said, str) else None
    if bad_profiles:
        content["profiles"] = {k: v for k, v in content["profiles"].items() if k not in bad_profiles}
        _blame_profiles(items, bad_profiles, faults, ids)
    content[name] = [item for index, item in enumerate(items) if index not in faults]
    try:
        return wanted.model_validate_json(json.dumps(content), strict=True), len(items)
    except ValidationError as again:
        rest = [_fault(topic.value, detail) for detail in again.errors(include_url=False)]
        raise MessageError(rest) from again


def _blame_profiles(
    items: list[Any],
    bad: dict[str, InputFault],
    faults: dict[int, InputFault],
    ids: dict[int, str | None],
) -> None:
    """Refuse every change that needs a refused profile."""
    for index, item in enumerate(items):
        for field in _PROFILE_FIELDS if index not in faults and isinstance(item, dict) else ():
            needed = item.get(field)
            if isinstance(needed, str) and needed in bad:
                fault = bad[needed]
                rule = f"its profile is refused: {fault.field} {fault.rule}"
                faults[index] = InputFault(fault.place, field, needed, rule, index)
                ids[index] = item.get("resource_id")


def _fault(place: str, detail: ErrorDetails) -> InputFault:
    """A complaint of pydantic in our words; the path without list place and without names of alternatives."""
    path = list(detail["loc"])
    row = None
    if len(path) > 1 and isinstance(path[1], int):
        row = path[1]
        path = path[2:]
    while path and path[0] in _ALTERNATIVES:
        path = path[1:]
    field, rule, value = ".".join(str(step) for step in path), detail["msg"], detail.get("input")
    if detail["type"] == "value_error":  # our own validators say "field: rule (got value)"
        own = re.fullmatch(r"(?:Value error, )?([\w.]+): (.*) \(got (.*)\)", rule, re.DOTALL)
        if own:
            field = ".".join(filter(None, (field, own.group(1))))
            rule, value = own.group(2), own.group(3)
    elif detail["type"].startswith("union_tag"):  # which alternative? the field that should have said so
        field = str(detail["ctx"]["discriminator"]).strip("'")
        known = ResourceKind if field == "kind" else ("update", "withdraw")
        rule = f"must be one of {', '.join(known)}"
        value = value.get(field) if isinstance(value, dict) else value
    elif detail["type"] == "json_invalid":
        value = None
    return InputFault(place, field, value, rule, row)


def _context_faults(topic: UpTopic, message: Message, context: DecodeContext) -> dict[int, InputFault]:
    """Faults by position in the list that only somebody who knows time and registry can see."""
    if isinstance(message, Telemetry):
        return _reading_faults(topic, message, context)
    if isinstance(message, Register):
        return _change_faults(topic, message, context)
    if isinstance(message, BidsMessage):
        return _bid_faults(topic, message)
    return {}


def _reading_faults(topic: UpTopic, message: Telemetry, context: DecodeContext) -> dict[int, InputFault]:
    faults: dict[int, InputFault] = {}
    latest = context.now + FUTURE_LIMIT
    for position, reading in enumerate(message.readings):
        if reading.measured_at > latest:
            rule = f"must not be more than {FUTURE_LIMIT.total_seconds():g} s ahead of {context.now.isoformat()}"
            said = reading.measured_at.isoformat()
            faults[position] = InputFault(topic.value, "measured_at", said, rule, position)
            continue
        limit_kw = context.capability_kw(reading.resource_id)
        if limit_kw and abs(reading.power_kw) > POWER_FACTOR * limit_kw:
            rule = f"is beyond {POWER_FACTOR:g} times the registered {limit_kw:g} kW: is the unit kW?"
            faults[position] = InputFault(topic.value, "power_kw", reading.power_kw, rule, position)
    return faults


def _change_faults(topic: UpTopic, message: Register, context: DecodeContext) -> dict[int, InputFault]:
    faults: dict[int, InputFault] = {}
    seen: set[str] = set()
    for position, change in enumerate(message.changes):
        if change.resource_id in seen:
            rule = "may occur only once in a message"
            faults[position] = InputFault(topic.value, "resource_id", change.resource_id, rule, position)
            continue
        seen.add(change.resource_id)
        if not isinstance(change, Withdrawal) and change.aggregator_id != context.aggregator_id:
            rule = f"must be the sender, {context.aggregator_id}"
            faults[position] = InputFault(topic.value, "aggregator_id", change.aggregator_id, rule, position)
    return faults


def _bid_faults(topic: UpTopic, message: BidsMessage) -> dict[int, InputFault]:
    """Of two bids for one zone in a message nobody can say which is meant: the first is."""
    faults: dict[int, InputFault] = {}
    seen: set[str] = set()
    for position, bid in enumerate(message.bids):
        if bid.zone_id in seen:
            rule = "may occur only once in a message"
            faults[position] = InputFault(topic.value, "zone_id", bid.zone_id, rule, position)
        seen.add(bid.zone_id)
    return faults
