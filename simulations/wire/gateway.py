"""The gateway of an aggregator: its devices on one side, the platform's broker on the other.

It speaks the MQTT contract and nothing else.  Instants in messages, validity and lateness are on the clock it is given
(virtual or real); connecting, waiting for answers and sending again are in real time.
"""

import asyncio
import contextlib
import socket
import ssl
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from urllib.parse import urlsplit

import aiomqtt

from models.errors import BrokerError, MessageError
from models.ports import Clock
from simulations.wire import codec, market_codec
from simulations.wire.market import Bidder, MarketDesk, no_bids
from simulations.wire.orders import Devices, Orders
from simulations.wire.outbox import Outbox
from simulations.wire.record import GatewayRecord
from simulations.wire.transit import Transit

MOST_CHANGES = 2_000
MOST_READINGS = 4_000
MOST_ACKS = 5_000
PREFIX = "vpp/v1"
NO_DELAY = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)
"""Small messages leave at once: without it every exchange costs the 40 ms of a delayed acknowledgement."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An aggregator's answer to an event notice."""

    answer: Literal["accept", "accept_part", "decline"]
    accepted_kw: float | None = None
    opted_out_resource_ids: tuple[str, ...] = ()


Policy = Callable[[codec.ReceivedEvent], Answer]


def accept_all(notice: codec.ReceivedEvent) -> Answer:
    """The policy of an aggregator that takes what it is asked for."""
    del notice
    return Answer("accept")


@dataclass
class GatewayState:
    """What a gateway remembers and counts."""

    counts: Counter[str] = field(default_factory=Counter)
    registered: dict[str, codec.ResourceAnswer] = field(default_factory=dict)
    refused: list[tuple[str | None, int | None, str]] = field(default_factory=list)
    notices: list[codec.ReceivedEvent] = field(default_factory=list)


