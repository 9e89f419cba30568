"""The link of a service that gives orders: hears and answers like any other, and sends setpoints and notices too."""

from datetime import datetime

from adapters.mqtt.envelope import MAX_MESSAGE_BYTES, DownTopic, encode
from adapters.mqtt.link import AnsweringLink
from adapters.mqtt.payloads import EventMessage, SetpointsMessage
from models.errors import DeviceError
from models.events import EventNotice
from models.plan import SetpointBatch


class MqttLink(AnsweringLink):
    """``models.ports.DeviceLink`` over MQTT: answers, and sends orders and notices too."""

    _speaks_on = frozenset(DownTopic)

    async def send_setpoints(self, batch: SetpointBatch, made_at: datetime | None = None) -> None:
        """Publish one batch, never retained; returns once the broker has it, else ``BrokerError``.

        The message bears the id of its command and (if told) the time when that was made, so that a command sent
        again is the same message to the byte.  ``DeviceError`` if the batch is larger than a message may be (some
        15 000 setpoints): give it in parts.
        """
        message = SetpointsMessage.new(made_at or self._clock.now(), batch.command_id, **dict(batch))
        payload = encode(message)
        if len(payload) > MAX_MESSAGE_BYTES:
            reason = f"{len(batch.setpoints)} setpoints make {len(payload)} bytes, more than {MAX_MESSAGE_BYTES}"
            raise DeviceError(batch.aggregator_id, reason)
        await self._publish(batch.aggregator_id, DownTopic.SETPOINTS, payload)
        self.counters.setpoint_batches_sent += 1
        self.counters.setpoints_sent += len(batch.setpoints)

    async def send_event(self, aggregator_id: str, notice: EventNotice) -> None:
        """Tell an aggregator about an event; returns once the broker has the message, else ``BrokerError``."""
        message = EventMessage.new(self._clock.now(), **dict(notice))
        await self._publish(aggregator_id, DownTopic.EVENT, encode(message))
        self.counters.events_sent += 1
