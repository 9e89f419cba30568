"""What every message on the MQTT wire has in common: topics, envelope, size, and the words of a refusal."""

import math
import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict

from models.units import Count, Identifier, UtcTime

SCHEMA_VERSION: Literal[1] = 1
MAX_MESSAGE_BYTES = 1024 * 1024
"""The largest payload that the contract allows, 1 MiB."""

DEFAULT_PREFIX = "vpp/v1"


class UpTopic(StrEnum):
    """Last level of the topics on which an aggregator speaks: ``<prefix>/<aggregator_id>/up/<this>``."""

    REGISTER = "register"
    TELEMETRY = "telemetry"
    CAPABILITY = "capability"
    EVENT_RESPONSE = "event-response"
    ACK = "ack"
    STATUS = "status"
    BIDS = "bids"
    DISPUTES = "disputes"


class DownTopic(StrEnum):
    """Last level of the topics on which the platform speaks: ``<prefix>/<aggregator_id>/down/<this>``."""

    REGISTER_RESULT = "register-result"
    RECEIPT = "receipt"
    EVENT = "event"
    SETPOINTS = "setpoints"
    INVITATIONS = "invitations"
    AWARDS = "awards"
    STATEMENTS = "statements"


class Message(BaseModel):
    """The envelope: the contract's version, the sender's own id of the message, and when it was sent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1]
    message_id: Identifier
    sent_at: UtcTime

    @classmethod
    def new(cls, sent_at: datetime, message_id: str | None = None, **fields: Any) -> Self:
        """A message of today's schema version with an id of its own, unless one is given."""
        name = uuid.uuid4().hex if message_id is None else message_id
        return cls(schema_version=SCHEMA_VERSION, message_id=name, sent_at=sent_at, **fields)


def encode(message: Message) -> bytes:
    """A message as it goes over the wire: JSON, UTF-8, no spaces, times in UTC with a ``Z``.

    Optional fields that were never set are left out of telemetry, where absent and null mean different things
    (``session``); everything else is written in full.
    """
    return message.model_dump_json(exclude_unset=getattr(message, "absent_is_not_null", False)).encode()


Scalar = str | int | float | bool | None


def shown(value: Any) -> Scalar:
    """A refused value as it may travel back in JSON: scalars as they are, everything else as short text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, int):
        return value if abs(value) < 2**53 else str(value)[:120]
    text = value if isinstance(value, str) else repr(value)
    return text.encode("utf-8", "replace").decode()[:120]


class Fault(BaseModel):
    """One broken rule: the field (dotted path), the rule in words, and the value that stood there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    field: str
    rule: str
    value: Scalar = None


class Refusal(BaseModel):
    """Something refused in a message: the whole of it, or the item at ``index`` of its list.

    ``message_id`` is None only if the message was so broken that its id could not be read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    message_id: str | None
    index: Count | None = None
    field: str
    rule: str
    value: Scalar = None


def topic_of(prefix: str, aggregator_id: str, last: UpTopic | DownTopic) -> str:
    """The full name of a topic."""
    way = "up" if isinstance(last, UpTopic) else "down"
    return f"{prefix}/{aggregator_id}/{way}/{last.value}"
