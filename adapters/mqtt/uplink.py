"""What the service must offer to the MQTT link: one handler per kind of message, and a memory of its answers.

Each message is applied once, although it may arrive more than once
--------------------------------------------------------------------
A gateway sends again whatever was not answered, with the same ``message_id``; so the same message may arrive
twice or ten times, before or after a crash of ours.  The rule that makes this harmless: **the effects of a
message and its answer are written in one database transaction**, keyed by (aggregator_id, message_id)::

    async def telemetry(self, aggregator_id, received):
        refusals = self.foreign_ids(aggregator_id, received)          # what only the service can know
        answer = received.answer(refusals)                             # the exact bytes that will be sent
        with self.store.transaction() as transaction:
            transaction.add_readings(received.message.readings)
            transaction.add_dead_letters(answer.refused, received.payload)
            transaction.remember_answer(aggregator_id, received.message_id, answer.to_bytes())
        return answer                                                  # = committed: the link sends it now

    async def already_answered(self, aggregator_id, message_id):
        return self.store.recall_answer(aggregator_id, message_id)     # bytes, or None

If the transaction fails, raise ``StoreError``: no answer is sent, and the gateway sends again.  If we die
between commit and answer, the gateway sends again too, ``already_answered`` finds the bytes and the very same
answer goes out a second time.  ``remember_answer`` must fail on a second row of the same key (a unique
constraint), which also catches two services on one database.  Answers may be forgotten after a day: gateways
resend for minutes.

Bids and disputes go to a handler of their own, if there is one (``adapters.mqtt.market_uplink``), by the same rule.

Telemetry in which everything is in order is worked off in groups: one transaction, one receipt for all.  Of such a
message only the id is kept (``TAKEN``): its answer is always the same.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

import numpy as np

from adapters.mqtt.decode import Decoded
from adapters.mqtt.envelope import DownTopic, Fault, Message, Refusal, UpTopic, encode
from adapters.mqtt.payloads import (
    Ack,
    CapabilityMessage,
    EventResponseMessage,
    Receipt,
    Register,
    RegisterResult,
    ResourceResult,
    Status,
    Telemetry,
)
from models.intervals import FloatArray
from models.reading_columns import ReadingColumns

TAKEN = b""
"""What is kept as the answer to a message of which nothing was refused and that has no answer but its receipt."""

MOST_LISTED = 2_000
"""So many refusals stand in a receipt, which must not grow beyond what a message may be."""

M_co = TypeVar("M_co", bound=Message, covariant=True)


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back to the sender: encoded messages by topic, in the order of sending; the receipt comes last.

    ``to_bytes`` and ``from_bytes`` are for keeping it beside the effects of the message (see the top of this
    file).
    """

    messages: tuple[tuple[DownTopic, bytes], ...]
    refused: tuple[Refusal, ...] = ()

    def to_bytes(self) -> bytes:
        """One JSON object, UTF-8."""
        parts = [{"topic": topic.value, "payload": payload.decode()} for topic, payload in self.messages]
        return json.dumps({"messages": parts}, separators=(",", ":"), ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, kept: bytes) -> "Answer":
        """The answer that ``to_bytes`` made; what was refused stands in its receipt."""
        parts = json.loads(kept)["messages"]
        return cls(tuple((DownTopic(part["topic"]), part["payload"].encode()) for part in parts))


@dataclass(frozen=True, slots=True)
class Received(Generic[M_co]):
    """A message that arrived, without the items that the decoder refused.

    ``aggregator_id`` is the level of the topic, which the broker's access rule ties to the sender's credentials.
    ``refusals``: what the decoder refused, by index in the list as sent; the service only has to set it aside.
    ``indexes``: for every item left in the message its place in the list as sent: use it in refusals of your own.
    """

    aggregator_id: str
    topic: UpTopic
    decoded: Decoded[M_co]
    payload: bytes
    received_at: datetime

    @property
    def message(self) -> M_co:
        """The message, of the type that belongs to the topic."""
        return self.decoded.message

    @property
    def message_id(self) -> str:
        """The sender's id of the message."""
        return self.decoded.message.message_id

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """Items that the decoder refused."""
        return self.decoded.refusals

    @property
    def indexes(self) -> Sequence[int]:
        """Places, in the list as sent, of the items that are left."""
        return self.decoded.indexes

    def refuse(self, field: str, rule: str, value: str | float | None = None, position: int | None = None) -> Refusal:
        """A refusal of the whole message, or of the item at ``position`` of the list as it is now."""
        index = None if position is None else self.indexes[position]
        return Refusal(message_id=self.message_id, index=index, field=field, rule=rule, value=value)

    def answer(self, refusals: Iterable[Refusal] = ()) -> Answer:
        """The receipt: taken, but for the decoder's refusals and those given."""
        refused = _in_order((*self.refusals, *refusals))
        listed = refused[:MOST_LISTED]
        if len(refused) > MOST_LISTED:
            rule = f"and {len(refused) - MOST_LISTED} items more are refused"
            listed = (*listed, Refusal(message_id=self.message_id, field="", rule=rule))
        receipt = Receipt.new(self.received_at, message_ids=(self.message_id,), refused=listed)
        return Answer(((DownTopic.RECEIPT, encode(receipt)),), refused)

    def answer_registration(self, faults: Sequence[Sequence[Fault]]) -> Answer:
        """The register-result and the receipt; ``faults[position]`` of every change left, empty = accepted."""
        message = self.decoded.message
        if not isinstance(message, Register):
            raise TypeError(f"{self.topic.value} has no registration result")
        by_index: dict[int, ResourceResult] = {}
        for position, found in enumerate(faults):
            index = self.indexes[position]
            by_index[index] = _result(index, message.changes[position].resource_id, found)
        ids = dict(self.decoded.refused_ids)
        for item in self.refusals:
            if item.index is not None:
                fault = Fault(field=item.field, rule=item.rule, value=item.value)
                by_index[item.index] = _result(item.index, ids.get(item.index), [fault])
        results = tuple(by_index[index] for index in sorted(by_index))
        result = RegisterResult.new(self.received_at, register_message_id=self.message_id, results=results)
        refused = tuple(
            Refusal(
                message_id=self.message_id,
                index=each.index,
                field=each.field or "",
                rule=each.rule or "",
                value=each.value,
            )
            for each in results
            if not each.accepted
        )
        receipt = Receipt.new(self.received_at, message_ids=(self.message_id,), refused=refused)
        return Answer(((DownTopic.REGISTER_RESULT, encode(result)), (DownTopic.RECEIPT, encode(receipt))), refused)


