"""The link to all aggregators through one MQTT broker: reconnects by itself, loses nothing, doubles nothing.

What MQTT does not give, and the link does:

* The client library acknowledges a message to the broker before we have seen it, so a crash in between loses
  it. Hence receipts: the answer goes out after the handler has committed, and what is not answered is sent
  again.
* It does not reconnect.  ``run`` does, with a fixed client id and a kept session, subscribing each time anew,
  because a broker may have forgotten us.  The longest pause between two attempts is 2 s.
* It has no back-pressure.  Here each aggregator has a queue of its own, worked off in order; queues are
  bounded in bytes, each and together.  What does not fit is dropped unanswered and counted, which means that
  its gateway sends it again.  Reading never waits for a queue, so a lost connection is seen at once.

The link asks its clock for every time stamp, so that a day on virtual time works; pauses between attempts to
reconnect are real, like the sockets.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import aiomqtt
from paho.mqtt.reasoncodes import ReasonCode

from adapters.mqtt.decode import DecodeContext, Decoded, decode_up, peek_message_id, refusal
from adapters.mqtt.decode_readings import decode_plain_group
from adapters.mqtt.envelope import (
    DownTopic,
    Refusal,
    UpTopic,
    topic_of,
)
from adapters.mqtt.market_uplink import MarketUplink
from adapters.mqtt.queues import AggregatorQueue, AggregatorQueues, Incoming
from adapters.mqtt.settings import MqttSettings
from adapters.mqtt.uplink import TAKEN, Answer, Received, TelemetryGroup, UplinkHandler, refused_whole, taken
from models.errors import AccessError, BrokerError, InputError, InputFault, MessageError, VppError
from models.ports import Clock, MarketHandler

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0
TRIES_BEFORE_SET_ASIDE = 3
NO_DELAY = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
"""Without it every small message waits up to 40 ms for the one before (measured: 23 messages a second)."""

_REFUSED_SUBSCRIPTION = 0x80
ANSWERS = frozenset({DownTopic.REGISTER_RESULT, DownTopic.RECEIPT})
"""What is published only because an aggregator has sent something: without an answer it would send for ever."""


def _straight_to(take: Callable[[aiomqtt.Message], None]) -> type["asyncio.Queue[aiomqtt.Message]"]:
    """A queue for the client library that keeps nothing: each message is taken as it comes.

    Waiting for the next message costs the library two tasks, several times what is done with it.
    """

    class Straight(asyncio.Queue[aiomqtt.Message]):
        def put_nowait(self, item: aiomqtt.Message) -> None:
            take(item)

    return Straight


@dataclass(slots=True)
class LinkCounters:
    """What the link has done since it was made; the service shows these as metrics."""

    connections: int = 0
    received: int = 0
    answered: int = 0
    answered_again: int = 0
    refused_items: int = 0
    dead_letters: int = 0
    handler_failures: int = 0
    overflows: int = 0
    answers_not_sent: int = 0
    setpoint_batches_sent: int = 0
    setpoints_sent: int = 0
    events_sent: int = 0
    invitations_sent: int = 0
    awards_sent: int = 0
    statements_sent: int = 0


class AnsweringLink:
    """Hears aggregators and answers them, and can publish nothing else: the link of a service in read-only mode.

    ``run`` it in a task; it lives until it is cancelled.
    """

    _speaks_on: ClassVar[frozenset[DownTopic]] = ANSWERS

    def __init__(
        self, settings: MqttSettings, handler: UplinkHandler, clock: Clock, market: MarketHandler | None = None
    ) -> None:
        """``market``: who takes bids and disputes; None: each is refused with the rule that nobody does."""
        self.settings = settings
        self.counters = LinkCounters()
        self.last_error: str | None = None
        self._handler = handler
        self._market = MarketUplink(market)
        self._clock = clock
        self._client: aiomqtt.Client | None = None
        self._up = asyncio.Event()
        self._early: list[aiomqtt.Message] = []
        self._lost: asyncio.Future[None] | None = None
        self._queues = AggregatorQueues(settings.queue_bytes, settings.all_queues_bytes)
        self._workers: asyncio.TaskGroup | None = None
        self._tries: dict[tuple[str, str], int] = {}

    # ---- connection

    @property
    def connected(self) -> bool:
        """True while subscribed at the broker."""
        return self._up.is_set()

    async def wait_connected(self, timeout_s: float = 10.0) -> None:
        """Return once connected and subscribed; ``BrokerError`` if that takes longer than ``timeout_s``."""
        try:
            await asyncio.wait_for(self._up.wait(), timeout_s)
        except TimeoutError:
            where = f"{self.settings.host}:{self.settings.port}"
            raise BrokerError(f"{where}: {self.last_error or 'no answer'} (after {timeout_s:g} s)") from None

    async def run(self) -> None:
        """Keep the connection and serve messages until cancelled."""
        async with asyncio.TaskGroup() as workers:
            self._workers = workers
            pause_s = FIRST_PAUSE_S
            while True:
                try:
                    await self._one_connection()
                except (aiomqtt.MqttError, BrokerError, OSError, ValueError) as broken:
                    if str(broken) != self.last_error:
                        log.debug("broker %s:%s: %s", self.settings.host, self.settings.port, broken)
                    self.last_error = str(broken)
                finally:
                    if self._up.is_set():
                        pause_s = FIRST_PAUSE_S
                    self._up.clear()
                    self._client = None
                    if self._lost is not None and not self._lost.done():
                        self._lost.set_result(None)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _one_connection(self) -> None:
        wanted = self.settings
        self._early.clear()
        client = aiomqtt.Client(
            wanted.host,
            wanted.port,
            username=wanted.username,
            password=None if wanted.password is None else wanted.password.get_secret_value(),
            identifier=wanted.client_id,
            clean_session=False,
            keepalive=wanted.keepalive_s,
            timeout=wanted.timeout_s,
            tls_context=None if wanted.tls is None else wanted.tls.context(),
            socket_options=[NO_DELAY],
            queue_type=_straight_to(self._arrived),
        )
        client.pending_calls_threshold = 10_000
        async with client:
            codes = await client.subscribe(f"{wanted.prefix}/+/up/#", qos=1)
            if any(code.value >= _REFUSED_SUBSCRIPTION for code in codes if isinstance(code, ReasonCode)):
                raise BrokerError(f"the broker refuses the subscription to {wanted.prefix}/+/up/#")
            self._client = client
            self._lost = asyncio.get_running_loop().create_future()
            self.counters.connections += 1
            self.last_error = None
            self._up.set()
            log.debug("connected to broker %s:%s as %s", wanted.host, wanted.port, wanted.client_id)
            for message in self._early:
                self._sort(message)
            self._early.clear()
            async for _ in client.messages:
                pass  # never: they go to ``_arrived``; this ends when the connection does

    # ---- up

    def _arrived(self, message: aiomqtt.Message) -> None:
        """What has waited at the broker comes before we may answer: it waits a little longer."""
        if self._up.is_set():
            self._sort(message)
        else:
            self._early.append(message)

    def _sort(self, message: aiomqtt.Message) -> None:
        """Put a message into the queue of its aggregator, with a worker for each."""
        topic = str(message.topic)
        head = f"{self.settings.prefix}/"
        aggregator_id, _, rest = topic[len(head) :].partition("/")
        way, _, last = rest.partition("/")
        if not topic.startswith(head) or way != "up" or not aggregator_id:
            return
        self.counters.received += 1
        queue = self._queues.get(aggregator_id)
        if queue is None:
            if self._workers is None:
                raise BrokerError("the link is not running")
            queue = self._queues.open(aggregator_id)
            self._workers.create_task(self._work(aggregator_id, queue), name=f"mqtt-{aggregator_id}")
        if not queue.put(Incoming(topic, last, bytes(message.payload))):
            self.counters.overflows += 1

    async def _work(self, aggregator_id: str, queue: AggregatorQueue) -> None:
        while True:
            messages = await queue.get()
            if messages[0].last == UpTopic.TELEMETRY:
                await self._take_telemetry(aggregator_id, messages)
            else:
                await self._take_guarded(aggregator_id, messages[0])

    async def _take_telemetry(self, aggregator_id: str, messages: Sequence[Incoming]) -> None:
        """Messages together if everything in them is in order; else half by half, down to those that are not."""
        context = self._context(aggregator_id)
        plain = decode_plain_group([message.payload for message in messages], context)
        if plain is not None:
            group = TelemetryGroup(aggregator_id, plain.message_ids, plain.sizes, plain.readings, context.now)
            if await self._apply_group(messages[0].topic, group):
                return
        if len(messages) == 1:
            await self._take_guarded(aggregator_id, messages[0])
            return
        middle = len(messages) // 2
        await self._take_telemetry(aggregator_id, messages[:middle])
        await self._take_telemetry(aggregator_id, messages[middle:])

    async def _apply_group(self, topic: str, group: TelemetryGroup) -> bool:
        """Apply and answer; False if it must be tried one by one."""
        try:
            before = await self._handler.telemetry_group(group)
        except VppError as failed:
            if not failed.retryable:
                return False
            self.counters.handler_failures += 1
            log.warning("%d messages on %s are not answered: %s", len(group.message_ids), topic, failed)
            return True
        except Exception:
            self.counters.handler_failures += 1
            log.exception("%d messages on %s are tried one by one", len(group.message_ids), topic)
            return False
        self.counters.answered_again += len(before)
        others = {name: kept for name, kept in before.items() if kept != TAKEN}
        receipted = [name for name in group.message_ids if name not in others]
        if receipted:
            await self._answer(group.aggregator_id, taken(receipted, group.received_at), len(receipted))
        for kept in others.values():
            await self._answer(group.aggregator_id, Answer.from_bytes(kept))
        return True

    async def _take_guarded(self, aggregator_id: str, message: Incoming) -> None:
        try:
            await self._take(aggregator_id, message)
        except VppError as failed:
            self.counters.handler_failures += 1
            log.warning("%s is not answered: %s", message.topic, failed)
        except Exception:
            self.counters.handler_failures += 1
            log.exception("%s is not answered", message.topic)

    def _context(self, aggregator_id: str) -> DecodeContext:
        return DecodeContext(
            self._clock.now(),
            aggregator_id,
            lambda resource_id: self._handler.capability_kw(aggregator_id, resource_id),
            lambda resource_ids: self._handler.capabilities_kw(aggregator_id, resource_ids),
        )

    async def _take(self, aggregator_id: str, message: Incoming) -> None:
        """One message: decode, recall or apply, answer. Raises if it is not to be answered now."""
        topic, payload = message.topic, message.payload
        context = self._context(aggregator_id)
        try:
            kind = UpTopic(message.last)
        except ValueError:
            known = ", ".join(UpTopic)
            fault = InputFault(topic, "topic", message.last, f"must end in one of {known}")
            await self._set_aside(aggregator_id, topic, payload, peek_message_id(payload), [fault])
            return
        try:
            decoded: Decoded[Any] = decode_up(kind, payload, context)
        except MessageError as broken:
            name = peek_message_id(payload)
            await self._set_aside(aggregator_id, topic, payload, name, broken.faults, status=kind is UpTopic.STATUS)
            return
        received: Received[Any] = Received(aggregator_id, kind, decoded, payload, context.now)
        if kind is UpTopic.STATUS:
            await self._handler.status(aggregator_id, received)
            return
        before = await self._handler.already_answered(aggregator_id, received.message_id)
        if before is not None:
            self.counters.answered_again += 1
            answer = taken([received.message_id], context.now) if before == TAKEN else Answer.from_bytes(before)
            await self._answer(aggregator_id, answer)
            return
        await self._apply(aggregator_id, topic, kind, received)

    async def _apply(self, aggregator_id: str, topic: str, kind: UpTopic, received: Received[Any]) -> None:
        handlers: dict[UpTopic, Callable[[str, Received[Any]], Awaitable[Answer]]] = {
            UpTopic.REGISTER: self._handler.register,
            UpTopic.TELEMETRY: self._handler.telemetry,
            UpTopic.CAPABILITY: self._handler.capability,
            UpTopic.EVENT_RESPONSE: self._handler.event_response,
            UpTopic.ACK: self._handler.ack,
            UpTopic.BIDS: self._market.bids,
            UpTopic.DISPUTES: self._market.dispute,
        }
        key = (aggregator_id, received.message_id)
        try:
            answer = await handlers[kind](aggregator_id, received)
        except InputError as broken:
            await self._set_aside(aggregator_id, topic, received.payload, received.message_id, broken.faults)
            return
        except VppError as refused:
            if refused.retryable:
                raise
            fault = InputFault(topic, "", type(refused).__name__, str(refused))
            await self._set_aside(aggregator_id, topic, received.payload, received.message_id, [fault])
            return
        except Exception as failed:
            tries = self._tries[key] = self._tries.get(key, 0) + 1
            if len(self._tries) > 10_000:
                self._tries.pop(next(iter(self._tries)))
            if tries < TRIES_BEFORE_SET_ASIDE:
                raise
            log.exception("%s cannot be processed and is set aside", topic)
            self.counters.handler_failures += 1
            rule = f"could not be processed, {tries} times: tell the operator"
            fault = InputFault(topic, "", type(failed).__name__, rule)
            await self._set_aside(aggregator_id, topic, received.payload, received.message_id, [fault])
            return
        self._tries.pop(key, None)
        self.counters.refused_items += len(answer.refused)
        await self._answer(aggregator_id, answer)

    async def _set_aside(
        self,
        aggregator_id: str,
        topic: str,
        payload: bytes,
        message_id: str | None,
        faults: list[InputFault] | tuple[InputFault, ...],
        *,
        status: bool = False,
    ) -> None:
        """Keep a message of which nothing could be taken as a dead letter, and tell its sender."""
        refusals: tuple[Refusal, ...] = tuple(refusal(fault, message_id, fault.row) for fault in faults[:100])
        await self._handler.dead_letter(aggregator_id, topic, payload, refusals)
        self.counters.dead_letters += 1
        if not status:
            await self._answer(aggregator_id, refused_whole(message_id, refusals, self._clock.now()))

    async def _answer(self, aggregator_id: str, answer: Answer, messages: int = 1) -> None:
        try:
            for topic, payload in answer.messages:
                await self._publish(aggregator_id, topic, payload)
        except BrokerError as gone:
            self.counters.answers_not_sent += messages  # the gateway will ask again, and get the kept answer
            log.info("answer to %s not sent: %s", aggregator_id, gone)
            return
        self.counters.answered += messages

    # ---- down

    async def _publish(self, aggregator_id: str, topic: DownTopic, payload: bytes) -> None:
        if topic not in self._speaks_on:
            raise AccessError(f"{topic}: this link answers aggregators and does nothing else")
        client, lost = self._client, self._lost
        if client is None or lost is None:
            raise BrokerError(f"not connected to {self.settings.host}:{self.settings.port}")
        name = topic_of(self.settings.prefix, aggregator_id, topic)
        publishing = asyncio.create_task(client.publish(name, payload, qos=1, retain=False))
        try:
            await asyncio.wait((publishing, lost), return_when=asyncio.FIRST_COMPLETED)
            if not publishing.done():
                raise BrokerError(f"{name}: the connection was lost")
            publishing.result()
        except (aiomqtt.MqttError, ValueError) as broken:
            raise BrokerError(f"{name}: {broken}") from broken
        finally:
            publishing.cancel()