class AggregatorGateway:
    """One aggregator's connection.  ``start`` connects and stays connected; ``stop`` leaves.

    ``counts`` in ``state``: sent, resent, readings, acks, answers, receipts, reconnects, setpoints, duplicates,
    out_of_order, expired, malformed, not_ours, unknown_resource, taken, refused, silent, events, batches, ack_messages,
    and what ``transit`` and ``market`` count.
    """

    def __init__(
        self,
        aggregator_id: str,
        clock: Clock,
        devices: Devices,
        resource_ids: Iterable[str],
        *,
        policy: Policy = accept_all,
        bidder: Bidder = no_bids,
        prefix: str = PREFIX,
        answer_timeout_s: float = 15.0,
        reports_done: bool = False,
    ) -> None:
        self.aggregator_id = aggregator_id
        self.last_sequence = 0
        """Sequence of the newest setpoints that have come, also of those that the wire loses or holds back."""
        self.state = GatewayState()
        self._clock = clock
        self._policy = policy
        self._base = f"{prefix}/{aggregator_id}"
        self._outbox = Outbox(answer_timeout_s)
        self._client: aiomqtt.Client | None = None
        self.transit = Transit(clock, self._outbox, self.state.counts, self._publish)
        self._boot = uuid.uuid4().hex[:12]
        self._counter = 0
        self._later: list[tuple[datetime, str, dict[str, Any]]] = []
        self._results: dict[str, asyncio.Event] = {}
        self._task: asyncio.Task[None] | None = None
        self._online = asyncio.Event()
        self._seen = asyncio.Condition()
        self._orders = Orders(devices, resource_ids, clock, self.state.counts, self._acknowledge, reports_done)
        self.market = MarketDesk(self._put, self.state.counts, bidder)
        self.record: GatewayRecord | None = None

    def keep_record(self) -> GatewayRecord:
        """Write down from now on what goes through this gateway."""
        self.record = self._orders.record = GatewayRecord()
        return self.record

    # ---- life

    async def start(
        self, broker_url: str, password: str, *, tls: ssl.SSLContext | None = None, timeout_s: float = 30.0
    ) -> None:
        """Connect, and return when connected; ``BrokerError`` if that does not happen within ``timeout_s``."""
        self._task = asyncio.create_task(
            self._stay_connected(broker_url, password, tls), name=f"gateway {self.aggregator_id}"
        )
        waiting = asyncio.create_task(self._online.wait(), name=f"gateway {self.aggregator_id} online")
        done, _ = await asyncio.wait({waiting, self._task}, timeout=timeout_s, return_when="FIRST_COMPLETED")
        if waiting not in done:
            waiting.cancel()
            failed = self._task if self._task.done() else None
            await self.stop()
            reason = failed.exception() if failed is not None and not failed.cancelled() else None
            raise BrokerError(f"{self.aggregator_id}: not connected within {timeout_s:g} s ({reason})")

    async def stop(self) -> None:
        """Say goodbye and disconnect."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError, BrokerError):
                await self._task
            self._task = None
        await self.transit.stop()
        self._online.clear()

    @property
    def is_online(self) -> bool:
        """True while connected."""
        return self._online.is_set()

    async def _stay_connected(self, broker_url: str, password: str, tls: ssl.SSLContext | None) -> None:
        place = urlsplit(broker_url)
        secure = place.scheme in {"mqtts", "ssl", "tls"}
        if secure and tls is None:
            tls = ssl.create_default_context()
        wait_s = 0.2
        while True:
            try:
                async with aiomqtt.Client(
                    hostname=place.hostname or "127.0.0.1",
                    port=place.port or (8883 if secure else 1883),
                    username=self.aggregator_id,
                    password=password,
                    identifier=f"gateway-{self.aggregator_id}",
                    clean_session=False,
                    tls_context=tls if secure else None,
                    will=aiomqtt.Will(f"{self._base}/up/status", self._status("offline", "last will"), 1, True),
                    timeout=20,
                    socket_options=NO_DELAY,
                ) as client:
                    await client.subscribe(f"{self._base}/down/#", qos=1)
                    await client.publish(f"{self._base}/up/status", self._status("online", ""), 1, True)
                    self._outbox.forget_tries()
                    self._online.set()
                    wait_s = 0.2
                    await self._talk(client)
            except aiomqtt.MqttError as error:
                self._online.clear()
                self.state.counts["reconnects"] += 1
                if "not authori" in str(error).lower() or "bad user name" in str(error).lower():
                    raise BrokerError(f"{self.aggregator_id}: {error}") from error
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, 5.0)

    async def _talk(self, client: aiomqtt.Client) -> None:
        self._client = client
        sender = asyncio.create_task(self._send(), name=f"gateway {self.aggregator_id} sender")
        listener = asyncio.create_task(self._listen(client), name=f"gateway {self.aggregator_id} listener")
        try:
            done, _ = await asyncio.wait({sender, listener}, return_when="FIRST_COMPLETED")
            for task in done:
                task.result()
        except asyncio.CancelledError:
            with contextlib.suppress(aiomqtt.MqttError):
                await client.publish(f"{self._base}/up/status", self._status("offline", "leaving"), 1, True, timeout=2)
            raise
        finally:
            self._client = None
            for task in (sender, listener):
                task.cancel()
            await asyncio.gather(sender, listener, return_exceptions=True)

    def _status(self, status: str, reason: str) -> bytes:
        return codec.encode(self._new_id(), self._clock.now(), {"status": status, "reason": reason})

    def _new_id(self) -> str:
        self._counter += 1
        return f"{self._boot}-{self._counter}"

    # ---- up

    async def _send(self) -> None:
        while self._client is not None:  # asyncio.wait_for of 3.11 may swallow a cancellation while it publishes
            message = await self._outbox.next_due()
            self.state.counts["sent" if message.tries == 1 else "resent"] += 1
            await self.transit.send(message)

    async def _publish(self, topic: str, payload: bytes) -> None:
        if self._client is None:
            raise aiomqtt.MqttError("not connected")
        await self._client.publish(topic, payload, qos=1)

    def _put(self, topic_end: str, fields: Mapping[str, Any], at: datetime | None = None) -> str:
        message_id = self._new_id()
        payload = codec.encode(message_id, at or self._clock.now(), fields)
        self._outbox.put(message_id, f"{self._base}/up/{topic_end}", payload)
        return message_id

    async def register(
        self,
        changes: Sequence[Mapping[str, Any]],
        profiles: Mapping[str, Any] | None = None,
        *,
        timeout_s: float = 60.0,
    ) -> dict[str, codec.ResourceAnswer]:
        """Register, change or withdraw resources in batches of at most 2 000; the platform's answer for each.

        Profiles travel with the first batch.  ``BrokerError`` if an answer does not come within ``timeout_s``.
        """
        series = codec.to_json(dict(profiles or {}))
        texts = [codec.to_json(change) for change in changes]
        for number, batch in enumerate(codec.parts(texts, MOST_CHANGES, len(series)) if texts else [[]]):
            message_id = self._put_list("register", "changes", batch, rest=("profiles", "{}" if number else series))
            arrived = self._results[message_id] = asyncio.Event()
            try:
                await asyncio.wait_for(arrived.wait(), timeout_s)
            except TimeoutError:
                raise BrokerError(f"{self.aggregator_id}: no answer to registration {message_id}") from None
            finally:
                del self._results[message_id]
        return dict(self.state.registered)

    def publish_readings(self, readings: Sequence[Mapping[str, Any] | str], at: datetime | None = None) -> None:
        """Put readings (``codec.reading``, or JSON texts of ``codec.reading_texts``) on their way, thousands in a
        message.
        """
        texts = [each if isinstance(each, str) else codec.to_json(each) for each in readings]
        if self.record is not None:
            self.record.said.append((at or self._clock.now(), texts))
        for part in codec.parts(texts, MOST_READINGS):
            self._put_list("telemetry", "readings", part, at)
            self.state.counts["readings"] += len(part)

    def _put_list(
        self,
        topic_end: str,
        name: str,
        items: Sequence[str],
        at: datetime | None = None,
        rest: tuple[str, str] | None = None,
    ) -> str:
        """Put a list of JSON texts (and one more field) on its way; the message's id."""
        message_id = self._new_id()
        payload = codec.encode_list(message_id, at or self._clock.now(), name, items, rest)
        self._outbox.put(message_id, f"{self._base}/up/{topic_end}", payload)
        return message_id

    @property
    def waiting_bytes(self) -> int:
        """Size of what went up and is not answered yet."""
        return self._outbox.waiting_bytes

    def publish_later(self, due: datetime, topic_end: str, fields: dict[str, Any]) -> None:
        """Keep a message until ``flush`` is called at or after ``due``."""
        self._later.append((due, topic_end, fields))

    @property
    def next_due(self) -> datetime | None:
        """When the earliest kept message is due."""
        return min((due for due, _, _ in self._later), default=None)

    def flush(self, now: datetime) -> None:
        """Put every kept message that is due on its way."""
        ready = sorted((each for each in self._later if each[0] <= now), key=lambda each: each[0])
        self._later = [each for each in self._later if each[0] > now]
        for due, topic_end, fields in ready:
            if topic_end == "telemetry":
                self.publish_readings(fields["readings"], due)
            elif topic_end == "ack":
                self._put_acks(fields["acks"], due)
            else:
                self._put(topic_end, fields, due)

    async def settled(self, timeout_s: float = 60.0) -> None:
        """Return when every message that went up is answered, or adrift (``simulations.wire.outbox``).

        ``BrokerError`` after ``timeout_s`` of real time.
        """
        await self._outbox.wait_empty(timeout_s)

    async def seen(self, sequence: int, timeout_s: float = 30.0) -> None:
        """Return when setpoints of that sequence (or newer) have come; ``BrokerError`` after ``timeout_s``."""
        async with self._seen:
            try:
                await asyncio.wait_for(self._seen.wait_for(lambda: self.last_sequence >= sequence), timeout_s)
            except TimeoutError:
                raise BrokerError(f"{self.aggregator_id}: setpoints {sequence} not seen") from None

    # ---- down

    async def _listen(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            if not str(message.topic).startswith(f"{self._base}/down/"):
                self.state.counts["not_ours"] += 1  # a broker's mistake: amqtt hands out others' retained messages
                continue
            try:
                payload = bytes(message.payload)
                received = codec.decode(str(message.topic).rsplit("/", 1)[-1], payload)
                await self._handle(received)
            except MessageError:
                self.state.counts["malformed"] += 1

    async def _handle(self, received: codec.Received) -> None:
        match received:
            case codec.ReceivedReceipt():
                self._take_receipt(received)
            case codec.ReceivedResult():
                self._take_result(received)
            case codec.ReceivedEvent():
                self._take_event(received)
            case codec.ReceivedSetpoints():
                self._take_setpoints(received)
                async with self._seen:
                    self._seen.notify_all()
            case market_codec.ReceivedInvitation() | market_codec.ReceivedAwards() | market_codec.ReceivedStatement():
                self.market.take(received)

    def _take_setpoints(self, batch: codec.ReceivedSetpoints) -> None:
        counts = self.state.counts
        counts["batches"] += 1
        if self.record is not None:
            self.record.came.append((self._clock.now(), batch))
        self.last_sequence = max(self.last_sequence, batch.sequence)
        self.transit.bring(lambda: self._orders.take(batch))

    def _take_receipt(self, receipt: codec.ReceivedReceipt) -> None:
        self.state.counts["receipts"] += 1
        whole = [name for name, index, _ in receipt.refused if name is not None and index is None]
        if self.transit.loses_receipt([*receipt.message_ids, *whole]):
            return
        self.state.refused.extend(receipt.refused)
        for message_id in receipt.message_ids:
            self._outbox.answered(message_id)
            if self.record is not None:
                self.record.received.setdefault(message_id, self._clock.now())
        for name in whole:
            self._outbox.answered(name)
            if name in self._results:  # the whole registration was refused: nothing more will come
                self._results[name].set()

    def _take_result(self, result: codec.ReceivedResult) -> None:
        for answer in result.results:
            if answer.resource_id is not None:
                self.state.registered[answer.resource_id] = answer
        self._outbox.answered(result.register_message_id)
        if result.register_message_id in self._results:
            self._results[result.register_message_id].set()

    def _take_event(self, notice: codec.ReceivedEvent) -> None:
        self.state.counts["events"] += 1
        if notice in self.state.notices:
            self.state.counts["duplicates"] += 1
            return
        self.state.notices.append(notice)
        if notice.status not in {"notified", "changed"}:
            return
        answer = self._policy(notice)
        runs = notice.notice_type == "emergency" or self._clock.now() >= notice.start
        if runs and notice.respond_by is None and not answer.opted_out_resource_ids:
            return  # it is told, not asked; only who stays out would say so
        self.state.counts["answers"] += 1
        fields = {
            "event_id": notice.event_id,
            "answer": answer.answer,
            "accepted_kw": answer.accepted_kw,
            "opted_out_resource_ids": list(answer.opted_out_resource_ids),
        }
        self._put("event-response", fields)

    def _acknowledge(self, acks: list[dict[str, Any]], due: datetime | None) -> None:
        if due is None:
            self._put_acks(acks)
        else:
            self.publish_later(due, "ack", {"acks": acks})

    def _put_acks(self, acks: Sequence[Mapping[str, Any]], at: datetime | None = None) -> None:
        counts = self.state.counts
        first = 0
        for part in codec.parts([codec.ack_text(ack) for ack in acks], MOST_ACKS):
            said, first = acks[first : first + len(part)], first + len(part)
            counts["ack_messages"] += 1
            if not self.transit.loses_ack(at or self._clock.now()):
                message_id = self._put_list("ack", "acks", part, at)
                if self.record is not None:
                    self.record.answers(self._clock.now(), message_id, said)