@dataclass(frozen=True, slots=True)
class TelemetryGroup:
    """Telemetry messages of one sender in which everything is in order: of message i ``sizes[i]`` readings in a row."""

    aggregator_id: str
    message_ids: tuple[str, ...]
    sizes: tuple[int, ...]
    readings: ReadingColumns
    received_at: datetime

    def without(self, message_ids: Collection[str]) -> "TelemetryGroup":
        """The group without some of its messages."""
        if not message_ids:
            return self
        stays = np.array([name not in message_ids for name in self.message_ids], dtype=np.bool_)
        kept = [
            (name, size) for name, size in zip(self.message_ids, self.sizes, strict=True) if name not in message_ids
        ]
        return TelemetryGroup(
            self.aggregator_id,
            tuple(name for name, _ in kept),
            tuple(size for _, size in kept),
            self.readings.take(np.flatnonzero(np.repeat(stays, self.sizes))),
            self.received_at,
        )


def taken(message_ids: Sequence[str], at: datetime) -> Answer:
    """The receipt of messages of which nothing is refused."""
    return Answer(((DownTopic.RECEIPT, encode(Receipt.new(at, message_ids=tuple(message_ids)))),))


def refused_whole(message_id: str | None, refusals: Sequence[Refusal], received_at: datetime) -> Answer:
    """The answer to a message of which nothing could be taken."""
    known = () if message_id is None else (message_id,)
    receipt = Receipt.new(received_at, message_ids=known, refused=tuple(refusals))
    return Answer(((DownTopic.RECEIPT, encode(receipt)),), tuple(refusals))


def _result(index: int, resource_id: str | None, faults: Sequence[Fault]) -> ResourceResult:
    if not faults:
        return ResourceResult(index=index, resource_id=resource_id, accepted=True)
    first, *rest = faults
    return ResourceResult(
        index=index,
        resource_id=resource_id,
        accepted=False,
        field=first.field,
        rule=first.rule,
        value=first.value,
        further=tuple(rest),
    )


def _in_order(refusals: Iterable[Refusal]) -> tuple[Refusal, ...]:
    return tuple(sorted(refusals, key=lambda item: -1 if item.index is None else item.index))


class UplinkHandler(Protocol):
    """The service behind the link.

    Every method returns after the commit.  ``StoreError`` (or any error with ``retryable``) = nothing was
    written, no answer is sent, the gateway sends again.  ``InputError`` = the message is refused as a whole,
    for good. Messages of one aggregator come one after the other, those of different aggregators at the same
    time.
    """

    def capability_kw(self, aggregator_id: str, resource_id: str) -> float | None:
        """The largest |power| that the resource can have by its registration, None if unknown; from memory, fast."""

    def capabilities_kw(self, aggregator_id: str, resource_ids: Sequence[str]) -> FloatArray:
        """``capability_kw`` of many resources, (n,), NaN where it is None."""

    async def already_answered(self, aggregator_id: str, message_id: str) -> bytes | None:
        """The answer (``Answer.to_bytes``) of a message that was applied before, None for a new one."""

    async def register(self, aggregator_id: str, received: Received[Register]) -> Answer:
        """Apply the changes one by one; answer with ``received.answer_registration``."""

    async def telemetry(self, aggregator_id: str, received: Received[Telemetry]) -> Answer:
        """Keep the readings; foreign and unknown resources are refused by index with ``received.refuse``."""

    async def telemetry_group(self, group: TelemetryGroup) -> Mapping[str, bytes]:
        """Keep the readings of all messages in one transaction, and ``TAKEN`` as the answer to each.

        What comes back: the answers of those messages that were applied before (their readings are not), by id.
        """

    async def capability(self, aggregator_id: str, received: Received[CapabilityMessage]) -> Answer:
        """Keep what the aggregator says it can move."""

    async def event_response(self, aggregator_id: str, received: Received[EventResponseMessage]) -> Answer:
        """Apply the answer to an event notice."""

    async def ack(self, aggregator_id: str, received: Received[Ack]) -> Answer:
        """Keep what became of commands."""

    async def status(self, aggregator_id: str, received: Received[Status]) -> None:
        """A gateway came or went; there is no answer, and the same status may come again (it is retained)."""

    async def dead_letter(self, aggregator_id: str, topic: str, payload: bytes, refusals: tuple[Refusal, ...]) -> None:
        """Set aside a message of which nothing could be taken; ``topic`` is its full name."""
